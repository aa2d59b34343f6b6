import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import write_json, write_nfg, write_npz
from nlhf.errors import InvalidData


def parse_nfg(text):
    """Read the payoff version of Gambit's strategic games, as its documentation describes it."""
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[{}]|[^\s{}"]+', text)

    def label(token):
        assert token[0] == token[-1] == '"'
        return token[1:-1].replace('\\"', '"')

    assert tokens[:3] == ["NFG", "1", "R"]
    title, rest = label(tokens[3]), tokens[4:]
    end = rest.index("}")
    players, rest = [label(t) for t in rest[1:end]], rest[end + 1 :]
    assert rest.pop(0) == "{"
    strategies = []
    for _ in players:
        end = rest.index("}")
        strategies.append([label(t) for t in rest[1:end]])
        rest = rest[end + 1 :]
    assert rest.pop(0) == "}"
    label(rest.pop(0))
    sizes = [len(names) for names in strategies]
    assert not any("e" in token.lower() for token in rest)
    payoffs = np.array([float(token) for token in rest])
    # The first player's strategy runs fastest; both payoffs stand at each profile.
    table = payoffs.reshape(*reversed(sizes), 2).transpose(1, 0, 2)
    return title, strategies, table


@st.composite
def games(draw):
    n = draw(st.integers(1, 5))
    numbers = st.floats(1e-6, 1)
    upper = np.triu(
        np.array(draw(st.lists(numbers, min_size=n * n, max_size=n * n))).reshape(n, n), 1
    )
    preference = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)
    mass = np.array(draw(st.lists(st.floats(1e-9, 1), min_size=n, max_size=n)))
    return preference, mass / mass.sum(), draw(st.floats(1e-3, 10))


@given(games(), st.integers(0, 2**32 - 1))
def test_the_logit_response_of_the_nfg_game_is_the_regularised_best_response(
    tmp_path_factory, game, seed
):
    preference, reference, temperature = game
    path = tmp_path_factory.getbasetemp() / "game.nfg"
    write_nfg(path, preference, reference=reference, temperature=temperature)
    _, _, table = parse_nfg(path.read_text())
    opponent = np.random.default_rng(seed).dirichlet(np.ones(len(reference)))
    logits = table[:, :, 0] @ opponent / temperature
    response = np.exp(logits - logits.max())
    tilt = np.log(reference) + preference @ opponent / temperature
    expected = np.exp(tilt - tilt.max())
    np.testing.assert_allclose(
        response / response.sum(), expected / expected.sum(), rtol=1e-9, atol=1e-12
    )


@given(games())
def test_the_nfg_game_is_zero_sum_and_symmetric(tmp_path_factory, game):
    preference, reference, temperature = game
    path = tmp_path_factory.getbasetemp() / "game.nfg"
    write_nfg(path, preference, reference=reference, temperature=temperature)
    table = parse_nfg(path.read_text())[2]
    assert np.array_equal(table[:, :, 0], -table[:, :, 1])
    scale = 1 + temperature * np.abs(np.log(reference)).max()
    np.testing.assert_allclose(table[:, :, 0], table[:, :, 1].T, atol=1e-15 * scale, rtol=0)


def test_without_temperature_the_payoff_is_the_centred_preference_bit_by_bit(tmp_path):
    preference = np.array([[0.5, 1 / 3, 1e-300], [2 / 3, 0.5, 0.1], [1.0, 0.9, 0.5]])
    names = ['say "hi"', "é", "x y"]
    write_nfg(
        tmp_path / "g.nfg",
        preference,
        reference=np.full(3, 1 / 3),
        temperature=0.0,
        responses=names,
        title="three",
    )
    title, strategies, table = parse_nfg((tmp_path / "g.nfg").read_text(encoding="utf-8"))
    assert title == "three"
    assert strategies == [names, names]
    assert np.array_equal(table[:, :, 0], preference - 0.5)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"reference": np.array([1.0, 0.0])}, "smallest entry 0"),
        ({"temperature": -1.0}, "temperature -1"),
        ({"temperature": np.nan}, "temperature nan"),
        ({"responses": ["x"]}, "1 names"),
        ({"responses": ["x", "back\\slash"]}, "backslash"),
        ({"responses": ["x", "two\nlines"]}, "control character"),
        ({"preference": np.array([[0.5, np.nan], [0.0, 0.5]])}, "finite"),
        ({"preference": np.full((3, 3), 0.5)}, r"shape \(3, 3\)"),
    ],
)
def test_what_nfg_cannot_express_is_refused(tmp_path, change, fragment):
    sound = {"preference": np.full((2, 2), 0.5), "reference": np.full(2, 0.5), "temperature": 0.1}
    with pytest.raises(InvalidData, match=fragment):
        write_nfg(tmp_path / "g.nfg", **(sound | change))


def stacks():
    return games().flatmap(
        lambda g: st.sampled_from([g, (np.stack([g[0]] * 2), np.stack([g[1]] * 2), g[2])])
    )


@given(stacks())
def test_npz_and_json_give_back_every_bit(tmp_path_factory, game):
    preference, reference, temperature = game
    arrays = {"preference": preference, "reference": reference, "policy": reference[..., ::-1]}
    folder = tmp_path_factory.getbasetemp()
    write_npz(folder / "game.npz", **arrays, temperature=temperature)
    write_json(folder / "game.json", **arrays, temperature=temperature)
    loaded = np.load(folder / "game.npz")
    parsed = json.loads((folder / "game.json").read_text())
    assert set(loaded) == set(parsed) == {*arrays, "temperature"}
    for name, array in (arrays | {"temperature": np.float64(temperature)}).items():
        assert np.array_equal(loaded[name], array)
        assert np.array_equal(np.array(parsed[name]), array)


def test_json_refuses_numbers_it_cannot_write(tmp_path):
    nan = np.array([[0.5, np.nan], [np.nan, 0.5]])
    half = np.full(2, 0.5)
    with pytest.raises(InvalidData, match="preference has an entry"):
        write_json(
            tmp_path / "g.json", preference=nan, reference=half, policy=half, temperature=1.0
        )
    assert not (tmp_path / "g.json").exists()
