"""The steps within an EM iteration, from points that no fit would start from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf import Stream
from nlhf.estimation import fit_mixture
from nlhf.estimation.mixtures.extrapolation import Extrapolation
from nlhf.estimation.mixtures.starts import pooled_parameters
from nlhf.estimation.mixtures.steps import climb
from nlhf.estimation.mixtures.weights import Weights
from tests.estimation.electorates import ballots, cast, planted

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
