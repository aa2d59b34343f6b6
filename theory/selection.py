"""What keeping only the confident questions does: counts of clusters, their pairs, their labels."""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, exp, factorial

import numpy as np
from jaxtyping import Float, Int

import nlhf
from nlhf.learning.reward_on_policy.consensus import consensus_law, consensus_pairs
from nlhf.numerics import EPSILON, log_of
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances

HOEFFDING = 2.0
"""P(N/n ≥ q + t) ≤ e^{−2nt²}."""

_TOLERANCE = 1e-12
_SLACK = 1e-9

Law = Float[np.ndarray, "response"]
Shares = Float[np.ndarray, "cluster"]
Selected = Float[np.ndarray, "response cluster"]
Counts = Int[np.ndarray, "row cluster"]


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """Questions with one answer each, and how a policy is asked.

    Attributes:
        policy: π(a) for every question.
        clusters: The cluster of every response.
        samples: n.
        threshold: γ.
        rank: The reward's order of the responses, all different.
        copies: Probability that all n draws, or all but one, copy the first.
        correct: Probability of every cluster of being the correct one, for every question.
        accept: Another rule: the probability of keeping each question.
        many: Another, larger number of samples.
    """

    policy: Float[np.ndarray, "question response"]
    clusters: Int[np.ndarray, "response"]
    samples: int
    threshold: float
    rank: Int[np.ndarray, "response"]
    copies: tuple[float, float]
    correct: Float[np.ndarray, "question cluster"]
    accept: Float[np.ndarray, "question"]
    many: int


def cluster_shares(poll: Poll) -> Float[np.ndarray, "question cluster"]:
    """Return q, every cluster's mass."""
    return poll.policy @ np.eye(poll.clusters.max() + 1)[poll.clusters]


def sequences(responses: int, samples: int) -> Int[np.ndarray, "sequence draw"]:
    """Return all sequences of draws."""
    return np.array(list(product(range(responses), repeat=samples)))


def sequence_law(poll: Poll, policy: Law) -> Float[np.ndarray, "sequence"]:
    """Return the probability of every sequence: independent draws, or copies of the first."""
    drawn = sequences(len(policy), poll.samples)
    alone = np.prod(policy[drawn], axis=1)
    same = (drawn == drawn[:, :1]).all(axis=1) * policy[drawn[:, 0]]
    last = (drawn[:, :-1] == drawn[:, :1]).all(axis=1) * policy[drawn[:, 0]] * policy[drawn[:, -1]]
    every, but_one = poll.copies
    return np.asarray((1.0 - every - but_one) * alone + every * same + but_one * last)


def least_count(poll: Poll) -> int:
    """Return the smallest largest count that is accepted."""
    return ceil(poll.threshold * poll.samples - _SLACK)


def brute(poll: Poll, policy: Law) -> Selected:
    """Return P(accepted, a preferred, rejected of h), as a sum over all sequences of draws."""
    many = int(poll.clusters.max()) + 1
    drawn, law = sequences(len(policy), poll.samples), sequence_law(poll, policy)
    inside = poll.clusters[drawn]
    counts = (inside[:, :, None] == np.arange(many)).sum(axis=1)
    most = counts.max(axis=1)
    kept = (most >= least_count(poll)) & (most < poll.samples)
    found = np.zeros((len(policy), many))
    tied = counts == most[:, None]
    for g in range(many):
        share = np.where(kept & tied[:, g], law / tied.sum(axis=1), 0.0)
        level = np.where(inside == g, poll.rank[drawn], -1)
        winner = drawn[np.arange(len(drawn)), level.argmax(axis=1)]
        for h in range(many):
            if h != g:
                rejected = share * counts[:, h] / np.maximum(1, poll.samples - most)
                np.add.at(found[:, h], winner, rejected)
    return found


def compositions(samples: int, clusters: int) -> Counts:
    """Return all counts of so many samples."""
    if clusters == 1:
        return np.array([[samples]])
    parts = [
        np.column_stack([np.full(len(rest), first), rest])
        for first in range(samples + 1)
        for rest in [compositions(samples - first, clusters - 1)]
    ]
    return np.concatenate(parts)


def multinomial(counts: Counts, shares: Shares) -> Float[np.ndarray, "row"]:
    """Return n!/(N_1!…N_k!) q_1^{N_1}…q_k^{N_k}."""
    ways = [
        factorial(int(row.sum())) / np.prod([float(factorial(int(c))) for c in row])
        for row in counts
    ]
    return np.array(ways) * np.prod(shares**counts, axis=1)


def best_of(poll: Poll, policy: Law, g: int, size: int) -> Law:
    """Return the law of the best of so many independent draws of a cluster: F_j^N − F_{j−1}^N."""
    inside = np.where(poll.clusters == g, policy, 0.0)
    inside = inside / inside.sum()
    at_most = np.array([inside[poll.rank <= level].sum() for level in poll.rank])
    return np.asarray(np.where(inside > 0.0, at_most**size - (at_most - inside) ** size, 0.0))


def by_counts(poll: Poll, policy: Law, samples: int, least: int) -> Selected:
    """Return the same law from the multinomial counts alone."""
    many = int(poll.clusters.max()) + 1
    shares = policy @ np.eye(many)[poll.clusters]
    counts = compositions(samples, many)
    law, most = multinomial(counts, shares), counts.max(axis=1)
    tied = counts == most[:, None]
    found = np.zeros((len(policy), many))
    for size in range(max(1, least), samples):
        for g in range(many):
            rows = tied[:, g] & (most == size)
            each = law[rows] / tied[rows].sum(axis=1)
            rejected = each @ counts[rows] / (samples - size)
            rejected[g] = 0.0
            found += np.outer(best_of(poll, policy, g, size), rejected)
    return found


def accuracy(poll: Poll, pairs: Selected, correct: Shares) -> float:
    """Return P(the label is right | accepted) if clusters are correct with these probabilities.

    A pair of clusters neither of which is correct is right by a toss.
    """
    g = poll.clusters
    right = 0.5 + 0.5 * (correct[g][:, None] - correct[None, :])
    return float((pairs * right).sum() / pairs.sum())


def limit(shares: Shares) -> float:
    """Return ½[1 + q_max − Σ_{h≠max} q_h²/(1 − q_max)]."""
    top = float(shares.max())
    return 0.5 * (1.0 + top - (float((shares**2).sum()) - top**2) / (1.0 - top))


def astray(shares: Shares, samples: int) -> float:
    """Return a bound on P(the most probable cluster is not the only largest): Chernoff's."""
    order = np.sqrt(np.sort(shares))
    return float(((1.0 - (order[-1] - order[:-1]) ** 2) ** samples).sum())


def _parts(poll: Poll, x: int) -> dict[str, Margin]:
    """Return the margins at one question."""
    policy, correct = poll.policy[x], poll.correct[x]
    shares, mode = cluster_shares(poll)[x], int(cluster_shares(poll)[x].argmax())
    pairs = brute(poll, policy)
    counted = by_counts(poll, policy, poll.samples, least_count(poll))
    coverage, top = float(pairs.sum()), float(shares.max())
    rounded = 256.0 * EPSILON * poll.samples

    def equal(lhs: float, rhs: float, rounding: float) -> Margin:
        return Margin.equal(lhs, rhs, scale=1.0, rounding=rounding)

    parts = {"pairs": equal(float(np.abs(pairs - counted).max()), 0.0, rounded)}
    ours = consensus_pairs(
        nlhf.Policy(log_of(policy)[None]),
        poll.clusters[None],
        poll.rank[None].astype(np.float64),
        poll.samples,
        poll.threshold,
    )[0]
    grouped = ours @ np.eye(len(shares))[poll.clusters]
    parts["pairs, shipped"] = equal(float(np.abs(pairs - grouped).max()), 0.0, rounded)
    if coverage > 1e-3:
        found = accuracy(poll, pairs, correct)
        assumed = accuracy(poll, counted, shares)
        law = consensus_law(shares[None], poll.samples, poll.threshold)
        parts["accuracy"] = equal(found, assumed, rounded / coverage)
        parts["accuracy, shipped"] = equal(
            found, float(law.calibrated_accuracy[0]), rounded / coverage
        )
    gap = HOEFFDING * poll.samples * (top - poll.threshold) ** 2
    if top > poll.threshold:
        least = 1.0 - exp(-gap) - float((shares**poll.samples).sum())
        parts["majority"] = Margin.at_most(least, coverage, scale=1.0, rounding=rounded)
        parts["kept mode"] = Margin.at_most(
            1.0 - float(correct[mode]), 1.0 - poll.threshold, scale=1.0, rounding=rounded
        )
    else:
        tails = np.exp(-HOEFFDING * poll.samples * (poll.threshold - shares) ** 2)
        parts["no majority"] = Margin.at_most(
            coverage, float(tails.sum()), scale=1.0, rounding=rounded
        )
    large = by_counts(poll, policy, poll.many, 0)
    off = 2.0 * astray(shares, poll.many) / float(large.sum())
    parts["limit"] = Margin.at_most(
        abs(accuracy(poll, large, correct) - limit(shares)), off, scale=1.0, rounding=rounded
    )
    return parts


def _selection(instance: Poll) -> Margin:
    parts = _parts(instance, 0)
    shares = cluster_shares(instance)
    mode, top = shares.argmax(axis=1), shares.max(axis=1)
    right = instance.correct[np.arange(len(mode)), mode]
    kept = (top >= instance.threshold).astype(np.float64)
    value = right - instance.threshold
    parts["threshold is optimal"] = Margin.at_most(
        float(instance.accept @ value), float(kept @ value), scale=1.0, rounding=1e-14
    )
    return Margin.every(parts)


def _draw_poll(
    draws: Draws, copies: tuple[float, float] = (0.0, 0.0), calibrated: bool = True
) -> Poll:
    responses = draws.one_of((2, 3, 3, 4))
    many = min(responses, 2 + draws.whole(1))
    clusters = np.array([a if a < many else draws.whole(many - 1) for a in range(responses)])
    raw = np.exp(np.asarray(draws.array((3, responses), -3.0, 0.0)))
    policy = raw / raw.sum(axis=1, keepdims=True)
    samples = draws.one_of((2, 3, 4, 5) if responses < 4 else (2, 3, 4))
    threshold = draws.one_of((0.0, 0.5, 0.8, draws.between(0.0, 0.95)))
    order = np.argsort(np.asarray(draws.array((responses,), 0.0, 1.0)))
    shares = policy @ np.eye(many)[clusters]
    if not calibrated:
        shares = shares[:, ::-1] if draws.chance(2) else np.roll(shares, 1, axis=1)
    accept = np.asarray(draws.array((3,), 0.0, 1.0))
    # Two clusters are cheap enough for numbers at which the bound on the distance is small.
    large = 24 if many == 2 else 16
    number = draws.one_of((2, 10, large) if calibrated else (10, large))
    return Poll(policy, clusters, samples, threshold, order, copies, shares, accept, number)


def _draw_copies(draws: Draws) -> Poll:
    """Draw copies of the first draw; where all but one copy it, of nearly even clusters."""
    share = draws.between(0.6, 0.95)
    if draws.chance(2):
        return _draw_poll(draws, (share, 0.0))
    poll = _draw_poll(draws, (0.0, share))
    raw = 1.0 + 0.2 * np.asarray(draws.array((3, 3), 0.0, 1.0))
    even = raw / raw.sum(axis=1, keepdims=True)
    three = np.arange(3)
    return replace(
        poll, policy=even, clusters=three, rank=three, correct=even, samples=5, threshold=0.8
    )


SELECTION = Theorem(
    key="selection",
    statement=(
        r"N \sim Multinomial(n,q); y_w the best of the largest cluster \tilde g, y_l any other"
        r" sample, kept if \gamma \le N_{max}/n < 1. P(y_w=a|N) = F_a^{N_{\tilde g}} -"
        r" F_{a-}^{N_{\tilde g}}. If the correct cluster is distributed like q, a pair of \tilde g"
        r" and h is labelled rightly with probability \tfrac12+\tfrac12(q_{\tilde g}-q_h), without"
        r" threshold \tfrac12[1+q_{max}-\sum_{h\ne max}q_h^2/(1-q_{max})] + O(\rho^n); accepting"
        r" iff q_{max}\ge\gamma maximises \sum(P(mode right)-\gamma). Coverage is at least"
        r" 1-e^{-2n(q_{max}-\gamma)^2}-\sum q_g^n if q_{max}>\gamma, at most"
        r" \sum e^{-2n(\gamma-q_g)^2} if not"
    ),
    sources=(
        Citation("lang2024", "Section 4.2"),
        Citation("chow1970", "the optimum rule, as commonly stated"),
        Citation("hoeffding1963", "Theorem 1, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis("independent", r"the n draws are independent", lambda x: not any(x.copies)),
        Hypothesis(
            "calibrated",
            r"P(g is correct) = q_g",
            lambda x: bool(np.abs(x.correct - cluster_shares(x)).max() <= _TOLERANCE),
        ),
    ),
    margin=_selection,
    instances=instances(_draw_poll),
    controls={
        "independent": instances(_draw_copies),
        "calibrated": instances(lambda draws: _draw_poll(draws, calibrated=False)),
    },
    constants={"hoeffding": HOEFFDING},
)

ALL = (SELECTION,)
