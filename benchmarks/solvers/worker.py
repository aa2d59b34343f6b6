"""Exact solutions in this process; prints seconds, gap and peak memory as JSON."""

import json
import sys

import numpy as np

from benchmarks.cases import Footprint
from benchmarks.clock import Laps, peak_bytes, repeat
from benchmarks.solvers.instances import FAMILIES, low_rank
from nlhf import PreferenceGame, Stream, solve
from nlhf.numerics import kl_divergence


def draw(case: Footprint) -> PreferenceGame:
    """Return the game of a case."""
    rng = Stream(case.seed).child(case.family, case.responses).generator()
    if case.rank:
        p = low_rank(rng, case.responses, case.rank)
        return PreferenceGame(p, temperature=case.temperature)
    matrices = FAMILIES[case.family](rng, case.contexts, case.responses)
    p = matrices if case.contexts > 1 else matrices[0]
    return PreferenceGame(p, temperature=case.temperature)


def main() -> None:
    """Build the instance named on the command line, solve it, print what it took."""
    case = Footprint(**json.loads(sys.argv[1]))
    imported, building = peak_bytes(), Laps()
    game = building.time(lambda: draw(case))
    instance = peak_bytes()
    found = repeat(lambda: solve(game), case.repeats, warm=False)
    peak, solution = peak_bytes(), solve(game)
    more = {
        "seconds_to_build_the_instance": building.wall[0],
        "kl_to_the_reference_nats": float(
            np.max(kl_divergence(solution.log_policy, game.reference.log_probabilities))
        ),
        "newton_iterations": solution.provenance.iterations,
        "duality_gap_largest": float(solution.certificate.per_context.max()),
        "duality_gap_at_most": solution.certificate.bound.high,
        "peak_memory_bytes": peak,
        "peak_memory_bytes_after_imports": imported,
        "peak_memory_bytes_after_building": instance,
    }
    print(json.dumps(found | more))


if __name__ == "__main__":
    main()
