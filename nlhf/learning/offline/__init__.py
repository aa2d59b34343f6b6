"""Pessimistic planning from a fixed data set."""
