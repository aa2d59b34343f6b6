"""What `solve` and `certify` say of arguments of a wrong kind."""

import numpy as np
import pytest

import nlhf
from tests.unchecked import raised

SETTING = "p = np.full((2, 2), 0.5); game = nlhf.PreferenceGame(p, temperature=0.1)"
CALLS = {
    "nlhf.solve(p)": "the game is array",
    "nlhf.solve(p, nlhf.Extragradient())": "the game is array",
    "nlhf.solve(nlhf.PreferenceGame)": "the game is the class PreferenceGame",
    "nlhf.solve(game, 'egpo')": "the algorithm is 'egpo'",
    "nlhf.solve(game, nlhf.Extragradient)": "the algorithm is the class Extragradient",
    "nlhf.solve(game, nlhf.Extragradient(), stop=1e-8)": "stop is 1e-08",
    "nlhf.solve(game, nlhf.Extragradient(), stream=3)": "stream is 3",
    "nlhf.solve(game, nlhf.Extragradient(), observe=3)": "observe is 3",
    "nlhf.solve(game, nlhf.Extragradient(), checkpoint=3)": "checkpoint is 3",
    "nlhf.certify(p, p[0])": "not a game",
    "nlhf.certify(None, p[0])": "not a game",
    "nlhf.exploitability(nlhf.PreferenceGame, p[0])": "not a game",
}


def test_an_argument_of_a_wrong_kind_is_named() -> None:
    for call, (kind, message) in raised(SETTING, CALLS).items():
        assert kind == "Unsupported", call
        assert CALLS[call] in message
        assert "Fix: " in message


@pytest.mark.parametrize("kind", [str, nlhf.Checkpoint])
def test_a_path_is_a_checkpoint(tmp_path, kind) -> None:
    game = nlhf.PreferenceGame(np.array([[0.5, 0.9], [0.1, 0.5]]), temperature=0.1)
    first = nlhf.solve(game, nlhf.Extragradient(), checkpoint=kind(tmp_path / "run"))
    again = nlhf.solve(game, nlhf.Extragradient(), checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(first.policy, again.policy)
    assert again.trace.rows[0].seconds == first.trace.rows[0].seconds
