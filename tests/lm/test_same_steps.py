"""A transformer with enumerable responses is the token tree: same game, same steps, same judge."""

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.published import (
    Average,
    Extragradient,
    MirrorDescent,
    NashMD,
    OptimisticMirrorDescent,
    ProximalPoint,
)
from nlhf.lm import (
    Audit,
    Enumeration,
    LanguageGame,
    Optimisation,
    PairwiseRegression,
    TablePreference,
)
from nlhf.spaces.policy import Policy
from nlhf.spaces.realisers import trajectory_divergence
from tests.lm.tiny import PROMPTS, VOCABULARY, intransitive, tiny_model


def setting(optimiser_steps=40):
    model = tiny_model("gpt2", seed=3, limit=2)
    found = Enumeration(model, PROMPTS, VOCABULARY)
    table = intransitive(4, 1.5, found.tree.leaves)
    realiser = PairwiseRegression(
        nlhf.Stream(5),
        Optimisation(steps=optimiser_steps, learning_rate=3e-3),
        found.draws,
        audit=Audit(found.draws),
    )
    preference = TablePreference(table, VOCABULARY)
    game = LanguageGame(model, PROMPTS, preference, 0.1, realiser, opponents=found.draws)
    return found, game, found.exact_game(game)


def test_the_operator_is_that_of_the_tree():
    found, game, exact = setting()
    (payoff,) = game.operator(game.start(), nlhf.Stream(1)).payoffs
    (on_tree,) = exact.operator(exact.start()).payoffs
    np.testing.assert_allclose(found.payoff(payoff).leaves, on_tree.leaves, rtol=0.0, atol=1e-12)


def test_the_reported_residual_is_the_divergence_from_the_proximal_point_of_the_tree():
    found, game, exact = setting()
    current = game.start()
    for step in range(3):
        anchors = [(current, 0.5)]
        moved = game.prox(game.operator(current, nlhf.Stream(step)), anchors)
        policy = (found.policy(current[0]),)
        point = exact.prox(exact.operator(policy), [(policy, 0.5)])
        distance = trajectory_divergence(
            found.tree,
            found.policy(moved[0]).log_probabilities,
            point[0].log_probabilities,
        )
        residual = game.realiser.reports[-1].residual
        assert residual.value == pytest.approx(distance.mean(), rel=1e-6, abs=1e-13)
        assert 0.0 < residual.value < 1e-2
        current = moved


@pytest.mark.parametrize(
    "method",
    [
        Extragradient(),
        pytest.param(MirrorDescent(), marks=pytest.mark.slow),
        pytest.param(OptimisticMirrorDescent(), marks=pytest.mark.slow),
        pytest.param(NashMD(), marks=pytest.mark.slow),
        pytest.param(ProximalPoint(inner_steps=2), marks=pytest.mark.slow),
        pytest.param(Average(MirrorDescent()), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_the_same_object_takes_the_same_steps(method):
    found, game, exact = setting()
    state, there = method.init(game, game.start()), method.init(exact, exact.start())
    for step in range(3):
        state = method.step(game, state, nlhf.Stream(2).child("step", step))
        there = method.step(exact, there, nlhf.Stream(2).child("step", step))
    own = found.policy(method.profile(state)[0])
    other: Policy = method.profile(there)[0]
    worst = sum(report.residual.value for report in game.realiser.reports)
    apart = trajectory_divergence(found.tree, own.log_probabilities, other.log_probabilities)
    moved = trajectory_divergence(
        found.tree, other.log_probabilities, exact.reference.log_probabilities
    )
    assert apart.mean() < max(10.0 * worst, 1e-6)
    assert apart.mean() < moved.mean() / 20.0, "steps are far shorter than the distance travelled"


def test_the_exact_certificate_of_a_language_model_is_refused():
    _, game, _ = setting()
    with pytest.raises(nlhf.NlhfError, match="lower bound"):
        game.as_profile(game.start())
