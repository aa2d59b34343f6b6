"""Metrics and sample tables: every name defined, nothing twice, whatever was cut short."""

import json

import pytest

from nlhf.errors import InvalidProblem, NotAllowed
from nlhf.lm.engine import Engine
from nlhf.lm.running.metrics import METRICS, MetricsFile, pooled_mean, read_metrics
from nlhf.lm.running.samples import SampleRow, SampleTables, markdown


def test_rows_after_the_step_a_run_goes_on_from_are_removed_and_so_are_cut_lines(tmp_path):
    metrics = MetricsFile(tmp_path, 0)
    for step in range(1, 5):
        metrics.add({"step": step, "loss": 0.1 * step})
    with metrics.path.open("a") as file:
        file.write('{"step": 5, "lo')
    MetricsFile(tmp_path, 2).add({"step": 3, "loss": 7.0})
    assert [(row["step"], row["loss"]) for row in read_metrics(metrics.path)] == [
        (1, 0.1),
        (2, 0.2),
        (3, 7.0),
    ]


def test_what_is_not_known_is_absent_and_what_is_not_defined_is_refused(tmp_path):
    metrics = MetricsFile(tmp_path, 0)
    metrics.add({"step": 1, "loss": float("nan"), "payoff": 0.5, "payoff_high": float("inf")})
    assert read_metrics(metrics.path) == [{"step": 1, "payoff": 0.5}]
    with pytest.raises(InvalidProblem, match="accuracy has no definition"):
        metrics.add({"step": 1, "accuracy": 1.0})
    assert all(len(definition) > 10 for definition in METRICS.values())


@pytest.mark.slow
def test_tensorboard_gets_every_number(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError
    )
    metrics = MetricsFile(tmp_path, 0, tensorboard=True)
    metrics.add({"step": 3, "loss": 0.25, "group_weights": [0.5, 0.5]})
    metrics.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "group_weights/0", "group_weights/1"}
    (event,) = events.Scalars("loss")
    assert (event.step, event.value) == (3, 0.25)


def test_pooled_means_are_means_over_all_prompts():
    class Two(Engine):
        """This process with a copy of it: every sum is twice its own."""

        def total(self, values):
            return 2 * values

    assert pooled_mean(Engine(), 0.5, 0.1, 7) == pytest.approx((0.5, 0.1))
    assert pooled_mean(Two(), 0.5, 0.1, 7) == pytest.approx((0.5, 0.1 / 2**0.5))


def test_earlier_tables_survive_a_resumed_run_whatever_separators_they_hold(tmp_path, monkeypatch):
    tables = SampleTables(tmp_path, 0)
    tables.add(1, [SampleRow(0, "a", "b\u2028c\x85d", "")])
    before = (tmp_path / "samples.jsonl").read_bytes()
    SampleTables(tmp_path, 1)
    assert (tmp_path / "samples.jsonl").read_bytes() == before

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NotAllowed, match="No space left"):
        SampleTables(tmp_path, 1)
    assert (tmp_path / "samples.jsonl").read_bytes() == before


def test_tables_of_samples_are_kept_to_read_and_survive_bars_and_line_ends(tmp_path):
    rows = [SampleRow(4, "a|b", "c\nd", "\\e")]
    tables = SampleTables(tmp_path, 0)
    tables.add(1, rows)
    tables.add(2, rows)
    SampleTables(tmp_path, 1)
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]
    assert json.loads(lines[0])["policy"] == "c\nd"
    table = markdown(rows).splitlines()
    assert len(table) == 3
    assert table[2] == "| 4 | a\\|b | c<br>d | \\\\e |"
