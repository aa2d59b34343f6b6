"""What is measured, as data. A case is one instance and everything that is run on it."""

import hashlib
import json
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
    """Exact solutions in a fresh process: their time and the peak memory of the process.

    Attributes:
        family: A name in `instances.FAMILIES`, or ``low_rank``.
        responses: n.
        contexts: X.
        temperature: τ.
        rank: d, of a low-rank preference; 0 otherwise.
        repeats: Solutions of the same game, none before them.
        seed: Root of the stream.
    """

    family: str
    responses: int
    contexts: int
    temperature: float
    rank: int = 0
    repeats: int = 3
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
        repeats: Solutions by each, in turn.
    """

    environment: str
    temperature: float
    horizon: int = 50
    repeats: int = 3

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
        repeats: Fits by each, in turn, after one that is not counted.
        seed: Root of the streams of votes and starts.
    """

    votes: int
    raters: int
    prompts: int
    responses: int
    proportions: tuple[float, ...] = (0.4, 0.25, 0.15, 0.12, 0.08)
    repeats: int = 3
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


@dataclass(frozen=True, slots=True)
class Tally:
    """Bradley-Terry rewards of largest likelihood from votes on all pairs, by several routes.

    Attributes:
        responses: n.
        votes: On uniform pairs, of rewards that are standard normal.
        methods: Names in `tally.METHODS`; ratios are to the first.
        repeats: Sets of votes drawn, after one that is not counted.
        seed: Root of the stream.
    """

    responses: int
    votes: int
    methods: tuple[str, ...] = ("nlhf", "choix_ilsr", "choix_opt")
    repeats: int = 7
    seed: int = 0

    @property
    def instance(self) -> str:
        """The case in words."""
        return f"Bradley-Terry, n = {self.responses}, {self.votes} votes"


@dataclass(frozen=True, slots=True)
class Scaling:
    """One size of one thing, in a fresh process: seconds of repeated calls, and peak memory.

    Attributes:
        axis: A key of `scaling.AXES`: what grows.
        value: Its size.
        method: A name in `scaling.AXES[axis]`, or a peer of `peer_worker`.
        repeats: Calls, after one that is not counted.
    """

    axis: str
    value: int
    method: str
    repeats: int = 5

    @property
    def instance(self) -> str:
        """The case in words."""
        return f"fresh process: {self.axis} = {self.value}"


@dataclass(frozen=True, slots=True)
class OuterStep:
    """One outer step of a language model, ours and TRL's, in alternating fresh processes.

    Attributes:
        shape: A key of `outer_step.SHAPES`: the size of the model.
        rounds: Processes of each method.
        steps: Of each process, after one that is not counted.
        methods: Keys of `outer_step.WORKERS`; ratios are to the first.
    """

    shape: str
    rounds: int = 2
    steps: int = 3
    methods: tuple[str, ...] = (
        "nash-md",
        "trl-nash-md-cached",
        "online-dpo",
        "trl-online-dpo-cached",
    )

    @property
    def instance(self) -> str:
        """The case in words."""
        return f"one outer step, {self.shape} GPT-2, 8 prompts, 2 responses of 64 tokens"


@dataclass(frozen=True, slots=True)
class Study:
    """A study: a module whose `record(folder, size)` writes tables of its own.

    Attributes:
        name: Of the study.
        module: Where it is.
        size: ``smoke`` or ``full``.
        needs: Modules without which it is absent.
        data: Environment variable naming a folder without which it is absent, or nothing.
    """

    name: str
    module: str
    size: str
    needs: tuple[str, ...] = ()
    data: str = ""

    @property
    def instance(self) -> str:
        """The case in words."""
        return f"study {self.name}, {self.size}"


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
    | Tally
    | Scaling
    | OuterStep
    | Study
)


def key(case: Case) -> str:
    """Return a name of the case that changes with every field of it."""
    fields = json.dumps({"kind": type(case).__name__} | asdict(case), sort_keys=True)
    return f"{type(case).__name__.lower()}-{hashlib.sha256(fields.encode()).hexdigest()[:12]}"


def methods_of(case: Case) -> tuple[str, ...]:
    """Return the names of the measurements that a case leads to."""
    if isinstance(case, Scaling):
        return (case.method,)
    return getattr(case, "methods", (type(case).__name__.lower(),))
