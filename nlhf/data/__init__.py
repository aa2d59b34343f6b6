"""Readers of preference data, pairwise counts, and exports; nothing here estimates or solves."""

from nlhf.data.comparisons import read_comparisons
from nlhf.data.counts import WinCounts, win_counts
from nlhf.data.example import example_votes, write_example
from nlhf.data.export import write_json, write_nfg, write_npz
from nlhf.data.frames import votes_from_columns, votes_from_frame
from nlhf.data.matrices import Preferences, read_preferences, read_win_counts
from nlhf.data.preflib import read_preflib
from nlhf.data.votes import Votes
from nlhf.data.votes_csv import read_votes

__all__ = [
    "Preferences",
    "Votes",
    "WinCounts",
    "example_votes",
    "read_comparisons",
    "read_preferences",
    "read_preflib",
    "read_votes",
    "read_win_counts",
    "votes_from_columns",
    "votes_from_frame",
    "win_counts",
    "write_example",
    "write_json",
    "write_nfg",
    "write_npz",
]
