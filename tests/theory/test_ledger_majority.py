"""Tournaments against counts that combinatorics knows, and against the package's majority graph."""

from itertools import product

import numpy as np
import pytest
from nlhf_theory.majority import (
    ENUMERATED,
    NO_REWARD_NO_EQUILIBRIUM,
    Majority,
    from_pairs,
    has_pure_equilibrium,
    has_strict_cycle,
    has_weak_condorcet_winner,
    reward_exists,
    tournaments,
)

from nlhf.games.majority import majority_graph

CYCLE = from_pairs(3, (1, -1, 1))
LINE = from_pairs(3, (1, 1, 1))
WINNER_ABOVE_CYCLE = from_pairs(4, (1, 1, 1, 1, -1, 1))
TIED_CYCLE = from_pairs(3, (0, -1, 1))  # 1 ~ 2 ≻ 3 ≻ 1


@pytest.mark.parametrize(
    ("majority", "reward", "pure"),
    [
        (CYCLE, False, False),
        (LINE, True, True),
        (WINNER_ABOVE_CYCLE, False, True),
        (TIED_CYCLE, False, True),
        (from_pairs(2, (0,)), True, True),
        (Majority(((0,),)), True, True),
    ],
)
def test_known_instances(majority, reward, pure):
    assert reward_exists(majority) is reward
    assert has_strict_cycle(majority) is not reward
    assert has_pure_equilibrium(majority) is pure
    assert has_weak_condorcet_winner(majority) is pure


@pytest.mark.parametrize(("responses", "weak_orders"), [(1, 1), (2, 3), (3, 13), (4, 75)])
def test_weak_tournaments_with_a_reward_are_counted_by_the_ordered_bell_numbers(
    responses, weak_orders
):
    assert sum(map(reward_exists, tournaments(responses, (-1, 0, 1)))) == weak_orders


@pytest.mark.parametrize(("responses", "orders"), [(3, 6), (4, 24), (5, 120)])
def test_strict_tournaments_with_a_reward_are_the_orders(responses, orders):
    strict = tournaments(responses, (-1, 1))
    assert sum(map(reward_exists, strict)) == orders
    assert sum(not has_strict_cycle(majority) for majority in strict) == orders


@pytest.mark.parametrize("responses", [2, 3, 4, 5])
def test_strict_tournaments_with_a_winner_are_n_times_the_rest(responses):
    rest = (responses - 1) * (responses - 2) // 2
    found = sum(map(has_weak_condorcet_winner, tournaments(responses, (-1, 1))))
    assert found == responses * 2**rest


def test_the_enumeration_is_complete():
    assert len(ENUMERATED) == 1 + 3 + 27 + 729 + 1024 == len(set(ENUMERATED))


def test_the_claim_is_exact_on_all_of_them():
    for majority in ENUMERATED:
        margin = NO_REWARD_NO_EQUILIBRIUM.margin(majority)
        assert (margin.value, margin.rounding) == (0.0, 0.0)


def test_the_majority_graph_of_the_package_agrees():
    for majority in ENUMERATED[::7]:
        graph = majority_graph(0.5 + 0.25 * np.array(majority.margins, dtype=float))
        assert bool(graph.weak_condorcet_winners) is has_weak_condorcet_winner(majority)


def test_incomparable_responses_have_neither_a_cycle_nor_a_reward():
    incomparable = Majority(((0, -1), (-1, 0)))
    assert not NO_REWARD_NO_EQUILIBRIUM.satisfied(incomparable)
    assert NO_REWARD_NO_EQUILIBRIUM.violates_only("complementary", incomparable)
    assert NO_REWARD_NO_EQUILIBRIUM.margin(incomparable).violated


def test_pure_equilibria_by_bimatrix_enumeration():
    """Over all pairs of pure strategies: one exists iff a symmetric one does."""
    for signs in product((-1, 0, 1), repeat=3):
        m = np.array(from_pairs(3, signs).margins)
        saddle = any(
            m[a, b] == m[:, b].max() and m[a, b] == m[a].min() for a in range(3) for b in range(3)
        )
        assert saddle is has_pure_equilibrium(from_pairs(3, signs))
