"""Loops around exact solutions: policies learned from data, and what is certain of them."""
