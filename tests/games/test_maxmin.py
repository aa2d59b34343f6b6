"""MaxMin games: construction, offsets, weak duality, invariances, and the contract of games."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlhf
from nlhf.algorithms.rates import divergence_from_reference, promised_iterations
from nlhf.errors import InvalidProblem, Unnormalised, Unsupported
from nlhf.games.group_rewards import Offsets
from nlhf.games.maxmin import MaxMinGame
from nlhf.spaces.ambiguity import (
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.testing import check_game, check_space
from nlhf.testing.games import reached
from tests.unchecked import raised

ETA = np.array([0.5, 0.3, 0.2])
SETS = (
    WholeSimplex(ETA),
    KLBall(ETA, 0.1),
    ChiSquareBall(ETA, 0.3),
    TotalVariationBall(ETA, 0.2),
    ConditionalValueAtRisk(ETA, 0.5),
)
seeds = st.integers(0, 10_000)
few = settings(max_examples=8)
"""Every example solves several games under the type checker."""


def drawn(seed: int, *, groups: int = 3, contexts: int = 2, responses: int = 4):
    generator = nlhf.Stream(seed, ("maxmin",)).generator()
    rewards = generator.normal(size=(groups, contexts, responses))
    reference = generator.dirichlet(np.full(responses, 2.0), size=contexts) * 0.99 + 0.01 / 4
    return generator, rewards, reference / reference.sum(axis=-1, keepdims=True)


def policy_of(game: MaxMinGame) -> np.ndarray:
    return nlhf.solve(game).profile[0].probabilities


def log_mean_exp(rewards, reference, temperature):
    """The best value of one reward, with KL, in one prompt: from its definition."""
    return temperature * np.log((reference * np.exp(rewards / temperature)).sum())


# What a user sees -----------------------------------------------------------------------------


def test_a_game_without_a_choice_of_offsets_says_so():
    with pytest.warns(Unnormalised, match="3 groups are compared as given"):
        game = MaxMinGame(np.eye(3), temperature=0.1)
    assert game.normalisation is Offsets.AS_GIVEN


def test_one_group_needs_no_offsets():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MaxMinGame(np.ones((1, 3)), temperature=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(3)}, r"shape \(3,\)"),
        ({"rewards": [[0.0, np.nan]]}, r"reward entry \(0, 1\) is nan"),
        ({"rewards": [["a"]]}, "cannot be read"),
        ({"reference": [0.5, 0.5]}, r"shape \(2,\)"),
        ({"reference": [1.0, 0.0, 0.0]}, "is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"group_temperature": np.inf}, "temperature is inf"),
        ({"proportions": [0.5, 0.3, 0.2]}, "2 groups and 3 proportions"),
        ({"proportions": [1.0, 0.0]}, "group 1 is 0"),
        ({"offsets": "mean"}, "'as given', 'reference', 'regret'"),
        ({"ambiguity": SETS[0]}, "2 groups and 3 proportions"),
        ({"ambiguity": KLBall([0.5, 0.5], 0.1), "proportions": [0.5, 0.5]}, "twice"),
        ({"weights": [0.5, 0.5]}, "pass 1 finite"),
    ],
)
def test_wrong_arguments_are_named_with_their_numbers(change, message):
    arguments = {"rewards": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "offsets": "as given"} | change
    with pytest.raises(InvalidProblem, match=message):
        MaxMinGame(**arguments)


def test_an_mdp_without_a_horizon_is_refused():
    call = "nlhf.MaxMinGame([0.0], process=nlhf.MDP(np.ones((1, 2, 1)), [1.0]))"
    kind, message = raised("", [call])[call]
    assert kind == "Unsupported"
    assert "for how long" in message


@pytest.mark.parametrize("what", ["'worst'", "[0.5, 0.5]", "KLBall"])
def test_what_is_no_ambiguity_set_is_refused_in_words(what):
    call = f"nlhf.MaxMinGame(np.eye(2), ambiguity={what}, offsets='as given')"
    kind, message = raised("from nlhf.spaces.ambiguity import KLBall", [call])[call]
    assert kind == "Unsupported"
    assert "the ambiguity set is" in message


def test_payoffs_that_do_not_fit_the_process_are_refused():
    tree = nlhf.TokenTree(2, 2)
    with pytest.raises(InvalidProblem, match="group 1"):
        MaxMinGame(
            [LeafPayoff(np.zeros(4)), LeafPayoff(np.zeros(5))], process=tree, offsets="as given"
        )
    with pytest.raises(Unsupported, match="paid at its leaves"):
        MaxMinGame([StepPayoff(np.zeros((2, 1, 2)), np.zeros(1))], process=tree)


def test_group_weights_outside_the_ambiguity_set_are_refused():
    game = MaxMinGame(np.eye(3), ambiguity=SETS[1], offsets="as given", temperature=0.1)
    with pytest.raises(InvalidProblem, match="outside KLBall"):
        nlhf.certify(game, (np.full(3, 1 / 3), np.array([0.0, 0.0, 1.0])))


# What offsets mean ----------------------------------------------------------------------------


@few
@given(seeds)
def test_offsets_are_what_their_names_say(seed):
    _, rewards, reference = drawn(seed)
    gained = MaxMinGame(rewards, reference, 0.3, offsets="reference")
    np.testing.assert_allclose(gained.utilities(gained.reference), 0.0, atol=1e-14)
    lost = MaxMinGame(rewards, reference, 0.3, offsets="regret")
    best = [np.mean([log_mean_exp(r[x], reference[x], 0.3) for x in range(2)]) for r in rewards]
    np.testing.assert_allclose(lost.offsets, -np.array(best), atol=1e-13)


@few
@given(seeds, st.sampled_from(["reference", "regret"]))
def test_named_offsets_forgive_a_constant_per_prompt_and_as_given_does_not(seed, offsets):
    generator, rewards, reference = drawn(seed)
    shifted = rewards + generator.normal(size=(3, 2, 1)) * 3.0
    named = [policy_of(MaxMinGame(r, reference, 0.3, offsets=offsets)) for r in (rewards, shifted)]
    np.testing.assert_allclose(*named, atol=1e-9)


def test_a_constant_moves_the_policy_where_rewards_are_taken_as_given():
    rewards = np.array([[1.0, 0.0, 0.2], [0.0, 0.6, 0.3]])
    policies = [
        policy_of(MaxMinGame(rewards + np.array([[0.0], [c]]), temperature=0.2, offsets="as given"))
        for c in (-1.0, 0.0, 1.0)
    ]
    assert np.abs(policies[0] - policies[1]).sum() > 0.1
    assert np.abs(policies[2] - policies[1]).sum() > 0.1


@few
@given(seeds)
def test_preferences_make_the_utilities_win_probabilities(seed):
    generator, _, reference = drawn(seed)
    upper = np.triu(generator.uniform(size=(3, 2, 4, 4)), 1)
    p = upper + np.swapaxes(np.triu(1.0 - upper, 1), -1, -2) + 0.5 * np.eye(4)
    game = MaxMinGame.of_preferences(p, reference, 0.1)
    np.testing.assert_allclose(game.utilities(game.reference), 0.5, atol=1e-14)
    policy = generator.dirichlet(np.ones(4), size=2)
    wins = [np.mean([policy[x] @ p[u, x] @ reference[x] for x in range(2)]) for u in range(3)]
    np.testing.assert_allclose(game.utilities(nlhf.Policy.of(policy)), wins, atol=1e-13)


# Duality --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ambiguity", SETS, ids=repr)
@settings(max_examples=4)
@given(seeds, st.sampled_from([0.0, 0.2]), st.sampled_from([0.0, 0.3]))
def test_the_gap_of_a_profile_is_what_weights_concede_less_what_the_policy_secures(
    ambiguity, seed, kappa, tau
):
    generator, rewards, reference = drawn(seed)
    game = MaxMinGame(
        rewards,
        reference,
        tau,
        ambiguity=ambiguity,
        group_temperature=kappa,
        offsets="regret",
        weights=[0.7, 0.3],
    )
    policy = nlhf.Policy.of(generator.dirichlet(np.ones(4), size=2))
    weights = ambiguity.project(generator.normal(size=3))
    lower, upper = game.primal(policy), game.dual(weights)
    assert lower <= upper + 1e-12
    bound = nlhf.certify(game, (policy, weights)).bound
    assert upper - lower == pytest.approx(bound.value, abs=1e-12)
    solution = nlhf.solve(game)
    assert solution.certificate.bound.high < (1e-10 if tau > 0 else 1e-7)
    value = game.primal(solution.profile[0])
    assert lower - 1e-7 <= value <= upper + 1e-7


def test_a_certificate_of_the_wrong_weights_is_large():
    _, rewards, reference = drawn(3)
    game = MaxMinGame(rewards, reference, 0.1, offsets="reference")
    policy, weights = nlhf.solve(game).profile
    gaps = [nlhf.certify(game, (policy, w)).bound.low for w in (weights.probabilities, *np.eye(3))]
    assert gaps[0] < 1e-12
    assert min(gaps[1:]) > 1e-3


@few
@given(seeds)
def test_the_policy_is_within_the_certified_distance_of_the_exact_one(seed):
    generator, rewards, reference = drawn(seed)
    game = MaxMinGame(rewards, reference, 0.3, offsets="reference")
    exact = nlhf.solve(game).profile
    near = nlhf.Policy.proportional(
        exact[0].log_probabilities + 0.1 * generator.normal(size=(2, 4))
    )
    certificate = nlhf.certify(game, (near, exact[1]))
    distance = np.abs(near.probabilities - exact[0].probabilities).sum(axis=-1).mean()
    assert distance <= certificate.distance[0, 0]
    assert certificate.distance[1, 0] == 2.0  # the weights need not be unique


# Invariances ----------------------------------------------------------------------------------


@few
@given(seeds, st.permutations([0, 1, 2]))
def test_groups_and_responses_have_no_names(seed, order):
    _, rewards, reference = drawn(seed)
    policy = policy_of(MaxMinGame(rewards, reference, 0.3, offsets="reference"))
    again = policy_of(MaxMinGame(rewards[order], reference, 0.3, offsets="reference"))
    np.testing.assert_allclose(again, policy, atol=1e-9)
    turned = policy_of(MaxMinGame(rewards[..., ::-1], reference[:, ::-1], 0.3, offsets="reference"))
    np.testing.assert_allclose(turned[:, ::-1], policy, atol=1e-9)


@few
@given(seeds)
def test_a_group_that_is_counted_twice_counts_once(seed):
    _, rewards, reference = drawn(seed)
    policy = policy_of(MaxMinGame(rewards, reference, 0.3, offsets="reference"))
    twice = policy_of(MaxMinGame(rewards[[0, 1, 2, 2]], reference, 0.3, offsets="reference"))
    np.testing.assert_allclose(twice, policy, atol=1e-7)


@few
@given(seeds, st.floats(0.1, 10.0))
def test_the_units_of_rewards_and_temperature_do_not_matter(seed, unit):
    _, rewards, reference = drawn(seed)
    policy = policy_of(MaxMinGame(rewards, reference, 0.3, offsets="reference"))
    scaled = policy_of(MaxMinGame(unit * rewards, reference, unit * 0.3, offsets="reference"))
    np.testing.assert_allclose(scaled, policy, atol=1e-8)


@few
@given(seeds)
def test_a_ball_of_radius_zero_and_a_costly_opponent_leave_the_average_reward(seed):
    _, rewards, reference = drawn(seed)
    mean = np.tensordot(ETA, rewards, axes=1)
    expected = reference * np.exp(mean / 0.3)
    expected /= expected.sum(axis=-1, keepdims=True)
    for ambiguity, kappa, allowed in ((KLBall(ETA, 0.0), 0.0, 1e-12), (SETS[0], 1e4, 1e-3)):
        game = MaxMinGame(
            rewards,
            reference,
            0.3,
            ambiguity=ambiguity,
            group_temperature=kappa,
            offsets="as given",
        )
        np.testing.assert_allclose(policy_of(game), expected, atol=allowed)


@few
@given(seeds)
def test_more_ambiguity_secures_less(seed):
    _, rewards, reference = drawn(seed)
    values = []
    for radius in (0.0, 0.05, 0.2, 1.0, 10.0):
        game = MaxMinGame(
            rewards, reference, 0.3, ambiguity=KLBall(ETA, radius), offsets="reference"
        )
        values.append(game.primal(nlhf.solve(game).profile[0]))
    assert (np.diff(values) <= 1e-9).all()


# The contract of games, and the same game in several settings ------------------------------------


def in_settings():
    generator, rewards, _ = drawn(5, contexts=1, responses=8)
    reference = generator.dirichlet(np.full(2, 5.0), size=7)
    mdp = nlhf.MDP(generator.dirichlet(np.ones(3), size=(3, 2)), generator.dirichlet(np.ones(3)))
    horizon = nlhf.FiniteHorizon(mdp, 3)
    steps = [StepPayoff(generator.normal(size=(3, 3, 2)), generator.normal(size=3)) for _ in "ab"]
    stopped = [StepPayoff(generator.normal(size=(3, 2)), np.zeros(3)) for _ in "ab"]
    options = {"offsets": "reference", "temperature": 0.2, "group_temperature": 0.3}
    return {
        "bandit": MaxMinGame(rewards, **options),
        "robust": MaxMinGame(rewards, ambiguity=KLBall(ETA, 0.2), **options),
        "tail": MaxMinGame(rewards, ambiguity=ConditionalValueAtRisk(ETA, 0.6), **options),
        "tree": MaxMinGame(
            [LeafPayoff(r[0]) for r in rewards],
            reference,
            process=nlhf.TokenTree(2, 3),
            **options,
        ),
        "horizon": MaxMinGame(steps, process=horizon, **options),
        "discounted": MaxMinGame(stopped, process=nlhf.Discounted(mdp, 0.8), **options),
    }


GAMES = in_settings()


KEPT = [
    pytest.param(
        game, id=name, marks=pytest.mark.slow if name in ("tree", "horizon", "discounted") else ()
    )
    for name, game in GAMES.items()
]


@pytest.mark.parametrize("game", KEPT)
def test_maxmin_games_keep_the_contract_of_games(game):
    report = check_game(game)
    assert all(f.measured for f in report.findings)


@pytest.mark.parametrize("game", KEPT)
def test_both_spaces_keep_the_contract_of_spaces(game):
    profiles = reached(game, 4)
    payoffs = [game.operator(profile).payoffs for profile in profiles]
    # An ambiguity set has a boundary, where steps do not tell payoffs: its tests are elsewhere.
    whole = isinstance(game.ambiguity, WholeSimplex)
    for i, space in enumerate(game.spaces if whole else game.spaces[:1]):
        check_space(space, [p[i] for p in profiles], [g[i] for g in payoffs])


RUNS = [(name, nlhf.Extragradient()) for name in GAMES] + [
    ("bandit", nlhf.MirrorDescent()),
    ("robust", nlhf.OptimisticMirrorDescent()),
]


@pytest.mark.parametrize(("name", "method"), RUNS, ids=lambda value: str(value).split("(")[0])
def test_first_order_methods_reach_the_exact_policy_within_their_promise(name, method):
    game = GAMES[name]
    exact = nlhf.solve(game).require(1e-11)
    run = nlhf.solve(game, method, stop=nlhf.StopRule(gap=1e-8, max_iterations=20_000)).require(
        1e-8
    )
    for found, best in zip(run.profile, exact.profile, strict=True):
        np.testing.assert_allclose(found.probabilities, best.probabilities, atol=5e-3)


@pytest.mark.parametrize("kind", ["as given", "reference"])
def test_promises_hold_where_groups_are_further_apart_than_their_rewards(kind):
    # The weights of the equilibrium are far from η, though the policy has little to choose.
    rewards = np.array([[0.0, 0.1], [-3.0, -3.05]])
    game = MaxMinGame(
        rewards, None, 0.3, group_temperature=0.3, offsets=kind, proportions=[0.99, 0.01]
    )
    exact = nlhf.solve(game).profile
    pairs = zip(game.spaces, exact, game.references, strict=True)
    assert sum(space.divergence(p, q).value for space, p, q in pairs) <= (
        divergence_from_reference(game) + 1e-12
    )
    for method in (nlhf.Extragradient(), nlhf.OptimisticMirrorDescent()):
        steps = promised_iterations(game, method, 1e-2)
        run = nlhf.solve(game, method, stop=nlhf.StopRule(gap=1e-300, max_iterations=steps))
        assert run.certificate.bound.low <= 1e-2


def test_the_lipschitz_constant_is_half_the_most_that_groups_can_be_apart():
    rewards = np.array(
        [[[0.0, 1.0], [2.0, 0.0]], [[5.0, 5.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]]
    )
    game = MaxMinGame(rewards, offsets="reference", weights=[0.25, 0.75])
    pure = [np.array([np.eye(2)[i], np.eye(2)[j]]) for i in range(2) for j in range(2)]
    apart = [np.ptp(game.utilities(nlhf.Policy.of(policy))) for policy in pure]
    assert game.lipschitz == pytest.approx(max(game.half_range, max(apart) / 2.0), rel=1e-14)
