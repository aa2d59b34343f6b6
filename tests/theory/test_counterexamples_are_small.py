"""No smaller counterexample: proofs by interval arithmetic, and enumerations of stated families.

What is claimed to be smallest, and among what, is written beside each counterexample.
"""

from fractions import Fraction as F
from itertools import count as counting
from math import comb, exp, floor, log, sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import iv
from nlhf_theory import averages, gap, impossibility, likelihood_radius, population
from nlhf_theory.impossibility_rewards import BALANCED, STRETCHED, Balanced, is_balanced

NEAREST = F(69, 50)
"""Below 2 log 2, the least n(q − p)² of a violation: nothing nearer has to be looked at."""

CLEAR = 1e-9
"""Far above the rounding of the enumerations that are in floating point."""


@pytest.fixture(autouse=True)
def _fifteen_digits():
    iv.dps = 15


def fractions_to(largest):
    """All fractions between 0 and 1 with denominators up to the largest."""
    return sorted({F(n, d) for d in range(2, largest + 1) for n in range(1, d)})


def simplest_between(low, high):
    """The fraction of least denominator strictly between two numbers."""
    for d in counting(1):
        n = floor(low * d) + 1
        if n < high * d:
            return F(n, d)


def is_covered(box, holds, depth=40):
    """Whether a predicate of boxes holds on a cover of the box, by halving the widest side."""
    todo = [(box, 0)]
    while todo:
        sides, level = todo.pop()
        if holds(*sides):
            continue
        if level == depth:
            return False
        k = max(range(len(sides)), key=lambda i: sides[i][1] - sides[i][0])
        low, high = sides[k]
        middle = (low + high) / 2
        halves = ((low, middle), (middle, high))
        todo.extend(((*sides[:k], half, *sides[k + 1 :]), level + 1) for half in halves)
    return True


# The gap


def test_no_policy_of_a_smaller_denominator_breaks_the_tied_game():
    for constant, least in gap.LEAST.items():
        assert gap.breaks(F(constant), F(1, least))
        for d in {*range(2, min(least, 12)), least - 1}:
            assert not any(gap.breaks(F(constant), F(n, d)) for n in range(1, d // 2 + 1))


@pytest.mark.parametrize("constant", [2, 3, 5, 12, 100])
def test_no_smaller_power_of_two_breaks_the_tied_game(constant):
    iv.dps = 20 + constant
    for m in range(2, gap.breaking_exponent(F(constant))):
        q = iv.mpf(2) ** -m
        excess = -m * iv.log(2) * (1 + 2 * constant * q) / 2
        excess += (1 + constant) * iv.log(2) + (1 + 2 * constant * (1 - q)) * iv.log(1 - q) / 2
        assert excess.a > 0, "the claim holds there"


@given(p=st.floats(0.01, 0.99))
def test_the_even_policy_never_breaks_the_constant_one(p):
    """KL(π*‖π) ≤ KL(π‖π*) for π even: so that the denominator 3 is the least."""
    away = p * log(2 * p) + (1 - p) * log(2 * (1 - p))
    assert away <= -log(2) - log(p * (1 - p)) / 2 + 1e-15


# Likelihood


def conjugate(p, wins, n):
    """Above the q > w/n at which w wins of n are as likely as under p < w/n, from outside."""
    share = iv.mpf(wins) / n
    level = share * iv.log(p) + (1 - share) * iv.log(1 - p) if p > 0 else iv.mpf("-inf")
    low, high = F(wins, n), F(1)
    if wins == n or p == 0:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        q = iv.mpf(middle.numerator) / middle.denominator
        if (share * iv.log(q) + (1 - share) * iv.log(1 - q)).b < level.a:
            high = middle
        else:
            low = middle
    return float(high) * (1 + 1e-15)


def stays_inside(wins, n):
    """The predicate Pr(W ≥ w) e^{n(q − p)²} < 2 on a range of p, with the largest q there is."""

    def holds(side):
        low, high = side
        ends = iv.mpf([high, high])
        tail = sum(comb(n, w) * ends**w * (1 - ends) ** (n - w) for w in range(wins, n + 1))
        apart = iv.mpf(conjugate(low, wins, n)) - iv.mpf(low)
        return (tail * iv.exp(n * apart**2)).b < 2

    return holds


@pytest.mark.slow
@pytest.mark.parametrize("n", [*range(1, 14)])
def test_two_models_of_one_pair_need_fourteen_comparisons(n):
    """Every p* and every p; p > p* without loss, by exchanging what is called a win."""
    for wins in range(1, n + 1):
        assert is_covered(((0.0, wins / n),), stays_inside(wins, n)), wins


def test_the_cover_is_refused_at_fourteen_comparisons():
    assert not stays_inside(7, 14)((1 / 6, 1 / 6))
    assert stays_inside(7, 13)((1 / 6, 1 / 6))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "tied"), [("SMALLEST", True), ("UNTIED", False)])
def test_no_models_of_smaller_denominators_do_it_with_fourteen_comparisons(case, tied):
    case = getattr(likelihood_radius, case)
    largest = max(case.truth.denominator, case.rival.denominator)
    assert likelihood_radius.is_tied(case) == tied
    found = []
    for p in fractions_to(largest):
        for q in (q for q in fractions_to(largest) if p < q and 14 * (q - p) ** 2 > NEAREST):
            duel = likelihood_radius.Duel(p, q, 14, F(1, 2))
            if likelihood_radius.is_tied(duel) == tied:
                chance = likelihood_radius.chance_of_rival(duel)
                room = float(chance) * exp(14 * float(q - p) ** 2) / 2
                assert abs(room - 1) > CLEAR
                if room > 1:
                    found.append((p, q, 2 * exp(-14 * float(q - p) ** 2), float(chance)))
    assert [row[:2] for row in found] == [(case.truth, case.rival)]
    assert simplest_between(*found[0][2:]) == case.delta


def test_a_violation_needs_a_distance_that_the_enumeration_looks_at():
    """Pr(rival) e^{nd²} > 2 with Pr ≤ e^{−nd²/2}, by the affinity, needs nd² > 2 log 2."""
    assert 2 * log(2) > NEAREST
    for p in np.linspace(0.02, 0.98, 25):
        for q in np.linspace(0.02, 0.98, 25):
            affinity = sqrt(p * q) + sqrt((1 - p) * (1 - q))
            assert -log(affinity) >= (p - q) ** 2 / 2 - 1e-15


def exceeds(k, coldness):
    case = population.Excluded(likelihood_radius.UNTIED, F(1, k), coldness)
    margin = population.PELHF_AS_TRANSCRIBED.margin(case)
    return margin.violated


@pytest.mark.slow
def test_no_larger_advantage_excludes_the_truth_and_breaks_the_bound():
    assert exceeds(34, 14)
    assert not any(exceeds(k, x) for k in range(2, 34) for x in range(1, 41))
    assert population.excludes(population.WITNESS)
    for x in range(1, 14):
        case = population.Excluded(likelihood_radius.UNTIED, F(1, 34), x)
        assert not population.excludes(case)


@given(d=st.floats(0, 1), s=st.floats(0.01, 1), n=st.integers(1, 400), delta=st.floats(1e-6, 1))
def test_two_responses_never_lose_that_much_so_often(d, s, n, delta):
    assume(n * s * d * d > 8 * log(2 / delta))
    assert n * np.log1p(-s * d * d / 2) < 4 * log(delta / 2) + 1e-9


# Averages


def keeps_the_bound(iterates):
    """The predicate S ≤ 4√D on ranges of the winner's share q and its advantage a."""

    def holds(share, advantage):
        (q0, q1), (a0, a1) = share, advantage
        ratio = iv.mpf(q0) / (1 - iv.mpf(q0))
        total = sum(
            2 * iv.mpf(a1) / (1 + ratio * iv.exp(iv.mpf(a0) * t / 2))
            for t in range(1, iterates + 1)
        )
        # D = log 1/min(q, 1 − q) ≥ log 2; it falls in q below 1/2.
        distance = iv.log(1 / iv.mpf(q1)) if q1 <= 0.5 else iv.log(iv.mpf(2))
        return total.b**2 < (16 * distance).a

    return holds


@pytest.mark.parametrize("iterates", range(1, 9))
def test_two_responses_need_nine_iterates(iterates):
    """For q ≤ e^{−T²/16} the sum of T terms of at most 1 is no larger than 4√D."""
    least = exp(-(iterates**2) / 16) * 0.999
    assert is_covered(((least, 0.999999), (0.0, 0.5)), keeps_the_bound(iterates), depth=30)
    # And the rest: S ≤ 2aT(1 − q)/q.
    assert iterates * 1e-6 / 0.999999 < 4 * sqrt(log(2))


def test_no_start_of_a_smaller_denominator_needs_nine_iterates_only():
    share, iterates = averages.SMALLEST
    assert iterates == 9
    for q in fractions_to(share.denominator - 1):
        point = float(q)
        assert keeps_the_bound(9)((point, point), (0.5, 0.5)), q
    point = float(share)
    assert not keeps_the_bound(9)((point, point), (0.5, 0.5))


# One reward for everybody


def claimed_over_gap(own, other, share, beta):
    p, q, m = float(share * own + (1 - share) * other), float(own), 1 / float(beta)
    p, q = p**m / (p**m + (1 - p) ** m), q**m / (q**m + (1 - q) ** m)
    gap = (p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))) / m
    return m**2 * min(p, 1 - p, q, 1 - q) * float(abs(own - other) * (1 - share)) / (16 * gap)


def duos(largest):
    """Everything whose four denominators add up to the largest at most, with β ≤ 3."""
    chances = fractions_to(largest - 5)
    betas = [F(n, d) for d in range(1, largest - 5) for n in range(1, 3 * d + 1)]
    betas = list(dict.fromkeys(betas))
    for own in chances:
        for other in (other for other in chances if other != own):
            for share in chances:
                used = own.denominator + other.denominator + share.denominator
                if used < largest:
                    yield from (
                        (own, other, share, beta, used + beta.denominator)
                        for beta in betas
                        if used + beta.denominator <= largest
                    )


@pytest.mark.slow
def test_no_smaller_case_breaks_the_transcribed_bound():
    case, even, third = impossibility.SMALLEST, impossibility.EVEN, impossibility.MINORITY
    sums = [
        sum(x.denominator for x in (c.own, c.other, c.share)) + c.inverse_beta
        for c in (case, even, third)
    ]
    assert sums == [13, 14, 17]
    for own, other, share, beta, size in duos(16):
        smallest = size < 13 or (share <= F(1, 2) and size < 14) or share < F(1, 2)
        if smallest:
            assert claimed_over_gap(own, other, share, beta) < 1 - CLEAR, (own, other, share, beta)
    for c, largest in ((case, 4), (even, 7), (third, 7)):
        assert claimed_over_gap(c.own, c.other, c.share, F(1, c.inverse_beta)) > 1 + CLEAR
        assert max(c.own.denominator, c.other.denominator, c.share.denominator) <= largest


def test_no_case_of_smaller_denominators_breaks_the_transcribed_bound():
    chances, betas = fractions_to(3), [F(n, d) for d in (1, 2, 3) for n in range(1, 3 * d + 1)]
    for own in chances:
        for other in (other for other in chances if other != own):
            for share in chances:
                for beta in betas:
                    assert claimed_over_gap(own, other, share, beta) < 1 - CLEAR


def logistic(x):
    return 0.5 * (1.0 + np.tanh(np.asarray(x) / 2.0))


def test_three_responses_and_three_groups_never_have_the_reward_of_the_most_distant():
    """Stationarity makes ρ(p_u − q) the same along the cycle; then ε is negative."""
    generator = np.random.default_rng(3)
    cycle = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    k, j = logistic(generator.normal(scale=2.0, size=(2, 200_000, 2)) @ cycle.T)
    theta = generator.random((len(k), 1))
    rest = (1.0 - theta) * k + theta * j
    near = np.log(rest / (1.0 - rest))[:, :2] + generator.normal(scale=0.3, size=(len(k), 2))
    u = logistic(near @ cycle.T)
    apart = u - rest
    kept = (np.abs(apart).min(axis=1) > 1e-4) & (np.abs(np.sign(apart).sum(axis=1)) == 3)
    assert kept.sum() > 2_000
    u, k, j, law = u[kept], k[kept], j[kept], 1.0 / np.abs(apart[kept])
    assert np.all((law * (np.abs(u - j) - np.abs(k - j))).sum(axis=1) < 0.0)


@settings(max_examples=200)
@given(
    phi=st.lists(st.floats(-3, 3), min_size=3, max_size=5),
    z=st.lists(st.floats(0.01, 4), min_size=1, max_size=4),
    seed=st.integers(0, 2**20),
)
def test_with_one_feature_the_published_constant_survives_any_number_of_groups(phi, z, seed):
    generator = np.random.default_rng(seed)
    phi, z = np.array(phi), np.array(z)
    law, shares = generator.dirichlet(np.ones(len(z))), generator.dirichlet(np.ones(len(phi)))
    chance = logistic(phi[:, None] * z)
    low, high = phi.min(), phi.max()
    for _ in range(60):
        middle = 0.5 * (low + high)
        score = law @ (z * (logistic(z * middle) - shares @ chance))
        low, high = (low, middle) if score > 0 else (middle, high)
    apart = np.abs(chance[:, None] - chance) @ law
    one, two = np.unravel_index(apart.argmax(), apart.shape)
    for u, j in ((one, two), (two, one)):
        epsilon = apart[u, j] - np.delete(apart[:, j], u).max()
        y = max(0.0, (1.0 - shares[u]) * epsilon)
        assert abs(low - phi[u]) >= np.log1p(y) / z.max() - 1e-9  # D = max z/2


def height(x):
    return x.numerator + x.denominator


def fractions_of(largest):
    """All positive fractions with numerator plus denominator up to the largest, and the sums."""
    found = {F(n, d) for d in range(1, largest) for n in range(1, largest - d + 1)}
    return sorted(found, key=height)


def balanced_margins(n, base, tilt, own, own_tilt):
    """TV(u, j) − max(TV(k, j), TV(u, k)) under the law that balances, θ = 1/2; −1 without one."""

    def chance(odds):
        return odds / (1.0 + odds)

    u = (chance(own * own_tilt), chance(own), chance(own_tilt**n))
    k = (chance(base), chance(base), 0.5)
    j = (chance(base * tilt), chance(base), chance(tilt**n))
    with np.errstate(all="ignore"):
        pulls = [a - 0.5 * b - 0.5 * c for a, b, c in zip(u, k, j, strict=True)]
        raw = np.stack([1 / pulls[0], -1 / pulls[1], -1 / (n * pulls[2])])
        law = raw / raw.sum(axis=0)

        def distance(p, q):
            return sum(w * np.abs(a - b) for w, a, b in zip(law, p, q, strict=True))

        far, near = distance(u, j), np.maximum(distance(k, j), distance(u, k))
        is_law = np.isfinite(law).all(axis=0) & (law > 0).all(axis=0)
        return np.where(is_law, far - near, -1.0)


@pytest.mark.slow
def test_no_simpler_numbers_balance_three_groups():
    """z = (1,1), (1,0), (0,N); k = (a, 1), j = (a, 1/B), even shares; any u: heights below 37."""

    def total(case):
        odds = (case.base, case.own_base, case.own_tilt, case.other_tilt, case.balance)
        return case.reach + sum(height(x) for x in odds)

    assert total(BALANCED) == 37
    found = []
    for n in range(1, 37):
        for base in range(1, 37 - n):
            for tilt in range(2, 37 - n - base):
                left = 37 - n - (base + 1) - (tilt + 1) - 3
                if left < 4:  # the heights of two positive fractions
                    continue
                pool = fractions_of(left - 2)
                sums = np.array([height(x) for x in pool])
                values = np.array([float(x) for x in pool])
                row, column = np.nonzero(sums[:, None] + sums <= left)
                margins = balanced_margins(n, base, 1 / tilt, values[row], values[column])
                found += [
                    Balanced(n, F(base), pool[row[i]], pool[column[i]], F(1, tilt), F(1, 2))
                    for i in np.flatnonzero(margins > -1e-9)
                ]
    exact = [case for case in found if min(case.law()) > 0 and is_balanced(case)]
    assert exact == [BALANCED]


def sharp_scores(n, often, own, other, share):
    """The score at the largest φ that the sharp bound excludes; positive iff it is violated."""
    a, b = np.log(own), np.log(other)
    pairs = ((n, often), (1, 1 - often))
    epsilon = sum(w * (logistic(z * b) - logistic(z * a)) for z, w in pairs)
    at = a + 4 / n * (1 - share) * epsilon
    return sum(
        w * z * (logistic(z * at) - share * logistic(z * a) - (1 - share) * logistic(z * b))
        for z, w in pairs
    )


@pytest.mark.slow
def test_no_simpler_numbers_break_the_sharp_constant():
    """e^φ_u ≥ 1 of height up to 60, e^φ_j an integer of 8 to 60, η_u ≥ 3/4 and N of 18 to 45."""
    shares = [x for x in fractions_to(18) if x >= F(3, 4)]
    owns = [x for x in fractions_of(60) if 1 <= x <= F(6, 5)]
    others = np.arange(8, 61)
    grid = [np.array([float(x) for x in values]) for values in (owns, others, shares)]
    a, b, s = np.meshgrid(*grid, indexing="ij")
    heights = [np.array([height(x) for x in values]) for values in (owns, shares)]
    sums = heights[0][:, None, None] + (others + 1)[:, None] + heights[1]

    case = STRETCHED
    odds = (case.often, case.own, case.other, case.share)
    assert case.reach + sum(height(x) for x in odds) == 134
    found = 0
    for n in range(18, 46):
        for often in fractions_to(6):
            chosen = sums <= 134 - n - height(often)
            scores = sharp_scores(n, float(often), a[chosen], b[chosen], s[chosen])
            size = sums[chosen] + n + height(often)
            assert scores[size < 134].max(initial=-1.0) < -CLEAR
            found += int((scores > CLEAR).sum())
    assert found > 1, "several of the same sum; this is one of them"
    assert sharp_scores(case.reach, *(float(x) for x in odds)) > CLEAR
