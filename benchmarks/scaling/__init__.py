"""Time and peak memory against the size of things, each size in a fresh process."""
