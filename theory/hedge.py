"""Finding the MaxMin policy: exponential weights against best responses, and what fails."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import log, sqrt

import numpy as np
from jaxtyping import Float

from nlhf.numerics import log_normalise, log_of
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Logs, relative
from .draws import Draws, instances
from .groups import (
    Groups,
    Shares,
    best,
    certified,
    conceded,
    draw_groups,
    error,
    response,
    secured,
    size,
    spread,
    utilities,
)

REGRET_SQUARED = 1 / 2
"""Gap ≤ R √(log U / (2T))."""

CURVATURE = 1 / 4
"""D'' ≤ ρ²/(4τ) along a segment between two groups."""

_COUNTS = (1, 2, 5, 12, 30)
_LONG = 40
_TOLERANCE = 1e-9
_HALVINGS = 32
"""The tangent is then below the minimum by at most its slope, 2⁻³² ρ²/(4τ), times 2⁻³²."""

Policies = Float[np.ndarray, "iterate context response"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run on some groups, and the pair that it answers with.

    Attributes:
        groups: The groups.
        step_size: η of the exponential weights.
        log_shares: The group weights that were played.
        policies: The policies that were played.
        policy: The policy that is the answer.
        shares: The group weights that are the answer.
    """

    groups: Groups
    step_size: float
    log_shares: Float[np.ndarray, "iterate group"]
    policies: Policies
    policy: Logs
    shares: Shares


def hedge_step(groups: Groups, count: int) -> float:
    """Return √(8 log U / T)/R, the step for T iterates."""
    apart = spread(groups)
    return sqrt(8.0 * log(len(groups.rewards)) / count) / apart if apart > 0.0 else 1.0


def hedge(
    groups: Groups,
    step_size: float,
    count: int,
    start: Shares | None = None,
    respond: bool = True,
) -> Run:
    r"""Play w_{t+1} ∝ w_t e^{−ηU(π_t)}, and average; without responding, π_t is the reference.

    The start is even unless given.
    """
    many = len(groups.rewards)
    log_shares = [np.log(np.full(many, 1.0 / many) if start is None else start)]
    policies: list[Logs] = []
    for _ in range(count):
        shares = np.exp(log_shares[-1])
        policies.append(response(groups, shares) if respond else groups.log_reference)
        log_shares.append(
            log_normalise(log_shares[-1] - step_size * utilities(groups, policies[-1]))
        )
    played, weights = np.stack(policies), np.stack(log_shares[:-1])
    return Run(
        groups,
        step_size,
        weights,
        played,
        log_of(np.exp(played).mean(axis=0)),
        np.exp(weights).mean(axis=0),
    )


def duality_gap(groups: Groups, policy: Logs, shares: Shares) -> float:
    """Return D(w) − F(π)."""
    return conceded(groups, shares) - secured(groups, policy)


def _hedge_rate(instance: Run) -> Margin:
    groups, count = instance.groups, len(instance.policies)
    bound = spread(groups) * sqrt(REGRET_SQUARED * log(len(groups.rewards)) / count)
    policy, shares = instance.policy, instance.shares
    allowed = error(groups, policy) * (4.0 + instance.step_size * count)
    certificate = certified(groups, policy, shares / shares.sum()).bound
    return Margin.every(
        {
            "gap": relative(duality_gap(groups, policy, shares), bound, allowed),
            "certificate": relative(
                certificate.value, bound, allowed + certificate.high - certificate.low
            ),
        }
    )


def _is_even(instance: Run) -> bool:
    return bool(np.ptp(instance.log_shares[0]) <= _TOLERANCE)


def _responds(instance: Run) -> bool:
    groups = instance.groups
    payoffs = np.tensordot(np.exp(instance.log_shares), groups.rewards, axes=1)
    wanted = log_normalise(groups.log_reference + payoffs / groups.temperature)
    return bool(np.abs(np.exp(instance.policies) - np.exp(wanted)).max() <= _TOLERANCE)


def _is_exponential(instance: Run) -> bool:
    groups, logs = instance.groups, instance.log_shares
    played = np.exp(instance.policies)
    gains = np.einsum("uxa,txa,x->tu", groups.rewards, played, groups.weights)
    ahead = log_normalise(logs - instance.step_size * gains)[:-1]
    return bool(np.allclose(ahead, logs[1:], rtol=1e-9, atol=1e-9))


def _is_fixed_step(instance: Run) -> bool:
    step = hedge_step(instance.groups, len(instance.policies))
    return bool(np.isclose(instance.step_size, step, rtol=1e-12, atol=0.0))


def _is_average(instance: Run) -> bool:
    mean = np.exp(instance.policies).mean(axis=0)
    shares = np.exp(instance.log_shares).mean(axis=0)
    off = max(np.abs(np.exp(instance.policy) - mean).max(), np.abs(instance.shares - shares).max())
    return bool(off <= _TOLERANCE)


def _draw_run(draws: Draws) -> Run:
    groups, count = draw_groups(draws, 2, 4), draws.one_of(_COUNTS)
    return hedge(groups, hedge_step(groups, count), count)


def _draw_rivals(draws: Draws) -> Groups:
    """Draw two groups of which the second is for the most part against the first, nearly cold."""
    groups = draw_groups(draws, 2, 2)
    first = groups.rewards[0]
    offset = draws.between(0.2, 0.6) * np.ptp(first)
    rewards = np.stack([first, -draws.between(0.6, 1.0) * first + offset])
    cold = 0.02 * float(np.abs(first).max() + 1e-3)
    even = np.log(np.full(groups.log_reference.shape, 1.0 / first.shape[-1]))
    return replace(groups, rewards=rewards, log_reference=even, temperature=cold)


def _draw_uneven(draws: Draws) -> Run:
    groups = _draw_rivals(draws)
    low = np.exp(-draws.between(100.0, 300.0))
    start = np.array([1.0 - low, low])
    return hedge(groups, hedge_step(groups, _LONG), _LONG, start)


def _draw_without_response(draws: Draws) -> Run:
    groups = _draw_rivals(draws)
    return hedge(groups, hedge_step(groups, _LONG), _LONG, respond=False)


def _draw_other_weights(draws: Draws) -> Run:
    """Draw a run in which the group weights stay where they are."""
    groups = _draw_rivals(draws)
    still = hedge(groups, 0.0, _LONG)
    return replace(still, step_size=hedge_step(groups, _LONG))


def _draw_short_step(draws: Draws) -> Run:
    groups = _draw_rivals(draws)
    return hedge(groups, draws.between(0.0, 0.01) * hedge_step(groups, _LONG), _LONG)


def _draw_iterate(draws: Draws) -> Run:
    """Draw a run that answers with the worst of its iterates."""
    groups = _draw_rivals(draws)
    run = hedge(groups, hedge_step(groups, _LONG), _LONG)
    shares = np.exp(run.log_shares)
    gaps = [duality_gap(groups, *pair) for pair in zip(run.policies, shares, strict=True)]
    worst = int(np.argmax(gaps))
    return replace(run, policy=run.policies[worst], shares=shares[worst])


HEDGE_RATE = Theorem(
    key="hedge-rate",
    statement=(
        r"w_1 even, \pi_t = \pi_{w_t}, w_{t+1} \propto w_te^{-\eta U(\pi_t)},"
        r" \eta = \sqrt{8\log U/T}/R: D(\bar w) - F(\bar\pi) \le R\sqrt{\log U/(2T)}, where R is"
        r" the most by which two groups' utilities of one policy differ"
    ),
    sources=(
        Citation("freund1999", "as commonly stated"),
        Citation("chakraborty2024", "the objective"),
    ),
    hypotheses=(
        Hypothesis("even-start", r"w_1 = (1/U, \dots, 1/U)", _is_even),
        Hypothesis("response", r"\pi_t \propto \mu e^{w_t\cdot r/\tau}", _responds),
        Hypothesis("exponential", r"w_{t+1} \propto w_te^{-\eta U(\pi_t)}", _is_exponential),
        Hypothesis("step", r"\eta = \sqrt{8\log U/T}/R", _is_fixed_step),
        Hypothesis("average", r"\bar\pi, \bar w are the means of \pi_t, w_t", _is_average),
    ),
    margin=_hedge_rate,
    instances=instances(_draw_run),
    controls={
        "even-start": instances(_draw_uneven),
        "response": instances(_draw_without_response),
        "exponential": instances(_draw_other_weights),
        "step": instances(_draw_short_step),
        "average": instances(_draw_iterate),
    },
    constants={"regret squared": REGRET_SQUARED},
)


@dataclass(frozen=True, slots=True, eq=False)
class Alternation:
    """Two groups, and the policies that were played."""

    groups: Groups
    policies: Policies


def served_worst(groups: Groups, policy: Logs) -> int:
    """Return the first group of least utility."""
    return int(utilities(groups, policy).argmin())


def alternate(groups: Groups, start: Logs, steps: int) -> Policies:
    """Answer the group that is served worst with its own best policy, again and again."""
    policies = [start]
    for _ in range(steps):
        policies.append(best(groups, groups.rewards[served_worst(groups, policies[-1])]))
    return np.stack(policies)


def envy(groups: Groups, u: int) -> float:
    """Return Δ_u, how much better the policy that is best for u serves u than the other group."""
    found = utilities(groups, best(groups, groups.rewards[u]))
    return float(found[u] - found[1 - u])


def quarrel(groups: Groups) -> float:
    """Return ρ, the range over responses of what the groups differ by, at its largest prompt."""
    return float(np.ptp(groups.rewards[0] - groups.rewards[1], axis=-1).max())


def distance_bound(groups: Groups) -> float:
    """Return 4τ|Δ_1 Δ_2|/ρ²."""
    both = abs(envy(groups, 0) * envy(groups, 1))
    return groups.temperature * both / (CURVATURE * quarrel(groups) ** 2)


def _alternation_fails(instance: Alternation) -> Margin:
    groups, played = instance.groups, instance.policies[1:]
    scale, allowed = size(groups, *played), error(groups, *played)
    worst = [served_worst(groups, policy) for policy in played]
    value = best_value(groups)
    nearest = max(secured(groups, policy) for policy in played)
    stuck = sum(u == v for u, v in pairwise(worst))
    return Margin.every(
        {
            "alternates": Margin.equal(float(stuck), 0.0, scale=1.0, rounding=0.0),
            "stays away": Margin.at_most(
                nearest + distance_bound(groups), value, scale=scale, rounding=allowed
            ),
        }
    )


def best_value(groups: Groups) -> float:
    """Return min_w D(w) of two groups, from below: bisection on the slope, then a tangent."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _slope(groups, middle) < 0.0 else (low, middle)
    return conceded(groups, _shares(low)) + min(0.0, _slope(groups, low) * (high - low))


def _shares(share: float) -> Shares:
    return np.array([share, 1.0 - share])


def _slope(groups: Groups, share: float) -> float:
    found = utilities(groups, response(groups, _shares(share)))
    return float(found[0] - found[1])


def _responds_fully(instance: Alternation) -> bool:
    groups, played = instance.groups, instance.policies
    for before, after in pairwise(played):
        wanted = best(groups, groups.rewards[served_worst(groups, before)])
        if not np.allclose(after, wanted, rtol=0.0, atol=_TOLERANCE):
            return False
    return True


def _disagrees(instance: Alternation) -> bool:
    return min(envy(instance.groups, 0), envy(instance.groups, 1)) > 0.0


def _draw_two(draws: Draws, one_sided: bool = False) -> Groups:
    """Draw two groups with Δ_1, Δ_2 > 0, or with Δ_1 > 0 > Δ_2."""
    groups = draw_groups(draws, 2, 2)
    if float(np.ptp(groups.rewards[0] - groups.rewards[1])) < 1e-3:
        rewards = groups.rewards.copy()
        rewards[0, :, 0] += 1.0
        groups = replace(groups, rewards=rewards)
    # An offset moves Δ_1 and Δ_2 by the same in opposite directions; their sum is not negative.
    first, second = envy(groups, 0), envy(groups, 1)
    share = draws.between(1.5, 3.0) if one_sided else draws.between(0.1, 0.9)
    rewards = groups.rewards.copy()
    rewards[0] += share * (first + second) - first
    return replace(groups, rewards=rewards)


def _draw_alternation(draws: Draws) -> Alternation:
    groups = _draw_two(draws)
    return Alternation(groups, alternate(groups, groups.log_reference, 6))


def _draw_agreeing(draws: Draws) -> Alternation:
    groups = _draw_two(draws, one_sided=True)
    return Alternation(groups, alternate(groups, groups.log_reference, 6))


def _draw_gentle(draws: Draws) -> Alternation:
    """Draw small steps instead: the best responses to exponential weights, at the end of a run."""
    groups = _draw_two(draws)
    step = draws.between(0.5, 2.0) * groups.temperature / quarrel(groups) ** 2
    return Alternation(groups, hedge(groups, step, 150).policies[-4:])


def rivals(temperature: float) -> Groups:
    """Return two groups of which each likes one of two responses."""
    rewards = np.eye(2)[:, None, :]
    return Groups(rewards, np.log(np.full((1, 2), 0.5)), temperature, np.ones(1))


ALTERNATION_FAILS = Theorem(
    key="alternation-fails",
    statement=(
        r"two groups, \pi_{t+1} the best policy for the group served worst by \pi_t: if"
        r" \Delta_u = U_u(\pi_{e_u}) - U_{3-u}(\pi_{e_u}) > 0 for both, their own policies"
        r" alternate for ever, and F(\pi_t) \le \max F - 4\tau\Delta_1\Delta_2/\rho^2 for t \ge 2,"
        r" where \rho is the range of r_1 - r_2 over responses"
    ),
    sources=(Citation("chakraborty2024", "Algorithm 1, as commonly transcribed"),),
    hypotheses=(
        Hypothesis("conflict", r"\Delta_1, \Delta_2 > 0", _disagrees),
        Hypothesis("full-response", r"\pi_{t+1} = \arg\max F_{u_t}", _responds_fully),
    ),
    margin=_alternation_fails,
    instances=instances(_draw_alternation),
    controls={
        "conflict": instances(_draw_agreeing),
        "full-response": instances(_draw_gentle),
    },
    constants={"curvature": CURVATURE},
)

ALL = (HEDGE_RATE, ALTERNATION_FAILS)
