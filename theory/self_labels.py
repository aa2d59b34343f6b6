"""Fitting a reward to pairs again: on other pairs, on its own labels, on a policy's consensus."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON, sigmoid
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Logs, Weights, kl, tilt
from .draws import Draws, instances
from .instances import draw_policy, draw_weights
from .over_optimisation import Bandit, mean, objective, soft_optimum

_STEPS, _HALVINGS = 200, 20
_RANK = 1e-6
"""Smallest eigenvalue of a design of full rank, relative to the largest."""

_NOTHING = 1e-11
_TOLERANCE = 1e-9

Rewards = Float[np.ndarray, "context response"]
Features = Float[np.ndarray, "context response feature"]
Contrasts = Float[np.ndarray, "pair feature"]
PerPair = Float[np.ndarray, "pair"]
Parameter = Float[np.ndarray, "feature"]
Symmetric = Float[np.ndarray, "feature feature"]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Pairs with their mass and the probability that the first response is said to be better.

    Attributes:
        contrasts: φ(first) − φ(second).
        mass: How much a pair counts.
        first: Probability that the first is labelled better.
    """

    contrasts: Contrasts
    mass: PerPair
    first: PerPair

    def joined(self, other: "Labels") -> "Labels":
        """Return all pairs of both."""
        return Labels(
            np.concatenate([self.contrasts, other.contrasts]),
            np.concatenate([self.mass, other.mass]),
            np.concatenate([self.first, other.first]),
        )


def risk(labels: Labels, w: Parameter) -> float:
    """Return the mean of −log σ over pairs: Σ m (softplus(wᵀΔφ) − p wᵀΔφ)."""
    u = labels.contrasts @ w
    return float(labels.mass @ (np.logaddexp(0.0, u) - labels.first * u))


def slope(labels: Labels, w: Parameter) -> Parameter:
    """Return the gradient of the risk."""
    off = sigmoid(labels.contrasts @ w) - labels.first
    return np.asarray(labels.contrasts.T @ (labels.mass * off))


def information(labels: Labels, w: Parameter) -> Symmetric:
    """Return the Hessian of the risk."""
    won = sigmoid(labels.contrasts @ w)
    each = labels.mass * won * (1.0 - won)
    return np.asarray(labels.contrasts.T @ (each[:, None] * labels.contrasts))


def fitted(labels: Labels, start: Parameter) -> Parameter:
    """Return a minimiser of the risk, by damped Newton steps; what pairs do not see stays."""
    x, mass, first = labels.contrasts, labels.mass, labels.first
    w, u = start, x @ start
    here = mass @ (np.logaddexp(0.0, u) - first * u)
    for _ in range(_STEPS):
        won = 0.5 * (1.0 + np.tanh(0.5 * u))
        hessian = x.T @ ((mass * won * (1.0 - won))[:, None] * x)
        inverse = np.linalg.pinv(hessian, rcond=_NOTHING, hermitian=True)
        step = inverse @ (x.T @ (mass * (won - first)))
        for _ in range(_HALVINGS):
            ahead = x @ (w - step)
            value = mass @ (np.logaddexp(0.0, ahead) - first * ahead)
            if value <= here + 4.0 * EPSILON * (1.0 + abs(here)):
                break
            step = 0.5 * step
        w, u, here = w - step, ahead, value
        if np.abs(step).max() <= 4.0 * EPSILON * (1.0 + np.abs(w).max()):
            break
    return np.asarray(w)


def least_curvature(labels: Labels, w: Parameter) -> float:
    """Return the least eigenvalue of the Hessian.

    Eigenvalues that a design of full rank has not got are left out, so that a set of pairs that
    leaves something open is not excused for it.
    """
    values = np.linalg.eigvalsh(information(labels, w))
    return float(values[values > _NOTHING * values[-1]].min(initial=np.inf))


def fit_error(labels: Labels, w: Parameter) -> float:
    """Return a bound on how far a computed minimiser is from the only one, if there is only one.

    Its gradient and the rounding of that, over the least eigenvalue of the Hessian, twice.
    """
    terms = 1.0 + float(np.abs(labels.contrasts).max()) * (1.0 + float(np.abs(w).max()))
    noise = 64.0 * EPSILON * float(labels.mass @ np.abs(labels.contrasts).max(axis=1)) * terms
    return 2.0 * (float(np.abs(slope(labels, w)).sum()) + noise) / least_curvature(labels, w)


def has_full_rank(labels: Labels) -> bool:
    """Return whether the pairs' contrasts span all directions."""
    design = labels.contrasts.T @ (labels.mass[:, None] * labels.contrasts)
    values = np.linalg.eigvalsh(design)
    return bool(values[-1] > 0.0 and values[0] >= _RANK * values[-1])


def contrasts(features: Features) -> Contrasts:
    """Return φ(a) − φ(b) for all a < b of every context."""
    first, second = np.triu_indices(features.shape[1], 1)
    return (features[:, first] - features[:, second]).reshape(-1, features.shape[-1])


def reward_contrasts(reward: Rewards) -> PerPair:
    """Return r(a) − r(b) for all a < b of every context."""
    return contrasts(reward[..., None])[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class Realisable:
    """A class of rewards, a truth, and labels of it on two laws of pairs.

    Attributes:
        features: φ.
        bandit: The true reward; the estimate is not used.
        policy: A policy to measure the error under.
        labels: The two data sets.
    """

    features: Features
    bandit: Bandit
    policy: Logs
    labels: tuple[Labels, Labels]


def centred(values: Float[np.ndarray, "context response ..."]) -> Float[np.ndarray, "..."]:
    """Return values minus their mean over responses."""
    return values - values.mean(axis=1, keepdims=True)


def nearest_parameter(features: Features, reward: Rewards) -> Parameter:
    """Return the parameter that is nearest to a reward, up to a constant in every context."""
    matrix = centred(features).reshape(-1, features.shape[-1])
    return np.asarray(np.linalg.lstsq(matrix, centred(reward).ravel(), rcond=None)[0])


def _is_realisable(instance: Realisable) -> bool:
    features, truth = instance.features, instance.bandit.truth
    off = centred(features) @ nearest_parameter(features, truth) - centred(truth)
    return bool(np.abs(off).max() <= _TOLERANCE)


def _is_truthful(instance: Realisable) -> bool:
    wanted = sigmoid(reward_contrasts(instance.bandit.truth))
    return all(bool(np.abs(x.first - wanted).max() <= _TOLERANCE) for x in instance.labels)


def policy_error(weights: Weights, policy: Logs, off: Rewards) -> float:
    """Return Err_π = E_x Var_π(r̂ − r*)."""
    middle = (np.exp(policy) * off).sum(axis=-1, keepdims=True)
    return mean(weights, policy, (off - middle) ** 2)


def _null_result(instance: Realisable) -> Margin:
    features, bandit = instance.features, instance.bandit
    found = [fitted(x, np.zeros(features.shape[-1])) for x in instance.labels]
    off = max(fit_error(x, w) for x, w in zip(instance.labels, found, strict=True))
    wanted = nearest_parameter(features, bandit.truth)
    off += 1e3 * EPSILON * (1.0 + float(np.abs(wanted).max()))
    length = float(np.abs(features).sum(axis=-1).max())
    scale = 1.0 + float(np.abs(wanted).max())
    estimate = features @ found[0]
    truth = soft_optimum(bandit, bandit.truth)
    policy = soft_optimum(bandit, estimate)
    loss = objective(bandit, truth) - objective(bandit, policy)
    reach = 2.0 * length * off
    rounded = 1e3 * EPSILON * (1.0 + float(np.abs(bandit.truth).max()) + bandit.temperature * 20.0)
    return Margin.every(
        {
            "parameter": Margin.equal(
                float(np.abs(found[0] - wanted).max()), 0.0, scale=scale, rounding=off
            ),
            "any pairs": Margin.equal(
                float(np.abs(found[0] - found[1]).max()), 0.0, scale=scale, rounding=2.0 * off
            ),
            "error under any policy": Margin.equal(
                policy_error(bandit.weights, instance.policy, estimate - bandit.truth),
                0.0,
                scale=scale,
                rounding=(reach + 1e2 * EPSILON * scale) ** 2,
            ),
            "regret": Margin.equal(
                loss,
                0.0,
                scale=1.0 + float(np.abs(bandit.truth).max()),
                rounding=rounded + reach**2 / (2.0 * bandit.temperature),
            ),
        }
    )


def _features(draws: Draws) -> Features:
    """Draw features of which responses have more directions than the class."""
    shape = draws.one_of(((1, 3, 1), (1, 4, 2), (2, 3, 2), (2, 2, 1)))
    contexts, responses, width = shape
    base = np.stack([np.eye(responses, width), np.tri(responses, width)])[:contexts]
    return base + 0.3 * np.asarray(draws.array(shape, -1.0, 1.0))


def _masses(draws: Draws, pairs: int) -> PerPair:
    raw = np.exp(np.asarray(draws.array((pairs,), -3.0, 0.0)))
    return np.asarray(raw / raw.sum())


def _draw_realisable(draws: Draws, wrong: bool = False, noisy: bool = False) -> Realisable:
    features = _features(draws)
    contexts, responses, width = features.shape
    truth = features @ np.asarray(draws.array((width,), -3.0, 3.0))
    truth = truth + np.asarray(draws.array((contexts, 1), -2.0, 2.0))
    if wrong:
        truth = truth + np.asarray(draws.array(truth.shape, -1.0, 1.0))
    won = sigmoid(reward_contrasts(truth))
    if noisy:
        won = won + draws.between(0.05, 0.4) * (1.0 - 2.0 * won) + draws.between(0.0, 0.05)
    pairs = contrasts(features)
    labels = [Labels(pairs, _masses(draws, len(pairs)), won) for _ in range(2)]
    reference = draw_policy(draws, contexts, responses, lowest=-6.0)
    weights = draw_weights(draws, contexts)
    bandit = Bandit(truth, truth, reference, draws.logarithmic(0.1, 5.0), weights)
    policy = draw_policy(draws, contexts, responses, lowest=-6.0)
    return Realisable(features, bandit, policy, (labels[0], labels[1]))


def _draw_deficient(draws: Draws) -> Realisable:
    """Draw a first data set that compares a single pair."""
    instance = _draw_realisable(draws)
    while instance.features.shape[-1] == 1:
        instance = _draw_realisable(draws)
    pairs = instance.labels[0]
    single = np.zeros(len(pairs.mass))
    single[draws.whole(len(single) - 1)] = 1.0
    return replace(instance, labels=(replace(pairs, mass=single), instance.labels[1]))


NULL_RESULT = Theorem(
    key="null-result",
    statement=(
        r"r^* = w^*\cdot\phi + c(x), labels \sigma(\Delta r^*), E\Delta\phi\Delta\phi^\top > 0: the"
        r" population maximum-likelihood estimate is w^* whatever the law of pairs, so"
        r" Var_\pi(\hat r - r^*) = 0 for every policy and J(\pi_{\hat r}) = J(\pi^*)"
    ),
    sources=(Citation("lang2024", "the motivation of Section 4.1"),),
    hypotheses=(
        Hypothesis("realisable", r"r^* = w^*\cdot\phi + c(x)", _is_realisable),
        Hypothesis("truthful", r"p = \sigma(\Delta r^*)", _is_truthful),
        Hypothesis(
            "full-rank",
            r"\lambda_{min}(E\Delta\phi\Delta\phi^\top) \ge 10^{-6}\lambda_{max}",
            lambda x: all(has_full_rank(labels) for labels in x.labels),
        ),
    ),
    margin=_null_result,
    instances=instances(_draw_realisable),
    controls={
        "realisable": instances(lambda draws: _draw_realisable(draws, wrong=True)),
        "truthful": instances(lambda draws: _draw_realisable(draws, noisy=True)),
        "full-rank": instances(_draw_deficient),
    },
)


@dataclass(frozen=True, slots=True, eq=False)
class Relabelled:
    """A fitted reward, and pairs that are labelled by it.

    Attributes:
        features: φ.
        bandit: Reference, temperature and weights; the estimate is w·φ.
        human: The pairs that the reward was fitted to.
        own: More pairs, their mass times their weight, and their labels.
        parameter: w, what is taken for the fit to the human labels.
        start: Where the second fit begins.
    """

    features: Features
    bandit: Bandit
    human: Labels
    own: Labels
    parameter: Parameter
    start: Parameter


def _self_labels(instance: Relabelled) -> Margin:
    both, w = instance.human.joined(instance.own), instance.parameter
    again = fitted(both, instance.start)
    bandit, total = instance.bandit, float(both.mass.sum())
    # What the hypothesis of a fit lets pass.
    off = fit_error(both, again) + 0.2 * _TOLERANCE * total / least_curvature(both, w)
    scale = 1.0 + float(np.abs(w).max())
    length = 2.0 * float(np.abs(instance.features).sum(axis=-1).max())
    before = tilt(bandit.log_reference, instance.features @ w, bandit.temperature)
    after = tilt(bandit.log_reference, instance.features @ again, bandit.temperature)
    gradient = slope(both, w) / total
    return Margin.every(
        {
            "stationary": Margin.equal(
                float(np.abs(gradient).max()),
                0.0,
                scale=length,
                rounding=_TOLERANCE * length / 10.0,
            ),
            "fixed point": Margin.equal(
                float(np.abs(again - w).max()), 0.0, scale=scale, rounding=off
            ),
            "policy": Margin.at_most(
                kl(bandit.weights, after, before),
                0.0,
                scale=1.0,
                rounding=(length * off / bandit.temperature) ** 2 + 1e3 * EPSILON,
            ),
        }
    )


def _is_fit(labels: Labels, w: Parameter) -> bool:
    total = float(labels.mass.sum())
    return bool(np.abs(slope(labels, w)).max() <= _TOLERANCE * total / 10.0)


def _is_own_label(instance: Relabelled) -> bool:
    wanted = sigmoid(instance.own.contrasts @ instance.parameter)
    return bool(np.abs(instance.own.first - wanted).max() <= _TOLERANCE / 100.0)


def _policy_masses(bandit: Bandit) -> PerPair:
    """Return 2 ρ(x) π(a) π(b) for all a < b, of the policy that is optimal for the estimate."""
    each = np.exp(soft_optimum(bandit, bandit.estimate))
    first, second = np.triu_indices(each.shape[1], 1)
    return (2.0 * bandit.weights[:, None] * each[:, first] * each[:, second]).ravel()


def _draw_relabelled(draws: Draws, hard: bool = False) -> Relabelled:
    features = _features(draws)
    contexts, responses, width = features.shape
    pairs = contrasts(features)
    human = Labels(
        pairs, _masses(draws, len(pairs)), np.asarray(draws.array((len(pairs),), 0.05, 0.95))
    )
    w = fitted(human, np.zeros(width))
    estimate = features @ w
    reference = draw_policy(draws, contexts, responses, lowest=-6.0)
    weights = draw_weights(draws, contexts)
    bandit = Bandit(estimate, estimate, reference, draws.logarithmic(0.1, 5.0), weights)
    weight = draws.logarithmic(0.1, 30.0)
    first = (pairs @ w > 0.0).astype(np.float64) if hard else sigmoid(pairs @ w)
    own = Labels(pairs, weight * _policy_masses(bandit), first)
    start = np.asarray(draws.array((width,), -1.0, 1.0))
    return Relabelled(features, bandit, human, own, w, start)


def _draw_unfitted(draws: Draws) -> Relabelled:
    """Draw soft labels of a reward that is not the fit."""
    instance = _draw_relabelled(draws)
    w = instance.parameter + draws.one_of((-1.0, 1.0)) * draws.between(0.2, 1.0)
    first = sigmoid(instance.own.contrasts @ w)
    return replace(instance, parameter=w, own=replace(instance.own, first=first))


def _draw_blind(draws: Draws) -> Relabelled:
    """Draw pairs that show one direction of two or three."""
    instance = _draw_relabelled(draws)
    while instance.features.shape[-1] == 1:
        instance = _draw_relabelled(draws)
    one = np.zeros(len(instance.human.mass))
    one[draws.whole(len(one) - 1)] = 1.0
    human = replace(instance.human, mass=one)
    w = fitted(human, np.zeros(instance.features.shape[-1]))
    own = Labels(
        instance.own.contrasts, one * instance.own.mass.sum(), sigmoid(instance.own.contrasts @ w)
    )
    return replace(instance, human=human, own=own, parameter=w)


SOFT_SELF_LABEL = Theorem(
    key="soft-self-label-fixed-point",
    statement=(
        r"if \hat w minimises the risk of any labels on any pairs, it minimises their risk joined"
        r" with that of any pairs, of any positive weight, whose labels are its own probabilities"
        r" \sigma(\Delta\hat r); if the contrasts of both span, it is the only minimiser, and the"
        r" retrained policy is \pi_{\hat r} again"
    ),
    sources=(Citation("lang2024", "Table 5, labels of the reward model"),),
    hypotheses=(
        Hypothesis("fit", r"\nabla L(\hat w) = 0", lambda x: _is_fit(x.human, x.parameter)),
        Hypothesis("own-soft-labels", r"p = \sigma(\Delta\hat r)", _is_own_label),
        Hypothesis(
            "full-rank",
            r"\lambda_{min}(E\Delta\phi\Delta\phi^\top) \ge 10^{-6}\lambda_{max}",
            lambda x: has_full_rank(x.human.joined(x.own)),
        ),
    ),
    margin=_self_labels,
    instances=instances(_draw_relabelled),
    controls={
        "fit": instances(_draw_unfitted),
        "own-soft-labels": instances(lambda draws: _draw_relabelled(draws, hard=True)),
        "full-rank": instances(_draw_blind),
    },
)

ALL = (NULL_RESULT, SOFT_SELF_LABEL)
