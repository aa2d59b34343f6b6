"""What the study of reward learning on policy found, as Markdown, beside the published table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.learning.reward_on_policy.backbones import (
    Views,
    backbone_direction,
    bottleneck_error,
    kept_directions,
)
from nlhf.learning.reward_on_policy.cells import Cell, Effect, Mean
from nlhf.learning.reward_on_policy.labelling import Labeller
from nlhf.learning.reward_on_policy.multiview import ViewLoss, critical_penalty, critical_ratio

TABLE = (Labeller.REWARD, Labeller.SELECT_ALL, Labeller.CONSENSUS, Labeller.STRICT_CONSENSUS)
ALL = (*TABLE, Labeller.GOLD)
PUBLISHED = {
    (20, 0.0): (-0.009, -0.043, -0.037, -0.022, 0.241),
    (20, 1.0): (-0.004, 0.040, 0.040, 0.039, 0.175),
    (20, 2.0): (-0.004, 0.028, 0.028, 0.029, 0.118),
    (100, 0.0): (-0.025, -0.082, -0.066, -0.028, 0.302),
    (100, 1.0): (-0.017, 0.040, 0.043, 0.047, 0.203),
    (100, 2.0): (-0.010, 0.040, 0.041, 0.044, 0.150),
    (100, 3.0): (-0.019, 0.019, 0.019, 0.021, 0.104),
}
"""Changes of the true reward at matched divergence by m and ω, from rlp.md 6.3."""

ORDER = (
    (Labeller.GOLD, Labeller.STRICT_CONSENSUS),
    (Labeller.STRICT_CONSENSUS, Labeller.CONSENSUS),
    (Labeller.CONSENSUS, Labeller.SELECT_ALL),
    (Labeller.SELECT_ALL, Labeller.REWARD),
)
COMPARED = (ViewLoss.BOTTLENECK, ViewLoss.MULTI_VIEW, ViewLoss.INFO_MAX)
WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What took time to compute.

    Attributes:
        cells: The cells of the table.
        map: Consensus over ω (rows) and the flip rate (columns).
        explored: Named cells that were chosen after the first run.
    """

    cells: tuple[Cell, ...]
    map: tuple[tuple[Cell, ...], ...]
    explored: tuple[tuple[str, Cell], ...]


def report(found: Findings, origin: dict[str, Any]) -> str:
    """Return the whole study as Markdown."""
    versions = ", ".join(f"{name} {v}" for name, v in origin["versions"].items() if v != "absent")
    count = found.cells[0].instances
    return "\n\n".join(
        [
            "# Reward learning on policy, exactly",
            f"{count} bandits a cell; intervals are normal, 95 %. The family, the methods and what "
            "was chosen when: `benchmarks/studies/reward_on_policy.py`.",
            "## Change of the true reward at matched divergence",
            "Synthetic weight 2. Mean with its interval (share of instances improved), and the "
            "number of rlp.md 6.3, which is of another random family.",
            _matched(found.cells),
            "\n".join(_verdict(found.cells)),
            "## Order of the labellers",
            "Mean differences in the same instances, with intervals.",
            _orders(found.cells),
            _order_verdict(found.cells),
            "## At the same β",
            "Change of J, by synthetic weight: hard labels inflate the scale of the reward.",
            _fixed(found.cells),
            "## Labels",
            "Mean true Bradley-Terry probability of a label (coverage), and how often the "
            "criterion of T7 has the sign of the change at matched divergence.",
            _labels(found.cells),
            "## Where consensus helps",
            f"SPG with γ = 0.5, weight 2, {found.map[0][0].pairs} comparisons, "
            f"{found.map[0][0].instances} bandits a cell: mean change at matched divergence with "
            "its interval. **Bold**: the interval excludes 0.",
            _map(found.map),
            "## After the first run: other ridges, references and reward models",
            _explored(found.explored),
            "## Multi-view losses",
            "\n".join(_thresholds()),
            _backbones(),
            _bottlenecks(),
            f"Revision {origin['revision'][:20]}, {origin['time']}; Python {origin['python']}, "
            f"{versions}. All rows: `reward_on_policy.csv`.",
        ]
    )


def _grid(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(mean: Mean) -> str:
    low, high = mean.interval
    return f"{mean.value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _sign(mean: Mean) -> int:
    """Return the sign that the interval allows, 0 if both."""
    low, high = mean.interval
    return 1 if low > 0.0 else -1 if high < 0.0 else 0


def _name(cell: Cell) -> str:
    return f"m = {cell.pairs}, ω = {cell.informativeness:g}"


def _effects(cell: Cell, weight: float = WEIGHT) -> list[Effect]:
    return [cell.effect(labeller, weight) for labeller in ALL]


def _matched(cells: Sequence[Cell]) -> str:
    body = [
        [
            _name(cell),
            *(
                f"{_shown(one.reward_change)} ({one.improved:.2f}); *{known:+.3f}*"
                for one, known in zip(
                    _effects(cell), PUBLISHED[cell.pairs, cell.informativeness], strict=True
                )
            ),
        ]
        for cell in cells
    ]
    return _grid(["cell", *ALL], body)


def _verdict(cells: Sequence[Cell]) -> list[str]:
    """Say how often the signs agree with the published ones."""
    same = open_ = other = 0
    against = []
    for cell in cells:
        published = PUBLISHED[cell.pairs, cell.informativeness]
        for one, known in zip(_effects(cell), published, strict=True):
            sign = _sign(one.reward_change)
            same += sign == np.sign(known)
            open_ += sign == 0
            if sign == -np.sign(known):
                other += 1
                against.append(f"{_name(cell)}, {one.labeller}")
    values = [
        (np.sign(one.reward_change.value), np.sign(known))
        for cell in cells
        for one, known in zip(
            _effects(cell), PUBLISHED[cell.pairs, cell.informativeness], strict=True
        )
    ]
    unmatched = sum(one.unmatched for cell in cells for one in cell.effects)
    return [
        f"* Of {len(values)} signs, {sum(a == b for a, b in values)} means agree with rlp.md; "
        f"intervals confirm {same}, leave {open_} open and contradict {other}"
        + (f" ({'; '.join(against)})." if against else "."),
        f"* Instances whose retrained reward has no policy at the divergence: {unmatched}.",
    ]


def _ordered(cell: Cell) -> list[tuple[Mean, float]]:
    """Return by how much the first labeller of each pair is ahead, here and as published."""
    known = dict(zip(ALL, PUBLISHED[cell.pairs, cell.informativeness], strict=True))
    return [(cell.advantage(a, b, WEIGHT), known[a] - known[b]) for a, b in ORDER]


def _orders(cells: Sequence[Cell]) -> str:
    body = [
        [_name(cell), *(f"{_shown(ahead)}; *{known:+.3f}*" for ahead, known in _ordered(cell))]
        for cell in cells
    ]
    return _grid(["cell", *(f"{a} − {b}" for a, b in ORDER)], body)


def _order_verdict(cells: Sequence[Cell]) -> str:
    """Say of every pair of labellers how often its order is the published one."""
    lines = []
    for column, (first, second) in enumerate(ORDER):
        # Published numbers have three decimals: differences below half of the last are none.
        signs = [
            (_sign(ahead), int(np.sign(known)) if abs(known) > 5e-4 else 0)
            for ahead, known in (_ordered(cell)[column] for cell in cells)
        ]
        same = sum(ours == theirs != 0 for ours, theirs in signs)
        against = [
            _name(cell)
            for cell, (ours, theirs) in zip(cells, signs, strict=True)
            if ours * theirs < 0
        ]
        lines.append(
            f"* {first} − {second}: intervals confirm the published sign in {same} of {len(signs)} "
            f"cells, leave it open or have none to compare in {len(signs) - same - len(against)}, "
            f"contradict it in {len(against)}" + (f" ({'; '.join(against)})." if against else ".")
        )
    return "\n".join(lines)


def _fixed(cells: Sequence[Cell]) -> str:
    weights = sorted({one.weight for one in cells[0].effects}, reverse=True)
    body = [
        [
            f"{_name(cell)}, weight {weight:g}",
            *(_shown(one.value_change) for one in _effects(cell, weight)),
        ]
        for weight in weights
        for cell in cells
    ]
    return _grid(["cell", *ALL], body)


def _labels(cells: Sequence[Cell]) -> str:
    body = [
        [
            _name(cell),
            *(
                f"{one.label_accuracy.value:.3f} ({one.coverage.value:.2f}), T7 "
                f"{one.sign_predicted:.0%}"
                for one in _effects(cell)
            ),
        ]
        for cell in cells
    ]
    return _grid(["cell", *ALL], body)


def _map(table: Sequence[Sequence[Cell]]) -> str:
    def entry(cell: Cell) -> str:
        change = cell.effect(Labeller.CONSENSUS, WEIGHT).reward_change
        return f"**{_shown(change)}**" if _sign(change) else _shown(change)

    head = ["ω \\ flips", *(f"{cell.flip_rate:.0%}" for cell in table[0])]
    return _grid(
        head, [[f"{row[0].informativeness:g}", *(entry(cell) for cell in row)] for row in table]
    )


def _explored(explored: Sequence[tuple[str, Cell]]) -> str:
    asked = (Labeller.REWARD, Labeller.SELECT_ALL, Labeller.CONSENSUS, Labeller.GOLD)
    body = [
        [
            f"{name}, {_name(cell)}",
            *(_shown(cell.effect(labeller, WEIGHT).reward_change) for labeller in asked),
        ]
        for name, cell in explored
    ]
    return _grid(["cell", *asked], body)


def _thresholds() -> list[str]:
    mutual, shannon = critical_ratio(1.0), critical_ratio(1.0, ViewLoss.JENSEN_SHANNON)
    return [
        f"* MIB keeps a direction at b = 1 from κ* = {mutual.ratio:.4f} (published 7.951), an "
        f"intraclass correlation of {mutual.intraclass_correlation:.4f} (.8883), where it enters "
        f"with s = {mutual.gain:.4f} (.148).",
        f"* The Jensen-Shannon form, in one dimension: κ* = {shannon.ratio:.4f} (about 14.38), "
        f"{shannon.intraclass_correlation:.4f} (about .935).",
        f"* b_c/κ at κ = 10⁵: {critical_penalty(1e5).penalty / 1e5:.5f} (limit .1488).",
    ]


def _backbones() -> str:
    """Return the table of rank-one backbones: angles, and what they are worth."""

    def direction(degrees: float, length: float = 1.0) -> np.ndarray:
        angle = math.radians(degrees)
        return length * np.array([math.cos(angle), math.sin(angle)])

    profiles = (
        ("nuisance shared, labels true", (0.2, 20.0), (1.0, 1.0), direction(31.0, 2.0), None),
        ("quality shared, labels biased", (20.0, 0.2), (1.0, 1.0), direction(31.0), 0.0),
        ("the same, nuisance wide", (20.0, 60.0), (1.0, 60.0), direction(31.0), 0.0),
    )
    body = []
    for name, between, within, labels, true in profiles:
        truth = labels if true is None else direction(true)
        views = Views(np.array(between), np.array(within), labels, truth)
        angles = [31.0, *(backbone_direction(views, loss, 0.5) for loss in COMPARED)]
        body.append(
            [name, *(f"{abs(views.alignment(direction(a))):.3f} ({a:.1f}°)" for a in angles)]
        )
    return (
        "Rank-one linear backbone, λ = 1/2, labels' reward at 31° from the quality axis: the share "
        "of the possible true reward at matched divergence (angle of the backbone).\n\n"
        + _grid(["profile", "no auxiliary loss", *COMPARED], body)
        + "\n\nAt equal variances within prompts MVI pulls towards shared directions at least as "
        "strongly as MIB, so that MIB > MVI where that pull does harm, and MVI > MIB where it "
        "helps. InfoMax follows the total variance."
    )


def _bottlenecks() -> str:
    """Return the table of codes that keep or drop directions."""
    within = np.array([0.1, 0.1, 30.0, 2.0, 5.0, 4.0])
    ratios = np.array([20.0, 15.0, 0.5, 5.0, 0.1, 0.2])
    shares = {
        "reward in narrow directions of high ICC": np.array([0.4, 0.15, 0.0, 0.0, 0.0, 0.0]),
        "reward in wide directions of low ICC": np.array([0.0, 0.0, 0.4, 0.15, 0.0, 0.0]),
    }
    body = []
    for name, share in shares.items():
        reward = np.sqrt(share / within)
        views = Views(ratios * within, within, reward, reward)
        sets = [
            np.ones(len(within), dtype=bool),
            *(kept_directions(views, loss, 3) for loss in COMPARED),
        ]
        body.append([name, *(f"{bottleneck_error(views, kept, 100, 0.25):.3f}" for kept in sets)])
    return (
        "Reward read from a code of three of six directions, 100 comparisons with 25 % flips: "
        "centred error, in logits².\n\n" + _grid(["profile", "all directions", *COMPARED], body)
    )
