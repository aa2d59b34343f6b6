"""What a Bradley-Terry reward of pooled votes ranks by, and what maximal lotteries ignore."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.errors import SolverFailed
from nlhf.estimation.likelihood import Likelihood, maximise, polish
from nlhf.numerics import EPSILON
from nlhf.social_choice.pairwise import borda
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .instances import draw_preference

X = TypeVar("X")
Matrix = Float[np.ndarray, "response response"]
Vector = Float[np.ndarray, "response"]

SLOPE = 4.0
"""r(a) − r(b) ≥ (4/n) (S(a) − S(b))."""
ZERO_SCORE = 1e-9
"""Largest derivative of the log-likelihood that is called zero, for pair weights of about 1."""
EQUILIBRIUM = 1e-9
"""Largest gain of a deviation from what is called a maximal lottery."""
SURE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Groups' preferences, how often pairs are compared, and rewards to be judged.

    Attributes:
        groups: P_u, the preference of every group.
        proportions: η.
        pairs: W, how often each pair is compared; symmetric.
        rewards: r.
    """

    groups: Float[np.ndarray, "group response response"]
    proportions: Float[np.ndarray, "group"]
    pairs: Matrix
    rewards: Vector

    @property
    def preference(self) -> Matrix:
        """P = Σ η_u P_u."""
        return np.einsum("u,uab->ab", self.proportions, self.groups)


def score(pooled: Pooled) -> Vector:
    """Return Σ_b W(a, b) (P(a, b) − σ(r(a) − r(b)))."""
    return (pooled.pairs * (pooled.preference - model(pooled.rewards))).sum(axis=1)


def model(rewards: Vector) -> Matrix:
    """Return σ(r(a) − r(b))."""
    return 0.5 + 0.5 * np.tanh(0.5 * (rewards[:, None] - rewards[None, :]))


def is_strongly_connected(pooled: Pooled) -> bool:
    """Return whether a path of wins leads from every response to every other one."""
    wins = (pooled.pairs * pooled.preference > SURE) | np.eye(len(pooled.rewards), dtype=bool)
    paths = np.linalg.matrix_power(wins.astype(float), len(wins))
    return bool((paths > 0).all())


def is_uniform(pooled: Pooled) -> bool:
    """Return whether all pairs are compared equally often."""
    off = pooled.pairs[~np.eye(len(pooled.pairs), dtype=bool)]
    return bool((off == off[0]).all() and off[0] > 0)


def _borda(pooled: Pooled) -> Margin:
    """Margins in logits.

    A score g moves a difference of rewards by at most 2 max|g| over the least slope of the sum of
    the model, n σ'(spread).
    """
    p, r = pooled.preference, pooled.rewards
    n = len(r)
    counts = p.sum(axis=1) - np.diag(p) + 0.5
    off = min(float(np.abs(score(pooled)).max()), ZERO_SCORE) + 4 * n * EPSILON
    spread = float(np.ptp(r))
    slope = n * 0.25 / np.cosh(0.5 * spread) ** 2
    ahead = (counts[:, None] >= counts[None, :]) & ~np.eye(n, dtype=bool)
    slack = (r[:, None] - r[None, :]) - SLOPE / n * (counts[:, None] - counts[None, :])
    scale = 1.0 + spread
    least = float(p[p > SURE].min())
    cuts = np.arange(1, n) * np.arange(n - 1, 0, -1)
    steps = -np.diff(np.sort(r)[::-1])
    return Margin.every(
        {
            "order": Margin.at_most(
                0.0, slack[ahead].min(), scale=scale, rounding=2 * off / slope + 8 * EPSILON * scale
            ),
            "finite": Margin.at_most(
                0.0,
                (np.log(cuts / least - 1.0 + EPSILON) - steps).min(),
                scale=scale,
                rounding=4 * n * off / least + 16 * EPSILON * (scale + 1.0 / least),
            ),
        }
    )


def sound(hypothesis: Hypothesis[X], instance: X) -> X:
    """Return an instance that the package solved, if it did.

    A solution that is none would only be rejected, and a broken package leave nothing but easy
    instances.

    Raises:
        SolverFailed: If the instance does not satisfy the hypothesis.
    """
    if not hypothesis.holds(instance):
        raise SolverFailed(
            f"what the package returned violates {hypothesis.name!r}: {instance}",
            "mend the package",
            solver="nlhf",
            status="wrong",
        )
    return instance


def fitted(groups: np.ndarray, proportions: np.ndarray, pairs: Matrix) -> Pooled:
    """Return the votes with the rewards of greatest likelihood, or with none that are finite.

    Sure preferences are taken as 1 − 1e-12: where no finite maximum exists, rewards far apart
    then have a score of almost zero.
    """
    p = np.clip(np.einsum("u,uab->ab", proportions, groups), SURE, 1.0 - SURE)
    wins = pairs * p * ~np.eye(len(p), dtype=bool)
    likelihood = Likelihood(wins, 0.0)
    rewards = polish(likelihood, maximise(likelihood, np.zeros(len(p))))
    return Pooled(groups, proportions, pairs, rewards)


def uniform_pairs(responses: int) -> Matrix:
    """Return W = 1 off the diagonal."""
    return 1.0 - np.eye(responses)


def _draw_groups(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    responses, count = draws.one_of((2, 3, 3, 4)), 1 + draws.whole(2)
    groups = np.stack([draw_preference(draws, 1, responses)[0] for _ in range(count)])
    # The first group is sure of nothing, so that everything has been preferred to everything.
    groups[0] = 0.125 + 0.75 * groups[0]
    raw = np.array([1.0 + draws.whole(7) for _ in range(count)])
    return groups, raw / raw.sum()


def _draw_pooled(draws: Draws) -> Pooled:
    groups, proportions = _draw_groups(draws)
    return sound(MAXIMUM, fitted(groups, proportions, uniform_pairs(len(groups[0]))))


def _draw_uneven(draws: Draws) -> Pooled:
    groups, proportions = _draw_groups(draws)
    pairs = uniform_pairs(len(groups[0]))
    for a in range(len(pairs)):
        for b in range(a):
            pairs[a, b] = pairs[b, a] = draws.one_of((1.0, 4.0, 0.05))
    return fitted(groups, proportions, pairs)


def _draw_unfitted(draws: Draws) -> Pooled:
    groups, proportions = _draw_groups(draws)
    responses = len(groups[0])
    rewards = np.asarray(draws.array((responses,), -2.0, 2.0))
    return Pooled(groups, proportions, uniform_pairs(responses), rewards)


def _draw_unconnected(draws: Draws) -> Pooled:
    """Draw votes in which the first responses always beat the others."""
    groups, proportions = _draw_groups(draws)
    top = 1 + draws.whole(len(groups[0]) - 2)
    groups[:, :top, top:], groups[:, top:, :top] = 1.0, 0.0
    return fitted(groups, proportions, uniform_pairs(len(groups[0])))


MAXIMUM: Hypothesis[Pooled] = Hypothesis(
    "maximum",
    r"\sum_b W(a,b)(P(a,b) - \sigma(r(a)-r(b))) = 0",
    lambda pooled: bool(np.abs(score(pooled)).max() <= ZERO_SCORE),
)

BORDA = Theorem(
    key="borda",
    statement=(
        r"finite rewards r of greatest likelihood on the pooled P = \sum_u \eta_u P_u, all pairs"
        r" compared equally often, rank by Borda count S(a) = \tfrac12 + \sum_{b \ne a} P(a,b):"
        r" r(a)-r(b) \ge \tfrac4n (S(a)-S(b)) where S(a) \ge S(b); and the next below the k best"
        r" is within \log(k(n-k)/p - 1) of them, p the least positive entry of P"
    ),
    sources=(
        Citation("siththaranjan2024", "as commonly stated"),
        Citation("ford1957", "existence, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis("uniform-pairs", r"W(a,b) = w > 0 for a \ne b", is_uniform),
        MAXIMUM,
        Hypothesis(
            "connected", "the graph of W P > 0 is strongly connected", is_strongly_connected
        ),
    ),
    margin=_borda,
    instances=instances(_draw_pooled),
    controls={
        "uniform-pairs": instances(_draw_uneven),
        "maximum": instances(_draw_unfitted),
        "connected": instances(_draw_unconnected),
    },
    sharp=(
        fitted(np.array([[[0.5, 0.9], [0.1, 0.5]]]), np.ones(1), uniform_pairs(2)),
        fitted(np.array([[[0.5, 0.501], [0.499, 0.5]]]), np.ones(1), uniform_pairs(2)),
    ),
    constants={"slope": SLOPE},
)


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """A preference, whose last response is the one that is added or removed, and two lotteries.

    Attributes:
        preference: P.
        lottery: A lottery over all responses.
        without: A lottery over all but the last.
    """

    preference: Matrix
    lottery: Vector
    without: Float[np.ndarray, "other"]

    @property
    def reduced(self) -> Float[np.ndarray, "other other"]:
        """P without the last response."""
        return self.preference[:-1, :-1]


def gain(preference: Matrix, lottery: Vector) -> float:
    """Return what a best response wins against the lottery beyond 1/2."""
    return float((preference @ lottery).max() - 0.5)


def allowed(preference: Matrix, lottery: Vector) -> float:
    """Return the gain, as far as the lottery may still be called an equilibrium."""
    return min(max(gain(preference, lottery), 0.0), EQUILIBRIUM)


def shortfall(contest: Contest) -> float:
    """Return by how much the last response loses against the lottery over the others."""
    return float(0.5 - contest.preference[-1, :-1] @ contest.without)


def _maximal_lottery(contest: Contest) -> Margin:
    """Margins in probability.

    A lottery q whose deviations gain at most e plays a response that loses by m against a lottery
    of gain e' with at most (e + e')/m; and a Condorcet winner of margin m with at least 1 − e/m.
    """
    p, q = contest.preference, contest.lottery
    extended = np.append(contest.without, 0.0)
    gains = allowed(p, q) + allowed(contest.reduced, contest.without) + 8 * len(q) * EPSILON
    loss = shortfall(contest)
    played = gains / max(loss, EQUILIBRIUM)
    rest = q[:-1] / max(float(q[:-1].sum()), EPSILON)
    parts = {
        "stays maximal": Margin.at_most(gain(p, extended), 0.0, scale=0.5, rounding=gains),
        "not chosen": Margin.equal(q[-1], 0.0, scale=1.0, rounding=played),
        "maximal without": Margin.at_most(
            gain(contest.reduced, rest), 0.0, scale=0.5, rounding=gains + 2 * played
        ),
    }
    ahead = np.where(np.eye(len(q), dtype=bool), 1.0, p).min(axis=1) - 0.5
    winner = int(ahead.argmax())
    if ahead[winner] > 0.0:
        parts["Condorcet winner"] = Margin.equal(
            q[winner], 1.0, scale=1.0, rounding=gains / float(ahead[winner])
        )
    return Margin.every(parts)


def maximal(preference: Matrix, temperature: float = 0.0) -> Vector:
    """Return the package's equilibrium."""
    return np.asarray(nlhf.solve(nlhf.PreferenceGame(preference, temperature=temperature)).policy)


def contest(preference: Matrix) -> Contest:
    """Return the maximal lotteries with and without the last response."""
    return Contest(preference, maximal(preference), maximal(preference[:-1, :-1]))


def _draw_losing(
    draws: Draws, lottery: Vector, reduced: Matrix, loses: bool = True
) -> Float[np.ndarray, "more more"]:
    """Add a response that loses, or does not, against the lottery."""
    row = np.array([(2 * draws.whole(15) + 1) / 32 for _ in lottery])
    if bool(row @ lottery < 0.5) != loses:
        row = 1.0 - row
    return np.block([[reduced, 1.0 - row[:, None]], [row[None, :], np.full((1, 1), 0.5)]])


def _draw_reduced(draws: Draws) -> Matrix:
    return draw_preference(draws, 1, draws.one_of((1, 2, 3, 3, 4)))[0]


def _draw_contest(draws: Draws, loses: bool = True) -> Contest:
    reduced = _draw_reduced(draws)
    without = maximal(reduced)
    preference = _draw_losing(draws, without, reduced, loses)
    return sound(MAXIMAL, Contest(preference, maximal(preference), without))


def _draw_other_rule(draws: Draws) -> Contest:
    """Draw lotteries of the Borda count, or of a positive temperature."""
    reduced = _draw_reduced(draws)
    warm = draws.chance(3)

    def rule(preference: Matrix) -> Vector:
        return maximal(preference, 0.2) if warm else np.asarray(borda(preference).probabilities)

    preference = _draw_losing(draws, rule(reduced), reduced)
    return Contest(preference, rule(preference), rule(reduced))


BORDA_FAILS = np.array(
    [[0.5, 0.6, 0.6, 0.6], [0.4, 0.5, 1.0, 1.0], [0.4, 0.0, 0.5, 0.5], [0.4, 0.0, 0.5, 0.5]]
)
"""Response 0 beats all others; response 1 has the highest Borda count."""

CYCLE = np.array(
    [[0.5, 0.8, 0.3, 0.6], [0.2, 0.5, 0.9, 0.6], [0.7, 0.1, 0.5, 0.9], [0.4, 0.4, 0.1, 0.5]]
)
"""A cycle of three, and a response that loses to the lottery over them."""

MAXIMAL: Hypothesis[Contest] = Hypothesis(
    "equilibrium",
    r"\max_a (P\pi)(a) = \tfrac12, with z and without",
    lambda contest: (
        gain(contest.preference, contest.lottery) <= EQUILIBRIUM
        and gain(contest.reduced, contest.without) <= EQUILIBRIUM
    ),
)

MAXIMAL_LOTTERY = Theorem(
    key="maximal-lottery",
    statement=(
        r"at temperature 0 a response that beats all others is chosen for certain; and if z loses"
        r" against a maximal lottery \pi of the others, (P\pi)(z) < \tfrac12, then \pi stays"
        r" maximal beside z, no maximal lottery chooses z, and each is maximal without z"
    ),
    sources=(
        Citation("fishburn1984", "as commonly stated"),
        Citation("mauraRivero2025", "as commonly stated"),
    ),
    hypotheses=(
        MAXIMAL,
        Hypothesis(
            "loses", r"(P\pi)(z) < \tfrac12", lambda contest: shortfall(contest) > EQUILIBRIUM
        ),
    ),
    margin=_maximal_lottery,
    instances=instances(_draw_contest),
    controls={
        "equilibrium": instances(_draw_other_rule),
        "loses": instances(lambda draws: _draw_contest(draws, loses=False)),
    },
    sharp=(contest(BORDA_FAILS), contest(CYCLE)),
)

ALL = (BORDA, MAXIMAL_LOTTERY)
