"""What the gap of a policy is, and what it says of the distance from the equilibrium."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, expm1, lcm, log

import numpy as np

import nlhf
from nlhf.numerics import exp_remainder, log_normalise
from nlhf.theorems import (
    Citation,
    Counterexample,
    Expected,
    Hypothesis,
    Margin,
    Theorem,
)

from .definitions import (
    Game,
    best_response,
    column_payoff,
    divergence,
    error,
    improvement,
    kl,
    relative,
    size,
    tilt,
    value,
)
from .draws import Draws, instances
from .equilibrium import (
    CANDIDATE_CONTROLS,
    CANDIDATE_COORDINATES,
    CANDIDATE_HYPOTHESES,
    DUEL_CONTROLS,
    DUEL_COORDINATES,
    DUEL_HYPOTHESES,
    VALUE,
    Candidate,
    Duel,
    draw_candidate,
    draw_duel,
    equilibrium_error,
)
from .instances import (
    as_zero_sum_game,
    draw_game,
    equilibrium,
)

PLAYERS = 2


def _gap_identity(instance: Duel) -> Margin:
    game, policy, challenger = instance.game, instance.row, instance.column
    other = instance.column_temperature
    response = best_response(game, policy)
    punisher = tilt(game.log_reference, -column_payoff(game, policy), other)
    scale, allowed = size(game, policy, challenger), error(game, policy, challenger, punisher)
    gap = game.temperature * kl(game.weights, policy, response)
    conceded = value(game, policy, punisher, other)
    total = value(game, response, policy, other) - conceded
    parts = {
        "gap": Margin.equal(VALUE - conceded, gap, scale=scale, rounding=allowed),
        "duality gap": Margin.equal(total, PLAYERS * gap, scale=scale, rounding=allowed),
        "any deviation": Margin.at_most(
            VALUE - value(game, policy, challenger, other), gap, scale=scale, rounding=allowed
        ),
    }
    profile = (nlhf.Policy(policy), nlhf.Policy(policy))
    bound = nlhf.certify(as_zero_sum_game(game, other), profile).bound
    parts["certificate"] = Margin.equal(
        bound.value,
        PLAYERS * gap,
        scale=scale,
        rounding=allowed + (bound.high - bound.low) / 2,
    )
    return Margin.every(parts)


GAP_IDENTITY = Theorem(
    key="gap-identity",
    statement=(
        r"\tfrac12 - \min_\rho J(\pi,\rho) = \tau KL(\pi\|BR(\pi)), and"
        r" \max_\rho J(\rho,\pi) - \min_\rho J(\pi,\rho) is twice that"
    ),
    sources=(Citation("ye2024", "as commonly stated"),),
    hypotheses=DUEL_HYPOTHESES,
    margin=_gap_identity,
    instances=instances(draw_duel),
    controls=DUEL_CONTROLS,
    constants={"players": PLAYERS},
    coordinates=DUEL_COORDINATES,
)


def tied_game(temperature: float = 1.0) -> Game:
    """Return two responses that nobody can tell apart, with a uniform reference."""
    half = np.full((1, 2, 2), 0.5)
    return Game(half, np.log(np.full((1, 2), 0.5)), temperature, np.ones(1))


def tied(log_mass: float) -> Candidate:
    """Return the tied game and the policy that leaves a given mass on its second response."""
    game = tied_game()
    policy = np.array([[np.log(-expm1(log_mass)), log_mass]])
    return Candidate(game, game.log_reference, policy)


def _gap_controls_kl(instance: Candidate) -> Margin:
    game, best, policy = instance.game, instance.candidate, instance.policy
    return relative(
        game.temperature * kl(game.weights, policy, best),
        improvement(game, policy),
        error(game, best, policy) + equilibrium_error(game, best),
    )


GAP_CONTROLS_KL = Theorem(
    key="gap-controls-kl",
    statement=r"\tau KL(\pi\|\pi^*) \le gap(\pi) = \max_\rho J(\rho,\pi) - J(\pi,\pi)",
    sources=(Citation("ye2024", "as commonly stated"),),
    hypotheses=CANDIDATE_HYPOTHESES,
    margin=_gap_controls_kl,
    instances=instances(draw_candidate),
    controls=CANDIDATE_CONTROLS,
    sharp=(tied(-1.0), tied(-10.0)),
    coordinates=CANDIDATE_COORDINATES,
)


@dataclass(frozen=True, slots=True, eq=False)
class Claimed:
    """A candidate, and the constant for which the claim is made."""

    constant: float
    case: Candidate


def _of_the_case(hypothesis: Hypothesis[Candidate]) -> Hypothesis[Claimed]:
    return Hypothesis(hypothesis.name, hypothesis.text, lambda x: hypothesis.holds(x.case))


def _reverse_error(instance: Candidate) -> float:
    """Return the error of τ KL(π*‖π) with an approximate π* in its place.

    With d = ‖π̂ − π*‖₁ ≤ √(2 gap/τ) it is at most τ d (max|log π| + max|log π̂|) + gap.
    """
    game, best, policy = instance.game, instance.candidate, instance.policy
    gap = equilibrium_error(game, best)
    logs = float(np.abs(best).max() + np.abs(policy).max())
    return game.temperature * float(np.sqrt(2.0 * gap / game.temperature)) * logs + gap


def _reverse_kl(instance: Claimed) -> Margin:
    case = instance.case
    game, best, policy = case.game, case.candidate, case.policy
    base = error(game, best, policy)
    return relative(
        game.temperature * divergence(game.weights, best, policy),
        instance.constant * improvement(game, policy),
        (1.0 + instance.constant) * base + _reverse_error(case),
    )


def _draw_claimed(draws: Draws) -> Claimed:
    game = draw_game(draws)
    contexts, responses = game.log_reference.shape
    logs = draws.array((contexts, responses), -3.0, 0.0)
    logs[:, draws.whole(responses - 1)] -= 2.0 ** draws.whole(24)
    case = Candidate(game, equilibrium(game), log_normalise(logs))
    return Claimed(draws.logarithmic(1.0, 1e6), case)


LEAST = {1: 3, 2: 39, 3: 214, 5: 4001}
"""By the constant: the least denominator of a policy of the tied game that breaks the claim."""


def breaks(constant: Fraction, mass: Fraction) -> bool:
    r"""Decide in integers whether (1 − q, q) breaks τ KL(π*‖π) ≤ c gap(π) in the tied game.

    Every policy earns the same against every other, so that BR is constantly the reference u,
    π* = u and gap(π) = τ KL(π‖u). KL(u‖π) = −log 2 − ½ log q − ½ log(1 − q) and
    KL(π‖u) = log 2 + q log q + (1 − q) log(1 − q), so the claim fails iff
    (1 + c) log 2 + (½ + cq) log q + (½ + c(1 − q)) log(1 − q) < 0. A multiple of that is the
    logarithm of a product of rationals to integer powers.
    """
    if not 0 < mass < 1:
        return False
    bases = (Fraction(2), mass, 1 - mass)
    powers = (1 + constant, *(Fraction(1, 2) + constant * base for base in bases[1:]))
    whole = lcm(*(power.denominator for power in powers))
    above = below = 1
    for base, power in zip(bases, powers, strict=True):
        exponent = int(power * whole)
        above, below = above * base.numerator**exponent, below * base.denominator**exponent
    return above < below


def breaking_exponent(constant: Fraction) -> int:
    """Return an m for which mass 2⁻ᵐ breaks the claim; the least one if c ≥ 2 is an integer."""
    return ceil(2 * constant + 2)


def halved_breaks(constant: Fraction, exponent: int) -> bool:
    r"""Verify in rational arithmetic that mass q = 2⁻ᵐ breaks the claim in the tied game.

    The sum of `breaks` over −log 2 is (m/2 − 1 − c) + cmq + (½ + c(1 − q)) λ with
    λ = −log(1 − q)/log 2 > q, as log 2 < 1.
    """
    q = Fraction(1, 2**exponent)
    least = Fraction(exponent, 2) - 1 - constant + constant * exponent * q
    return 0 < q < 1 and least + (Fraction(1, 2) + constant * (1 - q)) * q > 0


def _is_certified() -> bool:
    members = all(breaks(Fraction(c), Fraction(1, d)) for c, d in LEAST.items())
    constants = [Fraction(c) for c in ("0", "1", "3/2", "2", "10", "999.5", "1e4")]
    return members and all(halved_breaks(c, breaking_exponent(c)) for c in constants)


GAP_CONTROLS_REVERSE_KL = Theorem(
    key="gap-controls-reverse-kl",
    statement=r"for some c, \tau KL(\pi^*\|\pi) \le c\, gap(\pi) in every game, for all \pi",
    sources=(),
    hypotheses=tuple(_of_the_case(hypothesis) for hypothesis in CANDIDATE_HYPOTHESES),
    margin=_reverse_kl,
    instances=instances(_draw_claimed),
    controls={},
    expected=Expected.REFUTED,
    sharp=(
        *(Claimed(float(c), tied(-log(LEAST[c]))) for c in (1, 2)),
        # At m itself the excess is of the order 2⁻ᵐ, which no floating-point margin can see.
        *(
            Claimed(float(c), tied(-2 * breaking_exponent(Fraction(c)) * log(2)))
            for c in (10, 1000)
        ),
    ),
    counterexample=Counterexample(
        r"two responses that tie, uniform $\mu$, any $\tau$: $\pi = (\tfrac23,\tfrac13)$ breaks the"
        r" claim with $c = 1$, since $3^{12} > 2^{19}$; and for every $c$ the policy"
        r" $(1-2^{-m}, 2^{-m})$ with $m = \lceil 2c+2\rceil$ does",
        _is_certified,
        python="""\
from fractions import Fraction as F

# Two responses that tie: BR = pi* = mu whatever is played, and in units of the temperature
# gap(pi) = KL(pi|mu). With pi = (1 - q, q) the claim KL(mu|pi) <= c KL(pi|mu) fails iff
# (1 + c) log 2 + (1/2 + c q) log q + (1/2 + c (1 - q)) log(1 - q) < 0.
P = ((F(1, 2), F(1, 2)), (F(1, 2), F(1, 2)))
mu = (F(1, 2), F(1, 2))
c, pi = 1, (F(2, 3), F(1, 3))
assert pi[0] ** 7 * pi[1] ** 5 * 2**12 < 1  # six times the sum above: 2**19 < 3**12

# Every constant: at q = 2**-m and over -log 2 the sum is (m/2 - 1 - c) + c m q + (1/2 + c (1 - q))
# times -log(1 - q)/log 2, which is above q.
for c in range(1000):
    m = 2 * c + 2
    q = F(1, 2**m)
    assert F(m, 2) - 1 - c + c * m * q + (F(1, 2) + c * (1 - q)) * q > 0
""",
    ),
)


def ratio_constant(log_ratio: float) -> float:
    r"""Return κ(M) = (M log M − M + 1)/(M − 1 − log M) for M = e^m, m ≥ 0; κ(1) = 1."""
    m = float(log_ratio)
    if m == 0.0:
        return 1.0
    falling = float(exp_remainder(np.array(-m)))  # e^{-m} − 1 + m
    rising = -expm1(-m) - m * np.exp(-m)  # e^{-m} (e^m − 1 − m)
    if m < 1.0:
        rising = float(exp_remainder(np.array(m)) * np.exp(-m))
    return falling / float(rising)


def _reverse_kl_bounded_ratio(instance: Candidate) -> Margin:
    game, best, policy = instance.game, instance.candidate, instance.policy
    constant = ratio_constant(max(0.0, float((best - policy).max())))
    return relative(
        game.temperature * divergence(game.weights, best, policy),
        constant * improvement(game, policy),
        (1.0 + constant) * error(game, best, policy) + _reverse_error(instance),
    )


REVERSE_KL_BOUNDED_RATIO = Theorem(
    key="reverse-kl-bounded-ratio",
    statement=(
        r"\tau KL(\pi^*\|\pi) \le \kappa(M)\, gap(\pi) with M = \max_a \pi^*(a)/\pi(a) and"
        r" \kappa(M) = (M\log M - M + 1)/(M - 1 - \log M), which grows like \log M"
    ),
    sources=(Citation("sason2016", "ratio of relative entropies, as commonly stated"),),
    hypotheses=CANDIDATE_HYPOTHESES,
    margin=_reverse_kl_bounded_ratio,
    instances=instances(lambda draws: draw_candidate(draws, zeros=False)),
    controls=CANDIDATE_CONTROLS,
    sharp=(tied(float(np.log(0.499))),),
    coordinates=CANDIDATE_COORDINATES,
)

ALL = (GAP_IDENTITY, GAP_CONTROLS_KL, GAP_CONTROLS_REVERSE_KL, REVERSE_KL_BOUNDED_RATIO)
