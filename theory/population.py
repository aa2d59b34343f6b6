"""The bound of pessimism with population coverage: what holds, and what does not as cited."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb, log, sqrt

import numpy as np

from nlhf.numerics import EPSILON
from nlhf.theorems import (
    Citation,
    Counterexample,
    Expected,
    Hypothesis,
    Margin,
    Theorem,
)

from .definitions import Game, Payoffs, relative
from .draws import Draws, instances
from .enclosures import exponential
from .instances import equilibrium
from .learnt import Learnt, draw_learnt, error, gap, reach
from .likelihood_radius import UNTIED, Duel, breaks_without_two
from .pessimism import (
    COMPLEMENT,
    CONTROLS,
    EQUILIBRIUM,
    EVENT,
    IN_VERSION_SPACE,
    SOURCE,
    attained,
    beta,
    coverage,
    plan,
    version_space,
)

SPREAD = 77 / 20
"""n E(P − P̂)² ≤ 3.85 ρ in the version space, that is 7.7 log(|P|/δ)."""

CITED = 4.0
"""gap ≤ 4β √(C/n)."""


def spread(learnt: Learnt) -> float:
    """Return the greatest n E(P − P̂)² over the version space."""
    apart = (version_space(learnt) - learnt.tables[learnt.centre]) ** 2
    each = np.einsum("kxab,xab->k", apart, learnt.law)
    return float(each.max(initial=0.0) * learnt.counts.sum())


def _is_typical(learnt: Learnt) -> bool:
    return spread(learnt) <= SPREAD * learnt.radius * (1.0 + 1e-9)


def _population(learnt: Learnt) -> Margin:
    lost = gap(learnt, learnt.policy)
    allowed = 2.0 * error(learnt, learnt.policy, learnt.equilibrium)
    per_comparison = coverage(learnt, learnt.law * learnt.counts.sum())
    bounds = {
        "as cited": CITED * beta(learnt) * sqrt(per_comparison),
        "sharpened": 2.0 * sqrt(SPREAD * learnt.radius * per_comparison),
    }
    # Where the data say nothing the bound is infinite; a gap is below 1 + τ log(1/min μ).
    most = 1.0 - learnt.temperature * float(learnt.log_reference.min())
    return Margin.every(
        {name: relative(lost, min(bound, most), allowed) for name, bound in bounds.items()}
    )


def _draw_population(draws: Draws) -> Learnt:
    """Draw a law that is not quite what was seen, as far as it is typical."""
    learnt = plan(draw_learnt(draws), bonus=False)
    generator = np.random.default_rng(draws.whole(2**30))
    odds = learnt.counts * np.exp(
        draws.one_of((0.3, 2.0)) * generator.normal(size=learnt.law.shape)
    )
    moved = replace(learnt, law=odds / odds.sum())
    return moved if _is_typical(moved) else learnt


def _draw_untypical(draws: Draws) -> Learnt:
    """Draw a law under which what was hardly seen is common, and so well covered."""
    return _uneven(1.0, draws.between(0.5, 1.0), draws.between(200.0, 2000.0))


def _uneven(seen: float, share: float, rest: float) -> Learnt:
    """Return the attained instance with comparisons on which all models agree, and another law."""
    learnt = attained(count=seen)
    counts, law = learnt.counts.copy(), np.zeros_like(learnt.counts)
    counts[0, 0, 2] = rest
    law[0, 0, 1], law[0, 0, 2] = share, 1.0 - share
    return replace(learnt, counts=counts, law=law)


PELHF_POPULATION = Theorem(
    key="pelhf-population",
    statement=(
        r"with \beta^2 = 4\log(|\mathcal P|/\delta) and n comparisons drawn from \pi_D, the policy"
        r" of pelhf-version-space has gap \le 2\sqrt{7.7\log(|\mathcal P|/\delta)\,C/n}"
        r" \le 4\beta\sqrt{C/n} with probability 1-\delta, with the population coefficient"
        r" C = \max_{P,\rho}(E_{\pi^*,\rho}(P-\hat P))^2/E_{\pi_D}(P-\hat P)^2; on the event that"
        r" P^* is in the version space and all of it has nE_{\pi_D}(P-\hat P)^2 \le 3.85\,\beta^2/2"
    ),
    sources=(SOURCE,),
    hypotheses=(
        COMPLEMENT,
        EVENT,
        EQUILIBRIUM,
        IN_VERSION_SPACE,
        Hypothesis(
            "typical",
            r"n E_{\pi_D}(P-\hat P)^2 \le 3.85\rho for every P in \tilde{\mathcal P}",
            _is_typical,
        ),
    ),
    margin=_population,
    instances=instances(_draw_population),
    controls={**CONTROLS, "typical": instances(_draw_untypical)},
    sharp=(_uneven(40.0, float(SPREAD) * 40.0 / 240.0, 200.0),),
    constants={"spread": SPREAD, "cited": CITED},
)


@dataclass(frozen=True, slots=True)
class Excluded:
    """Three responses a, z, y, of which z and y are compared, and a rival that excludes P*.

    P*: a beats z and y by h, and z beats y with `duel.truth`. The rival: z beats a by h, a beats y
    by h, and z beats y with `duel.rival`. The reference is uniform, τ = h/`coldness`.
    """

    duel: Duel
    advantage: Fraction
    coldness: int

    def tables(self) -> Payoffs:
        """Return P* and the rival."""
        h = float(self.advantage)
        found = np.full((2, 3, 3), 0.5)
        for k, (az, zy) in enumerate(((h, self.duel.truth), (-h, self.duel.rival))):
            for (i, j), more in {(0, 1): az, (0, 2): h, (1, 2): float(zy) - 0.5}.items():
                found[k, i, j] += more
                found[k, j, i] -= more
        return found


def as_learnt(case: Excluded) -> Learnt:
    """Return the case in which the rival is estimated and alone in the version space."""
    tables = case.tables()[:, None]
    reference, tau = np.log(np.full((1, 3), 1 / 3)), float(case.advantage) / case.coldness
    law = np.zeros((1, 3, 3))
    law[0, 1, 2] = 1.0
    best = [equilibrium(Game(table, reference, tau, np.ones(1))) for table in tables]
    radius = log(2.0 / float(case.duel.delta))
    return Learnt(
        tables=tables,
        truth=0,
        centre=1,
        counts=law * case.duel.count,
        law=law,
        radius=radius,
        log_reference=reference,
        temperature=tau,
        weights=np.ones(1),
        equilibrium=best[0],
        policy=best[1],
    )


def _as_transcribed(case: Excluded) -> Margin:
    """Return the margin of the probability that the gap exceeds 4β √(C/n), β² = 2 log(2/δ).

    Only outcomes count in which the rival is strictly likelier than P* or as likely.
    """
    duel, delta = case.duel, float(case.duel.delta)
    p, q, n = float(duel.truth), float(duel.rival), duel.count
    wins = np.arange(n + 1)
    ahead = wins * log(q / p) + (n - wins) * log((1.0 - q) / (1.0 - p)) >= -1e-12
    ways = np.array([float(comb(n, int(w))) for w in wins])
    chance = float((ways * p**wins * (1.0 - p) ** (n - wins))[ahead].sum())
    if chance <= delta or float(duel.squared) <= log(2.0 / delta):
        return Margin.at_most(0.0, delta, scale=delta, rounding=0.0)
    learnt = as_learnt(case)
    covered = reach(learnt, learnt.tables[:1] - learnt.tables[1:], learnt.equilibrium)[0]
    bound = CITED * sqrt(2.0 * learnt.radius / n) * float(covered) / (q - p)
    exceeded = gap(learnt, learnt.policy) - error(learnt, learnt.policy) > bound
    allowed = 16 * (n + 8) * EPSILON * chance
    return Margin.at_most(chance * exceeded, delta, scale=delta, rounding=allowed)


def excludes(case: Excluded) -> bool:
    r"""Verify in rational arithmetic that the cited bound fails with probability above δ.

    With x = h/τ: every entry of the rival's row z exceeds the others' by h at least, so that its
    equilibrium leaves at most 2e^{−x} off z. In P* row a exceeds row z by h, so π*(z) ≤ e^{−x}, and
    exceeds row y by h(1 − π*(z)) − π*(z)/2 ≥ h/2 against π*, so π*(y) ≤ e^{−x/2}. So
    √(C) ≤ (2h + e^{−x} + e^{−x/2})/(p − p*), the cited bound is below √32 times its numerator if
    log(2/δ) < n(p − p*)², and y takes from π̂ a gap of at least 1/2 − p* − 2e^{−x} − 1.1τ, as
    log 3 < 1.1.
    """
    duel, h, x = case.duel, case.advantage, case.coldness
    off = 1 / exponential(Fraction(x)).low
    half_off = 1 / exponential(Fraction(x, 2)).low
    dominated = duel.rival >= Fraction(1, 2) + 2 * h and off * (h + Fraction(1, 2)) <= h / 2
    dominated = dominated and duel.truth <= Fraction(1, 2)
    lost = Fraction(1, 2) - duel.truth - 2 * off - Fraction(11, 10) * h / x
    small = lost > 0 and lost**2 > 32 * (2 * h + off + half_off) ** 2
    return dominated and small and breaks_without_two(duel)


WITNESS = Excluded(UNTIED, Fraction(1, 34), 14)


def _draw_excluded(draws: Draws) -> Excluded:
    low, high = Fraction(draws.whole(7) + 1, 20), Fraction(12 + draws.whole(7), 20)
    duel = Duel(low, high, 4 + draws.whole(30), Fraction(1 + draws.whole(60), 1000))
    return Excluded(duel, Fraction(1, 50 + draws.whole(50)), 20)


PELHF_AS_TRANSCRIBED = Theorem(
    key="pelhf-as-transcribed",
    statement=(
        r"with \beta^2 = 2\log(|\mathcal P|/\delta) and the version space of radius \beta^2/2:"
        r" gap(\hat\pi) \le 4\beta\sqrt{C/n} with probability 1-\delta"
    ),
    sources=(Citation("ye2024", "Theorem 1, as commonly transcribed"),),
    hypotheses=(
        Hypothesis(
            "realisable",
            r"P^* \in \mathcal P, and z beats y with 0 < p^* < p < 1",
            lambda x: 0 < x.duel.truth < x.duel.rival < 1,
        ),
    ),
    margin=_as_transcribed,
    instances=instances(_draw_excluded),
    controls={},
    expected=Expected.REFUTED,
    sharp=(WITNESS,),
    constants={"cited": CITED},
    counterexample=Counterexample(
        r"two models of three responses $a, z, y$; $z$ and $y$ are compared 14 times; $z$ wins with"
        r" $\tfrac3{19}$ under $P^*$ and $\tfrac{21}{25}$ under its rival; $\delta = \tfrac1{335}$:"
        r" with probability $0.002992 > \delta$ the rival is estimated and $P^*$ is excluded; the"
        r" rival has $z$ beat $a$ by $\tfrac1{34}$, $P^*$ has $a$ beat $z$ by $\tfrac1{34}$, and"
        r" $\tau = \tfrac1{476}$; then the gap is above $0.3397$ and $4\beta\sqrt{C/n}$ below"
        r" $0.3380$",
        lambda: excludes(WITNESS),
        python="""\
from fractions import Fraction as F
from math import comb, factorial

# Responses a, z, y, uniform reference; z and y are compared n times. Entry [i][j] is the
# probability that response i beats response j.
h, tau, n, delta, half = F(1, 34), F(1, 476), 14, F(1, 335), F(1, 2)
p, q = F(3, 19), F(21, 25)
truth = ((half, half + h, half + h), (half - h, half, p), (half - h, 1 - p, half))
rival = ((half, half - h, half + h), (half + h, half, q), (half - h, 1 - q, half))


def exp(x):  # a lower bound
    return sum(x**k / F(factorial(k)) for k in range(60))


# With probability above delta the rival is likelier, and P* is outside its version space.
wins = [w for w in range(n + 1) if q**w * (1 - q) ** (n - w) > p**w * (1 - p) ** (n - w)]
assert sum(comb(n, w) * p**w * (1 - p) ** (n - w) for w in wins) > delta
assert exp(n * (q - p) ** 2) > 2 / delta

# Then the policy is the rival's equilibrium: nearly all on z, since row z exceeds the others by h.
# That of the truth is nearly all on a. y takes the gap; the bound sees only h and what leaks.
off, leak = 1 / exp(h / tau), 1 / exp(h / tau / 2)
gap = half - p - 2 * off - F(11, 10) * tau  # log 3 < 1.1
assert gap > 0 and gap**2 > 32 * (2 * h + off + leak) ** 2
""",
    ),
)

ALL = (PELHF_POPULATION, PELHF_AS_TRANSCRIBED)
