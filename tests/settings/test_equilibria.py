"""Exact equilibria of every setting, and the methods that keep them."""

import numpy as np
import pytest

import nlhf
from nlhf.algorithms.published import Average, NashMD, ProximalPoint
from nlhf.testing import settings
from nlhf.testing.algorithms import distance
from tests.settings.methods import METHODS

SETTINGS = {setting.name: setting for setting in settings()}


@pytest.fixture(scope="module")
def exact():
    return {name: nlhf.solve(s.game).require(gap=1e-12).profile for name, s in SETTINGS.items()}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("method", [m for m in METHODS if m.keeps_equilibrium], ids=repr)
def test_the_exact_equilibrium_is_a_fixed_point(method, name, exact):
    game = SETTINGS[name].game
    state = method.init(game, exact[name])
    for t in range(5):
        state = method.step(game, state, nlhf.Stream(0).child("step", t))
    assert distance(game, method.profile(state), exact[name]) < 1e-9


@pytest.mark.parametrize("name", SETTINGS)
def test_constant_step_nash_md_settles_beside_the_equilibrium(name, exact):
    """Mixing with the reference leaves a bias of exploitability at most m²/(32 τ³), m = sτ."""
    game, step = SETTINGS[name].game, 0.5
    method = NashMD(textbook_step=step)
    state = method.init(game, exact[name])
    for t in range(300):
        before = method.profile(state)
        state = method.step(game, state, nlhf.Stream(0).child("step", t))
    settled = method.profile(state)
    assert distance(game, settled, before) < 0.01 * distance(game, settled, exact[name])
    gap = nlhf.certify(game, settled).bound
    assert gap.low > 1e-9
    if game.lipschitz <= 0.5:
        (tau,) = game.temperatures
        assert gap.high <= 2 * (step * tau) ** 2 / (32 * tau**3)


@pytest.mark.parametrize("outer", [Average, ProximalPoint])
def test_what_wraps_a_method_keeps_the_equilibrium_only_if_the_method_does(outer):
    setting = SETTINGS["bandit"]
    exact = nlhf.solve(setting.game).profile
    method = outer(NashMD(textbook_step=0.2))
    state = method.init(setting.game, exact)
    for t in range(5):
        state = method.step(setting.game, state, nlhf.Stream(0).child("step", t))
    strays = distance(setting.game, method.profile(state), exact) > 1e-9
    assert strays == (not method.keeps_equilibrium)


def test_settings_differ_in_kind_and_none_has_a_uniform_reference():
    kinds = {type(s.game) for s in SETTINGS.values()}
    assert len(kinds) == 5
    for setting in SETTINGS.values():
        assert min(setting.game.temperatures) > 0.0
        for reference in setting.game.references:
            assert np.ptp(reference.probabilities) > 0.1
