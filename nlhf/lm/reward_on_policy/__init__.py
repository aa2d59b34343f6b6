"""Reward learning on policy: multi-view codes of responses, and preferences made by consensus."""
