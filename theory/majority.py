"""Majority cycles: no reward, and no pure equilibrium, in exact integer arithmetic."""

from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances

Signs = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Majority:
    """Majorities as integers, and the temperature of the game they are played in.

    Attributes:
        margins: ``margins[a][b]`` has the sign of P(a, b) − 1/2; only signs matter.
        temperature: τ.
    """

    margins: Signs
    temperature: float = 0.0

    @property
    def responses(self) -> range:
        """The responses."""
        return range(len(self.margins))


def is_skew(majority: Majority) -> bool:
    """Return whether margins are opposite: P + Pᵀ = 1."""
    m = majority.margins
    return all(m[a][b] == -m[b][a] for a in majority.responses for b in majority.responses)


@cache
def _rankings(responses: int) -> frozenset[tuple[bool, ...]]:
    """Return every relation "r(a) ≥ r(b)" that some scalar r defines, by trying all ranks."""
    return frozenset(
        tuple(a >= b for a in ranks for b in ranks)
        for ranks in product(range(responses), repeat=responses)
    )


def reward_exists(majority: Majority) -> bool:
    """Return whether some r has r(a) ≥ r(b) exactly where at least half prefer a to b."""
    relation = tuple(margin >= 0 for row in majority.margins for margin in row)
    return relation in _rankings(len(majority.margins))


def has_strict_cycle(majority: Majority) -> bool:
    """Return whether a cycle of weak majorities contains a strict one, by transitive closure."""
    m = majority.margins
    reaches = [[m[a][b] >= 0 for b in majority.responses] for a in majority.responses]
    for k in majority.responses:
        for a in majority.responses:
            for b in majority.responses:
                reaches[a][b] = reaches[a][b] or (reaches[a][k] and reaches[k][b])
    return any(
        m[a][b] > 0 and reaches[b][a] for a in majority.responses for b in majority.responses
    )


def has_pure_equilibrium(majority: Majority) -> bool:
    """Return whether both players playing one response a is an equilibrium, by all deviations.

    At a positive temperature it never is unless a is alone: leaving the reference's support costs
    an infinite slope, so best responses have full support.
    """
    m = majority.margins
    if majority.temperature > 0.0:
        return len(m) == 1
    return any(
        all(m[b][a] <= m[a][a] <= m[a][b] for b in majority.responses) for a in majority.responses
    )


def has_weak_condorcet_winner(majority: Majority) -> bool:
    """Return whether some response is preferred by at least half to every other one."""
    m = majority.margins
    return any(all(m[a][b] >= 0 for b in majority.responses if b != a) for a in majority.responses)


def _agree(first: bool, second: bool) -> Margin:
    return Margin.equal(float(first), float(second), scale=1.0, rounding=0.0)


def _no_reward_no_equilibrium(majority: Majority) -> Margin:
    return Margin.every(
        {
            "reward": _agree(reward_exists(majority), not has_strict_cycle(majority)),
            "equilibrium": _agree(
                has_pure_equilibrium(majority), has_weak_condorcet_winner(majority)
            ),
        }
    )


def from_pairs(responses: int, signs: tuple[int, ...], temperature: float = 0.0) -> Majority:
    """Return the majorities with these margins of a over b, for a < b in order."""
    margins = [[0] * responses for _ in range(responses)]
    for (a, b), sign in zip(combinations(range(responses), 2), signs, strict=True):
        margins[a][b], margins[b][a] = sign, -sign
    return Majority(tuple(tuple(row) for row in margins), temperature)


def tournaments(responses: int, outcomes: tuple[int, ...]) -> tuple[Majority, ...]:
    """Return every assignment of the outcomes to the pairs."""
    pairs = responses * (responses - 1) // 2
    return tuple(from_pairs(responses, signs) for signs in product(outcomes, repeat=pairs))


ENUMERATED = (
    *(majority for n in (1, 2, 3, 4) for majority in tournaments(n, (-1, 0, 1))),
    *tournaments(5, (-1, 1)),
)
"""All weak tournaments on up to four responses and all strict ones on five: 1,784."""


def _draw_majority(draws: Draws, temperature: float = 0.0) -> Majority:
    responses = 5
    pairs = responses * (responses - 1) // 2
    signs = tuple(draws.whole(2) - 1 for _ in range(pairs))
    return from_pairs(responses, signs, temperature)


def _draw_lopsided(draws: Draws) -> Majority:
    responses = 2 + draws.whole(2)
    rows = [[draws.whole(2) - 1 for _ in range(responses)] for _ in range(responses)]
    return Majority(tuple(tuple(row) for row in rows))


NO_REWARD_NO_EQUILIBRIUM = Theorem(
    key="no-reward-no-equilibrium",
    statement=(
        r"a scalar r with r(a) \ge r(b) \iff P(a,b) \ge \tfrac12 exists iff no cycle of weak"
        r" majorities contains a strict one; and at temperature 0 a pure symmetric equilibrium"
        r" exists iff there is a weak Condorcet winner"
    ),
    sources=(
        Citation("fishburn1984", "maximal lotteries, as commonly stated"),
        Citation("brandt2016", "weak majority relation, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis("complementary", r"P + P^\top = 1", is_skew),
        Hypothesis("zero-temperature", r"\tau = 0", lambda majority: majority.temperature == 0.0),
    ),
    margin=_no_reward_no_equilibrium,
    instances=instances(_draw_majority),
    controls={
        "complementary": instances(_draw_lopsided),
        "zero-temperature": instances(lambda draws: _draw_majority(draws, temperature=1.0)),
    },
    sharp=ENUMERATED,
)

ALL = (NO_REWARD_NO_EQUILIBRIUM,)
