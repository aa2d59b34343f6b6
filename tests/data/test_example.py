from collections import Counter

import pytest

from nlhf.data import example_votes, read_votes, win_counts, write_example
from nlhf.errors import NotAllowed


@pytest.fixture
def counts(tmp_path):
    write_example(tmp_path / "votes.csv")
    return {c.prompt: c for c in win_counts(read_votes(tmp_path / "votes.csv"))}


def margin(counts, first, second):
    i, j = counts.responses.index(first), counts.responses.index(second)
    return int(counts.wins[i, j] - counts.wins[j, i])


def test_every_annotator_votes_once_on_every_pair(tmp_path):
    write_example(tmp_path / "votes.csv")
    votes = read_votes(tmp_path / "votes.csv")
    assert len(votes.annotators) == 20
    pairs = zip(votes.prompt, votes.response_a, votes.response_b, votes.annotator, strict=True)
    assert set(Counter((p, min(a, b), max(a, b), k) for p, a, b, k in pairs).values()) == {1}
    assert len(votes) == 300


def test_the_first_prompt_has_a_condorcet_winner(counts):
    tides = counts["explain-the-tides"]
    others = [name for name in tides.responses if name != "analogy"]
    assert all(margin(tides, "analogy", name) > 0 for name in others)


def test_the_second_prompt_has_a_majority_cycle_at_the_top(counts):
    toast = counts["wedding-toast"]
    cycle = ["short", "witty", "heartfelt"]
    for winner, loser in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        assert margin(toast, winner, loser) > 0
        assert margin(toast, winner, "formal") > 0


def test_the_third_prompt_is_nearly_indifferent(counts):
    cat = counts["name-for-a-cat"]
    assert abs(cat.wins - cat.wins.T).max() <= 6


def test_writing_twice_is_harmless_and_other_files_are_never_replaced(tmp_path):
    path = tmp_path / "votes.csv"
    write_example(path)
    write_example(path)
    assert path.read_text() == example_votes()
    path.write_text("mine")
    with pytest.raises(NotAllowed, match="not the example"):
        write_example(path)
    assert path.read_text() == "mine"
    with pytest.raises(NotAllowed, match="cannot be written"):
        write_example(tmp_path / "absent" / "votes.csv")
