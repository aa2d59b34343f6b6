"""Exploration by an enhancer: a certificate of every round, and the elliptical potential."""

from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.learning.uncertainty import Ridge, greatest_uncertainty
from nlhf.numerics import EPSILON, log_normalise, log_of
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import Logs, relative
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .learnt import (
    Learnt,
    PerModel,
    draw_learnt,
    error,
    gap,
    is_complementary,
    loses_nothing,
    reach,
    referenced,
    squared,
)
from .pessimism import confidence_of, is_shipped, setting_of

CITED = 2.0
"""gap ≤ 2 √(λ + ρ/m) Γ."""

POTENTIAL = 2.0
"""Σ min(1, |φ_t|²) ≤ 2 d log(1 + T/(dλ)), in the norm of Σ_t⁻¹."""

SHARP_POTENTIAL = 1.0 / log(2.0)

_LEAST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Explored:
    """A round: the class and the data so far, the main agent and the enhancer.

    Attributes:
        learnt: Its `equilibrium` and its `policy` are the main agent's.
        batch: m.
        ridge: λ.
        second: The enhancer's policy.
    """

    learnt: Learnt
    batch: float
    ridge: float
    second: Logs


def widths(round_: Explored) -> PerModel:
    """Return √(λ + Σ (P − P̂)²/m) for every model."""
    learnt = round_.learnt
    errors = squared(learnt.tables, learnt.centre, learnt.counts)
    return np.asarray(np.sqrt(round_.ridge + errors / round_.batch))


def _apart(round_: Explored) -> np.ndarray:
    learnt = round_.learnt
    differences = learnt.tables - learnt.tables[learnt.centre]
    return np.asarray(np.einsum("xa,kxab->kxb", np.exp(learnt.policy), differences))


def uncertainty(round_: Explored) -> float:
    """Return Γ(λ, π_t, ρ) of the enhancer's policy ρ."""
    each = np.einsum("kxb,xb,x->k", _apart(round_), np.exp(round_.second), round_.learnt.weights)
    return float((np.abs(each) / widths(round_)).max())


def most_uncertain(round_: Explored) -> Logs:
    """Return the enhancer's best policy: for one model and sign, a best response."""
    learnt, apart = round_.learnt, _apart(round_)
    model = int(
        (
            reach(learnt, learnt.tables - learnt.tables[learnt.centre], learnt.policy)
            / widths(round_)
        ).argmax()
    )
    chosen = apart[model]
    high, low = chosen.max(axis=1) @ learnt.weights, chosen.min(axis=1) @ learnt.weights
    best = (chosen if high >= -low else -chosen).argmax(axis=1)
    return log_of(np.eye(chosen.shape[1])[best])


def _enhancer(round_: Explored) -> Margin:
    learnt = round_.learnt
    bound = sqrt(round_.ridge + learnt.radius / round_.batch) * uncertainty(round_)
    lost, allowed = gap(learnt, learnt.policy), 2.0 * error(learnt, learnt.policy)
    parts = {
        "sharpened": relative(lost, bound, allowed),
        "as cited": relative(lost, CITED * bound, allowed),
    }
    if is_shipped(learnt):
        parts["shipped"] = relative(lost, _shipped(round_), allowed)
    return Margin.every(parts)


def _shipped(round_: Explored) -> float:
    """Return the package's √(λ + ρ/m) times the uncertainty that its enhancer finds."""
    learnt, ridge = round_.learnt, Ridge(round_.ridge, round_.batch)
    confidence, policy = confidence_of(learnt, bonus=False), nlhf.Policy(learnt.policy)
    doubt = greatest_uncertainty(setting_of(learnt), confidence, policy, ridge)
    return ridge.beta(confidence) * doubt.gamma


def is_most_uncertain(round_: Explored) -> bool:
    """Return whether no policy has a greater Γ than the enhancer's."""
    best = replace(round_, second=most_uncertain(round_))
    return uncertainty(round_) >= uncertainty(best) * (1.0 - _LEAST) - _LEAST


def _is_event(round_: Explored) -> bool:
    learnt = round_.learnt
    errors = squared(learnt.tables, learnt.centre, learnt.counts)
    return bool(errors[learnt.truth] <= learnt.radius * (1.0 + _LEAST))


def _explored(learnt: Learnt, draws: Draws) -> Explored:
    main = replace(learnt, policy=learnt.equilibrium)
    batch = draws.one_of((1.0, 10.0, 1000.0))
    ridge = draws.logarithmic(1e-6, 1.0)
    bare = Explored(main, batch, ridge, main.policy)
    return replace(bare, second=most_uncertain(bare))


def _draw_learnt(draws: Draws) -> Learnt:
    """Draw a class and data with the estimate's equilibrium."""
    learnt = draw_learnt(draws)
    estimate = learnt.tables[learnt.centre]
    reference = referenced(estimate, learnt.policy, learnt.temperature)
    return replace(learnt, log_reference=reference)


def _draw_explored(draws: Draws) -> Explored:
    return _explored(_draw_learnt(draws), draws)


def _wrong(draws: Draws, radius: float | None) -> Explored:
    """Draw an estimate that is far from P* where much has been asked."""
    low, high = draws.between(0.0, 0.2), draws.between(0.8, 1.0)
    tables = np.array([[[[0.5, p], [1.0 - p, 0.5]]] for p in (low, high)])
    tau, count = draws.between(0.02, 0.1), np.array([[[0.0, 1000.0], [0.0, 0.0]]])
    policy = log_normalise(np.log([[1.0, 0.01]]))
    apart = 1000.0 * (high - low) ** 2
    learnt = Learnt(
        tables,
        0,
        1,
        count,
        count / 1000.0,
        apart if radius is None else radius,
        referenced(tables[1], policy, tau),
        tau,
        np.ones(1),
        policy,
        policy,
    )
    return _explored(learnt, draws)


def _draw_missed(draws: Draws) -> Explored:
    return replace(_wrong(draws, radius=1e-6), ridge=1e-6)


def _draw_idle(draws: Draws) -> Explored:
    """Draw an enhancer that answers with what nobody doubts."""
    return replace(_wrong(draws, radius=None), second=np.log(np.array([[1.0 - 1e-9, 1e-9]])))


def _draw_known(draws: Draws) -> Explored:
    """Draw a class in which everything is known."""
    learnt = _draw_learnt(draws)
    near = learnt.tables[learnt.centre][None].repeat(2, axis=0)
    return _explored(replace(learnt, tables=near, truth=0, centre=1), draws)


def _draw_lopsided(draws: Draws) -> Explored:
    round_ = _draw_known(draws)
    tables = round_.learnt.tables - draws.one_of((0.125, 0.25, 0.5))
    return replace(round_, learnt=replace(round_.learnt, tables=tables))


def _draw_unsolved(draws: Draws) -> Explored:
    round_ = _draw_known(draws)
    other = log_normalise(2.0 * np.flip(round_.learnt.equilibrium, axis=1) + 1.0)
    return replace(round_, learnt=replace(round_.learnt, equilibrium=other, policy=other))


def attained(half: float = 1 / 8, count: float = 40.0, batch: float = 10.0) -> Explored:
    """Return two responses at temperature 0 where the gap is the bound.

    The estimate ties a and b, and plays a; in truth b beats a by h.
    """
    tables = np.full((2, 1, 2, 2), 0.5)
    tables[0, 0, 0, 1] -= half
    tables[0, 0, 1, 0] += half
    counts = np.zeros((1, 2, 2))
    counts[0, 0, 1] = count
    pure = log_of(np.eye(2))
    learnt = Learnt(
        tables,
        0,
        1,
        counts,
        counts / count,
        count * half**2,
        np.log(np.full((1, 2), 0.5)),
        0.0,
        np.ones(1),
        pure[:1],
        pure[:1],
    )
    return Explored(learnt, batch, 0.125, pure[1:])


ENHANCER_CERTIFICATE = Theorem(
    key="enhancer-certificate",
    statement=(
        r"with \pi_t = NE(\hat P_t) and"
        r" \Gamma_t = \max_{\rho,P}|E_{\pi_t,\rho}(P-\hat P_t)|"
        r"/\sqrt{\lambda+\sum_i(P-\hat P_t)^2/m}: if \sum_i(P^*-\hat P_t)^2(z_i) \le \rho_0 then"
        r" gap(\pi_t) \le \sqrt{\lambda+\rho_0/m}\,\Gamma_t, and so"
        r" 2\sqrt{\lambda+\rho_0/m}\,\Gamma_t, which is cited;"
        r" \rho_0 = 2\log(|\mathcal P|/\delta) holds at all rounds at once"
    ),
    sources=(Citation("ye2024", "as commonly stated, with the factor 2"),),
    hypotheses=(
        Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, lambda x: is_complementary(x.learnt)),
        Hypothesis("event", r"\sum_i (P^*-\hat P_t)^2(z_i) \le \rho_0", _is_event),
        Hypothesis(
            "equilibrium",
            r"\pi_t = NE(\hat P_t)",
            lambda x: loses_nothing(x.learnt, x.learnt.centre),
        ),
        Hypothesis("enhancer", r"\rho_t maximises \Gamma(\lambda,\pi_t,\rho)", is_most_uncertain),
    ),
    margin=_enhancer,
    instances=instances(_draw_explored),
    controls={
        COMPLEMENTARY: instances(_draw_lopsided),
        "event": instances(_draw_missed),
        "equilibrium": instances(_draw_unsolved),
        "enhancer": instances(_draw_idle),
    },
    sharp=(attained(), attained(1 / 3, 7.0, 1.0)),
    constants={"cited": CITED},
)

Vectors = Float[np.ndarray, "round coordinate"]
Designs = Float[np.ndarray, "round coordinate coordinate"]


@dataclass(frozen=True, slots=True, eq=False)
class Ellipses:
    """Vectors φ_t, λ, and the matrices Σ_t in whose inverse norms they are measured."""

    vectors: Vectors
    ridge: float
    designs: Designs


def designs(vectors: Vectors, ridge: float) -> Designs:
    """Return Σ_t = λI + Σ_{s<t} φ_sφ_sᵀ."""
    outer = vectors[:, :, None] * vectors[:, None, :]
    before = np.cumsum(outer, axis=0) - outer
    return np.asarray(before + ridge * np.eye(vectors.shape[1]))


def _potential(instance: Ellipses) -> Margin:
    vectors, count = instance.vectors, len(instance.vectors)
    dimension = vectors.shape[1]
    solved = np.linalg.solve(instance.designs, vectors[:, :, None])[:, :, 0]
    potential = float(np.minimum(1.0, (vectors * solved).sum(axis=1)).sum())
    room = dimension * float(np.log1p(count / (dimension * instance.ridge)))
    condition = (1.0 + count / instance.ridge) * dimension
    allowed = 16.0 * EPSILON * condition * count
    return Margin.every(
        {
            "as cited": relative(potential, POTENTIAL * room, allowed),
            "sharpened": relative(potential, SHARP_POTENTIAL * room, allowed),
        }
    )


def _draw_ellipses(draws: Draws) -> Ellipses:
    """Draw directions: any, the axes in turn, or always the least explored one."""
    count, dimension = draws.one_of((1, 2, 5, 20, 60)), draws.one_of((1, 2, 3, 5))
    ridge = draws.one_of((1.0, 1.0, draws.logarithmic(1e-3, 10.0)))
    generator = np.random.default_rng(draws.whole(2**30))
    kind = draws.whole(2)
    vectors = generator.normal(size=(count, dimension))
    if kind == 1:
        vectors = np.eye(dimension)[np.arange(count) % dimension]
    elif kind == 2:
        design = ridge * np.eye(dimension)
        for t in range(count):
            vectors[t] = np.linalg.eigh(design)[1][:, 0]
            design += np.outer(vectors[t], vectors[t])
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    scale = generator.random((count, 1)) if draws.chance(3) else 1.0 - 4 * EPSILON
    vectors = vectors / lengths * scale
    return Ellipses(vectors, ridge, designs(vectors, ridge))


def _draw_long(draws: Draws) -> Ellipses:
    """Draw vectors far longer than 1."""
    dimension, ridge = draws.one_of((2, 5)), 1000.0
    vectors = np.eye(dimension)[np.arange(3 * dimension) % dimension] * draws.between(1e3, 1e4)
    return Ellipses(vectors, ridge, designs(vectors, ridge))


def _draw_forgetful(draws: Draws) -> Ellipses:
    """Draw matrices that forget what has been seen."""
    dimension, count, ridge = draws.one_of((1, 2)), 60 + draws.whole(40), draws.between(0.5, 1.0)
    vectors = np.eye(dimension)[np.arange(count) % dimension]
    return Ellipses(
        vectors,
        ridge,
        np.broadcast_to(ridge * np.eye(dimension), (count, dimension, dimension)).copy(),
    )


def _once() -> Ellipses:
    vectors = np.ones((1, 1))
    return Ellipses(vectors, 1.0, designs(vectors, 1.0))


ELLIPTICAL_POTENTIAL = Theorem(
    key="elliptical-potential",
    statement=(
        r"|\phi_t| \le 1 and \Sigma_t = \lambda I + \sum_{s<t}\phi_s\phi_s^\top in dimension d:"
        r" \sum_{t\le T}\min(1,\|\phi_t\|^2_{\Sigma_t^{-1}})"
        r" \le \tfrac{d}{\log2}\log(1+T/(d\lambda)), and so 2d\log(1+T/(d\lambda))"
    ),
    sources=(Citation("abbasi2011", "Lemma 11, as commonly stated"),),
    hypotheses=(
        Hypothesis(
            "bounded",
            r"|\phi_t| \le 1",
            lambda x: bool((np.linalg.norm(x.vectors, axis=1) <= 1.0).all()),
        ),
        Hypothesis(
            "design",
            r"\Sigma_t = \lambda I + \sum_{s<t}\phi_s\phi_s^\top",
            lambda x: bool(np.allclose(x.designs, designs(x.vectors, x.ridge), rtol=1e-12)),
        ),
    ),
    margin=_potential,
    instances=instances(_draw_ellipses),
    controls={"bounded": instances(_draw_long), "design": instances(_draw_forgetful)},
    sharp=(_once(),),
    constants={"cited": POTENTIAL, "sharpened": SHARP_POTENTIAL},
)

ALL = (ENHANCER_CERTIFICATE, ELLIPTICAL_POTENTIAL)
