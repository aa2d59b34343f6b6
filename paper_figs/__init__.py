"""Figures of papers: each reads results that are checked in, and computes nothing."""
