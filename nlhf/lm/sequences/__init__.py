"""Sequences of tokens under a causal model: their log-probabilities, and drawing them."""
