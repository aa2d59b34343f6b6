"""Policies learned from votes: tables of prompts, classes made from votes, certificates, rounds."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlhf
from nlhf.analysis.learning import REFERENCE, learn_offline
from nlhf.analysis.learning_candidates import KINDS, RANKS, candidate_class, nearest_of_ranks
from nlhf.analysis.learning_classes import (
    LaidOutClass,
    probability_width,
    uninformed_gap,
    without_data,
)
from nlhf.analysis.learning_online import Asking, ExplorerKind, learn_from_voters
from nlhf.analysis.learning_settings import ClassKind, LearningSettings, Method
from nlhf.analysis.learning_votes import Layout, hold_out
from nlhf.analysis.prompts import PayoffKind
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.data.records import ANONYMOUS
from nlhf.data.votes import Votes
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData, InvalidProblem, NotAllowed
from nlhf.estimation.classes import BradleyTerryClass, Link, TabularClass
from nlhf.results import Units
from nlhf.spaces.policy import Policy

SIZES = (4, 3, 2)
QUICK = LearningSettings(bootstrap=50, candidates=2 * KINDS)


def skew_tables(seed: int, sizes=SIZES, scale: float = 0.5) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    upper = [np.triu(generator.uniform(-scale, scale, (n, n)), 1) for n in sizes]
    return [u - u.T for u in upper]


def padded(tables: list[np.ndarray]) -> np.ndarray:
    most = max(map(len, tables))
    return np.stack([np.pad(t, (0, most - len(t))) for t in tables])


def votes_from(tables: list[np.ndarray], each: int, seed: int) -> Votes:
    """So many raters vote once on every pair of every prompt, by the payoffs P - 1/2."""
    generator = np.random.default_rng(seed)
    rows = [
        (x, a, b, rater, 1 if generator.random() < 0.5 + t[a, b] else -1)
        for x, t in enumerate(tables)
        for a, b in itertools.combinations(range(len(t)), 2)
        for rater in range(each)
    ]
    return votes_of(rows, tuple(map(len, tables)), each)


def votes_of(rows, sizes=SIZES, raters: int = 20, anonymous: bool = False) -> Votes:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    names = (ANONYMOUS,) if anonymous else tuple(f"rater {h}" for h in range(raters))
    return Votes(
        prompts=tuple(f"prompt {x}" for x in range(len(sizes))),
        responses=tuple(tuple(f"response {y}" for y in range(n)) for n in sizes),
        annotators=names,
        prompt=columns[0],
        response_a=columns[1],
        response_b=columns[2],
        annotator=columns[3] * 0 if anonymous else columns[3],
        label=columns[4].astype(np.int8),
    )


def mean_exploitability(tables, policies, temperature: float) -> float:
    """By the definition and Gibbs' formula, prompt by prompt, without copies."""
    gaps = []
    for table, policy in zip(tables, policies, strict=True):
        gain, count = -policy @ table, len(table)
        if temperature == 0.0:
            gaps.append(gain.max())
            continue
        played = policy[policy > 0.0]
        price = temperature * (played @ np.log(played * count))
        gaps.append(temperature * np.log(np.exp(gain / temperature).mean()) + price)
    return float(np.mean(gaps))


@pytest.mark.parametrize(("seed", "temperature"), [(1, 0.0), (2, 0.05), (3, 0.3)])
def test_copies_of_a_response_change_nothing(seed, temperature):
    tables, layout = skew_tables(seed), Layout(SIZES)
    setting = layout.setting(temperature)
    table = layout.spread(padded(tables))
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=layout.shape)
    even = np.take_along_axis(logits, layout.columns, axis=1) + np.log(layout.reference)
    policy = Policy.proportional(even)  # as even over copies as the reference is
    found = setting.exploitability(table, policy, Units.WIN_PROBABILITY).value
    expected = mean_exploitability(tables, layout.own(policy), temperature)
    assert found == pytest.approx(expected, abs=1e-9)
    own = layout.own(setting.solve(table))
    for x, one in enumerate(own):
        assert one.sum() == pytest.approx(1.0)
        if temperature > 0.0:
            game = nlhf.PreferenceGame(0.5 + tables[x], temperature=temperature)
            assert one == pytest.approx(nlhf.solve(game).policy, abs=1e-6)
    assert mean_exploitability(tables, own, temperature) <= 1e-7


def test_the_reference_of_a_layout_is_uniform_over_responses():
    layout = Layout((4, 1, 3))
    assert layout.reference.sum(axis=1) == pytest.approx(1.0)
    own = layout.own(Policy.of(layout.reference))
    for size, one in zip((4, 1, 3), own, strict=True):
        assert one == pytest.approx(np.full(size, 1.0 / size))


def test_comparisons_of_copies_are_comparisons_of_responses():
    layout = Layout((4, 2))
    first, second = np.array([0, 2, 3, 1]), np.array([1, 0, 1, 2])
    pairs = Pairs.in_contexts(layout.shape, np.array([0, 1, 1, 1]), first, second)
    undone = layout.undone(PreferenceData.of_labels(pairs, np.array([1.0, 0.5, 1.0, 0.0])))
    # Columns 0, 2 and 3 of the second prompt are one response: its tie with itself is left out.
    assert undone.pairs.first[:, 0].tolist() == [0, 0, 1]
    assert undone.pairs.second[:, 0].tolist() == [1, 1, 0]
    assert undone.wins.tolist() == [1.0, 1.0, 0.0]


def test_which_response_is_named_first_does_not_matter():
    votes = votes_from(skew_tables(1), 3, 1)
    turned = replace(
        votes, response_a=votes.response_b, response_b=votes.response_a, label=-votes.label
    )
    one, other = (Layout(SIZES).data(v) for v in (votes, turned))
    assert one.counts.tolist() == other.counts.tolist()
    assert one.wins == pytest.approx(other.wins)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_the_width_of_log_odds_as_win_probability_holds_and_is_attained(seed):
    generator = np.random.default_rng(seed)
    estimate = padded(skew_tables(seed, scale=5.0))
    width = np.abs(padded(skew_tables(seed + 1, scale=6.0)))
    truth = estimate + width * padded(skew_tables(seed + 2, scale=1.0))

    def likely(log_odds):
        return 1.0 / (1.0 + np.exp(-log_odds))

    found = probability_width(estimate, width)
    assert (np.abs(likely(truth) - likely(estimate)) <= found + 1e-12).all()
    ends = [np.abs(likely(estimate + sign * width) - likely(estimate)) for sign in (1, -1)]
    assert found == pytest.approx(np.maximum(*ends), abs=1e-12)
    counts = generator.integers(0, 9, size=truth.shape)
    spread = (counts * (likely(truth) - likely(estimate)) ** 2).sum()
    assert spread <= (counts * (truth - estimate) ** 2).sum() / 16.0 + 1e-12


def test_a_class_laid_out_in_win_probability_is_the_class_of_log_odds():
    votes, layout = votes_from(skew_tables(3), 10, 3), Layout(SIZES)
    base = BradleyTerryClass(layout.shape, 4.0)
    data = layout.data(votes)
    own, laid = base.confidence(data, 0.1), LaidOutClass(base, layout, Link.PROBABILITY)
    found = laid.confidence(data, 0.1)
    assert found.model.link is Link.PROBABILITY
    assert found.model.log_likelihood == own.model.log_likelihood
    expected = 1.0 / (1.0 + np.exp(-own.model.table[0])) - 0.5
    assert found.model.table[0] == pytest.approx(expected)
    # Columns 2 and 3 of the third prompt are copies of its first response.
    assert found.model.table[2, 0] == pytest.approx(found.model.table[2, 2])
    assert found.width[2, 1, 3] == found.width[2, 1, 0]
    assert found.width[2, 0, 2] == 0.0


@pytest.mark.parametrize(
    ("base", "largest"),
    [
        (TabularClass((3, 4)), 0.5),
        (BradleyTerryClass((3, 4), 2.0), 1.0 / (1.0 + np.exp(-2.0)) - 0.5),
    ],
)
def test_without_data_the_reference_loses_to_everything_else_by_all_the_class_allows(base, largest):
    layout = Layout(SIZES)
    nothing = without_data(LaidOutClass(base, layout, Link.PROBABILITY), 0.05)
    for temperature in (0.0, 0.1):
        found = uninformed_gap(layout.setting(temperature), nothing)
        assert found == pytest.approx(largest * np.mean([1 - 1 / n for n in SIZES]), abs=1e-9)


def test_the_least_payoffs_are_cut_where_the_class_ends():
    layout = Layout(SIZES)
    laid = LaidOutClass(TabularClass(layout.shape), layout, Link.PROBABILITY)
    found = laid.confidence(layout.data(votes_from(skew_tables(5), 4, 5)), 0.05)
    cut = np.where(layout.spread(1.0 - np.eye(4)[None].repeat(3, 0)) > 0.0, -0.5, 0.0)
    uncut = found.model.table - found.width
    assert found.lowest == pytest.approx(np.maximum(uncut, cut), abs=1e-12)
    assert (found.lowest > uncut + 0.01).any()


def test_candidates_are_models_of_the_responses():
    layout, votes = Layout(SIZES), votes_from(skew_tables(2), 6, 2)
    for link in Link:
        found = candidate_class(votes, layout, link, 25, nlhf.Stream(1))
        assert found.tables.shape == (25, 3, 4, 4)
        assert found.link is link
        assert (found.tables[:, 2, 0] == found.tables[:, 2, 3]).all()
        assert found.bound <= (4.0 if link is Link.LOG_ODDS else 0.4821)
        again = candidate_class(votes, layout, link, 25, nlhf.Stream(1))
        assert (again.tables == found.tables).all()
    with pytest.raises(InvalidProblem, match="0 candidates"):
        candidate_class(votes, layout, Link.PROBABILITY, 0, nlhf.Stream(1))


def test_matrices_of_low_rank_are_the_nearest():
    table = padded(skew_tables(8, sizes=(9, 9), scale=3.0))
    for rank, found in zip(RANKS, nearest_of_ranks(table), strict=True):
        assert found == pytest.approx(-found.swapaxes(1, 2), abs=1e-12)
        for one, near in zip(table, found, strict=True):
            values = np.linalg.svd(one, compute_uv=False)
            assert np.linalg.matrix_rank(near, tol=1e-9) == rank
            error = np.linalg.norm(one - near)
            assert error == pytest.approx(np.linalg.norm(values[rank:]), abs=1e-9)


def test_what_a_rater_said_of_a_pair_is_held_out_as_a_whole():
    rows = [(0, a, b, h, 1) for a, b in ((0, 1), (1, 0), (2, 3)) for h in range(20) for _ in "ab"]
    split = hold_out(votes_of(rows), 0.5, nlhf.Stream(3))
    seen = [
        {(int(r), *sorted((int(a), int(b)))) for r, a, b in zip(*c, strict=True)}
        for c in (
            (v.annotator, v.response_a, v.response_b) for v in (split.training, split.held_out)
        )
    ]
    assert not seen[0] & seen[1]
    assert len(split.training) + len(split.held_out) == len(rows)


def test_votes_without_raters_are_held_out_one_by_one():
    rows = [(0, 0, 1, 0, 1)] * 200
    split = hold_out(votes_of(rows, anonymous=True), 0.25, nlhf.Stream(3))
    # Binomial(200, 1/4), four standard deviations.
    assert 25 <= len(split.held_out) <= 75


def test_bad_shares_and_too_few_votes_are_named():
    votes = votes_of([(0, 0, 1, 0, 1)] * 3)
    with pytest.raises(InvalidProblem, match=r"1\.5"):
        hold_out(votes, 1.5, nlhf.Stream(0))
    with pytest.raises(InvalidData, match="3 votes answer 1 questions"):
        hold_out(votes, 0.5, nlhf.Stream(0))
    with pytest.raises(InvalidData, match="no votes"):
        learn_offline(votes_of([]), QUICK)


def test_certificates_hold_on_planted_preferences():
    """δ = 0.001 each, 2 runs: a correct programme fails with probability at most 0.002."""
    for seed in range(2):
        tables = skew_tables(seed, scale=0.4)
        study = learn_offline(
            votes_from(tables, 60, seed),
            replace(QUICK, preference_class=ClassKind.TABULAR, delta=0.001),
            [Method.BONUS, Method.RESTRICTED],
        )
        for policy in study.policies:
            true = mean_exploitability(tables, policy.policy, study.settings.temperature)
            assert true <= policy.gap.high + 1e-9
            if policy.against_covered is not None:
                assert policy.against_covered <= policy.gap.high


def test_policies_come_in_order_and_the_reference_draws_with_itself():
    study = learn_offline(votes_from(skew_tables(4), 20, 4), QUICK)
    names = [policy.name for policy in study.policies]
    assert names == [REFERENCE, *Method]
    assert study.wins.rates.value[0, 0] == 0.5
    assert study.duels.rates.value[1, 0] == pytest.approx(0.5, abs=1e-12)
    assert study.duels.rates.value[0, 0] == pytest.approx(1.0 - study.wins.rates.value[1, 0])
    only = learn_offline(votes_from(skew_tables(4), 20, 4), QUICK, [Method.RESTRICTED])
    assert [policy.name for policy in only.policies] == [REFERENCE, "plug-in", "restricted"]
    assert len(only.fits) == 1
    assert (only.policies[1].policy[0] == study.policies[1].policy[0]).all()
    with pytest.raises(InvalidProblem, match="no method"):
        learn_offline(votes_from(skew_tables(4), 20, 4), QUICK, [])


def cyclic(size: float = 0.4) -> list[np.ndarray]:
    turn = np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    return [size * turn, -size * turn]


def test_a_class_that_excludes_the_truth_is_refuted_and_its_certificates_are_void():
    votes = votes_from(cyclic(), 100, 1)
    study = learn_offline(votes, QUICK, [Method.BONUS])
    assert study.fits[0].misfit.excluded
    assert all(study.refuted(policy) for policy in study.policies)
    anything = replace(QUICK, preference_class=ClassKind.TABULAR)
    assert not learn_offline(votes, anything, [Method.BONUS]).fits[0].misfit.excluded


def test_a_class_that_contains_the_truth_is_hardly_ever_refuted():
    """6 runs at level 0.05: at least 3 refutals have a probability of at most 0.0025."""
    rewards = np.array([1.0, 0.3, -0.2, -1.1])
    truth = 1.0 / (1.0 + np.exp(rewards[None] - rewards[:, None])) - 0.5
    runs = [
        learn_offline(votes_from([truth], 25, seed), QUICK, [Method.PLUG_IN]) for seed in range(6)
    ]
    assert sum(run.fits[0].misfit.excluded for run in runs) < 3


def test_a_rater_who_answers_both_ways_is_warned_about_and_counts():
    rows = [(0, a, b, h, 1) for a, b in itertools.combinations(range(4), 2) for h in range(9)]
    rows += [(0, 1, 0, 4, 1)]
    with pytest.warns(Degenerate, match="1 of 54 questions both ways.*'rater 4'"):
        study = learn_offline(votes_of(rows, sizes=(4,)), QUICK, [Method.PLUG_IN])
    assert len(study.split.training) + len(study.split.held_out) == 55


def test_prompts_without_votes_or_with_one_response_are_warned_about_and_kept():
    rows = [(0, a, b, h, 1) for a, b in itertools.combinations(range(4), 2) for h in range(9)]
    votes = votes_of(rows, sizes=(4, 3, 1))
    settings_ = replace(QUICK, preference_class=ClassKind.TABULAR)
    with pytest.warns(Degenerate) as caught:
        study = learn_offline(votes, settings_)
    said = " ".join(str(one.message) for one in caught)
    assert "prompt 'prompt 1' has no votes" in said
    assert "prompt 'prompt 2' has only one response" in said
    assert "stages" not in said
    for policy in study.policies:
        if policy.name in (Method.PLUG_IN, Method.BONUS, Method.RESTRICTED):
            assert policy.policy[1] == pytest.approx(np.full(3, 1 / 3), abs=1e-6)
        assert policy.policy[2].tolist() == [1.0]
        if policy.name != Method.VERSION_SPACE:
            assert policy.gap.high >= 0.5 * (2 / 3) / 3 - 1e-9


def test_bad_settings_are_refused():
    for bad in (0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(HypothesisViolated, match="delta is"):
            LearningSettings(delta=bad)
    with pytest.raises(InvalidProblem, match="temperature"):
        LearningSettings(temperature=-1.0)
    with pytest.raises(InvalidProblem, match="0 candidates"):
        LearningSettings(candidates=0)
    with pytest.raises(InvalidProblem, match="at least 40"):
        LearningSettings(bootstrap=3)
    votes = votes_from(skew_tables(1), 5, 1)
    logits = LearningSettings(preference_class=ClassKind.TABULAR, payoff=PayoffKind.LOG_ODDS)
    with pytest.raises(HypothesisViolated, match="no bound"):
        learn_offline(votes, logits)
    with pytest.raises(HypothesisViolated, match="shares of votes"):
        learn_from_voters(votes, logits, Asking())


def test_the_payoff_may_be_log_odds():
    rewards = np.array([1.0, 0.0, -1.0])
    truth = 1.0 / (1.0 + np.exp(rewards[None] - rewards[:, None])) - 0.5
    settings_ = replace(QUICK, payoff=PayoffKind.LOG_ODDS, temperature=0.5)
    study = learn_offline(votes_from([truth], 400, 3), settings_)
    plug_in = study.policies[1]
    # Under Bradley-Terry log-odds the equilibrium is the reference tilted by the rewards.
    estimate = study.fits[0].confidence.model.table[0]
    tilted = np.exp(estimate[:, 0] / 0.5)
    assert plug_in.policy[0] == pytest.approx(tilted / tilted.sum(), abs=1e-6)
    assert plug_in.gap.units is Units.LOG_ODDS


@pytest.mark.parametrize("explorer", list(ExplorerKind))
def test_certificates_of_rounds_hold_for_shares_of_votes(explorer):
    """The finite class contains the shares: one run each at δ = 0.001."""
    votes = votes_from(skew_tables(6, scale=0.45), 25, 6)
    settings_ = replace(QUICK, preference_class=ClassKind.FINITE, delta=0.001)
    study = learn_from_voters(votes, settings_, Asking(4, 100, explorer))
    assert len(study.policies) == 5
    assert study.unseen == 0
    assert (study.true_gaps <= study.run.gaps).all()
    counts = study.split.training
    layout = Layout(SIZES)
    data = layout.data(counts)
    shares = [np.zeros((n, n)) for n in SIZES]
    rows = zip(data.pairs.stage, data.pairs.first, data.pairs.second, strict=True)
    for k, (x, a, b) in enumerate(rows):
        share = data.wins[k] / data.counts[k] - 0.5
        shares[int(x[0])][a[0], b[0]], shares[int(x[0])][b[0], a[0]] = share, -share
    for policy, gap in zip(study.policies, study.true_gaps, strict=True):
        expected = mean_exploitability(shares, policy, settings_.temperature)
        assert gap == pytest.approx(expected, abs=1e-8)


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path):
    votes = votes_from(skew_tables(7), 15, 7)
    asking, path = Asking(4, 30), tmp_path / "run.checkpoint"
    settings_ = replace(QUICK, preference_class=ClassKind.FINITE)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "asking" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_from_voters(votes, settings_, asking, path, stop)
    resumed = learn_from_voters(votes, settings_, asking, path)
    whole = learn_from_voters(votes, settings_, asking)
    assert resumed.run.gaps.tolist() == whole.run.gaps.tolist()
    assert resumed.true_gaps.tolist() == whole.true_gaps.tolist()
    for one, other in zip(resumed.policies, whole.policies, strict=True):
        assert all((p == q).all() for p, q in zip(one, other, strict=True))
    with pytest.raises(NotAllowed):
        learn_from_voters(votes, settings_, Asking(4, 31), path)


@pytest.mark.slow
def test_real_votes_are_learned_from(real_data):
    from nlhf.data.votes_csv import read_votes

    votes = read_votes(real_data / "convarg" / "votes.csv")
    study = learn_offline(votes, LearningSettings())
    names = {policy.name: k for k, policy in enumerate(study.policies)}
    # A policy learned from some 35,600 votes beats uniform choice by the other 8,700.
    assert study.wins.rates.low[names[Method.PLUG_IN], 0] > 0.7
    assert study.refuted(study.policies[names[Method.VERSION_SPACE]])
    online = learn_from_voters(
        votes, LearningSettings(preference_class=ClassKind.FINITE), Asking(8, 200)
    )
    assert (online.true_gaps <= online.run.gaps).all()
