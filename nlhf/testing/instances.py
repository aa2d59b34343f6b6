"""Named games, the same in every run: every setting, and one game told in several of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.certificates import certify
from nlhf.games.markov import MarkovGame
from nlhf.games.preference import LogOddsGame, PreferenceGame
from nlhf.games.trajectory import TrajectoryGame
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.protocols import Game, Judge
from nlhf.results import Certificate, Profile
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.spaces.histories import Histories
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.mdp import MDP
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.tree import TokenTree
from nlhf.streams import Stream

_ROOT = Stream(0, ("nlhf.testing",))


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A game to check methods in.

    Attributes:
        name: Its name.
        game: The game, its temperatures positive.
        judge: What certifies a profile of it.
    """

    name: str
    game: Game[Any, Any]
    judge: Judge[Any]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One setting in which a game of sequences is told.

    Attributes:
        name: Its name.
        game: The game.
        sequences: Log-probability of every sequence under a profile, shape ``(V^H,)``.
        tolerance: How far log-probabilities may be off; an inexact proximal step needs more.
    """

    name: str
    game: Game[Any, Any]
    sequences: Callable[[Profile[Any]], Float[np.ndarray, "sequence"]]
    tolerance: float = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class SameGame:
    """One game in several settings, in which every method has the same iterates.

    Attributes:
        name: Its name.
        views: The settings; the first is what the others are compared with.
    """

    name: str
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ProcessInstance:
    """A process with what its proximal steps are made of.

    Attributes:
        name: Its name.
        process: The process.
        policies: Policies of full support.
        payoffs: Payoffs of its kind.
        constant: The payoff that is 1 on every trajectory.
    """

    name: str
    process: Process[Any]
    policies: tuple[Policy, ...]
    payoffs: tuple[Any, ...]
    constant: Any


def random_preference(
    generator: np.random.Generator, n: int, *leading: int
) -> Float[np.ndarray, "*leading n n"]:
    """Return preferences with uniform entries above the diagonal: majority cycles abound."""
    upper = np.triu(generator.random((*leading, n, n)), 1)
    return upper + np.tril(1.0 - np.swapaxes(upper, -1, -2), -1) + 0.5 * np.eye(n)


def random_policy(generator: np.random.Generator, shape: tuple[int, ...]) -> Policy:
    """Return a policy of full support, each of its distributions uniform on the simplex."""
    return Policy.of(generator.dirichlet(np.ones(shape[-1]), size=shape[:-1]))


def random_process(generator: np.random.Generator, states: int, actions: int) -> MDP:
    """Return an MDP in which every action may lead to every state."""
    return MDP(
        generator.dirichlet(np.ones(states), size=(states, actions)),
        generator.dirichlet(np.ones(states)),
    )


@cache
def settings() -> tuple[Setting, ...]:
    """Return one small game per setting, each with a reference that is not uniform."""
    games: dict[str, Any] = {
        "bandit": _bandit(),
        "contexts": _contexts(),
        "zero-sum": _zero_sum(),
        "log-odds": _log_odds(),
        "token tree": _token_tree(None),
        "token trees in contexts": _token_tree(2),
        "histories": _histories(),
        "finite horizon": _finite_horizon(),
        "discounted": _discounted(),
    }
    return tuple(Setting(name, game, judge_of(game)) for name, game in games.items())


def judge_of(game: Any) -> Judge[Policy]:
    """Return `certify` for one game."""

    def judge(profile: Profile[Policy]) -> Certificate[Policy]:
        return certify(game, profile)

    return judge


@cache
def same_games() -> tuple[SameGame, ...]:
    """Return one game of sequences at a low and at a high temperature."""
    return (same_game(0.05), same_game(0.5))


def same_game(temperature: float, vocabulary: int = 3, horizon: int = 3) -> SameGame:
    """Return a preference game of sequences as bandit, tree, MDP and histories of that MDP.

    The states of the deterministic MDP are all prefixes, complete sequences among them, an action
    appends a token, and last states are compared. The reference is not uniform.
    """
    generator = _ROOT.child("same game").generator()
    tree = TokenTree(vocabulary, horizon)
    preference = random_preference(generator, tree.leaves)
    reference = random_policy(generator, tree.shape)
    on_tree = TrajectoryGame(tree, preference, reference, temperature)
    mdp, layers = prefixes(vocabulary, horizon)
    compared = np.full((mdp.states, mdp.states), 0.5)
    compared[-tree.leaves :, -tree.leaves :] = preference
    markov = np.full((horizon, mdp.states, vocabulary), 1.0 / vocabulary)
    for h, layer in enumerate(layers):
        markov[h, layer] = tree.layer(reference.probabilities, h, trailing=1)
    on_mdp = MarkovGame(
        FiniteHorizon(mdp, horizon), final=compared, reference=markov, temperature=temperature
    )
    histories = Histories(mdp, horizon)
    remembered = TrajectoryGame(histories, preference, reference, temperature)

    def of_tree(profile: Profile[Policy]) -> Float[np.ndarray, "sequence"]:
        return tree.leaf_log_probabilities(profile[0].log_probabilities)

    def of_mdp(profile: Profile[Policy]) -> Float[np.ndarray, "sequence"]:
        return tree.leaf_log_probabilities(histories.remembering(profile[0].log_probabilities))

    return SameGame(
        f"{vocabulary}^{horizon} sequences at temperature {temperature:g}",
        (
            View("bandit", on_tree.flat(), lambda profile: profile[0].log_probabilities),
            View("token tree", on_tree, of_tree),
            View("deterministic MDP", on_mdp, of_mdp),
            View("histories", remembered, of_tree),
        ),
    )


def prefixes(vocabulary: int, horizon: int) -> tuple[MDP, tuple[slice, ...]]:
    """Return the deterministic MDP of the prefixes of sequences, and where each length lies.

    The states are ordered like the decision points of a `TokenTree`, complete sequences last;
    these stay where they are.
    """
    ends = np.cumsum([0, *(vocabulary**h for h in range(horizon + 1))])
    states, inner = int(ends[-1]), int(ends[-2])
    target = np.repeat(np.arange(states)[:, None], vocabulary, axis=1)
    target[:inner] = 1 + vocabulary * np.arange(inner)[:, None] + np.arange(vocabulary)
    transitions = np.zeros((states, vocabulary, states))
    np.put_along_axis(transitions, target[..., None], 1.0, axis=-1)
    initial = np.zeros(states)
    initial[0] = 1.0
    layers = tuple(slice(int(ends[h]), int(ends[h + 1])) for h in range(horizon))
    return MDP(transitions, initial), layers


@cache
def processes() -> tuple[ProcessInstance, ...]:
    """Return one small process of every kind."""
    mdp = random_process(_ROOT.child("processes").generator(), 3, 2)
    tree, trees = TokenTree(3, 2), TokenTree(2, 3, contexts=2)
    histories, finite, discounted = Histories(mdp, 2), FiniteHorizon(mdp, 3), Discounted(mdp, 0.8)
    nowhere = np.zeros(mdp.states)
    return (
        _leaf_instance("token tree", tree, (tree.leaves,)),
        _leaf_instance("token trees in contexts", trees, (2, trees.leaves)),
        _leaf_instance("histories", histories, (histories.leaves,)),
        _step_instance("finite horizon", finite, StepPayoff(np.zeros(finite.shape), nowhere + 1.0)),
        _step_instance("discounted", discounted, StepPayoff(np.ones(discounted.shape), nowhere)),
    )


def _leaf_instance(name: str, process: Any, leaves: tuple[int, ...]) -> ProcessInstance:
    generator = _ROOT.child("process", name).generator()
    policies = tuple(random_policy(generator, process.shape) for _ in range(4))
    payoffs = tuple(LeafPayoff(generator.random(leaves)) for _ in range(2))
    return ProcessInstance(name, process, policies, payoffs, LeafPayoff(np.ones(leaves)))


def _step_instance(name: str, process: Any, constant: StepPayoff) -> ProcessInstance:
    generator = _ROOT.child("process", name).generator()
    policies = tuple(random_policy(generator, process.shape) for _ in range(4))
    ends = constant.final  # a discounted process has no last states
    payoffs = tuple(
        StepPayoff(generator.random(process.shape), ends * generator.random(ends.shape))
        for _ in range(2)
    )
    return ProcessInstance(name, process, policies, payoffs, constant)


def _bandit() -> PreferenceGame:
    generator = _ROOT.child("bandit").generator()
    reference = generator.dirichlet(np.ones(5))
    return PreferenceGame(random_preference(generator, 5), reference, temperature=0.1)


def _contexts() -> PreferenceGame:
    generator = _ROOT.child("contexts").generator()
    return PreferenceGame(
        random_preference(generator, 4, 3),
        random_policy(generator, (3, 4)),
        temperature=0.2,
        weights=[0.5, 0.3, 0.2],
    )


def _zero_sum() -> ZeroSumGame:
    generator = _ROOT.child("zero-sum").generator()
    return ZeroSumGame(
        generator.normal(size=(3, 4)),
        references=(generator.dirichlet(np.ones(3)), generator.dirichlet(np.ones(4))),
        temperatures=(0.4, 0.3),
    )


def _log_odds() -> LogOddsGame:
    generator = _ROOT.child("log-odds").generator()
    preference = 0.1 + 0.8 * random_preference(generator, 4)
    return LogOddsGame(preference, generator.dirichlet(np.ones(4)), temperature=0.5)


def _token_tree(contexts: int | None) -> TrajectoryGame:
    generator = _ROOT.child("token tree", str(contexts)).generator()
    tree = TokenTree(2, 3, contexts)
    return TrajectoryGame(
        tree,
        random_preference(generator, tree.leaves, *tree.contexts),
        random_policy(generator, tree.shape),
        temperature=0.1,
        weights=None if contexts is None else [0.7, 0.3],
    )


def _histories() -> TrajectoryGame:
    generator = _ROOT.child("histories").generator()
    histories = Histories(random_process(generator, 3, 2), 2)
    return TrajectoryGame(
        histories,
        random_preference(generator, histories.leaves),
        random_policy(generator, histories.shape),
        temperature=0.1,
    )


def _finite_horizon() -> MarkovGame:
    generator = _ROOT.child("finite horizon").generator()
    process = FiniteHorizon(random_process(generator, 4, 2), 3)
    return MarkovGame(
        process,
        step=random_preference(generator, 8, 3),
        final=random_preference(generator, 4),
        final_weight=0.4,
        reference=random_policy(generator, process.shape),
        temperature=0.1,
    )


def _discounted() -> MarkovGame:
    generator = _ROOT.child("discounted").generator()
    process = Discounted(random_process(generator, 3, 2), 0.8)
    return MarkovGame(
        process,
        step=random_preference(generator, 6),
        reference=random_policy(generator, process.shape),
        temperature=0.1,
    )
