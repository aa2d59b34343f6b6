"""Pessimistic planning from a finite class: the version space and the bonus."""

from dataclasses import replace
from math import sqrt

import numpy as np

import nlhf
from nlhf.estimation.classes.links import Link
from nlhf.estimation.classes.models import Confidence, FiniteConfidence, Model
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import certified_gap, pessimistic_value
from nlhf.learning.offline.bonus import plan_with_bonus
from nlhf.learning.offline.version_space import plan_version_space
from nlhf.numerics import log_normalise, log_of
from nlhf.theorems import Citation, Hypothesis, Margin, Strategy, Theorem

from .definitions import Payoffs, relative
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .learnt import (
    VALUE,
    Learnt,
    Tables,
    climb,
    draw_learnt,
    error,
    gap,
    is_complementary,
    loses_nothing,
    members,
    reach,
    referenced,
    secured,
    squared,
    with_policy,
)

VERSION_SPACE = sqrt(2.0)
"""gap ≤ √2 β √(C_emp/n)."""

BONUS = 2.0
"""gap ≤ 2β max Γ."""

_LEAST = 1e-12
"""A slack in what a policy must secure, and the accuracy to which the package plans one."""

_PLANNED = 40
"""One of so many instances is planned by the package."""

_SURE = 0.05
"""δ of the package's confidence sets, which are made here from the event alone."""


def beta(learnt: Learnt) -> float:
    """Return β, with β²/2 = ρ = λ."""
    return sqrt(2.0 * learnt.radius)


def version_space(learnt: Learnt) -> Tables:
    """Return the models in the version space."""
    return learnt.tables[members(learnt)]


def coverage(learnt: Learnt, weights: Payoffs) -> float:
    """Return the greatest (E_{π*,ρ}(P − P̂))² / Σ weights (P − P̂)², with 0/0 = 0.

    Over ρ and the version space; the weights are counts, or a law times their number.
    """
    kept = version_space(learnt)
    apart = kept - learnt.tables[learnt.centre]
    above = reach(learnt, apart, learnt.equilibrium) ** 2
    below = np.einsum("kxab,xab->k", apart**2, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(above > 0.0, above / below, 0.0).max(initial=0.0))


def uncertainty(learnt: Learnt) -> Payoffs:
    """Return Γ(x, a, b) = max |P − P̂| / √(λ + Σ (P − P̂)²), over the class, λ = ρ."""
    apart = np.abs(learnt.tables - learnt.tables[learnt.centre])
    errors = squared(learnt.tables, learnt.centre, learnt.counts)
    return np.asarray((apart / np.sqrt(learnt.radius + errors)[:, None, None, None]).max(axis=0))


def lowered(learnt: Learnt) -> Tables:
    """Return P̂ − βΓ, as a class of one."""
    return (learnt.tables[learnt.centre] - beta(learnt) * uncertainty(learnt))[None]


def cut(learnt: Learnt) -> Tables:
    """Return max(P̂ − βΓ, 0), as a class of one: what the package plans with."""
    return np.maximum(lowered(learnt), 0.0)


def _bounds(learnt: Learnt, bounds: dict[str, float]) -> dict[str, Margin]:
    allowed = 2.0 * error(learnt, learnt.policy, learnt.equilibrium)
    lost = gap(learnt, learnt.policy)
    finite = {name: bound for name, bound in bounds.items() if np.isfinite(bound)}
    return {name: relative(lost, bound, allowed) for name, bound in finite.items()}


def _pessimism(learnt: Learnt, tables: Tables) -> Margin:
    promised = float(secured(learnt, tables, learnt.policy).min())
    kept = VALUE - gap(learnt, learnt.policy)
    allowed = error(learnt, learnt.policy)
    return Margin.at_most(promised, kept, scale=1.0 + 2.0 * learnt.temperature, rounding=allowed)


def confidence_of(learnt: Learnt, bonus: bool) -> Confidence:
    """Return the package's confidence set of the same event."""
    tables = learnt.tables - VALUE
    model = Model(tables[learnt.centre], Link.PROBABILITY, 0.0, np.array(float(learnt.centre)))
    if bonus:
        width = beta(learnt) * uncertainty(learnt)
        return Confidence(model, _SURE, learnt.radius, width, np.full(width.shape, VALUE), "given")
    kept = np.flatnonzero(members(learnt))
    return FiniteConfidence(
        model=model,
        delta=_SURE,
        radius=learnt.radius,
        width=np.abs(tables[kept] - tables[learnt.centre]).max(axis=0),
        largest=np.full(tables[0].shape, VALUE),
        statement="given",
        members=kept,
        in_sample=squared(learnt.tables, learnt.centre, learnt.counts),
        tables=tables,
    )


def setting_of(learnt: Learnt) -> BanditSetting:
    """Return the package's setting."""
    reference = nlhf.Policy(learnt.log_reference)
    return BanditSetting(reference, learnt.temperature, learnt.weights)


def is_shipped(learnt: Learnt) -> bool:
    """Return whether the package has the game: the class must be one of preferences."""
    low, high = float(learnt.tables.min()), float(learnt.tables.max())
    return is_complementary(learnt) and 0.0 <= low <= high <= 1.0


def _shipped(learnt: Learnt, bonus: bool) -> dict[str, Margin]:
    """Return the margin of the package's certificate, if the package has the game."""
    if not is_shipped(learnt):
        return {}
    policy = nlhf.Policy(learnt.policy)
    value = pessimistic_value(setting_of(learnt), confidence_of(learnt, bonus), policy)
    return {
        f"shipped, {name}": margin
        for name, margin in _bounds(learnt, {"certificate": certified_gap(value).high}).items()
    }


def _version_space(learnt: Learnt) -> Margin:
    kept = version_space(learnt)
    width = reach(learnt, learnt.tables[learnt.truth] - kept, learnt.equilibrium)
    errors = squared(learnt.tables, learnt.centre, learnt.counts)
    apart = reach(learnt, learnt.tables - learnt.tables[learnt.centre], learnt.equilibrium)
    ratio = float((apart / np.sqrt(learnt.radius + errors)).max())
    bounds = {
        "width": float(width.max(initial=0.0)),
        "coverage": VERSION_SPACE * beta(learnt) * sqrt(coverage(learnt, learnt.counts)),
        "uncertainty": BONUS * beta(learnt) * ratio,
    }
    return Margin.every(
        {
            "promise": _pessimism(learnt, kept),
            **_bounds(learnt, bounds),
            **_shipped(learnt, bonus=False),
        }
    )


def _bonus(learnt: Learnt) -> Margin:
    most = float(reach(learnt, uncertainty(learnt)[None], learnt.equilibrium)[0])
    return Margin.every(
        {
            "promise": _pessimism(learnt, lowered(learnt)),
            "promise, cut": _pessimism(learnt, cut(learnt)),
            **_bounds(learnt, {"bonus": BONUS * beta(learnt) * most}),
            **_shipped(learnt, bonus=True),
        }
    )


def _is_event(learnt: Learnt) -> bool:
    return bool(members(learnt)[learnt.truth])


def _is_pessimistic(learnt: Learnt, tables: Tables) -> bool:
    planned = float(secured(learnt, tables, learnt.policy).min())
    slack = _LEAST + error(learnt, learnt.policy, learnt.equilibrium)
    return planned >= float(secured(learnt, tables, learnt.equilibrium).min()) - slack


COMPLEMENT: Hypothesis[Learnt] = Hypothesis(COMPLEMENTARY, COMPLEMENTARY_TEXT, is_complementary)
EVENT: Hypothesis[Learnt] = Hypothesis(
    "event", r"\sum_i (P^*-\hat P)^2(z_i) \le \rho = \beta^2/2", _is_event
)
EQUILIBRIUM: Hypothesis[Learnt] = Hypothesis(
    "equilibrium", r"\pi^* is the equilibrium of P^*", lambda x: loses_nothing(x, x.truth)
)
IN_VERSION_SPACE: Hypothesis[Learnt] = Hypothesis(
    "planned",
    r"\min_{P\in\tilde{\mathcal P}} J_P(\hat\pi,\dagger)"
    r" \ge \min_{P\in\tilde{\mathcal P}} J_P(\pi^*,\dagger)",
    lambda x: _is_pessimistic(x, version_space(x)),
)
WITH_BONUS: Hypothesis[Learnt] = Hypothesis(
    "planned",
    r"J_L(\hat\pi,\dagger) \ge J_L(\pi^*,\dagger)"
    r" for L = \hat P-\beta\Gamma or \max(\hat P-\beta\Gamma,0)",
    lambda x: _is_pessimistic(x, lowered(x)) or _is_pessimistic(x, cut(x)),
)


def plan(learnt: Learnt, bonus: bool) -> Learnt:
    """Return the instance with a policy planned in the version space, or with the bonus."""
    tables = lowered(learnt) if bonus else version_space(learnt)
    return with_policy(learnt, climb(learnt, tables, learnt.equilibrium))


def by_package(learnt: Learnt, bonus: bool) -> Learnt:
    """Return the instance with the policy that the package plans."""
    setting, confidence = setting_of(learnt), confidence_of(learnt, bonus)
    if isinstance(confidence, FiniteConfidence):
        solution = plan_version_space(setting, confidence, accuracy=_LEAST)
    else:
        solution = plan_with_bonus(setting, confidence)
    return with_policy(learnt, solution.policy.log_probabilities)


def _draw_planned(draws: Draws, bonus: bool) -> Learnt:
    learnt = draw_learnt(draws)
    return by_package(learnt, bonus) if draws.chance(_PLANNED) else plan(learnt, bonus)


def sure(draws: Draws) -> Learnt:
    """Draw a class in which next to nothing is uncertain."""
    learnt = draw_learnt(draws)
    near = learnt.tables[learnt.truth][None].repeat(2, axis=0)
    return replace(learnt, tables=near, truth=0, centre=1, radius=1e-6)


def _draw_missed(draws: Draws) -> Learnt:
    """Draw an estimate that is wrong, a radius that leaves P* out, and the estimate's best plan."""
    low, high = draws.between(0.0, 0.2), draws.between(0.8, 1.0)
    tau = draws.between(0.02, 0.1)
    tables = np.array([[[[0.5, p], [1.0 - p, 0.5]]] for p in (low, high)])
    policy = log_normalise(np.log([[0.01, 1.0]]))
    count = np.array([[[0.0, 1000.0], [0.0, 0.0]]])
    reference = referenced(tables[0], policy, tau)
    learnt = Learnt(
        tables, 0, 1, count, count / 1000.0, 1e-6, reference, tau, np.ones(1), policy, policy
    )
    sure_of_it = log_normalise(reference + np.array([[high - 0.5, 0.0]]) / tau)
    return with_policy(learnt, sure_of_it)


def _draw_unplanned(draws: Draws) -> Learnt:
    learnt = sure(draws)
    return with_policy(learnt, log_normalise(3.0 * learnt.equilibrium + 1.0))


def _draw_no_equilibrium(draws: Draws) -> Learnt:
    learnt = sure(draws)
    other = log_normalise(np.flip(learnt.equilibrium, axis=1) * 2.0)
    return replace(learnt, equilibrium=other, policy=other)


def _draw_lopsided(draws: Draws) -> Learnt:
    learnt = sure(draws)
    return replace(learnt, tables=learnt.tables - draws.one_of((0.125, 0.25, 0.5)))


CONTROLS: dict[str, Strategy[Learnt]] = {
    COMPLEMENTARY: instances(_draw_lopsided),
    "event": instances(_draw_missed),
    "equilibrium": instances(_draw_no_equilibrium),
    "planned": instances(_draw_unplanned),
}


def attained(half: float = 1 / 16, count: float = 40.0) -> Learnt:
    """Return three responses at temperature 0 where every bound is attained.

    P*(a, b) = 1/2, P̂(a, b) = 1/2 − h and the least model says 1/2 − 2h; only this pair is
    compared. The planned policy c loses 2h to b in every model.
    """
    tables = np.full((3, 1, 3, 3), 0.5)
    for model, low in enumerate((0.0, half, 2.0 * half)):
        for (first, second), less in {(0, 1): low, (0, 2): -half, (2, 1): 2.0 * half}.items():
            tables[model, 0, first, second] -= less
            tables[model, 0, second, first] += less
    counts = np.zeros((1, 3, 3))
    counts[0, 0, 1] = count
    pure = log_of(np.eye(3))
    return Learnt(
        tables=tables,
        truth=0,
        centre=1,
        counts=counts,
        law=counts / count,
        radius=count * half**2,
        log_reference=np.log(np.full((1, 3), 1 / 3)),
        temperature=0.0,
        weights=np.ones(1),
        equilibrium=pure[:1],
        policy=pure[2:],
    )


SOURCE = Citation("ye2024", "as commonly stated")

PELHF_VERSION_SPACE = Theorem(
    key="pelhf-version-space",
    statement=(
        r"if P^* \in \tilde{\mathcal P} = \{P: \sum_i (P-\hat P)^2(z_i) \le \beta^2/2\}, the policy"
        r" \hat\pi that maximises \min_{\tilde{\mathcal P}} J_P(\pi,\dagger) secures what it"
        r" promises, and gap(\hat\pi) \le \max_{P\in\tilde{\mathcal P},\rho}|E_{\pi^*,\rho}(P^*-P)|"
        r" \le \sqrt2\,\beta\sqrt{C_{emp}/n}, and \le 2\beta\max_\rho\Gamma(\pi^*,\rho) with"
        r" \lambda = \beta^2/2; \beta^2 = 4\log(|\mathcal P|/\delta) makes the event likely"
    ),
    sources=(SOURCE,),
    hypotheses=(COMPLEMENT, EVENT, EQUILIBRIUM, IN_VERSION_SPACE),
    margin=_version_space,
    instances=instances(lambda draws: _draw_planned(draws, bonus=False)),
    controls=CONTROLS,
    sharp=(attained(), attained(1 / 5, 3.0)),
    constants={"version-space": VERSION_SPACE, "uncertainty": BONUS},
)

PELHF_BONUS = Theorem(
    key="pelhf-bonus",
    statement=(
        r"with \Gamma(x,a,b) = \max_P |P-\hat P|(x,a,b)/\sqrt{\lambda+\sum_i(P-\hat P)^2(z_i)} and"
        r" \lambda = \beta^2/2: if \sum_i(P^*-\hat P)^2(z_i) \le \beta^2/2, the policy \hat\pi that"
        r" maximises J_{\hat P-\beta\Gamma}(\pi,\dagger), or the same with the payoff cut at 0,"
        r" secures what it promises, and"
        r" gap(\hat\pi) \le 2\beta\max_\rho E_{\pi^*,\rho}\Gamma"
    ),
    sources=(SOURCE,),
    hypotheses=(COMPLEMENT, EVENT, EQUILIBRIUM, WITH_BONUS),
    margin=_bonus,
    instances=instances(lambda draws: _draw_planned(draws, bonus=True)),
    controls=CONTROLS,
    sharp=(attained(), attained(1 / 5, 3.0)),
    constants={"bonus": BONUS},
)

ALL = (PELHF_VERSION_SPACE, PELHF_BONUS)
