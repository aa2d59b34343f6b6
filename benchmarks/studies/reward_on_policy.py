r"""Reward learning on policy, exactly: the table of rlp.md 6.3, and when consensus helps or hurts.

``nlhf bench reward_on_policy`` writes ``reward_on_policy.csv``, one row a cell, labeller and
weight, and ``reward_on_policy.md``.

**The main study** is that of `nlhf.learning.reward_on_policy.study`, whose family was written down
before anything was run and not changed after: the seven cells of the table in rlp.md, 400 bandits
each, all randomness from ``Stream(2026).child("reward-on-policy")``. The table in rlp.md is of
another random family, described only in part there, of 40 or 60 bandits a cell: it is compared in
signs and order, not in size (rlp.md is the project's specification of this method; its numbers are
beside ours in the report). A first run had 200 bandits a cell, of which these 400 hold the same;
after it, rewards within 1e-9 of each other became tied instead of ordered by rounding.

**The map**: ω in {0, 1/2, 1, 2, 3} against flip rates {0, 0.1, 0.2, 0.3, 0.4}, 100 comparisons, 200
bandits a cell, the same normals in all.

**After the first run**, an exploration, kept apart: the ridge ten times smaller and larger, and
references without opinions of their own, in the cells with 100 comparisons and ω = 0 or 1; and
reward models better than consensus, from 1,000 comparisons without flips.

**The multi-view part** is closed form: thresholds, and a few profiles for each limit of capacity,
chosen to show that the order of the losses can be had either way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from benchmarks.provenance import ROOT, provenance
from benchmarks.sizes import Size
from benchmarks.studies.reward_on_policy_report import Findings, report
from benchmarks.tables import write_rows
from nlhf.learning.reward_on_policy.bandits import BanditFamily
from nlhf.learning.reward_on_policy.cells import Cell, Mean
from nlhf.learning.reward_on_policy.labelling import Labeller
from nlhf.learning.reward_on_policy.study import RIDGE, help_or_hurt, study_cell
from nlhf.streams import Stream

STREAM = Stream(2026).child("reward-on-policy")
CELLS = ((20, 0.0), (20, 1.0), (20, 2.0), (100, 0.0), (100, 1.0), (100, 2.0), (100, 3.0))
"""Human comparisons and ω."""
INSTANCES, MAP_INSTANCES = 400, 200
INFORMATIVENESS = (0.0, 0.5, 1.0, 2.0, 3.0)
FLIP_RATES = (0.0, 0.1, 0.2, 0.3, 0.4)
MAP_PAIRS = 100
EXPLORED = (
    ("ridge 0.01", 100, 0.01, BanditFamily(0.0)),
    ("ridge 1", 100, 1.0, BanditFamily(0.0)),
    ("no opinions", 100, RIDGE, BanditFamily(0.0, reference_spread=0.0)),
    ("no flips", 1000, RIDGE, BanditFamily(0.0, flip_rate=0.0)),
)
"""Name, human comparisons, ridge, and the family but for ω."""

_MEANS = (
    "reward_change",
    "matched_win_rate",
    "value_change",
    "fixed_win_rate",
    "coverage",
    "label_accuracy",
    "policy_error_change",
    "policy_accuracy_change",
)
_DRAWN = ("reward_change", "value_change")
"""Means whose normal 95 % intervals have columns, for the paper's figure."""

_FIELDS = (
    *("part", "pairs", "informativeness", "flip_rate", "ridge", "instances", "labeller", "weight"),
    *(f"{name}{end}" for name in _MEANS for end in ("", "_se")),
    *(f"{name}{end}" for name in _DRAWN for end in ("_low", "_high")),
    *("improved", "sign_predicted", "unmatched"),
)


def rows(part: str, cells: Sequence[Cell]) -> Iterator[dict[str, object]]:
    """Yield one row a cell, labeller and weight."""
    for cell in cells:
        for one in cell.effects:
            row: dict[str, object] = {
                "part": part,
                "pairs": cell.pairs,
                "informativeness": cell.informativeness,
                "flip_rate": cell.flip_rate,
                "ridge": cell.ridge,
                "instances": cell.instances,
                "labeller": str(one.labeller),
                "weight": one.weight,
                "improved": one.improved,
                "sign_predicted": one.sign_predicted,
                "unmatched": one.unmatched,
            }
            for name in _MEANS:
                mean: Mean = getattr(one, name)
                row[name], row[f"{name}_se"] = mean.value, mean.standard_error
                if name in _DRAWN:
                    row[f"{name}_low"], row[f"{name}_high"] = mean.interval
            yield row


@contextmanager
def _bars() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Yield a maker of progress bars: a name and a total give what reports how many are done."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def start(name: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(name, total=total)
            return lambda done: bars.update(task, completed=done)

        yield start


def findings(instances: int, map_instances: int) -> Findings:
    """Compute everything that takes time."""
    cells: list[Cell] = []
    explored: list[tuple[str, Cell]] = []
    with _bars() as bar:
        for pairs, omega in CELLS:
            progress = bar(f"m = {pairs}, ω = {omega:g}", instances)
            family = BanditFamily(omega)
            cells.append(study_cell(family, pairs, instances, STREAM, progress=progress))
        table = help_or_hurt(
            INFORMATIVENESS,
            FLIP_RATES,
            MAP_PAIRS,
            map_instances,
            STREAM,
            progress=bar("map", len(INFORMATIVENESS) * len(FLIP_RATES)),
        )
        asked = (Labeller.REWARD, Labeller.SELECT_ALL, Labeller.CONSENSUS, Labeller.GOLD)
        for name, pairs, ridge, start in EXPLORED:
            for omega in (0.0, 1.0):
                family = replace(start, informativeness=omega)
                progress = bar(f"{name}, ω = {omega:g}", map_instances)
                explored.append(
                    (
                        name,
                        study_cell(
                            family,
                            pairs,
                            map_instances,
                            STREAM,
                            labellers=asked,
                            ridge=ridge,
                            progress=progress,
                        ),
                    )
                )
    return Findings(tuple(cells), table, tuple(explored))


def record(folder: Path, size: Size) -> None:
    """Write ``reward_on_policy.csv`` and ``reward_on_policy.md``."""
    found = findings(size.pick(3, INSTANCES), size.pick(2, MAP_INSTANCES))
    lines = [
        *rows("table", found.cells),
        *rows("map", [cell for row in found.map for cell in row]),
        *(line for name, cell in found.explored for line in rows(name, [cell])),
    ]
    write_rows(folder / "reward_on_policy.csv", _FIELDS, lines)
    text = report(found, provenance(ROOT))
    (folder / "reward_on_policy.md").write_text(text + "\n")
