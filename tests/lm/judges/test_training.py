"""Fitting networks to pairs: gradients, agreement with logistic regression, the raters' groups."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from nlhf.data.votes import Votes
from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.estimation.mixtures.fitting import fit_mixture
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.lm.judges.bilinear import SkewBilinear
from nlhf.lm.judges.cross_encoder import CrossEncoder, Markers
from nlhf.lm.judges.descent import accumulate
from nlhf.lm.judges.encoding import Encoder
from nlhf.lm.judges.maximisers import AdamWMaximiser, FullBatchMaximiser
from nlhf.lm.judges.pairs import PreferencePairs, joined_pairs
from nlhf.lm.judges.rater_mixture import fit_rater_mixture, score_mixture
from nlhf.lm.judges.reward_heads import BradleyTerryReward, MixtureReward
from nlhf.lm.judges.starts import clustered_raters
from nlhf.lm.judges.training import FitSettings, fit_ensemble, fit_pairs, score_pairs
from nlhf.lm.judges.votes import voted_pairs
from nlhf.results import Stop
from nlhf.streams import Stream
from tests.lm.judges.tiny import PAD, Table, gpt2, pairs_of, random_pairs

ITEMS = 8
FEATURES = np.vstack([np.zeros((1, 3)), Stream(5).generator().normal(size=(ITEMS, 3))])


def cross(backbone):
    markers = Markers((11,), (10,), (9,))
    return CrossEncoder.on(backbone, markers=markers, pad=PAD, stream=Stream(3))


def skew(backbone):
    return SkewBilinear.on(backbone, blocks=2, pad=PAD, stream=Stream(3))


def mixture(backbone, groups=2):
    return MixtureReward.on(backbone, groups, pad=PAD, stream=Stream(3))


def single(backbone):
    return BradleyTerryReward.on(backbone, pad=PAD, stream=Stream(3))


def gradients(model, pairs, coefficients, micro_batch):
    model.zero_grad()
    value = accumulate(model, pairs, coefficients, pairs.total, micro_batch)
    return value, [one.grad.clone() for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize("build", [cross, skew, mixture, single])
def test_gradients_are_the_same_for_every_micro_batch(build):
    model, pairs = build(gpt2()), random_pairs(4)
    groups = 2 if build is mixture else 1
    coefficients = pairs.weights[:, None] * np.full((1, groups), 1.0 / groups)
    value, whole = gradients(model, pairs, coefficients, len(pairs))
    for micro_batch in (1, 3, 4):
        other, parts = gradients(model, pairs, coefficients, micro_batch)
        assert other == pytest.approx(value, rel=1e-6)
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_control_dividing_every_micro_batch_by_its_own_weight_is_another_gradient():
    model, pairs = single(gpt2()), random_pairs(4)
    _, whole = gradients(model, pairs, pairs.weights[:, None], len(pairs))
    model.zero_grad()
    for part in (range(3), range(3, len(pairs))):
        some = pairs.take(part)
        accumulate(model, some, some.weights[:, None] / 2, some.total, len(some))
    parts = [one.grad for one in model.parameters() if one.grad is not None]
    assert max(float(abs(a - b).max()) for a, b in zip(whole, parts, strict=True)) > 1e-3


def drawn_pairs(seed, count, rewards, raters=1, group_of=None):
    """Pairs of items labelled by Bradley-Terry with the rewards of the rater's group."""
    generator = Stream(seed).child("pairs").generator()
    a = generator.integers(1, ITEMS + 1, count)
    b = 1 + (a + generator.integers(0, ITEMS - 1, count)) % ITEMS
    rater = generator.integers(0, raters, count)
    group = np.zeros(raters, dtype=int) if group_of is None else group_of
    margin = rewards[group[rater], a] - rewards[group[rater], b]
    won = generator.random(count) < 1 / (1 + np.exp(-margin))
    return pairs_of(np.where(won, a, b), np.where(won, b, a), annotators=rater, rows=range(count))


def test_linear_heads_on_fixed_features_are_logistic_regression():
    generator = Stream(1).generator()
    pairs = drawn_pairs(2, 60, generator.normal(size=(1, ITEMS + 1)))
    pairs = pairs.weighted(generator.uniform(0.5, 2.0, len(pairs)))
    model, ridge = mixture(Table(FEATURES), groups=1), 0.7
    fit = fit_rater_mixture(
        model, pairs, FullBatchMaximiser(), Stream(0), ridge=ridge, iterations=2
    )
    chosen, rejected = (side.tokens[:, 0, 0].numpy() for side in (pairs.chosen, pairs.rejected))
    contrast = FEATURES[chosen] - FEATURES[rejected]

    def loss(w):
        return pairs.weights @ np.logaddexp(0.0, -contrast @ w) + ridge / 2 * w @ w

    found = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(model.head.weight.detach().numpy()[0], found.x, atol=1e-6)
    assert fit.objective == pytest.approx(-found.fun, abs=1e-9)


def votes_of(pairs, raters):
    prompt = np.zeros(len(pairs), dtype=np.int64)
    sides = [side.tokens[:, 0, 0].numpy() - 1 for side in (pairs.chosen, pairs.rejected)]
    return Votes(
        ("x",),
        (tuple(str(k) for k in range(ITEMS)),),
        tuple(str(k) for k in range(raters)),
        prompt,
        *sides,
        np.asarray(pairs.annotators),
        np.ones(len(pairs), dtype=np.int8),
    )


PLANTED = np.vstack([np.zeros(ITEMS + 1), np.zeros(ITEMS + 1)])
PLANTED[0, 1:] = np.linspace(-2.5, 2.5, ITEMS)
PLANTED[1, 1:] = -PLANTED[0, 1:]
GROUP = (np.arange(20) >= 14).astype(int)


def planted_pairs(seed=3, count=300):
    return drawn_pairs(seed, count, PLANTED, raters=20, group_of=GROUP)


@pytest.mark.parametrize("assignment", list(Assignment))
def test_em_on_tables_agrees_with_the_tabular_mixture(assignment):
    pairs = planted_pairs(count=300)
    tabular = fit_mixture(
        votes_of(pairs, 20), 2, assignment=assignment, ridge=1.0, stream=Stream(4)
    )
    one_hot = np.vstack([np.zeros(ITEMS), np.eye(ITEMS)])
    model = mixture(Table(one_hot))
    fit = fit_rater_mixture(
        model,
        pairs,
        FullBatchMaximiser(),
        Stream(0),
        assignment=assignment,
        ridge=1.0,
        iterations=60,
        tolerance=1e-11,
    )
    assert fit.objective == pytest.approx(tabular.objective, abs=1e-6)
    np.testing.assert_allclose(fit.proportions, tabular.proportions, atol=1e-5)
    np.testing.assert_allclose(fit.responsibilities, tabular.responsibilities, atol=1e-5)
    rewards = model.head.weight.detach().numpy()
    np.testing.assert_allclose(
        rewards - rewards.mean(axis=1, keepdims=True), tabular.rewards, atol=1e-4
    )
    if assignment is Assignment.SOFT:
        assert fit.log_likelihood == pytest.approx(tabular.log_likelihood, abs=1e-4)


@pytest.mark.parametrize("assignment", list(Assignment))
def test_exact_steps_never_lower_the_objective_and_every_bound_lies_between(assignment):
    pairs = planted_pairs(count=60)
    start = Stream(8).generator().dirichlet(np.ones(3), 20)
    model = mixture(Table(FEATURES), groups=3)
    fit = fit_rater_mixture(
        model,
        pairs,
        FullBatchMaximiser(),
        Stream(0),
        assignment=assignment,
        ridge=0.5,
        iterations=5,
        tolerance=-1.0,
        start=start,
    )
    assert fit.stop is Stop.BUDGET
    assert len(fit.history) == 5
    assert fit.largest_fall <= 1e-9
    ends = [*(one.objective for one in fit.history[1:]), fit.objective]
    for one, after in zip(fit.history, ends, strict=True):
        assert one.objective <= one.bound + 1e-9
        assert one.bound <= after + 1e-9


def test_control_large_steps_of_adamw_do_lower_it():
    settings = FitSettings(learning_rate=3.0, batch=50, micro_batch=50, warm_up=0.0)
    model = mixture(Table(FEATURES))
    fit = fit_rater_mixture(
        model,
        planted_pairs(count=100),
        AdamWMaximiser(settings),
        Stream(0),
        iterations=4,
        tolerance=-np.inf,
    )
    assert fit.largest_fall > 1.0


@pytest.mark.slow
def test_planted_groups_are_recovered_with_adamw_on_a_transformer():
    pairs = planted_pairs()
    train, test = pairs.held_out(0.25, Stream(1))
    model = mixture(gpt2())
    settings = FitSettings(learning_rate=5e-3, epochs=3, batch=64, micro_batch=64)
    fit = fit_rater_mixture(model, train, AdamWMaximiser(settings), Stream(0), iterations=3)
    assert (fit.responsibilities.argmax(axis=1) == GROUP).all()
    assert fit.proportions[0] == pytest.approx(0.7, abs=0.05)
    score = score_mixture(model, fit, test)
    # The planted probabilities themselves would be right on `best` of the pairs.
    distance = abs(PLANTED[0, 1:, None] - PLANTED[0, None, 1:])[~np.eye(ITEMS, dtype=bool)]
    best = (1 / (1 + np.exp(-distance))).mean()
    assert score.accuracy > best - 4 * np.sqrt(best * (1 - best) / len(test))
    assert score.log_loss < np.log(2) - 0.1


def test_a_single_reward_cannot_serve_two_opposed_groups():
    pairs = planted_pairs()
    train, test = pairs.held_out(0.25, Stream(1))
    settings = FitSettings(learning_rate=5e-3, epochs=6, batch=64, micro_batch=64)
    model = single(gpt2())
    fit = fit_pairs(model, train, test, settings, Stream(0))
    assert [one.number for one in fit.epochs] == [1, 2, 3, 4, 5, 6]
    assert fit.epochs[-1].held_out == score_pairs(model, test)
    minority = test.take(np.flatnonzero(GROUP[test.annotators] == 1).tolist())
    majority = test.take(np.flatnonzero(GROUP[test.annotators] == 0).tolist())
    assert score_pairs(model, majority).accuracy > 0.7
    assert score_pairs(model, minority).accuracy < 0.3


def test_clustered_raters_find_the_groups_on_frozen_features():
    found = clustered_raters(mixture(Table(FEATURES)), planted_pairs(count=600), Stream(2))
    same = (found[:, 0] > 0.5) == (GROUP == 0)
    assert same.all() or not same.any()


@pytest.mark.slow
@pytest.mark.parametrize(("build", "rate"), [(cross, 3e-2), (skew, 1e-2)])
def test_pairwise_networks_learn_a_cycle(build, rate):
    pairs = pairs_of([1, 2, 3], [2, 3, 1])
    settings = FitSettings(learning_rate=rate, epochs=50, batch=3, micro_batch=3)
    model = build(gpt2())
    fit = fit_pairs(model, pairs, pairs, settings, Stream(0))
    assert fit.before.accuracy < 1.0
    assert fit.epochs[-1].held_out.accuracy == 1.0


def test_ensemble_members_see_their_own_replicates_and_agree_more_where_data_are():
    pairs = drawn_pairs(2, 200, PLANTED)
    seen = pairs.take(
        np.flatnonzero(
            (pairs.chosen.tokens[:, 0, 0] <= 4).numpy()
            & (pairs.rejected.tokens[:, 0, 0] <= 4).numpy()
        ).tolist()
    )
    one_hot = np.vstack([np.zeros(ITEMS), np.eye(ITEMS)])
    members = [
        BradleyTerryReward.on(Table(one_hot), pad=PAD, stream=Stream(0).child(k)) for k in range(4)
    ]
    settings = FitSettings(learning_rate=0.1, epochs=10, batch=64, micro_batch=64)
    fits = fit_ensemble(members, seen, seen, settings, Stream(0))
    assert len(fits) == 4
    weights = np.stack([m.head.weight.detach().numpy()[0] for m in members])
    assert len(np.unique(weights[:, 0])) == 4
    replicate = seen.bootstrapped(Stream(1))
    assert replicate.total == seen.total


def test_a_step_on_weighted_pairs_equals_a_step_on_repeated_ones():
    few = pairs_of([1, 2, 3], [2, 3, 4], weights=np.array([2.0, 1.0, 3.0]))
    many = pairs_of([1, 1, 2, 3, 3, 3], [2, 2, 3, 4, 4, 4])
    found = []
    for pairs in (few, many):
        model = single(gpt2(double=True))
        found.append(gradients(model, pairs, pairs.weights[:, None], 2))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_pairs_are_checked_split_and_joined():
    pairs = pairs_of([1, 2, 3, 4], [2, 3, 4, 1], rows=[7, 7, 8, 9])
    train, test = pairs.held_out(0.34, Stream(0))
    assert not set(train.rows) & set(test.rows)
    assert len(train) + len(test) == 4
    both = joined_pairs(train, test)
    assert sorted(both.chosen.tokens[:, 0, 0].tolist()) == [1, 2, 3, 4]
    with pytest.raises(InvalidData, match=r"pair 1 \(row 7\) has weight -1"):
        pairs.weighted(np.array([1.0, -1.0, 1.0, 1.0]))
    with pytest.raises(InvalidData, match="all 4 pairs have weight 0"):
        pairs.weighted(np.zeros(4))
    with pytest.raises(InvalidData, match=r"response 0 to the prompt of row 1 has length 0"):
        PreferencePairs.of_texts(["x", "y"], ["a", ""], ["b", "c"], lambda t: t.encode(), pad=0)
    with pytest.raises(HypothesisViolated, match="hold out at least one row"):
        pairs.held_out(0.01, Stream(0))


def test_votes_become_pairs_and_ties_half_of_either_order():
    votes = Votes(
        ("p", "q"),
        (("a", "b"), ("a", "c")),
        ("ann", "bob"),
        np.array([0, 1, 1]),
        np.array([0, 0, 1]),
        np.array([1, 1, 0]),
        np.array([1, 0, 1]),
        np.array([-1, 1, 0], dtype=np.int8),
    )
    prompts = {"p": "P", "q": "Q"}
    texts = {("p", "a"): "1", ("p", "b"): "22", ("q", "a"): "3", ("q", "c"): "444"}
    pairs = voted_pairs(votes, prompts, texts, lambda text: list(text.encode()), pad=0)
    shown = [
        (row, *(bytes(side.tokens[i, 0, : side.lengths[i, 0]].tolist()) for side in sides))
        for i, row in enumerate(pairs.rows)
        for sides in [(pairs.chosen, pairs.rejected)]
    ]
    assert shown == [(1, b"3", b"444"), (0, b"22", b"1"), (1, b"444", b"3"), (1, b"3", b"444")]
    assert pairs.weights.tolist() == [1.0, 1.0, 0.5, 0.5]
    assert pairs.annotators.tolist() == [0, 1, 1, 1]
    del texts["q", "c"]
    with pytest.raises(InvalidData, match="response 'c' to 'q' has no text"):
        voted_pairs(votes, prompts, texts, lambda text: list(text.encode()), pad=0)


def test_wrong_asks_are_refused():
    pairs = random_pairs(4)
    with pytest.raises(HypothesisViolated, match="2 groups, and pairs do not say"):
        fit_pairs(mixture(gpt2()), pairs, pairs, FitSettings(), Stream(0))
    with pytest.raises(HypothesisViolated, match="2 groups of 1 raters"):
        fit_rater_mixture(mixture(gpt2()), pairs, FullBatchMaximiser(), Stream(0))
    with pytest.raises(HypothesisViolated, match="counts are at least 1"):
        FitSettings(epochs=0)
    frozen = single(gpt2()).requires_grad_(False)
    with pytest.raises(HypothesisViolated, match="no parameter requires gradients"):
        fit_pairs(frozen, pairs, pairs, FitSettings(), Stream(0))
    broken = single(gpt2())
    with torch.no_grad():
        broken.head.weight.fill_(float("nan"))
    with pytest.raises(InvalidData, match=r"row 0: the log-odds of its pair are \[nan\]"):
        fit_pairs(broken, pairs, pairs, FitSettings(), Stream(0))
    with pytest.raises(HypothesisViolated, match="micro_batch 0"):
        Encoder(gpt2(), pad=PAD, micro_batch=0)
