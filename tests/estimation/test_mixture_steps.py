"""The steps within an EM iteration, from points that no fit would start from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf import Stream
from nlhf.errors import HypothesisViolated, SolverFailed
from nlhf.estimation import fit_mixture
from nlhf.estimation.mixtures.extrapolation import Extrapolation
from nlhf.estimation.mixtures.rewards import Linear
from nlhf.estimation.mixtures.standard_errors import _inverse
from nlhf.estimation.mixtures.starts import _sketch, pooled_parameters
from nlhf.estimation.mixtures.steps import _require_no_fall, climb
from nlhf.estimation.mixtures.weights import Weights
from nlhf.results import Stop
from tests.estimation.electorates import ballots, by_prompt, cast, planted

pytestmark = pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")


@settings(max_examples=30)
@given(ballots(), st.booleans(), st.floats(0.01, 2.0), st.integers(0, 10**6))
def test_a_newton_step_from_far_away_lowers_no_groups_value(rows, linear, ridge, seed):
    generator = Stream(seed).child("far away").generator()
    votes = cast(rows, sizes=[4, 4])
    features = generator.normal(size=(8, 3)) if linear else None
    model = fit_mixture(votes, 2, features=features, ridge=ridge, restarts=1, iterations=1).model
    share = generator.random(len(votes.annotators))
    wins = model.ballots.by_side(np.stack([share, 1.0 - share], axis=1))

    def value(parameters):
        logs = -np.logaddexp(0.0, -model.rewards.differences(parameters))
        return (wins * logs).sum(axis=1) - ridge / 2 * (parameters**2).sum(axis=1)

    start = generator.normal(0.0, 8.0, size=(2, 3 if linear else 8))
    moved, _ = model.rewards.ascend(wins, start)
    assert (value(moved) > value(start)).all()


def test_a_longer_step_is_taken_where_it_leads_higher_and_only_there(monkeypatch):
    generator = Stream(22).child("longer").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 1, 4)), [0.6, 0.4], 12, 8)
    found = fit_mixture(votes, 2)
    model = found.model
    start = model.expect(0.5 * found.parameters, found.coefficients + np.array([0.2, -0.2]))
    plain = model.expect(*model.maximise(start)[:2])
    summit = np.concatenate([found.parameters.ravel(), found.coefficients.ravel()])
    monkeypatch.setattr(Extrapolation, "fixed_point", lambda self, here, there: None)
    for proposed, reached in ((summit, found.objective), (summit + 5.0, plain.objective)):
        monkeypatch.setattr(Extrapolation, "longer", lambda self, here, there, to=proposed: to)
        end = climb(model, start, 1, lambda iteration, objective: None)
        np.testing.assert_allclose(end.point.objective, reached, rtol=1e-12)


def test_the_pooled_start_ends_where_it_stands_still(monkeypatch):
    generator = Stream(22).child("pooled").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 1, 4)), [0.6, 0.4], 12, 8)
    model = fit_mixture(votes, 2, restarts=1, iterations=1).model
    steps = []
    ascend = type(model.rewards).ascend

    def counted(self, wins, parameters):
        steps.append(parameters)
        return ascend(self, wins, parameters)

    monkeypatch.setattr(type(model.rewards), "ascend", counted)
    pooled = pooled_parameters(model)
    assert len(steps) < 10  # Newton's method: the number of right digits doubles
    wins = model.ballots.by_side(np.ones((12, 1)))
    np.testing.assert_allclose(model.rewards.score(wins, pooled), 0.0, atol=1e-8)


def test_newton_steps_of_the_weights_end_where_the_slope_is_zero():
    generator = Stream(22).child("weights").generator()
    raters = 15
    covariates = np.column_stack([np.ones(raters), generator.normal(size=(raters, 2))])
    gamma = generator.dirichlet(np.ones(3), size=raters)
    present = np.arange(raters) != 4  # the others do not count
    ridge = 0.4
    weights = Weights(covariates, present, ridge)

    def value(flat):
        beta = flat.reshape(3, 3)
        logits = (covariates @ beta)[present]
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return (gamma[present] * logs).sum() - ridge / 2 * (beta[1:] ** 2).sum()

    at = generator.normal(size=9)
    slope = [(value(at + step) - value(at - step)) / 2e-5 for step in 1e-5 * np.eye(9)]
    np.testing.assert_allclose(weights.score(gamma, at.reshape(3, 3)).ravel(), slope, atol=1e-8)
    beta = np.zeros((3, 3))
    for _ in range(6):
        beta = weights.ascend(gamma, beta)
    np.testing.assert_allclose(weights.score(gamma, beta), 0.0, atol=1e-10)


def test_a_run_stalls_when_its_objective_stands_still_and_not_while_it_rises(monkeypatch):
    generator = Stream(22).child("stalls").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 1, 4)), [0.6, 0.4], 12, 8)
    monkeypatch.setattr("nlhf.estimation.mixtures.steps._PATIENCE", 3)
    found = fit_mixture(votes, 2, restarts=1)
    assert found.stop is Stop.CERTIFIED
    assert len(found.history) > 5
    monkeypatch.setattr("nlhf.estimation.mixtures.steps.SCORE_TOLERANCE", -1.0)
    endless = fit_mixture(votes, 2, restarts=1)
    assert endless.stop is Stop.STALLED
    np.testing.assert_allclose(endless.objective, found.objective, rtol=1e-12)


def test_the_diversity_of_two_groups_is_the_mean_difference_of_their_win_probabilities():
    generator = Stream(22).child("diversity").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 2, 3)), [0.5, 0.5], 10, 9)
    found = fit_mixture(votes, 2)
    first, second = (
        [
            1 / (1 + np.exp(rewards[prompt][b] - rewards[prompt][a]))
            for prompt, a, b in zip(votes.prompt, votes.response_a, votes.response_b, strict=True)
        ]
        for rewards in by_prompt(found.offsets, found.rewards)
    )
    expected = np.abs(np.subtract(first, second)).mean()
    np.testing.assert_allclose(found.diagnostics.diversity, expected * (1 - np.eye(2)), rtol=1e-12)


@pytest.mark.parametrize("before", [0.0, 1e-3, -40.0, 1e9])
def test_a_fall_by_rounding_is_none_and_a_larger_one_is_an_error(before):
    size = max(1.0, abs(before))
    _require_no_fall(before, before - 1e-15 * size, 3)
    with pytest.raises(SolverFailed, match="at iteration 3"):
        _require_no_fall(before, before - 1e-6 * size, 3)


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
def test_newton_steps_do_not_depend_on_the_unit_of_votes_where_features_are_collinear(unit):
    generator = Stream(22).child("collinear").generator()
    votes, _ = planted(generator, generator.normal(size=(1, 1, 4)), [1.0], 5, 8)
    feature = generator.normal(size=(4, 1))
    model = fit_mixture(votes, 1, ridge=0.1).model
    one = Linear(model.ballots, feature)
    both = Linear(model.ballots, np.hstack([feature, 2.0 * feature]))
    curvature = generator.random((1, len(model.ballots.winner)))
    score = np.array([[0.7]])
    slope = one.solve(curvature, score, 0.0)[0, 0]
    steps = both.solve(unit * curvature, unit * score * [1.0, 2.0], 0.0)[0]
    assert np.isfinite(steps).all()
    np.testing.assert_allclose(steps @ [1.0, 2.0], slope, rtol=1e-3)
    np.testing.assert_allclose(steps, slope * np.array([1.0, 2.0]) / 5, rtol=1e-2)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_an_information_is_singular_by_its_condition_whatever_its_unit(unit):
    none = np.zeros((3, 0))
    sound = np.array([1.0, 1e-10, 0.5])
    np.testing.assert_allclose(_inverse(np.diag(unit * sound), none), np.diag(1 / sound) / unit)
    with pytest.raises(HypothesisViolated, match="no strict local maximum"):
        _inverse(np.diag(unit * np.array([1.0, 1e-14, 0.5])), none)


def test_the_sketch_of_the_raters_has_the_distances_of_their_residuals():
    generator = Stream(22).child("sketch").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 1, 4)), [0.6, 0.4], 9, 8)
    model = fit_mixture(votes, 2, restarts=1, iterations=1).model
    pooled = pooled_parameters(model)
    (rewards,) = by_prompt([0, 4], pooled)[0]
    residuals = np.zeros((9, 4))
    for rater, a, b, label in zip(
        votes.annotator, votes.response_a, votes.response_b, votes.label, strict=True
    ):
        winner, loser = (a, b) if label > 0 else (b, a)
        missed = 1 / (1 + np.exp(rewards[winner] - rewards[loser]))
        residuals[rater, winner] += missed
        residuals[rater, loser] -= missed
    residuals /= np.sqrt(np.bincount(votes.annotator))[:, None]
    places = _sketch(model, pooled, 5, 2, generator)
    np.testing.assert_allclose(places @ places.T, residuals @ residuals.T, atol=1e-10)
