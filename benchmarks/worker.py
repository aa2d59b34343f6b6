"""One exact solution in this process; prints seconds, gap and peak memory as JSON."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.instances import FAMILIES, low_rank
from benchmarks.suites import Footprint
from nlhf import PreferenceGame, Stream, solve
from nlhf.numerics import kl_divergence


def peak_bytes() -> int:
    """Return the largest resident size of this process so far.

    On Linux from VmHWM, which starts at zero when a program does; ``ru_maxrss`` would start at the
    size of the process that launched this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Build the instance named on the command line, solve it, print what it took."""
    case = Footprint(**json.loads(sys.argv[1]))
    imported = peak_bytes()
    rng = Stream(case.seed).child(case.family, case.responses).generator()
    start = time.perf_counter()
    if case.rank:
        game = PreferenceGame(
            low_rank(rng, case.responses, case.rank), temperature=case.temperature
        )
    else:
        p = FAMILIES[case.family](rng, case.contexts, case.responses)
        game = PreferenceGame(p if case.contexts > 1 else p[0], temperature=case.temperature)
        del p
    built, instance = time.perf_counter() - start, peak_bytes()
    start = time.perf_counter()
    solution = solve(game)
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "seconds_to_build_the_instance": built,
                "kl_to_the_reference_nats": float(
                    np.max(kl_divergence(solution.log_policy, game.reference.log_probabilities))
                ),
                "newton_iterations": solution.provenance.iterations,
                "duality_gap_largest": float(solution.certificate.per_context.max()),
                "duality_gap_at_most": solution.certificate.bound.high,
                "peak_memory_bytes": peak_bytes(),
                "peak_memory_bytes_after_imports": imported,
                "peak_memory_bytes_after_building": instance,
            }
        )
    )


if __name__ == "__main__":
    main()
