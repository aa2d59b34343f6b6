import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mpmath import mp, mpf

from nlhf.errors import InvalidProblem
from nlhf.numerics import expectation, kl_divergence
from nlhf.spaces.ambiguity import (
    Ambiguity,
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)
from nlhf.spaces.policy import Policy

BALLS = (KLBall, ChiSquareBall, TotalVariationBall)
KINDS = (*BALLS, ConditionalValueAtRisk, WholeSimplex)
ROUNDING = 1e-14  # of weights: a few roundings of 1
few = settings(max_examples=20)


def the_set(kind, eta, size):
    """Sizes between 0, the proportions, and 1, where most balls are nearly the whole simplex."""
    if kind is WholeSimplex:
        return WholeSimplex(eta)
    if kind is ConditionalValueAtRisk:
        return ConditionalValueAtRisk(eta, 1.0 - 0.99 * size)
    return kind(eta, size if kind is not ChiSquareBall else 2 * size)


def kl(p, q):
    return float(kl_divergence(p.log_probabilities, q.log_probabilities))


@st.composite
def cases(draw, scale=3.0):
    """An ambiguity set, and two vectors with an entry per group, ties included."""
    groups = draw(st.integers(1, 7))
    raw = draw(arrays(np.float64, groups, elements=st.floats(0.01, 1.0)))
    ambiguity = the_set(draw(st.sampled_from(KINDS)), raw / raw.sum(), draw(st.floats(1e-6, 1.0)))
    entries = st.one_of(st.floats(-scale, scale), st.sampled_from([-scale, 0.0, scale / 2]))
    vectors = arrays(np.float64, groups, elements=entries)
    return ambiguity, draw(vectors), draw(vectors)


def breaks(ambiguity):
    """Rounding of the constraint: of weights, times its steepest slope."""
    steepest = 1.0 / float(ambiguity.proportions.min())
    return 10 * ROUNDING * (steepest if isinstance(ambiguity, ChiSquareBall) else 10.0)


@given(cases())
def test_projections_and_maximisers_lie_in_the_set(case):
    ambiguity, tilt, payoff = case
    for policy in (ambiguity.project(tilt), ambiguity.largest(payoff), ambiguity.centre):
        assert policy.probabilities.sum() == pytest.approx(1.0, abs=ROUNDING)
        assert ambiguity.excess(policy) <= breaks(ambiguity)


@given(cases())
def test_what_lies_in_the_set_is_its_own_projection(case):
    ambiguity, tilt, _ = case
    inside = ambiguity.project(tilt)
    again = ambiguity.project(inside.log_probabilities)
    # Near the centre, the constraint is flat: its rounding moves weights by the square root.
    np.testing.assert_allclose(again.probabilities, inside.probabilities, rtol=0, atol=1e-12)


@given(cases())
def test_no_direction_into_the_set_lowers_the_divergence_of_the_projection(case):
    """The variational inequality, sufficient by convexity: w maximises ⟨log q − log w, ·⟩."""
    ambiguity, tilt, _ = case
    w = ambiguity.project(tilt)
    descent = tilt - w.log_probabilities
    descent -= descent.mean()
    gain = ambiguity.support(descent) - float(expectation(w.log_probabilities, descent))
    assert abs(gain) <= 1e-12 * (1.0 + np.ptp(descent)) / float(ambiguity.proportions.min())


@given(cases())
def test_the_three_point_inequality_holds_for_every_point_of_the_set(case):
    ambiguity, tilt, other = case
    q, p = Policy.proportional(tilt), ambiguity.project(tilt)
    for z in (ambiguity.project(other), ambiguity.largest(other), ambiguity.centre):
        assert kl(z, q) >= (kl(z, p) + kl(p, q)) * (1 - 1e-12) - 1e-12


@given(cases())
def test_the_largest_mean_is_the_limit_of_ever_stronger_tilts(case):
    ambiguity, _, payoff = case
    payoff = np.round(payoff, 3)  # the limit is reached at a rate set by the smallest difference
    far = ambiguity.project(ambiguity.centre.log_probabilities + 1e9 * payoff)
    largest = ambiguity.largest(payoff)
    np.testing.assert_allclose(far.probabilities, largest.probabilities, rtol=0, atol=1e-4)
    assert float(far.probabilities @ payoff) <= ambiguity.support(payoff) + 1e-12


@given(cases())
def test_equal_payoffs_change_nothing_and_equal_groups_are_treated_alike(case):
    ambiguity, tilt, payoff = case
    eta = ambiguity.proportions
    np.testing.assert_array_equal(ambiguity.largest(np.full(eta.shape, 7.0)).probabilities, eta)
    relative = tilt - ambiguity.centre.log_probabilities
    for vector, w in (
        (relative, ambiguity.project(tilt).probabilities / eta),
        (payoff, ambiguity.largest(payoff).probabilities / eta),
    ):
        order = np.argsort(vector)
        steps = np.diff(w[order])
        assert np.all(steps >= -1e-11 / eta.min())
        assert np.all(np.abs(steps[np.diff(vector[order]) == 0.0]) <= 1e-11 / eta.min())


@given(cases(), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_shifts_of_tilts_and_positive_scalings_of_payoffs_change_nothing(case, shift, factor):
    ambiguity, tilt, payoff = case
    error = 1e-9 / float(ambiguity.proportions.min())
    np.testing.assert_allclose(
        ambiguity.project(tilt + shift).probabilities,
        ambiguity.project(tilt).probabilities,
        rtol=0,
        atol=error,
    )
    support = ambiguity.support(payoff)
    assert ambiguity.support(factor * payoff) == pytest.approx(factor * support, rel=1e-9, abs=1e-9)


def constraints(ambiguity, w):
    eta = ambiguity.proportions
    simplex = [cp.sum(w) == 1, w >= 0]
    match ambiguity:
        case KLBall():
            return [*simplex, cp.sum(cp.kl_div(w, eta)) <= ambiguity.radius]
        case ChiSquareBall():
            return [*simplex, cp.sum_squares((w - eta) / np.sqrt(eta)) <= ambiguity.radius]
        case TotalVariationBall():
            return [*simplex, cp.norm1(w - eta) <= 2 * ambiguity.radius]
        case ConditionalValueAtRisk():
            return [*simplex, w <= eta / ambiguity.level]
    return simplex


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("size", [0.01, 0.2, 0.6])
def test_both_agree_with_a_convex_program(kind, groups, size):
    rng = np.random.default_rng([groups, int(100 * size)])
    eta = rng.dirichlet(np.full(groups, 2.0))
    ambiguity = the_set(kind, eta, size)
    tilt, payoff = rng.normal(scale=2.0, size=groups), rng.normal(size=groups)
    q = Policy.proportional(tilt)
    w = cp.Variable(groups)
    program = cp.Problem(
        cp.Minimize(cp.sum(cp.kl_div(w, q.probabilities))), constraints(ambiguity, w)
    )
    least = program.solve(solver=cp.CLARABEL)
    ours = ambiguity.project(tilt)
    assert kl(ours, q) == pytest.approx(least, abs=1e-6)
    np.testing.assert_allclose(ours.probabilities, w.value, rtol=0, atol=2e-4)
    most = cp.Problem(cp.Maximize(payoff @ w), constraints(ambiguity, w)).solve(solver=cp.CLARABEL)
    assert ambiguity.support(payoff) == pytest.approx(most, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_a_fine_grid_of_two_groups_is_better(kind):
    first = np.linspace(0.0, 1.0, 200_001)
    grid = np.stack([first, 1.0 - first], axis=1)
    for size in (0.003, 0.1, 0.4):
        ambiguity = the_set(kind, [0.3, 0.7], size)
        inside = np.array([ambiguity.excess(Policy.of(row)) <= 0.0 for row in grid[::500]])
        points = grid[::500][inside]
        with np.errstate(divide="ignore", invalid="ignore"):
            q = Policy.proportional(np.array([2.0, 0.0])).probabilities
            costs = np.where(points > 0, points * np.log(points / q), 0.0).sum(axis=1)
        ours = ambiguity.project(np.array([2.0, 0.0]))
        assert kl(ours, Policy.of(q)) <= costs.min() + 1e-12
        assert kl(ours, Policy.of(q)) >= costs.min() - 0.02  # the grid's step times a slope
        assert ambiguity.support(np.array([1.0, 0.0])) >= points[:, 0].max() - 1e-12


@few
@given(cases())
def test_the_smallest_sets_are_the_proportions_and_the_largest_the_whole_simplex(case):
    ambiguity, tilt, payoff = case
    eta = ambiguity.centre
    smallest = [ball(eta, 0.0) for ball in BALLS] + [ConditionalValueAtRisk(eta, 1.0)]
    for one in smallest:
        for found in (one.project(tilt), one.largest(payoff)):
            np.testing.assert_allclose(found.probabilities, eta.probabilities, rtol=1e-12)
    least = float(eta.probabilities.min())
    whole = [ball(eta, 1.0 / least) for ball in BALLS] + [ConditionalValueAtRisk(eta, least / 2)]
    simplex = WholeSimplex(eta)
    for one in whole:
        np.testing.assert_array_equal(
            one.project(tilt).probabilities, Policy.proportional(tilt).probabilities
        )
        np.testing.assert_allclose(
            one.largest(payoff).probabilities, simplex.largest(payoff).probabilities, atol=ROUNDING
        )


@few
@given(cases(), st.sampled_from([1e-300, 1e-30, 1e-9]))
def test_tiny_balls_stay_at_the_proportions(case, radius):
    ambiguity, tilt, payoff = case
    eta = ambiguity.centre
    for ball in BALLS:
        for found in (ball(eta, radius).project(tilt), ball(eta, radius).largest(payoff)):
            distance = np.abs(found.probabilities - eta.probabilities).sum()
            assert distance <= 2.0 * np.sqrt(2.0 * radius) + ROUNDING  # Pinsker, the widest of them


@few
@given(cases(scale=1.0), st.sampled_from([1e-300, 1e-12, 1e6, 1e15, 1e100, 1e300]))
def test_extreme_tilts_and_payoffs_keep_inside_and_optimal(case, size):
    ambiguity, tilt, payoff = case
    w, best = ambiguity.project(size * tilt), ambiguity.largest(size * payoff)
    for policy in (w, best):
        assert np.isfinite(policy.probabilities).all()
        assert ambiguity.excess(policy) <= breaks(ambiguity)
    limit = (
        ambiguity.support(tilt)
        if size >= 1e6
        else float(ambiguity.project(0 * tilt).probabilities @ tilt)
    )
    slack = 1e-4 if size >= 1e6 else 1e-11
    assert float(w.probabilities @ tilt) == pytest.approx(limit, abs=slack)
    assert float(best.probabilities @ payoff) == pytest.approx(ambiguity.support(payoff), abs=1e-11)


def test_strong_tilts_are_exact_where_arithmetic_by_hand_is_possible():
    """Two groups far below a capped one share what it leaves, in proportion to their tilts."""
    tilt = np.array([0.0, 1.0, 1e6])
    rest = np.exp(tilt[:2]) / np.exp(tilt[:2]).sum()
    eta = np.array([0.4, 0.4, 0.2])
    cvar = ConditionalValueAtRisk(eta, 0.5).project(tilt).probabilities
    np.testing.assert_allclose(cvar, [*(0.6 * rest), 0.4], rtol=1e-14)
    moved = TotalVariationBall(eta, 0.3).project(tilt).probabilities
    np.testing.assert_allclose(moved, [*(0.5 * rest), 0.5], rtol=1e-14)


@few
@given(cases(), st.integers(0, 6))
def test_a_tilt_of_minus_infinity_is_the_limit_of_ever_smaller_ones(case, group):
    ambiguity, tilt, _ = case
    gone = np.arange(tilt.size) == group
    if gone.all():
        return
    limit = ambiguity.project(np.where(gone, -np.inf, tilt)).probabilities
    near = ambiguity.project(np.where(gone, -1e7, tilt)).probabilities
    np.testing.assert_allclose(near, limit, rtol=0, atol=1e-5)
    if ambiguity.excess(Policy.proportional(np.where(gone, -np.inf, tilt))) == 0.0:
        assert limit[gone].sum() == 0.0


def bisected(weights, divergence, radius, low, high):
    """The weights at which a divergence, monotone in the parameter, is the radius; 60 digits."""
    with mp.workdps(60):
        falling = divergence(weights(low)) > divergence(weights(high))
        for _ in range(220):
            middle = (low + high) / 2
            outside = divergence(weights(middle)) > radius
            low, high = (middle, high) if outside == falling else (low, middle)
        return np.array([float(w) for w in weights(low)])


def tempered(eta, tilt):
    def weights(s):
        terms = [e * mp.exp(s * (t - mp.log(e))) for e, t in zip(eta, tilt, strict=True)]
        return [term / mp.fsum(terms) for term in terms]

    return weights


def flattened(eta, tilt):
    def weights(theta):
        points = [t - mp.log(e) + theta for e, t in zip(eta, tilt, strict=True)]
        terms = [e * mp.lambertw(mp.exp(x)).real for e, x in zip(eta, points, strict=True)]
        return [term / mp.fsum(terms) for term in terms]

    return weights


@pytest.mark.parametrize("tilt", [[0.0, 1.0, 2.0], [0.0, 3.0, 40.0], [0.0, 1e3, 1e6]])
@pytest.mark.parametrize("radius", [1e-4, 0.1, 0.6])
def test_smooth_balls_agree_with_sixty_digit_arithmetic(tilt, radius):
    eta = np.array([0.25, 0.5, 0.25])
    with mp.workdps(60):
        exact, size = [mpf(float(e)) for e in eta], mpf(radius)
        logs = [mpf(t) for t in tilt]

        def kl(w):
            return mp.fsum(p * mp.log(p / e) for p, e in zip(w, exact, strict=True))

        def chi_square(w):
            return mp.fsum((p - e) ** 2 / e for p, e in zip(w, exact, strict=True))

        known = [
            (KLBall, bisected(tempered(exact, logs), kl, size, mpf(0), mpf(1))),
            (
                ChiSquareBall,
                bisected(
                    flattened(exact, logs), chi_square, size, -2 * logs[-1] - 99, mpf(10) ** 9
                ),
            ),
        ]
    for kind, expected in known:
        ambiguity = kind(eta, radius)
        if ambiguity.excess(Policy.proportional(np.array(tilt))) > 0.0:
            found = ambiguity.project(np.array(tilt)).probabilities
            np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_conditional_value_at_risk_is_the_mean_over_the_worst_share_of_people():
    people = np.array([5.0, 1.0, 3.0, 2.0])
    worst = ConditionalValueAtRisk(np.full(4, 0.25), 0.5)
    assert -worst.support(-people) == pytest.approx(1.5, abs=1e-15)
    assert -ConditionalValueAtRisk(np.full(4, 0.25), 0.375).support(-people) == pytest.approx(4 / 3)


def test_ties_go_to_the_groups_in_proportion():
    eta, payoff = np.array([0.1, 0.3, 0.6]), np.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(WholeSimplex(eta).largest(payoff).probabilities, [0.25, 0.75, 0.0])
    for ambiguity in (KLBall(eta, 0.1), ChiSquareBall(eta, 0.1), TotalVariationBall(eta, 0.1)):
        w = ambiguity.largest(payoff).probabilities
        assert w[1] / w[0] == pytest.approx(3.0, rel=1e-13)
        assert w[0] > eta[0]


@pytest.mark.parametrize("kind", KINDS)
def test_sets_have_the_protocol_and_print_themselves(kind):
    ambiguity = the_set(kind, [0.2, 0.8], 0.1)
    assert isinstance(ambiguity, Ambiguity)
    assert repr(ambiguity).startswith(f"{kind.__name__}(2 groups")
    assert the_set(kind, Policy.of([0.2, 0.8]), 0.1).excess(Policy.of([0.2, 0.8])) == 0.0


@pytest.mark.parametrize("kind", [*BALLS, ConditionalValueAtRisk])
def test_the_excess_says_how_far_outside_a_certain_group_is(kind):
    ambiguity = the_set(kind, [0.2, 0.8], 0.1)
    first = Policy.of([1.0, 0.0])
    expected = {
        KLBall: np.log(5.0) - 0.1,
        ChiSquareBall: 4.0 - 0.2,
        TotalVariationBall: 0.8 - 0.1,
        ConditionalValueAtRisk: 1.0 - 0.2 / 0.901,
    }
    assert ambiguity.excess(first) == pytest.approx(expected[kind], rel=1e-12)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: WholeSimplex([0.5, 0.4]), "sums to 1"),
        (lambda: WholeSimplex([0.5, 0.0, 0.5]), "group 1 is 0"),
        (lambda: WholeSimplex([[0.5, 0.5]]), r"shape \(1, 2\)"),
        (lambda: KLBall([0.5, 0.5], -1.0), "-1.0"),
        (lambda: ChiSquareBall([0.5, 0.5], np.inf), "inf"),
        (lambda: TotalVariationBall([0.5, 0.5], float("nan")), "nan"),
        (lambda: ConditionalValueAtRisk([0.5, 0.5], 0.0), "level is 0.0"),
        (lambda: ConditionalValueAtRisk([0.5, 0.5], 1.5), "1.5"),
        (lambda: KLBall([0.5, 0.5], 1.0).project(np.zeros(3)), r"\(3,\)"),
        (lambda: KLBall([0.5, 0.5], 1.0).project(np.array([0.0, np.inf])), "group 1 is inf"),
        (lambda: WholeSimplex([0.5, 0.5]).project(np.full(2, -np.inf)), "group 0 is -inf"),
        (lambda: WholeSimplex([0.5, 0.5]).largest(np.array([np.nan, 0.0])), "group 0 is nan"),
    ],
)
def test_bad_arguments_are_refused_with_their_numbers(make, named):
    with pytest.raises(InvalidProblem, match=named):
        make()
