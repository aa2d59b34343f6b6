"""What a single reward costs the most distant group: the impossibility theorem, and its repair."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import numpy as np
from jaxtyping import Float

from nlhf.analysis.impossibility import Impossibility, impossibility
from nlhf.analysis.population import Population
from nlhf.numerics import EPSILON, kl_divergence, log_normalise
from nlhf.spaces.policy import Policy
from nlhf.theorems import (
    Citation,
    Counterexample,
    Expected,
    Hypothesis,
    Margin,
    Theorem,
)

from .definitions import depth, relative, rounding
from .draws import Draws, instances
from .enclosures import logarithm
from .impossibility_instances import (
    BOUNDED,
    BRADLEY_TERRY,
    COORDINATES,
    POOLED,
    Crowd,
    distances,
    draw_crowd,
    draw_shares,
    extremes,
    two_responses,
)
from .impossibility_rewards import draw_balanced, draw_foreign, draw_overflowing
from .instances import draw_weights
from .recursions import nearest

TRANSCRIBED = 1 / 64
REPAIRED = 2.0

_FINEST = 2000
"""Most intervals on which the covariance along a segment is evaluated."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What groups prefer on a few pairs, and what is said to be the preference of all."""

    preferences: Float[np.ndarray, "group pair"]
    proportions: Float[np.ndarray, "group"]
    law: Float[np.ndarray, "pair"]
    pooled: Float[np.ndarray, "pair"]


def _tv_step(instance: Pool) -> Margin:
    shares = instance.proportions
    own = np.abs(instance.preferences - instance.pooled) @ instance.law
    allowed = 8 * (len(shares) + len(instance.law)) * EPSILON
    found = [
        ((1.0 - float(shares[u])) * epsilon, float(own[u]))
        for u, epsilon in extremes(distances(instance.preferences, instance.law))
    ]
    parts = {"lower bound": nearest([relative(low, true, allowed) for low, true in found])}
    if len(shares) == 2:
        equal = [Margin.equal(low, true, scale=1.0, rounding=allowed) for low, true in found]
        parts["two groups"] = nearest(equal)
    return Margin.every(parts)


def _draw_pool(draws: Draws) -> Pool:
    """Draw preferences of no particular form."""
    groups, pairs = draws.one_of((2, 2, 3, 4, 5)), draws.one_of((1, 2, 3, 6))
    preferences = draws.array((groups, pairs), 0.0, 1.0)
    if draws.chance(3):
        preferences = np.round(preferences)
    shares = draw_shares(draws, groups)
    return Pool(preferences, shares, draw_weights(draws, pairs), shares @ preferences)


def _draw_no_mixture(draws: Draws) -> Pool:
    pool = _draw_pool(draws)
    u, _ = extremes(distances(pool.preferences, pool.law))[draws.whole(1)]
    return replace(pool, pooled=pool.preferences[u])


def _draw_no_shares(draws: Draws) -> Pool:
    pool = _draw_pool(draws)
    shares = pool.proportions * draws.one_of((0.3, 0.6, 1.5, 2.0))
    return replace(pool, proportions=shares, pooled=shares @ pool.preferences)


def _are_shares(pool: Pool) -> bool:
    total = float(pool.proportions.sum())
    return bool(pool.proportions.min() >= 0.0) and abs(total - 1.0) <= 1e-12


TV_STEP = Theorem(
    key="tv-step",
    statement=(
        r"with TV(p,q) = E_\rho|p-q|, p^* = \sum_k\eta_k p_k, (u,j) the most diverse pair and"
        r" \epsilon = TV(p_u,p_j) - \max_{k\ne u}TV(p_k,p_j):"
        r" TV(p^*,p_u) \ge (1-\eta_u)\epsilon, with equality for two groups"
    ),
    sources=(Citation("chakraborty2024", "in the proof of Lemma 1, as commonly transcribed"),),
    hypotheses=(
        Hypothesis(
            "mixture",
            r"p^* = \sum_k\eta_k p_k",
            lambda x: bool(np.abs(x.pooled - x.proportions @ x.preferences).max() <= 4 * EPSILON),
        ),
        Hypothesis("proportions", r"\eta \ge 0, \sum_k\eta_k = 1", _are_shares),
    ),
    margin=_tv_step,
    instances=instances(_draw_pool),
    controls={"mixture": instances(_draw_no_mixture), "proportions": instances(_draw_no_shares)},
)


def policies(crowd: Crowd) -> tuple[Float[np.ndarray, "group response"], ...]:
    """Return log π*, repeated for every group, and log π_u."""
    stacked = np.concatenate([crowd.candidate[None], crowd.parameters])
    logs = log_normalise(crowd.log_reference + stacked @ crowd.features.T / crowd.policy_beta)
    return np.broadcast_to(logs[0], logs[1:].shape), logs[1:]


def objective(crowd: Crowd, logs: Float[np.ndarray, "group response"]) -> np.ndarray:
    """Return F_u = E r_u − β KL(·‖μ) of the u-th policy, from its definition."""
    rewards = crowd.parameters @ crowd.features.T
    terms = np.exp(logs) * (rewards - crowd.beta * (logs - crowd.log_reference))
    return np.asarray(terms.sum(axis=1))


def alignment_gaps(crowd: Crowd) -> tuple[np.ndarray, np.ndarray]:
    """Return β KL(π*‖π_u) of every group, and a bound on its error.

    Log-probabilities that are off by δ move the divergence by at most
    2δ E|log π*/π_u| + δ², and that expectation is at most KL + √(2 KL).
    """
    single, own = policies(crowd)
    divergence = kl_divergence(single, own)
    size = depth(single, own) + float(np.abs(crowd.features).max()) * (
        float(np.abs(crowd.parameters).max() + np.abs(crowd.candidate).max()) / crowd.policy_beta
    )
    off = 16 * EPSILON * size
    errors = 2.0 * off * (divergence + np.sqrt(2.0 * divergence)) + off**2
    return crowd.beta * divergence, crowd.beta * errors


def _identity(crowd: Crowd) -> Margin:
    single, own = policies(crowd)
    lost = objective(crowd, own) - objective(crowd, single)
    size = float(np.abs(crowd.parameters @ crowd.features.T).max())
    size += crowd.beta * depth(single, own, crowd.log_reference[None])
    allowed = rounding(size, len(crowd.features))
    gaps, errors = alignment_gaps(crowd)
    return nearest(
        [
            Margin.equal(a, b, scale=size, rounding=allowed + error)
            for a, b, error in zip(lost, gaps, errors, strict=True)
        ]
    )


def least_covariance(crowd: Crowd, u: int) -> tuple[float, float]:
    r"""Return the least eigenvalue of Cov ψ on the segment φ* → φ_u, on a grid, and what it hides.

    In a unit direction v the variance changes at a relative rate of at most s = range(Δᵀψ)/β, so
    between N + 1 even points it falls by a factor of at most e^{−s/(2N)}.
    """
    change = crowd.parameters[u] - crowd.candidate
    speed = float(np.ptp(crowd.features @ change)) / crowd.policy_beta
    pieces = min(_FINEST, ceil(2000.0 * speed) + 1)
    along = crowd.candidate + np.linspace(0.0, 1.0, pieces + 1)[:, None] * change
    logs = log_normalise(crowd.log_reference + along @ crowd.features.T / crowd.policy_beta)
    masses = np.exp(logs)
    centred = crowd.features - (masses @ crowd.features)[:, None, :]
    spread = np.einsum("ta,tai,taj->tij", masses, centred, centred)
    largest = float(np.abs(crowd.features).max()) ** 2 * len(crowd.features)
    least = max(0.0, float(np.linalg.eigvalsh(spread)[:, 0].min()))
    return least, least * -float(np.expm1(-speed / (2 * pieces))) + 64 * EPSILON * largest


def _segment(crowd: Crowd) -> Margin:
    gaps, errors = alignment_gaps(crowd)
    found = []
    for u, parameter in enumerate(crowd.parameters):
        least, hidden = least_covariance(crowd, u)
        factor = float((parameter - crowd.candidate) @ (parameter - crowd.candidate))
        factor /= 2.0 * crowd.beta
        found.append(relative(factor * least, float(gaps[u]), float(errors[u]) + factor * hidden))
    return nearest(found)


@dataclass(frozen=True, slots=True)
class Constants:
    """λ_ψ, D, π_min and n of a crowd and one of its groups."""

    eigenvalue: float
    radius: float
    least: float
    pairs: int


def constants(crowd: Crowd, u: int) -> Constants:
    """Return the constants for group u; π_min is at an end of the segment."""
    i, j = np.triu_indices(len(crowd.features), 1)
    z = crowd.features[i] - crowd.features[j]
    eigenvalue = max(0.0, float(np.linalg.eigvalsh(z.T @ z / len(z))[0]))
    single, own = policies(crowd)
    least = float(np.exp(min(single.min(), own[u].min())))
    return Constants(eigenvalue, crowd.radius, least, len(z))


def _explicit(crowd: Crowd) -> Margin:
    gaps, errors = alignment_gaps(crowd)
    apart = distances(crowd.preferences, crowd.law)
    inexact = crowd.inexactness
    found = []
    for u, epsilon in extremes(apart):
        known = constants(crowd, u)
        y = max(0.0, epsilon) * (1.0 - float(crowd.proportions[u]))
        shape = REPAIRED * known.pairs * known.least**2 * known.eigenvalue
        shape /= crowd.beta * known.radius**2
        allowed = float(errors[u]) + shape * (2.0 * y + inexact) * inexact
        found.append(relative(shape * y**2, float(gaps[u]), allowed))
    return nearest(found)


def packaged(crowd: Crowd) -> Impossibility:
    """Return what the package computes for the crowd."""
    n = len(crowd.features)
    law = np.zeros((n, n))
    np.add.at(law, (crowd.pairs[:, 0], crowd.pairs[:, 1]), crowd.law)
    return impossibility(
        Population.of(
            crowd.features,
            crowd.parameters,
            temperature=crowd.beta,
            proportions=crowd.proportions,
            reference=Policy(crowd.log_reference),
            pair_law=law,
        )
    )


def _package(crowd: Crowd) -> Margin:
    r"""Compare with the package's gap, whose φ* is found by Newton's method on the pooled loss.

    Its score is off by c ε E‖z‖ min(p, 1 − p), hence φ* by that over the least eigenvalue of the
    Hessian, and the gap by ‖∇‖ ≤ D²‖φ* − φ_u‖/β times as much, and a term of second order.
    """
    found = packaged(crowd)
    u, z, model = found.minority, crowd.differences, crowd.model
    hessian = z.T @ ((crowd.law * model * (1.0 - model))[:, None] * z)
    tails = np.minimum(model, 1.0 - model) * np.linalg.norm(z, axis=1)
    gaps, errors = alignment_gaps(crowd)
    least = float(np.linalg.eigvalsh(hessian)[0])
    off = 64 * EPSILON * float(crowd.law @ tails) / max(least, 1e-300)
    off += 64 * EPSILON * float(np.abs(crowd.candidate).max())
    steep = float((np.abs(crowd.features) ** 2).sum(axis=1).max()) / crowd.beta
    change = float(np.linalg.norm(crowd.parameters[u] - crowd.candidate))
    allowed = float(errors[u]) + steep * off * (change + off)
    scale = float(gaps[u]) + allowed
    return Margin.equal(float(gaps[u]), found.gap, scale=scale, rounding=2.0 * allowed)


def _repaired(instance: Crowd) -> Margin:
    return Margin.every(
        {
            "identity": _identity(instance),
            "segment": _segment(instance),
            "explicit": _explicit(instance),
            "package": _package(instance),
        }
    )


ONE_TEMPERATURE = Hypothesis[Crowd](
    "one-temperature",
    r"\pi_r \propto \mu e^{r/\beta} with the \beta of the objective",
    lambda x: x.policy_beta == x.beta,
)


def _draw_two_temperatures(draws: Draws) -> Crowd:
    crowd = draw_crowd(draws)
    return replace(crowd, policy_beta=crowd.beta * draws.one_of((0.5, 2.0, 8.0)))


IMPOSSIBILITY_REPAIRED = Theorem(
    key="impossibility-repaired",
    statement=(
        r"for every group F_u(\pi_u) - F_u(\pi^*) = \beta KL(\pi^*\|\pi_u) \ge"
        r" \tfrac1{2\beta}\min_t\lambda_{\min}(Cov_{\pi_t}\psi)\|\phi^*-\phi_u\|^2 along the"
        r" segment \phi^*\to\phi_u; for the most distant group it is at least"
        r" \tfrac{2n\pi_{\min}^2\lambda_\psi}{\beta D^2}[\epsilon(1-\eta_u)]^2, n = \binom K2"
    ),
    sources=(Citation("chakraborty2024", "repaired; the original as commonly transcribed"),),
    hypotheses=(BRADLEY_TERRY, POOLED, BOUNDED, ONE_TEMPERATURE),
    margin=_repaired,
    instances=instances(draw_crowd),
    controls={
        BRADLEY_TERRY.name: instances(draw_foreign),
        POOLED.name: instances(draw_balanced),
        BOUNDED.name: instances(draw_overflowing),
        ONE_TEMPERATURE.name: instances(_draw_two_temperatures),
    },
    sharp=(two_responses(0.01, -0.01, 0.5), two_responses(1e-4, 0.0, 0.25, beta=0.2)),
    constants={"factor": REPAIRED},
    coordinates=COORDINATES,
)


def transcribed_bound(crowd: Crowd, u: int, epsilon: float) -> float:
    """Return λ_ψ ε(1 − η_u)/(64 β² L_π D²) with L_π = 1/π_min."""
    known = constants(crowd, u)
    y = epsilon * (1.0 - float(crowd.proportions[u]))
    shape = TRANSCRIBED * known.eigenvalue * known.least / (crowd.beta * known.radius) ** 2
    return shape * y


def _as_transcribed(instance: Crowd) -> Margin:
    gaps, errors = alignment_gaps(instance)
    found = []
    for u, epsilon in extremes(distances(instance.preferences, instance.law)):
        low = transcribed_bound(instance, u, max(0.0, epsilon))
        allowed = float(errors[u]) + 64 * EPSILON * low
        found.append(relative(low, float(gaps[u]), allowed))
    return nearest(found)


@dataclass(frozen=True, slots=True)
class Duo:
    """Two responses with features ±1/2, and two groups that prefer the first with p_u and p_j."""

    own: Fraction
    other: Fraction
    share: Fraction
    inverse_beta: int

    @property
    def crowd(self) -> Crowd:
        """The same in floating point, for the margin."""
        first, second = (float(np.log(float(p / (1 - p)))) for p in (self.own, self.other))
        return two_responses(first, second, float(self.share), 1.0 / self.inverse_beta)


SMALLEST = Duo(Fraction(1, 2), Fraction(2, 3), Fraction(3, 4), 4)
"""All denominators, that of β included, are at most 4."""

EVEN = Duo(Fraction(1, 2), Fraction(4, 7), Fraction(1, 2), 3)
"""The same with groups of equal size."""

MINORITY = Duo(Fraction(1, 2), Fraction(4, 7), Fraction(1, 3), 5)
"""The same with u a third of the population."""


def breaks_as_transcribed(case: Duo) -> bool:
    r"""Verify in rational arithmetic that the gap is below the bound as transcribed.

    K = 2 and ψ = ±1/2: the only difference is z = 1, so λ_ψ = 1, D = 1/2, and
    ε = |p_u − p_j|. The pooled model is exactly Bradley-Terry, σ(φ*) = p* = ηp_u + (1 − η)p_j.
    With 1/β = m an integer the policies are rational: the odds of π_u are those of p_u to the
    power m, and those of π* those of p*. The gap is the sum of two rational multiples of
    logarithms of rationals, which `logarithm` encloses, divided by m.
    """
    m, epsilon = case.inverse_beta, abs(case.own - case.other)
    pooled = case.share * case.own + (1 - case.share) * case.other
    single, own = ((p**m / (p**m + (1 - p) ** m)) for p in (pooled, case.own))
    both = ((single, own), (1 - single, 1 - own))
    gap = sum((p * logarithm(p / q).high for p, q in both), Fraction(0)) / m
    least = min(single, own, 1 - single, 1 - own)
    bound = m**2 * least * epsilon * (1 - case.share) / (64 * Fraction(1, 4))
    return gap < bound


def breaks_every_linear_bound(constant: Fraction) -> bool:
    r"""Verify that gap ≥ c ε(1 − η_u) fails for some ε, at β = 1, whatever c > 0.

    With p_u = 1/2 and y = ε(1 − η) the policies are π* = (1/2 + y, 1/2 − y) and π_u = (1/2, 1/2),
    and KL ≤ χ² = Σ (p − q)²/q = 4y², which is below cy once y < c/4.
    """
    y = min(constant, Fraction(1)) / 8
    single, own = (Fraction(1, 2) + y, Fraction(1, 2) - y), Fraction(1, 2)
    chi_square = sum(((p - own) ** 2 / own for p in single), Fraction(0))
    return chi_square < constant * y


def breaks_every_square_over_beta_squared(constant: Fraction) -> bool:
    r"""Verify that gap ≥ c [ε(1 − η_u)]²/β² fails for some β, whatever c > 0.

    Policies are held fixed: φ_u = 0 and φ_j = β, so π_u is even and π* never leaves the odds 1:e.
    Hence KL ≤ log 2 < 1 and gap < β. With η = 1/2 and β ≤ 1, σ(β) − 1/2 ≥ β/5 (it is concave, and
    σ(1) > 0.7), so y ≥ β/10 and c y²/β² ≥ c/100, which is above β at β = c/200.
    """
    beta = min(constant / 200, Fraction(1))
    sure = 1 / (1 + 1 / Fraction(27, 10)) - Fraction(1, 2) >= Fraction(1, 5)  # e > 2.7
    return sure and beta < constant / 100


def _is_certified() -> bool:
    tiny = [Fraction(c) for c in ("1", "1/64", "1e-6", "1e-12")]
    return (
        all(breaks_as_transcribed(case) for case in (SMALLEST, EVEN, MINORITY))
        and all(breaks_every_linear_bound(c) for c in tiny)
        and all(breaks_every_square_over_beta_squared(c) for c in tiny)
    )


IMPOSSIBILITY_AS_TRANSCRIBED = Theorem(
    key="impossibility-as-transcribed",
    statement=(
        r"F_u(\pi_u) - F_u(\pi^*) \ge \lambda_\psi\epsilon(1-\eta_u)/(64\beta^2L_\pi D^2) with"
        r" \lambda_\psi the least eigenvalue of the mean of zz^\top over all pairs and"
        r" L_\pi = 1/\pi_{\min}"
    ),
    sources=(Citation("chakraborty2024", "Theorem 1, as commonly transcribed"),),
    hypotheses=(BRADLEY_TERRY, POOLED, BOUNDED, ONE_TEMPERATURE),
    margin=_as_transcribed,
    instances=instances(draw_crowd),
    controls={},
    expected=Expected.REFUTED,
    sharp=(SMALLEST.crowd, EVEN.crowd, MINORITY.crowd, two_responses(0.5, 0.501, 0.2)),
    constants={"factor": TRANSCRIBED},
    coordinates=COORDINATES,
    counterexample=Counterexample(
        r"two responses with features $\pm\tfrac12$; three quarters of the people are indifferent,"
        r" one quarter prefers the first with $\tfrac23$; $\beta = \tfrac14$: the gap of the first"
        r" group is below the bound; and no constant makes a bound linear in $\epsilon(1-\eta_u)$,"
        r" or of the order $1/\beta^2$, hold",
        _is_certified,
        python="""\
from fractions import Fraction as F

# Two responses with features 1/2 and -1/2, uniform reference: z = 1, lambda = 1, D = 1/2.
p_u, p_j, share, m = F(1, 2), F(2, 3), F(3, 4), 4  # beta = 1/m


def log_above(x):  # log x = 2 artanh((x - 1)/(x + 1)) and its remainder
    y = (x - 1) / (x + 1)
    series = sum(2 * y ** (2 * k + 1) / (2 * k + 1) for k in range(40))
    return series + abs(2 * y**81 / (81 * (1 - y * y)))


pooled = share * p_u + (1 - share) * p_j  # 13/24, exactly Bradley-Terry
policy = pooled**m / (pooled**m + (1 - pooled) ** m)  # of the single reward: odds to the power m
own = p_u**m / (p_u**m + (1 - p_u) ** m)  # of the first group
gap = sum(a * log_above(a / b) for a, b in ((policy, own), (1 - policy, 1 - own))) / m
least = min(policy, 1 - policy, own, 1 - own)  # 1/L
bound = least * abs(p_u - p_j) * (1 - share) * m**2 / (64 * F(1, 4))
assert gap < bound
""",
    ),
)

ALL = (TV_STEP, IMPOSSIBILITY_AS_TRANSCRIBED, IMPOSSIBILITY_REPAIRED)
