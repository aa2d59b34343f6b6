"""The statements on social choice against closed forms, rational arithmetic and the package."""

from fractions import Fraction
from math import log, tanh

import mpmath as mp
import numpy as np
import pytest
from nlhf_theory import distortion, matching, pareto, social_choice

import nlhf
from nlhf.errors import SolverFailed
from nlhf.social_choice.linear import bradley_terry_ranking, leximax_copeland
from nlhf.social_choice.outcomes import ranked_by
from nlhf.social_choice.pairwise import borda, borda_scores, condorcet_winner
from nlhf.social_choice.profiles import RankingProfile
from nlhf.theorems import check


def part(margin, name):
    return dict(margin.named)[name]


def test_two_responses_are_apart_by_the_log_odds_which_is_the_finite_bound():
    pooled = social_choice.fitted(
        np.array([[[0.5, 0.9], [0.1, 0.5]]]), np.ones(1), social_choice.uniform_pairs(2)
    )
    assert social_choice.BORDA.satisfied(pooled)
    apart = pooled.rewards[0] - pooled.rewards[1]
    assert apart == pytest.approx(log(9), rel=1e-12)
    margin = social_choice.BORDA.margin(pooled)
    assert part(margin, "finite").value == pytest.approx(0.0, abs=1e-12)
    # S differs by 0.8, so r must by 4/2 · 0.8.
    assert part(margin, "order").value == pytest.approx(log(9) - 1.6)


def test_pairs_compared_unequally_often_turn_the_order_around():
    """Response 0 beats 1, both meet 2; 1 is compared with 2 alone, against whom it does better."""
    p = np.array([[0.5, 0.55, 0.5], [0.45, 0.5, 0.95], [0.5, 0.05, 0.5]])
    even = social_choice.fitted(p[None], np.ones(1), social_choice.uniform_pairs(3))
    assert np.argsort(-even.rewards).tolist() == np.argsort(-borda_scores(p)).tolist() == [1, 0, 2]
    pairs = np.array([[0, 100.0, 1], [100.0, 0, 1], [1, 1, 0]])
    uneven = social_choice.fitted(p[None], np.ones(1), pairs)
    assert social_choice.BORDA.violates_only("uniform-pairs", uneven)
    assert uneven.rewards[0] > uneven.rewards[1]
    assert part(social_choice.BORDA.margin(uneven), "order").violated


@pytest.mark.parametrize(
    ("module", "name", "theorem", "hypothesis"),
    [
        (social_choice, "polish", social_choice.BORDA, "maximum"),
        (social_choice, "maximal", social_choice.MAXIMAL_LOTTERY, "equilibrium"),
        (matching, "preference_matching_policy", matching.PREFERENCE_COLLAPSE, "entropy-optimum"),
    ],
)
def test_a_broken_package_is_an_error_and_not_a_rejected_instance(
    monkeypatch, module, name, theorem, hypothesis
):
    works = getattr(module, name)

    def broken(*arguments):
        found = works(*arguments)
        if isinstance(found, nlhf.Policy):
            return nlhf.Policy.of(found.probabilities[::-1].copy())
        return np.asarray(found)[..., ::-1]

    monkeypatch.setattr(module, name, broken)
    with pytest.raises(SolverFailed, match=hypothesis):
        check(theorem, 40)


def test_sure_losers_have_no_finite_rewards():
    p = np.array([[0.5, 1.0], [0.0, 0.5]])
    sure = social_choice.fitted(p[None], np.ones(1), social_choice.uniform_pairs(2))
    assert social_choice.BORDA.violates_only("connected", sure)
    assert part(social_choice.BORDA.margin(sure), "finite").violated


def test_borda_is_wrong_on_the_shipped_contests_and_the_maximal_lottery_is_not():
    assert condorcet_winner(social_choice.BORDA_FAILS) == 0
    assert borda(social_choice.BORDA_FAILS).probabilities.tolist() == [0, 1, 0, 0]
    for matrix in (social_choice.BORDA_FAILS, social_choice.CYCLE):
        case = social_choice.contest(matrix)
        assert social_choice.MAXIMAL_LOTTERY.satisfied(case)
        assert not social_choice.MAXIMAL_LOTTERY.margin(case).violated
    cycle = social_choice.contest(social_choice.CYCLE)
    # Margins 0.3, 0.4, 0.2 of a cycle of three are played as 0.4 : 0.2 : 0.3.
    assert np.allclose(cycle.lottery, np.array([4, 2, 3, 0]) / 9, atol=1e-12)


def test_borda_counts_break_both_parts_of_the_claim_on_maximal_lotteries():
    p = social_choice.BORDA_FAILS
    case = social_choice.Contest(p, borda(p).probabilities, borda(p[:-1, :-1]).probabilities)
    assert social_choice.MAXIMAL_LOTTERY.violates_only("equilibrium", case)
    margin = social_choice.MAXIMAL_LOTTERY.margin(case)
    assert part(margin, "Condorcet winner").value == -1.0
    assert {"stays maximal", "Condorcet winner"} <= set(margin.broken)


@pytest.mark.parametrize("beta", [0.5, 3.0, 30.0])
def test_the_family_is_as_near_the_bound_as_its_closed_form(beta):
    low, slack = 0.01, 1e-4
    case = distortion.near_worst(beta, low, slack)
    assert distortion.DISTORTION.satisfied(case)
    margin = distortion.DISTORTION.margin(case)
    assert not margin.violated
    reached = (1 - slack) * tanh(beta * low / 2) / (low * tanh(beta / 2))
    bound = beta / 2 / tanh(beta / 2)
    assert margin.scaled == pytest.approx(bound / reached - 1, rel=1e-6)
    assert margin.scaled < 0.01


def test_the_key_inequality_of_the_distortion_proof_on_a_grid():
    grid = np.linspace(0, 1, 101)
    a, b = np.meshgrid(grid, grid)
    for beta in (0.1, 1.0, 10.0, 50.0):
        left = 0.5 * np.tanh(beta * (a - b) / 2)
        right = beta * (a / 4 - b * tanh(beta / 2) / (2 * beta))
        assert (right - left).min() >= -1e-15
        # Equality where nobody has any utility, and where only the other response has all.
        assert (right - left)[0, 0] == pytest.approx(0.0, abs=1e-15)
        assert (right - left)[-1, 0] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("x", [0, 1, -1, Fraction(1, 3), 7, -20, Fraction(-301, 7), 63])
def test_rational_bounds_enclose_the_sigmoid(x):
    mp.mp.dps = 60
    low, high = pareto.sigmoid_bounds(Fraction(x))
    x = mp.mpf(Fraction(x).numerator) / Fraction(x).denominator
    exact = 1 / (1 + mp.e**-x)
    assert mp.mpf(low.numerator) / low.denominator <= exact
    assert exact <= mp.mpf(high.numerator) / high.denominator
    assert high - low < Fraction(1, 10**25)


TENTHS = [Fraction(k, 10) for k in (1, 5, 9)]
SHARES = [Fraction(k, 20) for k in (11, 14, 18)]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("slope", TENTHS)
def test_the_reversal_is_certain_in_rational_arithmetic(share, slope):
    offset = Fraction(1, 20)
    assert pareto.certify_side(share, offset, slope) == 1
    # At the offset of the statement too, and only there is it a claim.
    small = (2 * share - 1) * (1 - share) / pareto.SMALL
    assert pareto.certify_side(share, small, slope) == 1


def test_a_bound_on_the_offset_is_needed_near_one_half():
    case = (Fraction(51, 100), Fraction(1, 20), Fraction(3, 10))
    assert pareto.certify_side(*case) == -1
    assert pareto.certify_side(1 - Fraction(7, 10), *case[1:]) == -1
    instance = pareto.SixResponses(*map(float, case))
    assert pareto.BT_FAILS_PARETO.violates_only("small", instance)
    assert part(pareto.BT_FAILS_PARETO.margin(instance), "reversed").violated


def test_the_reward_of_the_six_responses_is_the_published_one_and_the_package_agrees():
    instance = pareto.SixResponses(0.7, 0.05, 0.3)
    theta, off = pareto.fitted(instance)
    assert np.allclose(theta, [0.562, 0.026], atol=5e-4)
    assert off < 1e-10
    profile = RankingProfile.of([pareto.MAJORITY, pareto.MINORITY], [0.7, 0.3], instance.features())
    assert np.allclose(profile.preference, instance.preference(), atol=1e-15)
    assert bradley_terry_ranking(profile).levels == ranked_by(instance.features() @ theta).levels
    first, last = pareto.C, pareto.C1
    assert bradley_terry_ranking(profile).above(first, last)
    assert leximax_copeland(profile).above(last, first)


def test_the_witness_of_the_source_is_no_witness_and_the_corrected_one_is():
    x = pareto.SixResponses(0.7, 0.05, 0.3).features()
    c, copy = pareto.C, pareto.C1
    assert (x[copy] - x[c]) @ [1.0, 1.0] < 0
    corrected = x @ [0.3, 2.0]
    assert np.argsort(-corrected).tolist() == list(pareto.MAJORITY)
    assert np.argsort(-(x @ [-1.0, 0.0])).tolist() == list(pareto.MINORITY)


def test_the_reversal_holds_on_a_grid_of_the_whole_range():
    for share in np.linspace(0.505, 0.995, 15):
        largest = (2 * share - 1) * (1 - share) / pareto.SMALL
        for slope in (1e-3, 0.5, 1.0):
            for offset in (largest, largest / 100):
                instance = pareto.SixResponses(float(share), float(offset), slope)
                assert pareto.BT_FAILS_PARETO.satisfied(instance)
                margin = pareto.BT_FAILS_PARETO.margin(instance)
                assert margin.value > margin.rounding


def test_sixty_to_forty_collapses_and_is_matched():
    for beta, first in ((0.5, 0.36 / 0.52), (1.0, 0.6), (0.1, 0.6**10 / (0.6**10 + 0.4**10))):
        case = matching.optimal(matching.SIXTY_FORTY, np.log([0.5, 0.5]), beta)
        assert matching.PREFERENCE_COLLAPSE.satisfied(case)
        assert not matching.PREFERENCE_COLLAPSE.margin(case).violated
        assert np.exp(case.penalised[0]) == pytest.approx(first, rel=1e-12)
        assert np.exp(case.matched[0]) == pytest.approx(0.6, rel=1e-12)


def test_hot_policies_are_flatter_and_a_reference_may_undo_it():
    case = matching.optimal(matching.SIXTY_FORTY, np.log([0.5, 0.5]), 4.0)
    amplified = part(matching.PREFERENCE_COLLAPSE.margin(case), "amplified")
    flat = 0.6**0.25 / (0.6**0.25 + 0.4**0.25)
    assert amplified.value == pytest.approx(0.6 - flat)
    biased = matching.optimal(matching.SIXTY_FORTY, np.log([0.9, 0.1]), 4.0)
    assert matching.PREFERENCE_COLLAPSE.violates_only("uniform-reference", biased)
    assert set(matching.PREFERENCE_COLLAPSE.margin(biased).broken) == {"odds", "amplified"}


@pytest.mark.parametrize(
    ("theorem", "instance"),
    [
        (distortion.DISTORTION, distortion.near_worst(3.0)),
        (pareto.BT_FAILS_PARETO, pareto.SixResponses(0.7, 0.01, 0.3)),
        (matching.PREFERENCE_COLLAPSE, matching.PREFERENCE_COLLAPSE.sharp[0]),
    ],
)
def test_coordinates_return_the_instance_they_came_from(theorem, instance):
    vector = theorem.coordinates.to_vector(instance)
    again = theorem.coordinates.from_vector(instance, vector)
    assert np.allclose(theorem.coordinates.to_vector(again), vector, atol=1e-12)
    assert theorem.margin(again).value == pytest.approx(theorem.margin(instance).value, abs=1e-9)
    assert theorem.satisfied(theorem.coordinates.from_vector(instance, vector + 0.7))
