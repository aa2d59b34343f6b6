"""The movie-review experiment: its parts on inputs with known answers, and a small whole run."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.language.movie_reviews import __main__ as command
from benchmarks.language.movie_reviews.consensus import same_sentiment
from benchmarks.language.movie_reviews.evaluation import Outcome, win_rates
from benchmarks.language.movie_reviews.frontier import CANDIDATES, Candidates, fair_tilt, tilt
from benchmarks.language.movie_reviews.plan import METHODS, SMOKE, Plan
from benchmarks.language.movie_reviews.raters import Qualities, majority, vote
from benchmarks.language.movie_reviews.report import Table, gain, loss, write
from benchmarks.language.movie_reviews.sentences import Labelled, pieces, split
from benchmarks.language.movie_reviews.sentiment import (
    Sentiment,
    character_grams,
    fit_sentiment,
    word_grams,
)
from nlhf import Stream
from nlhf.errors import NotAllowed


def cut(sentence: str, limit: int) -> list[tuple[str, bool]]:
    words = sentence.split()
    return [(" ".join(w), closed) for w, closed in pieces(words, [1] * len(words), limit)]


def test_a_sentence_is_cut_after_its_last_clause_that_fits() -> None:
    assert cut("a b , c d , e f .", 6) == [("a b , c d", True), ("e f .", True)]


def test_a_stretch_without_a_clause_is_cut_at_the_limit_and_does_not_end() -> None:
    assert cut("a b c d e .", 4) == [("a b c d", False), ("e .", True)]


def test_no_piece_costs_more_than_the_limit_and_no_other_word_is_lost() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        words = random.choice(["a", "b", ",", "."], size=30).tolist()
        costs = random.integers(1, 4, size=30).tolist()
        found = pieces(words, costs, 9)
        price = dict(zip(words, costs, strict=True))
        assert all(len(piece) <= 9 for piece, _ in found)
        kept = [word for piece, _ in found for word in piece if word != ","]
        assert [w for w in kept if w in "ab"] == [w for w in words if w in "ab"]
        assert set(price) >= set(kept)


def test_the_parts_of_the_corpus_are_disjoint_and_make_it_up() -> None:
    corpus = Labelled(tuple(str(k) for k in range(1000)), (True, False) * 500)
    plan = replace(SMOKE, sentences=1000)
    parts = split(corpus, plan)
    every = [parts.scorer, parts.judge, parts.prompting, parts.held_out]
    assert sorted(t for part in every for t in part.texts) == sorted(corpus.texts)
    assert len(parts.prompting) == plan.prompts_training


@pytest.mark.parametrize("grams", [word_grams, character_grams])
def test_a_word_that_only_pleased_reviewers_use_is_positive(grams: object) -> None:
    texts = tuple(f"the film is {'superb' if k % 2 else 'dreadful'} {k}" for k in range(40))
    fitted = fit_sentiment(Labelled(texts, (False, True) * 20), grams, 1)  # type: ignore[arg-type]
    assert fitted.logits(["superb"])[0] > 0 > fitted.logits(["dreadful"])[0]


def test_raters_vote_with_the_probabilities_of_their_group() -> None:
    # Two responses, one standard deviation apart in each quality and ranked oppositely, so that
    # a majority rater prefers the first with probability σ(κ√2); false alarm below 1e-6.
    plan = replace(Plan(), raters=100, votes=200)
    found = Qualities(np.tile([1.0, 0.0], (5, 1)), np.tile([9.0, 3.0], (5, 1)))
    votes = vote(found, plan, Stream(3))
    first = np.where(votes.response_a == 0, votes.label > 0, votes.label < 0)
    own = majority(plan)[votes.annotator]
    expected = 1.0 / (1.0 + np.exp(-plan.strength * np.sqrt(2.0)))
    for chosen, probability in ((own, expected), (~own, 1.0 - expected)):
        error = np.sqrt(expected * (1.0 - expected) / chosen.sum())
        assert abs(first[chosen].mean() - probability) < 5.0 * error


def test_win_rates_count_ties_one_half_and_sum_to_one() -> None:
    random = np.random.default_rng(1)
    a, b = random.integers(4, size=(2, 6, 5))
    assert np.allclose(win_rates(a, b) + win_rates(b, a), 1.0)
    assert np.allclose(win_rates(a, a), 0.5)
    assert win_rates(np.array([[2.0, 1.0]]), np.array([[1.0]]))[0] == 0.75


def test_two_endings_say_the_same_if_both_please_or_neither_does() -> None:
    scorer = Sentiment(word_grams, {"good": 1.0, "bad": -1.0}, 0.0)
    pairs = [[" good film", " good"], [" bad", " good"], [" bad", " film"], [" bad good", " bad"]]
    same = same_sentiment(scorer, ["a"] * 4, pairs)
    assert same == [True, False, True, True]


def outcome(method: str, seed: int, majority: float, minority: float) -> Outcome:
    random = np.random.default_rng(seed)
    noise = random.uniform(-0.1, 0.1, size=40)
    noise -= noise.mean()
    return Outcome(
        seed=seed,
        method=method,
        majority=(majority + noise).tolist(),
        minority=(minority + noise).tolist(),
        divergence=[1.0] * 40,
        tokens=[9.0] * 40,
        words=[7.0] * 40,
        steps=3,
        path=[0.3, 0.6, 1.0],
        weights=[],
        seconds=1.0,
        samples=["a film |is born"],
    )


def outcomes(maxmin: tuple[float, float]) -> list[Outcome]:
    rates = {"sft": (0.5, 0.5), "single": (0.8, 0.5), "maxmin": maxmin}
    return [outcome(name, seed, *rates[name]) for seed in (1, 2, 3) for name in rates]


def test_the_table_is_about_the_means_and_its_intervals_hold_them() -> None:
    table = Table(outcomes((0.76, 0.7)))
    for statistic, value in ((gain, 1.4), (loss, 0.04)):
        mean, low, high = table.estimate(statistic)
        assert mean == pytest.approx(value)
        assert low <= mean <= high
        assert table.of_seeds(statistic) == pytest.approx([value] * 3)


@pytest.mark.parametrize(
    ("maxmin", "reached"), [((0.76, 0.7), True), ((0.74, 0.7), False), ((0.79, 0.6), False)]
)
def test_the_target_needs_both_of_its_halves(
    maxmin: tuple[float, float], reached: bool, tmp_path: Path
) -> None:
    text = write(outcomes(maxmin), [], {"machine": "none"}, SMOKE, tmp_path / "table")
    assert ("**Target reached.**" in text) == reached
    assert json.loads((tmp_path / "table.json").read_text())["target_reached"] is reached


def test_a_tilt_is_the_policy_of_its_divergence_and_a_fair_one_serves_both_groups_alike() -> None:
    groups = np.random.default_rng(4).normal(size=(2, 9, CANDIDATES))
    policy = tilt(groups[0], 0.4)
    kl = (policy * np.log(policy * CANDIDATES)).sum(axis=1).mean()
    assert kl == pytest.approx(0.4, abs=1e-9)
    slopes = np.log(policy[:, 1:] / policy[:, :1]) / (groups[0, :, 1:] - groups[0, :, :1])
    assert np.ptp(slopes) < 1e-9
    found = Candidates(Qualities(groups[0], groups[1]), groups[0], groups)
    gains = found.gains(fair_tilt(groups, found, 0.4))
    assert gains[0] == pytest.approx(gains[1], abs=1e-6)
    assert gains[0] > 0.0


@pytest.mark.slow
def test_a_small_run_measures_every_method_and_resumes_without_repeating_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = os.environ.get("NLHF_TEST_DATA")
    if root is None:
        pytest.skip("set NLHF_TEST_DATA to the folder of real data")
    data = Path(root) / "movie_reviews"
    plan = replace(SMOKE, seeds=(1,), outer_steps=2, epochs=1)
    text = command.run(data, tmp_path, plan)
    assert all((tmp_path / "seed-1" / f"{method}.json").is_file() for method in METHODS)
    monkeypatch.setattr("benchmarks.language.movie_reviews.methods._until_matched", None)
    monkeypatch.setattr("benchmarks.language.movie_reviews.pretraining.loss_of", None)
    monkeypatch.setattr(command.Corpus, "nats_per_token", 0.0)
    again = command.run(data, tmp_path, plan)
    rows = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert rows == [line for line in again.splitlines() if line.startswith("| 1 |")]
    with pytest.raises(NotAllowed, match="other numbers: outer_steps"):
        command.run(data, tmp_path, replace(plan, outer_steps=3))
