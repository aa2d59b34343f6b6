from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import read_preflib
from nlhf.errors import InvalidData


def preflib(size, orders, voters=None):
    lines = [f"# NUMBER ALTERNATIVES: {size}"]
    lines.append(f"# NUMBER VOTERS: {sum(m for m, _ in orders) if voters is None else voters}")
    lines.append(f"# NUMBER UNIQUE ORDERS: {len(orders)}")
    lines += [f"# ALTERNATIVE NAME {k}: candidate {k}" for k in range(1, size + 1)]
    for multiplicity, order in orders:
        groups = [str(g[0]) if len(g) == 1 else "{" + ",".join(map(str, g)) + "}" for g in order]
        lines.append(f"{multiplicity}: {','.join(groups)}")
    return "\n".join(lines) + "\n"


VALID = preflib(3, [(3, [(1,), (2,), (3,)]), (2, [(2,), (3,), (1,)]), (1, [(3,), (1,), (2,)])])


@st.composite
def profiles(draw):
    """Weak orders of a part of the alternatives, with multiplicities; no order twice."""
    size = draw(st.integers(1, 5))
    orders = {}
    for _ in range(draw(st.integers(1, 6))):
        ranked = draw(st.permutations(range(1, size + 1)))[: draw(st.integers(1, size))]
        cuts = draw(st.lists(st.booleans(), min_size=len(ranked) - 1, max_size=len(ranked) - 1))
        groups = [[ranked[0]]]
        for cut, alternative in zip(cuts, ranked[1:], strict=True):
            if cut:
                groups.append([alternative])
            else:
                groups[-1].append(alternative)
        orders[tuple(tuple(sorted(group)) for group in groups)] = draw(st.integers(1, 50))
    return size, [(multiplicity, order) for order, multiplicity in orders.items()]


def by_hand(size, orders):
    wins, ties = np.zeros((2, size, size), dtype=int)
    for multiplicity, order in orders:
        place = {k: place for place, group in enumerate(order) for k in group}
        for i, j in combinations(sorted(place), 2):
            if place[i] == place[j]:
                ties[i - 1, j - 1] += multiplicity
                ties[j - 1, i - 1] += multiplicity
            else:
                high, low = (i, j) if place[i] < place[j] else (j, i)
                wins[high - 1, low - 1] += multiplicity
    return wins, ties


@given(profiles())
def test_counts_agree_with_counting_by_hand_and_with_preflibtools(tmp_path_factory, profile):
    instances = pytest.importorskip("preflibtools.instances")
    size, orders = profile
    path = tmp_path_factory.getbasetemp() / "profile.toi"
    path.write_text(preflib(size, orders))
    (counts,) = read_preflib(path)
    theirs = instances.OrdinalInstance(str(path))
    read = [(theirs.multiplicity[order], order) for order in theirs.orders]
    for expected in (by_hand(size, orders), by_hand(theirs.num_alternatives, read)):
        assert np.array_equal(counts.wins, expected[0])
        assert np.array_equal(counts.ties, expected[1])
    assert counts.responses == tuple(theirs.alternatives_name.values())


@given(profiles())
def test_a_complete_strict_order_compares_every_pair(tmp_path_factory, profile):
    size, orders = profile
    strict = [(m, [(k,) for group in order for k in group]) for m, order in orders]
    complete = [(m, o) for m, o in strict if len(o) == size]
    if complete:
        path = tmp_path_factory.getbasetemp() / "profile.soc"
        path.write_text(preflib(size, complete))
        (counts,) = read_preflib(path)
        voters = sum(m for m, _ in complete)
        assert np.array_equal(counts.compared, voters * (1 - np.eye(size, dtype=int)))


def test_an_alternative_left_out_is_not_compared(tmp_path):
    (tmp_path / "left.soi").write_text(preflib(3, [(4, [(1,), (2,)])]))
    (counts,) = read_preflib(tmp_path / "left.soi")
    assert counts.compared.tolist() == [[0, 4, 0], [4, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("content", "suffix", "fragments"),
    [
        (VALID.replace("2: 2,3,1", "2: 2,x,1"), ".soc", ["line 8", "not an order"]),
        (VALID.replace("2: 2,3,1", "2: 2,2,1"), ".soc", ["line 8", "alternative 2", "2 times"]),
        (VALID.replace("2: 2,3,1", "2: 2,3,9"), ".soc", ["line 8", "alternative 9"]),
        (VALID.replace("2: 2,3,1", "2: 2,3"), ".soc", ["line 8", "2 of 3", "strict and complete"]),
        (VALID.replace("2: 2,3,1", "2: {2,3},1"), ".soc", ["line 8", "tie"]),
        (VALID.replace("2: 2,3,1", "2: {2,3},1"), ".soi", ["line 8", "tie"]),
        (VALID.replace("2: 2,3,1", "2: {2,3}"), ".toc", ["line 8", "2 of 3"]),
        (VALID.replace("2: 2,3,1", "2: {2,3,1"), ".toi", ["line 8", "not an order"]),
        (VALID.replace("2: 2,3,1", "-2: 2,3,1"), ".soc", ["line 8", "not an order"]),
        (VALID.replace("2: 2,3,1", "0: 2,3,1"), ".soc", ["line 8", "positive multiplicity"]),
        (VALID[:-12], ".soc", ["line 8", "2 of 3", "cut"]),
        (VALID[:-9], ".soc", ["5 voters", "header says 6"]),
        (VALID[:-15], ".soc", ["line 8", "not an order"]),
        (VALID.split("3: 1")[0], ".soc", ["0 voters"]),
        (VALID.replace("S: 3", "S: three"), ".soc", ["line 1", "'three'"]),
        (VALID.replace("# NUMBER ALT", "# "), ".soc", ["NUMBER ALTERNATIVES"]),
        (VALID.replace("NAME 3", "NAME 4"), ".soc", ["3 names", "1 to 3"]),
        (VALID.replace("date 3", "date 2"), ".soc", ["line 6", "'candidate 2'"]),
        ("3\n1,A\n2,B\n3,C\n6,6,3\n3,1,2,3\n", ".soc", ["present format"]),
        (VALID, ".cat", ["suffix '.cat'"]),
        ("", ".soc", ["empty"]),
    ],
)
def test_a_file_that_preflibtools_would_misread_is_refused(tmp_path, content, suffix, fragments):
    path = tmp_path / f"profile{suffix}"
    path.write_text(content)
    with pytest.raises(InvalidData) as caught:
        read_preflib(path)
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)


def test_an_order_listed_twice_loses_no_voter(tmp_path):
    path = tmp_path / "twice.soc"
    path.write_text(preflib(2, [(3, [(1,), (2,)]), (4, [(1,), (2,)])]))
    assert read_preflib(path)[0].wins[0, 1] == 7


def test_the_caller_may_say_of_which_type_a_file_is(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text(preflib(2, [(3, [(1,), (2,)])]))
    assert read_preflib(path, container="soc")[0].wins[0, 1] == 3
    with pytest.raises(InvalidData, match="container"):
        read_preflib(path)
