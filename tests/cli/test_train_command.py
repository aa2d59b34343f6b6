"""`nlhf train`, `sample`, `chat` and `evaluate` as a user runs them."""

import io
import json
import subprocess
import sys

import pytest
from rich.progress import Progress

from nlhf.cli import main
from tests.training.toy import RUN, toy_folder

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    text = RUN.replace("steps = 4\n", "steps = 1\n").replace("extragradient", "mirror-descent")
    text = text.replace("step_size = 1.0", "step_size = 0.4")
    path = toy_folder(tmp_path_factory.mktemp("toy"), text)
    assert main(["train", str(path)]) == 0
    return path


def test_help_of_every_command_loads_no_torch():
    code = (
        "import sys, nlhf.cli\n"
        "for command in ('train', 'sample', 'chat', 'evaluate'):\n"
        "    try: nlhf.cli.main([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "print('LOADED', *sys.modules)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    help_text, _, loaded = found.partition("LOADED")
    assert "--algorithm" in help_text
    assert not {"torch", "transformers", "cvxpy"} & set(loaded.split())


def test_a_finished_run_says_where_its_policy_is_and_goes_no_further(run, capsys):
    capsys.readouterr()
    assert main(["train", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == found["resumed"] >= 1
    assert found["policy"].endswith("out/policy")


def test_options_overrule_the_file_and_another_method_is_another_run(run, capsys):
    assert main(["train", str(run), "--algorithm", "nash-ema"]) == 2
    error = capsys.readouterr().err
    assert "[algorithm] name = 'mirror-descent', not 'nash-ema'" in error
    assert "--fresh" in error
    elsewhere = run.parent / "ema"
    command = ["train", str(run), "--algorithm", "nash-ema", "--out", str(elsewhere), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["step"] == 1


def test_resuming_needs_a_checkpoint_and_a_choice(run, capsys):
    assert main(["train", str(run), "--resume", "--out", str(run.parent / "none")]) == 2
    assert "no checkpoint to resume from" in capsys.readouterr().err
    assert main(["train", str(run), "--resume", "--fresh"]) == 2
    assert "both --resume and --fresh" in capsys.readouterr().err


def test_a_broken_judge_is_exit_code_2_and_repaired_the_run_goes_on(run, capsys):
    broken = run.parent / "broken"
    broken.write_text("")
    assert main(["train", str(run), "--steps", "2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no judge today" in error
    assert "Traceback" not in error
    broken.unlink()
    assert main(["train", str(run), "--steps", "2", "--resume"]) == 0
    assert "resumed from step 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "changed", "said"),
    [
        ("judges.py:prefers", "judges.py:preferes", "has no preferes"),
        ("judges.py:prefers", "judge.py:prefers", "there is no file"),
        ("judges.py:prefers", "judges.py:not_callable", "is a int"),
        ('name = "model"', 'name = "./modle"', "is not a folder"),
        ("limit = 4", "limit = 14", "prompt"),
        ('prompts = "prompts.jsonl"', 'prompts = "judges.py"', "judges.py"),
        ("step_size = 0.4", "step_size = 9.0", "not proven"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(run, capsys, line, changed, said):
    text = run.read_text()
    assert line in text
    other = run.parent / "other.toml"
    other.write_text(text.replace(line, changed).replace('"out"', '"other"'))
    assert main(["train", str(other)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Fix: " in error
    assert "Traceback" not in error


def test_samples_are_the_same_for_the_same_seed_and_stop_at_the_limit(run, capsys):
    command = ["sample", str(run.parent / "out"), "--prompt", "ab", "--prompt", "c", "--json"]
    capsys.readouterr()
    shown = []
    for options in ([], [], ["--seed", "1"], ["--limit", "1", "--count", "3"]):
        assert main([*command, *options]) == 0
        shown.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [row["prompt"] for row in shown[0]] == ["ab", "c"]
    assert shown[0] == shown[1] != shown[2]
    assert all(len(text) <= 1 for row in shown[3] for text in row["responses"])
    assert len(shown[3][0]["responses"]) == 3


def test_a_plain_folder_of_transformers_can_be_sampled_too(run, capsys):
    capsys.readouterr()
    assert main(["sample", str(run.parent / "model"), "--prompt", "ab", "--limit", "3"]) == 0
    assert capsys.readouterr().out.startswith("> ab\n")


def test_sampling_without_prompts_or_of_nothing_is_refused(run, capsys):
    assert main(["sample", str(run.parent / "out")]) == 2
    assert "--prompt" in capsys.readouterr().err
    assert main(["sample", str(run.parent / "nowhere"), "--prompt", "a"]) == 2
    assert "nowhere" in capsys.readouterr().err
    for command in (["sample", "--prompt", "a"], ["chat"]):
        assert main([*command, str(run.parent / "out"), "--seed", "-1"]) == 2
        assert "the seed is -1" in capsys.readouterr().err


def test_a_run_whose_settings_were_cut_short_is_not_opened(run, capsys):
    broken = run.parent / "cut"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "config.json").write_text('{"sections": {"mod')
    assert main(["sample", str(broken), "--prompt", "a"]) == 2
    assert "config.json is not what a run writes" in capsys.readouterr().err


def test_what_errors_advise_is_written_in_the_file(run, capsys):
    text = run.read_text().replace("step_size = 0.4", "step_size = 9.0")
    other = run.parent / "far.toml"
    other.write_text(text.replace('"out"', '"far"'))
    assert main(["train", str(other)]) == 2
    error = capsys.readouterr().err
    assert "unproven = true" in error
    assert "--" not in error


def test_time_left_is_known_though_a_step_takes_minutes(monkeypatch):
    from nlhf.cli import progress

    now, shown = [0.0], []

    class Bar(Progress):
        def __init__(self, *columns, disable, **settings):
            super().__init__(*columns, disable=False, get_time=lambda: now[0], **settings)
            shown.append(self)

        def start(self):
            """Show nothing."""

    monkeypatch.setattr(progress, "Progress", Bar)
    with progress.training_bar() as observe:
        for step in range(1, 5):
            now[0] += 300.0
            observe({"step": step, "tokens_per_second": 10.0}, 10)
        assert shown[0].tasks[0].time_remaining == 6 * 300.0


def test_chat_answers_every_line_and_remembers_what_was_said(run, capsys, monkeypatch):
    def said(text: str) -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        capsys.readouterr()
        assert main(["chat", str(run.parent / "out"), "--limit", "3"]) == 0
        return capsys.readouterr().out.split("\n")[:-1]

    both = said("ab\n\nc\n")
    assert len(both) == 2
    assert said("ab\n") == both[:1]


def test_evaluate_compares_two_policies_with_intervals(run, capsys):
    out, model = run.parent / "out", run.parent / "model"
    prompts = ["--prompts", str(run.parent / "prompts.jsonl"), "--limit", "4"]
    judge = ["--judge", f"{run.parent / 'judges.py'}:prefers"]
    capsys.readouterr()
    assert main(["evaluate", str(out), str(model), *prompts, *judge, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (first, second) = found["policies"].values()
    for row in (first[0], second[0]):
        assert row["name"] == "win rate (judge)"
        assert 0.0 <= row["low"] <= row["value"] <= row["high"] <= 1.0
    reward = ["--reward", f"{run.parent / 'judges.py'}:reward"]
    assert main(["evaluate", str(out), str(model), *prompts, *reward]) == 0
    assert "reward (reward)" in capsys.readouterr().out.replace("\n", " ")
    assert main(["evaluate", str(out), str(model), *prompts]) == 2
    assert "--judge and --reward" in capsys.readouterr().err
