"""What one reward for everybody costs a minority: everything the impossibility theorem names."""

from dataclasses import dataclass
from itertools import permutations
from math import comb, log1p

import numpy as np
from jaxtyping import Float

from nlhf.analysis.population import Population
from nlhf.errors import HypothesisViolated, SolverFailed
from nlhf.numerics import EPSILON, kl_divergence, log_normalise, sigmoid
from nlhf.spaces.policy import Policy

REALISABLE = 1e-12
"""Largest distance between the pooled preference and its best Bradley-Terry model, relative to
ε(1 − η_u), at which the model counts as exact: nothing that matters to a bound."""

_ROUNDING = 64 * EPSILON
"""What a distance between exact preferences may be, from rounding alone."""

_SEGMENT = 512
"""Intervals on which the covariance along the segment of parameters is bounded."""

_STEPS = 200
_SURE = 1.0
_LAST = 1e-9
"""A Newton step as short as this, in logits, leaves an error far below rounding behind."""

_SCORE = 1e-12


@dataclass(frozen=True, slots=True)
class MismatchBounds:
    r"""Lower bounds of ‖φ* − φ_u‖; y stands for :math:`\epsilon(1-\eta_u)`.

    Attributes:
        published: y/(4D), Lemma 1 of Chakraborty et al. (ICML 2024) as commonly transcribed. Holds
            if the pooled model is realisable, or there are two groups; not otherwise (theorem
            ``reward-mismatch-misspecified``).
        sharp: 2y/D. Holds if the pooled model is realisable; attained as two groups meet.
        moments: :math:`4\|E_\rho z(p^*-p_u)\|/\lambda_{\max}(E_\rho zz^\top)`. Holds always.
        two_groups: :math:`\log(1+y)/(2D)`. Holds always for two groups.
    """

    published: float
    sharp: float
    moments: float
    two_groups: float


@dataclass(frozen=True, slots=True)
class GapBounds:
    r"""Lower bounds of the alignment gap of group u; y stands for :math:`\epsilon(1-\eta_u)`.

    Attributes:
        transcribed: :math:`\lambda_\psi y/(64\beta^2 L_\pi D^2)` with :math:`L_\pi=1/\pi_{\min}`,
            Theorem 1 as commonly transcribed. **False** as y → 0, and as β → 0.
        squared: The same with y² for y. **False** as β → 0 at fixed policies.
        segment: :math:`\frac1{2\beta}\min_t\lambda_{\min}(Cov_{\pi_t}\psi)\,\|\phi^*-\phi_u\|^2`
            along the segment of parameters from φ* to φ_u. Holds always; the minimum is a proved
            lower bound of it.
        repaired: :math:`2\binom n2\pi_{\min}^2\lambda_\psi y^2/(\beta D^2)`. Holds if the pooled
            model is realisable.
    """

    transcribed: float
    squared: float
    segment: float
    repaired: float


@dataclass(frozen=True, slots=True, eq=False)
class Impossibility:
    r"""A single reward for a population, and what it costs each group.

    Attributes:
        population: The instance.
        diversity: :math:`E_\rho|p_k - p_l|` of every two groups, the total variation between their
            labelled comparisons.
        minority: u, the group of the most diverse pair that was asked for, or the less frequent.
        opposite: j, the other group of the pair.
        epsilon: ε = diversity(u, j) − max over k ≠ u of diversity(k, j); may be negative.
        pooled_parameter: φ*, the limit of the maximum-likelihood reward on everybody's votes.
        score: Largest entry of the gradient of the pooled loss at φ*; 0 up to rounding.
        misspecification: :math:`E_\rho|p_{\phi^*} - p^*|` for the pooled preference p*.
        mismatch: ‖φ* − φ_u‖ of every group.
        single_policy: :math:`\pi^*\propto\mu e^{r_{\phi^*}/\beta}`.
        group_policies: :math:`\pi_u\propto\mu e^{r_u/\beta}` of every group.
        gaps: Alignment gap :math:`F_u(\pi_u) - F_u(\pi^*)` of every group, computed as
            :math:`\beta KL(\pi^*\|\pi_u)`, which is as accurate as φ* − φ_u.
        gaps_of_objectives: The same as the difference of
            :math:`F_u(\pi) = E_\pi r_u - \beta KL(\pi\|\mu)`, which cancels.
        pair_gram: λ_ψ, the least eigenvalue of the mean of zzᵀ over all pairs of responses.
        radius: D, the largest norm of a feature vector.
        least_probability: π_min, of any response under any policy between π* and π_u.
        mismatch_bounds: Lower bounds of the mismatch of u.
        gap_bounds: Lower bounds of the gap of u.
    """

    population: Population
    diversity: Float[np.ndarray, "group group"]
    minority: int
    opposite: int
    epsilon: float
    pooled_parameter: Float[np.ndarray, "feature"]
    score: float
    misspecification: float
    mismatch: Float[np.ndarray, "group"]
    single_policy: Policy
    group_policies: tuple[Policy, ...]
    gaps: Float[np.ndarray, "group"]
    gaps_of_objectives: Float[np.ndarray, "group"]
    pair_gram: float
    radius: float
    least_probability: float
    mismatch_bounds: MismatchBounds
    gap_bounds: GapBounds

    @property
    def realisable(self) -> bool:
        """Whether the pooled preference is Bradley-Terry on what is compared, to rounding."""
        y = self.epsilon * (1.0 - float(self.population.proportions[self.minority]))
        return self.misspecification <= REALISABLE * abs(y) + _ROUNDING

    @property
    def gap(self) -> float:
        """The alignment gap of the minority."""
        return float(self.gaps[self.minority])


def impossibility(population: Population, group: int | None = None) -> Impossibility:
    r"""Compute everything that the impossibility theorem of MaxMin-RLHF speaks of.

    With one group, ε and every bound are 0. The pooled parameter is the unique zero of
    :math:`E_\rho[z(\sigma(z^\top\phi) - p^*(z))]`, found by Newton's method to rounding accuracy:
    the parameters are finite, so no data are separable. Its error grows with the square of the
    condition number of the differences; from about 1e7 on Newton's steps do not settle.

    Args:
        population: The groups.
        group: u, one of the most diverse pair; by default the less frequent one, of equals the
            first.

    Raises:
        HypothesisViolated: If the differences of compared features do not span the features, so
            that φ* is not unique; if the reference leaves a response out, so that a policy has no
            least probability; or if the group is not one of the most diverse pair.
        SolverFailed: If the score at φ* is not zero, or Newton's steps do not settle.

    Guarantee:
        `gaps` and `gap_bounds.segment` are what they say up to rounding, whatever the instance;
        which other bounds hold is said with each.
    """
    differences, law = population.differences, population.pair_weights
    _require_span(population, differences)
    odds = population.parameters @ differences.T
    winning, losing = sigmoid(odds), sigmoid(-odds)
    pooled = population.proportions @ winning, population.proportions @ losing
    parameter = _pooled_parameter(differences, law, pooled, population)
    chosen = sigmoid(differences @ parameter)
    diversity = np.stack([np.abs(winning - own) @ law for own in winning])
    diversity = np.maximum(diversity, diversity.T)  # products of matrices may round differently
    u, j, epsilon = _most_diverse(diversity, population.proportions, group)
    single, policies = _policy(population, parameter), _policy(population, population.parameters)
    mismatch = np.linalg.norm(parameter - population.parameters, axis=1)
    own = _objective(population, policies)
    everybody = np.broadcast_to(single, policies.shape)
    eigenvalue = _pair_gram(population.features)
    radius = float(np.linalg.norm(population.features, axis=1).max())
    least = float(np.exp(min(single.min(), policies[u].min())))
    moment = differences.T @ (law * (pooled[0] - winning[u]))
    scale = float(np.linalg.eigvalsh(differences.T @ (law[:, None] * differences))[-1])
    y = epsilon * (1.0 - float(population.proportions[u]))
    return Impossibility(
        population=population,
        diversity=diversity,
        minority=u,
        opposite=j,
        epsilon=epsilon,
        pooled_parameter=parameter,
        score=float(np.abs(_score(differences, law, pooled, parameter)).max()),
        misspecification=float(law @ np.abs(chosen - pooled[0])),
        mismatch=mismatch,
        single_policy=Policy(single),
        group_policies=tuple(map(Policy, policies)),
        gaps=population.temperature * kl_divergence(everybody, policies),
        gaps_of_objectives=own - _objective(population, everybody),
        pair_gram=eigenvalue,
        radius=radius,
        least_probability=least,
        mismatch_bounds=MismatchBounds(
            published=y / (4.0 * radius),
            sharp=2.0 * y / radius,
            moments=4.0 * float(np.linalg.norm(moment)) / scale,
            two_groups=log1p(max(y, 0.0)) / (2.0 * radius),
        ),
        gap_bounds=_gap_bounds(population, parameter, u, y, (eigenvalue, radius, least)),
    )


def _require_span(population: Population, differences: Float[np.ndarray, "pair feature"]) -> None:
    features = population.features.shape[1]
    rank = int(np.linalg.matrix_rank(differences)) if len(differences) else 0
    if rank < features:
        raise HypothesisViolated(
            f"the {len(differences)} compared pairs span {rank} of {features} features: the pooled "
            "reward is not unique",
            "leave out features that no comparison can tell, or compare more pairs",
        )
    absent = np.flatnonzero(~np.isfinite(population.reference.log_probabilities))
    if absent.size:
        raise HypothesisViolated(
            f"the reference never plays response {int(absent[0])}",
            "leave the response out, or give it a positive probability",
        )


def _score(
    differences: np.ndarray, law: np.ndarray, pooled: tuple[np.ndarray, np.ndarray], at: np.ndarray
) -> np.ndarray:
    """Return E z(σ(zᵀφ) − p*), each term by the smaller of the two probabilities."""
    odds = differences @ at
    excess = np.where(odds > 0, pooled[1] - sigmoid(-odds), sigmoid(odds) - pooled[0])
    return np.asarray(differences.T @ (law * excess))


def _pooled_parameter(
    differences: Float[np.ndarray, "pair feature"],
    law: Float[np.ndarray, "pair"],
    pooled: tuple[Float[np.ndarray, "pair"], Float[np.ndarray, "pair"]],
    population: Population,
) -> Float[np.ndarray, "feature"]:
    """Return φ* by damped Newton steps; the damping is that of `estimation.likelihood`."""
    at, spread = population.proportions @ population.parameters, np.inf
    sizes = float(law @ np.abs(differences).max(axis=1))
    for _ in range(_STEPS):
        odds = differences @ at
        curvature = law * sigmoid(odds) * sigmoid(-odds)
        hessian = differences.T @ (curvature[:, None] * differences)
        try:
            step = -np.linalg.solve(hessian, _score(differences, law, pooled, at))
        except np.linalg.LinAlgError:
            break
        spread = float(np.abs(differences @ step).max())
        ahead = at + (step if spread <= _SURE else np.log1p(spread) / spread * step)
        if not np.isfinite(ahead).all():
            break
        at = ahead
        if spread <= _LAST:
            break
    score = float(np.abs(_score(differences, law, pooled, at)).max())
    if not (score <= _SCORE * sizes and spread <= _LAST):
        raise SolverFailed(
            f"the last of up to {_STEPS} Newton steps is {spread:.3g} logits long and leaves a "
            f"score of {score:.3g}, where at most {_LAST:g} and {_SCORE * sizes:.3g} are allowed; "
            "rewards of compared responses differ by up to "
            f"{float(np.abs(population.parameters @ differences.T).max()):.3g} logits, and the "
            f"condition number of the differences is {float(np.linalg.cond(differences)):.3g}",
            "if choices are certain in floating point (above some 100 logits), scale the rewards "
            "down; if features are nearly combinations of others (condition above some 1e7), leave "
            "these out",
            solver="damped Newton",
            status="not settled",
        )
    return np.asarray(at)


def _most_diverse(
    diversity: Float[np.ndarray, "group group"],
    proportions: Float[np.ndarray, "group"],
    group: int | None,
) -> tuple[int, int, float]:
    """Return u and j, the most diverse pair, and ε."""
    groups = len(proportions)
    if groups == 1:
        return 0, 0, 0.0
    largest = diversity.max()
    pairs = [pair for pair in permutations(range(groups), 2) if diversity[pair] == largest]
    own = [pair for pair in pairs if group in (None, pair[0])]
    if not own:
        raise HypothesisViolated(
            f"group {group} is not one of the most diverse pair, {pairs[0]}, at a distance of "
            f"{largest:.6g}",
            "ask for one of these, or read `gaps` and `mismatch`, which are those of every group",
        )
    u, j = min(own, key=lambda pair: (proportions[pair[0]], pair))
    others = np.delete(diversity[:, j], u)
    return u, j, float(largest - others.max())


def _policy(
    population: Population, parameters: Float[np.ndarray, "*group feature"]
) -> Float[np.ndarray, "*group response"]:
    rewards = parameters @ population.features.T
    return log_normalise(population.reference.log_probabilities + rewards / population.temperature)


def _objective(
    population: Population, policies: Float[np.ndarray, "group response"]
) -> Float[np.ndarray, "group"]:
    """Return F_u of the u-th policy, term by term as it is defined."""
    rewards = population.parameters @ population.features.T
    penalty = policies - population.reference.log_probabilities
    return np.asarray((np.exp(policies) * (rewards - population.temperature * penalty)).sum(axis=1))


def _pair_gram(features: Float[np.ndarray, "response feature"]) -> float:
    i, j = np.triu_indices(len(features), 1)
    z = features[i] - features[j]
    return max(0.0, float(np.linalg.eigvalsh(z.T @ z / len(z))[0]))


def _gap_bounds(
    population: Population,
    parameter: Float[np.ndarray, "feature"],
    u: int,
    y: float,
    constants: tuple[float, float, float],
) -> GapBounds:
    eigenvalue, radius, least = constants
    beta = population.temperature
    shape = eigenvalue * least / (64.0 * beta**2 * radius**2)
    change = population.parameters[u] - parameter
    pairs = comb(len(population.features), 2)
    return GapBounds(
        transcribed=shape * y,
        squared=shape * y * abs(y),
        segment=_least_covariance(population, parameter, change)
        * float(change @ change)
        / (2.0 * beta),
        repaired=2.0 * pairs * least**2 * eigenvalue * y * abs(y) / (beta * radius**2),
    )


def _least_covariance(
    population: Population,
    start: Float[np.ndarray, "feature"],
    change: Float[np.ndarray, "feature"],
) -> float:
    r"""Return a lower bound of the least eigenvalue of Cov ψ along φ* + tΔ, 0 ≤ t ≤ 1.

    For a unit vector v, :math:`|\frac{d}{dt} v^\top Cov\,v| \le s\,v^\top Cov\,v` with s the range
    of Δᵀψ over β. So the least eigenvalue changes by a factor of at most e^{s/(2N)} between a
    point and the nearest of N + 1 even ones. What eigenvalues may round is taken off.
    """
    t = np.linspace(0.0, 1.0, _SEGMENT + 1)
    policies = np.exp(_policy(population, start + t[:, None] * change))
    centred = population.features - (policies @ population.features)[:, None, :]
    covariances = np.einsum("ta,tai,taj->tij", policies, centred, centred)
    n, d = population.features.shape
    rounding = 8 * (n + d) * EPSILON * float((population.features**2).sum(axis=1).max())
    least = max(0.0, float(np.linalg.eigvalsh(covariances)[:, 0].min()) - rounding)
    speed = float(np.ptp(population.features @ change)) / population.temperature
    return least * float(np.exp(-speed / (2.0 * _SEGMENT)))
