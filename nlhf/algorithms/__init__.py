"""Algorithms, each written once against `Space`, `Game` and `Algorithm`."""
