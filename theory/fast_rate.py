"""How fast the plug-in learns: its expected gap by enumeration, and the bounds."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, kl_divergence, log_normalise
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .coverage import binomial
from .definitions import relative
from .draws import Draws, instances
from .plug_in import RANGE_FACTOR

THIRD = 1 / (18 * sqrt(3.0))
"""A third of the greatest third derivative of log(1 + e^θ), which is 1/(6√3)."""

GROWTH = 4
"""Times as many comparisons in the larger experiment."""

Odds = Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """Two responses, compared n times and 4n times, and a policy for every number of wins.

    Attributes:
        chance: P*(a, b).
        law: What labels are drawn with.
        log_share: log μ(a)/μ(b).
        temperature: τ.
        count: n.
        counts: The numbers of comparisons in the two experiments.
        odds: For each of them log π(a)/π(b) by the number of wins of a.
    """

    chance: float
    law: float
    log_share: float
    temperature: float
    count: int
    counts: tuple[int, int]
    odds: tuple[Odds, Odds]


def plug_in_odds(log_share: float, temperature: float, count: int) -> Odds:
    """Return the equilibrium of P̂ = wins/n: what a gains over b is P̂ − 1/2, whoever plays."""
    wins = np.arange(count + 1)
    return np.asarray(log_share + (wins / count - 0.5) / temperature)


def expected_gap(learner: Learner, which: int) -> float:
    """Return E τ KL(π̂‖π*), over the number of wins."""
    tau, odds = learner.temperature, learner.odds[which]
    best = learner.log_share + (learner.chance - 0.5) / tau
    zeros = np.zeros_like(odds)
    played = log_normalise(np.stack([odds, zeros], axis=1))
    target = log_normalise(np.stack([np.full_like(odds, best), zeros], axis=1))
    gaps = tau * kl_divergence(played, target)
    return float(binomial(learner.counts[which], learner.law) @ gaps)


def moments(chance: float, count: int) -> tuple[float, float]:
    """Return E X² and E X⁴ of X = wins/n − p."""
    variance = chance * (1.0 - chance)
    fourth = 3.0 * variance**2 / count**2 + variance * (1.0 - 6.0 * variance) / count**3
    return variance / count, fourth


def plug_in_bound(learner: Learner, which: int) -> float:
    """Return the expected range bound E (P̂ − P*)²/(8τ), by enumeration."""
    count = learner.counts[which]
    errors = np.arange(count + 1) / count - learner.chance
    return float(RANGE_FACTOR / learner.temperature * (binomial(count, learner.law) @ errors**2))


def pessimistic_bound(learner: Learner, which: int, radius: float = 1.0) -> float:
    """Return 2√(ρ C_emp/n), the bound of the version space.

    Models differ in P(a, b) alone, so that E_{π*,ρ}(P − P̂) is at most max(π*) |P − P̂|, and the
    data have n (P − P̂)².
    """
    best = learner.log_share + (learner.chance - 0.5) / learner.temperature
    larger = 1.0 / (1.0 + float(np.exp(-abs(best))))
    return 2.0 * larger * sqrt(radius / learner.counts[which])


def _fast_rate(learner: Learner) -> Margin:
    tau, n = learner.temperature, learner.count
    allowed = 256 * EPSILON * GROWTH * n * (1.0 + 1.0 / tau)
    best = learner.log_share + (learner.chance - 0.5) / tau
    spread = 1.0 / (2.0 + float(np.exp(best) + np.exp(-best)))
    parts = {}
    for which, (name, count) in enumerate((("n", n), ("4n", GROWTH * n))):
        found = expected_gap(learner, which)
        second, fourth = moments(learner.chance, count)
        bound = RANGE_FACTOR * second / tau
        remainder = THIRD * sqrt(second * fourth) / tau**2
        leading = spread * second / (2.0 * tau)
        parts[f"upper bound at {name}"] = relative(found, bound, allowed * bound)
        parts[f"expansion at {name}"] = relative(
            abs(found - leading), remainder, allowed * (remainder + leading)
        )
    small, large = (plug_in_bound(learner, which) for which in (0, 1))
    parts["plug-in's bound"] = Margin.equal(
        small, GROWTH * large, scale=small, rounding=allowed * small
    )
    small, large = (pessimistic_bound(learner, which) for which in (0, 1))
    parts["pessimist's bound"] = Margin.equal(
        small, sqrt(GROWTH) * large, scale=small, rounding=allowed * small
    )
    return Margin.every(parts)


def comparing(chance: float, log_share: float, temperature: float, count: int) -> Learner:
    """Return the plug-in with n and 4n comparisons."""
    counts = (count, GROWTH * count)
    small, large = (plug_in_odds(log_share, temperature, each) for each in counts)
    return Learner(chance, chance, log_share, temperature, count, counts, (small, large))


def _is_plug_in(learner: Learner) -> bool:
    pairs = zip(learner.odds, learner.counts, strict=True)
    return all(
        bool((odds == plug_in_odds(learner.log_share, learner.temperature, count)).all())
        for odds, count in pairs
    )


def _draw_learner(draws: Draws) -> Learner:
    return comparing(
        draws.between(0.02, 0.98),
        draws.between(-4.0, 4.0),
        draws.logarithmic(0.02, 5.0),
        draws.one_of((1, 2, 5, 20, 50)),
    )


def _draw_foreign(draws: Draws) -> Learner:
    """Draw labels that are biased."""
    plain = comparing(draws.between(0.2, 0.4), 0.0, draws.between(0.1, 1.0), 50)
    return replace(plain, law=draws.between(0.7, 0.9))


def _draw_fewer(draws: Draws) -> Learner:
    """Draw two experiments of nearly the same size."""
    plain = _draw_learner(draws)
    counts = (plain.count, plain.count)
    return replace(plain, counts=counts, odds=(plain.odds[0], plain.odds[0]))


def _draw_cautious(draws: Draws) -> Learner:
    """Draw a policy that stays at the reference."""
    chance = draws.between(0.8, 0.95)
    plain = comparing(chance, draws.between(-1.0, 1.0), draws.between(0.1, 0.5), 50)
    stays = tuple(np.full_like(odds, plain.log_share) for odds in plain.odds)
    return replace(plain, odds=(stays[0], stays[1]))


FAST_RATE = Theorem(
    key="fast-rate",
    statement=(
        r"two responses, n labels of one pair: the plug-in NE(\hat P) has"
        r" |E\,gap - \pi^*_a\pi^*_b\,p(1-p)/(2\tau n)|"
        r" \le \sqrt{E X^2\,E X^4}/(18\sqrt3\,\tau^2) = O(n^{-3/2}), X = \hat p - p, and so the"
        r" slope -1 of \log E\,gap on \log n; and E\,gap \le p(1-p)/(8\tau n). Bound against bound:"
        r" that falls as 1/n, the bound \sqrt2\,\beta\sqrt{C_{emp}/n} of the version space as"
        r" n^{-1/2}"
    ),
    sources=(
        Citation("wu2025", "as commonly stated"),
        Citation("ye2024", "the bound of the version space, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis(
            "realisable", r"labels are drawn with p = P^*(a,b)", lambda x: x.law == x.chance
        ),
        Hypothesis("plug-in", r"\hat\pi = NE(\hat P)", _is_plug_in),
        Hypothesis(
            "counts",
            r"n and 4n comparisons",
            lambda x: x.counts == (x.count, GROWTH * x.count),
        ),
    ),
    margin=_fast_rate,
    instances=instances(_draw_learner),
    controls={
        "realisable": instances(_draw_foreign),
        "plug-in": instances(_draw_cautious),
        "counts": instances(_draw_fewer),
    },
    sharp=(comparing(0.5, 0.0, 5.0, 50),),
    constants={"range-factor": RANGE_FACTOR, "remainder": THIRD},
)

ALL = (FAST_RATE,)
