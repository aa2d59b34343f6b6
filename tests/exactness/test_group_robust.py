"""Group-robust games by three routes: Newton on the dual, a conic program, and extragradient."""

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

from nlhf import (
    Extragradient,
    GroupRobustGame,
    PreferenceGame,
    Stop,
    StopRule,
    certify,
    solve,
)
from nlhf.errors import Approximate, Unsupported
from nlhf.exact import group_robust
from nlhf.exact.ambiguity_regions import weights_in
from nlhf.exact.group_robust import DualFunction, solve_group_robust
from nlhf.exact.robust_response import Heat, RobustResponses
from nlhf.numerics import sigmoid
from nlhf.spaces.ambiguity import (
    Ambiguity,
    ChiSquareBall,
    ConditionalValueAtRisk,
    KLBall,
    TotalVariationBall,
    WholeSimplex,
)
from nlhf.spaces.policy import Policy

KINDS = ("smooth", "tournaments", "ties", "rewards")


def preferences(rng, kind, groups, prompts, responses):
    shape = (groups, prompts, responses, responses)
    if kind == "rewards":
        rewards = 3.0 * rng.normal(size=shape[:-1])
        return sigmoid(rewards[..., :, None] - rewards[..., None, :])
    if kind == "smooth":
        logits = rng.choice([0.1, 1.0, 5.0]) * rng.normal(size=shape)
        return sigmoid(logits - np.swapaxes(logits, -1, -2))
    levels = 2 if kind == "tournaments" else 3
    upper = np.triu(rng.integers(0, levels, size=shape) / (levels - 1), 1)
    return upper + np.tril(1.0 - np.swapaxes(upper, -1, -2), -1) + 0.5 * np.eye(responses)


def ambiguities(rng, groups):
    eta = rng.dirichlet(np.full(groups, 3.0))
    radius = 10 ** rng.uniform(-3, 0)
    return {
        "whole simplex": WholeSimplex(eta),
        "KL": KLBall(eta, radius),
        "chi-square": ChiSquareBall(eta, radius),
        "total variation": TotalVariationBall(eta, min(radius, 0.9)),
        "CVaR": ConditionalValueAtRisk(eta, rng.uniform(0.1, 1.0)),
    }


def drawn(*key, coldest=-2.3, ambiguity="whole simplex"):
    """Return a game of any size and kind, with preferences that are hard on solvers."""
    rng = np.random.default_rng([17, *key])
    groups, responses = int(rng.choice([1, 2, 3, 5, 12])), int(rng.choice([2, 3, 5, 10, 20]))
    prompts, kind = int(rng.choice([1, 2, 5])), KINDS[rng.integers(4)]
    reference = rng.dirichlet(np.full(responses, rng.choice([0.1, 1.0, 10.0])), size=prompts)
    reference = (reference + 1e-12) / (reference + 1e-12).sum(-1, keepdims=True)
    temperature, reply = 10 ** rng.uniform(coldest, 0.5, size=2)
    return GroupRobustGame(
        preferences(rng, kind, groups, prompts, responses),
        reference,
        temperature,
        reply_temperature=rng.choice([temperature, reply]),
        group_temperature=rng.choice([0.0, 10 ** rng.uniform(-3, 0)]),
        ambiguity=ambiguities(rng, groups)[ambiguity],
        weights=rng.dirichlet(np.ones(prompts)),
    )


def small(*key, temperature=0.1, groups=3, **options):
    rng = np.random.default_rng([23, *key])
    p = preferences(rng, "smooth", groups, 2, 4)
    reference, shares = rng.dirichlet(np.ones(4), size=2), rng.dirichlet(np.ones(2))
    return p, GroupRobustGame(p, reference, temperature, weights=shares, **options)


AMBIGUITIES = tuple(ambiguities(np.random.default_rng(0), 3))


@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_newton_closes_the_gap_of_a_few_games(ambiguity):
    for number in range(4):
        # Warnings are errors: none may stall.
        assert solve(drawn(number, ambiguity=ambiguity)).certificate.bound.high <= 1e-10


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_newton_closes_the_gap_of_four_hundred_games(ambiguity):
    for number in range(4, 84):
        assert solve(drawn(number, ambiguity=ambiguity)).certificate.bound.high <= 1e-10


@pytest.mark.parametrize("number", range(4))
def test_newton_closes_the_gap_at_temperatures_down_to_a_thousandth(number):
    game = drawn(1, number, coldest=-3.0)
    assert solve(game).certificate.bound.high <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_newton_closes_the_gap_of_thirty_groups_with_a_hundred_responses(temperature):
    rng = np.random.default_rng(5)
    p = preferences(rng, "smooth", 30, 20, 100)
    game = GroupRobustGame(p, rng.dirichlet(np.ones(100), size=20), temperature)
    assert solve(game).certificate.bound.high <= 1e-10


def test_prompts_without_weight_are_no_trouble():
    p, game = small(3)
    alone = GroupRobustGame(p[:, 0], game.reference.probabilities[0], 0.1)
    both = GroupRobustGame(p, game.reference, 0.1, weights=[1.0, 0.0])
    found, expected = solve(both), solve(alone)
    assert found.certificate.bound.high <= 1e-12
    np.testing.assert_allclose(
        found.profile[0].probabilities[0], expected.profile[0].probabilities, atol=1e-9
    )


def conic_program(p, game):
    """The most that a policy can secure, and that policy, as an exponential-cone program."""
    d, mu = game.prompt_weights, game.reference.probabilities
    reply, kappa = game.reply_temperature, game.group_temperature
    pi = cp.Variable(mu.shape, nonneg=True)
    secured = []
    for own in p:
        logits = [-(own[x].T @ pi[x]) / reply + np.log(mu[x]) for x in range(d.size)]
        secured.append(-reply * sum(d[x] * cp.log_sum_exp(logits[x]) for x in range(d.size)))
    worst = cp.min(cp.hstack(secured))
    if kappa > 0.0:
        logs = game.ambiguity.centre.log_probabilities
        worst = -kappa * cp.log_sum_exp(-cp.hstack(secured) / kappa + logs)
    cost = sum(d[x] * cp.sum(cp.rel_entr(pi[x], mu[x])) for x in range(d.size))
    program = cp.Problem(
        cp.Maximize(worst - game.temperatures[0] * cost), [cp.sum(pi, axis=1) == 1]
    )
    value = program.solve(solver=cp.CLARABEL)
    policy = np.maximum(pi.value, 1e-300)
    return value, Policy.of(policy / policy.sum(-1, keepdims=True))


def agree(game, profile, theirs):
    """Check a profile against another policy, as far as what that secures reaches.

    A policy that secures s has τ KL(π‖π*) at most the value less s: against the opponent of the
    equilibrium every policy gets the value less that much.
    """
    gap = certify(game, profile).bound.high
    assert gap <= 1e-10
    secured = game.primal(theirs)
    assert secured <= game.dual(profile[1]) + 1e-13
    short = game.dual(profile[1]) - secured
    apart = game.temperatures[0] * game.spaces[0].divergence(theirs, profile[0]).value
    assert apart <= short + gap + 1e-13
    return short


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize(("reply", "kappa"), [(0.1, 0.0), (0.03, 0.0), (0.3, 0.1)])
def test_a_conic_program_finds_the_same_policy(number, reply, kappa):
    p, game = small(number, reply_temperature=reply, group_temperature=kappa)
    value, policy = conic_program(p, game)
    profile = solve(game).profile
    assert agree(game, profile, policy) <= 1e-6
    assert game.primal(profile[0]) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_extragradient_finds_the_same_policy(number, ambiguity):
    among = ambiguities(np.random.default_rng(number), 3)[ambiguity]
    _, game = small(number, ambiguity=among, temperature=0.3, group_temperature=0.1)
    iterated = solve(game, Extragradient(), stop=StopRule(gap=1e-9)).require(1e-9)
    assert agree(game, solve(game).profile, iterated.profile[0]) <= 1e-9


def test_the_comparison_rejects_other_policies_and_temperatures():
    """Control: neither a perturbed answer nor that of a warmer game passes."""
    p, game = small(1)
    profile = solve(game).profile
    _, theirs = conic_program(p, game)
    assert agree(game, profile, theirs) <= 1e-6
    moved = Policy.of(0.99 * profile[0].probabilities + 0.01 / 4)
    warmer = solve(small(1, temperature=0.11)[1]).profile
    for wrong in ((moved, profile[1]), warmer, (warmer[0], profile[1])):
        with pytest.raises(AssertionError):
            agree(game, wrong, theirs)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.003])
def test_one_group_is_the_preference_game(temperature):
    p, game = small(7, temperature=temperature, groups=1)
    plain = PreferenceGame(p[0], game.reference, temperature, weights=game.prompt_weights)
    policy, opponent = solve(game).profile
    for found in (policy, opponent):
        np.testing.assert_allclose(found.probabilities, solve(plain).policy, atol=1e-7)
    assert game.primal(policy) == pytest.approx(0.5, abs=1e-12)


def choices(game, solution):
    return game.opponent(solution.profile[1])


def test_the_order_of_groups_and_of_responses_does_not_matter():
    rng = np.random.default_rng(3)
    p, eta = preferences(rng, "tournaments", 4, 3, 5), rng.dirichlet(np.ones(4))
    mu, groups, answers = rng.dirichlet(np.ones(5), size=3), rng.permutation(4), rng.permutation(5)
    plain = GroupRobustGame(p, mu, 0.05, group_temperature=0.02, proportions=eta)
    turned = GroupRobustGame(
        p[groups][..., answers, :][..., answers],
        mu[:, answers],
        0.05,
        group_temperature=0.02,
        proportions=eta[groups],
    )
    one, other = solve(plain), solve(turned)
    first, second = choices(plain, one), choices(turned, other)
    tight = {"rtol": 0, "atol": 1e-8}
    np.testing.assert_allclose(
        other.profile[0].probabilities, one.profile[0].probabilities[:, answers], **tight
    )
    np.testing.assert_allclose(
        second.groups.probabilities, first.groups.probabilities[groups], **tight
    )
    np.testing.assert_allclose(
        second.replies.probabilities, first.replies.probabilities[groups][..., answers], **tight
    )


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_a_group_that_is_there_twice_shares_its_weight_and_changes_nothing_else(temperature):
    p, game = small(11, temperature=temperature)
    doubled = GroupRobustGame(
        np.concatenate([p, p[1:2]]), game.reference, temperature, weights=game.prompt_weights
    )
    one, two = solve(game), solve(doubled)
    np.testing.assert_allclose(
        two.profile[0].probabilities, one.profile[0].probabilities, rtol=0, atol=1e-7
    )
    w = choices(doubled, two).groups.probabilities
    np.testing.assert_allclose(
        np.append(w[:3], 0.0) + np.eye(4)[1] * w[3],
        np.append(choices(game, one).groups.probabilities, 0.0),
        rtol=0,
        atol=1e-6,
    )


def test_a_group_that_never_matters_changes_nothing():
    """A group indifferent between all responses secures 1/2 for every policy."""
    p, game = small(13)
    assert game.primal(solve(game).profile[0]) < 0.49
    more = GroupRobustGame(
        np.concatenate([p, np.full((1, 2, 4, 4), 0.5)]),
        game.reference,
        0.1,
        weights=game.prompt_weights,
    )
    one, two = solve(game), solve(more)
    np.testing.assert_allclose(
        two.profile[0].probabilities, one.profile[0].probabilities, rtol=0, atol=1e-7
    )
    assert choices(more, two).groups.probabilities[3] <= 1e-10


@pytest.mark.parametrize("raised", [0.0, 0.3])
def test_the_derivatives_of_the_dual_are_those_of_its_differences(raised):
    _, game = small(17, temperature=0.05, reply_temperature=0.1, group_temperature=0.2)
    responses, among = RobustResponses(game), weights_in(game.ambiguity)
    heat = Heat(max(0.05, raised), max(0.1, raised))
    at = np.array([0.5, 0.3, 0.2])

    best = responses.best(responses.uniform(), at, heat).response.log_policy

    def dual(v):
        return DualFunction(game, among, responses, heat, best).derivatives(v)

    _, gradient, hessian = dual(at)
    for size, direction in product([1e-5], np.eye(3)):
        ahead, behind = dual(at + size * direction), dual(at - size * direction)
        slope = (ahead[0] - behind[0]) / (2.0 * size)
        assert slope == pytest.approx(gradient @ direction, abs=1e-7)
        change = (ahead[1] - behind[1]) / (2.0 * size)
        np.testing.assert_allclose(change, hessian @ direction, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.3, 0.05])
def test_a_path_may_begin_near_its_end_or_where_fewer_groups_were(temperature):
    p, game = small(19, temperature=temperature, groups=5)
    fewer = GroupRobustGame(p[:-1], game.reference, temperature, weights=game.prompt_weights)
    before, cold = solve_group_robust(fewer), solve_group_robust(game)
    weights = fewer.opponent(before.profile[1]).groups.probabilities
    grown = solve_group_robust(game, (before.profile[0], Policy.of(np.append(weights, 0.0))))
    again = solve_group_robust(game, (cold.profile[0], game.opponent(cold.profile[1]).groups))
    for warm in (grown, again):
        assert warm.converged
        assert certify(game, warm.profile).bound.high <= 1e-10
    assert again.iterations < cold.iterations


@pytest.mark.parametrize("ambiguity", AMBIGUITIES)
def test_a_path_may_begin_anywhere(ambiguity):
    among = ambiguities(np.random.default_rng(1), 3)[ambiguity]
    _, game = small(29, temperature=0.02, ambiguity=among)
    far = Policy(np.array([[0.0, -np.inf, -np.inf, -np.inf], [-np.inf, -np.inf, -np.inf, 0.0]]))
    found = solve_group_robust(game, (far, among.largest(np.array([0.0, 0.0, 1.0]))))
    assert found.converged
    assert certify(game, found.profile).bound.high <= 1e-10


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"reply_temperature": 0.0}])
def test_temperature_zero_is_referred_to_algorithms(options):
    _, game = small(0, **options)
    with pytest.raises(Unsupported, match="Extragradient"):
        solve(game)


def test_other_ambiguity_sets_are_referred_to_algorithms():
    class Another(Ambiguity):
        centre = WholeSimplex([0.5, 0.3, 0.2]).centre

        def project(self, logits):
            return WholeSimplex([0.5, 0.3, 0.2]).project(logits)

        def largest(self, payoff):
            return WholeSimplex([0.5, 0.3, 0.2]).largest(payoff)

        def excess(self, weights):
            return 0.0

    _, game = small(0, ambiguity=Another())
    with pytest.raises(Unsupported, match="Another"):
        solve(game)


def test_a_path_that_stalls_warns_and_says_so(monkeypatch):
    monkeypatch.setattr(group_robust, "_TIMID", 0.0)
    _, game = small(0)
    with pytest.warns(Approximate, match="the dual stalled"):
        found = solve(game)
    assert found.stop is Stop.STALLED
    assert found.certificate.bound.value > 1e-6


@pytest.mark.parametrize("cooling", [True, False])
def test_a_step_of_the_path_that_failed_is_tried_half_as_far_on_a_logarithmic_scale(
    cooling, monkeypatch
):
    rng = np.random.default_rng(4)
    p = preferences(rng, "smooth", 3, 1, 4)
    game = GroupRobustGame(p, temperature=0.003, ambiguity=KLBall([0.2, 0.3, 0.5], 0.1))
    path = group_robust._Path(game, RobustResponses(game))
    reach, tried, refused = path._reached, [], []

    def reached(aim):
        tried.append(aim)
        # Neither the first step, nor the whole rest of the way.
        if len(tried) > 2 and not refused and cooling == (aim.heat < tried[-2].heat):
            refused.append(len(tried) - 1)
            return None
        return reach(aim)

    monkeypatch.setattr(path, "_reached", reached)
    _, converged = path.followed(None)
    assert converged
    (k,) = refused
    before, far, near = tried[k - 1], tried[k], tried[k + 1]
    if cooling:
        assert near.heat / before.heat == pytest.approx((far.heat / before.heat) ** 0.5, rel=1e-9)
    else:
        shorter = (far.barrier / before.barrier) ** 0.5
        assert near.barrier / before.barrier == pytest.approx(shorter, rel=1e-9)
