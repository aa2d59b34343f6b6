"""Controls: an algorithm or a realiser that breaks one clause is caught, and by that clause."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.published import Extragradient, MirrorDescent, NashMD, OptimisticMirrorDescent
from nlhf.algorithms.rates import LinearRate
from nlhf.errors import ContractBroken, HypothesisViolated
from nlhf.numerics import log_normalise
from nlhf.protocols import Prox
from nlhf.results import Bound, Units
from nlhf.spaces.anchors import total_strength
from nlhf.spaces.simplex import Simplex
from nlhf.testing import (
    ALGORITHM_CLAUSES,
    REALISER_CLAUSES,
    Claim,
    SameGame,
    check_algorithm,
    check_realiser,
    processes,
    same_game,
    settings,
)

INNER = MirrorDescent()
SETTINGS = tuple(s for s in settings() if s.name in ("bandit", "zero-sum", "token tree"))
ALIKE = (same_game(0.05),)


class Wrong:
    """Mirror descent, of which subclasses break one thing."""

    keeps_equilibrium: ClassVar[bool] = True

    def init(self, game, start):
        return INNER.init(game, start)

    def step(self, game, state, stream):
        return INNER.step(game, state, stream)

    def profile(self, state):
        return INNER.profile(state)


class Undecided(Wrong):
    keeps_equilibrium = "perhaps"


class NamesASpace(Wrong):
    def step(self, game, state, stream):
        for space in game.spaces:
            if not isinstance(space, Simplex):
                raise TypeError(f"{type(space).__name__} is not a Simplex")
        return super().step(game, state, stream)


class RefusesEverything(Wrong):
    def init(self, game, start):
        raise HypothesisViolated("no game is good enough", "there is nothing to be done")


class ProposesAPolicy(Wrong):
    def profile(self, state):
        return super().profile(state)[0]


class ProposesNonsense(Wrong):
    def profile(self, state):
        return tuple(
            nlhf.Policy(np.full_like(p.log_probabilities, -1.0)) for p in super().profile(state)
        )


class Counts(Wrong):
    """The method itself remembers how often it has stepped, over all runs."""

    def __init__(self):
        self.steps = 0

    def step(self, game, state, stream):
        self.steps += 1
        current = self.profile(state)
        moved = game.prox(game.operator(current, stream), [(current, 1.0 + self.steps)])
        return replace(state, current=moved)


class RemembersTheCentre(Wrong):
    """The state of a run lies in the method; a new run clears it."""

    def init(self, game, start):
        self.centre = start
        return start

    def step(self, game, state, stream):
        seen = game.operator(state, stream)
        self.centre = game.prox(seen, [(self.centre, 2.0)])
        return game.prox(seen, [(self.centre, 2.0)])

    def profile(self, state):
        return state


class OverwritesItsState(Wrong):
    def init(self, game, start):
        return [super().init(game, start)]

    def step(self, game, state, stream):
        state[0] = super().step(game, state[0], stream)
        return state

    def profile(self, state):
        return super().profile(state[0])


class HidesAFunction(Wrong):
    def init(self, game, start):
        inner = super().init(game, start)
        return lambda: inner

    def step(self, game, state, stream):
        inner = super().step(game, state(), stream)
        return lambda: inner

    def profile(self, state):
        return super().profile(state())


class ClaimsTooMuch(Wrong):
    def init(self, game, start):
        return NashMD(textbook_step=0.2).init(game, start)

    def step(self, game, state, stream):
        return NashMD(textbook_step=0.2).step(game, state, stream)

    def profile(self, state):
        return NashMD().profile(state)


class NeverMoves(Wrong):
    """It keeps the equilibrium, of course, and promises more than anybody."""

    def step(self, game, state, stream):
        return state

    def rate(self, game):
        return LinearRate(0.01, 1.0, 1e-9)


class PromisesTooMuch(Wrong):
    """Ten times the rate that is proven."""

    def rate(self, game):
        proven = INNER.rate(game)
        return replace(proven, contraction=proven.contraction**10)


class AveragesArrays(Wrong):
    """Peeks into policies: the mean of probabilities at every prefix mixes no sequences."""

    def init(self, game, start):
        inner = super().init(game, start)
        return inner, start

    def step(self, game, state, stream):
        inner = super().step(game, state[0], stream)
        mean = tuple(
            nlhf.Policy(log_normalise(np.logaddexp(a.log_probabilities, b.log_probabilities)))
            for a, b in zip(state[1], super().profile(inner), strict=True)
        )
        return inner, mean

    def profile(self, state):
        return state[1]


ALGORITHM_CONTROLS = {
    Undecided: "attributes",
    NamesASpace: "runs",
    RefusesEverything: "runs",
    ProposesAPolicy: "profiles",
    ProposesNonsense: "profiles",
    Counts: "reproducible",
    RemembersTheCentre: "no-hidden-state",
    OverwritesItsState: "state-kept",
    HidesAFunction: "resumes",
    ClaimsTooMuch: "keeps-equilibrium",
    NeverMoves: "linear-rate",
    PromisesTooMuch: "linear-rate",
    AveragesArrays: "same-iterates",
}


def test_the_algorithm_that_is_made_wrong_is_right():
    check_algorithm(Wrong(), SETTINGS, ALIKE)


@pytest.mark.parametrize(("method", "clause"), ALGORITHM_CONTROLS.items(), ids=lambda x: str(x))
def test_control_a_wrong_algorithm_is_caught_by_its_clause(method, clause):
    with pytest.raises(ContractBroken) as caught:
        check_algorithm(method(), SETTINGS, ALIKE)
    assert caught.value.clause == clause


def test_where_no_rate_is_promised_and_no_equilibrium_known_is_noted():
    tree = next(s for s in SETTINGS if s.name == "token tree")
    rough = nlhf.TrajectoryGame(
        tree.game.process,
        tree.game.preference,
        tree.game.reference,
        tree.game.temperature,
        realiser=nlhf.PolicyMirrorDescent(),
    )
    chosen = (*SETTINGS, replace(tree, name="rough", game=rough))
    report = check_algorithm(MirrorDescent(5.0, unproven=True), chosen, ())
    notes = "\n".join(report.notes)
    assert "linear-rate: no equilibrium known in rough" in notes
    assert "no rate is promised in bandit: " in notes
    assert not report.finding("linear-rate").measured
    assert report.finding("keeps-equilibrium").measured == len(SETTINGS)


def test_every_clause_of_algorithms_has_a_control():
    assert {c.name for c in ALGORITHM_CLAUSES} == set(ALGORITHM_CONTROLS.values())


@pytest.mark.parametrize("method", [MirrorDescent(), Extragradient(), OptimisticMirrorDescent()])
def test_control_a_wrong_realiser_is_caught_by_the_same_iterates_alone(method):
    """It converges smoothly, and every other clause is content: to something else."""
    game = same_game(0.05)
    bandit, tree, *_ = game.views
    wrong = nlhf.TrajectoryGame(
        tree.game.process,
        tree.game.preference,
        tree.game.reference,
        tree.game.temperature,
        realiser=nlhf.TokenwiseMixture(),
    )
    told = SameGame("renormalised token by token", (bandit, replace(tree, game=wrong)))
    with pytest.raises(ContractBroken) as caught:
        check_algorithm(method, (), (told,))
    assert caught.value.clause == "same-iterates"


def test_a_method_may_not_refuse_one_game_in_one_setting_only():
    class Picky(Wrong):
        def init(self, game, start):
            if isinstance(game, nlhf.MarkovGame):
                raise HypothesisViolated("no processes", "pass a tree")
            return super().init(game, start)

    with pytest.raises(ContractBroken, match="deterministic MDP only") as caught:
        check_algorithm(Picky(), SETTINGS, ALIKE)
    assert caught.value.clause == "same-iterates"


def exact(process, payoff, anchors):
    return nlhf.SoftBellman().realise(process, payoff, anchors)


class Unchecked:
    def realise(self, process, payoff, anchors):
        return exact(process, payoff, [(p, abs(s)) for p, s in anchors])


class Unnormalised:
    def realise(self, process, payoff, anchors):
        return nlhf.Policy(exact(process, payoff, anchors).log_probabilities + 0.1)


class Noisy:
    def realise(self, process, payoff, anchors):
        logs = exact(process, payoff, anchors).log_probabilities
        noise = np.random.default_rng().normal(scale=1e-3, size=logs.shape)
        return nlhf.Policy(log_normalise(logs + noise))


class HiddenAnchor:
    def realise(self, process, payoff, anchors):
        total_strength([s for _, s in anchors])
        uniform = nlhf.Policy(np.full(process.shape, -np.log(process.shape[-1])))
        return exact(process, payoff, [*anchors, (uniform, 0.1)])


class SquaredStrengths:
    def realise(self, process, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        return exact(process, payoff, [(p, s * s / total) for p, s in anchors])


class CountsZeros:
    def realise(self, process, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        return exact(process, payoff, [(p, s or 0.01 * total) for p, s in anchors])


class ExponentsForStrengths:
    def realise(self, process, payoff, anchors):
        total = total_strength([s for _, s in anchors])
        return exact(process, None if payoff is None else payoff * total, anchors)


class SeesTheLevel:
    def realise(self, process, payoff, anchors):
        if payoff is not None:
            payoff = payoff * (payoff.leaves.mean() / payoff.size.max())
        return exact(process, payoff, anchors)


class FirstAnchorWithoutPayoff:
    """Nash-MD's half step is lost."""

    def realise(self, process, payoff, anchors):
        found = exact(process, payoff, anchors)
        return found if payoff is not None else next(p for p, s in anchors if s > 0.0)


class Stays:
    def realise(self, process, payoff, anchors):
        found = exact(process, payoff, anchors)
        return anchors[0][0] if len(anchors) > 1 else found


class FloorsLogProbabilities:
    def realise(self, process, payoff, anchors):
        floored = [(nlhf.Policy(np.maximum(p.log_probabilities, -25.0)), s) for p, s in anchors]
        return exact(process, payoff, floored)


REALISER_CONTROLS = {
    Unchecked: ("strengths-checked", Claim.APPROXIMATE),
    Unnormalised: ("policies", Claim.APPROXIMATE),
    Noisy: ("reproducible", Claim.APPROXIMATE),
    HiddenAnchor: ("anchor-alone", Claim.APPROXIMATE),
    SquaredStrengths: ("split-anchor", Claim.APPROXIMATE),
    CountsZeros: ("zero-strength", Claim.APPROXIMATE),
    ExponentsForStrengths: ("joint-scaling", Claim.APPROXIMATE),
    SeesTheLevel: ("constant-shift", Claim.APPROXIMATE),
    FirstAnchorWithoutPayoff: ("no-payoff", Claim.EXACT),
    nlhf.TokenwiseMixture: ("fixed-points", Claim.FIXED_POINTS),
    Stays: ("other-fixed-points", Claim.FIXED_POINTS),
    FloorsLogProbabilities: ("exact", Claim.EXACT),
    nlhf.PolicyMirrorDescent: ("exact", Claim.EXACT),
}


@pytest.mark.parametrize(("realiser", "expected"), REALISER_CONTROLS.items(), ids=lambda x: str(x))
def test_control_a_wrong_realiser_is_caught_by_its_clause(realiser, expected):
    clause, claim = expected
    with pytest.raises(ContractBroken) as caught:
        check_realiser(realiser(), claim, processes()[:1])
    assert caught.value.clause == clause


def test_control_a_residual_that_is_not_reported_is_caught(monkeypatch):
    def silent(realiser, process, payoff, anchors, weights):
        return Prox(realiser.realise(process, payoff, anchors), Bound.exact(0.0, Units.NATS))

    monkeypatch.setattr("nlhf.spaces.sequential.realised", silent)
    check_realiser(nlhf.SoftBellman(), Claim.EXACT)
    for realiser in (nlhf.TokenwiseMixture(), nlhf.PolicyMirrorDescent()):
        with pytest.raises(ContractBroken) as caught:
            check_realiser(realiser, Claim.APPROXIMATE)
        assert caught.value.clause == "residual"


def test_a_subclass_of_the_exact_realiser_has_its_residual_measured():
    class Tokens(nlhf.SoftBellman):
        def realise(self, process, payoff, anchors):
            return nlhf.TokenwiseMixture().realise(process, payoff, anchors)

    report = check_realiser(Tokens(), Claim.APPROXIMATE)
    residual = next(note for note in report.notes if note.startswith("residual"))
    assert residual == next(
        note
        for note in check_realiser(nlhf.TokenwiseMixture(), Claim.APPROXIMATE).notes
        if note.startswith("residual")
    )
    assert "largest is 0 nats" not in residual


def test_every_clause_of_realisers_has_a_control():
    caught = {clause for clause, _ in REALISER_CONTROLS.values()}
    assert {c.name for c in REALISER_CLAUSES} == caught | {"residual"}
