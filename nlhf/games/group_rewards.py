"""Rewards of several groups: what they look like, and what makes them comparable."""

import warnings
from collections.abc import Sequence
from enum import StrEnum, unique
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem, Unnormalised
from nlhf.games.sequential import checked_process
from nlhf.results import chosen, float_array, read_only


@unique
class Offsets(StrEnum):
    """What makes the rewards of different groups comparable.

    Comparisons determine a group's reward up to a constant per prompt, which MaxMin does not
    forgive: any choice is a judgement, so it is made by name.
    """

    AS_GIVEN = "as given"
    """The rewards mean what they say."""
    REFERENCE = "reference"
    """Every group's utility is 0 under the reference: what counts is what it gains."""
    REGRET = "regret"
    """Every group's utility is 0 under its own best policy, KL included: what counts is what it
    loses."""


_MOST = 1e100
"""Rewards beyond are no use, and their squares leave the range of float64."""


def checked_rewards(rewards: object) -> Float[np.ndarray, "group *context response"]:
    """Return the rewards as an array.

    Raises:
        InvalidProblem: If they have a wrong shape, or an entry that is no number of usable size.
    """
    r = float_array("the rewards", rewards)
    if r.ndim not in (2, 3) or 0 in r.shape:
        raise InvalidProblem(
            f"the rewards have shape {r.shape}",
            "pass one row per group: (U, n), or (U, X, n) with prompts",
        )
    wild = ~(np.abs(r) <= _MOST)
    if wild.any():
        where = tuple(int(i) for i in np.argwhere(wild)[0])
        raise InvalidProblem(
            f"reward entry {where} is {r[where]}", f"pass rewards of size at most {_MOST:g}"
        )
    return read_only(r)


def checked_setting(process: object) -> Any:
    """Return the process, or raise `Unsupported` with what to pass instead."""
    fix = "pass TokenTree(...), Histories(...), FiniteHorizon(...) or Discounted(...)"
    return checked_process(process, of_mdp=fix, of_other=fix)


def checked_payoffs(process: Any, rewards: object) -> tuple[Any, ...]:
    """Return one payoff per group, of the kind and shape of the process.

    Raises:
        InvalidProblem: If there is none, or one does not fit or is not finite.
        Unsupported: If one is of another kind.
    """
    if not isinstance(rewards, Sequence) or not rewards:
        raise InvalidProblem(
            f"the rewards on a process are a {type(rewards).__name__}",
            "pass a list with one payoff per group, such as StepPayoff(steps, final)",
        )
    log_policy = np.full(process.shape, -np.log(process.shape[-1]))
    for u, reward in enumerate(rewards):
        process.check(reward)
        try:
            finite = np.isfinite(process.mean(log_policy, reward)).all()
        except ValueError as error:
            raise InvalidProblem(
                f"the payoff of group {u} does not fit {process!r}: {error}",
                "give it the shape of the process: steps (H, S, A) or (S, A), leaves (leaf,)",
            ) from error
        if not finite:
            raise InvalidProblem(
                f"the payoff of group {u} has entries that are not finite", "pass finite payoffs"
            )
    return tuple(rewards)


def checked_offsets(offsets: Offsets | str | None, groups: int) -> Offsets:
    """Return the choice; without one among several groups, warn with `Unnormalised`."""
    if offsets is not None:
        return chosen(Offsets, offsets, "offsets")
    if groups > 1:
        choices = ", ".join(repr(str(member)) for member in Offsets)
        warnings.warn(
            f"the rewards of {groups} groups are compared as given: a constant added to one of "
            "them changes no preference and moves the MaxMin policy. "
            f"Say what makes them comparable: offsets is one of {choices}",
            Unnormalised,
            stacklevel=3,
        )
    return Offsets.AS_GIVEN
