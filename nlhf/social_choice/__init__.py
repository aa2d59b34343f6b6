"""Voting rules on the objects of the rest, the axioms they are judged by, and distortion."""
