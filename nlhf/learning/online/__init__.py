"""Rounds of asking and planning."""
