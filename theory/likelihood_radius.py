"""How far maximum likelihood is from the truth on the data: a radius, and one that is too small."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb, exp, log

import numpy as np
from jaxtyping import Bool

from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import Link
from nlhf.numerics import EPSILON
from nlhf.theorems import (
    Citation,
    Counterexample,
    Expected,
    Hypothesis,
    Margin,
    Strategy,
    Theorem,
)

from .draws import Draws, instances
from .enclosures import exponential
from .experiments import (
    Experiment,
    Level,
    Table,
    conduct,
    draw_experiment,
    is_likely,
    is_predictable,
    is_realisable,
    levels,
    log_odds,
)

RADIUS = 2.0
"""Σ (P̂ − P*)² ≤ 2 log(|P|/δ)."""

ODDS_RADIUS = 8.0
"""Σ (R̂ − R*)² ≤ 8 (2 + e^B + e^−B) log(|P|/δ)."""

TRANSCRIBED = 1.0

_CLEARLY = 1e-9
"""A radius counts as exceeded only if it is by this much, relatively."""


def _at(values: Table, level: int, experiment: Experiment) -> np.ndarray:
    chosen = experiment.estimates[level][:, None]
    return np.asarray(np.take_along_axis(values, chosen, axis=1)[:, 0])


def _ever(experiment: Experiment, flags: list[np.ndarray], found: tuple[Level, ...]) -> float:
    """Return the probability that a flag is set after any round."""
    so_far = np.zeros(1, dtype=bool)
    for flag in flags:
        so_far = np.repeat(so_far, experiment.batch + 1) | flag
    return float(found[-1].chance[so_far].sum())


def _rarely(experiment: Experiment, chance: float, found: tuple[Level, ...]) -> Margin:
    """Return the margin of a probability that is to be at most δ."""
    nodes = len(found[-1].chance)
    allowed = (64 + nodes + 4 * experiment.batch * len(found)) * EPSILON * max(chance, 1e-3)
    return Margin.at_most(chance, experiment.delta, scale=experiment.delta, rounding=allowed)


def _exceeds(values: np.ndarray, radius: float) -> Bool[np.ndarray, "node"]:
    return np.asarray(values > radius + _CLEARLY * (1.0 + abs(radius)))


def _every_model(experiment: Experiment, level: Level) -> Bool[np.ndarray, "node"]:
    """Return whether some model breaks Σ −log BC ≤ ½ Σ log P*/P + log((|P| − 1)/δ)."""
    rivals = len(experiment.models) - 1
    behind = 0.5 * (level.log_likelihood[:, :1] - level.log_likelihood)
    allowed = log(rivals / experiment.delta)
    slack = _CLEARLY * (1.0 + abs(allowed) + np.abs(behind))
    return np.asarray((level.hellinger - behind > allowed + slack)[:, 1:].any(axis=1))


def _shipped(experiment: Experiment, link: Link) -> float:
    """Return the package's radius for the class."""
    models = experiment.models
    entries = models - 0.5 if link is Link.PROBABILITY else log_odds(models)
    tables = entries[:, :, None, None] * np.array([[0.0, 1.0], [-1.0, 0.0]])
    return FiniteClass(tables, link).radius(experiment.delta)


def _radius(experiment: Experiment) -> Margin:
    found, share = levels(experiment), log(len(experiment.models) / experiment.delta)
    squared = [_exceeds(_at(x.squared, t, experiment), RADIUS * share) for t, x in enumerate(found)]
    apart = [_exceeds(_at(x.hellinger, t, experiment), share) for t, x in enumerate(found)]
    radius = _shipped(experiment, Link.PROBABILITY)
    shipped = [_exceeds(_at(x.squared, t, experiment), radius) for t, x in enumerate(found)]
    flags = {"squared": squared, "hellinger": apart, "shipped": shipped}
    if len(experiment.models) > 1:
        flags["every model"] = [_every_model(experiment, level) for level in found]
    return Margin.every(
        {
            name: _rarely(experiment, _ever(experiment, flag, found), found)
            for name, flag in flags.items()
        }
    )


REALISABLE: Hypothesis[Experiment] = Hypothesis(
    "realisable", r"labels are drawn from P^* \in \mathcal P", is_realisable
)
PREDICTABLE: Hypothesis[Experiment] = Hypothesis(
    "predictable", r"which pair is compared does not depend on its label", is_predictable
)
LIKELY: Hypothesis[Experiment] = Hypothesis(
    "likelihood", r"L(\hat P) \ge L(P^*), as for a maximum-likelihood estimate", is_likely
)


def _draw_foreign(draws: Draws) -> Experiment:
    """Draw labels from something else than P*."""
    low, high = draws.between(0.05, 0.2), draws.between(0.8, 0.95)
    return conduct(
        np.array([[low], [high]]),
        draws.one_of((20, 40)),
        1,
        draws.logarithmic(0.01, 0.5),
        np.random.default_rng(0),
        law=np.array([high]),
    )


def _draw_peeking(draws: Draws) -> Experiment:
    """Book wins under a pair that P* says is lost, and losses under one that it says is won."""
    sure = draws.between(0.9, 0.95)
    models = np.array([[sure, 1.0 - sure], [1.0 - sure, sure]])
    delta = draws.logarithmic(0.3, 0.5)
    plain = conduct(models, 1, 9, delta, np.random.default_rng(0))
    filed = tuple(np.broadcast_to([0, 1], booked.shape).copy() for booked in plain.filed)
    everywhere = tuple(np.ones_like(chosen) for chosen in plain.estimates)
    asked = tuple(np.zeros_like(pairs) for pairs in plain.asked)
    peeking = replace(plain, asked=asked, filed=filed, estimates=everywhere)
    likely = [np.argmax(level.log_likelihood, axis=1) for level in levels(peeking)]
    return replace(peeking, estimates=tuple(likely))


def _draw_unlikely(draws: Draws) -> Experiment:
    """Draw an estimate that is some other model, whatever the data say."""
    models = np.array([[draws.between(0.05, 0.2)], [draws.between(0.8, 0.95)]])
    delta = draws.logarithmic(0.01, 0.5)
    plain = conduct(models, draws.one_of((20, 40)), 1, delta, np.random.default_rng(0))
    return replace(plain, estimates=tuple(np.ones_like(x) for x in plain.estimates))


CONTROLS: dict[str, Strategy[Experiment]] = {
    "realisable": instances(_draw_foreign),
    "predictable": instances(_draw_peeking),
    "likelihood": instances(_draw_unlikely),
}


def sure_rival(chance: float, count: int) -> Experiment:
    """Return a pair won with a probability, a rival that says always, and δ that of all wins."""
    models = np.array([[chance], [1.0]])
    delta = chance**count * (1.0 + 1e-6)
    return conduct(models, count, 1, delta, np.random.default_rng(0))


MLE_RADIUS = Theorem(
    key="mle-radius",
    statement=(
        r"with probability 1-\delta, after every round of data collected adaptively:"
        r" \sum_i -\log BC(P,P^*)(z_i) \le \tfrac12\sum_i \log(P^*/P)(y_i)"
        r" + \log((|\mathcal P|-1)/\delta) for every P in \mathcal P; hence for the"
        r" maximum-likelihood estimate \sum_i -\log BC(\hat P,P^*)(z_i)"
        r" \le \log(|\mathcal P|/\delta) and"
        r" \sum_i (\hat P-P^*)^2(z_i) \le 2\log(|\mathcal P|/\delta)"
    ),
    sources=(
        Citation("ye2024", "as commonly stated"),
        Citation("zhang2006", "the exponential moment of half the log-likelihood ratio"),
        Citation("ville1939", "the maximal inequality"),
    ),
    hypotheses=(REALISABLE, PREDICTABLE, LIKELY),
    margin=_radius,
    instances=instances(draw_experiment),
    controls=CONTROLS,
    sharp=(sure_rival(0.5, 6), sure_rival(0.3, 3)),
    constants={"radius": RADIUS},
)


def _odds(experiment: Experiment) -> Margin:
    found, bound = levels(experiment), experiment.bound
    radius = ODDS_RADIUS * (2.0 + exp(bound) + exp(-bound))
    radius *= log(len(experiment.models) / experiment.delta)
    parts = {}
    for name, limit in (("claim", radius), ("shipped", _shipped(experiment, Link.LOG_ODDS))):
        flags = [_exceeds(_at(x.odds, t, experiment), limit) for t, x in enumerate(found)]
        parts[name] = _rarely(experiment, _ever(experiment, flags, found), found)
    return Margin.every(parts)


def _draw_unbounded(draws: Draws) -> Experiment:
    """Draw a rival that is nearly sure, and a bound of 0."""
    plain = conduct(
        np.array([[0.5], [1.0 - draws.logarithmic(1e-6, 1e-5)]]),
        1,
        1,
        draws.between(0.15, 0.45),
        np.random.default_rng(0),
    )
    return replace(plain, bound=0.0)


MLE_RADIUS_LOG_ODDS = Theorem(
    key="mle-radius-log-odds",
    statement=(
        r"for P = \sigma(R), |R| \le B: with probability 1-\delta, after every round,"
        r" \sum_i (\hat R-R^*)^2(z_i) \le 8(2+e^B+e^{-B})\log(|\mathcal P|/\delta)"
    ),
    sources=(Citation("ye2024", "as commonly stated"),),
    hypotheses=(
        REALISABLE,
        PREDICTABLE,
        LIKELY,
        Hypothesis(
            "bounded", r"|R| \le B", lambda x: bool(np.abs(log_odds(x.models)).max() <= x.bound)
        ),
    ),
    margin=_odds,
    instances=instances(lambda draws: draw_experiment(draws, 0.02, 0.98)),
    controls={**CONTROLS, "bounded": instances(_draw_unbounded)},
    constants={"radius": ODDS_RADIUS},
)


def _without_two(experiment: Experiment) -> Margin:
    found = levels(experiment)
    radius = TRANSCRIBED * log(len(experiment.models) / experiment.delta)
    flags = [_exceeds(_at(x.squared, t, experiment), radius) for t, x in enumerate(found)]
    return _rarely(experiment, _ever(experiment, flags, found), found)


@dataclass(frozen=True, slots=True)
class Duel:
    """P* and one rival on one pair, how often it is compared, and δ."""

    truth: Fraction
    rival: Fraction
    count: int
    delta: Fraction

    @property
    def experiment(self) -> Experiment:
        """The same in floating point, for the margin."""
        models = np.array([[float(self.truth)], [float(self.rival)]])
        return conduct(models, self.count, 1, float(self.delta), np.random.default_rng(0))

    @property
    def squared(self) -> Fraction:
        """Σ (P − P*)² of the rival."""
        return self.count * (self.rival - self.truth) ** 2


SMALLEST = Duel(Fraction(1, 6), Fraction(5, 6), 14, Fraction(1, 244))
"""Seven wins of fourteen are a tie, and the estimate may be the rival."""

UNTIED = Duel(Fraction(3, 19), Fraction(21, 25), 14, Fraction(1, 335))
"""No ties: the estimate is unique."""

BLOCK = Duel(Fraction(1, 2), Fraction(3, 4), 159, Fraction(1, 20))
"""What each of the rivals of `MANY` sees: its own pair, on which alone it differs from P*."""

MANY = 1000
"""|P| of the large instance."""


def chance_of_rival(duel: Duel) -> Fraction:
    """Return the probability that the rival's likelihood is at least that of P*."""
    p, q, n = duel.truth, duel.rival, duel.count
    return sum(
        (
            comb(n, wins) * p**wins * (1 - p) ** (n - wins)
            for wins in range(n + 1)
            if q**wins * (1 - q) ** (n - wins) >= p**wins * (1 - p) ** (n - wins)
        ),
        Fraction(0),
    )


def exceeds_log(value: Fraction, ratio: Fraction) -> bool:
    """Verify value > log(ratio) in rational arithmetic, for 0 ≤ value < 32."""
    return exponential(value).low > ratio


def breaks_without_two(duel: Duel) -> bool:
    """Verify that the rival is estimated with probability above δ, outside log(2/δ)."""
    outside = exceeds_log(duel.squared, 2 / duel.delta)
    return outside and chance_of_rival(duel) > duel.delta


def is_tied(duel: Duel) -> bool:
    """Return whether some number of wins leaves both equally likely."""
    p, q, n = duel.truth, duel.rival, duel.count
    return any(q**w * (1 - q) ** (n - w) == p**w * (1 - p) ** (n - w) for w in range(n + 1))


def breaks_often() -> bool:
    r"""Verify that for |P| = 1000 and δ = 1/20 the smaller radius fails with probability > 3/10.

    P* is 1/2 on 999 pairs, each compared 159 times, and each rival differs from it on one pair of
    its own. If any rival beats P* then the estimate is a rival, and Σ (P̂ − P*)² = 159/16. The pairs
    are independent.
    """
    none = (1 - chance_of_rival(BLOCK)) ** (MANY - 1)
    return exceeds_log(BLOCK.squared, MANY / BLOCK.delta) and 1 - none > Fraction(3, 10)


def _is_certified() -> bool:
    small = all(breaks_without_two(duel) for duel in (SMALLEST, UNTIED))
    return small and is_tied(SMALLEST) and not is_tied(UNTIED) and breaks_often()


MLE_RADIUS_WITHOUT_2 = Theorem(
    key="mle-radius-without-2",
    statement=(
        r"with probability 1-\delta, \sum_i (\hat P-P^*)^2(z_i) \le \log(|\mathcal P|/\delta)"
    ),
    sources=(Citation("ye2024", "as commonly transcribed"),),
    hypotheses=(REALISABLE, PREDICTABLE, LIKELY),
    margin=_without_two,
    instances=instances(draw_experiment),
    controls={},
    expected=Expected.REFUTED,
    sharp=(SMALLEST.experiment, UNTIED.experiment),
    constants={"radius": TRANSCRIBED},
    counterexample=Counterexample(
        r"one pair, won with $\tfrac16$ under $P^*$ and with $\tfrac56$ under the only rival,"
        r" compared 14 times, and $\delta = \tfrac1{244}$: the rival is at least as likely with"
        r" probability $0.004108 > \delta$, and $14 \cdot \tfrac49 > \log(2/\delta)$; without ties"
        r" $\tfrac3{19}$, $\tfrac{21}{25}$, 14 comparisons, $\delta = \tfrac1{335}$; and with 1000"
        r" models and $\delta = \tfrac1{20}$ the radius fails with probability above $\tfrac3{10}$",
        _is_certified,
        python="""\
from fractions import Fraction as F
from math import comb, factorial


def chance(p, q, n):  # that the rival q is at least as likely as the true p on n comparisons
    wins = [w for w in range(n + 1) if q**w * (1 - q) ** (n - w) >= p**w * (1 - p) ** (n - w)]
    return sum(comb(n, w) * p**w * (1 - p) ** (n - w) for w in wins)


def outside(p, q, n, ratio):  # whether n (q - p)^2 > log(ratio), by the exponential series
    return sum((n * (q - p) ** 2) ** k / F(factorial(k)) for k in range(60)) > ratio


cases = ((F(1, 6), F(5, 6), 14, F(1, 244)), (F(3, 19), F(21, 25), 14, F(1, 335)))
for p, q, n, delta in cases:
    assert outside(p, q, n, 2 / delta) and chance(p, q, n) > delta

# 999 rivals, each with a pair of its own, which has 1/2 in truth
p, q, n, models, delta = F(1, 2), F(3, 4), 159, 1000, F(1, 20)
assert outside(p, q, n, models / delta)
assert 1 - (1 - chance(p, q, n)) ** (models - 1) > F(3, 10)
""",
    ),
)

ALL = (MLE_RADIUS, MLE_RADIUS_LOG_ODDS, MLE_RADIUS_WITHOUT_2)
