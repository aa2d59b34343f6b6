"""Online runs on random problems, with what the oracle was asked and the event looked at."""

from dataclasses import dataclass

import numpy as np

from nlhf.data.preference_data import Pairs
from nlhf.learning.online.explorers import Enhancer, OnPolicy, Optimist, Reference, Uniform
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import ModelOracle
from nlhf.learning.online.runs import OnlineRun
from nlhf.streams import Stream
from tests.learning.drawn import Problem, problem

EXPLORERS = (Enhancer(), Optimist(), OnPolicy(), Reference(), Uniform())


class Minutes:
    """An oracle that keeps what it was asked, round by round."""

    def __init__(self, oracle):
        self.oracle, self.asked = oracle, []
        self.identity = oracle.identity

    def answer(self, pairs: Pairs, stream: Stream) -> np.ndarray:
        self.asked.append(pairs)
        return self.oracle.answer(pairs, stream)


@dataclass(frozen=True)
class World:
    """A problem, a run on it, and how far the truth is from each estimate in its sample."""

    problem: Problem
    run: OnlineRun
    errors: list[float]

    @property
    def event(self):
        """Whether the truth was within the radius of every estimate."""
        pairs = zip(self.errors, self.run.standings, strict=True)
        return all(error <= one.radius for error, one in pairs)

    def true_gaps(self):
        setting, truth = self.problem.setting, self.problem.truth
        units = self.problem.models.link.units
        every = self.run.standings
        return [setting.exploitability(truth, one.policy, units).value for one in every]


def world(seed, link, *, markov=False, rounds=None, queries=None, explorer=None, models=None):
    """Draw a problem and learn it online; `models` turns the class into the one learned with."""
    rng = np.random.default_rng([seed, 11])
    drawn = problem(seed, markov=markov, link=link, samples=1)
    oracle = Minutes(ModelOracle(drawn.truth, link))
    run = learn_online(
        drawn.setting,
        drawn.models if models is None else models(drawn.models),
        oracle,
        rounds=int(rng.integers(1, 5)) if rounds is None else rounds,
        queries=int(rng.choice([3, 30, 300])) if queries is None else queries,
        explorer=EXPLORERS[int(rng.integers(len(EXPLORERS)))] if explorer is None else explorer,
        stream=Stream(seed),
    )
    errors, seen = [], []
    for one in run.standings:
        off = [p.payoffs(drawn.truth) - p.payoffs(one.model.table) for p in seen]
        errors.append(float(sum((each**2).sum() for each in off)))
        seen = oracle.asked[: len(seen) + 1]
    return World(drawn, run, errors)
