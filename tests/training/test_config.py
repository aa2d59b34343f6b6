"""A run's file: what is wrong in it is named, by section and key."""

from pathlib import Path

import pytest

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.training.config import config_of, identity, read_config, sections
from tests.training.toy import RUN


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_with_its_defaults(tmp_path):
    config = read_config(written(tmp_path, RUN))
    assert config.model.limit == 4
    assert config.model.temperature == 1.0
    assert config.lora is None
    assert config.algorithm.settings == {"step_size": 1.0}
    assert config.path("out") == tmp_path / "out"


def test_a_configuration_survives_its_own_document(tmp_path):
    config = read_config(written(tmp_path, RUN + "\n[lora]\ntargets = ['c_attn']\n"))
    again = config_of(_listed(sections(config)), "again", config.folder)
    assert again == config


def _listed(value):
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("line", "changed", "found"),
    [
        ("limit = 4", "limt = 4", r"\[model\] has an unknown key limt.*\n.*did you mean limit"),
        ("limit = 4", 'limit = "4"', r"\[model\] limit is '4' \(str\)\n.*whole number"),
        ("limit = 4", "limit = 4.5", r"\[model\] limit is 4.5"),
        ("limit = 4", "limit = true", r"\[model\] limit is True"),
        ('name = "model"', "", r"\[model\] lacks the key name"),
        ('name = "model"', "name = 3", r"\[model\] name is 3 \(int\)\n.*in quotes"),
        ("cpu = true", "cpu = 1", r"\[run\] cpu is 1 \(int\)\n.*true or false"),
        ("steps = 4", "steps = 0", r"\[run\] steps is 0"),
        ("opponents = 2", 'kind = "chess"', r"\[game\] kind is 'chess'"),
        ("opponents = 2", 'kind = "reward"', r"\[judge\]: preference given for a game of kind"),
        ("opponents = 2", "proportions = [1, 'x']", r"\[game\] proportions is 'x'"),
        ("draws = 4", 'kind = "magic"', r"\[realiser\] kind is 'magic'"),
        ("learning_rate = 1e-3", "betas = [0.9]", r"\[optimiser\] betas is \(0.9,\)"),
        ("learning_rate = 1e-3", "betas = [0.9, 1]", r"\[optimiser\] betas is \(0.9, 1.0\)"),
        ("learning_rate = 1e-3", "learning_rate = inf", r"learning_rate is inf\n.*finite"),
        ("steps = 4", "steps = 4\nseed = -1", r"\[run\] seed is -1"),
        ("steps = 4", "steps = 4\nsamples = -1", r"\[run\] samples is -1"),
        ("\ndraws = 4", "\ndraws = 1", r"\[realiser\] draws is 1\n.*at least 2"),
        ("audit_draws = 2", "audit_draws = 1", r"\[realiser\] audit_draws is 1\n.*at least 2"),
        ("audit_draws = 2", "held_out = 1", r"\[realiser\] held_out is 1"),
        ("audit_draws = 2", "candidates = 0", r"\[realiser\] candidates is 0"),
        ('preference = "judges.py:prefers"', "", r"\[judge\]: nothing given"),
        ("[judge]", "[jury]", r"has no section \[judge\]"),
        ("[game]", "[gam]", r"has a section \[gam\]"),
        ("[game]", "[game", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, line, changed, found):
    assert line in RUN
    with pytest.raises(InvalidData, match=found):
        read_config(written(tmp_path, RUN.replace(line, changed)))


@pytest.mark.parametrize("found", ["[0.2, 0.2]", "[-0.2, 1.2]", "[0.2, 0.3, 0.5]"])
def test_proportions_are_a_distribution_over_the_groups(tmp_path, found):
    text = RUN.replace("preference = ", "rewards = ['judges.py:other', 'judges.py:reward']\n#")
    text = text.replace("opponents = 2", 'kind = "maxmin"\nproportions = ')
    assert read_config(written(tmp_path, text.replace("= \n", "= [0.2, 0.8]\n"))).game.proportions
    with pytest.raises(InvalidData, match=r"\[game\] proportions is .*\n.*each of the 2 rewards"):
        read_config(written(tmp_path, text.replace("proportions = ", f"proportions = {found}")))


def test_a_section_that_is_no_table_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(InvalidData, match=r"\[game\] is 3"):
        read_config(written(tmp_path, "game = 3\n" + RUN.replace("[game]", "[run.more]")))
    with pytest.raises(InvalidData, match="cannot be read"):
        read_config(tmp_path / "nowhere.toml")


def test_arguments_of_the_method_are_checked_by_its_own_class(tmp_path):
    from nlhf.training.building import built_algorithm

    def method(line: str):
        text = RUN.replace("step_size = 1.0", line)
        return built_algorithm(read_config(written(tmp_path, text)))

    assert method("step_size = 2").step_size == 2.0
    assert method("average = true").inner.step_size is None
    with pytest.raises(InvalidData, match=r"\[algorithm\] has an unknown key step"):
        method("step = 2")
    with pytest.raises(InvalidData, match=r"\[algorithm\] step_size is 'x'"):
        method("step_size = 'x'")
    with pytest.raises(HypothesisViolated):
        method("step_size = -1.0")
    with pytest.raises(InvalidData, match=r"name is 'sgd'\n.*extragradient"):
        built_algorithm(read_config(written(tmp_path, RUN.replace('"extragradient"', '"sgd"'))))


def test_a_run_may_be_longer_or_elsewhere_but_not_another_game(tmp_path):
    config = read_config(written(tmp_path, RUN))

    def changed(line: str, other: str):
        return identity(read_config(written(tmp_path, RUN.replace(line, other))))

    assert changed("steps = 4\n", "steps = 9\n") == identity(config)
    assert changed('out = "out"', 'out = "elsewhere"') == identity(config)
    assert changed("micro_batch = 8", "micro_batch = 2") == identity(config)
    assert changed("opponents = 2", "opponents = 3") != identity(config)
    assert changed("limit = 4", "limit = 5") != identity(config)
    assert changed("learning_rate = 1e-3", "learning_rate = 2e-3") != identity(config)
