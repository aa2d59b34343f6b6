"""The group-robust baseline against cvxpy, brute force, closed forms and its own guarantee."""

import math

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlhf
from nlhf.data import Votes
from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.estimation.group_robust import fit_group_robust, pair_differences
from nlhf.estimation.pair_losses import (
    PairLosses,
    PreferenceLoss,
    least_over_ball,
    weighted_minimiser,
)
from tests.unchecked import raised

DPO, IPO = PreferenceLoss.DPO, PreferenceLoss.IPO
LOSSES = pytest.mark.parametrize("loss", [DPO, IPO])


def drawn(seed, sizes=(30, 12, 20), features=3, spread=1.0):
    """Differences whose winner each group chooses by parameters of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for size in sizes:
        y = rng.normal(size=(size, features))
        wins = rng.random(size) < 1 / (1 + np.exp(-spread * y @ rng.normal(size=features)))
        found.append(np.where(wins[:, None], y, -y))
    return tuple(found)


def group_losses(differences, theta, loss, beta):
    """L_g, comparison by comparison."""
    found = []
    for one in differences:
        each = [float(row @ theta) for row in one]
        if loss is DPO:
            found.append(sum(math.log1p(math.exp(-beta * h)) for h in each) / len(each))
        else:
            found.append(sum((h - 1 / (2 * beta)) ** 2 for h in each) / len(each))
    return np.array(found)


def conic(differences, loss, beta, radius, chi, extra):
    """The saddle value by a conic program."""
    theta = cvxpy.Variable(differences[0].shape[1])
    each = []
    for one, more in zip(differences, extra, strict=True):
        h = one @ theta
        total = (
            cvxpy.sum(cvxpy.logistic(-beta * h))
            if loss is DPO
            else cvxpy.sum_squares(h - 1 / (2 * beta))
        )
        each.append(total / len(one) + more)
    objective = (1 - chi) * sum(each) / len(each) + chi * cvxpy.maximum(*each)
    problem = cvxpy.Problem(cvxpy.Minimize(objective), [cvxpy.norm(theta) <= radius])
    return float(problem.solve(solver=cvxpy.CLARABEL))


@LOSSES
@pytest.mark.parametrize(("chi", "adjustment"), [(1.0, 0.0), (0.5, 0.3), (0.0, 0.0)])
@pytest.mark.parametrize("radius", [0.7, 5.0])
def test_the_certificate_brackets_the_conic_optimum(loss, chi, adjustment, radius):
    data = drawn(3)
    beta = 0.8
    fit = fit_group_robust(
        data, beta, loss=loss, radius=radius, trade_off=chi, adjustment=adjustment, iterations=800
    )
    extra = [adjustment / math.sqrt(len(one)) for one in data]
    best = conic(data, loss, beta, radius, chi, extra)
    assert fit.objective - fit.gap.value <= best + 1e-7
    assert best <= fit.objective + 1e-7
    assert fit.gap.value <= fit.guarantee
    assert np.linalg.norm(fit.parameters) <= radius * (1 + 1e-12)


@LOSSES
def test_the_gap_is_within_a_guarantee_that_falls_with_the_root_of_the_iterations(loss):
    short, long = (
        fit_group_robust(drawn(5), 1.0, loss=loss, radius=2.0, iterations=n) for n in (100, 1600)
    )
    assert short.guarantee == pytest.approx(4 * long.guarantee, rel=1e-12)
    assert short.gap.value <= short.guarantee
    assert long.gap.value <= long.guarantee


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from([DPO, IPO]), st.floats(0.1, 3.0))
def test_the_lower_bound_is_below_every_policy_in_the_ball_and_attained(seed, loss, radius):
    data = drawn(seed, sizes=(6, 9), features=2)
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(2))
    losses = PairLosses(data, loss, 0.9)
    least = least_over_ball(losses, weights, radius)
    theta = rng.normal(size=(200, 2))
    theta *= radius * np.sqrt(rng.random((200, 1))) / np.linalg.norm(theta, axis=1, keepdims=True)
    values = [weights @ group_losses(data, one, loss, 0.9) for one in theta]
    assert least <= min(values) + 1e-9
    z = cvxpy.Variable(2)
    h = [one @ z for one in data]
    terms = [
        w
        / len(one)
        * (cvxpy.sum(cvxpy.logistic(-0.9 * of)) if loss is DPO else cvxpy.sum_squares(of - 1 / 1.8))
        for w, one, of in zip(weights, data, h, strict=True)
    ]
    problem = cvxpy.Problem(cvxpy.Minimize(sum(terms)), [cvxpy.norm(z) <= radius])
    assert least == pytest.approx(float(problem.solve(solver=cvxpy.CLARABEL)), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_newton_step_is_as_good_as_the_full_and_the_shortened_one(seed, monkeypatch):
    monkeypatch.setattr("nlhf.estimation.pair_losses._MOST_NEWTON", 1)
    data, beta, ridge = drawn(seed, spread=4.0), 3.0, 0.02
    rng = np.random.default_rng(seed)
    weights, start = rng.dirichlet(np.ones(3)), rng.normal(size=3)
    y, w = np.concatenate(data), np.repeat(weights / [30, 12, 20], [30, 12, 20])

    def value(theta):
        return weights @ group_losses(data, theta, DPO, beta) + ridge / 2 * theta @ theta

    lost = 1 / (1 + np.exp(beta * y @ start))
    gradient = ridge * start - beta * y.T @ (w * lost)
    hessian = ridge * np.eye(3) + beta**2 * y.T @ ((w * lost * (1 - lost))[:, None] * y)
    step = -np.linalg.solve(hessian, gradient)
    change = beta * abs(y @ step).max()
    assert change > 1
    best = min(value(start + step), value(start + math.log1p(change) / change * step))
    found = weighted_minimiser(PairLosses(data, DPO, beta), weights, ridge, start)
    assert value(found) == pytest.approx(best, rel=1e-9)


@LOSSES
@pytest.mark.parametrize("radius", [0.2, 3.0])
def test_losses_and_gradients_in_the_ball_stay_within_their_bounds_which_are_attained(loss, radius):
    rng, beta = np.random.default_rng(2), 0.7
    data, extra = drawn(6, sizes=(5, 1, 8), spread=2.0), np.array([0.1, 0.0, 0.3])
    losses = PairLosses(data, loss, beta)
    for _ in range(300):
        theta = rng.normal(size=3)
        theta *= radius / np.linalg.norm(theta)
        adjusted = group_losses(data, theta, loss, beta) + extra
        assert np.ptp(adjusted) <= losses.range_of_losses(radius, extra) * (1 + 1e-12)
        for g, one in enumerate(np.eye(3)):
            length = np.linalg.norm(losses.value_and_gradient(theta, one)[1])
            assert length <= losses.longest_gradient(radius) * (1 + 1e-12), g
    # Opposite single comparisons: the largest loss of one group is where the other has its least.
    opposite = (np.array([[1.5]]), np.array([[-1.5]]))
    losses = PairLosses(opposite, loss, beta)
    at = [np.array([t]) for t in np.linspace(-radius, radius, 4001)]
    apart = [abs(np.subtract(*group_losses(opposite, t, loss, beta))) for t in at]
    if loss is DPO or 1.5 * radius < 0.5 / beta:
        assert losses.range_of_losses(radius, np.zeros(2)) == pytest.approx(max(apart), rel=1e-9)
    slopes = [abs(losses.value_and_gradient(t, np.array([1.0, 0.0]))[1][0]) for t in at]
    assert losses.longest_gradient(radius) == pytest.approx(max(slopes), rel=1e-9)


def test_groups_are_weighed_by_the_published_multiplicative_weights():
    # Two iterations: equal weights, then those of the losses at 0, log 2 and the adjustment.
    beta, radius, adjustment = 0.8, 1.5, 0.6
    data = (np.full((1, 1), 2.0), np.full((4, 1), -2.0))
    fit = fit_group_robust(data, beta, radius=radius, adjustment=adjustment, iterations=2)
    extra = adjustment / np.sqrt([1, 4])
    highest, lowest = (math.log1p(math.exp(sign * beta * radius * 2.0)) for sign in (1, -1))
    widest = highest + extra[0] - (lowest + extra[1])
    tilted = np.exp(math.sqrt(8 * math.log(2) / 2) / widest * (math.log(2) + extra))
    expected = (np.array([0.5, 0.5]) + tilted / tilted.sum()) / 2
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-12)


def test_the_weighted_least_squares_of_ipo_in_closed_form():
    data, beta, ridge = drawn(11), 0.4, 0.25
    weights = np.array([0.2, 0.5, 0.3])
    y = np.concatenate(data)
    w = np.repeat(weights / [len(one) for one in data], [len(one) for one in data])
    gram = y.T @ (w[:, None] * y) + ridge / 2 * np.eye(3)
    expected = np.linalg.solve(gram, y.T @ w) / (2 * beta)
    losses = PairLosses(data, IPO, beta)
    assert weighted_minimiser(losses, weights, ridge) == pytest.approx(expected, rel=1e-10)


def test_one_group_and_one_feature_by_bisection():
    """Fifteen wins, five losses along one feature: β θ = log 3."""
    data = (np.array([[1.0]] * 15 + [[-1.0]] * 5),)
    fit = fit_group_robust(data, 0.5, radius=4.0, iterations=3000)
    assert fit.parameters == pytest.approx([2 * math.log(3)], abs=0.1)
    losses = PairLosses(data, DPO, 0.5)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert least_over_ball(losses, np.ones(1), 4.0) == pytest.approx(entropy, abs=1e-10)
    assert fit.gap.value <= fit.guarantee


def test_the_worst_group_is_served_better_than_by_the_average():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(300, 2))
    many = np.where((y[:250] @ [1.0, 0.3] > 0)[:, None], y[:250], -y[:250])
    few = np.where((y[250:] @ [-0.3, 1.0] > 0)[:, None], y[250:], -y[250:])
    robust, average = (
        fit_group_robust((many, many, few), 1.0, radius=3.0, trade_off=chi, iterations=1500)
        for chi in (1.0, 0.0)
    )
    assert robust.group_losses.max() < average.group_losses.max() - 0.05
    assert average.group_losses.mean() < robust.group_losses.mean()
    assert average.weights == pytest.approx(np.full(3, 1 / 3))


@LOSSES
def test_the_groups_may_come_in_any_order(loss):
    data = drawn(2)
    fit = fit_group_robust(data, 1.0, loss=loss, radius=1.0, iterations=50)
    turned = fit_group_robust(data[::-1], 1.0, loss=loss, radius=1.0, iterations=50)
    assert turned.parameters == pytest.approx(fit.parameters, abs=1e-12)
    assert turned.weights[::-1] == pytest.approx(fit.weights, abs=1e-12)


def test_a_small_group_weighs_more_with_the_adjustment():
    y = drawn(4, sizes=(40,))[0]
    plain, adjusted = (
        fit_group_robust((y, y[:4]), 1.0, radius=1.0, adjustment=c, iterations=500)
        for c in (0.0, 5.0)
    )
    assert adjusted.weights[1] > plain.weights[1]


def test_the_policy_is_the_reference_tilted_by_the_features():
    fit = fit_group_robust(drawn(1), 1.0, radius=2.0, iterations=100)
    psi = np.random.default_rng(8).normal(size=(2, 4, 3))
    mu = nlhf.Policy.of(np.array([[0.1, 0.2, 0.3, 0.4], [0.25] * 4]))
    raw = mu.probabilities * np.exp(psi @ fit.parameters)
    expected = raw / raw.sum(axis=1, keepdims=True)
    assert fit.policy(psi, mu).probabilities == pytest.approx(expected, rel=1e-12)
    ratios = np.log(expected / mu.probabilities)
    found = fit.log_ratios(psi)
    assert np.ptp(ratios - found, axis=1) == pytest.approx(np.zeros(2), abs=1e-12)


def test_the_history_starts_at_the_reference():
    fit = fit_group_robust(drawn(1), 1.0, radius=2.0, iterations=7)
    assert fit.history.shape == (7, 3)
    assert fit.history[0] == pytest.approx([math.log(2)] * 3)


def votes(labels):
    n = len(labels)
    return Votes(
        ("p", "q"),
        (("a", "b"), ("a", "b", "c")),
        ("ann", "bob"),
        np.array([0, 1, 1, 0][:n]),
        np.array([0, 0, 1, 1][:n]),
        np.array([1, 2, 2, 0][:n]),
        np.array([0, 1, 1, 0][:n]),
        np.array(labels, dtype=np.int8),
    )


def test_differences_of_votes_are_of_the_winner_less_the_loser():
    psi = np.arange(10.0).reshape(5, 2) ** 2
    first, second = pair_differences(votes([1, -1, 1, -1]), psi, np.array([0, 1]))
    assert first.tolist() == [(psi[0] - psi[1]).tolist(), (psi[0] - psi[1]).tolist()]
    assert second.tolist() == [(psi[4] - psi[2]).tolist(), (psi[3] - psi[4]).tolist()]


@pytest.mark.parametrize(
    ("features", "groups"),
    [
        (np.ones(5), np.array([0, 1])),
        (np.ones((5, 2, 2)), np.array([0, 1])),
        (np.ones((5, 2)), np.array([[0, 1]])),
        (np.ones((5, 2)), np.array([0.0, 1.0])),
        (np.ones((4, 2)), np.array([0, 1])),
        (np.ones((5, 2)), np.array([0, 1, 1])),
        (np.ones((5, 2)), np.array([0, -1])),
        (np.ones((5, 2)), np.array([0, 2])),
    ],
)
def test_tables_that_are_not_of_the_votes_are_refused(features, groups, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as users meet it
    with pytest.raises(HypothesisViolated):
        pair_differences(votes([1, -1, 1, -1]), features, groups)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"radius": math.inf}, "radius inf"),
        ({"trade_off": 1.5}, "trade-off 1.5"),
        ({"adjustment": -1.0}, "adjustment -1.0"),
        ({"iterations": 0}, "0 iterations"),
        ({"differences": (1e200 * np.ones((2, 3)),)}, "up to inf long"),
        ({"differences": (1e-200 * np.eye(3),)}, "up to 0 long"),
        ({"differences": ()}, "shapes"),
        ({"differences": (np.ones((2, 3)), np.ones((2, 2)))}, "shapes"),
        ({"differences": (np.ones((2, 3)), np.ones((0, 3)))}, "group 1 has no comparisons"),
        ({"differences": (np.array([[1.0, np.nan]]),)}, r"group 0, entry \(0, 1\), is nan"),
        ({"differences": (np.zeros((2, 3)),)}, "every difference of features is 0"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(change, message):
    given_ = {"differences": drawn(0), "temperature": 1.0, "radius": 1.0, "iterations": 3} | change
    differences, temperature = given_.pop("differences"), given_.pop("temperature")
    with pytest.raises(HypothesisViolated, match=message):
        fit_group_robust(differences, temperature, **given_)


def test_other_losses_are_refused_and_known_ones_may_be_named():
    with pytest.raises(InvalidProblem, match="choose from 'dpo', 'ipo'"):
        fit_group_robust(drawn(0), 1.0, loss="slic", radius=1.0)
    assert fit_group_robust(drawn(0), 1.0, loss="ipo", radius=1.0, iterations=3).loss is IPO


def test_wrong_kinds_of_arguments_are_refused_in_words():
    setting = (
        "from nlhf.estimation import fit_group_robust as fit, pair_differences as pair\n"
        "y = [np.eye(2)]\n"
        "zero, one = np.zeros(1, int), np.ones(1, int)\n"
        "votes = nlhf.data.Votes(('p',), (('a', 'b'),), ('h',), zero, zero, one, zero, "
        "one.astype(np.int8))"
    )
    wanted = {
        "fit(y, '1', radius=1.0)": "temperature '1'",
        "fit(y, 1.0, radius=None)": "radius None",
        "fit(y, 1.0, radius=1.0, trade_off='all')": "trade-off 'all'",
        "fit(y, 1.0, radius=1.0, adjustment='C')": "adjustment 'C'",
        "fit(y, 1.0, radius=1.0, iterations=1.5)": "1.5 iterations",
        "fit(None, 1.0, radius=1.0)": "differences are None",
        "pair(votes, np.eye(2), [0.5])": "type float64",
        "pair(votes, np.ones(2), [0])": "features of shape (2,)",
    }
    for call, (kind, message) in raised(setting, wanted).items():
        assert kind == "HypothesisViolated", call
        assert wanted[call] in message


@LOSSES
def test_the_end_of_the_gap_allows_for_rounding(loss):
    """One comparison, met exactly or nearly: the gap is 0 up to the rounding of the losses."""
    fit = fit_group_robust((np.ones((1, 1)),), 1e-4, loss=loss, radius=1e-3, iterations=100)
    assert fit.gap.value < fit.gap.high
    assert fit.gap.high - fit.gap.value >= np.finfo(float).eps * fit.objective


def test_raters_of_no_group_are_not_left_out_in_silence():
    psi = np.arange(10.0).reshape(5, 2)
    with pytest.raises(HypothesisViolated, match="rater 'bob' is of group -1"):
        pair_differences(votes([1, 1, 1, 1]), psi, np.array([0, -1]))


def test_votes_that_do_not_fit_are_refused():
    psi = np.ones((5, 2))
    with pytest.raises(HypothesisViolated, match="4 rows of features for 5 items"):
        pair_differences(votes([1, 1, 1, 1]), psi[:4], np.array([0, 1]))
    with pytest.raises(HypothesisViolated, match="group 1 has no comparisons"):
        pair_differences(votes([1, 0, 0, 1]), psi, np.array([0, 1]))
