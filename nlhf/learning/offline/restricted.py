"""Pessimism against competitors that stay where the data are."""

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nlhf.certificates import certify
from nlhf.errors import HypothesisViolated, InvalidData, Unsupported
from nlhf.estimation.classes.models import Confidence
from nlhf.exact.matrix_game import solve_matrix_game
from nlhf.exact.regularised import solve_regularised
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import certified_gap, pessimistic_value, rounding
from nlhf.learning.offline.solutions import PessimisticSolution
from nlhf.numerics import log_sum_exp
from nlhf.results import Bound, Knows, Provenance, read_only
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class RestrictedSolution(PessimisticSolution):
    """A policy that is judged by covered competitors only, beside what is certain against all.

    Attributes:
        covered: Which responses competitors may play, shape ``(X, n)``.
        against_covered: What the policy secures in the true game against competitors that play
            covered responses only, at least, with probability 1 - δ; it may be above 0.
    """

    covered: Bool[np.ndarray, "context response"]
    against_covered: Bound


def plan_restricted(
    setting: BanditSetting,
    confidence: Confidence,
    covered: Bool[np.ndarray, "context response"],
) -> RestrictedSolution:
    r"""Return the policy of the largest pessimistic value against covered competitors.

    .. math:: \max_\pi \min_{\rho \in \Pi_C}\ (\hat T - W)(\pi, \rho) - \tau KL(\pi\|\mu)
              + \tau KL(\rho\|\mu), \qquad \Pi_C = \{\rho : \rho(y|x) = 0 \text{ if uncovered}\}

    A competitor that plays what was never compared is as strong as the width lets it be, and any
    policy looks bad against it. Left out, the data need to cover the policy against competitors
    among themselves, and not against everybody (after D. Gupta et al., arXiv 2503.06810, where the
    restriction is one of density ratios).

    Args:
        setting: A bandit.
        confidence: The estimate and its width.
        covered: Which responses competitors may play, at least one in every context; see
            `covered_responses`.

    Raises:
        InvalidData: If a context has no covered response; the contexts are named.
        HypothesisViolated: If the shape does not fit, or `covered` is no truth value.
        Unsupported: In a setting that is no bandit.
    """
    start = time.perf_counter()
    _check(setting, covered)
    payoff = confidence.lowest
    columns, share = _columns(covered)
    logs = np.take_along_axis(setting.reference.log_probabilities, columns, axis=-1) - np.log(share)
    mass = log_sum_exp(logs)
    game = ZeroSumGame(
        np.take_along_axis(payoff, columns[:, None, :], axis=-1),
        references=(setting.reference, Policy(logs - mass[:, None])),
        temperatures=(setting.temperature,) * 2,
        weights=setting.stage_weights,
        units=confidence.model.link.units,
    )
    solver = solve_regularised if setting.temperature > 0.0 else solve_matrix_game
    profile = solver(game).profile
    certificate = certify(game, profile)
    # KL to μ is KL to μ among covered responses, plus what μ leaves out: -log μ(covered).
    left_out = -setting.temperature * float(mass @ setting.stage_weights)
    low = _secured(game, profile[0]) + left_out - rounding(setting, confidence, profile[0])
    sure = 1.0 - confidence.delta
    units = confidence.model.link.units
    overall = pessimistic_value(setting, confidence, profile[0])
    return RestrictedSolution(
        policy=profile[0],
        value=overall,
        gap=certified_gap(overall),
        optimality=Bound(certificate.bound.high, Knows.UPPER, units, 0.0, certificate.bound.high),
        confidence=confidence,
        provenance=Provenance(
            method="exact zero-sum game against covered competitors",
            seconds=time.perf_counter() - start,
        ),
        covered=read_only(covered),
        against_covered=Bound(low, Knows.LOWER, units, low, np.inf, sure),
    )


def covered_responses(
    compared: Float[np.ndarray, "context response response"], least: float = 1.0
) -> Bool[np.ndarray, "context response"]:
    """Return which responses were compared with others at least so often.

    Args:
        compared: How often every pair was compared; see `PreferenceData.compared`.
        least: The number of comparisons from which a response counts as covered.
    """
    own = np.einsum("xii->xi", compared)
    return np.asarray(compared.sum(axis=-1) - own >= least)


def _secured(game: ZeroSumGame, policy: Policy) -> float:
    """Return the value of the competitor's best reply."""
    price, (own, other) = game.temperatures[0], game.references
    values = game.payoff.columns(policy.probabilities)
    if price == 0.0:
        return float(values.min(axis=-1) @ game.weights)
    soft = -price * log_sum_exp(other.log_probabilities - values / price)
    return float(soft @ game.weights) - price * game.spaces[0].divergence(policy, own).value


def _columns(
    covered: Bool[np.ndarray, "context response"],
) -> tuple[Int[np.ndarray, "context column"], Int[np.ndarray, "context column"]]:
    """Return covered responses as columns, and into how many copies each is split.

    Contexts with fewer of them repeat their first one: copies that share its reference
    probability change nothing.
    """
    most = int(covered.sum(axis=-1).max())
    order = np.argsort(~covered, axis=-1, kind="stable")[:, :most]
    kept = np.take_along_axis(covered, order, axis=-1)
    columns = np.where(kept, order, order[:, :1])
    share = np.ones(columns.shape, dtype=np.int64)
    copies = (~kept).sum(axis=-1) + 1
    repeated = ~kept
    repeated[:, 0] = True
    share = np.where(repeated, copies[:, None], share)
    return columns, share


def _check(setting: BanditSetting, covered: Bool[np.ndarray, "context response"]) -> None:
    if not isinstance(setting, BanditSetting):
        raise Unsupported(
            f"the setting is a {type(setting).__name__}",
            "competitors are restricted in bandits only: use plan_with_bonus",
        )
    if covered.shape != setting.shape or covered.dtype != bool:
        raise HypothesisViolated(
            f"covered has shape {covered.shape} and type {covered.dtype}, the setting the shape "
            f"{setting.shape}",
            "say of every response of every context whether it is covered",
        )
    bare = np.flatnonzero(~covered.any(axis=-1))
    if bare.size:
        raise InvalidData(
            f"{bare.size} of {len(covered)} contexts have no covered response, among them "
            f"{[int(x) for x in bare[:5]]}",
            "collect data for them, leave them out, or lower the number that counts as covered",
        )
