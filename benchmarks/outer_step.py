"""One outer step of this library beside TRL's trainers: same model, prompts, batch and tokens.

    python -m benchmarks.outer_step --python ENV/bin/python --shape small

ENV is an environment of the benchmark's own with torch, transformers, this library's dependencies,
trl 1.13.0 and requests. Every measurement is a fresh process of it, by turns; the first step of
each is a warm-up. Medians of all steps are compared, by the wall and by the processor's time,
which neighbours on the machine disturb less.
"""

import argparse
import json
import os
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "outer_step.jsonl"
REPORT = RESULTS.with_suffix(".md")
PACKAGES = ("torch", "transformers", "trl", "accelerate", "peft", "numpy")
PAIRS = (
    ("nash-md", "nash-md-default", 3.0),
    ("nash-md", "nash-md-cached", 1.5),
    ("online-dpo", "online-dpo-cached", 1.3),
)
"""Our method, TRL's, and how many times faster ours is meant to be."""
WORDS = {
    "nash-md": "Nash-MD, policy gradient",
    "online-dpo": "mirror descent, regression on pairs",
    "nash-md-default": "TRL Nash-MD, defaults (cache off, float32)",
    "nash-md-cached": "TRL Nash-MD, cache on",
    "online-dpo-cached": "TRL OnlineDPO, cache on",
}


@dataclass(slots=True)
class Measured:
    """What the steps of one method cost.

    Attributes:
        wall_seconds: Of every step after the warm-up, of all processes.
        processor_seconds: The same, by the processor's time.
        peak_bytes: Of each process.
    """

    wall_seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


def measure(
    python: str, shape: str, methods: dict[str, str], rounds: int, steps: int, threads: int
) -> dict[str, Measured]:
    """Run all methods by turns; the worker module of each is named beside it."""
    found = {method: Measured() for method in methods}
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "TRANSFORMERS_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    for turn in range(rounds):
        for method, worker in methods.items():
            done = subprocess.run(
                [python, "-m", worker, method, shape, str(steps + 1), str(threads)],
                capture_output=True,
                text=True,
                env=environment,
                cwd=ROOT,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"{method} failed:\n{done.stderr[-3000:]}")
            told = json.loads(done.stdout.strip().splitlines()[-1])
            found[method].wall_seconds += told["wall_seconds"][1:]
            found[method].processor_seconds += told["processor_seconds"][1:]
            found[method].peak_bytes.append(told["peak_bytes"])
            print(f"round {turn}, {method}: {told['processor_seconds']} s", flush=True)
    return found


def versions(python: str) -> dict[str, str]:
    """Return what is installed in the benchmark's environment."""
    code = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [python, "-c", code, *PACKAGES], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def report(rows: list[dict[str, object]]) -> str:
    """Return the latest run of every shape as a table in Markdown."""
    lines = [
        "# One outer step beside TRL 1.13",
        "",
        "8 prompts of 16 to 48 random tokens, 2 responses to each of 64 new tokens, a judge, one",
        "gradient update; GPT-2 with random weights, float32, CPU. Medians over the steps after a",
        "warm-up of alternating processes; peak memory is the whole process's. Ratios are TRL's",
        "number over ours.",
    ]
    latest = {str(row["shape"]): row for row in rows}
    for shape, row in latest.items():
        found = {name: Measured(**given) for name, given in row["measured"].items()}  # type: ignore[attr-defined]
        lines += ["", f"## {shape}", "", f"{row['conditions']}", ""]
        lines += ["| | processor s | wall s | peak MiB |", "|---|---|---|---|"]
        for name, each in found.items():
            lines.append(
                f"| {WORDS[name]} | {median(each.processor_seconds):.2f} "
                f"| {median(each.wall_seconds):.2f} | {max(each.peak_bytes) / 2**20:.0f} |"
            )
        lines += [
            "",
            "| ratio | target | processor | wall | peak memory |",
            "|---|---|---|---|---|",
        ]
        for ours, theirs, target in PAIRS:
            if ours in found and theirs in found:
                first, second = found[ours], found[theirs]
                ratios = (
                    median(second.processor_seconds) / median(first.processor_seconds),
                    median(second.wall_seconds) / median(first.wall_seconds),
                    max(second.peak_bytes) / max(first.peak_bytes),
                )
                shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
                lines.append(f"| {WORDS[theirs]} / {WORDS[ours]} | {target} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, append a row to the results, rewrite the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="of the benchmark's environment")
    parser.add_argument("--shape", choices=("small", "gpt2"), default="small")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each process")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", help="of the methods")
    given = parser.parse_args()
    ours, theirs = "benchmarks.outer_step_nlhf", "benchmarks.outer_step_trl"
    methods = {a: ours for a, _, _ in PAIRS} | {b: theirs for _, b, _ in PAIRS}
    chosen = {m: w for m, w in methods.items() if not given.only or m in given.only}
    before = os.getloadavg()
    found = measure(given.python, given.shape, chosen, given.rounds, given.steps, given.threads)
    after = os.getloadavg()
    row = {
        "shape": given.shape,
        "conditions": f"{given.threads} threads on {os.cpu_count()} cores, {given.rounds} rounds "
        f"of {given.steps} steps; load average {before[0]:.1f} before, {after[0]:.1f} after.",
        "measured": {name: asdict(each) for name, each in found.items()},
        "versions": versions(given.python),
        "provenance": provenance(ROOT),
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    REPORT.write_text(report(rows))
    print(report(rows))


if __name__ == "__main__":
    main()
