"""Methods with a linear rate keep its promise on random games of every kind."""

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.rates import promised_iterations
from nlhf.testing.instances import random_policy, random_preference, random_process
from tests.settings.methods import LINEAR

GAMES = 100
GAP = 1e-10
LEAST_TEMPERATURE = 0.05


def generator_of(kind, number):
    return nlhf.Stream(7, ("rates",)).child(kind, number).generator()


def temperature_of(generator, number):
    """The least one for every fifth game, above it uniform in the logarithm up to 1."""
    drawn = LEAST_TEMPERATURE ** generator.random()
    return LEAST_TEMPERATURE if number % 5 == 0 else drawn


def bandit(number):
    generator = generator_of("bandit", number)
    n = int(generator.integers(2, 9))
    reference = generator.dirichlet(np.ones(n))
    temperature = temperature_of(generator, number)
    return nlhf.PreferenceGame(random_preference(generator, n), reference, temperature)


def token_tree(number):
    generator = generator_of("tree", number)
    tree = nlhf.TokenTree(int(generator.integers(2, 4)), int(generator.integers(1, 4)))
    return nlhf.TrajectoryGame(
        tree,
        random_preference(generator, tree.leaves),
        random_policy(generator, tree.shape),
        temperature_of(generator, number),
    )


def decision_process(number):
    """Chance moves, steps and last states are compared, and preferences change with the step."""
    generator = generator_of("process", number)
    states, actions, horizon = (int(generator.integers(2, 5)) for _ in range(3))
    process = nlhf.FiniteHorizon(random_process(generator, states, actions), horizon)
    return nlhf.MarkovGame(
        process,
        step=random_preference(generator, states * actions, horizon),
        final=random_preference(generator, states),
        final_weight=float(generator.random()),
        reference=random_policy(generator, process.shape),
        temperature=temperature_of(generator, number),
    )


def discounted_process(number):
    generator = generator_of("discounted", number)
    states, actions = (int(generator.integers(2, 4)) for _ in range(2))
    process = nlhf.Discounted(random_process(generator, states, actions), 0.9)
    return nlhf.MarkovGame(
        process,
        step=random_preference(generator, states * actions),
        reference=random_policy(generator, process.shape),
        temperature=temperature_of(generator, number),
    )


KINDS = {
    "bandits": bandit,
    "token trees": token_tree,
    "decision processes": decision_process,
}


def steps_used(method, game, promised):
    """Return after how many steps the gap, rounding included, is certified; `None` if too late."""
    state = method.init(game, game.start())
    # Judging costs as much as a step, so only every tenth iterate is judged, and the last one.
    for step in range(promised + 1):
        due = step % 10 == 0 or step == promised
        if due and nlhf.certify(game, method.profile(state)).bound.high <= GAP:
            return step
        if step < promised:
            state = method.step(game, state, nlhf.Stream(0).child("step", step))
    return None


def keep_their_promise(method, make, numbers):
    for number in numbers:
        game = make(number)
        promised = promised_iterations(game, method, GAP)
        used = steps_used(method, game, promised)
        assert used is not None, f"game {number}: not after the promised {promised} steps"


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", LINEAR, ids=lambda m: type(m).__name__)
def test_linear_rates_hold_on_a_hundred_random_games(method, kind):
    keep_their_promise(method, KINDS[kind], range(GAMES))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", LINEAR, ids=lambda m: type(m).__name__)
def test_linear_rates_hold_on_a_few_random_games(method, kind):
    keep_their_promise(method, KINDS[kind], [*range(0, 10, 5), 1, 2])


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("method", LINEAR, ids=lambda m: type(m).__name__)
def test_linear_rates_hold_on_discounted_processes(method):
    keep_their_promise(method, discounted_process, range(20))


def test_the_games_are_hard_enough():
    """The reference is far from the goal in every game, and many have no majority winner."""
    games = [make(number) for make in KINDS.values() for number in range(GAMES)]
    gaps = [nlhf.certify(game, game.start()).bound.low for game in games]
    assert sum(gap > 1e-4 for gap in gaps) > 0.8 * len(games)
    assert min(game.temperature for game in games) == LEAST_TEMPERATURE
    assert max(game.temperature for game in games) > 0.9


def test_control_the_promise_of_a_large_step_is_broken_by_a_small_one():
    """Promises are not so loose that they hold whatever the step."""
    game = bandit(0)
    promised = promised_iterations(game, nlhf.Extragradient(), GAP)
    slow = nlhf.Extragradient(step_size=0.2)
    assert steps_used(slow, game, promised) is None
    assert steps_used(slow, game, promised_iterations(game, slow, GAP)) is not None
