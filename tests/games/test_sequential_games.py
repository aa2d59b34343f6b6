"""Games on processes: what they refuse, and what must not depend on how they are written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlhf
from nlhf import (
    Discounted,
    FiniteHorizon,
    Histories,
    LowRankPreference,
    MarkovGame,
    Policy,
    Stream,
    TokenTree,
    TrajectoryGame,
)
from nlhf.errors import InvalidProblem, Unsupported
from nlhf.numerics import log_of
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from tests.processes.drawn import random_mdp, random_preference

SEEDS = st.integers(0, 2**32 - 1)
RNG = Stream(0).child("sequential games").generator()
MDP = random_mdp(RNG, states=3, actions=2, successors=2)
TREE = TokenTree(2, 2)
FINITE, ENDLESS, HISTORIES = FiniteHorizon(MDP, 3), Discounted(MDP, 0.9), Histories(MDP, 2)
P3, P4, P6 = (random_preference(RNG, n) for n in (3, 4, 6))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: TrajectoryGame(FINITE, P4), Unsupported, "depend on the whole history"),
        (lambda: TrajectoryGame(ENDLESS, P4), Unsupported, "depend on the whole history"),
        (lambda: MarkovGame(TREE, step=P6), Unsupported, "TokenTree has leaves"),
        (lambda: MarkovGame(HISTORIES, final=P3), Unsupported, "Histories has leaves"),
        (lambda: MarkovGame(ENDLESS, final=P3), Unsupported, "no last state"),
        (lambda: TrajectoryGame(TREE, P3), InvalidProblem, r"shape \(3, 3\).*4 leaves"),
        (lambda: TrajectoryGame(TREE, [P4, P4]), InvalidProblem, r"shape \(2, 4, 4\)"),
        (lambda: MarkovGame(FINITE), InvalidProblem, "neither steps nor last states"),
        (lambda: MarkovGame(FINITE, P6, P3), InvalidProblem, "final_weight is None"),
        (lambda: MarkovGame(FINITE, P6, P3, 1.5), InvalidProblem, "final_weight is 1.5"),
        (lambda: MarkovGame(FINITE, P6, None, 0.5), InvalidProblem, "only steps are compared"),
        (lambda: MarkovGame(FINITE, P3), InvalidProblem, r"\(6, 6\) or \(3, 2, 3, 2\)"),
        (lambda: MarkovGame(FINITE, [P6, P6]), InvalidProblem, "leading axis of 3"),
        (lambda: MarkovGame(FINITE, final=P6), InvalidProblem, r"needs \(3, 3\)"),
        (lambda: MarkovGame(FINITE, 0.9 * P6), InvalidProblem, "not 1"),
        (lambda: MarkovGame(FINITE, P6, temperature=-1.0), InvalidProblem, "temperature is -1.0"),
        (lambda: MarkovGame(FINITE, P6, reference=[1.0, 0.0]), InvalidProblem, "reference entry"),
        (lambda: MarkovGame(FINITE, P6, reference=np.ones(3) / 3), InvalidProblem, r"\(3, 3, 2\)"),
        (
            lambda: MarkovGame(FINITE, LowRankPreference(np.eye(4) / 2, np.zeros((4, 4)))),
            InvalidProblem,
            "4 rows of features, there are 6 pairs",
        ),
        (
            lambda: _finite_space().prox(
                LeafPayoff(np.zeros(4)), [(Policy(_uniform(FINITE)), 1.0)]
            ),
            Unsupported,
            "depend on the whole history",
        ),
        (
            lambda: _tree_space().prox(
                StepPayoff(np.zeros((3, 2)), np.zeros(3)), [(Policy(_uniform(TREE)), 1.0)]
            ),
            Unsupported,
            "paid at its leaves",
        ),
        (lambda: TrajectoryGame(HISTORIES, _leaves()).flat(), Unsupported, "chance moves"),
    ],
)
def test_what_makes_no_game_is_refused(make, error, said):
    with pytest.raises(error, match=f"(?s){said}"):
        make()


def _finite_space():
    return MarkovGame(FINITE, P6, temperature=0.1).spaces[0]


def _tree_space():
    return TrajectoryGame(TREE, P4, temperature=0.1).spaces[0]


def _uniform(process):
    return np.full(process.shape, -np.log(process.shape[-1]))


def _leaves():
    return np.full((HISTORIES.leaves, HISTORIES.leaves), 0.5)


@given(SEEDS)
def test_a_discounted_game_compares_the_steps_at_which_two_copies_stop(seed):
    rng = Stream(seed).child("stop").generator()
    game = MarkovGame(ENDLESS, P6, temperature=0.1)
    p, q = (Policy(log_of(rng.dirichlet(np.ones(2), size=3))) for _ in range(2))
    (payoff,) = game.operator((q,)).payoffs

    def stops(policy):
        visits = ENDLESS.visits(policy.log_probabilities) / ENDLESS.length
        return (visits[:, None] * policy.probabilities).reshape(-1)

    paid = float(stops(p) @ payoff.steps.reshape(-1))
    assert paid == pytest.approx(stops(p) @ P6 @ stops(q), abs=1e-12)
    assert float(stops(p) @ game.operator((p,)).payoffs[0].steps.reshape(-1)) == pytest.approx(0.5)


@given(SEEDS)
def test_thin_factors_and_their_product_are_the_same_game(seed):
    rng = Stream(seed).child("thin").generator()
    features = rng.normal(size=(6, 2)) / 4
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])
    dense = 0.5 + features @ skew @ features.T
    for process in (FINITE, ENDLESS):
        thin = MarkovGame(process, LowRankPreference(features, skew), temperature=0.1)
        full = MarkovGame(process, dense, temperature=0.1)
        four = MarkovGame(process, dense.reshape(3, 2, 3, 2), temperature=0.1)
        z = (Policy(log_of(rng.dirichlet(np.ones(2), size=process.shape[:-1]))),)
        gaps = [nlhf.certify(game, z).bound.value for game in (thin, full, four)]
        assert gaps == pytest.approx([gaps[0]] * 3, abs=1e-13)
        assert full.lipschitz <= thin.lipschitz + 1e-15


@given(SEEDS, st.floats(0.0, 1.0))
def test_the_two_comparisons_are_weighed(seed, weight):
    rng = Stream(seed).child("weighed").generator()
    both = MarkovGame(FINITE, P6, P3, weight, temperature=0.1)
    steps, ends = MarkovGame(FINITE, P6, temperature=0.1), MarkovGame(FINITE, final=P3)
    z = (Policy(log_of(rng.dirichlet(np.ones(2), size=(3, 3)))),)
    mixed, only, last = (g.operator(z).payoffs[0] for g in (both, steps, ends))
    assert mixed.steps == pytest.approx((1 - weight) * only.steps, abs=1e-14)
    assert mixed.final == pytest.approx(weight * last.final, abs=1e-14)


def test_a_step_preference_may_change_with_the_step():
    stages = np.stack([P6, P6.T, P6])
    same = MarkovGame(FINITE, [P6] * 3, temperature=0.1)
    once = MarkovGame(FINITE, P6, temperature=0.1)
    other = MarkovGame(FINITE, stages, temperature=0.1)
    gaps = [nlhf.certify(game, game.start()).bound.value for game in (same, once, other)]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-14)
    assert abs(gaps[2] - gaps[0]) > 1e-4
    assert other.operator(other.start()).payoffs[0].steps[1].sum() == pytest.approx(
        (1 - P6.mean(axis=1)).sum() / 3, abs=0.2
    )


def test_a_game_of_several_prompts_weighs_them():
    preferences = random_preference(Stream(3).child("prompts").generator(), 4, 5)
    weights = np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    tree = TokenTree(2, 2, contexts=5)
    game = TrajectoryGame(tree, preferences, temperature=0.1, weights=weights)
    certificate = nlhf.certify(game, game.start())
    one_by_one = [
        nlhf.certify(g, g.start()).bound.value
        for g in (TrajectoryGame(TREE, p, temperature=0.1) for p in preferences)
    ]
    assert certificate.per_context == pytest.approx(one_by_one, abs=1e-14)
    assert certificate.bound.value == pytest.approx(weights @ one_by_one, abs=1e-14)


@given(SEEDS)
def test_the_certificate_does_not_depend_on_how_steps_are_realised(seed):
    rng = Stream(seed).child("realised").generator()
    z = (Policy(log_of(rng.dirichlet(np.ones(2), size=(3, 3)))),)
    gaps = [
        nlhf.certify(MarkovGame(FINITE, P6, temperature=0.1, realiser=realiser), z).bound.value
        for realiser in (None, nlhf.TokenwiseMixture(), nlhf.PolicyMirrorDescent())
    ]
    assert gaps[1] == gaps[0]
    assert gaps[2] == gaps[0]


def test_a_policy_that_is_a_little_off_is_judged_as_its_normalisation():
    # Within the tolerance of 1e-9, but a thousand steps multiply it: the certificate is exact.
    process = FiniteHorizon(MDP, 1000)
    rng = Stream(4).child("off").generator()
    logs = log_of(rng.dirichlet(np.ones(2), size=process.shape[:-1]))
    for temperature in (0.1, 0.0):
        game = MarkovGame(process, P6, temperature=temperature)
        right, off = (nlhf.certify(game, Policy(logs + shift)) for shift in (0.0, 9e-10))
        allowed = right.bound.high - right.bound.low
        assert off.bound.value == pytest.approx(right.bound.value, abs=allowed, rel=0.0)


@pytest.mark.parametrize("realiser", [nlhf.TokenwiseMixture(), nlhf.PolicyMirrorDescent()])
def test_approximate_steps_promise_nothing(realiser):
    from nlhf.algorithms.rates import promised_iterations
    from nlhf.errors import HypothesisViolated

    game = TrajectoryGame(TREE, P4, temperature=0.1, realiser=realiser)
    exact = TrajectoryGame(TREE, P4, temperature=0.1)
    for method in (nlhf.Extragradient(), nlhf.MirrorDescent(), nlhf.OptimisticMirrorDescent()):
        assert promised_iterations(exact, method, 1e-8) > 0
        with pytest.raises(HypothesisViolated, match="approximate"):
            promised_iterations(game, method, 1e-8)
    with pytest.raises(HypothesisViolated, match="approximate"):
        nlhf.NashMD().divergence_after(game, 5)
