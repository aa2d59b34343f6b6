"""The drawn instances are what their names say."""

import numpy as np
import pytest

from benchmarks.solvers.instances import (
    FAMILIES,
    NEAR_DETERMINISTIC,
    REFERENCES,
    SMALLEST_REFERENCE,
    low_rank,
)
from nlhf import PreferenceGame, Stream
from nlhf.games.majority import majority_graph


def drawn(family: str, contexts: int = 20, responses: int = 7) -> np.ndarray:
    rng = Stream(20).child(family).generator()
    return FAMILIES[family](rng, contexts, responses)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("responses", [1, 2, 3, 8])
def test_every_family_draws_preference_matrices(family: str, responses: int) -> None:
    p = drawn(family, 5, responses)
    assert p.shape == (5, responses, responses)
    assert p.min() >= 0
    assert p.max() <= 1
    np.testing.assert_allclose(p + np.swapaxes(p, 1, 2), 1.0, atol=1e-15)
    assert (np.diagonal(p, axis1=1, axis2=2) == 0.5).all()
    PreferenceGame(p)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "all_ties"])
def test_the_same_stream_draws_the_same_games_and_contexts_differ(family: str) -> None:
    p = drawn(family)
    np.testing.assert_array_equal(p, drawn(family))
    assert not np.array_equal(p[0], p[1])


def off_diagonal(p: np.ndarray) -> np.ndarray:
    return p[:, ~np.eye(p.shape[1], dtype=bool)]


def test_names_keep_their_promises() -> None:
    assert set(np.unique(off_diagonal(drawn("tournament")))) == {0.0, 1.0}
    assert set(np.unique(drawn("degenerate"))) == {0.0, 0.5, 1.0}
    assert (drawn("all_ties") == 0.5).all()
    near = off_diagonal(drawn("near_deterministic"))
    assert np.minimum(near, 1 - near).max() <= NEAR_DETERMINISTIC
    assert np.minimum(near, 1 - near).max() > 0
    for p in drawn("cycle"):
        assert not majority_graph(p).condorcet_winners
        assert len(majority_graph(p).smith_set) == 7
    for p in drawn("bradley_terry"):
        assert majority_graph(p).three_cycles == 0
    for p in drawn("degenerate"):
        assert len(np.unique(p, axis=0)) <= 4


@pytest.mark.parametrize("reference", REFERENCES)
def test_references_are_distributions_of_full_support(reference: str) -> None:
    rng = Stream(20).child(reference).generator()
    mu = REFERENCES[reference](rng, 50, 9)
    np.testing.assert_allclose(mu.sum(axis=1), 1.0, atol=1e-14)
    assert mu.min() > 0
    if reference == "tiny_reference":
        assert mu.min() == pytest.approx(SMALLEST_REFERENCE)


@pytest.mark.parametrize("responses", [50, 5000])
def test_low_rank_preferences_reach_their_bound_and_move_the_policy(responses: int) -> None:
    game = low_rank(Stream(20).child("low rank").generator(), responses, 8)
    margins = game.features[:50] @ game.skew @ game.features.T
    assert np.abs(margins).max() <= 0.5
    assert np.abs(margins).max() > 0.3
    # Were the mean payoff against the reference flat, the reference would be the answer.
    assert margins.mean(axis=1).std() > 0.03
