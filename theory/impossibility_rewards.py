"""How far the reward of everybody is from that of the most distant group."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import log, log1p

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

from .definitions import relative
from .draws import Draws, instances
from .enclosures import exponential
from .impossibility_instances import (
    BOUNDED,
    BRADLEY_TERRY,
    COORDINATES,
    POOLED,
    STATIONARY,
    Crowd,
    crowd_of,
    distances,
    draw_crowd,
    draw_shares,
    draw_tree,
    extremes,
    logistic,
    two_responses,
)
from .instances import draw_weights
from .recursions import nearest

PUBLISHED = 1 / 4
SHARP = 2.0
TWO_GROUPS = 1 / 2

_NEWTON = 60


def fitted(crowd: Crowd) -> Crowd:
    """Return the crowd with φ* the zero of the score, by damped Newton steps."""
    z, at = crowd.differences, crowd.proportions @ crowd.parameters
    for _ in range(_NEWTON):
        model = logistic(z @ at)
        hessian = z.T @ ((crowd.law * model * (1.0 - model))[:, None] * z)
        score = z.T @ (crowd.law * (crowd.pooled - model))
        step = np.linalg.lstsq(hessian, score, rcond=1e-13)[0]
        spread = float(np.abs(z @ step).max())
        at = at + step * (log1p(spread) / spread if spread > 1.0 else 1.0)
        if spread < 1e-10:
            break
    return replace(crowd, candidate=at)


def _mismatch(constant: float, inexact: Callable[[Crowd], float]) -> Callable[[Crowd], Margin]:
    """Return the margin of (c/D)(1 − η_u)ε ≤ ‖φ* − φ_u‖, for both orders of the pair."""

    def margin(instance: Crowd) -> Margin:
        found = []
        for u, epsilon in extremes(distances(instance.preferences, instance.law)):
            apart = float(np.linalg.norm(instance.candidate - instance.parameters[u]))
            low = constant / instance.radius * (1.0 - float(instance.proportions[u])) * epsilon
            allowed = constant / instance.radius * inexact(instance)
            allowed += 16 * EPSILON * float(np.abs(instance.candidate).max() + apart)
            found.append(relative(low, apart, allowed))
        return nearest(found)

    return margin


def _draw_wide(draws: Draws) -> Crowd:
    """Draw a crowd on any responses and pairs, with its maximum-likelihood reward."""
    d, groups = draws.one_of((1, 1, 2, 3)), draws.one_of((2, 2, 3, 4))
    n = d + 1 + draws.one_of((0, 1, 2))
    features = draws.array((n, d), -2.0, 2.0) * draws.one_of((1.0, 0.1))
    if draws.chance(2):
        features[draws.whole(n - 1)] *= 10.0
    pairs = np.argwhere(np.triu(np.ones((n, n)), 1) > 0.0)
    law = draw_weights(draws, len(pairs)) ** draws.one_of((1, 4))
    parameters = draws.array((groups, d), -2.0, 2.0) * draws.one_of((0.1, 1.0, 2.0))
    law, shares = law / law.sum(), draw_shares(draws, groups)
    return fitted(crowd_of(features, pairs, law, parameters, shares))


def _draw_pair_of_groups(draws: Draws) -> Crowd:
    crowd = _draw_wide(draws)
    shares = crowd.proportions[:2] / crowd.proportions[:2].sum()
    pair = replace(
        crowd,
        parameters=crowd.parameters[:2],
        preferences=crowd.preferences[:2],
        proportions=shares,
    )
    return fitted(pair)


def draw_foreign(draws: Draws) -> Crowd:
    """Draw preferences that are not those of the parameters, which all but agree with φ*."""
    crowd = draw_tree(draws)
    preferences = draws.array(crowd.preferences.shape, 0.05, 0.95)
    pooled = crowd.proportions @ preferences
    candidate = np.linalg.solve(crowd.differences, np.log(pooled) - np.log1p(-pooled))
    near = candidate + 1e-4 * draws.array(crowd.parameters.shape, -1.0, 1.0)
    return replace(crowd, preferences=preferences, candidate=candidate, parameters=near)


def draw_overflowing(draws: Draws) -> Crowd:
    """Draw a crowd and a radius that is far too small."""
    crowd = draw_tree(draws)
    return replace(crowd, radius=crowd.radius * draws.logarithmic(1e-4, 1e-2))


def _draw_overflowing_pair(draws: Draws) -> Crowd:
    """Draw two groups, of which a bound is in terms of the radius, and one far too small."""
    crowd = _draw_pair_of_groups(draws)
    return replace(crowd, radius=crowd.radius * draws.logarithmic(1e-4, 1e-2))


def _draw_captured(draws: Draws) -> Crowd:
    """Draw a crowd whose candidate is the reward of one group of the most diverse pair."""
    crowd = draw_tree(draws)
    (u, _), (v, _) = extremes(distances(crowd.preferences, crowd.law))
    return replace(crowd, candidate=crowd.parameters[(u, v)[draws.whole(1)]])


@dataclass(frozen=True, slots=True)
class Balanced:
    """Three groups whose pooled reward is that of the most distant of them.

    Four responses, two features; three pairs are compared, with z = (1, 1), (1, 0) and (0, N).
    Group k has the odds (a, 1) a feature, j (a, B), and u (a′, b).

    Attributes:
        reach: N.
        base: a.
        own_base: a′.
        own_tilt: b.
        other_tilt: B.
        balance: θ = η_j/(η_j + η_k).
    """

    reach: int
    base: Fraction
    own_base: Fraction
    own_tilt: Fraction
    other_tilt: Fraction
    balance: Fraction

    def preferences(self) -> tuple[tuple[Fraction, ...], ...]:
        """Return p_u, p_k, p_j on the three pairs."""
        odds = (
            (self.own_base * self.own_tilt, self.own_base, self.own_tilt**self.reach),
            (self.base, self.base, Fraction(1)),
            (self.base * self.other_tilt, self.base, self.other_tilt**self.reach),
        )
        return tuple(tuple(o / (1 + o) for o in group) for group in odds)

    def law(self) -> tuple[Fraction, ...]:
        """Return the ρ that makes u's reward stationary; it is a law where all are positive.

        With Δ = p_u − (1 − θ)p_k − θp_j the score at φ_u is a multiple of
        (ρ_1Δ_1 + ρ_2Δ_2, ρ_1Δ_1 + Nρ_3Δ_3).
        """
        u, k, j = self.preferences()
        t = self.balance
        d = [own - (1 - t) * a - t * b for own, a, b in zip(u, k, j, strict=True)]
        raw = (1 / d[0], -1 / d[1], -1 / (self.reach * d[2]))
        return tuple(weight / sum(raw) for weight in raw)

    def crowd(self, share: float) -> Crowd:
        """Return the crowd in floating point; u, which is the first group, has the given share."""
        half = self.reach / 2
        features = np.array([[-0.5, half], [0.5, half], [0.5, half + 1], [-0.5, -half]])
        features[:, 1] -= 0.5
        logs = [
            [log(self.own_base), log(self.own_tilt)],
            [log(self.base), 0.0],
            [log(self.base), log(self.other_tilt)],
        ]
        t = float(self.balance)
        shares = np.array([share, (1.0 - share) * (1.0 - t), (1.0 - share) * t])
        pairs = np.array([[2, 0], [1, 0], [0, 3]])
        law = np.array([float(weight) for weight in self.law()])
        found = crowd_of(features, pairs, law, np.array(logs), shares, beta=2.0)
        return replace(found, candidate=found.parameters[0])


BALANCED = Balanced(8, Fraction(5), Fraction(4), Fraction(3, 4), Fraction(1, 7), Fraction(1, 2))


def is_balanced(case: Balanced) -> bool:
    """Verify in rational arithmetic that φ* = φ_u although ε > 0, for every share of u below 1."""
    u, k, j = case.preferences()
    law, t = case.law(), case.balance

    def apart(p: tuple[Fraction, ...], q: tuple[Fraction, ...]) -> Fraction:
        return sum((w * abs(a - b) for w, a, b in zip(law, p, q, strict=True)), Fraction(0))

    rest = [(1 - t) * a + t * b for a, b in zip(k, j, strict=True)]
    pulls = [w * (own - other) for w, own, other in zip(law, u, rest, strict=True)]
    stationary = pulls[0] + pulls[1] == 0 == pulls[0] + case.reach * pulls[2]
    distant = apart(u, j) > apart(k, j) and apart(u, j) > apart(u, k)
    return stationary and distant and min(law) > 0 and sum(law) == 1


def draw_balanced(draws: Draws) -> Crowd:
    """Draw three groups like `BALANCED`, but further apart."""
    case = Balanced(
        reach=draws.one_of((9, 10, 11, 12)),
        base=Fraction(draws.whole(20) + 90, 10),
        own_base=Fraction(draws.whole(10) + 45, 10),
        own_tilt=Fraction(draws.whole(6) + 76, 100),
        other_tilt=Fraction(1, draws.one_of((300, 1000, 3000))),
        balance=Fraction(1, 2),
    )
    return case.crowd(draws.between(0.02, 0.9))


@dataclass(frozen=True, slots=True)
class Stretched:
    """Two groups, three responses and one feature; z = N with probability q, and z = 1.

    Attributes:
        reach: N.
        often: q.
        own: e^{φ_u}.
        other: e^{φ_j}, larger.
        share: η_u.
    """

    reach: int
    often: Fraction
    own: Fraction
    other: Fraction
    share: Fraction

    def crowd(self) -> Crowd:
        """Return the crowd in floating point."""
        half = self.reach / 2
        features, pairs = np.array([[half], [-half], [half - 1]]), np.array([[0, 1], [0, 2]])
        law = np.array([float(self.often), float(1 - self.often)])
        parameters = np.array([[log(self.own)], [log(self.other)]])
        shares = np.array([float(self.share), float(1 - self.share)])
        return fitted(crowd_of(features, pairs, law, parameters, shares))


POOLED_BOUND = Fraction(109, 104)
"""Above e^{φ*} in `STRETCHED`."""

STRETCHED = Stretched(31, Fraction(1, 3), Fraction(24, 23), Fraction(30), Fraction(10, 11))


def breaks_sharp(case: Stretched, pooled: Fraction) -> bool:
    r"""Verify that |φ* − φ_u| < (2/D)(1 − η)ε, from a rational bound e^{φ*} ≤ `pooled`.

    D = N/2. The score E z(σ(zφ) − p*) increases in φ, so that it is an upper bound of e^{φ*} if the
    score there is positive; and φ* > φ_u, because p* > p_u.
    """

    def chance(odds: Fraction, z: int) -> Fraction:
        return odds**z / (1 + odds**z)

    weights = ((case.reach, case.often), (1, 1 - case.often))
    score, epsilon = Fraction(0), Fraction(0)
    for z, weight in weights:
        own, other = chance(case.own, z), chance(case.other, z)
        everybody = case.share * own + (1 - case.share) * other
        score += weight * z * (chance(pooled, z) - everybody)
        epsilon += weight * (other - own)
    claimed = 4 * (1 - case.share) * epsilon / case.reach
    below = pooled / case.own < exponential(claimed).low
    return score > 0 and case.own < pooled < case.other and below


LEMMA = Citation("chakraborty2024", "Lemma 1, as commonly transcribed")
SHARPENED = Citation("chakraborty2024", "Lemma 1, as commonly transcribed; the constant is new")
MENDED = Citation("chakraborty2024", "repaired; the original, Lemma 1, as commonly transcribed")
WELL_SPECIFIED = (BRADLEY_TERRY, POOLED, BOUNDED)
ANYHOW = (BRADLEY_TERRY, STATIONARY, BOUNDED)


def _statement(constant: str, where: str) -> str:
    return rf"\|\phi^*-\phi_u\| \ge {constant}\,\epsilon(1-\eta_u) {where}"


REWARD_MISMATCH = Theorem(
    key="reward-mismatch",
    statement=_statement(r"\tfrac1{4D}", r"where \sigma(z^\top\phi^*) = p^*(z)"),
    sources=(LEMMA,),
    hypotheses=WELL_SPECIFIED,
    margin=_mismatch(PUBLISHED, lambda x: x.inexactness),
    instances=instances(draw_crowd),
    controls={
        BRADLEY_TERRY.name: instances(draw_foreign),
        POOLED.name: instances(draw_balanced),
        BOUNDED.name: instances(draw_overflowing),
    },
    constants={"published": PUBLISHED},
    coordinates=COORDINATES,
)

REWARD_MISMATCH_SHARP = Theorem(
    key="reward-mismatch-sharp",
    statement=_statement(r"\tfrac2D", r"where \sigma(z^\top\phi^*) = p^*(z)"),
    sources=(SHARPENED,),
    hypotheses=WELL_SPECIFIED,
    margin=_mismatch(SHARP, lambda x: x.inexactness),
    instances=instances(draw_crowd),
    controls={
        BRADLEY_TERRY.name: instances(draw_foreign),
        POOLED.name: instances(draw_balanced),
        BOUNDED.name: instances(draw_overflowing),
    },
    sharp=(two_responses(0.01, -0.01, 0.5), two_responses(0.01, 0.0, 0.05, half=3.0)),
    constants={"sharp": SHARP},
    coordinates=COORDINATES,
)

REWARD_MISMATCH_MISSPECIFIED = Theorem(
    key="reward-mismatch-misspecified",
    statement=_statement(r"\tfrac1{4D}", r"at the maximum-likelihood \phi^*, whatever p^*"),
    sources=(LEMMA,),
    hypotheses=ANYHOW,
    margin=_mismatch(PUBLISHED, lambda x: 16 * EPSILON),
    instances=instances(_draw_wide),
    controls={},
    expected=Expected.REFUTED,
    sharp=(BALANCED.crowd(0.2), BALANCED.crowd(0.01)),
    constants={"published": PUBLISHED},
    counterexample=Counterexample(
        r"three groups, four responses, two features: $\phi^* = \phi_u$ exactly, for every share of"
        r" the most distant group $u$, while $\epsilon > 0$: no constant in the place of"
        r" $\tfrac14$ holds",
        lambda: is_balanced(BALANCED),
        python="""\
from fractions import Fraction as F

# Differences of features of the compared pairs, of the responses (0,0), (1,0), (1,1), (0,-8);
# by group the odds (e^{phi_1}, e^{phi_2}); k and j are equally frequent, u has any share.
pairs = ((1, 1), (1, 0), (0, 8))
odds = {"u": (F(4), F(3, 4)), "k": (F(5), F(1)), "j": (F(5), F(1, 7))}
p = {g: [1 / (1 + 1 / (a**i * b**j)) for i, j in pairs] for g, (a, b) in odds.items()}
pull = [u - (k + j) / 2 for u, k, j in zip(p["u"], p["k"], p["j"])]
raw = (1 / pull[0], -1 / pull[1], -1 / (8 * pull[2]))
law = [weight / sum(raw) for weight in raw]  # how often each pair is compared


def distance(a, b):
    return sum(w * abs(x - y) for w, x, y in zip(law, p[a], p[b]))


assert min(law) > 0
for i in range(2):  # the pooled likelihood is stationary at the reward of u
    assert sum(w * z[i] * d for w, z, d in zip(law, pairs, pull)) == 0

assert distance("u", "j") > max(distance("k", "j"), distance("u", "k"))
""",
    ),
)

REWARD_MISMATCH_SHARP_MISSPECIFIED = Theorem(
    key="reward-mismatch-sharp-misspecified",
    statement=_statement(r"\tfrac2D", r"for two groups at the maximum-likelihood \phi^*"),
    sources=(),
    hypotheses=(
        *ANYHOW,
        Hypothesis("two-groups", r"U = 2", lambda x: len(x.parameters) == 2),
    ),
    margin=_mismatch(SHARP, lambda x: 16 * EPSILON),
    instances=instances(_draw_pair_of_groups),
    controls={},
    expected=Expected.REFUTED,
    sharp=(STRETCHED.crowd(),),
    constants={"sharp": SHARP},
    counterexample=Counterexample(
        r"three responses and one feature, $z = 31$ with probability $\tfrac13$, otherwise $z = 1$;"
        r" $e^{\phi_u} = \tfrac{24}{23}$, $e^{\phi_j} = 30$, $\eta_u = \tfrac{10}{11}$",
        lambda: breaks_sharp(STRETCHED, POOLED_BOUND),
        python="""\
from fractions import Fraction as F
from math import factorial

# One feature, responses 31/2, -31/2, 29/2; pairs with z = 31 and z = 1. D = 31/2.
often, own, other, share = F(1, 3), F(24, 23), F(30), F(10, 11)  # own, other: e^phi
weights = ((31, often), (1, 1 - often))


def chance(odds, z):
    return odds**z / (1 + odds**z)


def score(odds):  # of the pooled likelihood; increasing in the odds, 0 at phi*
    return sum(
        w * z * (chance(odds, z) - share * chance(own, z) - (1 - share) * chance(other, z))
        for z, w in weights
    )


above = F(109, 104)  # above e^{phi*}
epsilon = sum(w * (chance(other, z) - chance(own, z)) for z, w in weights)
claimed = 2 / F(31, 2) * (1 - share) * epsilon
assert score(above) > 0
assert above / own < sum(claimed**k / F(factorial(k)) for k in range(20))  # phi* - phi_u < claimed
""",
    ),
)


def _moments(crowd: Crowd) -> Margin:
    z, law = crowd.differences, crowd.law
    largest = float(np.linalg.eigvalsh(z.T @ (law[:, None] * z))[-1])
    found = []
    for parameter, preference in zip(crowd.parameters, crowd.preferences, strict=True):
        apart = float(np.linalg.norm(crowd.candidate - parameter))
        moment = float(np.linalg.norm(z.T @ (law * (crowd.pooled - preference))))
        allowed = 4.0 * crowd.imbalance / largest + 16 * EPSILON * (
            apart + float(np.abs(parameter).max())
        )
        found.append(relative(4.0 * moment / largest, apart, allowed))
    return nearest(found)


def _two_groups(crowd: Crowd) -> Margin:
    """Return the margin of log(1 + (1 − η_u)ε)/(2D) ≤ ‖φ* − φ_u‖; ε is a distance here."""
    z, law = crowd.differences, crowd.law
    between = crowd.parameters[1] - crowd.parameters[0]
    found = []
    for u, epsilon in extremes(distances(crowd.preferences, law)):
        p = crowd.preferences[u]
        steep = float(law @ (np.abs(z @ between) * p * (1.0 - p)))
        y = (1.0 - float(crowd.proportions[u])) * epsilon
        apart = float(np.linalg.norm(crowd.candidate - crowd.parameters[u]))
        allowed = float(np.linalg.norm(between)) * crowd.imbalance / max(steep, 1e-300)
        allowed = TWO_GROUPS / crowd.radius * min(allowed, 1.0) + 16 * EPSILON * (1.0 + apart)
        found.append(relative(TWO_GROUPS * log1p(y) / crowd.radius, apart, allowed))
    return nearest(found)


def _repaired(instance: Crowd) -> Margin:
    parts = {"moments": _moments(instance)}
    if len(instance.parameters) == 2:
        parts["two groups"] = _two_groups(instance)
    return Margin.every(parts)


REWARD_MISMATCH_REPAIRED = Theorem(
    key="reward-mismatch-repaired",
    statement=(
        r"at the maximum-likelihood \phi^* of any population"
        r" \|\phi^*-\phi_u\| \ge 4\|E_\rho z(p^*-p_u)\|/\lambda_{\max}(E_\rho zz^\top); for two"
        r" groups \|\phi^*-\phi_u\| \ge \tfrac1{2D}\log(1+(1-\eta_u)\epsilon), and so"
        r" \ge \tfrac1{4D}\epsilon(1-\eta_u)"
    ),
    sources=(MENDED,),
    hypotheses=ANYHOW,
    margin=_repaired,
    instances=instances(_draw_wide),
    controls={
        BRADLEY_TERRY.name: instances(draw_foreign),
        STATIONARY.name: instances(_draw_captured),
        BOUNDED.name: instances(_draw_overflowing_pair),
    },
    sharp=(two_responses(0.01, -0.01, 0.5),),
    constants={"two-groups": TWO_GROUPS},
)

ALL = (
    REWARD_MISMATCH,
    REWARD_MISMATCH_SHARP,
    REWARD_MISMATCH_MISSPECIFIED,
    REWARD_MISMATCH_SHARP_MISSPECIFIED,
    REWARD_MISMATCH_REPAIRED,
)
