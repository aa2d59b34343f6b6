"""Tournaments find the best of n, and the best of n is as far from the policy as is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.enumerate import Enumeration, TablePreference, leaves
from nlhf.lm.learning.best_of import (
    as_rows,
    best_of,
    best_of_divergence,
    chosen_responses,
    paired_preferences,
    tournament,
)
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.streams import Stream
from tests.lm.tiny import LEAVES, PROMPTS, VOCABULARY, intransitive, tiny_model


def transitive(scores: np.ndarray) -> np.ndarray:
    """Preferences of the order of the scores, with strengths that no reward explains."""
    ahead = np.sign(scores[:, :, None] - scores[:, None, :])
    strength = np.random.default_rng(0).uniform(0.01, 0.5, size=ahead.shape)
    strength = np.triu(strength[0], 1) + np.triu(strength[0], 1).T
    return 0.5 + ahead * strength


class Counting(TablePreference):
    """A table that counts what it is asked."""

    def __init__(self, table):
        super().__init__(table, VOCABULARY)
        self.asked = 0

    def preferences(self, first, second):
        found = super().preferences(first, second)
        self.asked += found.size
        return found


def of_leaves(numbers: np.ndarray) -> Responses:
    """Responses to two prompts that are these leaves of the tree of 4 tokens and 3 steps."""
    digits = np.stack([numbers // 16, numbers // 4 % 4, numbers % 4], axis=-1)
    shape = numbers.shape
    return Responses(
        PROMPTS,
        torch.as_tensor(digits),
        torch.full(shape, 3),
        uniform_weights(*shape),
    )


@settings(max_examples=15)
@given(st.integers(1, 9), st.integers(0, 2**31))
def test_the_best_wins_a_tournament_of_a_transitive_preference_in_n_minus_1_matches(n, seed):
    generator = np.random.default_rng(seed)
    scores = np.stack([generator.permutation(LEAVES) for _ in PROMPTS.rows])
    numbers = generator.integers(LEAVES, size=(2, 3 * n))
    judge = Counting(transitive(scores))
    blocks = torch.arange(3 * n).reshape(3, n).expand(2, -1, -1)
    winners = leaves(tournament(of_leaves(numbers), blocks, judge), VOCABULARY)
    drawn = numbers.reshape(2, 3, n)
    best = [[max(drawn[x, b], key=scores[x].__getitem__) for b in range(3)] for x in range(2)]
    np.testing.assert_array_equal(winners, best)
    assert judge.asked == 2 * 3 * (n - 1)


def test_pairs_are_compared_one_to_one():
    table = intransitive(1, 2.0)
    generator = np.random.default_rng(1)
    first, second = generator.integers(LEAVES, size=(2, 2, 5))
    found = paired_preferences(
        of_leaves(first), of_leaves(second), TablePreference(table, VOCABULARY)
    )
    expected = np.stack([table[x, first[x], second[x]] for x in range(2)])
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_rows_and_choices_keep_responses_with_their_prompts_and_what_is_known_of_them():
    numbers = np.array([[3, 9, 27], [60, 1, 2]])
    responses = of_leaves(numbers)
    responses.known["x"] = torch.as_tensor(numbers, dtype=torch.float64)
    rows = as_rows(responses)
    assert rows.prompts.rows == (0, 0, 0, 1, 1, 1)
    np.testing.assert_array_equal(leaves(rows, VOCABULARY).ravel(), numbers.ravel())
    np.testing.assert_array_equal(rows.known["x"].ravel(), numbers.ravel())
    picked = chosen_responses(responses, torch.tensor([[2, 2], [0, 1]]))
    np.testing.assert_array_equal(leaves(picked, VOCABULARY), [[27, 27], [60, 1]])
    np.testing.assert_array_equal(picked.known["x"], [[27, 27], [60, 1]])


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_best_of_n_is_at_most_as_far_from_the_policy_as_is_known(n):
    """Its law is a difference of powers of the distribution function of the policy's rank."""
    model = tiny_model("llama", 0)
    law = np.exp(Enumeration(model, PROMPTS, VOCABULARY).log_probabilities(model.reference))
    order = np.random.default_rng(2).permutation(LEAVES)
    below = np.cumsum(law[:, order], axis=1)
    best = np.diff(below**n, axis=1, prepend=0.0)
    divergence = (best * np.log(np.maximum(best, 1e-300) / law[:, order])).sum(axis=1)
    assert (divergence <= best_of_divergence(n) + 1e-12).all()
    uniform = np.diff((np.arange(100_001) / 100_000) ** n)
    spread = (uniform * np.log(np.maximum(uniform * 100_000, 1e-300))).sum()
    assert spread == pytest.approx(best_of_divergence(n), abs=1e-3)


def test_sampled_best_of_n_follows_the_law_of_the_best_of_n():
    """A chi-square test over tenths of the rank for each prompt; false alarm 1e-4 for both."""
    model = tiny_model("llama", 0)
    law = np.exp(Enumeration(model, PROMPTS, VOCABULARY).log_probabilities(model.reference))
    scores = np.stack([np.random.default_rng(3).permutation(LEAVES) for _ in range(2)])
    judge = TablePreference(transitive(scores), VOCABULARY)
    found = best_of(model, model.reference, PROMPTS, 500, Stream(5), candidates=4, preference=judge)
    for x, drawn in enumerate(leaves(found, VOCABULARY)):
        below = np.cumsum(law[x, np.argsort(scores[x])])
        rank = below**4
        cut = np.searchsorted(rank, np.linspace(0.1, 0.9, 9))
        ends = np.concatenate([[0.0], rank[cut], [1.0]])
        expected = 500 * np.diff(ends)
        kept = expected > 1e-9
        place = np.searchsorted(cut, scores[x, drawn])
        seen = np.bincount(place, minlength=10)
        statistic = ((seen - expected)[kept] ** 2 / expected[kept]).sum()
        assert statistic < chi2.isf(5e-5, kept.sum() - 1)
        assert not seen[~kept].any()


def test_no_candidates_and_judges_out_of_range_are_refused():
    model = tiny_model("gpt2", 0)
    judge = TablePreference(intransitive(0, 1.0), VOCABULARY)
    with pytest.raises(HypothesisViolated, match="best of 0"):
        best_of(model, model.reference, PROMPTS, 1, Stream(0), candidates=0, preference=judge)
    with pytest.raises(HypothesisViolated, match="best of 0"):
        best_of_divergence(0)

    class Loud:
        def preferences(self, first, second):
            return np.full((*first.shape, second.shape[1]), np.nan)

    with pytest.raises(InvalidData, match="row 0"):
        best_of(model, model.reference, PROMPTS, 1, Stream(0), candidates=2, preference=Loud())


def test_a_single_candidate_is_the_policy_itself():
    model = tiny_model("gpt2", 0)
    judge = Counting(intransitive(0, 1.0))
    asked = Prompts.of([[1], [2, 3]])
    one = best_of(model, model.reference, asked, 6, Stream(4), candidates=1, preference=judge)
    plain = model.sample(model.reference, asked, 6, Stream(4))
    np.testing.assert_array_equal(leaves(one, VOCABULARY), leaves(plain, VOCABULARY))
    assert judge.asked == 0
