"""Run the experiment.

`nlhf bench movie_reviews`, or, with more choice, `python -m benchmarks.language.movie_reviews
--data DIR --out DIR [--smoke]`.

A run that was interrupted goes on where it was: the reference from its last 200 steps, everything
else from the last method that was finished. Once there is a reference, several processes may work
in one folder on different `--seeds`; the run on all of them then only writes the table.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.language.movie_reviews.experiment import Corpus, Trial
from benchmarks.language.movie_reviews.frontier import frontier
from benchmarks.language.movie_reviews.plan import METHODS, PILOT, SMOKE, Plan
from benchmarks.language.movie_reviews.report import write
from benchmarks.provenance import LANGUAGE_PACKAGES, RESULTS, ROOT, provenance
from benchmarks.sizes import Size
from nlhf.errors import NotAllowed


def run(data: Path, out: Path, plan: Plan) -> str:
    """Run or finish the experiment, and return the report that it also writes."""
    out.mkdir(parents=True, exist_ok=True)
    _require_same(plan, out / "plan.json")
    begin = time.time()

    def note(text: str) -> None:
        print(f"{time.time() - begin:6.0f} s  {text}", flush=True)

    corpus = Corpus(data, out, plan, note)
    trials = [Trial(corpus, seed) for seed in plan.seeds]
    outcomes = []
    for trial in trials:
        for method in METHODS:
            found = trial.outcome(method)
            note(
                f"seed {trial.seed}, {method}: majority {np.mean(found.majority):.3f}, "
                f"minority {np.mean(found.minority):.3f}, KL {np.mean(found.divergence):.2f}"
            )
            outcomes.append(found)
    points = frontier(Trial(corpus, PILOT))
    return write(outcomes, points, _facts(corpus, trials), plan, out / "movie_reviews")


def _require_same(plan: Plan, path: Path) -> None:
    told = json.loads(json.dumps(asdict(plan)))
    del told["seeds"]  # each has a folder of its own
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        changed = sorted(key for key in told if told[key] != before.get(key))
        if changed:
            raise NotAllowed(
                f"{path.parent} holds a run with other numbers: {', '.join(changed)}",
                "give a new folder by --out, or the plan of that run",
            )
    path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def _facts(corpus: Corpus, trials: list[Trial]) -> dict[str, Any]:
    origin = provenance(ROOT, *LANGUAGE_PACKAGES)
    found = [
        f"{trial.assignment():.0%}, shares "
        + " and ".join(f"{share:.2f}" for share in trial.mixture.proportions)
        for trial in trials
    ]
    module = corpus.model.module
    return {
        "scorer, accuracy on unseen sentences": f"{corpus.scorer.accuracy(corpus.unseen):.3f}",
        "judge, accuracy on unseen sentences": f"{corpus.judge.accuracy(corpus.unseen):.3f}",
        "unseen sentences": len(corpus.unseen),
        "weights of the reference": sum(p.numel() for p in module.parameters()),
        "reference, nats per token on unseen sentences": f"{corpus.nats_per_token:.2f}",
        "raters whom the mixture puts with their group, by seed": "; ".join(found),
        "revision": origin["revision"],
        "time": origin["time"],
        "machine": f"{origin['cpu']}, {origin['cores']} cores, torch on {torch.get_num_threads()}",
        "versions": ", ".join(f"{k} {v}" for k, v in origin["versions"].items()),
    }


def record(folder: Path, size: Size) -> None:
    """Write ``movie_reviews.md`` and ``movie_reviews.json`` from the data that come with tests."""
    plan = Plan() if size is Size.FULL else replace(SMOKE, seeds=(1,), outer_steps=1, epochs=1)
    torch.set_num_threads(1)
    out = (ROOT / "build" if folder == RESULTS else folder) / "movie_reviews"
    run(Path(os.environ["NLHF_TEST_DATA"]) / "movie_reviews", out, plan)
    for ending in (".md", ".json"):
        name = Path("movie_reviews").with_suffix(ending)
        (folder / name).write_text((out / name).read_text("utf-8"), "utf-8")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.language.movie_reviews", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of rt-polarity.pos, .neg")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--smoke", action="store_true", help="a few minutes, numbers mean nothing")
    parser.add_argument("--seeds", type=int, nargs="+", help="others than 1 2 3")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    plan = SMOKE if told.smoke else Plan()
    if told.seeds:
        plan = plan.on(tuple(told.seeds))
    print(run(told.data, told.out, plan))


if __name__ == "__main__":
    main()
