"""MaxMin: its duality, what training on the least reward of a sample does, and offsets."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.exact.rewards import mean_of_minimum
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Logs, kl
from .draws import Draws, instances
from .groups import (
    Groups,
    Rewards,
    Shares,
    as_maxmin_game,
    balanced,
    best,
    certified,
    conceded,
    cost,
    draw_challenger,
    draw_groups,
    draw_shares,
    error,
    once_in,
    response,
    secured,
    size,
    slope,
    utilities,
)

SADDLE_TOLERANCE = 1e-11
"""How far, relative to the size of the values, an optimum may be from its conditions."""

SOLVER_TOLERANCE = 1e-10
"""Duality gap, in units of half the range of the rewards, that the package's solver is held to."""


@dataclass(frozen=True, slots=True, eq=False)
class Saddle:
    """Groups, a policy and group weights, another policy, and whether the solver is asked too."""

    groups: Groups
    policy: Logs
    shares: Shares
    challenger: Logs
    solved: bool = False


def shortfall(groups: Groups, shares: Shares) -> float:
    """Return by how much D(w) may exceed its minimum, as its values or its gradient say."""
    if groups.temperature == 0.0:
        return conceded(groups, shares) - _least_conceded(groups)
    found = slope(groups, shares)
    return float(shares @ (found - found.min()))


def _least_conceded(groups: Groups) -> float:
    """Return min_w Σ_x w_x max_a Σ_u w_u r_u(x, a), by linear programming."""
    from scipy.optimize import linprog

    count, contexts, responses = groups.rewards.shape
    rows = np.zeros((contexts * responses, count + contexts))
    rows[:, :count] = groups.rewards.reshape(count, -1).T
    rows[np.arange(len(rows)), count + np.arange(len(rows)) // responses] = -1.0
    objective = np.concatenate([np.zeros(count), groups.weights])
    total = np.concatenate([np.ones(count), np.zeros(contexts)])[None]
    bounds = [(0.0, 1.0)] * count + [(None, None)] * contexts
    found = linprog(objective, rows, np.zeros(len(rows)), total, [1.0], bounds, method="highs")
    return float(found.fun)


def _is_minimiser(instance: Saddle) -> bool:
    return shortfall(instance.groups, instance.shares) <= SADDLE_TOLERANCE * size(instance.groups)


def _is_response(instance: Saddle) -> bool:
    groups, shares, policy = instance.groups, instance.shares, instance.policy
    lost = conceded(groups, shares) - float(shares @ utilities(groups, policy))
    return lost + cost(groups, policy) <= SADDLE_TOLERANCE * size(groups, policy)


def _allowed(instance: Saddle) -> float:
    """Return the error of a value: roundings, and what a saddle point may lack."""
    groups = instance.groups
    scale = size(groups, instance.policy, instance.challenger)
    return error(groups, instance.policy, instance.challenger) + 2.0 * SADDLE_TOLERANCE * scale


def _maxmin_duality(instance: Saddle) -> Margin:
    groups, policy, shares = instance.groups, instance.policy, instance.shares
    other, tau = instance.challenger, groups.temperature
    scale, allowed = size(groups, policy, other), _allowed(instance)
    here, there = utilities(groups, policy), utilities(groups, other)
    value, lost = conceded(groups, shares), tau * kl(groups.weights, other, policy)
    gains = float(shares @ (there - here)) - cost(groups, other) + cost(groups, policy)
    bound = certified(groups, policy, shares).bound

    def equal(lhs: float, rhs: float, more: float = 0.0) -> Margin:
        return Margin.equal(lhs, rhs, scale=scale, rounding=allowed + more)

    parts = {
        "duality": equal(secured(groups, policy), value),
        "worst groups": equal(float((shares * (here - here.min())).max()), 0.0),
        "unique": Margin.at_most(
            secured(groups, other) + lost, secured(groups, policy), scale=scale, rounding=allowed
        ),
        "Pareto": equal(gains, -lost),
        "certificate": equal(bound.value, 0.0, (bound.high - bound.low) / 2),
    }
    if instance.solved:
        game = as_maxmin_game(groups)
        found = np.asarray(nlhf.solve(game).profile[0].log_probabilities)
        more = SOLVER_TOLERANCE * game.lipschitz
        parts["solver"] = equal(secured(groups, found), value, more)
    twins = _twins(groups.rewards)
    if twins is not None:
        moved = shares.copy()
        moved[twins[0]], moved[twins[1]] = 0.0, shares[list(twins)].sum()
        parts["other weights"] = equal(secured(groups, policy), conceded(groups, moved))
    return Margin.every(parts)


def _twins(rewards: Rewards) -> tuple[int, int] | None:
    """Return two groups of the same rewards, if there are such."""
    for v in range(1, len(rewards)):
        for u in range(v):
            if bool((rewards[u] == rewards[v]).all()):
                return u, v
    return None


def _draw_saddle(draws: Draws) -> Saddle:
    groups = draw_groups(draws)
    shares = draw_shares(draws, len(groups.rewards))
    slack = np.asarray(draws.array(shares.shape, 0.0, 2.0)) * size(groups)
    groups = balanced(groups, shares, slack)
    if draws.chance(4):
        twin = int(shares.argmax())
        groups = replace(groups, rewards=np.concatenate([groups.rewards, groups.rewards[[twin]]]))
        shares = np.append(shares, 0.25 * shares[twin])
        shares[twin] *= 0.75
    policy = response(groups, shares)
    return Saddle(
        groups, policy, shares, draw_challenger(draws, groups), once_in(40, groups.rewards)
    )


def _draw_other_weights(draws: Draws) -> Saddle:
    """Draw weights that do not minimise D."""
    instance = _draw_saddle(draws)
    shares = draw_shares(draws, len(instance.shares))
    policy = response(instance.groups, shares)
    solved = once_in(2, shares)
    return replace(
        instance, policy=policy, shares=shares, challenger=instance.policy, solved=solved
    )


def _draw_other_policy(draws: Draws) -> Saddle:
    instance = _draw_saddle(draws)
    return replace(instance, policy=draw_challenger(draws, instance.groups))


def _draw_cold(draws: Draws) -> Saddle:
    """Draw two groups without a price of KL, at a kink of D."""
    contexts, responses = 1, draws.one_of((2, 3, 4))
    rewards = np.asarray(draws.array((2, contexts, responses), -1.0, 1.0))
    groups = Groups(rewards, np.log(np.full((1, responses), 1 / responses)), 0.0, np.ones(1))
    gap = rewards[0, 0] - rewards[1, 0]
    pairs = [(a, b) for a in range(responses) for b in range(a) if gap[a] != gap[b]]
    kinks = [(rewards[1, 0, b] - rewards[1, 0, a]) / (gap[a] - gap[b]) for a, b in pairs]
    shares = [np.array([s, 1.0 - s]) for s in (0.0, *kinks, 1.0) if 0.0 <= s <= 1.0]
    least = min(shares, key=lambda w: conceded(groups, w))
    return Saddle(groups, response(groups, least), least, draw_challenger(draws, groups))


def example_groups(temperature: float) -> Groups:
    """Return three groups with three responses each; no two agree on the best."""
    rewards = np.array([[[1.0, 0.0, 0.2]], [[0.0, 0.6, 0.3]], [[0.5, 0.1, 0.9]]])
    return Groups(rewards, np.log(np.full((1, 3), 1 / 3)), temperature, np.ones(1))


def solved_saddle(shares: Shares, temperature: float) -> Saddle:
    """Return a saddle point of given group weights, of which the package's solver is asked too."""
    groups = example_groups(temperature)
    groups = balanced(groups, shares, np.full(3, 0.1))
    even = np.log(np.full((1, 3), 1 / 3))
    return Saddle(groups, response(groups, shares), shares, even, solved=True)


MINIMISER: Hypothesis[Saddle] = Hypothesis(
    "minimiser", r"w minimises D(w) = E_x \tau\log E_\mu e^{w\cdot r/\tau}", _is_minimiser
)

MAXMIN_DUALITY = Theorem(
    key="maxmin-duality",
    statement=(
        r"\max_\pi\min_u F_u(\pi) = \min_w D(w); the maximiser is \pi_w for any minimiser w, which"
        r" has w_u > 0 only for groups of least F_u; for every policy \rho,"
        r" F(\rho) \le F(\pi_w) - \tau KL(\rho\|\pi_w) and \sum_u w_u (F_u(\rho) - F_u(\pi_w)) ="
        r" -\tau KL(\rho\|\pi_w), so \pi_w is unique and Pareto-optimal; w need not be unique"
    ),
    sources=(
        Citation("chakraborty2024", "as commonly stated"),
        Citation("sion1958", "as commonly stated"),
    ),
    hypotheses=(
        Hypothesis("temperature", r"\tau > 0", lambda x: x.groups.temperature > 0.0),
        MINIMISER,
        Hypothesis("response", r"\pi \propto \mu e^{w\cdot r/\tau}", _is_response),
    ),
    margin=_maxmin_duality,
    instances=instances(_draw_saddle),
    controls={
        "temperature": instances(_draw_cold),
        "minimiser": instances(_draw_other_weights),
        "response": instances(_draw_other_policy),
    },
    sharp=(
        solved_saddle(np.array([0.5, 0.3, 0.2]), 0.2),
        solved_saddle(np.array([0.6, 0.4, 0.0]), 0.05),
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class PerSample:
    """Groups, weights that minimise D, masses of responses, and one reward made of the groups'."""

    groups: Groups
    shares: Shares
    masses: Float[np.ndarray, "context response"]
    reward: Float[np.ndarray, "context response"]


def _per_sample(instance: PerSample) -> Margin:
    groups, masses = instance.groups, instance.masses
    trained = best(groups, instance.reward)
    optimal = response(groups, instance.shares)
    each = np.einsum("uxa,xa,x->u", groups.rewards, masses, groups.weights)
    mean = float(np.einsum("xa,xa,x->", instance.reward, masses, groups.weights))
    scale = size(groups, trained, optimal)
    allowed = error(groups, trained, optimal) + 2.0 * SADDLE_TOLERANCE * scale
    total = max(1.0, float(np.abs(masses).sum()))
    lost = groups.temperature * kl(groups.weights, trained, optimal)
    shipped = mean_of_minimum(as_maxmin_game(groups)).probabilities
    apart = float(np.abs(shipped - np.exp(trained)).max())
    return Margin.every(
        {
            "package": Margin.equal(
                apart, 0.0, scale=1.0, rounding=4.0 * allowed / groups.temperature
            ),
            "mean of the least": Margin.at_most(
                mean, float(each.min()), scale=scale, rounding=allowed * total
            ),
            "objective": Margin.at_most(
                secured(groups, trained) + lost,
                secured(groups, optimal),
                scale=scale,
                rounding=allowed,
            ),
        }
    )


def _draw_per_sample(draws: Draws) -> PerSample:
    saddle = _draw_saddle(draws)
    groups = saddle.groups
    return PerSample(groups, saddle.shares, np.exp(saddle.challenger), groups.rewards.min(axis=0))


def _draw_signed(draws: Draws) -> PerSample:
    """Draw masses that are negative where groups disagree most, and lie where they agree most."""
    instance = _draw_per_sample(draws)
    apart = np.ptp(instance.groups.rewards, axis=0)
    masses, rows = instance.masses.copy(), np.arange(len(apart))
    moved = 1.0 + draws.between(0.1, 2.0)
    masses[rows, apart.argmax(axis=1)] -= moved
    masses[rows, apart.argmin(axis=1)] += moved
    return replace(instance, masses=masses)


def _draw_mean_reward(draws: Draws) -> PerSample:
    instance = _draw_per_sample(draws)
    return replace(instance, reward=instance.groups.rewards.mean(axis=0))


def _draw_unbalanced(draws: Draws) -> PerSample:
    """Draw rewards of which one response is liked by all, and weights of one group alone."""
    instance = _draw_per_sample(draws)
    shares = np.zeros_like(instance.shares)
    shares[int(instance.shares.argmax())] = 1.0
    rewards = instance.groups.rewards.copy()
    rewards[:, :, 0] += draws.between(0.0, 5.0) * np.abs(rewards).max()
    changed = replace(instance.groups, rewards=rewards)
    return replace(instance, groups=changed, shares=shares, reward=rewards.min(axis=0))


def example_per_sample(least: float = 0.4, temperature: float = 0.05) -> PerSample:
    """Return two groups, each with a response of its own, and one that is fair to both."""
    rewards = np.array([[[1.0, 0.0, least]], [[0.0, 1.0, least]]])
    groups = Groups(rewards, np.log(np.full((1, 3), 1 / 3)), temperature, np.ones(1))
    return PerSample(
        groups, np.full(2, 0.5), np.array([[0.0, 0.0, 1.0]]), groups.rewards.min(axis=0)
    )


def _is_distribution(masses: Float[np.ndarray, "context response"]) -> bool:
    total = np.abs(masses.sum(axis=-1) - 1.0).max()
    return bool((masses >= 0.0).all() and total <= 1e-12)


def _is_least(instance: PerSample) -> bool:
    return bool((instance.reward == instance.groups.rewards.min(axis=0)).all())


MIN_OF_MEAN = Theorem(
    key="min-of-mean-not-mean-of-min",
    statement=(
        r"E_\rho\min_u r_u \le \min_u E_\rho r_u for every \rho; the policy"
        r" \pi_g \propto \mu e^{g/\tau} with g = \min_u r_u has"
        r" F(\pi_g) \le F(\pi^*) - \tau KL(\pi_g\|\pi^*), with r = ((1, 0, .4), (0, 1, .4)),"
        r" \tau = .05, \mu even: a worst utility of .400 against .494"
    ),
    sources=(Citation("chakraborty2024", "the objective, and what its code trains"),),
    hypotheses=(
        Hypothesis(
            "distribution", r"\rho \ge 0, \sum_a\rho(a) = 1", lambda x: _is_distribution(x.masses)
        ),
        Hypothesis("least", r"g = \min_u r_u", _is_least),
        Hypothesis(
            "minimiser",
            MINIMISER.text,
            lambda x: shortfall(x.groups, x.shares) <= SADDLE_TOLERANCE * size(x.groups),
        ),
    ),
    margin=_per_sample,
    instances=instances(_draw_per_sample),
    controls={
        "distribution": instances(_draw_signed),
        "least": instances(_draw_mean_reward),
        "minimiser": instances(_draw_unbalanced),
    },
    sharp=(example_per_sample(),),
)


@dataclass(frozen=True, slots=True, eq=False)
class Dictated:
    """Groups, two of them, what is added to the rewards in favour of each, and if to solve."""

    groups: Groups
    favoured: tuple[int, int]
    added: tuple[Rewards, Rewards]
    solved: bool = False


def disagreement(groups: Groups) -> float:
    """Return B = max |r_u(x, a) − r_v(x, a)|."""
    return float(np.ptp(groups.rewards, axis=0).max())


def preferences(rewards: Rewards) -> Float[np.ndarray, "group context response response"]:
    """Return σ(r_u(x, a) − r_u(x, b))."""
    gain = rewards[..., :, None] - rewards[..., None, :]
    return 0.5 * (1.0 + np.tanh(0.5 * gain))


def _offset_sensitivity(instance: Dictated) -> Margin:
    groups = instance.groups
    shifted = [replace(groups, rewards=groups.rewards + more) for more in instance.added]
    eye = np.eye(len(groups.rewards))
    alone = [best(groups, groups.rewards[u]) for u in instance.favoured]
    scale = max(size(one, *alone) for one in shifted)
    allowed = max(error(one, *alone) for one in shifted) + 2.0 * SADDLE_TOLERANCE * scale
    parts = {}
    before = preferences(groups.rewards)
    for name, one, u, policy in zip(
        ("one way", "other way"), shifted, instance.favoured, alone, strict=True
    ):
        moved = float(np.abs(preferences(one.rewards) - before).max())
        parts[f"preferences, {name}"] = Margin.equal(moved, 0.0, scale=1.0, rounding=8.0 * allowed)
        parts[f"dictated, {name}"] = Margin.equal(
            secured(one, policy), conceded(one, eye[u]), scale=scale, rounding=allowed
        )
    if instance.solved:
        first, second = (nlhf.solve(as_maxmin_game(one)).profile[0] for one in shifted)
        moved = _range(first.log_probabilities - second.log_probabilities)
        u, v = instance.favoured
        expected = _range(groups.rewards[u] - groups.rewards[v]) / groups.temperature
        # A duality gap δ moves a policy by √(2δ/τ) in total variation, and log-ratios by the
        # weights that are off, at most δ/(slack), times the range of the rewards over τ.
        near = 1e-6 * (1.0 + max(map(disagreement, shifted)) / groups.temperature)
        parts["moved"] = Margin.equal(moved, expected, scale=1.0 + expected, rounding=near)
    return Margin.every(parts)


def _range(values: Logs) -> float:
    return float(np.ptp(values, axis=-1).max())


def _is_constant(instance: Dictated) -> bool:
    return all(bool((np.ptp(more, axis=-1) == 0.0).all()) for more in instance.added)


def _is_handicap(instance: Dictated) -> bool:
    """Return whether every other group is ahead by B at least, whatever is played."""
    least = disagreement(instance.groups)
    others = np.arange(len(instance.groups.rewards))
    for u, more in zip(instance.favoured, instance.added, strict=True):
        ahead = more.min(axis=-1) - more[u].max(axis=-1)
        if bool((ahead[others != u] < least).any()):
            return False
    return True


def _draw_dictated(draws: Draws, share: float | None = None) -> Dictated:
    """Draw offsets that decide; `share` of what is needed is less than that."""
    groups = draw_groups(draws, 2, 3)
    count, contexts = groups.rewards.shape[:2]
    u = draws.whole(count - 1)
    v = (u + 1 + draws.whole(count - 2)) % count
    least = disagreement(groups) + 1e-6
    added = []
    for favoured in (u, v):
        more = np.asarray(draws.array((count, contexts, 1), 0.0, 0.5)) * least
        more[favoured] = -least * (draws.between(1.25, 3.0) if share is None else share)
        if share is not None:
            more[np.arange(count) != favoured] = 0.0
        added.append(np.broadcast_to(more, groups.rewards.shape).copy())
    solved = once_in(40 if share is None else 4, np.array(added))
    return Dictated(groups, (u, v), (added[0], added[1]), solved)


def solved_dictated(temperature: float) -> Dictated:
    """Return offsets that decide for the first group, and for the last; the solver is asked."""
    groups = example_groups(temperature)
    added = []
    for favoured in (0, 2):
        more = np.zeros(groups.rewards.shape)
        more[favoured] = -1.5 * disagreement(groups)
        added.append(more)
    return Dictated(groups, (0, 2), (added[0], added[1]), solved=True)


def _draw_uneven(draws: Draws) -> Dictated:
    instance = _draw_dictated(draws)
    u, first = instance.favoured[0], instance.added[0].copy()
    first[u, :, 0] -= draws.between(1.0, 5.0)
    second = instance.added[1].copy()
    second[instance.favoured[1], :, 0] -= draws.between(1.0, 5.0)
    return replace(instance, added=(first, second), solved=False)


OFFSET_SENSITIVITY = Theorem(
    key="offset-sensitivity",
    statement=(
        r"r_u + c_u has the preferences of r_u, and if c_u \le c_v - B for all v \ne u with"
        r" B = \max_{v,w,a}|r_v(a) - r_w(a)| its MaxMin policy is group u's own,"
        r" \propto \mu e^{r_u/\tau}: every group's own policy is the MaxMin policy of some offsets,"
        r" and those of two groups have log-ratios of range \max_x range_a (r_u - r_v)/\tau"
    ),
    sources=(Citation("chakraborty2024", "the objective"),),
    hypotheses=(
        Hypothesis("constant", r"c_u(x) does not depend on the response", _is_constant),
        Hypothesis("handicap", r"c_u \le c_v - B for all v \ne u", _is_handicap),
    ),
    margin=_offset_sensitivity,
    instances=instances(_draw_dictated),
    controls={
        "constant": instances(_draw_uneven),
        "handicap": instances(lambda draws: _draw_dictated(draws, draws.between(0.0, 0.2))),
    },
    sharp=(solved_dictated(0.2), solved_dictated(1.0)),
)

ALL = (MAXMIN_DUALITY, MIN_OF_MEAN, OFFSET_SENSITIVITY)
