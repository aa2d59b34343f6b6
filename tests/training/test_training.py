"""Runs as a whole: what they write, and that they go on as if they had never stopped."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from nlhf.errors import InvalidData, NotAllowed
from nlhf.lm.evaluation import measured
from nlhf.lm.running.metrics import METRICS, read_metrics
from nlhf.streams import Stream
from nlhf.training import read_config, train
from nlhf.training.config import JudgeConfig, TrainingConfig
from nlhf.training.policies import Speaking, compared, opened
from tests.training.toy import RUN, toy_folder

BRIEF = (
    RUN.replace("steps = 4\n", "steps = 2\n")
    .replace('"extragradient"', '"mirror-descent"')
    .replace("step_size = 1.0", "step_size = 0.4")
)


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    config = read_config(toy_folder(tmp_path_factory.mktemp("brief"), BRIEF))
    return config, train(config)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    config = read_config(toy_folder(tmp_path_factory.mktemp("toy")))
    return config, train(config)


def changed(config: TrainingConfig, **keys) -> TrainingConfig:
    return replace(config, run=replace(config.run, **keys))


def same_policies(first: Path, second: Path) -> bool:
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(each, dtype="auto") for each in (first, second)
    )
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_policy_is_what_transformers_loads(brief):
    _, result = brief
    loaded = AutoModelForCausalLM.from_pretrained(result.policy, dtype="auto")
    weights = dict(loaded.named_parameters())
    for name, value in result.strategy.weights.items():
        assert torch.equal(weights[name], value)
    moved = [
        float((weights[name].detach() - value).abs().max())
        for name, value in result.run.model.reference.weights.items()
    ]
    assert max(moved) > 1e-4  # a control: it was trained


def test_every_metric_has_a_definition_and_every_step_a_row(brief):
    config, result = brief
    rows = read_metrics(result.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    names = {name.removesuffix("_low").removesuffix("_high") for row in rows for name in row}
    assert names <= set(METRICS)
    assert "win_rate_against_reference" in rows[1]
    assert "win_rate_against_reference" not in rows[0]
    assert 0.0 <= rows[1]["win_rate_against_reference"] <= 1.0
    assert all(row[name] >= 0.0 for row in rows for name in row if name.endswith("_nats_low"))
    samples = (result.folder / "samples.md").read_text()
    assert samples.startswith("# Step 2")
    assert "| ab |" in samples
    said = json.loads((result.folder / "config.json").read_text())
    assert said["sections"]["model"]["limit"] == config.model.limit


def test_a_finished_run_tells_its_last_metrics_again_and_takes_no_other_prompts(brief):
    config, result = brief
    again = train(config)
    assert again.resumed == again.steps == 2
    assert again.metrics == result.metrics
    other = config.folder / "others.jsonl"
    other.write_text((config.folder / "prompts.jsonl").read_text().replace("cde", "edc"))
    with pytest.raises(NotAllowed, match="digest of the prompts"):
        train(replace(config, data=replace(config.data, prompts="others.jsonl")))
    other.write_text((config.folder / "prompts.jsonl").read_text())
    train(replace(config, data=replace(config.data, prompts="others.jsonl")))  # it has moved


def test_the_reference_of_a_finished_run_is_what_it_started_from(brief):
    config, result = brief
    kl = {}
    for folder in (result.folder, config.path("model")):
        table = compared(
            folder,
            result.policy,
            config.path("prompts.jsonl"),
            JudgeConfig(reward=f"{config.folder / 'judges.py'}:reward"),
            Stream(0, ("look",)),
            speaking=Speaking(limit=4, dtype="float64"),
        )
        for row in table.rows:
            names = [one.name for one in row.measures]
            if "KL to the reference" in names:
                kl[row.name] = measured(row, "KL to the reference").value
    assert set(kl) == {str(result.folder), str(result.policy)}  # a bare model's is not known
    assert all(value > 0.0 for value in kl.values())


def test_an_evaluation_that_fails_loses_no_step_and_only_finished_runs_have_a_policy(
    brief, monkeypatch
):
    run = changed(brief[0], out="evaluated", save_every=100, evaluate_every=0)
    train(changed(run, steps=1))
    assert (run.path("evaluated") / "policy").exists()

    def broken(*arguments):
        raise InvalidData("no judge today", "wait")

    run = changed(run, steps=4, evaluate_every=3)
    with monkeypatch.context() as patch:
        patch.setattr("nlhf.training.loop.evaluated", broken)
        with pytest.raises(InvalidData, match="no judge today"):
            train(run)
    assert not (run.path("evaluated") / "policy").exists()
    again = train(run)
    assert again.resumed == 3
    rows = read_metrics(again.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_that_stops_after_every_step_ends_with_the_same_bits(uninterrupted):
    config, result = uninterrupted
    for steps in (1, 2, 4):
        config = changed(config, out="in-parts", steps=steps)
        parts = train(config)
    assert parts.resumed == 2
    assert parts.strategy.key == result.strategy.key
    assert same_policies(parts.policy, result.policy)
    rows = read_metrics(parts.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    losses = [row["loss"] for row in read_metrics(result.folder / "metrics.jsonl")]
    assert [row["loss"] for row in rows] == losses


@pytest.mark.slow
def test_a_judge_that_breaks_loses_nothing_and_the_repaired_run_ends_the_same(uninterrupted):
    config, result = uninterrupted
    broken = config.folder / "broken"
    config = changed(config, out="repaired", save_every=100)

    def observe(metrics, total):
        if metrics["step"] == 2:
            broken.write_text("")

    with pytest.raises(InvalidData, match="no judge today"):
        train(config, observe=observe)
    broken.unlink()
    again = train(config)
    assert again.resumed == 2  # though nothing was to be saved before the end
    assert again.strategy.key == result.strategy.key


@pytest.mark.slow
def test_adapters_are_trained_saved_and_opened_again(uninterrupted):
    config, _ = uninterrupted
    path = config.folder / "lora.toml"
    path.write_text(RUN.replace('out = "out"', 'out = "lora"') + "[lora]\nrank = 2\n")
    result = train(changed(read_config(path), steps=1, evaluate_every=0))
    assert (result.policy / "adapter_model.safetensors").is_file()
    policy = opened(result.folder)
    model = result.run.model
    asked = policy.prompts(["ab", "c"])
    seen = model.sample(result.strategy, asked, 3, result.run.stream.child("look"))
    expected = model.log_probabilities(result.strategy, seen)
    seen.known.clear()
    found = policy.model.log_probabilities(policy.strategy, seen)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    seen.known.clear()
    base = policy.model.log_probabilities(policy.model.reference, seen)
    torch.testing.assert_close(
        base, model.log_probabilities(model.reference, seen), rtol=0, atol=1e-9
    )
    assert float((base - found).abs().max()) > 1e-6  # a control: the adapters do something


@pytest.mark.parametrize(
    ("judge", "game", "metric"),
    [
        ('reward = "judges.py:reward"', 'kind = "reward"', "reward"),
        (
            'rewards = ["judges.py:reward", "judges.py:other"]',
            'kind = "maxmin"',
            "group_utilities",
        ),
    ],
)
def test_rewards_and_groups_are_trained_on_as_well(brief, judge, game, metric):
    config, _ = brief
    text = RUN.replace('preference = "judges.py:prefers"', judge)
    text = text.replace("opponents = 2", f"opponents = 2\n{game}")
    path = config.folder / "other.toml"
    text = text.replace('name = "extragradient"', 'name = "mirror-descent"\nunproven = true')
    path.write_text(text)
    result = train(changed(read_config(path), out=metric, steps=1, evaluate_every=1))
    assert metric in result.metrics
    assert f"{metric}_of_reference" in result.metrics
    if metric == "group_utilities":
        assert sum(result.metrics["group_weights"]) == pytest.approx(1.0)


def test_rewards_that_are_no_numbers_end_the_run_with_the_row_named(brief):
    config, _ = brief
    text = RUN.replace('preference = "judges.py:prefers"', 'reward = "judges.py:nothing"')
    path = config.folder / "nan.toml"
    path.write_text(text.replace("opponents = 2", 'kind = "reward"').replace('"out"', '"nan"'))
    with pytest.raises(InvalidData, match=r"row \d+, response \d+: the reward is nan"):
        train(read_config(path))


@pytest.mark.slow
def test_the_folder_of_an_unfinished_run_is_opened_at_its_newest_checkpoint(uninterrupted):
    config, result = uninterrupted
    run = changed(config, out="unfinished", steps=2)
    train(run)
    for path in sorted((config.path("unfinished") / "policy").iterdir()):
        path.unlink()
    (config.path("unfinished") / "policy").rmdir()
    found = opened(config.path("unfinished"))
    finished = train(changed(config, out="unfinished", steps=2))
    assert found.strategy.key == finished.strategy.key
    assert found.strategy.key != result.strategy.key


@pytest.mark.slow
def test_gradient_checkpointing_and_micro_batches_change_nothing(uninterrupted):
    config, result = uninterrupted
    model = replace(config.model, gradient_checkpointing=True, micro_batch=3)
    other = train(changed(replace(config, model=model), out="frugal"))
    for name, value in result.strategy.weights.items():
        torch.testing.assert_close(other.strategy.weights[name], value, rtol=0, atol=1e-9)


@pytest.fixture(autouse=True)
def _quiet():
    """Peft and transformers warn of each other's old names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
