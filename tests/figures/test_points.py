"""Every number that a figure's results hold is drawn where it belongs, or left out by name."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from paper_figs import drawing, inputs


def coordinates(figure):
    """Return all points that a figure draws, shape (point, 2), in the units of its axes."""
    found = []
    for axes in figure.axes:
        for line in axes.lines:
            x, y = (np.asarray(values, dtype=float) for values in line.get_data())
            found.append(np.stack([x, y], axis=1))
        for collection in axes.collections:
            if isinstance(collection, LineCollection):
                found += [np.asarray(segment) for segment in collection.get_segments()]
            else:
                found += [path.vertices for path in collection.get_paths()]
        for bar in axes.patches:
            ends = bar.get_x(), bar.get_x() + bar.get_width()
            found.append(np.array([(end, bar.get_y()) for end in ends]))
    return np.concatenate(found)


def table(label, number=0):
    return inputs.table(label, drawing.script(label).INPUTS[number])


def without(rows, column, *values):
    kept = tuple(row for row in rows.rows if row[column] not in values)
    assert len(kept) < len(rows.rows)
    return inputs.Table(kept)


def impossibility():
    rows = table("impossibility")
    for sweep, x in (("epsilon", "epsilon"), ("share", "share"), ("beta", "beta")):
        mine = rows.where("sweep", sweep)
        for y in ("gap", "segment", "repaired", "transcribed", "squared"):
            yield mine.numbers(x), mine.numbers(y)


def rates():
    rows = table("rates")
    for y in ("gap", "bound"):
        yield rows.numbers("evaluations"), rows.numbers(y)


def em_recovery():
    rows = table("em_recovery")
    for y in ("mean", "lower_quartile", "upper_quartile"):
        yield rows.numbers("votes"), rows.numbers(y)


def maxmin():
    # Left out: the three bands of correlation above -1/2, which are part of "all".
    exact = without(table("maxmin"), "band", "-0.5 to 0", "0 to 0.5", "0.5 to 1")
    for y in ("mean", "lower_quartile", "upper_quartile"):
        yield exact.numbers("share"), exact.numbers(y)
    # Left out: the extremes of the exact solutions, of which the line is drawn.
    both = table("maxmin", 1)
    yield both.numbers("share"), both.numbers("mean")
    trained = both.where("realised", "GPT-2")
    for y in ("least", "largest"):
        yield trained.numbers("share"), trained.numbers(y)


def win_rates():
    results = inputs.document("win_rates", drawing.script("win_rates").INPUTS[0])
    for method in ("sft", "single", "maxmin", "nash", "rlp"):
        for group in ("majority", "minority"):
            mean = results["means"][f"{method} {group}"]
            yield None, np.array([mean[end] for end in ("low", "mean", "high")])
    for group in ("majority", "minority"):
        yield None, np.array([one[group] for one in results["outcomes"]])


def language_models():
    runs = inputs.records("language_models", drawing.script("language_models").INPUTS[0])
    for name in ("reference_exploitability", "exploitability"):
        yield None, np.array([run[name] for run in runs])


def convarg():
    # Left out: the row of all prompts together.
    prompts, played = without(table("convarg"), "prompt", "all"), table("convarg", 1)
    for x in ("three_cycles", "null_mean", "null_low", "null_high", "reward_exploitability"):
        yield None, prompts.numbers(x)
    yield None, played.numbers("start")
    yield None, played.numbers("start") + played.numbers("probability")


def sample_complexity():
    # Left out: how often the event held and certificates broke.
    rows = table("sample_complexity").where("study", "size")
    rows = without(rows, "measure", "truth in the version space", "broken")
    for y in ("mean", "lower_quartile", "upper_quartile"):
        yield rows.numbers("x"), rows.numbers(y)


def enhancer():
    # Left out: certificates, and the counts of broken ones; shares of late runs are words.
    rows = without(table("enhancer"), "measure", "certificate", "broken", "unfinished")
    rounds, queries = rows.where("study", "rounds"), rows.where("study", "queries")
    for y in ("mean", "lower_quartile", "upper_quartile"):
        yield rounds.numbers("x"), rounds.numbers(y)
        yield None, queries.numbers(y)


def coverage():
    # Left out: certificates and events of coverage; worst gaps at temperature 0 are words.
    rows = table("coverage")
    gaps = rows.where("study", "coverage").where("measure", "gap")
    for y in ("mean", "lower_quartile", "upper_quartile"):
        yield None, gaps.numbers(y)
    alone = without(rows.where("study", "unilateral"), "measure", "worst gap, temperature 0")
    yield alone.numbers("x"), alone.numbers("mean")


def over_optimisation():
    rows = table("over_optimisation")
    for y in ("gold", "gold_low", "gold_high"):
        yield rows.numbers("divergence"), rows.numbers(y)


def rlp_ablations():
    # Left out: synthetic weight 0.1, and the oracle's labels in the map of noise.
    rows = without(table("rlp_ablations"), "weight", "0.1")
    noise = without(rows.where("part", "map"), "labeller", "gold")
    cells = without(rows, "part", "map")
    for end in ("", "_low", "_high"):
        yield noise.numbers("flip_rate"), noise.numbers(f"reward_change{end}")
        yield None, cells.numbers(f"reward_change{end}")
        yield None, cells.where("part", "table").numbers(f"value_change{end}")


EXPECTED = {
    each.__name__: each
    for each in (
        impossibility,
        rates,
        em_recovery,
        maxmin,
        win_rates,
        language_models,
        convarg,
        sample_complexity,
        enhancer,
        coverage,
        over_optimisation,
        rlp_ablations,
    )
}


def test_every_figure_is_looked_at():
    assert sorted(EXPECTED) == list(drawing.labels())


@pytest.mark.parametrize("label", EXPECTED)
def test_every_number_is_drawn(label):
    script = drawing.script(label)
    points = coordinates(script.draw(script.data()))
    looked = 0
    for x, y in EXPECTED[label]():
        known = np.isfinite(y)
        looked += int(known.sum())
        if x is None:
            apart = np.abs(points.ravel()[None, :] - y[known, None])
        else:
            places = np.stack([x[known], y[known]], axis=1)
            apart = np.abs(points[None] - places[:, None]).max(axis=2)
        assert np.nanmin(apart, axis=1).max() <= 1e-12
    assert looked > 0


@pytest.mark.parametrize("label", EXPECTED)
def test_nothing_lies_outside_its_axes(label):
    """But the bounds of `rates`, of which the caption says that they are cut off above 3."""
    script = drawing.script(label)
    for axes in script.draw(script.data()).axes:
        (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        for line in axes.lines:
            if line.get_transform() != axes.transData:
                continue
            x, y = (np.asarray(values, dtype=float) for values in line.get_data())
            known = np.isfinite(x) & np.isfinite(y)
            inside = (left <= x) & (x <= right) & (low <= y) & (y <= high)
            if label == "rates" and line.get_linewidth() < 1.0:
                inside |= y > high
            assert inside[known].all(), line.get_label()


def test_the_check_notices_a_series_that_is_not_drawn(monkeypatch):
    script = drawing.script("em_recovery")
    monkeypatch.delitem(script.METHODS, "hard")
    with pytest.raises(AssertionError):
        test_every_number_is_drawn("em_recovery")
