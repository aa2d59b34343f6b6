"""Learning in rounds: the gap against rounds and questions, and what exploration is worth.

Written down before the first run, and not changed after. Families: `learning_families`. The truth
answers; δ = 0.05; the ridge is the default, radius over questions. All randomness is from
``Stream(seed)``; the explorers of one seed face the same problem.

**Study rounds** (family ``bandit``). T = 16 rounds of m = 10, 100 and 1000 questions, with the
enhancer, and with the main agent against itself (on-policy only); 10 replicates. ``gap``: of the
main agent in the true game, before round t = 2, 4, 8 and after round 16, against the number of
answers; ``certificate``: what is certain of it. Slopes of the mean on the number of answers, for
each m, and for all m together at t = 16.

**Study queries** (families ``traps``, ``dense``). T = 40 rounds of m = 8 questions, 50 instances,
with the enhancer, on-policy only, the main agent against the reference (greedy sampling), and a
uniform design. ``queries``: answers until the main agent's true gap is at most 0.01 and stays so
until the end; all 320 if that never happens, which ``unfinished`` counts. The ratio of the means to
that of the enhancer, with an interval from paired resampling; every unfinished run of the other
makes it too low, every one of the enhancer too high.

After the first run: with 8 responses a uniform design needs the fewest answers. What the enhancer
is worth over on-policy questions shows where these never ask about what matters (``traps``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nlhf
from benchmarks.provenance import ROOT, revision
from benchmarks.sizes import Size
from benchmarks.studies.learning_families import problem
from benchmarks.studies.learning_results import (
    Estimate,
    Measured,
    ratio_of_means,
    raw,
    slopes,
    summaries,
)
from benchmarks.tables import write_table
from nlhf.analysis.sweeps import run_sweep
from nlhf.cli.progress import stages
from nlhf.learning.online.explorers import Enhancer, Explorer, OnPolicy, Reference, Uniform
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import ModelOracle

DELTA, GOAL = 0.05, 0.01
ROUNDS, QUESTIONS, REPLICATES = 16, (10, 100, 1000), 10
LOOKS = (2, 4, 8, 16)
SHORT_ROUNDS, SHORT_QUESTIONS, INSTANCES = 40, 8, 50
EXPLORERS: dict[str, Explorer] = {
    "enhancer": Enhancer(),
    "on-policy": OnPolicy(),
    "reference": Reference(),
    "uniform": Uniform(),
}


@dataclass(frozen=True, slots=True)
class RunPoint:
    """One run.

    Attributes:
        family: Of `learning_families`.
        explorer: A key of `EXPLORERS`.
        rounds: T.
        questions: m.
        seed: Of problem, questions and answers.
    """

    family: str
    explorer: str
    rounds: int
    questions: int
    seed: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The main agent at one time of a run.

    Attributes:
        family: Of the point.
        explorer: Likewise.
        questions: Likewise.
        seed: Likewise.
        answers: How many it rests on.
        gap: Its gap in the true game.
        certificate: What is certain of it.
        broken: Whether the gap is larger than that.
    """

    family: str
    explorer: str
    questions: int
    seed: int
    answers: int
    gap: float
    certificate: float
    broken: bool


def run(point: RunPoint) -> list[Standing]:
    """Return the main agent before every round, and after all."""
    drawn = problem(point.family, point.seed)
    learned = learn_online(
        drawn.setting,
        drawn.models,
        ModelOracle(drawn.truth),
        rounds=point.rounds,
        queries=point.questions,
        explorer=EXPLORERS[point.explorer],
        delta=DELTA,
        stream=nlhf.Stream(point.seed).child("online", point.explorer, point.questions),
    )
    found = []
    for standing in learned.standings:
        gap = drawn.setting.exploitability(drawn.truth, standing.policy, drawn.models.link.units)
        found.append(
            Standing(
                point.family,
                point.explorer,
                point.questions,
                point.seed,
                int(standing.answers),
                max(gap.value, 0.0),
                standing.gap.high,
                standing.gap.high < gap.low,
            )
        )
    return found


def at_rounds(found: Sequence[Standing]) -> list[Measured]:
    """Return gaps and certificates of the study of rounds, at the rounds that are looked at."""
    return [
        Measured(
            "rounds",
            one.family,
            float(one.answers),
            f"{one.explorer}, m = {one.questions}",
            measure,
            one.seed,
            value,
        )
        for one in found
        if one.answers // one.questions in LOOKS
        for measure, value in (("gap", one.gap), ("certificate", one.certificate))
    ]


def queries_needed(found: Sequence[Standing]) -> list[Measured]:
    """Return the answers after which every run stays at the goal, and whether it gets there."""
    runs: dict[tuple[str, str, int], list[Standing]] = {}
    for one in found:
        runs.setdefault((one.family, one.explorer, one.seed), []).append(one)
    rows = []
    for (family, explorer, seed), standings in runs.items():
        answers = [one.answers for one in standings]
        away = np.flatnonzero([one.gap > GOAL for one in standings])
        last = int(away[-1]) if away.size else -1
        finished = last < len(standings) - 1
        needed = answers[last + 1] if finished else answers[-1]
        rows += [
            Measured("queries", family, GOAL, explorer, measure, seed, value)
            for measure, value in (
                ("queries", float(needed)),
                ("unfinished", float(not finished)),
                ("broken", float(any(one.broken for one in standings))),
            )
        ]
    return rows


def estimates(gaps: Sequence[Measured], needed: Sequence[Measured]) -> list[Estimate]:
    """Return slopes in the number of answers, and ratios of queries."""
    rows = slopes(gaps, "rounds", 0.0)
    last = [
        Measured(
            one.study,
            one.family,
            one.x,
            f"{one.method.split(',')[0]}, t = {ROUNDS}",
            one.measure,
            one.replicate,
            one.value,
        )
        for one in gaps
        if one.x == ROUNDS * int(one.method.rsplit(" ", 1)[1])
    ]
    rows += slopes(last, "rounds", 0.0)
    for family in dict.fromkeys(one.family for one in needed):
        mine = [one for one in needed if one.family == family]
        rows += [
            ratio_of_means(mine, "queries", explorer, "enhancer", f"gap {GOAL:g}")
            for explorer in EXPLORERS
            if explorer != "enhancer"
        ]
    return rows


def studies(raw: Path, points: Sequence[RunPoint]) -> list[Standing]:
    """Return every standing of the points; what is in the folder is not computed again."""
    with stages() as progress:
        found = run_sweep(
            run, points, raw / "online.jsonl", revision=revision(ROOT), progress=progress
        )
    return found.require().values


def record(folder: Path, size: Size) -> None:
    """Write ``learning_online.csv`` and ``learning_online_estimates.csv``."""
    of_rounds = [
        RunPoint("bandit", explorer, ROUNDS, questions, seed)
        for explorer in ("enhancer", "on-policy")
        for questions in QUESTIONS
        for seed in range(size.pick(2, REPLICATES))
    ]
    of_queries = [
        RunPoint(family, explorer, SHORT_ROUNDS, SHORT_QUESTIONS, seed)
        for family in ("traps", "dense")
        for explorer in EXPLORERS
        for seed in range(size.pick(2, INSTANCES))
    ]
    found = studies(raw(folder), [*of_rounds, *of_queries])
    gaps = at_rounds([one for one in found if one.family == "bandit"])
    needed = queries_needed([one for one in found if one.family != "bandit"])
    write_table(folder / "learning_online.csv", summaries([*gaps, *needed]))
    write_table(folder / "learning_online_estimates.csv", estimates(gaps, needed))
