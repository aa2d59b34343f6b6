"""Preference and reward models of responses: callables, trained networks, ensembles, reports."""
