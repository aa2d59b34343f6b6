"""Controls: a space or a game that breaks one clause is caught, and by that clause."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest

import nlhf
from nlhf.certificates import certify
from nlhf.errors import ContractBroken
from nlhf.numerics import log_normalise
from nlhf.protocols import Evaluation, Prox
from nlhf.results import Bound, Units
from nlhf.spaces.anchors import total_strength
from nlhf.spaces.realisers import TokenwiseMixture
from nlhf.spaces.simplex import Simplex
from nlhf.testing import GAME_CLAUSES, SPACE_CLAUSES, check_game, check_space, processes, settings
from nlhf.testing.instances import random_policy, random_preference
from nlhf.testing.realisers import mean_payoff, space_of

ZERO = Bound.exact(0.0, Units.NATS)
WEIGHTS = np.array([0.5, 0.3, 0.2])


def materials():
    generator = nlhf.Stream(4, ("controls",)).generator()
    policies = [random_policy(generator, (3, 4)) for _ in range(4)]
    return policies, [generator.normal(size=(3, 4)) for _ in range(2)]


class Wrong:
    """A simplex, of which subclasses break one thing."""

    inner = Simplex(4, WEIGHTS)

    def prox(self, payoff, anchors):
        return self.inner.prox(payoff, anchors)

    def divergence(self, p, q):
        return self.inner.divergence(p, q)

    def mixture(self, weighted):
        return self.inner.mixture(weighted)


class DivergenceWithAConstant(Wrong):
    def divergence(self, p, q):
        return Bound.exact(self.inner.divergence(p, q).value + 1e-3, Units.NATS)


class DivergenceOfNothing(Wrong):
    def divergence(self, p, q):
        return ZERO


class NegativeStrengths(Wrong):
    def prox(self, payoff, anchors):
        if not anchors:
            total_strength([])
        return self.inner.prox(payoff, [(p, abs(s) + 1e-30) for p, s in anchors])


class Noisy(Wrong):
    def prox(self, payoff, anchors):
        exact = self.inner.prox(payoff, anchors).strategy.log_probabilities
        noise = np.random.default_rng().normal(scale=1e-3, size=exact.shape)
        return Prox(nlhf.Policy(log_normalise(exact + noise)), ZERO)


class HiddenAnchor(Wrong):
    def prox(self, payoff, anchors):
        total_strength([s for _, s in anchors])
        return self.inner.prox(payoff, [*anchors, (nlhf.Policy(np.full((3, 4), -np.log(4))), 0.1)])


class FirstAnchorWithoutPayoff(Wrong):
    def prox(self, payoff, anchors):
        found = self.inner.prox(payoff, anchors)
        return found if payoff is not None else Prox(anchors[0][0], ZERO)


class FirstAnchorTwice(Wrong):
    def prox(self, payoff, anchors):
        total_strength([s for _, s in anchors])
        (first, strength), *others = anchors
        return self.inner.prox(payoff, [(first, 2 * strength), *others])


class SquaredStrengths(Wrong):
    """Homogeneous of degree one, but not additive, in the strengths."""

    def prox(self, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        return self.inner.prox(payoff, [(p, s * s / total) for p, s in anchors])


class CountsZeros(Wrong):
    def prox(self, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        return self.inner.prox(payoff, [(p, s or 0.01 * total) for p, s in anchors])


class ExponentsForStrengths(Wrong):
    """The payoff is not divided by the sum of the strengths."""

    def prox(self, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        return self.inner.prox(None if payoff is None else payoff * total, anchors)


class SeesTheLevel(Wrong):
    def prox(self, payoff, anchors):
        if payoff is not None and payoff.any():
            payoff = payoff * (payoff.mean() / np.abs(payoff).max())
        return self.inner.prox(payoff, anchors)


class TiltsByTheAnchor(Wrong):
    """The functional depends on the anchors: actions that they prefer count more."""

    def prox(self, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        if payoff is not None:
            centred = payoff - payoff.mean(axis=-1, keepdims=True)
            payoff = centred * sum(s / total * p.probabilities for p, s in anchors)
        return self.inner.prox(payoff, anchors)


class ClipsExponents(Wrong):
    """Payoffs over strengths beyond 40 are cut off."""

    def prox(self, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        if payoff is not None:
            centred = payoff - payoff.mean(axis=-1, keepdims=True)
            payoff = np.clip(centred / total, -40.0, 40.0) * total
        return self.inner.prox(payoff, anchors)


class HalfTheDivergence(Wrong):
    def divergence(self, p, q):
        return Bound.exact(0.5 * self.inner.divergence(p, q).value, Units.NATS)


class LikesExtremes(Wrong):
    def prox(self, payoff, anchors):
        if payoff is not None:
            payoff = np.abs(payoff - payoff.mean(axis=-1, keepdims=True))
        return self.inner.prox(payoff, anchors)


class GeometricMixtures(Wrong):
    def mixture(self, weighted):
        return self.inner.prox(None, weighted).strategy


class UnweightedMixtures(Wrong):
    def mixture(self, weighted):
        return self.inner.mixture([(p, float(w != 0.0) * np.sign(w)) for p, w in weighted])


class CountsWeightsOfZero(Wrong):
    def mixture(self, weighted):
        total = sum(w for _, w in weighted)
        return self.inner.mixture([(p, w or 0.01 * total) for p, w in weighted])


SPACE_CONTROLS = {
    DivergenceWithAConstant: "divergence-zero",
    DivergenceOfNothing: "divergence-positive",
    NegativeStrengths: "strengths-checked",
    Noisy: "reproducible",
    HiddenAnchor: "anchor-alone",
    FirstAnchorWithoutPayoff: "no-payoff",
    FirstAnchorTwice: "anchor-order",
    SquaredStrengths: "split-anchor",
    CountsZeros: "zero-strength",
    ExponentsForStrengths: "joint-scaling",
    SeesTheLevel: "constant-shift",
    TiltsByTheAnchor: "linear-payoff",
    ClipsExponents: "linear-payoff",
    LikesExtremes: "payoff-algebra",
    CountsWeightsOfZero: "mixture-weights",
    GeometricMixtures: "mixture-identity",
    UnweightedMixtures: "mixture-identity",
}


def test_the_space_that_is_made_wrong_is_right():
    check_space(Wrong(), *materials(), constant=np.ones((3, 4)))


@pytest.mark.parametrize(("space", "clause"), SPACE_CONTROLS.items(), ids=lambda x: str(x))
def test_control_a_wrong_space_is_caught_by_its_clause(space, clause):
    with pytest.raises(ContractBroken) as caught:
        check_space(space(), *materials(), constant=np.ones((3, 4)))
    assert caught.value.clause == clause
    assert repr(clause) in caught.value.found
    assert space.__name__ in caught.value.found


def test_the_unit_of_divergences_is_seen_by_a_pairing_only():
    """Half the KL is that of as many prompts again, each with one response only."""
    check_space(HalfTheDivergence(), *materials(), constant=np.ones((3, 4)))

    def pairing(g, p, q):
        return float((g * (p.probabilities - q.probabilities)).sum(axis=1) @ WEIGHTS)

    check_space(Wrong(), *materials(), pairing=pairing)
    with pytest.raises(ContractBroken) as caught:
        check_space(HalfTheDivergence(), *materials(), pairing=pairing)
    assert caught.value.clause == "linear-payoff"


@dataclass
class ClaimsToBeExact:
    """The space of a realiser that reports no residual."""

    inner: object

    def prox(self, payoff, anchors):
        return Prox(self.inner.prox(payoff, anchors).strategy, ZERO)

    def divergence(self, p, q):
        return self.inner.divergence(p, q)

    def mixture(self, weighted):
        return self.inner.mixture(weighted)


@pytest.mark.parametrize("instance", processes(), ids=lambda i: i.name)
def test_control_token_by_token_renormalisation_is_no_maximiser(instance):
    """Every invariance holds: the identity of the maximum alone tells it from the real one."""
    space = ClaimsToBeExact(space_of(instance, TokenwiseMixture()))
    with pytest.raises(ContractBroken) as caught:
        check_space(space, instance.policies, instance.payoffs, constant=instance.constant)
    assert caught.value.clause == "maximiser"


def test_control_a_residual_that_is_too_small_is_caught():
    instance = processes()[0]

    class Lazy(ClaimsToBeExact):
        def prox(self, payoff, anchors):
            half = None if payoff is None else payoff * 0.5
            found = self.inner.prox(half, anchors).strategy
            return Prox(found, Bound.exact(1e-6, Units.NATS))

    space = Lazy(space_of(instance, nlhf.SoftBellman()))
    with pytest.raises(ContractBroken) as caught:
        check_space(
            space,
            instance.policies,
            instance.payoffs,
            pairing=lambda g, p, q: mean_payoff(instance.process, g, p, q),
        )
    assert caught.value.clause == "maximiser"


def test_every_clause_of_spaces_has_a_control():
    assert {c.name for c in SPACE_CLAUSES} == {*SPACE_CONTROLS.values(), "maximiser"}


P = settings()[0].game.payoff.matrix
MU = settings()[0].game.reference
TAU = 0.1


class NoLipschitz(nlhf.PreferenceGame):
    lipschitz = float("nan")


class TwoStarts(nlhf.PreferenceGame):
    def start(self):
        return (*super().start(), *super().start())


class NoisyPayoffs(nlhf.PreferenceGame):
    def operator(self, profile, stream=None):
        (payoff,) = super().operator(profile).payoffs
        return Evaluation((payoff + np.random.default_rng().normal(scale=0.01, size=payoff.shape),))


class Backwards(np.ndarray):
    def __sub__(self, other):
        return np.subtract(other, self)


class BackwardPayoffs(nlhf.PreferenceGame):
    def operator(self, profile, stream=None):
        return Evaluation((super().operator(profile).payoffs[0].view(Backwards),))


class NoReference(nlhf.PreferenceGame):
    def prox(self, evaluation, anchors):
        own = anchors or [(self.start(), 1.0)]
        payoff = None if evaluation is None else evaluation.payoffs[0]
        return (self.spaces[0].prox(payoff, [(p[0], s) for p, s in own]).strategy,)


class NotAffine(nlhf.PreferenceGame):
    def operator(self, profile, stream=None):
        return Evaluation((self.payoff.rows(profile[0].probabilities ** 2),))


class GeometricProfiles(nlhf.PreferenceGame):
    def mixture(self, weighted):
        return (self.spaces[0].prox(None, [(p[0], w) for p, w in weighted]).strategy,)


class NotComplementary(nlhf.PreferenceGame):
    def operator(self, profile, stream=None):
        return Evaluation((np.arange(1, 6) * self.payoff.rows(profile[0].probabilities),))


class Cooperative(nlhf.ZeroSumGame):
    def operator(self, profile, stream=None):
        row, column = super().operator(profile).payoffs
        return Evaluation((row, -column))


class FirstAnchorOnly(nlhf.PreferenceGame):
    def prox(self, evaluation, anchors):
        return super().prox(evaluation, anchors[:1])


class AnchorWithoutPayoff(nlhf.PreferenceGame):
    """Nash-MD's half step is lost."""

    def prox(self, evaluation, anchors):
        if evaluation is None and len(anchors) == 1:
            return anchors[0][0]
        return super().prox(evaluation, anchors)


class UnderstatedLipschitz(nlhf.PreferenceGame):
    lipschitz = 0.02


class HalfLipschitz(nlhf.PreferenceGame):
    @property
    def lipschitz(self):
        return 0.5 * super().lipschitz


class HalfLipschitzTree(nlhf.TrajectoryGame):
    @property
    def lipschitz(self):
        return 0.5 * super().lipschitz


def judging(game, change):
    """A judge of the game that reports something else than it found."""
    return lambda profile: change(certify(game, profile))


def scaled(certificate, factor):
    bound = Bound.exact(certificate.bound.value * factor, certificate.bound.units, 1e-12)
    return replace(certificate, bound=bound)


def vague(certificate):
    value = certificate.bound.value
    return replace(certificate, bound=replace(certificate.bound, low=value - 1, high=value + 1))


REGULAR = nlhf.PreferenceGame(P, MU, TAU)
CYCLE = np.array([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
TREE = settings()[4].game
HARD = nlhf.PreferenceGame(P, MU)
GAME_CONTROLS = {
    "no Lipschitz constant": ("shape", NoLipschitz(P, MU, TAU), None),
    "a start of two strategies": ("shape", TwoStarts(P, MU, TAU), None),
    "noise from nowhere": ("reproducible", NoisyPayoffs(P, MU, TAU), None),
    "payoffs subtracted backwards": ("evaluation-algebra", BackwardPayoffs(P, MU, TAU), None),
    "no reference": ("references", NoReference(P, MU, TAU), None),
    "payoffs not affine": ("affine-in-mixtures", NotAffine(P, MU, TAU), None),
    "geometric mixtures": ("affine-in-mixtures", GeometricProfiles(P, MU, TAU), None),
    "not complementary": ("zero-sum", NotComplementary(P, MU, TAU), None),
    "cooperation": ("zero-sum", Cooperative(P[:3], temperatures=(TAU, TAU)), None),
    "anchors forgotten": ("several-anchors", FirstAnchorOnly(P, MU, TAU), None),
    "no pull without payoff": ("no-payoff", AnchorWithoutPayoff(P, MU, TAU), None),
    "half the Lipschitz constant": ("lipschitz", HalfLipschitz(P, MU, TAU), None),
    "half of that of a cycle": ("lipschitz", HalfLipschitz(CYCLE, [0.5, 0.3, 0.2], 0.05), None),
    "half of that of a tree": (
        "lipschitz",
        HalfLipschitzTree(TREE.process, TREE.preference, TREE.reference, TAU),
        None,
    ),
    "Lipschitz constant understated": ("lipschitz", UnderstatedLipschitz(P, MU, TAU), None),
    "negative gap": (
        "gap-not-negative",
        REGULAR,
        judging(REGULAR, lambda found: scaled(found, -1.0)),
    ),
    "gap of one player": ("gap-by-responses", REGULAR, judging(REGULAR, lambda c: scaled(c, 0.5))),
    "half the gap": ("no-better-deviation", HARD, judging(HARD, lambda found: scaled(found, 0.5))),
    "a witness that stays": (
        "witness",
        REGULAR,
        judging(REGULAR, lambda found: replace(found, witness=REGULAR.start())),
    ),
    "a judge without precision": ("settles", REGULAR, judging(REGULAR, vague)),
}


@pytest.mark.parametrize(("clause", "game", "judge"), GAME_CONTROLS.values(), ids=GAME_CONTROLS)
def test_control_a_wrong_game_is_caught_by_its_clause(clause, game, judge):
    with pytest.raises(ContractBroken) as caught:
        check_game(game, judge)
    assert caught.value.clause == clause


def test_a_game_of_approximate_steps_is_not_checked_but_one_that_denies_them_is_caught():
    arguments = (TREE.process, TREE.preference, TREE.reference, TAU)
    with pytest.raises(nlhf.NlhfError, match="approximate"):
        check_game(nlhf.TrajectoryGame(*arguments, realiser=TokenwiseMixture()))
    lying = nlhf.TrajectoryGame(*arguments)
    object.__setattr__(lying.spaces[0], "realiser", TokenwiseMixture())
    with pytest.raises(ContractBroken) as caught:
        check_game(lying)
    assert caught.value.clause == "no-payoff"


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_a_lipschitz_constant_is_refuted_if_and_only_if_it_is_wrong(n):
    """Half the range of what the responses earn against a pure one, at most."""
    generator = nlhf.Stream(5, ("lipschitz",)).generator()
    matrix = random_preference(generator, n)

    class Stated(nlhf.PreferenceGame):
        lipschitz = 1.0001 * float(np.ptp(matrix, axis=0).max()) / 2.0

    check_game(Stated(matrix, temperature=TAU))
    Stated.lipschitz *= 0.95
    with pytest.raises(ContractBroken) as caught:
        check_game(Stated(matrix, temperature=TAU))
    assert caught.value.clause == "lipschitz"


def test_every_clause_of_games_has_a_control():
    assert {c.name for c in GAME_CLAUSES} == {clause for clause, *_ in GAME_CONTROLS.values()}


def test_the_error_is_an_assertion_and_can_be_pickled():
    with pytest.raises(AssertionError) as caught:
        check_space(Noisy(), *materials())
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.clause, again.instance) == (caught.value.clause, caught.value.instance)
    assert str(again) == str(caught.value)
    assert isinstance(again, nlhf.NlhfError)


def test_what_is_raised_inside_becomes_a_broken_clause():
    class Stuck(Wrong):
        def mixture(self, weighted):
            raise ZeroDivisionError("no mixture")

    with pytest.raises(ContractBroken, match="ZeroDivisionError: no mixture") as caught:
        check_space(Stuck(), *materials())
    assert caught.value.clause == "mixture-weights"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
