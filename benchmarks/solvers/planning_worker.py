"""Pessimistic planning over many candidates in this process; prints what it took as JSON."""

import json
import sys

import numpy as np

from benchmarks.cases import Candidates
from benchmarks.clock import Laps, peak_bytes
from nlhf import Stream
from nlhf.data.preference_data import PreferenceData
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.offline.solutions import PessimisticSolution
from nlhf.learning.offline.version_space import plan_version_space

SPREAD = 0.05
"""Of candidates around their common centre, in normal scores: so little that data of the given
size exclude few of them."""
DELTA = 0.05


def draw(case: Candidates) -> tuple[BanditSetting, FiniteClass, PreferenceData]:
    """Return a bandit, candidates around one preference, and votes on uniform pairs."""
    stream = Stream(case.seed).child("candidates", case.models, case.responses)
    rng = stream.generator()
    shape = (case.contexts, case.responses, case.responses)
    centre = rng.normal(size=shape)
    tables = np.empty((case.models, *shape))
    for table in tables:
        scores = centre + SPREAD * rng.normal(size=shape)
        np.tanh(scores - scores.swapaxes(-1, -2), out=table)
    tables *= 0.5
    uniform = np.full(shape[:2], 1.0 / case.responses)
    setting = BanditSetting(uniform, case.temperature)
    tables.flags.writeable = False
    models = FiniteClass(tables)
    pairs = setting.draw(setting.reference, setting.reference, case.votes, stream.child("pairs"))
    wins = rng.random(case.votes) < 0.5 + pairs.payoffs(models.tables[0])
    return setting, models, PreferenceData.of_labels(pairs, wins.astype(float)).condensed()


def main() -> None:
    """Draw the instance named on the command line, plan, print what it took."""
    case = Candidates(**json.loads(sys.argv[1]))
    imported = peak_bytes()
    setting, models, data = draw(case)
    built = peak_bytes()
    both = Laps()
    version_space = Laps()

    def planned() -> PessimisticSolution:
        confidence = version_space.time(lambda: models.confidence(data, DELTA))
        return plan_version_space(setting, confidence, accuracy=case.accuracy)

    plan = both.time(planned)
    gap = setting.exploitability(models.tables[0], plan.policy, models.link.units)
    print(
        json.dumps(
            {
                **both.numbers(),
                "seconds_of_the_version_space": version_space.wall[0],
                "members": len(models.confidence(data, DELTA).members),
                "rounds": plan.provenance.iterations,
                "optimality": plan.optimality.high,
                "certified_exploitability": plan.gap.high,
                "true_exploitability": gap.value,
                "bytes_of_the_class": models.tables.nbytes,
                "peak_memory_bytes": peak_bytes(),
                "peak_memory_bytes_after_imports": imported,
                "peak_memory_bytes_after_building": built,
            }
        )
    )


if __name__ == "__main__":
    main()
