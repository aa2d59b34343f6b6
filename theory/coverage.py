"""What offline data must cover: one side of every pair, and how much a temperature helps."""

from dataclasses import dataclass, replace
from math import comb, exp, log, log1p

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, kl_divergence, log_normalise
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT

LOST = 1 / 2
"""Some truth has an expected gap of at least h/2."""

EXPONENT = 1 / 2
FEW = 1 / 4
COLD = 1 / 6
LEFT = 1 / 8
"""With n ≤ e^{1/(2τ)}/4 comparisons some truth has an expected gap of at least τ/8."""

_PAIRS = ((0, 1), (0, 2), (1, 2))

Truths = Float[np.ndarray, "truth response response"]
Answers = Float[np.ndarray, "outcome response"]


@dataclass(frozen=True, slots=True, eq=False)
class Uncovered:
    """Two truths on responses a, b, c, comparisons of their pairs, and an estimator.

    Attributes:
        truths: Probabilities that the row beats the column, under either truth.
        advantage: h: a beats b by h under the first, and loses by h under the second.
        counts: How often (a, b), (a, c) and (b, c) are compared.
        answers: The estimator: a policy for every outcome, outcomes being the wins of each pair
            in lexicographic order; the mean policy, if it is a random one.
    """

    truths: Truths
    advantage: float
    counts: tuple[int, int, int]
    answers: Answers


def binomial(count: int, chance: float) -> Float[np.ndarray, "wins"]:
    """Return the probability of every number of wins."""
    wins = np.arange(count + 1)
    ways = np.array([float(comb(count, int(w))) for w in wins])
    return np.asarray(ways * chance**wins * (1.0 - chance) ** (count - wins))


def outcome_chances(instance: Uncovered) -> Float[np.ndarray, "truth outcome"]:
    """Return the probability of every outcome under either truth."""
    found = []
    for truth in instance.truths:
        chances = np.ones(1)
        for pair, count in zip(_PAIRS, instance.counts, strict=True):
            chances = np.outer(chances, binomial(count, float(truth[pair]))).ravel()
        found.append(chances)
    return np.array(found)


def expected_gaps(instance: Uncovered) -> Float[np.ndarray, "truth"]:
    """Return the expected gap 1/2 − min_b E P(·, b) at temperature 0 under either truth."""
    secured = np.einsum("oa,tab->tob", instance.answers, instance.truths).min(axis=2)
    return np.asarray((outcome_chances(instance) * (0.5 - secured)).sum(axis=1))


def _unilateral(instance: Uncovered) -> Margin:
    worst = float(expected_gaps(instance).max())
    half = LOST * instance.advantage
    allowed = 64 * EPSILON * len(instance.answers)
    difference = instance.truths[0] - instance.truths[1]
    alone = np.abs(np.einsum("oa,ab,ob->o", instance.answers, difference, instance.answers)).max()
    return Margin.every(
        {
            "some truth is lost": Margin.at_most(half, worst, scale=half, rounding=allowed),
            "a policy against itself": Margin.equal(
                0.0, float(alone), scale=1.0, rounding=64 * EPSILON
            ),
        }
    )


def twins(advantage: float, beaten: float, swapped: bool = True) -> Truths:
    """Return truths in which a and b beat c by `beaten`, and a beats b by ±h."""
    truths = np.full((2, 3, 3), 0.5)
    for sign, truth in zip((1.0, -1.0 if swapped else 1.0), truths, strict=True):
        for (i, j), more in zip(_PAIRS, (sign * advantage, beaten, beaten), strict=True):
            truth[i, j] += more
            truth[j, i] = 1.0 - truth[i, j]
    return truths


def _are_twins(instance: Uncovered) -> bool:
    above = [instance.truths[:, i, j] - 0.5 for i, j in _PAIRS]
    h = instance.advantage
    return bool(
        h > 0.0
        and np.allclose(above[0], [h, -h], rtol=0.0, atol=8 * EPSILON)
        and (above[1] == above[1][0]).all()
        and (above[2] == above[2][0]).all()
        and min(above[1][0], above[2][0]) >= h / 2.0
    )


def _draw_answers(draws: Draws, outcomes: int) -> Answers:
    """Draw policies, in half of the cases close to the best: a and b evenly."""
    generator = np.random.default_rng(draws.whole(2**30))
    policies = generator.dirichlet(np.full(3, draws.one_of((0.2, 1.0))), size=outcomes)
    if draws.chance(2):
        near = draws.one_of((0.0, 0.01, 0.1))
        policies = (1.0 - near) * np.array([0.5, 0.5, 0.0]) + near * policies
    return np.asarray(policies)


def _draw_uncovered(draws: Draws) -> Uncovered:
    h = draws.between(0.01, 0.5, steps=98)
    beaten = draws.between(0.51 * h, 0.5)
    counts = (0, draws.whole(6), draws.whole(6))
    outcomes = (counts[1] + 1) * (counts[2] + 1)
    return Uncovered(twins(h, beaten), h, counts, _draw_answers(draws, outcomes))


def _draw_covered(draws: Draws) -> Uncovered:
    """Draw data on (a, b), and the estimator that plays the winner."""
    h, count = draws.between(0.3, 0.5), 2 * draws.whole(5) + 15
    first = np.arange(count + 1) * 2 > count
    answers = np.where(first[:, None], np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    return Uncovered(twins(h, 0.5), h, (count, 0, 0), answers)


def _draw_lopsided(draws: Draws) -> Uncovered:
    instance = _draw_uncovered(draws)
    truths = instance.truths + np.tril(np.full((3, 3), draws.between(1.0, 2.0)), -1)
    even = np.full_like(instance.answers, 1 / 3)
    truths[1] += np.tril(np.ones((3, 3)), -1)
    return replace(instance, truths=truths, answers=even)


def _draw_third(draws: Draws) -> Uncovered:
    """Draw truths that differ little from c for either, so that c is nearly as good as both."""
    h = draws.between(0.1, 0.5)
    answers = np.array([[0.0, 0.0, 1.0]])
    return Uncovered(twins(h, h * draws.between(0.0, 0.4)), h, (0, 0, 0), answers)


def evenly(advantage: float) -> Uncovered:
    """Return the estimator that plays a and b evenly, whatever it sees."""
    answers = np.tile([0.5, 0.5, 0.0], (4, 1))
    return Uncovered(twins(advantage, 0.5), advantage, (0, 1, 1), answers)


UNILATERAL_COVERAGE_NEEDED = Theorem(
    key="unilateral-coverage-needed",
    statement=(
        r"at temperature 0: two truths P = 1/2 \pm h on (a,b), in which a and b beat c by h/2 or"
        r" more, so that a or b is the pure equilibrium; comparisons of all pairs but (a,b), any"
        r" number: every estimator has an expected gap of at least h/2 under one of them; while"
        r" E_{\pi,\pi}(P-P') = 0 for every \pi, so that a coefficient of one policy is 0"
    ),
    sources=(Citation("cui2022", "as commonly stated"),),
    hypotheses=(
        Hypothesis(
            COMPLEMENTARY,
            COMPLEMENTARY_TEXT,
            lambda x: bool((x.truths + np.swapaxes(x.truths, 1, 2) == 1.0).all()),
        ),
        Hypothesis("twins", r"P = 1/2 \pm h on (a,b), c loses by at least h/2", _are_twins),
        Hypothesis("uncovered", r"a and b are never compared", lambda x: x.counts[0] == 0),
    ),
    margin=_unilateral,
    instances=instances(_draw_uncovered),
    controls={
        COMPLEMENTARY: instances(_draw_lopsided),
        "twins": instances(_draw_third),
        "uncovered": instances(_draw_covered),
    },
    sharp=(evenly(0.5), evenly(0.125)),
    constants={"lost": LOST},
)


@dataclass(frozen=True, slots=True, eq=False)
class Rare:
    """Two responses, of which b is rare; under one truth it always wins, under the other never.

    Attributes:
        temperature: τ.
        share: μ(b).
        count: How many pairs, drawn from μ × μ, are compared.
        log_odds: log π(b)/π(a) of the estimator if only equal responses were compared, if b was
            seen to win, and if it was seen to lose.
    """

    temperature: float
    share: float
    count: int
    log_odds: Float[np.ndarray, "outcome"]


def rare_equilibria(instance: Rare) -> Float[np.ndarray, "truth response"]:
    """Return log π* under either truth: the odds of μ times e^{±1/(2τ)}."""
    odds = log(instance.share) - log1p(-instance.share)
    gain = np.array([0.5, -0.5]) / instance.temperature
    return log_normalise(np.stack([np.zeros(2), odds + gain], axis=1))


def rare_gaps(instance: Rare) -> Float[np.ndarray, "truth"]:
    """Return the expected gaps; with two responses a policy's gap is τ KL(π‖π*).

    What b gains over a is 1/2 whoever plays, so that every best response is π*.
    """
    policies = log_normalise(np.stack([np.zeros(3), instance.log_odds], axis=1))
    best = rare_equilibria(instance)
    unseen = (1.0 - 2.0 * instance.share * (1.0 - instance.share)) ** instance.count
    found = []
    for truth, seen in enumerate((1, 2)):
        pair = np.stack([policies[0], policies[seen]])
        gaps = instance.temperature * kl_divergence(pair, np.stack([best[truth]] * 2))
        found.append(unseen * float(gaps[0]) + (1.0 - unseen) * float(gaps[1]))
    return np.array(found)


def _growth(instance: Rare) -> Margin:
    tau = instance.temperature
    worst = float(rare_gaps(instance).max())
    allowed = 1e-12 * tau * (1.0 + instance.count * instance.share)
    return Margin.at_most(LEFT * tau, worst, scale=tau, rounding=allowed)


def few(temperature: float) -> float:
    """Return e^{1/(2τ)}/4."""
    return FEW * exp(EXPONENT / temperature)


def _known(temperature: float, share: float, count: int, unseen: float) -> Rare:
    """Return the estimator that plays the equilibrium once it has seen which, and else `unseen`."""
    blind = Rare(temperature, share, count, np.zeros(3))
    best = rare_equilibria(blind)
    odds = best[:, 1] - best[:, 0]
    between = float(odds[0] + unseen * (odds[1] - odds[0]))
    return replace(blind, log_odds=np.array([between, odds[0], odds[1]]))


def _draw_rare(draws: Draws) -> Rare:
    tau = draws.between(0.02, COLD)
    count = int(few(tau) * draws.one_of((0.0, 0.5, 1.0, 1.0)))
    share = exp(-EXPONENT / tau)
    if draws.chance(4):
        return Rare(tau, share, count, np.asarray(draws.array((3,), -20.0, 20.0)))
    return _known(tau, share, count, draws.between(0.0, 1.0))


def _draw_many(draws: Draws) -> Rare:
    tau = draws.between(0.05, COLD)
    return _known(tau, exp(-EXPONENT / tau), int(40 * few(tau)), draws.between(0.2, 0.8))


def _draw_common(draws: Draws) -> Rare:
    tau = draws.between(0.04, 0.1)
    return _known(tau, 0.5, int(few(tau)), draws.between(0.2, 0.8))


def _draw_warm(draws: Draws) -> Rare:
    tau = draws.between(1.0, 5.0)
    return _known(tau, exp(-EXPONENT / tau), 0, 0.5)


COVERAGE_GROWS_EXPONENTIALLY = Theorem(
    key="coverage-grows-exponentially",
    statement=(
        r"at temperature \tau \le 1/6 and \mu(b) = e^{-1/(2\tau)}, with two truths under which b"
        r" always or never beats a: from n \le e^{1/(2\tau)}/4 comparisons of pairs from"
        r" \mu\times\mu every estimator has an expected gap of at least \tau/8 under one of them"
    ),
    sources=(Citation("ye2024", "the remark on coverage, as commonly stated"),),
    hypotheses=(
        Hypothesis("cold", r"\tau \le 1/6", lambda x: x.temperature <= COLD),
        Hypothesis("few", r"n \le e^{1/(2\tau)}/4", lambda x: x.count <= few(x.temperature)),
        Hypothesis(
            "rare",
            r"\mu(b) = e^{-1/(2\tau)}",
            lambda x: bool(np.isclose(log(x.share), -EXPONENT / x.temperature, rtol=1e-12)),
        ),
    ),
    margin=_growth,
    instances=instances(_draw_rare),
    controls={
        "cold": instances(_draw_warm),
        "few": instances(_draw_many),
        "rare": instances(_draw_common),
    },
    constants={"exponent": EXPONENT, "few": FEW, "cold": COLD, "left": LEFT},
)

ALL = (UNILATERAL_COVERAGE_NEEDED, COVERAGE_GROWS_EXPONENTIALLY)
