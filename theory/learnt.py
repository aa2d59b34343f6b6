"""What is known after comparisons: a finite class, the data, and what a policy secures in it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from nlhf.numerics import log_normalise

from .definitions import Game, Logs, Payoffs, Weights, depth, divergence, rounding
from .draws import Draws
from .instances import draw_weights

Tables = Float[np.ndarray, "model context response response"]
PerModel = Float[np.ndarray, "model"]

VALUE = 0.5

_FINE = 2.0**20
_MEMBER = 1e-12
"""In-sample errors within a relative 1e-12 of the radius are inside."""

_EQUILIBRIUM = 1e-11
"""Most that a policy called an equilibrium may lose to a best reply, in units of payoff."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A class of preferences, comparisons, and a policy planned from them.

    Attributes:
        tables: The class; probabilities that a beats b.
        truth: Which of them is P*.
        centre: Which of them is the estimate P̂.
        counts: How often a was compared with b.
        law: How often it is, of all comparisons, in the population.
        radius: ρ, of the version space.
        log_reference: log μ.
        temperature: τ.
        weights: The law of prompts.
        equilibrium: What stands for π*, or in the enhancer's row for the estimate's equilibrium.
        policy: π̂.
    """

    tables: Tables
    truth: int
    centre: int
    counts: Payoffs
    law: Payoffs
    radius: float
    log_reference: Logs
    temperature: float
    weights: Weights
    equilibrium: Logs
    policy: Logs

    def game(self, model: int) -> Game:
        """Return the game of a model."""
        return Game(self.tables[model], self.log_reference, self.temperature, self.weights)


def squared(tables: Tables, centre: int, counts: Payoffs) -> PerModel:
    """Return Σ counts (P − P̂)² of every model."""
    return np.asarray(np.einsum("kxab,xab->k", (tables - tables[centre]) ** 2, counts))


def members(learnt: Learnt) -> Bool[np.ndarray, "model"]:
    """Return which models are in the version space."""
    errors = squared(learnt.tables, learnt.centre, learnt.counts)
    return np.asarray(errors <= learnt.radius * (1.0 + _MEMBER))


def price(learnt: Learnt, policy: Logs) -> float:
    """Return τ KL(π‖μ)."""
    if learnt.temperature == 0.0:
        return 0.0
    return learnt.temperature * divergence(learnt.weights, policy, learnt.log_reference)


def replies(learnt: Learnt, conceded: Float[np.ndarray, "model context response"]) -> PerModel:
    """Return min over ρ of E_ρ[what is conceded] + τ KL(ρ‖μ), for every model."""
    tau = learnt.temperature
    if tau == 0.0:
        least = np.where(np.isfinite(learnt.log_reference), conceded, np.inf).min(axis=-1)
    else:
        mass = np.logaddexp.reduce(learnt.log_reference, axis=-1)
        logits = learnt.log_reference - conceded / tau
        least = -tau * (np.logaddexp.reduce(logits, axis=-1) - mass)
    return np.asarray(least @ learnt.weights)


def secured(learnt: Learnt, tables: Tables, policy: Logs) -> PerModel:
    """Return J_P(π, †) for every table, complementary or not."""
    conceded = np.einsum("xa,kxab->kxb", np.exp(policy), tables)
    return replies(learnt, conceded) - price(learnt, policy)


def gap(learnt: Learnt, policy: Logs) -> float:
    """Return 1/2 − J*(π, †)."""
    true = learnt.tables[learnt.truth][None]
    return VALUE - float(secured(learnt, true, policy)[0])


def reach(learnt: Learnt, differences: Tables, policy: Logs) -> PerModel:
    """Return max over ρ of |E_{π,ρ} D| for every difference D of tables."""
    each = np.einsum("xa,kxab->kxb", np.exp(policy), differences)
    high, low = each.max(axis=-1) @ learnt.weights, each.min(axis=-1) @ learnt.weights
    return np.asarray(np.maximum(high, -low))


def error(learnt: Learnt, *policies: Logs) -> float:
    """Return a bound on the rounding errors of values, and what an equilibrium may lose."""
    size = VALUE + 0.5 + learnt.temperature * depth(learnt.log_reference, *policies)
    return rounding(size, learnt.tables.shape[-1]) + _EQUILIBRIUM


def is_complementary(learnt: Learnt) -> bool:
    """Return whether P + Pᵀ = 1 in the whole class."""
    tables = learnt.tables
    return bool((tables + np.swapaxes(tables, 2, 3) == 1.0).all())


def loses_nothing(learnt: Learnt, model: int) -> bool:
    """Return whether no reply to `equilibrium` does better than itself, in the game of a model."""
    table, policy = learnt.tables[model], learnt.equilibrium
    mass = np.exp(policy)
    even = float(learnt.weights @ np.einsum("xa,xab,xb->x", mass, table, mass))
    return even - float(secured(learnt, table[None], policy)[0]) <= _EQUILIBRIUM


def climb(learnt: Learnt, tables: Tables, start: Logs, steps: int = 12) -> Logs:
    """Return a policy that secures at least as much in the worst table as the start.

    Of the iterates of exponentiated subgradient ascent that do, that with the largest true gap.
    """
    policy, best, widest = start, start, gap(learnt, start)
    least = float(secured(learnt, tables, start).min())
    for step in range(steps):
        values = secured(learnt, tables, policy)
        if float(values.min()) >= least and gap(learnt, policy) > widest:
            best, widest = policy, gap(learnt, policy)
        worst = tables[int(values.argmin())]
        conceded = np.einsum("xa,xab->xb", np.exp(policy), worst)
        reply = log_normalise(learnt.log_reference - conceded / learnt.temperature)
        gain = np.einsum("xab,xb->xa", worst, np.exp(reply))
        rate = 2.0 / np.sqrt(1.0 + step)
        strength = 1.0 / rate + learnt.temperature
        logits = policy / rate + learnt.temperature * learnt.log_reference + gain
        policy = log_normalise(logits / strength)
    return best


def _tables(draws: Draws, contexts: int, responses: int) -> Tables:
    """Draw up to six preferences: unrelated, or moved from the first by more or less."""
    generator = np.random.default_rng(draws.whole(2**30))
    count = draws.one_of((2, 2, 3, 4, 6))
    amount = draws.one_of((0.01, 0.1, 0.3, 1.0))
    shape = (count, contexts, responses, responses)
    first = generator.integers(0, 3, shape[1:]) / 2.0
    if draws.chance(2):
        first = generator.random(shape[1:])
    moved = first + amount * generator.uniform(-1.0, 1.0, shape)
    moved[0] = first
    above = np.triu(np.round(np.clip(moved, 0.0, 1.0) * _FINE) / _FINE, 1)
    below = np.tril(1.0 - np.swapaxes(above, 2, 3), -1)
    return np.asarray(above + below + 0.5 * np.eye(responses))


def referenced(table: Payoffs, policy: Logs, temperature: float) -> Logs:
    """Return the reference with which a policy is the equilibrium of a table."""
    payoff = np.einsum("xab,xb->xa", table, np.exp(policy))
    return log_normalise(policy - payoff / temperature)


def draw_learnt(draws: Draws) -> Learnt:
    """Draw a class, data and radius; what is planned is the equilibrium of P* itself.

    Any policy is an equilibrium of any game once the reference is chosen for it.
    """
    contexts, responses = draws.one_of(((1, 2), (1, 3), (1, 4), (2, 3)))
    tables = _tables(draws, contexts, responses)
    truth = draws.whole(len(tables) - 1)
    centre = (truth + draws.one_of((0, 1, 1, 1, 1))) % len(tables)
    most = draws.one_of((3, 30, 3000))
    generator = np.random.default_rng(draws.whole(2**30))
    counts = np.triu(generator.integers(0, most + 1, tables.shape[1:]), 1).astype(float)
    counts[:, 0, 1] += 1.0
    if draws.chance(2):
        counts *= np.triu(generator.random(tables.shape[1:]) < 0.6, 1)
        counts[:, 0, 1] += 1.0
    apart = float(squared(tables, centre, counts)[truth])
    radius = max(apart, 1e-6) * draws.one_of((1.0, 1.0, 1.5, 4.0))
    tau = draws.logarithmic(0.02, 3.0)
    policy = log_normalise(generator.uniform(-draws.one_of((1.0, 8.0)), 0.0, tables.shape[1:3]))
    return Learnt(
        tables=tables,
        truth=truth,
        centre=centre,
        counts=counts,
        law=counts / counts.sum(),
        radius=radius,
        log_reference=referenced(tables[truth], policy, tau),
        temperature=tau,
        weights=draw_weights(draws, contexts),
        equilibrium=policy,
        policy=policy,
    )


def with_policy(learnt: Learnt, policy: Logs) -> Learnt:
    """Return the instance with another policy planned."""
    return replace(learnt, policy=policy)
