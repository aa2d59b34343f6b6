"""Families of games and methods that the tests of this folder share."""

import numpy as np

import nlhf
from nlhf.protocols import Evaluation
from tests.instances import complete

CYCLE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])

ONE_PER_METHOD = (
    nlhf.MirrorDescent(),
    nlhf.Extragradient(),
    nlhf.OptimisticMirrorDescent(),
    nlhf.NashMD(),
    nlhf.NashMD(textbook_step=0.3),
    nlhf.NashEMA(decay=0.7),
    nlhf.ProximalPoint(nlhf.MirrorDescent(), strength=0.2, inner_steps=7),
    nlhf.Average(nlhf.OptimisticMirrorDescent()),
    nlhf.Average(nlhf.ProximalPoint(inner_steps=3)),
)
LINEAR = (nlhf.MirrorDescent(), nlhf.Extragradient(), nlhf.OptimisticMirrorDescent())


def family(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Preferences of four kinds in turn: any, tournaments, noisy cycles, Bradley-Terry."""
    rewards = 3.0 * rng.standard_normal((count, n))
    ahead = (np.arange(n)[None, :] - np.arange(n)[:, None]) % n
    cycle = np.where(2 * ahead < n, 0.9, 0.1) + 0.1 * rng.uniform(-1, 1, (count, n, n))
    kinds = (
        rng.random((count, n, n)),
        rng.integers(0, 2, (count, n, n)).astype(float),
        cycle,
        1.0 / (1.0 + np.exp(rewards[:, None, :] - rewards[:, :, None])),
    )
    return np.stack([complete(kinds[k % 4][k]) for k in range(count)])


def references(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Distributions of full support, with entries down to about 1e-9."""
    weights = 10.0 ** rng.uniform(-9, 0, (count, n))
    return weights / weights.sum(axis=-1, keepdims=True)


class SampledGame(nlhf.PreferenceGame):
    """Payoffs against one drawn opponent; exact for the judge, who brings no stream."""

    def operator(self, profile, stream=None):
        exact = super().operator(profile)
        if stream is None:
            return exact
        draw = stream.generator().choice(3, p=profile[0].probabilities)
        return Evaluation((CYCLE[:, draw],))


def run(algorithm, game, steps, start=None):
    """Return the profiles proposed before the first and after every step."""
    state = algorithm.init(game, game.start() if start is None else start)
    seen = [algorithm.profile(state)]
    for k in range(steps):
        state = algorithm.step(game, state, nlhf.Stream(0).child("step", k))
        seen.append(algorithm.profile(state))
    return seen
