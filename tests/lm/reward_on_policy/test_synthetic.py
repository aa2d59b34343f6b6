"""RLP-SPG: clusters, selection and its statistics, by hand and against the exact law."""

import itertools

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from nlhf.errors import HypothesisViolated, InvalidData, Unsupported
from nlhf.learning.reward_on_policy import consensus_pairs
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.lm.reward_on_policy.clustering import Clustering, semantic_clusters
from nlhf.lm.reward_on_policy.entailment import Merge, NliEquivalence, merged
from nlhf.lm.reward_on_policy.synthetic import (
    LargestTie,
    candidates,
    largest_clusters,
    least_size,
    synthetic_preferences,
)
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream
from tests.lm.judges.tiny import Letters, randomised


def same_letter(prompts, pairs):
    return [a[0] == b[0] for a, b in pairs]


def adjacent(prompts, pairs):
    """Not transitive: a = b = c, but a is not c."""
    return [abs(ord(a[0]) - ord(b[0])) <= 1 for a, b in pairs]


class ByToken:
    """The reward of a response is that of its last token."""

    def __init__(self, table):
        self.table = np.asarray(table, dtype=float)

    def rewards(self, responses):
        last = responses.lengths.numpy() - 1
        return self.table[np.take_along_axis(responses.tokens.numpy(), last[..., None], 2)[..., 0]]


def samples_of(rows, numbers=None):
    """Responses of single-letter words; all have the same number of samples."""
    longest = max(len(word) for some in rows for word in some)
    numbers = range(len(rows)) if numbers is None else numbers
    return Responses(
        Prompts(((1,),) * len(rows), ("x",) * len(rows), tuple(numbers)),
        torch.tensor(
            [[[ord(c) - 96 for c in word.ljust(longest, "`")] for word in some] for some in rows]
        ),
        torch.tensor([[len(word) for word in some] for some in rows]),
        uniform_weights(len(rows), len(rows[0])),
    )


def clusters_of(texts, equivalent, clustering):
    return semantic_clusters(["x"], [texts], equivalent, clustering=clustering)[0].tolist()


def test_greedy_and_transitive_clusters_of_a_relation_that_is_not_transitive():
    assert clusters_of(["a", "b", "c"], adjacent, Clustering.GREEDY) == [0, 0, 1]
    assert clusters_of(["b", "a", "c"], adjacent, Clustering.GREEDY) == [0, 0, 0]
    assert clusters_of(["a", "b", "c"], adjacent, Clustering.TRANSITIVE) == [0, 0, 0]
    assert clusters_of(["a", "e", "c", "d"], adjacent, Clustering.TRANSITIVE) == [0, 1, 1, 1]
    assert clusters_of(["a", "e", "c", "d"], adjacent, Clustering.GREEDY) == [0, 1, 2, 1]


@pytest.mark.parametrize("clustering", list(Clustering))
def test_an_equivalence_relation_gives_its_classes(clustering):
    texts = ["b", "a", "bb", "c", "b", "ab"]
    assert clusters_of(texts, same_letter, clustering) == [0, 1, 0, 2, 0, 1]


@pytest.mark.parametrize("clustering", list(Clustering))
def test_equal_texts_are_one_cluster_without_a_question_and_no_pair_is_asked_twice(clustering):
    asked = []

    def never(prompts, pairs):
        asked.extend(frozenset(pair) for pair in pairs)
        return [False] * len(pairs)

    found = semantic_clusters(
        ["x", "y"], [["a", "a", "b"], ["c", "c", "c"]], never, clustering=clustering
    )
    assert [own.tolist() for own in found] == [[0, 0, 1], [0, 0, 0]]
    assert asked == [frozenset("ab")]


def test_an_equivalence_that_fails_names_the_row():
    def broken(prompts, pairs):
        raise OSError("no connection")

    with pytest.raises(InvalidData, match=r"row 8: the equivalence raised OSError") as caught:
        semantic_clusters(["x"], [["a", "b"]], broken, rows=[8])
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(InvalidData, match=r"row 8: the equivalence answered 0\.9 to the pair"):
        semantic_clusters(["x"], [["a", "b"]], lambda p, q: [0.9], rows=[8])
    with pytest.raises(InvalidData, match=r"row 8: 2 answers to 1 questions"):
        semantic_clusters(["x"], [["a", "b"]], lambda p, q: [True, False], rows=[8])


def test_every_fate_of_a_prompt_is_counted():
    samples = samples_of(
        [
            ["aa", "ab", "b", "ac"],  # accepted: three of four
            ["a", "ab", "a", "ac"],  # one cluster
            ["a", "b", "c", "d"],  # below the threshold
            ["aa", "b", "bc", "ad"],  # a tie of two
        ],
        numbers=[5, 6, 7, 8],
    )
    reward = ByToken(np.arange(27.0))
    found = synthetic_preferences(samples, reward, same_letter, Letters(), Stream(1))
    counts = found.statistics
    assert (counts.prompts, counts.accepted, counts.one_cluster) == (4, 2, 1)
    assert (counts.below_threshold, counts.rejected_ties, counts.broken_ties) == (1, 0, 1)
    np.testing.assert_array_equal(found.confidence, [0.75, 1.0, 0.25, 0.5])
    assert found.pairs.rows == (5, 8)
    # "ac" ends with the best token of the largest cluster; the only other sample is "b".
    assert (found.chosen[0], found.rejected[0]) == (3, 2)
    assert found.pairs.chosen.tokens[0, 0, :2].tolist() == [1, 3]
    assert found.pairs.rejected.lengths[0, 0] == 1
    assert counts.clusters == (2 + 1 + 4 + 2) / 4
    assert (counts.chosen_length, counts.rejected_length) == (2.0, 1.5)
    strict = synthetic_preferences(
        samples, reward, same_letter, Letters(), Stream(1), tie=LargestTie.REJECTED
    )
    assert strict.pairs.rows == (5,)
    assert (strict.statistics.rejected_ties, strict.statistics.broken_ties) == (1, 0)


def test_nothing_accepted_is_an_error_with_the_numbers():
    samples = samples_of([["a", "a"], ["b", "c"]])
    with pytest.raises(HypothesisViolated, match="none of 2 prompts makes a pair: in 1 all"):
        synthetic_preferences(
            samples, ByToken(np.zeros(27)), same_letter, Letters(), Stream(0), threshold=0.6
        )
    heavy = Responses(
        samples.prompts,
        samples.tokens,
        samples.lengths,
        torch.tensor([[0.9, 0.1]] * 2, dtype=torch.float64),
    )
    with pytest.raises(HypothesisViolated, match="weighted unequally"):
        synthetic_preferences(heavy, ByToken(np.zeros(27)), same_letter, Letters(), Stream(0))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7])
def test_the_rule_summed_over_all_samples_is_the_tabular_law(threshold):
    probabilities = np.array([0.35, 0.2, 0.25, 0.2])
    group = np.array([0, 0, 1, 2])
    reward = np.array([0.3, 0.8, -1.0, 0.1])
    count = 4
    law = np.zeros((4, 4))
    for drawn in itertools.product(range(4), repeat=count):
        drawn = np.array(drawn)
        mass = probabilities[drawn].prod()
        largest = largest_clusters(group[drawn])
        size = int((group[drawn] == largest[0]).sum())
        if not least_size(count, threshold) <= size < count:
            continue
        for one in largest:
            best, others = candidates(group[drawn], reward[drawn], one)
            share = mass / (len(largest) * len(best) * len(others))
            for i, j in itertools.product(best, others):
                law[drawn[i], drawn[j]] += share
    exact = consensus_pairs(
        Policy.of(probabilities[None]), group[None], reward[None], count, threshold
    )
    np.testing.assert_allclose(law, exact[0], atol=1e-15)


def test_what_is_drawn_follows_the_rule():
    # 400 prompts with the same samples: two clusters tie, one has two best samples.
    samples = samples_of([["aa", "ba", "b", "a", "c"]] * 400)
    reward = ByToken(np.eye(27)[1])
    found = synthetic_preferences(samples, reward, same_letter, Letters(), Stream(3), threshold=0.4)
    assert found.statistics.broken_ties == 400
    # Cluster a: samples 0 and 3 both end with the best token; cluster b: only sample 1 does.
    shares = np.bincount(found.chosen, minlength=5) / 400
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.0, 0.25, 0.0], atol=0.1)  # 4 s.e.
    for chosen, rejected in zip(found.chosen, found.rejected, strict=True):
        assert rejected in ({1, 2, 4} if chosen in (0, 3) else {0, 3, 4})


def test_a_prompts_pair_does_not_depend_on_the_other_prompts():
    samples = samples_of([["aa", "b", "bc", "ad"]] * 6)
    reward = ByToken(np.zeros(27))
    whole = synthetic_preferences(samples, reward, same_letter, Letters(), Stream(3))
    part = synthetic_preferences(samples.take([4, 2]), reward, same_letter, Letters(), Stream(3))
    np.testing.assert_array_equal(part.chosen, whole.chosen[[4, 2]])
    np.testing.assert_array_equal(part.rejected, whole.rejected[[4, 2]])


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        ("ee", (True, True, True)),
        ("en", (False, True, True)),
        ("nn", (False, True, False)),
        ("ec", (False, False, False)),
        ("cn", (False, False, False)),
    ],
)
def test_what_counts_as_the_same_by_the_labels_of_both_directions(labels, answers):
    names = {"e": "entailment", "n": "neutral", "c": "contradiction"}
    for one, other in (labels, labels[::-1]):
        assert tuple(merged(names[one], names[other], merge) for merge in Merge) == answers


@pytest.fixture
def classifier(tmp_path):
    words = {word: k for k, word in enumerate(["[PAD]", "[UNK]", "x", "a", "b", "c", "d"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]"
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        num_labels=3,
        id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"},
        label2id={"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2},
    )
    model = randomised(BertForSequenceClassification(config), seed=2, scale=1.0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_classifier_is_loaded_by_path_and_asked_both_ways(classifier):
    texts = ["a b", "c", "d d a", "b"]
    pairs = [[one, other] for one in texts for other in texts]
    equivalence = NliEquivalence.load(classifier, merge=Merge.NO_CONTRADICTION, batch=3)
    answers = equivalence(["x"] * len(pairs), pairs)
    single = NliEquivalence.load(classifier, merge=Merge.NO_CONTRADICTION, batch=1)
    assert answers == single(["x"] * len(pairs), pairs)
    assert set(answers) == {True, False}
    matrix = np.array(answers).reshape(4, 4)
    np.testing.assert_array_equal(matrix, matrix.T)
    labels = single.labels([(f"x {a}", f"x {b}") for a, b in pairs])
    against = np.array([label == "contradiction" for label in labels]).reshape(4, 4)
    np.testing.assert_array_equal(matrix, ~(against | against.T))


def test_a_classifier_with_other_labels_is_refused(classifier):
    loaded = NliEquivalence.load(classifier)
    loaded.model.config.id2label = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    with pytest.raises(Unsupported, match="the classifier's labels are LABEL_0"):
        NliEquivalence(loaded.model, loaded.tokenizer)
