import math
from dataclasses import replace

import numpy as np
import pytest

from nlhf import Stream
from nlhf.errors import Approximate, Degenerate, HypothesisViolated
from nlhf.estimation import Assignment, Criterion, Ties, choose_groups, fit_mixture
from nlhf.estimation.mixtures.choice import _folds, _some, free_parameters
from tests.estimation.electorates import by_prompt, cast, marginal, planted
from tests.unchecked import raised

TWO = [(0, 0, 1, h, s) for h in range(4) for s in ((1, 1, 1, -1) if h < 2 else (-1, -1, -1, 1))]


def test_raters_with_one_vote_are_counted():
    rows = [*TWO, (0, 0, 1, 4, 1), (0, 0, 1, 5, -1)]
    with pytest.warns(Degenerate, match="2 of 6 raters have one vote"):
        found = fit_mixture(cast(rows), 2)
    assert found.diagnostics.single_vote_raters == 2


def test_a_group_nobody_belongs_to_is_named():
    rows = [(0, 0, 1, h, 1 if k < 15 else -1) for h in range(10) for k in range(20)]
    with pytest.warns(Degenerate, match=r"group 1 has nobody|groups 0 and 1 are nearly equal"):
        fit_mixture(cast(rows), 2)
    with pytest.warns(Degenerate, match=r"group 1 has nobody \(0 expected raters"):
        found = fit_mixture(cast(rows), 2, assignment=Assignment.HARD)
    np.testing.assert_allclose(found.proportions, [1.0, 0.0], atol=1e-100)
    np.testing.assert_allclose(found.rewards[1], 0.0, atol=1e-15)


def test_a_group_of_one_rater_has_somebody():
    rows = [(0, 0, 1, h, 1 if (k < 17) == (h < 8) else -1) for h in range(9) for k in range(20)]
    found = fit_mixture(cast(rows), 2).diagnostics
    np.testing.assert_allclose(found.group_raters.min(), 1.0, atol=0.01)
    assert found.findings == ()


def test_one_vote_in_each_direction_connects():
    rows = [(0, a, a + 1, h, s) for a in (0, 0, 1, 2, 2) for h, s in ((0, 1), (1, -1))]
    assert fit_mixture(cast(rows), 1).diagnostics.findings == ()


@pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")
@pytest.mark.parametrize(("groups", "alone"), [(2, False), (5, True)])
def test_an_answer_that_one_restart_alone_leads_to_is_said_to_be_so(groups, alone):
    # Votes at random have no groups, and as many local maxima as one likes.
    generator = Stream(22).child("restarts", str(groups)).generator()
    votes, _ = planted(generator, np.zeros((1, 2, 4)), [1.0], 30, 20)
    found = fit_mixture(votes, groups, restarts=4, ridge=0.05)
    told = [run.agreement for run in found.runs]
    assert max(told) == 1.0
    assert (sum(each >= 0.9 for each in told) == 1) == alone
    said = "none of the 3 other restarts led to the same groups" in "; ".join(
        found.diagnostics.findings
    )
    assert said == alone


def test_separable_votes_are_refused_without_a_ridge_and_said_with_one():
    rows = [(0, 0, 1, h, 1) for h in range(4)] + [(0, 1, 2, h, 1 - 2 * (h % 2)) for h in range(4)]
    with pytest.raises(HypothesisViolated, match=r"prompt 'p0'.*2 components.*\{'r0'\}"):
        fit_mixture(cast(rows), 1, ridge=0.0)
    with pytest.warns(Degenerate, match="one way only .* in 1 of 1 prompts.* on the ridge 1"):
        fit_mixture(cast(rows), 1)


def test_votes_that_separate_within_a_group_only_are_refused_without_a_ridge():
    rows = [(0, 0, 1, h, 1 if h < 3 else -1) for h in range(6) for _ in range(5)]
    with pytest.raises(HypothesisViolated, match=r"group \d: prompt 'p0': no maximum-likelihood"):
        fit_mixture(cast(rows), 2, ridge=0.0)


def test_disconnected_comparisons_are_said():
    rows = [(0, a, a + 1, h, s) for a in (0, 2) for h in range(4) for s in (1, -1)]
    with pytest.warns(Degenerate, match="do not connect the responses they compare in 1 of 1"):
        found = fit_mixture(cast(rows), 1)
    assert found.diagnostics.disconnected.tolist() == [1]


def test_ties_only_say_nothing():
    rows = [(0, 0, 1, h, 0) for h in range(3)]
    for ties in Ties:
        with pytest.raises(HypothesisViolated, match="all 3 votes are ties"):
            fit_mixture(cast(rows), 1, ties=ties)


def test_no_votes_say_nothing():
    with pytest.raises(HypothesisViolated, match="no votes"):
        fit_mixture(cast([], [2]), 1)


def test_choices_and_counts_that_are_none_are_refused_in_words():
    setting = (
        "from nlhf.estimation import choose_groups, fit_mixture\n"
        "from tests.estimation.electorates import cast\n"
        "votes = cast([(0, 0, 1, h, s) for h in range(4) for s in (1, -1)])"
    )
    calls = {
        "fit_mixture(votes, 1, assignment='firm')": "choose from 'soft', 'hard'",
        "fit_mixture(votes, 1, ties='third')": "choose from 'half'",
        "fit_mixture(votes, 1, features='ab')": "features cannot be read",
        "choose_groups(votes, criterion='aic')": "choose from 'bic', 'held-out'",
        "fit_mixture(votes, 1.5)": "1.5 groups",
        "fit_mixture(votes, 2, restarts=1.5)": "1.5 restarts",
        "fit_mixture(votes, 2, ridge='a')": "ridge a is not a penalty",
    }
    for call, (kind, message) in raised(setting, calls).items():
        assert kind in ("InvalidProblem", "HypothesisViolated"), call
        assert calls[call] in message


def test_the_findings_of_one_group_do_not_speak_of_groups():
    rows = [(0, a, a + 1, h, s) for a in (0, 2) for h in range(4) for s in (1, -1)]
    with pytest.warns(Degenerate, match="^the votes do not connect"):
        fit_mixture(cast(rows), 1)


def test_more_groups_than_raters_are_refused():
    with pytest.raises(HypothesisViolated, match="5 groups of 4 raters"):
        fit_mixture(cast(TWO), 5)


def test_votes_without_raters_have_one_group():
    votes = cast([(0, 0, 1, 0, 1), (0, 0, 1, 0, -1)])
    anonymous = replace(votes, annotators=("anonymous",))
    with pytest.raises(HypothesisViolated, match="2 votes name no raters"):
        fit_mixture(anonymous, 2)
    assert fit_mixture(anonymous, 1).rewards.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ridge": -1.0}, "ridge -1"),
        ({"ridge": math.nan}, "ridge nan"),
        ({"restarts": 0}, "0 restarts"),
        ({"iterations": 0}, "0 iterations"),
        ({"features": np.ones((3, 1))}, r"features of shape \(3, 1\), where there are 2 items"),
        ({"features": np.full((2, 1), np.nan)}, r"features\[0, 0\] is nan"),
        ({"covariates": np.ones((5, 1))}, "where there are 4 raters"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(HypothesisViolated, match=message):
        fit_mixture(cast(TWO), 2, **arguments)
    with pytest.raises(HypothesisViolated, match="0 groups"):
        fit_mixture(cast(TWO), 0)


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
def test_a_run_that_is_cut_short_says_so(monkeypatch):
    monkeypatch.setattr("nlhf.estimation.mixtures.fitting.SHORT", 1)
    generator = Stream(23).child("short").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 1, 5)), [0.5, 0.5], 100, 3)
    with pytest.warns(Approximate, match="relative score"):
        fit_mixture(votes, 2, iterations=1, restarts=1)


def test_a_table_of_candidates_names_the_planted_number_of_groups():
    generator = Stream(23).child("choice").generator()
    rewards = 2 * generator.normal(size=(2, 2, 3))
    votes, _ = planted(generator, rewards, [0.6, 0.4], 80, 20)
    for criterion in Criterion:
        found = choose_groups(votes, (1, 2, 3), criterion=criterion, ridge=0.5, restarts=2, folds=3)
        assert found.groups == 2
        assert found.mixture.groups == 2
        assert [one.groups for one in found.candidates] == [1, 2, 3]
        assert found.candidates[1].behind == 0.0
        assert found.candidates[0].behind > 2 * found.candidates[0].error


@pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")
def test_the_criterion_is_schwarz_s():
    generator = Stream(23).child("bic").generator()
    votes, _ = planted(generator, generator.normal(size=(2, 2, 3)), [0.6, 0.4], 50, 10)
    found = choose_groups(votes, (1, 2), restarts=2)
    for candidate, mixture in zip(found.candidates, found.mixtures, strict=True):
        # 2 prompts of 3 responses: 4 differences a group, and U - 1 proportions.
        assert candidate.parameters == 4 * mixture.groups + mixture.groups - 1
        rewards = by_prompt(mixture.offsets, mixture.rewards)
        value = marginal(votes, rewards, mixture.weights) - candidate.parameters / 2 * np.log(50)
        assert candidate.score == pytest.approx(value, rel=1e-10)
    # The error of the difference is that of a sum over raters, each by itself.
    each = [
        [
            marginal(_some(votes, votes.annotator == rater), rewards, mixture.weights)
            for rater in range(50)
        ]
        for mixture in found.mixtures
        for rewards in [by_prompt(mixture.offsets, mixture.rewards)]
    ]
    error = np.std(np.subtract(*each)) * np.sqrt(50)
    assert sorted(one.error for one in found.candidates) == pytest.approx([0.0, error], rel=1e-9)


@pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")
def test_free_parameters_count_what_the_votes_compare():
    rows = [*TWO, (1, 0, 1, 0, 1), (1, 2, 3, 0, 1)]
    assert free_parameters(fit_mixture(cast(rows, [3, 4]), 1)) == 1 + 2
    features = np.stack([np.arange(7.0), np.ones(7), np.arange(7.0) ** 2], axis=1)
    assert free_parameters(fit_mixture(cast(rows, [3, 4]), 2, features=features)) == 2 * 2 + 1


def test_folds_hold_out_every_vote_once_and_every_rater_evenly():
    votes = cast([(0, 0, 1, h % 7, 1) for h in range(100)])
    fold = _folds(votes, 4, Stream(0))
    for rater in range(7):
        counts = np.bincount(fold[votes.annotator == rater], minlength=4)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("candidates", "folds"), [((), 5), ((1, 1), 5), ((1, 2), 1)])
def test_choices_without_a_comparison_are_refused(candidates, folds):
    with pytest.raises(HypothesisViolated, match="candidates"):
        choose_groups(cast(TWO), candidates, folds=folds)
