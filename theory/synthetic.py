"""What moves the true reward at constant divergence, and what flipped labels do."""

from dataclasses import dataclass, replace
from math import log

import numpy as np
from jaxtyping import Complex, Float

from nlhf.learning.reward_on_policy.judging import matched_derivative
from nlhf.numerics import EPSILON, sigmoid
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Logs, relative
from .draws import Draws, instances
from .over_optimisation import (
    Bandit,
    Rewards,
    as_clustered,
    covariance,
    draw_bandit,
    draw_other,
    is_soft_optimum,
    size,
    soft_optimum,
    spread,
)
from .self_labels import Labels, fit_error, fitted

_TOLERANCE = 1e-9
_STEP = 1e-40

Vector = Float[np.ndarray, "row"]
Tilted = Complex[np.ndarray, "context response"]


@dataclass(frozen=True, slots=True, eq=False)
class Increment:
    """A reward that is changed, and how it is rescaled meanwhile.

    Attributes:
        bandit: Truth, estimate, reference, temperature and weights.
        policy: What is taken for π_r̂.
        change: s.
        rescale: λ', the derivative of the scale in ε.
    """

    bandit: Bandit
    policy: Logs
    change: Rewards
    rescale: float


def moved(instance: Increment, amount: complex) -> Tilted:
    """Return the log-policy after r̂ ↦ (1 + ελ')(r̂ + εs), for a complex ε."""
    bandit = instance.bandit
    reward = (1.0 + amount * instance.rescale) * (bandit.estimate + amount * instance.change)
    logits = instance.policy + (reward - bandit.estimate) / bandit.temperature
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))


def rates(instance: Increment) -> tuple[float, float]:
    """Return the derivatives of the gold reward and of the divergence, by a complex step."""
    bandit = instance.bandit
    logs = moved(instance, 1j * _STEP)
    gold = bandit.weights @ (np.exp(logs) * bandit.truth).sum(axis=-1)
    nats = bandit.weights @ (np.exp(logs) * (logs - bandit.log_reference)).sum(axis=-1)
    return float(gold.imag) / _STEP, float(nats.imag) / _STEP


def _scale(instance: Increment) -> float:
    bandit = instance.bandit
    change = 1.0 + float(np.abs(instance.change).max())
    change += abs(instance.rescale) * float(np.abs(bandit.estimate).max())
    return change * (1.0 + float(np.abs(bandit.truth).max())) / bandit.temperature


def _matched_kl(instance: Increment) -> Margin:
    bandit, policy, weights = instance.bandit, instance.policy, instance.bandit.weights
    estimate, change = bandit.estimate, instance.change
    share = covariance(weights, policy, estimate, change)
    share /= covariance(weights, policy, estimate, estimate)
    partial = covariance(weights, policy, bandit.truth, change)
    partial -= share * covariance(weights, policy, bandit.truth, estimate)
    gold, _ = rates(instance)
    scale = _scale(instance)
    allowed = 256.0 * EPSILON * scale * (1.0 + size(bandit, policy) / bandit.temperature)
    shipped = matched_derivative(as_clustered(bandit), estimate, change)
    return Margin.every(
        {
            "derivative": Margin.equal(
                gold, partial / bandit.temperature, scale=scale, rounding=allowed
            ),
            "shipped": Margin.equal(gold, shipped, scale=scale, rounding=allowed),
        }
    )


def _is_matched(instance: Increment) -> bool:
    return abs(rates(instance)[1]) <= _TOLERANCE * _scale(instance) / instance.bandit.temperature


def matching_rescale(bandit: Bandit, policy: Logs, change: Rewards) -> float:
    """Return the λ' that keeps the divergence: −Cov(f, s)/Cov(f, r̂) with f = log π/π_0."""
    weights, ratio = bandit.weights, policy - bandit.log_reference
    response = covariance(weights, policy, ratio, bandit.estimate)
    if response == 0.0:
        return 0.0
    return -covariance(weights, policy, ratio, change) / response


def _draw_increment(draws: Draws, wrong: bool = False, matched: bool = True) -> Increment:
    bandit = draw_bandit(draws, coldest=0.1, lowest=-6.0)
    if spread(bandit.estimate) < 0.1:
        estimate = bandit.estimate.copy()
        estimate[:, 0] += 0.5
        bandit = replace(bandit, estimate=estimate)
    policy = draw_other(draws, bandit) if wrong else soft_optimum(bandit, bandit.estimate)
    sharpens = draws.chance(4)
    drawn = np.asarray(draws.array(bandit.truth.shape, -1.0, 1.0))
    change = bandit.log_reference if sharpens else drawn
    rescale = matching_rescale(bandit, policy, change) if matched else draws.between(-1.0, 1.0)
    return Increment(bandit, policy, change, rescale)


MATCHED_KL = Theorem(
    key="matched-kl-criterion",
    statement=(
        r"\frac{d}{d\varepsilon}E r^* = \tfrac1\beta\{Cov_{\pi_\theta}(r^*,s) -"
        r" \tfrac{Cov(r^*,\hat r)}{Var(\hat r)}Cov(\hat r,s)\} along \hat r + \varepsilon s,"
        r" rescaled so that E_x KL(\pi\|\pi_0) stays, at \pi_\theta \propto \pi_0e^{\hat r/\beta};"
        r" covariances within a context, averaged"
    ),
    sources=(Citation("lang2024", "Section 4.3, the retrained policy"),),
    hypotheses=(
        Hypothesis(
            "soft-optimal",
            r"\pi_\theta \propto \pi_0e^{\hat r/\beta}",
            lambda x: is_soft_optimum(x.bandit, x.bandit.estimate, x.policy),
        ),
        Hypothesis("matched", r"\frac{d}{d\varepsilon}E_xKL(\pi\|\pi_0) = 0", _is_matched),
    ),
    margin=_matched_kl,
    instances=instances(_draw_increment),
    controls={
        "soft-optimal": instances(lambda draws: _draw_increment(draws, wrong=True)),
        "matched": instances(lambda draws: _draw_increment(draws, matched=False)),
    },
)


@dataclass(frozen=True, slots=True, eq=False)
class Noisy:
    """Comparisons along one feature whose labels are flipped.

    Attributes:
        weight: w, the true weight of the feature.
        margins: Δφ of every pair.
        mass: How often each is compared.
        flips: Probability that a label is flipped if the first response won, and if it lost.
        assumed: η, what the flips are taken for.
    """

    weight: float
    margins: Vector
    mass: Vector
    flips: tuple[float, float]
    assumed: float


def seen(instance: Noisy, won: Vector) -> Vector:
    """Return the probability of the label "first", from that of the first one's winning."""
    lost, gained = instance.flips
    return (1.0 - lost) * won + gained * (1.0 - won)


def _softplus(u: Vector) -> Vector:
    return np.asarray(np.logaddexp(0.0, u))


def corrected(instance: Noisy, score: Vector) -> Vector:
    """Return [(1 − η)ℓ(u) − ηℓ(−u)]/(1 − 2η) with ℓ(u) = −log σ(u)."""
    eta = instance.assumed
    return ((1.0 - eta) * _softplus(-score) - eta * _softplus(score)) / (1.0 - 2.0 * eta)


def _label_noise(instance: Noisy) -> Margin:
    kept, at = 1.0 - 2.0 * instance.assumed, instance.weight * instance.margins
    won = sigmoid(at)
    labelled = seen(instance, won)
    rounded = 64.0 * EPSILON * (1.0 + float(np.abs(at).max()))
    labels = Labels(instance.margins[:, None], instance.mass, labelled)
    found = fitted(labels, np.zeros(1))
    off = fit_error(labels, found)
    wide = float(np.abs(instance.margins).max())
    passed = (1.0 - sum(instance.flips)) * won * (1.0 - won)
    fisher = float(instance.mass @ (passed**2 / (labelled * (1.0 - labelled))))
    clean = float(instance.mass @ (won * (1.0 - won)))
    middle = float(seen(instance, np.array([0.5]))[0])
    tied = ((1.0 - sum(instance.flips)) / 4.0) ** 2 / (middle * (1.0 - middle))
    score = found[0] * instance.margins + 0.5
    noisy = labelled * corrected(instance, score) + (1.0 - labelled) * corrected(instance, -score)
    true = won * _softplus(-score) + (1.0 - won) * _softplus(score)
    fit = sigmoid(found[0] * instance.margins)
    mixed = (1.0 - instance.assumed) * won + instance.assumed * (1.0 - won)

    def same(lhs: Vector, rhs: Vector, rounding: float) -> Margin:
        return Margin.equal(float(np.abs(lhs - rhs).max()), 0.0, scale=1.0, rounding=rounding)

    parts = {
        "preference": same(labelled - 0.5, kept * (won - 0.5), rounded),
        "information at a tie": Margin.equal(tied, kept**2 / 4.0, scale=0.25, rounding=rounded),
        "information": relative(fisher, kept**2 * clean, rounded),
        "weight": same(fit, mixed, rounded + wide * off),
        "shrinks": Margin.at_most(
            abs(float(found[0])), kept * abs(instance.weight), scale=1.0, rounding=rounded + off
        ),
        "corrected loss": same(noisy, true, rounded * (1.0 + float(np.abs(score).max())) / kept**2),
    }
    if kept > 0.0:
        parts["shipped"] = same(labelled, _shipped_labels(instance), rounded)
    return Margin.every(parts)


def _shipped_labels(instance: Noisy) -> Vector:
    """Return the package's labels: every pair is a context, its first response worth wΔφ more."""
    truth = np.stack([instance.weight * instance.margins, np.zeros(len(instance.margins))], axis=1)
    even = np.full(truth.shape, -log(2.0))
    weights = np.full(len(truth), 1.0 / len(truth))
    bandit = Bandit(truth, truth, even, 1.0, weights)
    return np.asarray(as_clustered(bandit, instance.assumed).human_preference[:, 0, 1])


def _draw_noisy(
    draws: Draws, margins: int = 1, lopsided: float = 0.0, heavy: bool = False
) -> Noisy:
    weight = draws.one_of((-1.0, 1.0)) * draws.between(0.2, 3.0)
    eta = draws.between(0.55, 0.9) if heavy else draws.between(0.01, 0.4)
    sizes = draws.between(0.3, 2.0) * np.array([1.0, 0.2, 3.0][:margins])
    flips = (eta, eta + lopsided)
    mass = np.full(margins, 1.0 / margins)
    return Noisy(weight, sizes, mass, flips, eta)


def _draw_misjudged(draws: Draws) -> Noisy:
    instance = _draw_noisy(draws)
    other = instance.assumed + (0.05 if instance.assumed < 0.2 else -0.05)
    return replace(instance, assumed=other)


LABEL_NOISE = Theorem(
    key="label-noise",
    statement=(
        r"labels flipped with probability \eta: \tilde p - \tfrac12 = (1-2\eta)(\sigma-\tfrac12);"
        r" the Fisher information is at most (1-2\eta)^2 times that without flips, with equality at"
        r" a tie; pairs that all differ by \Delta in one feature have \sigma(w_\eta\Delta) ="
        r" (1-\eta)\sigma(w\Delta)+\eta\sigma(-w\Delta), and |w_\eta| \le (1-2\eta)|w|; the loss"
        r" [(1-\eta)\ell(u)-\eta\ell(-u)]/(1-2\eta) has the mean of \ell without flips"
    ),
    sources=(
        Citation("lang2024", "simulated annotators that flip 25 %"),
        Citation("natarajan2013", "Lemma 1, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis(
            "symmetric",
            r"both labels are flipped equally often",
            lambda x: abs(x.flips[0] - x.flips[1]) <= _TOLERANCE,
        ),
        Hypothesis("known", r"\eta is what it is taken for", lambda x: x.flips[0] == x.assumed),
        Hypothesis("below-half", r"\eta < \tfrac12", lambda x: x.assumed < 0.5),
        Hypothesis(
            "one-margin",
            r"all pairs differ by \Delta",
            lambda x: bool(np.ptp(x.margins) <= _TOLERANCE),
        ),
    ),
    margin=_label_noise,
    instances=instances(_draw_noisy),
    controls={
        "symmetric": instances(
            lambda draws: _draw_noisy(draws, lopsided=-draws.between(0.005, 0.01))
        ),
        "known": instances(_draw_misjudged),
        "below-half": instances(lambda draws: _draw_noisy(draws, heavy=True)),
        "one-margin": instances(lambda draws: _draw_noisy(draws, margins=3)),
    },
)


ALL = (MATCHED_KL, LABEL_NOISE)
