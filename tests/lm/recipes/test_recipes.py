"""Recipes are valid configurations, their rewards do what they say, and they run on tiny models."""

import json

import numpy as np
import pytest
import torch

import nlhf
from nlhf.errors import InvalidData
from nlhf.lm.judges.training import FitSettings
from nlhf.lm.loading.adapters import LoraSettings
from nlhf.lm.loading.classifiers import ClassifierReward
from nlhf.lm.loading.pretrained import Architecture, load_backbone, new_model
from nlhf.lm.loading.prompt_files import beginnings, write_prompts
from nlhf.lm.loading.tokenizers import train_tokenizer
from nlhf.lm.recipes import recipe_names, rewards, write_recipe
from nlhf.lm.recipes.group_rewards import _adapted, fit_group_rewards
from nlhf.training.config import read_config
from nlhf.training.named import named_object

SENTENCES = [f"the {thing} is {how} today" for thing in ("film", "plot", "cast", "end")
             for how in ("good", "bad", "dull", "fine and long and slow")]  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_a_configuration_whose_judges_are_there(name, tmp_path):
    config = read_config(write_recipe(name, tmp_path))
    for judge in config.judge.rewards:
        assert callable(named_object(judge, tmp_path, "[judge]"))
    with pytest.raises(InvalidData, match="there already"):
        write_recipe(name, tmp_path)


def test_the_recipes_are_the_three_of_the_experiments(tmp_path):
    assert recipe_names() == ("gpt2_imdb", "movie_reviews", "tulu2_personalised_soups")
    with pytest.raises(InvalidData, match="gpt2_imdb"):
        write_recipe("gpt3", tmp_path)
    tulu = read_config(write_recipe("tulu2_personalised_soups", tmp_path))
    assert tulu.lora is not None
    assert (tulu.lora.rank, tulu.model.dtype, tulu.model.chat_template) == (16, "bfloat16", "tulu")


def test_conciseness_counts_tokens():
    found = rewards.conciseness(completion_ids=[[1] * 16, [1], []], prompts=["", "", ""])
    assert found == [-1.0, -1 / 16, 0.0]


def test_movie_sentiment_tells_praise_from_blame(monkeypatch, tmp_path):
    (tmp_path / "rt-polarity.pos").write_text("good good fine\n")
    (tmp_path / "rt-polarity.neg").write_text("bad dull good\n")
    monkeypatch.setenv(rewards.MOVIE_REVIEWS, str(tmp_path))
    rewards._word_weights.cache_clear()
    score = rewards.movie_sentiment(["a", "", "", ""], [" good", "bad bad", "", "Good!"])
    # 3 + 4 words on either side with one added to each of the four words that there are.
    good, bad = np.log(3 / 7) - np.log(2 / 7), np.log(1 / 7) - np.log(2 / 7)
    assert score == pytest.approx([good / 2**0.5, 2**0.5 * bad, 0.0, good / 2**0.5])
    rewards._word_weights.cache_clear()


def test_movie_sentiment_names_the_file_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv(rewards.MOVIE_REVIEWS, str(tmp_path))
    rewards._word_weights.cache_clear()
    with pytest.raises(InvalidData, match=r"rt-polarity\.pos cannot be read"):
        rewards.movie_sentiment(["a"], ["b"])


def test_movie_sentiment_agrees_with_the_labels_of_new_sentences(real_data, monkeypatch, tmp_path):
    """A held-out accuracy of 0.70 is 30 standard errors from chance on 2,132 sentences."""
    held = {}
    for side in ("pos", "neg"):
        path = real_data / "movie_reviews" / f"rt-polarity.{side}"
        lines = path.read_text(encoding="latin-1").splitlines()
        held[side] = lines[::5]
        kept = [line for i, line in enumerate(lines) if i % 5]
        (tmp_path / path.name).write_text("\n".join(kept), encoding="latin-1")
    monkeypatch.setenv(rewards.MOVIE_REVIEWS, str(tmp_path))
    rewards._word_weights.cache_clear()
    scores = {s: np.array(rewards.movie_sentiment([""] * len(t), t)) for s, t in held.items()}
    rewards._word_weights.cache_clear()
    assert np.concatenate([scores["pos"] > 0, scores["neg"] < 0]).mean() > 0.7


def saved_model(folder, context=64):
    tokenizer = train_tokenizer([*SENTENCES, "<|user|>\n<|assistant|>\n"], 300)
    model = new_model(Architecture("llama", 300, context, 16, 1, 2), nlhf.Stream(0))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(10.0 if p.dim() > 1 else 1.0)  # so that what was read shows in the last state
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def test_group_rewards_are_fitted_apart_and_load_as_classifiers(tmp_path):
    saved_model(tmp_path / "base", context=128)
    for group, (chosen, rejected) in {"P3A": ("good", "bad"), "P3B": ("bad", "good")}.items():
        pair = {"user_input": "film?", "completion_a": chosen, "completion_b": rejected}
        (tmp_path / f"{group}.json").write_text(json.dumps([pair] * 20))
    fits = fit_group_rewards(
        [tmp_path / "P3A.json", tmp_path / "P3B.json"],
        str(tmp_path / "base"),
        tmp_path / "rewards",
        nlhf.Stream(0),
        settings=FitSettings(learning_rate=0.01, epochs=4, batch=6, micro_batch=6),
        lora=LoraSettings(rank=2),
        limit=32,
        dtype=torch.float32,
    )
    for group, sign in (("P3A", 1.0), ("P3B", -1.0)):
        score = fits[group].epochs[-1].held_out
        margin = -np.log(np.expm1(score.log_loss))
        assert score.accuracy == 1.0
        assert margin > 0.1
        reward = ClassifierReward(
            str(tmp_path / "rewards" / group), chat=True, chat_template="tulu"
        )
        good, bad = reward(["film?", "film?"], ["good", "bad"])
        assert sign * (good - bad) == pytest.approx(margin, rel=1e-4)


def test_adapters_and_head_of_rewards_are_trained_in_float32(tmp_path):
    saved_model(tmp_path)
    model = load_backbone(tmp_path, dtype=torch.bfloat16)
    _adapted(model, LoraSettings(rank=2), nlhf.Stream(0))
    trained = {name: p.dtype for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name == "score.weight" for name in trained)
    assert set(trained.values()) == {torch.float32}
    assert len(trained) == 15


@pytest.mark.slow
def test_the_recipe_of_movie_reviews_trains(monkeypatch, tmp_path):
    from nlhf.training import train

    tokenizer = saved_model(tmp_path / "reference")
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in SENTENCES)
    )
    write_prompts(beginnings(tmp_path / "texts.jsonl", tokenizer, 2), tmp_path / "prompts.jsonl")
    (tmp_path / "rt-polarity.pos").write_text("good fine\n")
    (tmp_path / "rt-polarity.neg").write_text("bad dull slow\n")
    monkeypatch.setenv(rewards.MOVIE_REVIEWS, str(tmp_path))
    rewards._word_weights.cache_clear()
    path = write_recipe("movie_reviews", tmp_path)
    text = path.read_text().replace("held_out = 200", "held_out = 4")
    path.write_text(text.replace("steps = 60", "steps = 2").replace("= 32", "= 4"))
    train(read_config(path))
    lines = (tmp_path / "runs" / "movie-reviews" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) >= 2
    rewards._word_weights.cache_clear()
