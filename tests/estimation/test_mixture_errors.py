import numpy as np
import pytest

from nlhf import Stream
from nlhf.data import win_counts
from nlhf.errors import HypothesisViolated
from nlhf.estimation import Assignment, fit_bradley_terry, fit_mixture, standard_errors
from nlhf.estimation.likelihood import Likelihood
from nlhf.estimation.mixtures.standard_errors import information
from tests.estimation.electorates import by_prompt, cast, marginal, planted

pytestmark = pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")


@pytest.mark.parametrize("linear", [False, True])
def test_the_information_is_minus_the_hessian_by_finite_differences(linear):
    generator = Stream(22).child("hessian").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 2, 3)), [0.6, 0.4], 10, 5)
    features = generator.normal(size=(6, 2)) if linear else None
    covariates = generator.normal(size=(10, 1)) if linear else None
    ridge, found = 0.7, None
    found = fit_mixture(votes, 2, features=features, covariates=covariates, ridge=ridge)
    design = np.eye(6) if features is None else features
    z = np.ones((10, 1)) if covariates is None else np.hstack([np.ones((10, 1)), covariates])
    count, rows = design.shape[1], z.shape[1]

    def objective(flat):
        phi, beta = flat[: 2 * count].reshape(2, count), flat[2 * count :].reshape(rows, 2)
        eta = np.exp(z @ beta)
        eta /= eta.sum(axis=1, keepdims=True)
        value = marginal(votes, by_prompt(found.offsets, phi @ design.T), eta)
        return value - ridge / 2 * ((phi**2).sum() + (beta[1:] ** 2).sum())

    at = np.concatenate([found.parameters.ravel(), found.coefficients.ravel()])
    steps = 1e-3 * np.eye(len(at))
    hessian = (
        np.array(
            [
                [
                    objective(at + i + j)
                    - objective(at + i - j)
                    - objective(at - i + j)
                    + objective(at - i - j)
                    for j in steps
                ]
                for i in steps
            ]
        )
        / 4e-6
    )
    ours = information(found.model, found.parameters, found.coefficients, found.responsibilities)
    np.testing.assert_allclose(ours, -hessian, atol=1e-4)


def test_one_group_has_the_errors_of_bradley_terry():
    generator = Stream(22).child("one").generator()
    votes, _ = planted(generator, generator.normal(size=(1, 1, 5)), [1.0], 20, 20)
    (counts,) = win_counts(votes)
    rewards = fit_bradley_terry(counts).rewards
    hessian = Likelihood(counts.wins.astype(float), 0.0).information(rewards)
    found = standard_errors(fit_mixture(votes, 1, ridge=0.0))
    np.testing.assert_allclose(found.covariance[:5, :5], np.linalg.pinv(hessian), atol=1e-10)
    np.testing.assert_allclose(found.rewards[0], np.sqrt(np.diag(np.linalg.pinv(hessian))))
    np.testing.assert_allclose(found.proportions, 0.0, atol=1e-12)


def test_groups_known_for_certain_have_binomial_errors_of_their_proportions():
    rows = [(0, 0, 1, h, (1 if h < 30 else -1) * s) for h in range(40) for s in (1, 1, 1, 1, -1)]
    rows *= 20
    found = fit_mixture(cast(rows), 2, ridge=0.0)
    errors = standard_errors(found)
    np.testing.assert_allclose(found.proportions, [0.75, 0.25], atol=1e-9)
    np.testing.assert_allclose(errors.proportions, np.sqrt(0.75 * 0.25 / 40), rtol=1e-6)
    # log-odds of a frequency p of n votes have the variance 1 / (n p (1 - p)); a reward is half.
    for u, raters in enumerate((30, 10)):
        error = 0.5 / np.sqrt(raters * 100 * 0.8 * 0.2)
        np.testing.assert_allclose(errors.rewards[u], error, rtol=1e-6)


def test_a_reward_of_one_feature_errs_as_its_weight_times_its_distance_from_the_mean():
    generator = Stream(22).child("one feature").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 2, 3)), [0.6, 0.4], 12, 6)
    feature = generator.normal(size=(2, 3))
    found = standard_errors(fit_mixture(votes, 2, features=feature.reshape(6, 1), ridge=0.5))
    distance = abs(feature - feature.mean(axis=1, keepdims=True)).ravel()
    np.testing.assert_allclose(found.rewards, found.parameters * distance)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_should():
    # 40 replicates of 8 rewards: coverage of a 95 % interval. Within a replicate the intervals
    # depend on each other, so its share is one draw; a mean of 40 has an error of about 0.02.
    generator = Stream(22).child("coverage").generator()
    truth = generator.normal(size=(2, 1, 4))
    truth -= truth.mean(axis=-1, keepdims=True)
    covered = []
    for _ in range(40):
        votes, _ = planted(generator, truth, [0.65, 0.35], 120, 12)
        found = fit_mixture(votes, 2, ridge=0.05, restarts=2)
        errors = standard_errors(found)
        order = min(([0, 1], [1, 0]), key=lambda o: abs(found.rewards[o] - truth[:, 0]).sum())
        inside = abs(found.rewards[order] - truth[:, 0]) <= 1.96 * errors.rewards[order]
        covered.append(inside.mean())
    assert 0.87 < np.mean(covered) <= 1.0


def test_hard_assignments_have_no_standard_errors():
    found = fit_mixture(cast([(0, 0, 1, 0, 1), (0, 0, 1, 1, -1)]), 2, assignment=Assignment.HARD)
    with pytest.raises(HypothesisViolated, match="hard assignment"):
        standard_errors(found)


def test_equal_groups_are_no_strict_maximum():
    rows = [(0, 0, 1, h, s) for h in range(6) for s in (1, -1)]
    with pytest.raises(HypothesisViolated, match="no strict local maximum"):
        standard_errors(fit_mixture(cast(rows), 2))
