"""Measured comparisons: suites as data, results as rows with provenance. Needs a checkout."""
