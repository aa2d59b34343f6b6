"""All methods on one game: what each reached, when, and what was promised."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nlhf.algorithms.average import Average
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.loop import StopRule, iterate
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.nash_ema import NashEMA
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.optimistic import OptimisticMirrorDescent
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.analysis.methods import published_names
from nlhf.analysis.promises import OPTIMISTIC_STEP, Promise, averaging_step, promise
from nlhf.certificates import CertifiableGame, certify
from nlhf.errors import HypothesisViolated
from nlhf.games.preference import PreferenceGame
from nlhf.protocols import Algorithm, Evaluation, Game, Space
from nlhf.results import Bound, Certificate, Profile, Stop, TraceRow, Units, read_only
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream

DEFAULT_STOP = StopRule(gap=1e-10, max_iterations=5000, judge_every=1, patience=5000)
"""Every iterate is judged: the iterations to the gap are counted, not rounded to tens. No run is
called off because it goes round or rests: that is what is to be seen."""

Watch = Callable[[str, TraceRow], None]
"""Called with the name of a method and its judged iteration, as it is judged."""

_ABOVE_ROUNDING = 10.0
"""A gap counts for the observed decay if it is this many times its rounding."""
_AT_REST = 1e-3
"""A run is at rest if its gap varies by this share over its second half."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The judged iterations of a run, oldest first.

    Attributes:
        iterations: Steps taken.
        evaluations: Evaluations of the payoffs at a profile that they needed.
        seconds: Wall time of the steps alone; judging is not charged to a method.
        gaps: The certified duality gap there, in payoff units.
    """

    iterations: Int[np.ndarray, "judged"]
    evaluations: Int[np.ndarray, "judged"]
    seconds: Float[np.ndarray, "judged"]
    gaps: Float[np.ndarray, "judged"]


@dataclass(frozen=True, slots=True)
class Decay:
    """How the gap fell late in a run, by least squares on its logarithm.

    Attributes:
        contraction: Factor per iteration, over the second half of the run.
        exponent: The gap fell like k to this power, over the last decade of k.
        linear: Whether the former explains more of its part than the latter.
    """

    contraction: float
    exponent: float
    linear: bool


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One method on the game.

    Attributes:
        name: What it is called in this comparison.
        published: Further names that the same map is published under.
        algorithm: The method with its configuration.
        step_size: η of the game, or the textbook step of Nash-MD; `None` if there is not one.
        curve: Its judged iterations.
        bound: The certified duality gap of the last one.
        stop: Why it ended there.
        decay: How the gap fell; `None` if too few iterations above rounding tell.
        promise: What is proven of it in this game; `None` where nothing is.
        keeps_equilibrium: Whether its steps stay at the equilibrium of this game: its own property,
            and that proximal steps are exact.
    """

    name: str
    published: tuple[str, ...]
    algorithm: Algorithm[Any]
    step_size: float | None
    curve: Curve
    bound: Bound
    stop: Stop
    decay: Decay | None
    promise: Promise | None
    keeps_equilibrium: bool

    @property
    def iterations(self) -> int:
        """Steps taken: those needed for the gap, if the run was certified."""
        return int(self.curve.iterations[-1])

    @property
    def seconds(self) -> float:
        """Wall time of the steps, without judging."""
        return float(self.curve.seconds[-1])

    @property
    def evaluations_per_iteration(self) -> float:
        """Evaluations of the payoffs that a step needs, on average."""
        return float(self.curve.evaluations[-1]) / max(self.iterations, 1)

    @property
    def biased(self) -> bool:
        """Whether it came to rest above the gap, and its steps leave the equilibrium."""
        late = self.curve.gaps[self.curve.iterations >= self.iterations / 2.0]
        rests = late.size >= 3 and float(np.ptp(late)) <= _AT_REST * float(late.max())
        above = self.stop is not Stop.CERTIFIED and float(late[-1]) > 0.0
        return rests and above and not self.keeps_equilibrium


@dataclass(frozen=True, slots=True)
class Refusal:
    """A method that did not start.

    Attributes:
        name: What it is called in this comparison.
        reason: The hypothesis that the game does not meet.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All methods on one game, from the same start.

    Attributes:
        runs: The methods that ran, in the order given.
        refused: Those that did not.
        stop: The rule that ended every run.
        temperatures: τ, one per distinct player, in payoff units.
        units: Units of the gaps.
    """

    runs: tuple[Run, ...]
    refused: tuple[Refusal, ...]
    stop: StopRule
    temperatures: tuple[float, ...]
    units: Units

    @property
    def certified(self) -> tuple[Run, ...]:
        """The runs that reached the gap, fewest iterations first."""
        done = [run for run in self.runs if run.stop is Stop.CERTIFIED]
        return tuple(sorted(done, key=lambda run: run.iterations))


def compare(
    game: Any,
    algorithms: Mapping[str, Algorithm[Any]] | None = None,
    stop: StopRule | None = None,
    *,
    stream: Stream | None = None,
    observe: Watch | None = None,
) -> Comparison:
    """Run methods one after the other on one game, from its references.

    Args:
        game: Any game that `certify` judges: bandit, token tree, Markov decision process.
        algorithms: Methods by the names they are to have; by default all of `default_algorithms`.
        stop: When to end each run; by default at a certified duality gap of 1e-10, or after
            5,000 iterations, each of which is judged.
        stream: Randomness; every method gets the same. `Stream(0)` by default.
        observe: Told of every judged iteration of every method.

    Returns:
        One run per method; a method whose hypotheses the game does not meet is listed as refused,
        with the reason.

    Raises:
        HypothesisViolated: If `algorithms` is empty.
    """
    rule = DEFAULT_STOP if stop is None else stop
    entrants = default_algorithms(game, rule) if algorithms is None else algorithms
    if not entrants:
        raise HypothesisViolated("there is no algorithm to compare", "name at least one")
    runs: list[Run] = []
    refused: list[Refusal] = []
    for name, algorithm in entrants.items():
        try:
            runs.append(_run(game, name, algorithm, rule, stream or Stream(0), observe))
        except HypothesisViolated as error:
            refused.append(Refusal(name, error.found))
    return Comparison(tuple(runs), tuple(refused), rule, tuple(game.temperatures), game.units)


def default_algorithms(game: Any, stop: StopRule = DEFAULT_STOP) -> dict[str, Algorithm[Any]]:
    """Return every shipped method with its default step, under a name for tables and pictures.

    Nash-MD is there with its decaying and with a constant step, the textbook step 1/(2L + τ);
    the proximal point method with extragradient inside (COMAL) and with mirror descent (MPO). In
    a preference game at temperature 0 come the averages that theorems are about, and the last
    iterate of the same mirror descent.
    """
    temperature = min(game.temperatures)
    constant = 1.0 / ((2.0 * game.lipschitz + temperature) or 1.0)
    found: dict[str, Algorithm[Any]] = {
        "mirror descent": MirrorDescent(),
        "extragradient": Extragradient(),
        "optimistic": OptimisticMirrorDescent(),
        "Nash-MD": NashMD(),
        "Nash-MD, constant step": NashMD(constant),
        "Nash-EMA": NashEMA(),
        "COMAL": ProximalPoint(),
        "MPO": ProximalPoint(MirrorDescent()),
    }
    if temperature == 0.0 and isinstance(game, PreferenceGame):
        short = MirrorDescent(averaging_step(game, stop), unproven=True)
        found |= {
            "mirror descent, short step": short,
            "its average (SPPO)": Average(short),
            "average of optimistic (ONPO)": Average(OptimisticMirrorDescent(OPTIMISTIC_STEP)),
        }
    return found


def _run(
    game: Any,
    name: str,
    algorithm: Algorithm[Any],
    stop: StopRule,
    stream: Stream,
    observe: Watch | None,
) -> Run:
    counting, judge = _Counting(game), _Judge(game)
    rows: list[tuple[int, int, float, float]] = []

    def note(row: TraceRow) -> None:
        seconds = max(row.seconds - judge.seconds_before, 0.0)
        rows.append((row.iteration, counting.evaluations, seconds, row.gap))
        if observe is not None:
            observe(name, row)

    solution = iterate(counting, algorithm, judge, stop, stream, observe=note)
    iterations, evaluations, seconds, gaps = zip(*rows, strict=True)
    curve = Curve(
        read_only(np.array(iterations)),
        read_only(np.array(evaluations)),
        read_only(np.array(seconds)),
        read_only(np.array(gaps)),
    )
    bound = solution.certificate.bound
    return Run(
        name=name,
        published=published_names(algorithm),
        algorithm=algorithm,
        step_size=_step_size(game, algorithm),
        curve=curve,
        bound=bound,
        stop=solution.stop,
        decay=_decay(curve, bound.high - bound.value),
        promise=promise(game, algorithm, stop),
        keeps_equilibrium=algorithm.keeps_equilibrium and game.exact_steps,
    )


class _Judge:
    """The certificate of the game, and the time that it has taken."""

    def __init__(self, game: CertifiableGame) -> None:
        self._game = game
        self._seconds = 0.0
        self.seconds_before = 0.0

    def __call__(self, profile: Profile[Policy], /) -> Certificate[Policy]:
        start = time.perf_counter()
        certificate = certify(self._game, profile)
        self.seconds_before = self._seconds
        self._seconds += time.perf_counter() - start
        return certificate


class _Counting:
    """The game, counting how often payoffs are evaluated."""

    def __init__(self, game: Game[Any, Any]) -> None:
        self._game = game
        self.evaluations = 0

    @property
    def spaces(self) -> tuple[Space[Any, Any], ...]:
        return self._game.spaces

    @property
    def temperatures(self) -> tuple[float, ...]:
        return self._game.temperatures

    @property
    def lipschitz(self) -> float:
        return self._game.lipschitz

    @property
    def exact_steps(self) -> bool:
        return self._game.exact_steps

    def operator(self, profile: Profile[Any], stream: Stream) -> Evaluation[Any]:
        self.evaluations += 1
        return self._game.operator(profile, stream)

    def prox(
        self, evaluation: Evaluation[Any] | None, anchors: Sequence[tuple[Profile[Any], float]]
    ) -> Profile[Any]:
        return self._game.prox(evaluation, anchors)

    def mixture(self, weighted: Sequence[tuple[Profile[Any], float]]) -> Profile[Any]:
        return self._game.mixture(weighted)

    def start(self) -> Profile[Any]:
        return self._game.start()


def _step_size(game: Any, algorithm: Algorithm[Any]) -> float | None:
    if isinstance(algorithm, Average):
        return _step_size(game, algorithm.inner)
    if isinstance(algorithm, MirrorDescent | Extragradient | OptimisticMirrorDescent | NashEMA):
        return algorithm.eta(game)
    if isinstance(algorithm, NashMD):
        return algorithm.textbook_step
    found: float | None = getattr(algorithm, "step_size", None)
    return found


def _decay(curve: Curve, rounding: float) -> Decay | None:
    """Fit both laws: the factor over the last half of the run, the power over its last decade."""
    steps = curve.iterations * 1.0
    seen = np.isfinite(curve.gaps) & (curve.gaps > max(_ABOVE_ROUNDING * rounding, 0.0))
    half = seen & (steps >= max(steps[-1] / 2.0, 1.0))
    decade = seen & (steps >= max(steps[-1] / 10.0, 1.0))
    if half.sum() < 3:
        return None
    slope, unexplained = _line(steps[half], np.log(curve.gaps[half]), np.ones(half.sum()))
    exponent, also_unexplained = _line(
        np.log(steps[decade]), np.log(curve.gaps[decade]), 1.0 / steps[decade]
    )
    return Decay(float(np.exp(slope)), exponent, unexplained <= also_unexplained)


def _line(
    x: Float[np.ndarray, "judged"], y: Float[np.ndarray, "judged"], w: Float[np.ndarray, "judged"]
) -> tuple[float, float]:
    """Return the slope of the line of least squares, and the share of y it does not explain."""
    dx, dy = x - np.average(x, weights=w), y - np.average(y, weights=w)
    slope = float((w * dx) @ dy) / float((w * dx) @ dx)
    total = float((w * dy) @ dy)
    return slope, float(w @ (dy - slope * dx) ** 2) / total if total > 0.0 else 0.0
