"""Axioms as checkers: each takes any rule and an instance, and returns where the rule breaks it.

A report says how often the axiom's premise applied. An axiom that never applied was not tested.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float

from nlhf.games.majority import majority_graph
from nlhf.social_choice.outcomes import LotteryRule, RankingRule
from nlhf.social_choice.pairwise import preference_of
from nlhf.social_choice.profiles import RankingProfile

Instance = TypeVar("Instance")

PLAYED = 1e-7
"""Probabilities that differ by no more are equal: what solvers of the rules leave undetermined."""

LOSES = 1e-6
"""How far below 1/2 a win probability against a lottery must be to count as losing."""

Matrix = Float[np.ndarray, "n n"]


@dataclass(frozen=True, slots=True, eq=False)
class Violation(Generic[Instance]):
    """Where a rule breaks an axiom.

    Attributes:
        what: What the rule does, in words and numbers.
        instance: The preference or profile.
        changed: The one that it is compared with, where the axiom compares two.
    """

    what: str
    instance: Instance
    changed: Instance | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AxiomReport(Generic[Instance]):
    """What a checker found on one instance.

    Attributes:
        axiom: The axiom's name.
        applied: How often its premise held, up to the first violation.
        violation: The first violation, if there is one.
    """

    axiom: str
    applied: int
    violation: Violation[Instance] | None

    @property
    def holds(self) -> bool:
        """Whether there is no violation; true also where the axiom never applied."""
        return self.violation is None


def condorcet_consistency(rule: LotteryRule, preference: Matrix) -> AxiomReport[Matrix]:
    """A response that beats every other one by majority is chosen for certain."""
    p = preference_of(preference)

    def outcomes() -> Iterator[Violation[Matrix] | None]:
        for winner in majority_graph(p).condorcet_winners:
            chance = float(rule(p).probabilities[winner])
            yield _broken(
                chance < 1.0 - PLAYED,
                f"response {winner} beats all others, and is chosen with probability {chance:.6g}",
                p,
            )

    return _first("Condorcet consistency", outcomes())


def independence_of_losing_responses(rule: LotteryRule, preference: Matrix) -> AxiomReport[Matrix]:
    """A response that loses against the lottery neither enters it nor changes it by its presence.

    For every response z: if z loses, on average, against the rule's lottery without z, adding z
    leaves that lottery as it is; if z is never chosen and loses against the rule's lottery,
    removing z does. Losing is by more than `LOSES`.
    """
    p = preference_of(preference)

    def outcomes() -> Iterator[Violation[Matrix] | None]:
        full = rule(p).probabilities
        for z in range(len(p)) if len(p) > 1 else ():
            rest = np.delete(np.arange(len(p)), z)
            without = p[np.ix_(rest, rest)]
            small = np.insert(rule(without).probabilities, z, 0.0)
            loses = p[z] @ small < 0.5 - LOSES
            dropped = full[z] <= PLAYED and p[z] @ full < 0.5 - LOSES
            if not (loses or dropped):
                continue
            moved = float(np.abs(full - small).max())
            what = f"response {z} loses, and its presence moves a probability by {moved:.6g}"
            yield _broken(moved > PLAYED, what, p, without)

    return _first("independence of losing responses", outcomes())


def clone_invariance(rule: LotteryRule, preference: Matrix) -> AxiomReport[Matrix]:
    """An exact copy of a response, tied with it, leaves the other responses' chances as they are.

    Where several lotteries are maximal a selection may depend on the number of copies: the axiom
    is for instances on which the rule's answer is not a matter of tie-breaking.
    """
    p = preference_of(preference)
    n = len(p)

    def outcomes() -> Iterator[Violation[Matrix] | None]:
        before = rule(p).probabilities
        for c in range(n):
            kinds = np.append(np.arange(n), c)
            cloned = p[np.ix_(kinds, kinds)]  # the copy against c: the diagonal's 1/2
            after = rule(cloned).probabilities
            moved = float(np.abs(np.delete(after[:n] - before, c)).max(initial=0.0))
            what = f"a copy of response {c} moves another one's probability by {moved:.6g}"
            yield _broken(moved > PLAYED, what, p, cloned)

    return _first("clone invariance", outcomes())


def lottery_neutrality(rule: LotteryRule, preference: Matrix) -> AxiomReport[Matrix]:
    """Exchanging the names of two responses exchanges their probabilities."""
    p = preference_of(preference)

    def outcomes() -> Iterator[Violation[Matrix] | None]:
        before = rule(p).probabilities
        for i, j in combinations(range(len(p)), 2):
            names = _exchange(len(p), i, j)
            renamed = p[np.ix_(names, names)]
            moved = float(np.abs(rule(renamed).probabilities - before[names]).max())
            what = f"exchanging the names {i} and {j} moves a probability by {moved:.6g}"
            yield _broken(moved > PLAYED, what, p, renamed)

    return _first("neutrality", outcomes())


def pareto_optimality(rule: RankingRule, profile: RankingProfile) -> AxiomReport[RankingProfile]:
    """What everybody ranks above another response, the rule ranks above it."""

    def outcomes() -> Iterator[Violation[RankingProfile] | None]:
        ranking = rule(profile)
        for a, b in profile.unanimous():
            what = f"everybody ranks {a} above {b}, the rule does not: {ranking.levels}"
            yield _broken(not ranking.above(a, b), what, profile)

    return _first("Pareto optimality", outcomes())


def pairwise_majority_consistency(
    rule: RankingRule, profile: RankingProfile
) -> AxiomReport[RankingProfile]:
    """The ranking that agrees with every majority, where it exists and is feasible, is the output.

    Every two responses must be apart by a strict majority.
    """

    def outcomes() -> Iterator[Violation[RankingProfile] | None]:
        beats = majority_graph(profile.preference).beats
        order = tuple(int(item) for item in np.argsort(-beats.sum(axis=1), kind="stable"))
        if not beats[np.ix_(order, order)][np.triu_indices(len(order), 1)].all():
            return
        if profile.feasible(order):
            levels = rule(profile).levels
            what = f"the majority ranking is {order}, the rule's {levels}"
            yield _broken(levels != tuple((item,) for item in order), what, profile)

    return _first("pairwise majority consistency", outcomes())


def majority_consistency(rule: RankingRule, profile: RankingProfile) -> AxiomReport[RankingProfile]:
    """What more than half put first is alone on top of the output."""

    def outcomes() -> Iterator[Violation[RankingProfile] | None]:
        firsts = np.bincount(
            profile.rankings[:, 0], profile.weights, minlength=profile.rankings.shape[1]
        )
        for a in np.flatnonzero(firsts > 0.5 + LOSES):
            first = rule(profile).first
            what = f"{firsts[a]:.6g} of the voters put {a} first, the rule puts {first}"
            yield _broken(first != (int(a),), what, profile)

    return _first("majority consistency", outcomes())


def winner_monotonicity(rule: RankingRule, profile: RankingProfile) -> AxiomReport[RankingProfile]:
    """A response on top stays there when a voter moves it up by one, all else as before.

    Votes that are no longer feasible after the move are left out. Alone on top stays alone.
    """

    def outcomes() -> Iterator[Violation[RankingProfile] | None]:
        first = rule(profile).first
        for a in first:
            for v, raised in _raised(profile, a):
                after = rule(raised).first
                lost = a not in after or (len(first) == 1 and len(after) > 1)
                what = f"voter {v} moves {a} up by one, and the top moves from {first} to {after}"
                yield _broken(lost, what, profile, raised)

    return _first("winner monotonicity", outcomes())


def anonymity(rule: RankingRule, profile: RankingProfile) -> AxiomReport[RankingProfile]:
    """Exchanging the names of two voters changes nothing."""
    voters = len(profile.rankings)
    orders = (
        (f"exchanging the voters {i} and {j}", _exchange(voters, i, j))
        for i, j in combinations(range(voters), 2)
    )
    return _first("anonymity", _same_for_voters(rule, profile, orders))


def replication_invariance(
    rule: RankingRule, profile: RankingProfile
) -> AxiomReport[RankingProfile]:
    """An electorate in which everybody appears twice decides alike."""
    twice = np.tile(np.arange(len(profile.rankings)), 2)
    return _first(
        "replication invariance",
        _same_for_voters(rule, profile, [("doubling the electorate", twice)]),
    )


def ranking_neutrality(rule: RankingRule, profile: RankingProfile) -> AxiomReport[RankingProfile]:
    """Exchanging the names of two responses exchanges their places."""
    n = profile.rankings.shape[1]

    def outcomes() -> Iterator[Violation[RankingProfile] | None]:
        before = rule(profile)
        for i, j in combinations(range(n), 2):
            names = _exchange(n, i, j)
            renamed = RankingProfile(
                names[profile.rankings], profile.weights, profile.features[names]
            )
            expected = tuple(
                tuple(sorted(int(names[item]) for item in level)) for level in before.levels
            )
            after = rule(renamed).levels
            what = f"exchanging the names {i} and {j} gives {after}, not {expected}"
            yield _broken(after != expected, what, profile, renamed)

    return _first("neutrality", outcomes())


def _first(name: str, outcomes: Iterator[Violation[Instance] | None]) -> AxiomReport[Instance]:
    """Count the outcomes up to the first violation."""
    applied = 0
    for outcome in outcomes:
        applied += 1
        if outcome is not None:
            return AxiomReport(name, applied, outcome)
    return AxiomReport(name, applied, None)


def _broken(
    broken: bool, what: str, instance: Instance, changed: Instance | None = None
) -> Violation[Instance] | None:
    return Violation(what, instance, changed) if broken else None


def _exchange(count: int, i: int, j: int) -> np.ndarray:
    names = np.arange(count)
    names[[i, j]] = j, i
    return names


def _same_for_voters(
    rule: RankingRule, profile: RankingProfile, changes: Iterable[tuple[str, np.ndarray]]
) -> Iterator[Violation[RankingProfile] | None]:
    """Compare the outputs where the electorate consists of the voters with these numbers."""
    before = rule(profile).levels
    for what, voters in changes:
        weights = profile.weights[voters]
        other = RankingProfile(profile.rankings[voters], weights / weights.sum(), profile.features)
        after = rule(other).levels
        yield _broken(after != before, f"{what} gives {after}, not {before}", profile, other)


def _raised(profile: RankingProfile, a: int) -> Iterator[tuple[int, RankingProfile]]:
    """Return, for every voter who can, the profile in which a is one place higher."""
    for v, vote in enumerate(profile.rankings.tolist()):
        place = vote.index(a)
        if place == 0:
            continue
        vote[place - 1], vote[place] = a, vote[place - 1]
        if profile.feasible(vote):
            votes = profile.rankings.copy()
            votes[v] = vote
            yield v, RankingProfile(votes, profile.weights, profile.features)
