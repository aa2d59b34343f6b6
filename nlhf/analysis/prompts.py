"""Prompts as games: preferences estimated from votes or given, and the game they define."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from nlhf.data.counts import WinCounts
from nlhf.data.matrices import Preferences
from nlhf.errors import InvalidProblem
from nlhf.estimation.tabular import Completion, estimate_preferences
from nlhf.games.majority import MajorityGraph, majority_graph
from nlhf.games.preference import LogOddsGame, PreferenceGame, SelfPlayGame
from nlhf.results import chosen

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how many prompts are done, and how many there are."""


class PayoffKind(StrEnum):
    """What a win is worth in the game."""

    PROBABILITY = "probability"
    LOG_ODDS = "log-odds"


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One prompt before it is solved.

    Attributes:
        prompt: Its id.
        responses: The ids of its responses.
        preference: P, unseen pairs completed.
        majority: The majority graph before completion.
        unseen: The pairs that were never compared.
        counts: The votes it rests on; `None` if the preferences were given.
    """

    prompt: str
    responses: tuple[str, ...]
    preference: Float[np.ndarray, "response response"]
    majority: MajorityGraph
    unseen: tuple[tuple[int, int], ...]
    counts: WinCounts | None


def problems_of_votes(
    counts: Sequence[WinCounts], smoothing: float, unseen: Completion, tell: Progress
) -> tuple[Problem, ...]:
    """Estimate the preferences of every prompt, and complete the pairs never compared.

    Raises:
        InvalidData: If `unseen` is `ERROR` and a pair was never compared.

    Warns:
        Degenerate: If the comparisons of a prompt are not connected.
    """
    estimates = []
    for k, count in enumerate(counts):
        tell("estimating", k, len(counts))
        estimates.append(estimate_preferences(count, smoothing))
    tell("estimating", len(counts), len(counts))
    return tuple(
        Problem(
            estimate.counts.prompt,
            estimate.counts.responses,
            estimate.complete(unseen),
            majority_graph(estimate.preference),
            estimate.unseen,
            estimate.counts,
        )
        for estimate in estimates
    )


def problems_of_preferences(
    given: Preferences, smoothing: float, unseen: Completion
) -> tuple[Problem, ...]:
    """Return the prompts of given preferences.

    Raises:
        InvalidProblem: If a choice is made that is about votes.
    """
    for name, value, default in (
        ("smoothing", smoothing, 0.0),
        ("unseen", unseen, Completion.HALF),
    ):
        if value != default:
            raise InvalidProblem(
                f"{name} is {value}, but the file holds preferences, not votes: nothing is "
                "estimated",
                f"drop {name}, or give the votes",
            )
    return tuple(
        Problem(prompt, responses, p, majority_graph(p), (), None)
        for prompt, responses, p in zip(
            given.prompts, given.responses, given.preference, strict=True
        )
    )


def game_of(
    preference: Float[np.ndarray, "*x response response"], payoff: PayoffKind, temperature: float
) -> SelfPlayGame:
    """Return the game of the preferences of one prompt, or of several with equally many responses.

    Raises:
        InvalidProblem: If a matrix is no preference, the temperature is negative, there is no such
            payoff, or it is log-odds and an entry is 0 or 1.
    """
    worth = chosen(PayoffKind, payoff, "payoff")
    kind = PreferenceGame if worth is PayoffKind.PROBABILITY else LogOddsGame
    return kind(preference, temperature=temperature)
