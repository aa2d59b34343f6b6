from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import read_votes, win_counts
from nlhf.errors import InvalidProblem
from nlhf.estimation import estimate_preferences
from nlhf.games.majority import majority_graph


@st.composite
def preferences(draw, most=6, values=(0.0, 0.3, 0.5, 0.8, 1.0, np.nan)):
    n = draw(st.integers(1, most))
    p = np.full((n, n), 0.5)
    for i, j in combinations(range(n), 2):
        p[i, j] = draw(st.sampled_from(values))
        p[j, i] = 1 - p[i, j]
    return p


def beaten_by_all(p, inside):
    outside = [j for j in range(len(p)) if j not in inside]
    return all(p[i, j] > 0.5 for i in inside for j in outside)


@given(preferences())
def test_the_smith_set_is_the_smallest_set_that_beats_everyone_outside(p):
    sizes = range(1, len(p) + 1)
    sets = (s for size in sizes for s in combinations(range(len(p)), size))
    assert majority_graph(p).smith_set == next(s for s in sets if beaten_by_all(p, s))


@given(preferences())
def test_the_components_beat_the_later_ones_and_cannot_be_split(p):
    parts = majority_graph(p).components
    assert sorted(k for part in parts for k in part) == list(range(len(p)))
    for rank, part in enumerate(parts):
        later = [k for other in parts[rank + 1 :] for k in other]
        assert all(p[i, j] > 0.5 for i in part for j in later)
        among = p[np.ix_(part, part)]
        proper = (s for m in range(1, len(part)) for s in combinations(range(len(part)), m))
        assert not any(beaten_by_all(among, s) for s in proper)


@given(preferences())
def test_condorcet_winners_are_those_of_the_definition(p):
    graph, n = majority_graph(p), len(p)
    strict = [i for i in range(n) if all(p[i, j] > 0.5 for j in range(n) if j != i)]
    weak = [i for i in range(n) if all(p[i, j] >= 0.5 for j in range(n) if j != i)]
    assert graph.condorcet_winners == tuple(strict)
    assert graph.weak_condorcet_winners == tuple(weak)
    assert (len(graph.smith_set) == 1) == bool(strict)


@given(preferences())
def test_three_cycles_are_counted_as_by_looking_at_every_triple(p):
    found = sum(
        p[i, j] > 0.5 and p[j, k] > 0.5 and p[k, i] > 0.5
        for triple in combinations(range(len(p)), 3)
        for i, j, k in (triple, triple[::-1])
    )
    assert majority_graph(p).three_cycles == found


@given(preferences())
def test_the_cycle_is_a_shortest_one_in_the_smith_set(p):
    graph = majority_graph(p)
    lengths = (
        size
        for size in range(3, len(graph.smith_set) + 1)
        for walk in permutations(graph.smith_set, size)
        if all(p[i, j] > 0.5 for i, j in zip(walk, (*walk[1:], walk[0]), strict=True))
    )
    assert len(graph.cycle) == next(lengths, 0)
    assert set(graph.cycle) <= set(graph.smith_set)
    assert len(set(graph.cycle)) == len(graph.cycle)
    for i, j in zip(graph.cycle, (*graph.cycle[1:], *graph.cycle[:1]), strict=True):
        assert p[i, j] > 0.5


@given(preferences(values=(0.2, 0.9)))
def test_without_ties_a_smith_set_of_several_has_a_cycle_of_three(p):
    graph = majority_graph(p)
    assert len(graph.cycle) == (3 if len(graph.smith_set) > 1 else 0)
    losses = graph.beats.sum(axis=0)
    # In a tournament every triple is transitive or a cycle (Kendall and Babington Smith, 1940).
    transitive = (losses * (losses - 1) // 2).sum()
    assert graph.three_cycles == len(p) * (len(p) - 1) * (len(p) - 2) // 6 - transitive


@given(preferences(), st.randoms(use_true_random=False))
def test_renaming_responses_renames_the_structure(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    graph, turned = majority_graph(p), majority_graph(p[np.ix_(order, order)])
    assert turned.three_cycles == graph.three_cycles
    back = [tuple(sorted(order[k] for k in part)) for part in turned.components]
    assert tuple(back) == graph.components
    assert len(turned.cycle) == len(graph.cycle)


def ring(n):
    """Everyone beats the next one; all other pairs are tied."""
    p = np.full((n, n), 0.5)
    for i in range(n):
        p[i, (i + 1) % n], p[(i + 1) % n, i] = 0.6, 0.4
    return p


@pytest.mark.parametrize("n", [3, 5, 50])
def test_a_long_cycle_through_ties_is_found(n):
    graph = majority_graph(ring(n))
    assert sorted(graph.cycle) == list(range(n))
    assert graph.three_cycles == (n == 3)


def test_ties_alone_make_a_smith_set_without_a_cycle():
    p = np.full((3, 3), 0.5)
    p[0, 1], p[1, 0] = 0.9, 0.1
    graph = majority_graph(p)
    assert graph.smith_set == (0, 1, 2)
    assert graph.cycle == ()
    assert graph.condorcet_winners == ()
    assert graph.weak_condorcet_winners == (0, 2)


def test_an_unseen_pair_blocks_even_a_weak_condorcet_winner():
    p = np.array([[0.5, 0.9, np.nan], [0.1, 0.5, 0.4], [np.nan, 0.6, 0.5]])
    graph = majority_graph(p)
    assert graph.condorcet_winners == graph.weak_condorcet_winners == ()
    assert graph.smith_set == (0, 2)


def test_a_majority_is_beyond_the_tolerance():
    p = np.array([[0.5, 0.51], [0.49, 0.5]])
    assert majority_graph(p).condorcet_winners == (0,)
    assert majority_graph(p, tolerance=0.02).condorcet_winners == ()
    assert majority_graph(p, tolerance=0.02).weak_condorcet_winners == (0, 1)


def test_matrices_that_are_no_preferences_are_refused():
    both = np.full((2, 2), 0.7)
    for wrong, fragment in [
        (both, r"P\[0, 1\] = 0\.7 .*both above"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (np.zeros((0, 0)), r"shape \(0, 0\)"),
        (np.zeros(3), r"shape \(3,\)"),
    ]:
        with pytest.raises(InvalidProblem, match=fragment):
            majority_graph(wrong)
    with pytest.raises(InvalidProblem, match="tolerance -1"):
        majority_graph(np.full((1, 1), 0.5), tolerance=-1.0)


def test_every_convarg_prompt_has_the_cycles_that_its_description_reports(real_data):
    for data in win_counts(read_votes(real_data / "convarg" / "votes.csv")):
        graph = majority_graph(estimate_preferences(data).preference)
        assert 16 <= graph.three_cycles <= 397
        # The majority of votes, ties aside, is the majority of the shares, ties half.
        assert np.array_equal(graph.beats, data.wins > data.wins.T)
