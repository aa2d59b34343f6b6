"""What the frequencies of a policy's clusters say as labels."""

from dataclasses import dataclass, replace
from math import comb

import numpy as np
from jaxtyping import Float, Int

from nlhf.numerics import EPSILON, log_normalise, sigmoid
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Logs
from .draws import Draws, instances
from .over_optimisation import (
    Bandit,
    draw_bandit,
    draw_other,
    error,
    is_soft_optimum,
    size,
    soft_optimum,
)
from .self_labels import Labels, fit_error, fitted, risk

_TOLERANCE = 1e-9
_DRAWS = (1, 3, 5)

Shares = Float[np.ndarray, "context cluster"]
Pairs = Float[np.ndarray, "context cluster cluster"]


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """A policy whose responses fall into clusters, and labels of pairs of clusters.

    Attributes:
        bandit: Estimate, reference, temperature and weights; the truth is not used.
        clusters: The cluster of every response.
        policy: What is taken for π_r̂.
        mass: How often two clusters are compared, symmetric.
        soft: Probability that the first cluster is said to be better.
        hard: The same for hard labels.
        rewards: Any rewards of clusters.
    """

    bandit: Bandit
    clusters: Int[np.ndarray, "response"]
    policy: Logs
    mass: Pairs
    soft: Pairs
    hard: Pairs
    rewards: Shares


def cluster_logs(policy: Logs, clusters: Int[np.ndarray, "response"]) -> Shares:
    """Return the logarithm of every cluster's mass."""
    each = [
        np.logaddexp.reduce(policy[:, clusters == g], axis=1) for g in range(clusters.max() + 1)
    ]
    return np.stack(each, axis=1)


def frequencies(logs: Shares) -> Pairs:
    """Return q_g/(q_g + q_h)."""
    return np.asarray(sigmoid(logs[:, :, None] - logs[:, None, :]))


def rank(logs: Shares) -> Shares:
    """Return 0 for the smallest cluster of a context, 1 for the next, and so on."""
    return np.argsort(np.argsort(logs, axis=1), axis=1).astype(np.float64)


def labels_of(instance: Consensus, first: Pairs, x: int) -> Labels:
    """Return a context's labels for a reward that is free on every cluster."""
    g, h = np.triu_indices(first.shape[1], 1)
    units = np.eye(first.shape[1])
    return Labels(units[g] - units[h], instance.mass[x, g, h], first[x, g, h])


def retrained(instance: Consensus) -> tuple[Shares, float]:
    """Return the reward that is fitted to the soft labels alone, centred, and its error."""
    found, off = [], 0.0
    for x in range(len(instance.mass)):
        labels = labels_of(instance, instance.soft, x)
        reward = fitted(labels, np.zeros(instance.mass.shape[1]))
        reward = reward - reward.mean()
        grounded = replace(labels, contrasts=labels.contrasts[:, 1:])
        off = max(off, 4.0 * fit_error(grounded, (reward - reward[0])[1:]))
        found.append(reward)
    return np.stack(found), off


def _consensus(instance: Consensus) -> Margin:
    bandit, clusters, tau = instance.bandit, instance.clusters, instance.bandit.temperature
    shares = cluster_logs(instance.policy, clusters)
    prior = cluster_logs(bandit.log_reference, clusters)
    soft = cluster_logs(bandit.log_reference + bandit.estimate / tau, clusters) - prior
    odds = (shares - shares[:, :1]) - (prior - prior[:, :1]) - (soft - soft[:, :1])
    reward, off = retrained(instance)
    scale = 1.0 + float(np.abs(shares).max())
    off += 64.0 * EPSILON * scale
    centred = shares - shares.mean(axis=1, keepdims=True)
    policy = soft_optimum(bandit, reward[:, clusters])
    sharper = log_normalise(bandit.log_reference + shares[:, clusters] / tau)
    terms, rounded = size(bandit, instance.policy) / tau, error(bandit, instance.policy) / tau
    further = instance.rewards + rank(shares)
    before, after = (
        sum(risk(labels_of(instance, instance.hard, x), r[x]) for x in range(len(r)))
        for r in (instance.rewards, further)
    )
    return Margin.every(
        {
            "odds": Margin.equal(float(np.abs(odds).max()), 0.0, scale=terms, rounding=rounded),
            "reward": Margin.equal(
                float(np.abs(reward - centred).max()), 0.0, scale=scale, rounding=off
            ),
            "policy": Margin.equal(
                float(np.abs(policy - sharper).max()),
                0.0,
                scale=scale / tau + 1.0,
                rounding=2.0 * off / tau + rounded,
            ),
            "hard labels run away": Margin.at_most(
                after, before, scale=before + 1e-12, rounding=64.0 * EPSILON * (1.0 + before)
            ),
        }
    )


def _is_frequency(instance: Consensus) -> bool:
    wanted = frequencies(cluster_logs(instance.policy, instance.clusters))
    return bool(np.abs(instance.soft - wanted).max() <= _TOLERANCE)


def _is_connected(instance: Consensus) -> bool:
    reach = (instance.mass > 0.0) | np.eye(instance.mass.shape[1], dtype=np.bool_)
    for _ in range(instance.mass.shape[1]):
        reach = np.einsum("xgh,xhk->xgk", reach.astype(np.int64), reach.astype(np.int64)) > 0
    return bool(reach.all())


def _is_one_order(instance: Consensus) -> bool:
    level = rank(cluster_logs(instance.policy, instance.clusters))
    wanted = level[:, :, None] > level[:, None, :]
    apart = ~np.eye(level.shape[1], dtype=np.bool_)
    return bool((instance.hard == wanted)[:, apart].all())


def majority(logs: Shares, count: int) -> Pairs:
    """Return the probability that g is seen more often than h among so many draws of the two."""
    p = frequencies(logs)
    found = np.zeros(p.shape)
    for wins in range(count // 2 + 1, count + 1):
        found += comb(count, wins) * p**wins * (1.0 - p) ** (count - wins)
    return found


def _draw_consensus(draws: Draws, wrong: bool = False) -> Consensus:
    bandit = draw_bandit(draws, coldest=0.3, lowest=-6.0)
    contexts, responses = bandit.truth.shape
    many = min(responses, draws.one_of((2, 3)))
    clusters = np.array([a if a < many else draws.whole(many - 1) for a in range(responses)])
    policy = draw_other(draws, bandit) if wrong else soft_optimum(bandit, bandit.estimate)
    logs = cluster_logs(policy, clusters)
    raw = np.asarray(draws.array((contexts, many, many), 0.1, 1.0))
    level = rank(logs)
    return Consensus(
        bandit,
        clusters,
        policy,
        raw + raw.swapaxes(1, 2),
        frequencies(logs),
        (level[:, :, None] > level[:, None, :]).astype(np.float64),
        np.asarray(draws.array((contexts, many), -5.0, 5.0)),
    )


def _draw_other_labels(draws: Draws) -> Consensus:
    """Draw the frequencies of the reference."""
    instance = _draw_consensus(draws)
    prior = cluster_logs(instance.bandit.log_reference, instance.clusters)
    return replace(instance, soft=frequencies(prior))


def _draw_unconnected(draws: Draws) -> Consensus:
    instance = _draw_consensus(draws)
    alone = draws.whole(instance.mass.shape[1] - 1)
    mass = instance.mass.copy()
    mass[:, alone, :] = mass[:, :, alone] = 0.0
    return replace(instance, mass=mass)


def _draw_sampled_majority(draws: Draws) -> Consensus:
    """Draw the labels of finitely many draws in the mean, where the smaller cluster may win."""
    instance = _draw_consensus(draws)
    logs = cluster_logs(instance.policy, instance.clusters)
    far = instance.rewards + draws.between(5.0, 20.0) * rank(logs)
    return replace(instance, hard=majority(logs, draws.one_of(_DRAWS)), rewards=far)


CONSENSUS = Theorem(
    key="consensus-is-sharpening",
    statement=(
        r"\pi_\theta \propto \pi_0e^{\hat r/\beta}: \log(\pi_\theta(g)/\pi_\theta(h)) ="
        r" \log(\pi_0(g)/\pi_0(h)) + \log(E_{\pi_0|g}e^{\hat r/\beta}/E_{\pi_0|h}e^{\hat r/\beta})."
        r" A reward that is free on clusters, fitted to pairs labelled"
        r" \pi_\theta(g)/(\pi_\theta(g) + \pi_\theta(h)) alone, is \log\pi_\theta(g) + c(x), its"
        r" policy \propto \pi_0(a)\pi_\theta(g(a))^{1/\beta}. If the larger cluster wins every"
        r" pair, the risk has no minimiser"
    ),
    sources=(
        Citation("lang2024", "Section 4.2"),
        Citation("huang2024", "sharpening, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis(
            "soft-optimal",
            r"\pi_\theta \propto \pi_0e^{\hat r/\beta}",
            lambda x: is_soft_optimum(x.bandit, x.bandit.estimate, x.policy),
        ),
        Hypothesis("frequency-labels", r"p = q_g/(q_g+q_h)", _is_frequency),
        Hypothesis("connected", r"comparisons connect all clusters", _is_connected),
        Hypothesis("one-order", r"p = 1[q_g > q_h]", _is_one_order),
    ),
    margin=_consensus,
    instances=instances(_draw_consensus),
    controls={
        "soft-optimal": instances(lambda draws: _draw_consensus(draws, wrong=True)),
        "frequency-labels": instances(_draw_other_labels),
        "connected": instances(_draw_unconnected),
        "one-order": instances(_draw_sampled_majority),
    },
)
ALL = (CONSENSUS,)
