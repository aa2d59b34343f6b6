"""Models, tokenizers and data from the hub or from disk."""
