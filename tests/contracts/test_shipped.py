"""The shipped suites on everything that is shipped, in every setting."""

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.published import (
    ALGORITHMS,
    Average,
    Extragradient,
    MirrorDescent,
    NashEMA,
    NashMD,
    OptimisticMirrorDescent,
    ProximalPoint,
)
from nlhf.algorithms.rates import ConvergesLinearly
from nlhf.spaces.sequential import SequentialSpace
from nlhf.spaces.simplex import Simplex
from nlhf.testing import (
    ALGORITHM_CLAUSES,
    Claim,
    check_algorithm,
    check_game,
    check_realiser,
    check_space,
    processes,
    same_games,
    settings,
)
from nlhf.testing.games import reached
from nlhf.testing.instances import random_policy
from nlhf.testing.realisers import mean_payoff, space_of

METHODS = [
    Extragradient(),
    MirrorDescent(),
    OptimisticMirrorDescent(),
    NashMD(),
    NashMD(textbook_step=0.2),
    NashEMA(),
    NashEMA(step_size=0.3, decay=0.9),
    ProximalPoint(inner_steps=4),
    ProximalPoint(MirrorDescent(), strength=0.2, inner_steps=3),
    Average(MirrorDescent()),
    Average(OptimisticMirrorDescent()),
]
VIEWS = [view for game in same_games() for view in game.views]
GAMES = {s.name: s.game for s in settings()} | {
    f"{view.name} at {view.game.temperature}": view.game for view in VIEWS
}
REALISERS = {
    nlhf.SoftBellman(): Claim.EXACT,
    nlhf.PolicyMirrorDescent(): Claim.FIXED_POINTS,
    nlhf.TokenwiseMixture(): Claim.APPROXIMATE,
}


def thin_game(temperature):
    generator = nlhf.Stream(1, ("thin",)).generator()
    features = generator.uniform(-0.5, 0.5, size=(40, 2))
    preference = nlhf.LowRankPreference(features, np.array([[0.0, 1.0], [-1.0, 0.0]]))
    reference = generator.dirichlet(np.ones(40))
    return nlhf.PreferenceGame(preference, reference, temperature)


@pytest.mark.parametrize("instance", processes(), ids=lambda i: i.name)
def test_spaces_of_processes_keep_the_contract(instance):
    space = space_of(instance, nlhf.SoftBellman())
    report = check_space(
        space,
        instance.policies,
        instance.payoffs,
        constant=instance.constant,
        pairing=lambda g, p, q: mean_payoff(instance.process, g, p, q),
    )
    assert all(f.measured for f in report.findings)
    assert not report.notes


@pytest.mark.parametrize("instance", processes(), ids=lambda i: i.name)
def test_a_payoff_of_one_on_every_trajectory_is_worth_one_whatever_is_played(instance):
    """The one thing that invariances cannot tell: the unit of payoffs."""
    for policy in instance.policies:
        values = instance.process.action_values(policy.log_probabilities, instance.constant, None)
        np.testing.assert_allclose(values, 1.0, rtol=1e-13)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.3, 0.2]], ids=["alone", "contexts"])
def test_simplices_keep_the_contract(weights):
    generator = nlhf.Stream(2, ("simplex",)).generator()
    shape = (4,) if len(weights) == 1 else (len(weights), 4)
    space = Simplex(4, np.array(weights))
    policies = [random_policy(generator, shape) for _ in range(4)]
    payoffs = [generator.normal(size=shape) for _ in range(2)]

    def pairing(g, p, q):
        rows = np.atleast_2d(g * (p.probabilities - q.probabilities)).sum(axis=1)
        return float(rows @ weights)

    report = check_space(space, policies, payoffs, constant=np.ones(shape), pairing=pairing)
    assert all(f.measured for f in report.findings)


@pytest.mark.parametrize("realiser", [nlhf.PolicyMirrorDescent(), nlhf.TokenwiseMixture()])
@pytest.mark.parametrize("instance", processes(), ids=lambda i: i.name)
def test_spaces_of_inexact_realisers_are_as_good_as_their_residuals(instance, realiser):
    report = check_space(
        space_of(instance, realiser),
        instance.policies,
        instance.payoffs,
        pairing=lambda g, p, q: mean_payoff(instance.process, g, p, q),
    )
    assert report.finding("maximiser").measured
    assert not report.finding("linear-payoff").measured


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_games_keep_the_contract(game):
    report = check_game(game)
    assert all(f.measured for f in report.findings)


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_spaces_of_games_keep_the_contract_on_profiles_and_payoffs_that_occur(game):
    profiles = reached(game, 4)
    payoffs = [game.operator(profile, nlhf.Stream(0)).payoffs for profile in profiles]
    for i, space in enumerate(game.spaces):
        check_space(space, [p[i] for p in profiles], [g[i] for g in payoffs])


@pytest.mark.parametrize(
    "game",
    [
        thin_game(0.05),
        thin_game(0.0),
        nlhf.PreferenceGame(settings()[0].game.payoff.matrix),
        nlhf.MarkovGame(settings()[-1].game.process, settings()[-1].game.step.matrix),
        nlhf.TrajectoryGame(settings()[4].game.process, settings()[4].game.preference),
    ],
    ids=["thin", "thin at 0", "bandit at 0", "discounted at 0", "token tree at 0"],
)
def test_thin_games_and_games_without_temperature_keep_the_contract(game):
    report = check_game(game)
    measured = {f.clause for f in report.findings if f.measured}
    assert {"witness", "no-better-deviation", "zero-sum", "lipschitz"} <= measured


@pytest.mark.parametrize(
    "method",
    # In the quick run the two that everything else is compared with; all of them in CI.
    [
        pytest.param(
            method,
            id=repr(method),
            marks=() if type(method) in (Extragradient, MirrorDescent) else pytest.mark.slow,
        )
        for method in METHODS
    ],
)
def test_methods_keep_the_contract_in_every_setting(method):
    report = check_algorithm(method, alike=same_games()[:1])
    assert [f.clause for f in report.findings] == [clause.name for clause in ALGORITHM_CLAUSES]
    assert bool(report.finding("keeps-equilibrium").measured) == method.keeps_equilibrium
    assert bool(report.finding("linear-rate").measured) == isinstance(method, ConvergesLinearly)
    assert report.finding("same-iterates").measured == 3 * 51


def test_every_method_of_the_command_line_is_checked():
    assert set(ALGORITHMS.values()) <= {type(method) for method in METHODS}


def test_a_step_beyond_the_proven_range_is_refused_and_noted():
    chosen = [s for s in settings() if s.name in ("bandit", "zero-sum", "log-odds")]
    report = check_algorithm(Extragradient(step_size=2.0), chosen, ())
    assert [note.split(":")[0] for note in report.notes] == [
        "refused in zero-sum",
        "refused in log-odds",
    ]
    assert "step_size <= 1/L" in report.notes[0]


def test_the_bias_of_constant_step_nash_md_is_recorded():
    report = check_algorithm(NashMD(textbook_step=0.2), settings()[:3], ())
    (note,) = report.notes
    assert note.startswith("keeps-equilibrium is not claimed: 6 steps stray by up to 0.0")


@pytest.mark.parametrize(("realiser", "claim"), REALISERS.items(), ids=lambda x: str(x))
def test_realisers_keep_the_contract(realiser, claim):
    report = check_realiser(realiser, claim)
    unclaimed = {note.split()[0] for note in report.notes if "not claimed" in note}
    assert len(unclaimed) == {Claim.EXACT: 0, Claim.FIXED_POINTS: 1, Claim.APPROXIMATE: 2}[claim]


def test_every_shipped_realiser_is_checked():
    from nlhf.spaces import realisers

    shipped = {
        thing
        for thing in vars(realisers).values()
        if isinstance(thing, type) and hasattr(thing, "realise") and thing is not realisers.Realiser
    }
    assert shipped == {type(realiser) for realiser in REALISERS}


def test_a_report_prints_what_was_measured():
    text = str(check_space(*_simplex_materials()))
    assert text.startswith("Simplex keeps its contract\n")
    assert "maximiser" in text
    assert "no constant payoff was given" in text


def _simplex_materials():
    generator = nlhf.Stream(3, ("report",)).generator()
    policies = [random_policy(generator, (3,)) for _ in range(3)]
    return Simplex(3, np.ones(1)), policies, [generator.random(3) for _ in range(2)]


def test_too_little_to_check_is_an_error_of_its_own():
    space, policies, payoffs = _simplex_materials()
    with pytest.raises(nlhf.NlhfError, match="too few"):
        check_space(space, policies[:2], payoffs)
    with pytest.raises(nlhf.NlhfError, match="too few"):
        check_game(settings()[0].game, profiles=[settings()[0].game.start()])
    instance = processes()[0]
    weights = np.ones(1)
    inexact = SequentialSpace(instance.process, weights, nlhf.TokenwiseMixture())
    with pytest.raises(nlhf.NlhfError, match="no pairing is given"):
        check_space(inexact, instance.policies, instance.payoffs)


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_self_play_is_worth_a_half_to_both_sides(game):
    """⟨F(p), p⟩ = 1/2 in win probability, from the distributions over responses or leaves."""
    if isinstance(game, nlhf.ZeroSumGame | nlhf.LogOddsGame):
        pytest.skip("payoffs of this game are no win probabilities")
    for profile in reached(game, 3):
        (payoff,) = game.operator(profile).payoffs
        assert _earned(game, payoff, profile[0]) == pytest.approx(game.value, abs=1e-13)


def _earned(game, payoff, policy):
    if isinstance(game, nlhf.PreferenceGame):
        return np.atleast_2d(payoff * policy.probabilities).sum(axis=1)
    if isinstance(game, nlhf.TrajectoryGame):
        _, leaves = game.process.flow(policy.log_probabilities)
        return np.atleast_2d(payoff.leaves * leaves).sum(axis=1)
    if isinstance(game.process, nlhf.Discounted):
        visits = game.process.visits(policy.log_probabilities) / game.process.length
        return (visits[:, None] * policy.probabilities * payoff.steps).sum()
    visits, last = game.process.flow(policy.log_probabilities)
    return (visits[..., None] * policy.probabilities * payoff.steps).sum() + last @ payoff.final
