"""Shifting and scaling payoffs changes no equilibrium, at temperature 0 and in mixed batches."""

import numpy as np
import pytest

import nlhf

PAYOFF = np.random.default_rng(1).normal(size=(4, 4))


@pytest.mark.parametrize("scale", [1e-50, 1e-10, 1e-7, 1.0, 1e7, 1e50])
def test_the_equilibrium_at_temperature_zero_is_the_same_at_every_scale(scale):
    game = nlhf.ZeroSumGame(PAYOFF * scale)
    solution = nlhf.solve(game)
    assert solution.certificate.bound.value <= 1e-14 * scale
    for strategy, expected in zip(
        solution.profile, nlhf.solve(nlhf.ZeroSumGame(PAYOFF)).profile, strict=True
    ):
        np.testing.assert_allclose(strategy.probabilities, expected.probabilities, atol=1e-12)


@pytest.mark.parametrize("exponent", [0, 13, 20, 24])
def test_ties_leave_the_reference_restricted_to_the_best_responses(exponent):
    reference = np.array([0.044, 0.929, 0.0255, 0.0015])
    game = nlhf.ZeroSumGame(
        np.array([[1.0], [0.0], [0.0], [1.0]]) * 2.0**-exponent, (reference, None)
    )
    expected = np.array([0.044, 0.0, 0.0, 0.0015]) / 0.0455
    np.testing.assert_allclose(
        nlhf.solve(game).profile[0].probabilities, expected, rtol=1e-12, atol=1e-300
    )


@pytest.mark.parametrize("margin", [1e-3, 3e-8, 3e-10, 3e-12])
def test_a_condorcet_winner_by_a_hair_wins(margin):
    skew = np.array([[0.0, 1.0, 1.0], [-1.0, 0.0, 2.0], [-1.0, -2.0, 0.0]])
    solution = nlhf.solve(nlhf.PreferenceGame(0.5 + margin * skew))
    np.testing.assert_allclose(solution.policy, [1.0, 0.0, 0.0], atol=1e-12)


def test_a_context_is_not_disturbed_by_the_payoffs_of_another():
    alone = nlhf.solve(nlhf.ZeroSumGame(PAYOFF, temperatures=(0.01, 0.01)))
    together = nlhf.solve(
        nlhf.ZeroSumGame(np.stack([PAYOFF + 1e10, PAYOFF]), temperatures=(0.01, 0.01))
    )
    assert together.certificate.per_context[1] <= 1e-25
    assert together.certificate.distance[:, 1].max() <= 1e-11
    np.testing.assert_allclose(
        together.profile[0].probabilities[1], alone.profile[0].probabilities, atol=1e-13
    )
