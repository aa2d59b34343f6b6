"""What every shipped algorithm was seen to do in every setting: the README's table of evidence.

`python -m benchmarks.evidence` runs all algorithms on one fixed game per setting, checks their
contract and the theorems on them, and writes `results/evidence.json` and the table in the README.
`python -m benchmarks.evidence --render` only writes the README's tables again, this one and that of
times beside other packages.
"""

import json
import sys
import textwrap
from typing import Any

import numpy as np

import nlhf
from benchmarks import beside
from benchmarks.provenance import RESULTS, ROOT, provenance
from nlhf.analysis.comparison import Run, default_algorithms
from nlhf.testing import check_algorithm, same_games, settings
from nlhf.theorems import Expected, Verdict, check, installed_theorems

FILE = RESULTS / "evidence.json"
LANGUAGE_MODELS = RESULTS / "enumerable_games.jsonl"
README = ROOT / "README.md"
MARKS = ("<!-- evidence -->\n", "<!-- /evidence -->")

WIDTH = 110
GAP = 1e-8
STEPS = 2000
STOP = nlhf.StopRule(gap=GAP, max_iterations=STEPS, judge_every=1, patience=STEPS)
REACHED = 0.001
"""Exploitability at which a trained language model counts as at the equilibrium."""

IN_SETTINGS = {
    "bandit": "responses",
    "token tree": "token tree",
    "histories": "histories",
    "finite horizon": "MDP, horizon",
    "discounted": "MDP, discounted",
}
COLD = "responses, τ = 0"
MAXMIN = "MaxMin"

METHODS = {
    "extragradient": ("`Extragradient`: EGPO, Nash Mirror Prox", ["extragradient-linear"]),
    "optimistic": ("`OptimisticMirrorDescent`: ONPO, OMWU", ["optimistic-linear"]),
    "mirror descent": ("`MirrorDescent`: OMD, MMD, INPO", ["mirror-descent-linear"]),
    "Nash-MD": ("`NashMD`, decaying step", ["nash-md-rate"]),
    "Nash-MD, constant step": ("`NashMD`, constant step", ["nash-md-constant-step-bias"]),
    "Nash-EMA": ("`NashEMA`", []),
    "COMAL": ("`ProximalPoint`: COMAL", ["comal-decrease"]),
    "MPO": ("`ProximalPoint(MirrorDescent())`: MPO", ["comal-decrease"]),
    "its average (SPPO)": ("`Average(MirrorDescent(...))`: SPPO", ["sppo-average"]),
    "average of optimistic (ONPO)": (
        "`Average(OptimisticMirrorDescent(...))`: ONPO",
        ["onpo-average"],
    ),
}
"""How each method of a comparison is shown, and the statements of the ledger about it."""

IN_LANGUAGE_MODELS = {
    "extragradient": "extragradient",
    "optimistic": "optimistic",
    "mirror descent": "mirror descent",
    "Nash-MD": "Nash-MD",
    "COMAL": "proximal point",
}
"""What the methods are called in the study of enumerable language models."""


def games() -> dict[str, Any]:
    """Return one fixed game per column."""
    found = {s.name: s.game for s in settings()}
    bandit = found["bandit"]
    rewards = nlhf.Stream(0, ("evidence",)).generator().normal(size=(3, 5))
    return {
        **{column: found[name] for name, column in IN_SETTINGS.items()},
        MAXMIN: nlhf.MaxMinGame(rewards, temperature=0.2, offsets="reference"),
        COLD: nlhf.PreferenceGame(bandit.payoff.matrix, bandit.reference),
    }


def run_of(run: Run) -> dict[str, Any]:
    """Return what is recorded of a run."""
    return {
        "certified": run.stop is nlhf.Stop.CERTIFIED,
        "steps": run.iterations,
        "gap": run.bound.high,
        "promise": run.promise.theorem if run.promise else None,
    }


def measured(game: Any) -> dict[str, dict[str, Any]]:
    """Return what every method did in one game, the exact solver among them."""
    certificate = nlhf.solve(game).certificate
    rows: dict[str, dict[str, Any]] = {
        "exact": {"certified": certificate.bound.high <= GAP, "gap": certificate.bound.high}
    }
    comparison = nlhf.compare(game, default_algorithms(game, STOP), STOP)
    rows |= {run.name: run_of(run) for run in comparison.runs if run.name in METHODS}
    return rows | {r.name: {"refused": r.reason} for r in comparison.refused if r.name in METHODS}


def contracts() -> dict[str, dict[str, Any]]:
    """Return how many checks of its contract every method passes; one that fails raises."""
    game = settings()[0].game
    cold = nlhf.PreferenceGame(game.payoff.matrix, game.reference)
    entrants = {**default_algorithms(game), **default_algorithms(cold, STOP)}
    found = {}
    for name in METHODS:
        report = check_algorithm(entrants[name], alike=same_games()[:1])
        found[name] = {
            "checks": sum(finding.measured for finding in report.findings),
            "refused": sum(note.startswith("refused in") for note in report.notes),
        }
    return found


def theorems(budget: int) -> dict[str, dict[str, Any]]:
    """Return the verdicts on the statements about the methods."""
    wanted = {key for _, keys in METHODS.values() for key in keys}
    reports = {t.key: check(t, budget) for t in installed_theorems() if t.key in wanted}
    return {
        key: {
            "verdict": str(report.verdict),
            "as expected": report.as_expected
            and report.theorem.expected is Expected.HOLDS
            and report.verdict is Verdict.NOT_FALSIFIED,
            "instances": report.instances,
            "controls": len(report.controls),
        }
        for key, report in sorted(reports.items())
    }


def language_models() -> dict[str, dict[str, int]]:
    """Return in how many enumerable games training reached the equilibrium, by method."""
    rows = [json.loads(line) for line in LANGUAGE_MODELS.read_text().splitlines()]
    found = {}
    for name, theirs in IN_LANGUAGE_MODELS.items():
        own = [
            row["exploitability"]
            for row in rows
            if (row["method"], row["realiser"], row["payoffs"]) == (theirs, "regression", "exact")
        ]
        found[name] = {"games": len(own), "reached": int(np.sum(np.array(own) <= REACHED))}
    return found


def cell(found: dict[str, Any] | None) -> str:
    """Return a run as a cell: the steps if it was certified, the gap that was left if not."""
    if found is None:
        return "–"
    if "refused" in found:
        return "refused"
    if "steps" in found and found["certified"]:
        return f"{found['steps']:,}"
    return f"{found['gap']:.0e}" if found["certified"] else f"*{found['gap']:.0e}*"


def render(document: dict[str, Any]) -> str:
    """Return the table."""
    columns = list(document["runs"])
    lines = [
        "",
        f"| algorithm | theorem | contract | {' | '.join(columns)} | language model |",
        f"|---|---|---|{'--:|' * (len(columns) + 1)}",
    ]
    exact = [cell(document["runs"][column]["exact"]) for column in columns]
    lines.append(f"| `solve(game)`, exact | | | {' | '.join(exact)} | – |")
    for name, (shown, keys) in METHODS.items():
        cells = [cell(document["runs"][column].get(name)) for column in columns]
        trained = document["language models"].get(name)
        cells.append(f"{trained['reached']} of {trained['games']}" if trained else "–")
        contract = document["contracts"][name]
        stated = ", ".join(f"`{key}`" for key in keys) or "none known"
        lines.append(f"| {shown} | {stated} | {contract['checks']} | {' | '.join(cells)} |")
    origin = document["provenance"]
    revision = origin["revision"][:7] + (" and changes" if origin["dirty"] else "")
    checked = sum(theorem["as expected"] for theorem in document["theorems"].values())
    caption = (
        f"One fixed game a setting (`nlhf.testing.settings()`). Steps to a certified gap of "
        f"{document['gap']:g}; *in italics* the certified gap left after {document['steps']:,} "
        f"steps; for the exact solver the gap itself; refused where its hypotheses need a "
        f"positive temperature of every player. Theorems: {checked} of "
        f"{len(document['theorems'])} not falsified by the search, every control biting. Contract: "
        f"how many checks of `nlhf.testing.check_algorithm` it passes, of all. Language models: "
        f"how many enumerable games training brought to an exploitability of {REACHED} "
        f"(`benchmarks/results/enumerable_games.md`). Made by `python -m benchmarks.evidence` at "
        f"{revision}, {origin['time'][:10]}, numpy {origin['versions']['numpy']}."
    )
    lines += ["", *textwrap.wrap(caption, WIDTH, break_on_hyphens=False), "", ""]
    return "\n".join(lines)


def current(readme: str) -> str:
    """Return the README with both tables as the checked-in results have them."""
    with_evidence = beside.placed(readme, render(json.loads(FILE.read_text())), MARKS)
    return beside.placed(with_evidence, beside.render())


def main(arguments: list[str]) -> None:
    """Measure, unless only the table is wanted, and write the table."""
    if "--render" not in arguments:
        document = {
            "gap": GAP,
            "steps": STEPS,
            "runs": {column: measured(game) for column, game in games().items()},
            "contracts": contracts(),
            "theorems": theorems(200),
            "language models": language_models(),
            "provenance": provenance(ROOT),
        }
        FILE.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    README.write_text(current(README.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
