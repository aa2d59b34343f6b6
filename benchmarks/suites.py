"""What is measured, as data. A case is one instance and everything that is run on it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """Methods side by side, in one process, on the same freshly drawn games.

    Attributes:
        family: A name in `instances.FAMILIES`.
        responses: n.
        contexts: X; 1 is a single game.
        temperature: τ, in win probability.
        methods: Names in `methods.METHODS`; ratios are to the first.
        reference: A name in `instances.REFERENCES`.
        repeats: Games drawn; every method runs on each, in turn, after one that is not counted.
        sample: Contexts that a method without batching is run on; its time per context is
            measured on these and stated as scaled.
        seed: Root of the stream that the games are drawn from.
    """

    family: str
    responses: int
    contexts: int
    temperature: float
    methods: tuple[str, ...]
    reference: str = "uniform_reference"
    repeats: int = 7
    sample: int = 50
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"{self.family}, {self.reference}, n = {self.responses}, X = {self.contexts}, "
            f"τ = {self.temperature:g}"
        )


@dataclass(frozen=True, slots=True)
class Footprint:
    """One exact solution in a fresh process: its time and the peak memory of the process.

    Attributes:
        family: A name in `instances.FAMILIES`, or ``low_rank``.
        responses: n.
        contexts: X.
        temperature: τ.
        rank: d, of a low-rank preference; 0 otherwise.
        seed: Root of the stream.
    """

    family: str
    responses: int
    contexts: int
    temperature: float
    rank: int = 0
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        rank = f", d = {self.rank}" if self.rank else ""
        return (
            f"fresh process: {self.family}, n = {self.responses}{rank}, X = {self.contexts}, "
            f"τ = {self.temperature:g}"
        )


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a statement takes in a fresh interpreter that has imported numpy and scipy.

    Attributes:
        statement: What is timed.
        repeats: Interpreters started.
    """

    statement: str
    repeats: int = 9

    @property
    def instance(self) -> str:
        """The case in words."""
        return self.statement


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Soft value iteration on a sparse random process, and copies of memory, in turn.

    Attributes:
        states: S.
        actions: A.
        successors: Possible next states of every state and action.
        temperature: τ; rewards are uniform on [0, 1].
        horizon: Sweeps in one run.
        repeats: Runs.
        seed: Root of the stream that the process is drawn from.
    """

    states: int
    actions: int
    successors: int
    temperature: float
    horizon: int = 20
    repeats: int = 9
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"soft value iteration, S = {self.states}, A = {self.actions}, "
            f"{self.successors} successors, τ = {self.temperature:g}"
        )


@dataclass(frozen=True, slots=True)
class Planning:
    """Finite-horizon planners side by side on one sparse random process.

    Attributes:
        states: S.
        actions: A.
        successors: Possible next states of every state and action.
        temperature: τ of the soft planner; rewards are uniform on [0, 1].
        horizon: H.
        methods: Names in `mdp.PLANNERS`, `hard` among them; ratios are to the first.
        repeats: Runs of every method, in turn, after one that is not counted.
        seed: Root of the stream that the process is drawn from.
    """

    states: int
    actions: int
    successors: int
    temperature: float
    horizon: int = 50
    methods: tuple[str, ...] = ("soft", "hard", "pymdptoolbox")
    repeats: int = 3
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"horizon {self.horizon}, S = {self.states}, A = {self.actions}, "
            f"{self.successors} successors, τ = {self.temperature:g}"
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of an algorithm on a batch of games, against the bare NumPy expression, in turn.

    Attributes:
        algorithm: A key of `steps.ALGORITHMS`.
        contexts: X.
        responses: n.
        temperature: τ.
        repeats: Steps that are timed.
        seed: Root of the stream that the games are drawn from.
    """

    algorithm: str
    contexts: int
    responses: int
    temperature: float = 0.1
    repeats: int = 201
    seed: int = 0

    methods = ("bare", "nlhf")

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"one step of {self.algorithm}, X = {self.contexts}, n = {self.responses}, "
            f"τ = {self.temperature:g}"
        )


@dataclass(frozen=True, slots=True)
class Toy:
    """The preference game of a toy-text environment, solved exactly and by extragradient.

    Attributes:
        environment: Gymnasium's id.
        temperature: τ.
        horizon: H.
    """

    environment: str
    temperature: float
    horizon: int = 50

    methods = ("exact", "extragradient")

    @property
    def instance(self) -> str:
        """The case in words."""
        return f"{self.environment}, horizon {self.horizon}, τ = {self.temperature:g}"


@dataclass(frozen=True, slots=True)
class Groups:
    """MaxMin over groups with independent normal rewards, by several routes in turn.

    Attributes:
        groups: U.
        responses: n.
        contexts: X.
        temperature: τ; rewards have variance 1.
        methods: Names in `maxmin.METHODS`; ratios are to the first.
        repeats: Games drawn; every method runs on each, in turn, after one that is not counted.
        seed: Root of the stream that the games are drawn from.
    """

    groups: int
    responses: int
    contexts: int
    temperature: float
    methods: tuple[str, ...] = ("exact", "cvxpy")
    repeats: int = 7
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"MaxMin, U = {self.groups}, n = {self.responses}, X = {self.contexts}, "
            f"τ = {self.temperature:g}"
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pessimistic planning over a version space in a fresh process: time and peak memory.

    Attributes:
        models: K.
        contexts: X.
        responses: n.
        temperature: τ, in win probability.
        votes: On uniform pairs, answered by the first candidate.
        accuracy: Of the pessimistic value.
        seed: Root of the stream.
    """

    models: int
    contexts: int = 20
    responses: int = 100
    temperature: float = 0.1
    votes: int = 2000
    accuracy: float = 1e-8
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"fresh process: version space of K = {self.models}, n = {self.responses}, "
            f"X = {self.contexts}, τ = {self.temperature:g}, {self.votes} votes"
        )


@dataclass(frozen=True, slots=True)
class Raters:
    """A mixture of raters fitted to many votes on uniform pairs, rewards standard normal.

    Attributes:
        votes: Of all raters.
        raters: H; every vote is of one drawn uniformly.
        prompts: X.
        responses: n.
        proportions: Of the groups.
        seed: Root of the streams of votes and starts.
    """

    votes: int
    raters: int
    prompts: int
    responses: int
    proportions: tuple[float, ...] = (0.4, 0.25, 0.15, 0.12, 0.08)
    seed: int = 0

    methods = ("soft", "hard")

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"EM, {self.votes} votes of {self.raters} raters, U = {len(self.proportions)}, "
            f"X = {self.prompts}, n = {self.responses}"
        )


@dataclass(frozen=True, slots=True)
class Recovery:
    """How many raters of a planted mixture EM puts in their group.

    Attributes:
        comparisons: Votes of every rater, on uniform pairs.
        raters: H.
        prompts: X.
        responses: n.
        scale: Standard deviation of the independent normal rewards.
        proportions: Of the groups.
        seeds: Electorates drawn; the same for every number of comparisons.
    """

    comparisons: int
    raters: int = 200
    prompts: int = 1
    responses: int = 6
    scale: float = 2.0
    proportions: tuple[float, ...] = (0.8, 0.2)
    seeds: int = 20

    methods = ("soft", "hard")

    @property
    def instance(self) -> str:
        """The case in words."""
        return (
            f"EM, {self.raters} raters of {self.comparisons} votes each, groups of "
            f"{', '.join(format(share, 'g') for share in self.proportions)}, X = {self.prompts}, "
            f"n = {self.responses}, scale {self.scale:g}"
        )


Case = (
    Comparison
    | Footprint
    | Startup
    | Sweeps
    | Planning
    | Steps
    | Toy
    | Groups
    | Raters
    | Recovery
    | Candidates
)


def key(case: Case) -> str:
    """Return a name of the case that changes with every field of it."""
    fields = json.dumps({"kind": type(case).__name__} | asdict(case), sort_keys=True)
    return f"{type(case).__name__.lower()}-{hashlib.sha256(fields.encode()).hexdigest()[:12]}"


_ALL = ("exact", "cvxpy", "extragradient", "pygambit")
_LONG = ("exact", "extragradient")

SIZES: tuple[Case, ...] = (
    *(Comparison("uniform", n, 1, 0.01, _ALL) for n in (3, 10, 30, 60)),
    *(Comparison("uniform", n, 1, 0.01, _ALL, repeats=3) for n in (100, 200)),
    Comparison("uniform", 400, 1, 0.01, ("exact", "cvxpy", "extragradient"), repeats=3),
    *(Comparison("uniform", n, 1, 0.01, _LONG, repeats=3) for n in (700, 1000, 2000)),
)
"""Time against the number of responses, a single game at temperature 0.01."""

BATCHES: tuple[Case, ...] = tuple(
    Comparison("uniform", 32, x, 0.1, ("exact", "cvxpy"), repeats=5)
    for x in (1, 10, 100, 1000, 10_000)
)
"""Time against the number of contexts, 32 responses at temperature 0.1."""

TARGETS: tuple[Case, ...] = (
    *(
        Comparison(family, 200, 1, 0.01, ("exact", "cvxpy"), reference)
        for family, reference in (
            ("uniform", "uniform_reference"),
            ("bradley_terry", "uniform_reference"),
            ("tournament", "uniform_reference"),
            ("uniform", "spread_reference"),
        )
    ),
    *(
        Comparison(family, 32, 1000, 0.1, ("exact", "cvxpy"), reference)
        for family, reference in (
            ("uniform", "uniform_reference"),
            ("bradley_terry", "uniform_reference"),
            ("tournament", "uniform_reference"),
            ("uniform", "spread_reference"),
        )
    ),
    Startup("import nlhf"),
    Startup("from nlhf import PreferenceGame, solve"),
)
"""What is claimed of single games, of batches and of the import, on easy and harder families."""

MEMORY: tuple[Case, ...] = (
    *(
        Footprint(family, 2000, 1, temperature)
        for family in ("uniform", "tournament", "bradley_terry")
        for temperature in (0.1, 0.01)
    ),
    *(Footprint("low_rank", 1_000_000, 1, temperature, rank=16) for temperature in (0.1, 0.01)),
    Footprint("uniform", 32, 10_000, 0.1),
)
"""Large problems, each in a process of its own: seconds and peak memory."""

MDPS: tuple[Case, ...] = (
    *(Sweeps(100_000, 10, 10, temperature) for temperature in (0.1, 0.0)),
    *(Planning(states, 10, 10, 0.1) for states in (2000, 5000)),
    Toy("FrozenLake8x8-v1", 0.005),
    Toy("Taxi-v4", 0.01),
)
"""Planning in sparse processes: the speed of a sweep, and pymdptoolbox on sizes it can do; games
in environments of Gymnasium."""

STEPS: tuple[Case, ...] = tuple(
    Steps(algorithm, 1000, 32) for algorithm in ("mirror_descent", "extragradient", "optimistic")
)
"""What the abstraction costs: a step against the same update written out in NumPy."""

MAXMIN: tuple[Case, ...] = (
    *(Groups(5, 200, 20, temperature) for temperature in (1.0, 0.1, 0.01)),
    Groups(5, 200, 20, 0.1, ("exact", "cvxpy_compiled_each_time"), repeats=3),
)
"""The exact dual of MaxMin against the conic program."""

RATERS: tuple[Case, ...] = (
    *(Recovery(comparisons) for comparisons in (1, 2, 3, 5, 10, 20)),
    Raters(1_000_000, 10_000, 1000, 8),
)
"""Mixtures of raters: recovery against comparisons a rater, and a million votes."""

PESSIMISM: tuple[Case, ...] = (
    *(Candidates(models) for models in (125, 250, 500, 1000)),
    Candidates(1000, temperature=1.0),
)
"""Pessimistic planning: time and memory against the number of candidates."""

QUICK: tuple[Case, ...] = (
    Comparison("tournament", 5, 1, 0.1, ("exact", "cvxpy", "extragradient"), repeats=2),
    Comparison("uniform", 4, 40, 0.1, ("exact", "cvxpy"), repeats=2, sample=3),
    Footprint("low_rank", 1000, 1, 0.1, rank=4),
    Startup("import nlhf", repeats=1),
    Sweeps(1000, 3, 4, 0.1, repeats=1),
    Planning(60, 3, 4, 0.1, horizon=5, repeats=1),
    Steps("extragradient", 20, 5, repeats=3),
    Recovery(5, raters=30, responses=4, seeds=1),
    Groups(3, 4, 2, 0.1, repeats=1),
    Candidates(10, 2, 5),
)
"""A few seconds that exercise everything: for trying the machinery out."""

SUITES: Mapping[str, tuple[Case, ...]] = {
    "quick": QUICK,
    "targets": TARGETS,
    "sizes": SIZES,
    "batches": BATCHES,
    "memory": MEMORY,
    "mdp": MDPS,
    "steps": STEPS,
    "maxmin": MAXMIN,
    "raters": RATERS,
    "pessimism": PESSIMISM,
    "full": (*TARGETS, *MEMORY, *MDPS, *STEPS, *MAXMIN, *RATERS, *PESSIMISM, *BATCHES, *SIZES),
}
