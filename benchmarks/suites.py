"""The suites: what each measures in full, what of it is enough to see that it runs, how long.

A new suite is an entry of `SUITES`; a new study is a module with ``record(folder, size)`` and an
entry of `STUDIES`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.cases import (
    Candidates,
    Case,
    Comparison,
    Footprint,
    Groups,
    OuterStep,
    Planning,
    Raters,
    Recovery,
    Scaling,
    Startup,
    Steps,
    Study,
    Sweeps,
    Tally,
    Toy,
)


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases that belong together.

    Attributes:
        about: What is measured, in a line.
        full: All cases.
        smoke: Small ones of the same kinds.
        minutes: What the full ones take on two quiet cores, about.
    """

    about: str
    full: tuple[Case, ...]
    smoke: tuple[Case, ...]
    minutes: float


_ALL = ("exact", "cvxpy", "extragradient", "pygambit")
_LONG = ("exact", "extragradient")
_LP = ("exact", "quantecon", "nashpy", "pygambit_lp", "open_spiel_lp", "open_spiel_nash_averaging")
_EASY_AND_HARDER = (
    ("uniform", "uniform_reference"),
    ("bradley_terry", "uniform_reference"),
    ("tournament", "uniform_reference"),
    ("uniform", "spread_reference"),
)

TARGETS: tuple[Case, ...] = (
    *(
        Comparison(family, 200, 1, 0.01, ("exact", "cvxpy"), reference)
        for family, reference in _EASY_AND_HARDER
    ),
    *(
        Comparison(family, 32, 1000, 0.1, ("exact", "cvxpy"), reference)
        for family, reference in _EASY_AND_HARDER
    ),
    Startup("import nlhf"),
    Startup("from nlhf import PreferenceGame, solve"),
)
SIZES: tuple[Case, ...] = (
    *(Comparison("uniform", n, 1, 0.01, _ALL) for n in (3, 10, 30, 60)),
    *(Comparison("uniform", n, 1, 0.01, _ALL, repeats=3) for n in (100, 200)),
    Comparison("uniform", 400, 1, 0.01, ("exact", "cvxpy", "extragradient"), repeats=3),
    *(Comparison("uniform", n, 1, 0.01, _LONG, repeats=3) for n in (700, 1000, 2000)),
)
BATCHES: tuple[Case, ...] = tuple(
    Comparison("uniform", 32, x, 0.1, ("exact", "cvxpy"), repeats=5)
    for x in (1, 10, 100, 1000, 10_000)
)
PEER_GAMES: tuple[Case, ...] = (
    *(
        Comparison("uniform", n, 1, 0.1, ("exact", "cvxpy", "pygambit", "open_spiel"), repeats=3)
        for n in (3, 10)
    ),
    *(Comparison("uniform", n, 1, 0.0, _LP, repeats=5) for n in (3, 11, 31, 101)),
)
MEMORY: tuple[Case, ...] = (
    *(
        Footprint(family, 2000, 1, temperature)
        for family in ("uniform", "tournament", "bradley_terry")
        for temperature in (0.1, 0.01)
    ),
    *(Footprint("low_rank", 1_000_000, 1, temperature, rank=16) for temperature in (0.1, 0.01)),
    Footprint("uniform", 32, 10_000, 0.1),
)
MDPS: tuple[Case, ...] = (
    *(Sweeps(100_000, 10, 10, temperature) for temperature in (0.1, 0.0)),
    *(Planning(states, 10, 10, 0.1) for states in (2000, 5000)),
    Toy("FrozenLake8x8-v1", 0.005),
    Toy("Taxi-v4", 0.01),
)
STEPS: tuple[Case, ...] = tuple(
    Steps(algorithm, 1000, 32) for algorithm in ("mirror_descent", "extragradient", "optimistic")
)
MAXMIN: tuple[Case, ...] = (
    *(
        Groups(5, 200, 20, temperature, ("exact", "cvxpy", "scipy_slsqp"))
        for temperature in (1.0, 0.1, 0.01)
    ),
    Groups(5, 200, 20, 0.1, ("exact", "cvxpy_compiled_each_time"), repeats=3),
)
RATERS: tuple[Case, ...] = (
    *(Recovery(comparisons) for comparisons in (1, 2, 3, 5, 10, 20)),
    Raters(1_000_000, 10_000, 1000, 8),
)
TALLIES: tuple[Case, ...] = (
    *(Tally(10, votes) for votes in (1000, 20_000)),
    Tally(100, 200_000, ("nlhf", "choix_ilsr")),
)
PESSIMISM: tuple[Case, ...] = (
    *(Candidates(models) for models in (125, 250, 500, 1000)),
    Candidates(1000, temperature=1.0),
)
OUTER_STEPS: tuple[Case, ...] = (
    OuterStep("small"),
    OuterStep("small", rounds=1, steps=1, methods=("nash-md", "trl-nash-md-default")),
)


def _grown(axis: str, repeats: int, **sizes: Iterable[int]) -> tuple[Case, ...]:
    return tuple(
        Scaling(
            axis, value, method.replace("_", " ") if method == "outer_step" else method, repeats
        )
        for method, values in sizes.items()
        for value in values
    )


_RATERS = (100, 1000, 3000, 10_000, 30_000)
SCALING: tuple[Case, ...] = (
    *_grown(
        "responses n",
        5,
        exact=(10, 30, 100, 300, 1000, 3000),
        extragradient=(10, 30, 100, 300, 1000),
        cvxpy=(10, 30, 100, 300),
        pygambit=(10, 30, 100),
    ),
    *_grown("contexts X", 5, exact=(1, 10, 100, 1000, 10_000), cvxpy=(1, 10, 100)),
    *_grown(
        "states S",
        5,
        soft=(100, 1000, 10_000, 100_000, 300_000),
        pymdptoolbox=(100, 300, 1000, 3000),
    ),
    *_grown("raters H", 3, soft=_RATERS, hard=_RATERS),
)
SCALING_OF_TEXTS: tuple[Case, ...] = tuple(
    Scaling("response tokens T", tokens, method, repeats=3)
    for method in ("log-probabilities", "transformers", "outer step", "trl outer step")
    for tokens in (16, 32, 64, 128, 256, 512)
)

_LM = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class _Entry:
    about: str
    module: str
    minutes: float
    needs: tuple[str, ...] = ()
    data: str = ""


STUDIES: Mapping[str, _Entry] = {
    "impossibility": _Entry("the alignment gap and its bounds", "studies.impossibility", 0.1),
    "headline": _Entry("MaxMin against one reward", "studies.headline_report", 1.0),
    "over_optimisation": _Entry("learned rewards, optimised", "studies.over_optimisation", 4.0),
    "reward_on_policy": _Entry("rewards learned on policy", "studies.reward_on_policy", 6.0),
    "learning_offline": _Entry("gaps against data", "studies.learning_offline", 5.0),
    "learning_online": _Entry("gaps against rounds", "studies.learning_online", 5.0),
    "rates": _Entry("all algorithms on one game", "studies.rates", 1.0),
    "maxmin_shares": _Entry("MaxMin over the minority's share", "studies.maxmin_shares", 0.1),
    "maxmin_shares_gpt2": _Entry(
        "the same on trained GPT-2s", "language.maxmin_shares_gpt2", 5.0, _LM
    ),
    "em_recovery": _Entry("raters told apart, by their votes", "studies.em_recovery", 3.0),
    "convarg": _Entry(
        "cycles and equilibria of real votes", "studies.convarg", 0.2, (), "NLHF_TEST_DATA"
    ),
    "enumerable_games": _Entry(
        "methods on enumerable language models", "language.enumerable_games", 60.0, _LM
    ),
    "movie_reviews": _Entry(
        "MaxMin on a small GPT-2", "language.movie_reviews.__main__", 40.0, _LM, "NLHF_TEST_DATA"
    ),
}
"""Name, and the module under `benchmarks` whose `record(folder, size)` writes its tables."""


def _study(name: str, size: str) -> tuple[Case, ...]:
    entry = STUDIES[name]
    return (Study(name, f"benchmarks.{entry.module}", size, entry.needs, entry.data),)


SUITES: Mapping[str, Suite] = {
    "targets": Suite(
        "what is claimed of single games, batches and the import",
        TARGETS,
        (
            Comparison("tournament", 20, 1, 0.1, ("exact", "cvxpy"), repeats=9),
            Comparison("uniform", 4, 40, 0.1, ("exact", "cvxpy"), repeats=9, sample=10),
            Startup("import nlhf", repeats=3),
        ),
        2.0,
    ),
    "sizes": Suite(
        "time against responses, temperature 0.01",
        SIZES,
        (Comparison("uniform", 8, 1, 0.1, _ALL, repeats=3),),
        5.0,
    ),
    "batches": Suite(
        "time against contexts, temperature 0.1",
        BATCHES,
        (Comparison("uniform", 8, 10, 0.1, ("exact", "cvxpy"), repeats=9),),
        1.0,
    ),
    "peers": Suite(
        "general-purpose game solvers, regularised and not",
        PEER_GAMES,
        (
            Comparison("uniform", 3, 1, 0.5, ("exact", "open_spiel"), repeats=1),
            Comparison("uniform", 5, 1, 0.0, _LP, repeats=1),
        ),
        5.0,
    ),
    "memory": Suite(
        "large problems: time and peak memory",
        MEMORY,
        (Footprint("low_rank", 1000, 1, 0.1, rank=4),),
        1.0,
    ),
    "mdp": Suite(
        "planning in sparse processes, games in Gymnasium's",
        MDPS,
        (
            Sweeps(1000, 3, 4, 0.1, repeats=3),
            Planning(60, 3, 4, 0.1, horizon=5, repeats=3),
            Toy("FrozenLake-v1", 0.1, horizon=5, repeats=1),
        ),
        2.0,
    ),
    "steps": Suite(
        "a step against the bare NumPy expression",
        STEPS,
        (Steps("extragradient", 100, 16, repeats=21),),
        0.2,
    ),
    "maxmin": Suite(
        "the exact dual of MaxMin against conic programs",
        MAXMIN,
        (Groups(3, 6, 2, 0.1, ("exact", "cvxpy", "scipy_slsqp"), repeats=9),),
        0.5,
    ),
    "raters": Suite(
        "mixtures of raters: recovery and time",
        RATERS,
        (
            Recovery(5, raters=30, responses=4, seeds=1),
            Raters(600, 30, 2, 4, proportions=(0.7, 0.3), repeats=3),
        ),
        4.0,
    ),
    "tallies": Suite(
        "Bradley-Terry rewards against choix", TALLIES, (Tally(5, 400, repeats=9),), 1.0
    ),
    "pessimism": Suite(
        "pessimistic planning over candidates", PESSIMISM, (Candidates(10, 2, 5),), 2.0
    ),
    "scaling": Suite(
        "time and peak memory against n, X, S, H",
        SCALING,
        (
            Scaling("responses n", 10, "exact"),
            Scaling("responses n", 10, "pygambit"),
            Scaling("contexts X", 3, "cvxpy"),
            Scaling("states S", 50, "pymdptoolbox"),
            Scaling("raters H", 30, "soft", repeats=1),
        ),
        10.0,
    ),
    "scaling_texts": Suite(
        "time and peak memory against response tokens",
        SCALING_OF_TEXTS,
        (
            Scaling("response tokens T", 4, "log-probabilities", repeats=1),
            Scaling("response tokens T", 4, "outer step", repeats=1),
            Scaling("response tokens T", 4, "trl outer step", repeats=1),
        ),
        5.0,
    ),
    "outer_step": Suite(
        "one outer step of a language model, ours and TRL's",
        OUTER_STEPS,
        (OuterStep("tiny", rounds=1, steps=1, methods=("nash-md", "trl-nash-md-cached")),),
        8.0,
    ),
    **{
        name: Suite(
            f"study: {entry.about}", _study(name, "full"), _study(name, "smoke"), entry.minutes
        )
        for name, entry in STUDIES.items()
    },
}


def cases_of(name: str, smoke: bool) -> tuple[Case, ...]:
    """Return the cases of a suite, or of all: ``full``, and ``smoke`` at the small size."""
    chosen = SUITES.values() if name in ("smoke", "full") else (SUITES[name],)
    small = smoke or name == "smoke"
    return tuple(case for suite in chosen for case in (suite.smoke if small else suite.full))


def minutes_of(name: str, smoke: bool) -> float:
    """Return what `cases_of` take on two quiet cores, about."""
    if smoke or name == "smoke":
        return 4.0 if name in ("smoke", "full") else 0.3
    return (
        sum(suite.minutes for suite in SUITES.values()) if name == "full" else SUITES[name].minutes
    )
