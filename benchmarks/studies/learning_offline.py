r"""Learning from a fixed data set: the true gap and what is certain of it, against n and coverage.

Written down before the first run, and not changed after. Families: `learning_families`. δ = 0.05,
planners to 1e-6; all randomness from ``Stream(seed)``.

**Methods.** ``plug-in``: the equilibrium of the maximum-likelihood model. ``version space``: PELHF
over the version space of radius 2 log(K/δ). ``bonus``: the equilibrium under the estimate less
the width of the version space, cell by cell, for the first player.

**Measures.** ``gap``: the exploitability in the true game. ``certificate``: what the method's own
confidence set says the gap is at most (of the plug-in and the version space: the largest gap under
a model of the version space; of the bonus: under payoffs within the width). ``event``: whether the
truth is in the version space, and ``broken``: whether a certificate was below the gap.

**Study size** (families ``bandit``, ``process``). n = 125, 500, 2000, 8000, 32000 comparisons of
two draws of the reference, 24 replicates, each with its own truth, class and data. Beside the
methods: ``bound as cited`` :math:`4\beta\sqrt{C/n}`, β² = 2 log(K/δ), with the coverage C of the
population, ``bound as proved``
:math:`\sqrt2\beta\sqrt{C/n}`, β² = 4 log(K/δ), with that of the sample; and, for the bandit, the
closed-form bound of the plug-in, the largest over the version space of :math:`E_x
range(\Delta)^2/(8\tau)` (plug-in-identity). Slopes of the mean over all sizes, and from n = 2000.

**Study coverage** (family ``rivals``). n = 1000 comparisons. The first response is the safe one
with probability 1 - s and a uniform rival otherwise, the second a uniform rival; s = 0, 0.01, 0.03,
0.1, 0.3, 1. 40 replicates. A fourth method, ``restricted``: pessimism against competitors that
play responses which were compared at least once. ``1/C``: of the sample, at the true equilibrium
of the true model. The ratio of the plug-in's mean gap to that of the version space, with an
interval.

After the first run: up to s = 0.03 the data leave hardly a model out (the version space's means do
not move), so that pessimism there is prudence about the whole class. From s = 0.1 on the plug-in
finds the truth itself, its gap is rounding, and pessimism pays for its prudence until the version
space shrinks. ``restricted`` plans as the bonus does, except at s = 1, where the safe response is
never compared.

The construction that coverage is needed: `learning_unilateral`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path
from typing import cast

import numpy as np

import nlhf
from benchmarks.provenance import ROOT, revision
from benchmarks.sizes import Size
from benchmarks.studies.learning_families import Problem, problem
from benchmarks.studies.learning_results import (
    Estimate,
    Measured,
    ratio_of_means,
    raw,
    slopes,
    summaries,
)
from benchmarks.studies.learning_unilateral import unilateral, unilateral_exponent
from benchmarks.tables import write_table
from nlhf.analysis.sweeps import run_sweep
from nlhf.cli.progress import stages
from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.models import Confidence, FiniteConfidence
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.coverage import coverage, population_errors, sample_errors
from nlhf.learning.judging import opposed
from nlhf.learning.offline.bonus import plan_with_bonus
from nlhf.learning.offline.plug_in import plan_plug_in
from nlhf.learning.offline.restricted import covered_responses, plan_restricted
from nlhf.learning.offline.solutions import PessimisticSolution
from nlhf.learning.offline.version_space import plan_version_space
from nlhf.spaces.policy import Policy

DELTA, ACCURACY = 0.05, 1e-6
SIZES, REPLICATES = (125, 500, 2000, 8000, 32000), 24
LATE = 2000
COVERAGE_SIZE, COVERAGE_REPLICATES = 1000, 40
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class SizePoint:
    """One replicate at one sample size."""

    family: str
    size: int
    seed: int


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """One replicate at one share of comparisons between rivals."""

    share: float
    size: int
    seed: int


def size_study(point: SizePoint) -> list[Measured]:
    """Return every measure of the study of sizes at one point."""
    drawn = problem(point.family, point.seed)
    setting, stream = drawn.setting, nlhf.Stream(point.seed).child("size", point.size)
    pairs = setting.draw(setting.reference, setting.reference, point.size, stream.child("pairs"))
    data = drawn.answered(pairs, stream.child("answers"))
    confidence = drawn.models.confidence(data, DELTA)
    found = [("event", "truth in the version space", _event(drawn, confidence))]
    for method, solution in _planned(drawn, confidence).items():
        found += _judged(drawn, method, solution)
    found += _bounds(drawn, confidence, data)
    return [
        Measured("size", point.family, float(point.size), method, measure, point.seed, value)
        for method, measure, value in found
    ]


def coverage_study(point: CoveragePoint) -> list[Measured]:
    """Return every measure of the study of coverage at one point."""
    drawn = problem("rivals", point.seed)
    setting, stream = drawn.setting, nlhf.Stream(point.seed).child("coverage", str(point.share))
    rivals = np.full((1, 9), 1.0 / 8.0)
    rivals[0, 0] = 0.0
    safe = np.eye(9)[:1]
    first = Policy.of((1.0 - point.share) * safe + point.share * rivals)
    pairs = setting.draw(first, Policy.of(rivals), point.size, stream.child("pairs"))
    data = drawn.answered(pairs, stream.child("answers"))
    confidence = drawn.models.confidence(data, DELTA)
    planned = _planned(drawn, confidence)
    covered = covered_responses(data.compared())
    planned["restricted"] = plan_restricted(cast(BanditSetting, setting), confidence, covered)
    found = [("event", "truth in the version space", _event(drawn, confidence))]
    for method, solution in planned.items():
        found += _judged(drawn, method, solution)
    equilibrium = setting.solve(drawn.truth)
    tables = drawn.models.tables
    errors = sample_errors(tables, drawn.truth, data)
    worst = coverage(setting, tables, drawn.truth, equilibrium, errors)
    found.append(("data", "1/C", 1.0 / worst.coefficient))
    return [
        Measured("coverage", "rivals", point.share, method, measure, point.seed, value)
        for method, measure, value in found
    ]


def _planned(drawn: Problem, confidence: FiniteConfidence) -> dict[str, PessimisticSolution]:
    """Return what every method plans; the bonus knows the width alone."""
    band = Confidence(
        confidence.model,
        confidence.delta,
        confidence.radius,
        confidence.width,
        confidence.largest,
        confidence.statement,
    )
    return {
        "plug-in": plan_plug_in(drawn.setting, confidence),
        "version space": plan_version_space(drawn.setting, confidence, accuracy=ACCURACY),
        "bonus": plan_with_bonus(drawn.setting, band, accuracy=ACCURACY),
    }


def _judged(
    drawn: Problem, method: str, solution: PessimisticSolution
) -> list[tuple[str, str, float]]:
    units = drawn.models.link.units
    gap = drawn.setting.exploitability(drawn.truth, solution.policy, units)
    return [
        (method, "gap", max(gap.value, 0.0)),
        (method, "certificate", solution.gap.high),
        (method, "broken", float(solution.gap.high < gap.low)),
    ]


def _event(drawn: Problem, confidence: FiniteConfidence) -> float:
    return float(drawn.true in confidence.members)


def _bounds(
    drawn: Problem, confidence: FiniteConfidence, data: PreferenceData
) -> list[tuple[str, str, float]]:
    """Return the bounds of the theorems at one data set."""
    setting, tables, centre = drawn.setting, drawn.models.tables, confidence.model.table
    reference, equilibrium = setting.reference, setting.solve(drawn.truth)
    nats = log(drawn.models.size / DELTA)
    found = []
    for name, errors, factor in (
        (
            "as cited",
            population_errors(setting, tables, centre, reference, reference),
            4.0 * sqrt(2.0 * nats),
        ),
        ("as proved", sample_errors(tables, centre, data), sqrt(2.0) * sqrt(4.0 * nats)),
    ):
        worst = coverage(setting, tables, centre, equilibrium, errors).coefficient
        found.append((f"bound {name}", "bound", factor * sqrt(worst / data.size)))
    if isinstance(setting, BanditSetting):
        visits = setting.visits(setting.solve(centre))
        members = np.concatenate([centre[None], tables[confidence.members]])
        values = opposed(members, visits)
        spread = np.ptp(values - values[:1], axis=-1) ** 2 @ setting.stage_weights
        found.append(("plug-in", "bound", float(spread.max()) / (8.0 * setting.temperature)))
    return found


def studies(
    raw: Path, sizes: Sequence[SizePoint], shares: Sequence[CoveragePoint]
) -> list[Measured]:
    """Return every number of both sweeps; rows that are in the folder are not computed again."""
    here = revision(ROOT)
    with stages() as progress:
        at_sizes = run_sweep(
            size_study, sizes, raw / "offline_size.jsonl", revision=here, progress=progress
        )
        at_shares = run_sweep(
            coverage_study, shares, raw / "offline_coverage.jsonl", revision=here, progress=progress
        )
    return at_sizes.require().values + at_shares.require().values


def estimates(found: Sequence[Measured]) -> list[Estimate]:
    """Return the slopes in n, and how the plug-in compares with pessimism at every share."""
    falling = [
        one
        for one in found
        if one.study == "size" and one.measure in ("gap", "certificate", "bound")
    ]
    rows = [*slopes(falling, "size", SIZES[0]), *slopes(falling, "size", LATE)]
    for share in sorted({one.x for one in found if one.study == "coverage"}):
        here = [one for one in found if one.study == "coverage" and one.x == share]
        rows.append(ratio_of_means(here, "gap", "plug-in", "version space", f"share {share:g}"))
    return rows


def record(folder: Path, size: Size) -> None:
    """Write ``learning_offline.csv`` and ``learning_offline_estimates.csv``."""
    replicates, of_shares = size.pick(2, REPLICATES), size.pick(2, COVERAGE_REPLICATES)
    found = studies(
        raw(folder),
        [
            SizePoint(family, n, seed)
            for family in ("bandit", "process")
            for n in SIZES
            for seed in range(replicates)
        ],
        [
            CoveragePoint(share, COVERAGE_SIZE, seed)
            for share in SHARES
            for seed in range(of_shares)
        ],
    )
    write_table(folder / "learning_offline.csv", summaries([*found, *unilateral()]))
    write_table(
        folder / "learning_offline_estimates.csv", [*estimates(found), unilateral_exponent()]
    )
