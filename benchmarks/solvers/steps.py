"""One step of an algorithm against the bare NumPy expression of the same update."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.cases import Steps
from benchmarks.clock import Laps
from benchmarks.found import Found, ratios
from benchmarks.solvers.instances import FAMILIES, REFERENCES
from nlhf import Extragradient, MirrorDescent, OptimisticMirrorDescent, PreferenceGame, Stream
from nlhf.protocols import Algorithm

Array = Float[np.ndarray, "context response"]
_WARM = 2
STEP = 0.4
"""η of all methods: proven for each at temperature 0.1."""


class Bare:
    """The updates as a careful user of NumPy writes them, for this one game and nothing else.

    An iterate is a pair of log-probabilities and probabilities: no exponential is taken twice.
    """

    def __init__(self, preference: np.ndarray, reference: Array, temperature: float) -> None:
        self._preference = preference
        self._pull = temperature * np.log(reference)
        self._total = temperature + 1.0 / STEP

    def payoff(self, probabilities: Array) -> Array:
        """Return P π."""
        return np.matmul(self._preference, probabilities[..., None])[..., 0]

    def prox(self, payoff: Array, logs: Array) -> tuple[Array, Array]:
        """Return the proximal point and its probabilities."""
        logits = (logs / STEP + self._pull + payoff) / self._total
        logits -= logits.max(axis=-1, keepdims=True)
        exponentials = np.exp(logits)
        total = exponentials.sum(axis=-1, keepdims=True)
        return logits - np.log(total), exponentials / total

    def mirror_descent(self, state: Any) -> Any:
        """Return the next iterate."""
        logs, probabilities = state
        return self.prox(self.payoff(probabilities), logs)

    def extragradient(self, state: Any) -> Any:
        """Return the next iterate."""
        logs, probabilities = state
        _, half = self.prox(self.payoff(probabilities), logs)
        return self.prox(self.payoff(half), logs)

    def optimistic(self, state: Any) -> Any:
        """Return the next centre, and the probabilities of what is played."""
        centre, played = state
        payoff = self.payoff(played)
        centre, _ = self.prox(payoff, centre)
        return centre, self.prox(payoff, centre)[1]


ALGORITHMS: Mapping[str, Algorithm[Any]] = {
    "mirror_descent": MirrorDescent(STEP),
    "extragradient": Extragradient(STEP),
    "optimistic": OptimisticMirrorDescent(STEP),
}


def steps(case: Steps) -> Iterator[Found]:
    """Yield the seconds of a step, bare and ours in turn, and how far apart the iterates end."""
    rng = Stream(case.seed).child("steps", case.algorithm).generator()
    preference = FAMILIES["uniform"](rng, case.contexts, case.responses)
    reference = REFERENCES["spread_reference"](rng, case.contexts, case.responses)
    game = PreferenceGame(preference, reference, case.temperature)
    algorithm, stream = ALGORITHMS[case.algorithm], Stream(case.seed)
    bare: Callable[[Any], Any] = getattr(
        Bare(preference, reference, case.temperature), case.algorithm
    )
    theirs: Any = (np.log(reference), reference)
    ours = algorithm.init(game, game.start())
    laps = {"bare": Laps(), "nlhf": Laps()}

    def both() -> None:
        nonlocal theirs, ours
        theirs = laps["bare"].time(lambda: bare(theirs))
        ours = laps["nlhf"].time(lambda: algorithm.step(game, ours, stream))

    for _ in range(_WARM):
        both()
    laps.update(bare=Laps(), nlhf=Laps())
    for _ in range(case.repeats):
        both()
    apart = float(np.abs(algorithm.profile(ours)[0].probabilities - theirs[1]).max())
    for name, own in laps.items():
        more = ratios(own, laps["bare"], "bare") | {"largest_difference_of_probabilities": apart}
        yield Found(name, own.numbers() | more)
