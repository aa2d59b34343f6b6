"""Contracts that anybody's space, game, algorithm or realiser can be checked against.

Each suite raises `ContractBroken` at the first clause that is broken, and otherwise returns a
report with the largest deviation that every clause met. They draw from named streams: the same
instances in every run.
"""

from nlhf.testing.algorithms import ALGORITHM_CLAUSES, check_algorithm
from nlhf.testing.clauses import Clause, Finding, Report
from nlhf.testing.games import GAME_CLAUSES, check_game
from nlhf.testing.instances import (
    ProcessInstance,
    SameGame,
    Setting,
    View,
    processes,
    same_game,
    same_games,
    settings,
)
from nlhf.testing.realisers import REALISER_CLAUSES, Claim, check_realiser
from nlhf.testing.spaces import SPACE_CLAUSES, check_space

__all__ = [
    "ALGORITHM_CLAUSES",
    "GAME_CLAUSES",
    "REALISER_CLAUSES",
    "SPACE_CLAUSES",
    "Claim",
    "Clause",
    "Finding",
    "ProcessInstance",
    "Report",
    "SameGame",
    "Setting",
    "View",
    "check_algorithm",
    "check_game",
    "check_realiser",
    "check_space",
    "processes",
    "same_game",
    "same_games",
    "settings",
]
