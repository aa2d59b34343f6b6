import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import WinCounts, read_votes, votes_from_columns, win_counts
from nlhf.errors import InvalidData

FLIPPED = {"a": "b", "b": "a", "tie": "tie"}
records = st.lists(
    st.tuples(
        st.sampled_from("pqr"),
        st.sampled_from("uvwxyz"),
        st.sampled_from("uvwxyz"),
        st.sampled_from(["a", "b", "tie"]),
    ).filter(lambda r: r[1] != r[2]),
    min_size=1,
    max_size=40,
)


def counted(rows):
    return win_counts(votes_from_columns(*zip(*rows, strict=True)))


@given(records)
def test_counting_agrees_with_counting_by_hand(rows):
    for counts in counted(rows):
        for i, x in enumerate(counts.responses):
            for j, y in enumerate(counts.responses):
                mine = [r for r in rows if r[0] == counts.prompt]
                won = sum(r[1:] in [(x, y, "a"), (y, x, "b")] for r in mine)
                tied = sum(r[1:] in [(x, y, "tie"), (y, x, "tie")] for r in mine)
                assert (counts.wins[i, j], counts.ties[i, j]) == (won, tied)


@given(records)
def test_every_vote_is_counted_exactly_once(rows):
    assert sum(int(counts.compared.sum()) for counts in counted(rows)) == 2 * len(rows)


@given(records, st.randoms(use_true_random=False))
def test_showing_a_pair_the_other_way_round_changes_no_count(rows, random):
    swapped = [
        (p, y, x, FLIPPED[k]) if random.random() < 0.5 else (p, x, y, k) for p, x, y, k in rows
    ]
    for before, after in zip(counted(rows), counted(swapped), strict=True):
        order = [after.responses.index(name) for name in before.responses]
        assert np.array_equal(before.wins, after.wins[np.ix_(order, order)])
        assert np.array_equal(before.ties, after.ties[np.ix_(order, order)])


@pytest.mark.parametrize(
    ("wins", "ties", "fragment"),
    [
        ([[0, -1], [0, 0]], [[0, 0], [0, 0]], r"wins\[0, 1\] = -1 .*negative"),
        ([[0, 1], [0, 2]], [[0, 0], [0, 0]], r"wins\[1, 1\] = 2 .*itself"),
        ([[0, 1], [0, 0]], [[0, 1], [2, 0]], r"ties\[0, 1\] = 1 .*symmetric"),
        ([[0, 1], [0, 0]], [[1, 0], [0, 0]], r"ties\[0, 0\] = 1 .*itself"),
    ],
)
def test_impossible_counts_are_refused_with_the_entry(wins, ties, fragment):
    with pytest.raises(InvalidData, match=fragment):
        WinCounts("p", ("x", "y"), np.array(wins), np.array(ties))


def test_counts_need_as_many_rows_as_responses():
    with pytest.raises(InvalidData, match="3 responses"):
        WinCounts("p", ("x", "y", "z"), np.zeros((2, 2), int), np.zeros((2, 2), int))


def test_every_convarg_vote_is_counted(real_data):
    votes = read_votes(real_data / "convarg" / "votes.csv")
    counts = win_counts(votes)
    assert sum(int(c.wins.sum()) for c in counts) == int((votes.label != 0).sum())
    assert sum(int(c.ties.sum()) for c in counts) == 2 * int((votes.label == 0).sum())
    assert all((c.compared > 0).sum() == len(c.responses) * (len(c.responses) - 1) for c in counts)
