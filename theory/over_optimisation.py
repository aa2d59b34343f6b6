"""What a policy that is optimal for an estimated reward earns of the true one."""

from dataclasses import dataclass, replace
from enum import StrEnum, unique
from math import ceil

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.learning.reward_on_policy.bandits import ClusteredBandit
from nlhf.learning.reward_on_policy.judging import gold_reward
from nlhf.learning.reward_on_policy.judging import regret as shipped_regret
from nlhf.numerics import log_normalise, log_of
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import Logs, Weights, depth, divergence, kl, relative, rounding, tilt
from .draws import Draws, instances
from .instances import draw_policy, draw_weights

RANGE_FACTOR = 1 / 8
VARIANCE_FACTOR = 1 / 2

_NODES = 16
_TOLERANCE = 1e-9

Rewards = Float[np.ndarray, "context response"]
Path = Float[np.ndarray, "node context response"]
Nodes = Float[np.ndarray, "node"]
Along = Float[np.ndarray, "node context"]


@dataclass(frozen=True, slots=True, eq=False)
class Bandit:
    """A true and an estimated reward, a reference, a temperature β and prompt weights."""

    truth: Rewards
    estimate: Rewards
    log_reference: Logs
    temperature: float
    weights: Weights

    @property
    def error(self) -> Rewards:
        """Return δ = r̂ − r*."""
        return self.estimate - self.truth


def as_clustered(bandit: Bandit, flip_rate: float = 0.0) -> ClusteredBandit:
    """Return the package's bandit, all responses in one cluster."""
    clusters = np.zeros(bandit.truth.shape, dtype=np.int64)
    reference = nlhf.Policy(bandit.log_reference)
    return ClusteredBandit(
        bandit.truth, reference, clusters, bandit.weights, bandit.temperature, flip_rate
    )


def soft_optimum(bandit: Bandit, reward: Rewards) -> Logs:
    """Return log of π_r ∝ π_0 e^{r/β}."""
    return tilt(bandit.log_reference, reward, bandit.temperature)


def is_soft_optimum(bandit: Bandit, reward: Rewards, policy: Logs) -> bool:
    """Return whether the policy is π_r, within the tolerance."""
    return bool(np.abs(policy - soft_optimum(bandit, reward)).max() <= _TOLERANCE)


def mean(weights: Weights, policy: Float[np.ndarray, "..."], values: Rewards) -> float:
    """Return E f over prompts and responses."""
    return float(weights @ (np.exp(policy) * values).sum(axis=-1))


def covariances(policies: Path, first: Rewards, second: Rewards) -> Along:
    """Return Cov_π(f, g) within every context, for every policy."""
    each = np.exp(policies)
    centred = second - (each * second).sum(axis=-1, keepdims=True)
    return np.asarray((each * first * centred).sum(axis=-1))


def covariance(weights: Weights, policy: Logs, first: Rewards, second: Rewards) -> float:
    """Return E_x Cov_π(f, g), the covariance within a context, averaged."""
    return float(weights @ covariances(policy[None], first, second)[0])


def objective(bandit: Bandit, policy: Logs) -> float:
    """Return J(π) = E r* − β E_x KL(π‖π_0)."""
    cost = divergence(bandit.weights, policy, bandit.log_reference)
    return mean(bandit.weights, policy, bandit.truth) - bandit.temperature * cost


def spread(values: Rewards) -> float:
    """Return the largest range within a context."""
    return float(np.ptp(values, axis=-1).max())


def size(bandit: Bandit, *policies: Logs) -> float:
    """Return the size of the terms that objectives are summed from."""
    rewards = max(float(np.abs(bandit.truth).max()), float(np.abs(bandit.estimate).max()))
    return rewards + bandit.temperature * depth(bandit.log_reference, *policies)


def error(bandit: Bandit, *policies: Logs) -> float:
    """Return a bound on the rounding of a sum of objectives, or of an integral along a path.

    The exponents of a path are rounded relative to size/β, and so is what is averaged over it.
    """
    terms = size(bandit, *policies)
    return rounding(terms, bandit.truth.shape[-1]) * (1.0 + terms / bandit.temperature)


def quadrature(range_over_temperature: float) -> tuple[Nodes, Nodes]:
    r"""Return Gauss-Legendre nodes and weights on [0, 1], for covariances along a tilted path.

    Under π_s ∝ π e^{sf/β} a covariance is analytic in s for |Im s| < πβ/range(f), where
    E_π e^{sf/β} has no zero. On intervals no longer than 2β/range(f) the ellipse of parameter
    2 + √5 lies in half that strip, and the error of 16 nodes is below 1e-18 of the product of
    the two ranges (`plug_in.variance_integral` has the count).
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    pieces = max(1, ceil(range_over_temperature / 2.0))
    ends = np.linspace(0.0, 1.0, pieces + 1)
    at = (ends[:-1, None] + (nodes + 1.0) / (2.0 * pieces)).ravel()
    return at, np.tile(weights, pieces) / (2.0 * pieces)


def tilted_path(start: Logs, direction: Rewards, temperature: float, at: Nodes) -> Path:
    """Return π_s ∝ π e^{sf/β} at every node s."""
    logits = start + at[:, None, None] * direction / temperature
    return np.asarray(log_normalise(logits))


@dataclass(frozen=True, slots=True, eq=False)
class Proxy:
    """A bandit, what is taken for π* and what is taken for π_r̂."""

    bandit: Bandit
    optimum: Logs
    policy: Logs


def _regret_identity(instance: Proxy) -> Margin:
    bandit, optimum, policy = instance.bandit, instance.optimum, instance.policy
    tau, weights, off = bandit.temperature, bandit.weights, bandit.error
    regret = objective(bandit, optimum) - objective(bandit, policy)
    exponent = np.logaddexp.reduce(optimum + off / tau, axis=-1)
    free = mean(weights, policy, off) - tau * float(weights @ exponent)
    at, each = quadrature(spread(off) / tau)
    variances = covariances(tilted_path(optimum, off, tau, at), off, off) @ weights
    integral = float((each * at) @ variances) / tau
    by_range = RANGE_FACTOR * float(weights @ np.ptp(off, axis=-1) ** 2) / tau
    by_variance = VARIANCE_FACTOR * float(variances.max()) / tau
    scale, allowed = size(bandit, optimum, policy), error(bandit, optimum, policy)

    def equal(found: float) -> Margin:
        return Margin.equal(regret, found, scale=scale, rounding=allowed)

    return Margin.every(
        {
            "divergence": equal(tau * kl(weights, policy, optimum)),
            "free energy": equal(free),
            "integral": equal(integral),
            "range bound": relative(regret, by_range, allowed),
            "variance bound": relative(regret, by_variance, allowed),
            "shipped": equal(shipped_regret(as_clustered(bandit), nlhf.Policy(policy))),
        }
    )


def draw_rewards(draws: Draws, contexts: int, responses: int) -> tuple[Rewards, Rewards]:
    """Draw a true reward, and an estimate: unrelated, or the truth moved a little."""
    truth = np.asarray(draws.array((contexts, responses), -1.0, 1.0))
    amount = draws.one_of((0.01, 0.3, 1.0, 1.0))
    moved = amount * np.asarray(draws.array((contexts, responses), -1.0, 1.0))
    return truth, moved if amount == 1.0 else truth + moved


def draw_bandit(draws: Draws, coldest: float = 0.02, lowest: float = -20.0) -> Bandit:
    """Draw one to three contexts of two to five responses."""
    contexts, responses = draws.one_of(((1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (3, 2)))
    truth, estimate = draw_rewards(draws, contexts, responses)
    return Bandit(
        truth,
        estimate,
        draw_policy(draws, contexts, responses, lowest),
        draws.logarithmic(coldest, 10.0),
        draw_weights(draws, contexts),
    )


def solved(bandit: Bandit) -> Proxy:
    """Return the two optimal policies."""
    return Proxy(bandit, soft_optimum(bandit, bandit.truth), soft_optimum(bandit, bandit.estimate))


def draw_other(draws: Draws, bandit: Bandit) -> Logs:
    """Draw a policy that has nothing to do with the rewards."""
    contexts, responses = bandit.truth.shape
    return draw_policy(draws, contexts, responses, lowest=-6.0)


def _draw_wrong_optimum(draws: Draws) -> Proxy:
    proxy = solved(draw_bandit(draws))
    return replace(proxy, optimum=draw_other(draws, proxy.bandit))


def _draw_wrong_policy(draws: Draws) -> Proxy:
    proxy = solved(draw_bandit(draws))
    return replace(proxy, policy=draw_other(draws, proxy.bandit))


def coin(off: float) -> Bandit:
    """Return two responses that are worth the same, with an estimate that is off by ±`off`."""
    even = np.log(np.full((1, 2), 0.5))
    return Bandit(np.zeros((1, 2)), np.array([[off, -off]]), even, 1.0, np.ones(1))


def encode(bandit: Bandit) -> Float[np.ndarray, "coordinate"]:
    """Return coordinates: both rewards, log π_0, log β."""
    parts = (bandit.truth, bandit.estimate, bandit.log_reference, np.log([bandit.temperature]))
    return np.concatenate([np.ravel(part) for part in parts])


def decode(bandit: Bandit, vector: Float[np.ndarray, "coordinate"]) -> Bandit:
    """Return the bandit at a vector, moved into the range of drawn ones."""
    shape, cells = bandit.truth.shape, bandit.truth.size
    truth, estimate = (
        np.clip(vector[k * cells : (k + 1) * cells], -2.0, 2.0).reshape(shape) for k in range(2)
    )
    logs = np.clip(vector[2 * cells : 3 * cells], -20.0, 0.0).reshape(shape)
    tau = float(np.exp(np.clip(vector[-1], np.log(0.02), np.log(10.0))))
    return Bandit(truth, estimate, log_normalise(logs), tau, bandit.weights)


OPTIMAL = Hypothesis[Proxy](
    "optimal",
    r"\pi^* \propto \pi_0 e^{r^*/\beta}",
    lambda x: is_soft_optimum(x.bandit, x.bandit.truth, x.optimum),
)
PROXY_OPTIMAL = Hypothesis[Proxy](
    "proxy-optimal",
    r"\hat\pi \propto \pi_0 e^{\hat r/\beta}",
    lambda x: is_soft_optimum(x.bandit, x.bandit.estimate, x.policy),
)

REGRET_IDENTITY = Theorem(
    key="regret-identity",
    statement=(
        r"J(\pi^*) - J(\hat\pi) = \beta KL(\hat\pi\|\pi^*) = E_{\hat\pi}\delta - \beta\log"
        r" E_{\pi^*}e^{\delta/\beta} = \tfrac1\beta\int_0^1 t\,Var_{\pi_t}(\delta)\,dt with"
        r" \delta = \hat r - r^*, \pi_t \propto \pi^*e^{t\delta/\beta}; it is at most"
        r" range(\delta)^2/(8\beta) and \max_t Var_{\pi_t}(\delta)/(2\beta)"
    ),
    sources=(
        Citation("lang2024", "the motivation of Section 4.1"),
        Citation("zhao2024", "Lemma 3.9, as commonly stated"),
    ),
    hypotheses=(OPTIMAL, PROXY_OPTIMAL),
    margin=_regret_identity,
    instances=instances(lambda draws: solved(draw_bandit(draws))),
    controls={
        "optimal": instances(_draw_wrong_optimum),
        "proxy-optimal": instances(_draw_wrong_policy),
    },
    sharp=(solved(coin(2.0**-6)),),
    constants={"range-factor": RANGE_FACTOR, "variance-factor": VARIANCE_FACTOR},
    coordinates=Coordinates(lambda x: encode(x.bandit), lambda x, v: solved(decode(x.bandit, v))),
)


def geometric(bandit: Bandit, at: Nodes) -> Path:
    """Return π_0 e^{s r̂/β}/Z at every node s."""
    return tilted_path(bandit.log_reference, bandit.estimate, bandit.temperature, at)


def straight(bandit: Bandit, at: Nodes) -> Path:
    """Return (1 − s)π_0 + s π_r̂ at every node s, another path between the same ends."""
    start, end = np.exp(bandit.log_reference), np.exp(soft_optimum(bandit, bandit.estimate))
    return log_of(start + at[:, None, None] * (end - start))


@unique
class Course(StrEnum):
    """How a path goes from π_0 to π_r̂."""

    GEOMETRIC = "geometric"
    STRAIGHT = "straight"


@dataclass(frozen=True, slots=True, eq=False)
class Journey:
    """A bandit, a path of policies, where it is said to end, and a stretch of it.

    Attributes:
        bandit: The bandit.
        course: How the path goes.
        policy: What is taken for π_r̂.
        stretch: Two points of the path.
    """

    bandit: Bandit
    course: Course
    policy: Logs
    stretch: tuple[float, float]

    def path(self, at: Nodes) -> Path:
        """Return π_s at every node s in [0, 1]."""
        return (geometric if self.course is Course.GEOMETRIC else straight)(self.bandit, at)


def _covariance_integral(instance: Journey) -> Margin:
    bandit, weights, tau = instance.bandit, instance.bandit.weights, instance.bandit.temperature
    at, each = quadrature(spread(bandit.estimate) / tau)
    low, high = instance.stretch
    along = instance.path(at)
    within = instance.path(low + (high - low) * at)
    ends = instance.path(np.array([low, high]))
    scale, allowed = size(bandit, instance.policy), error(bandit, instance.policy)

    def integral(policies: Path, values: Rewards) -> float:
        return float(each @ (covariances(policies, values, bandit.estimate) @ weights)) / tau

    def equal(gain: float, found: float) -> Margin:
        return Margin.equal(gain, found, scale=scale, rounding=allowed)

    def gained(before: Logs, after: Logs, values: Rewards) -> float:
        return mean(weights, after, values) - mean(weights, before, values)

    start, end = bandit.log_reference, instance.policy
    stretch = gained(ends[0], ends[1], bandit.truth)
    ours, gold = as_clustered(bandit), integral(along, bandit.truth)
    shipped = gold_reward(ours, nlhf.Policy(end)) - gold_reward(ours, ours.reference)
    return Margin.every(
        {
            "gold": equal(gained(start, end, bandit.truth), gold),
            "gold, shipped": equal(shipped, gold),
            "proxy minus gold": equal(
                gained(start, end, bandit.error), integral(along, bandit.error)
            ),
            "any stretch": equal(stretch, (high - low) * integral(within, bandit.truth)),
        }
    )


def _is_geometric(instance: Journey) -> bool:
    at = np.linspace(0.0, 1.0, 5)
    return bool(np.abs(instance.path(at) - geometric(instance.bandit, at)).max() <= _TOLERANCE)


def _draw_journey(draws: Draws, course: Course = Course.GEOMETRIC, wrong: bool = False) -> Journey:
    bandit = draw_bandit(draws)
    low, high = sorted((draws.between(0.0, 1.0), draws.between(0.0, 1.0)))
    end = draw_other(draws, bandit) if wrong else soft_optimum(bandit, bandit.estimate)
    return Journey(bandit, course, end, (low, high))


def _journey_at(instance: Journey, vector: Float[np.ndarray, "coordinate"]) -> Journey:
    bandit = decode(instance.bandit, vector)
    end = soft_optimum(bandit, bandit.estimate)
    return Journey(bandit, Course.GEOMETRIC, end, instance.stretch)


COVARIANCE_INTEGRAL = Theorem(
    key="covariance-integral",
    statement=(
        r"E_{\pi_1}r^* - E_{\pi_0}r^* = \tfrac1\beta\int_0^1 Cov_{\pi_s}(r^*,\hat r)\,ds along"
        r" \pi_s \propto \pi_0e^{s\hat r/\beta}, and over any stretch of the path; the proxy gains"
        r" \tfrac1\beta\int_0^1 Cov_{\pi_s}(\delta,\hat r)\,ds more than that"
    ),
    sources=(Citation("gao2022", "over-optimisation, as commonly described"),),
    hypotheses=(
        Hypothesis("path", r"\pi_s \propto \pi_0 e^{s\hat r/\beta}", _is_geometric),
        Hypothesis(
            "endpoint",
            r"\hat\pi \propto \pi_0 e^{\hat r/\beta}",
            lambda x: is_soft_optimum(x.bandit, x.bandit.estimate, x.policy),
        ),
    ),
    margin=_covariance_integral,
    instances=instances(_draw_journey),
    controls={
        "path": instances(lambda draws: _draw_journey(draws, Course.STRAIGHT)),
        "endpoint": instances(lambda draws: _draw_journey(draws, wrong=True)),
    },
    coordinates=Coordinates(lambda x: encode(x.bandit), _journey_at),
)


ALL = (REGRET_IDENTITY, COVARIANCE_INTEGRAL)
