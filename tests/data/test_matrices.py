import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nlhf.data import read_preferences, read_win_counts
from nlhf.errors import InvalidData

P = np.array([[0.5, 0.7, 0.2], [0.3, 0.5, 0.6], [0.8, 0.4, 0.5]])
W = np.array([[0, 3, 1], [2, 0, 5], [0, 0, 0]])


@st.composite
def preferences(draw):
    n = draw(st.integers(1, 5))
    upper = np.triu(draw(arrays(float, (n, n), elements=st.floats(0, 1))), 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)


def write_csv(path, matrix, header=None, labels=None):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if header is not None:
            writer.writerow(header)
        for k, row in enumerate(matrix.tolist()):
            writer.writerow([*([] if labels is None else [labels[k]]), *map(repr, row)])
    return path


@given(preferences(), st.sampled_from(["plain", "header", "both"]))
def test_preferences_survive_a_csv_file_bit_by_bit(tmp_path_factory, matrix, layout):
    names = [f"r{k}" for k in range(len(matrix))]
    header = {"plain": None, "header": names, "both": ["", *names]}[layout]
    path = tmp_path_factory.getbasetemp() / "matrix.csv"
    write_csv(path, matrix, header, names if layout == "both" else None)
    found = read_preferences(path)
    assert np.array_equal(found.preference, matrix[None])
    assert found.prompts == ("matrix",)
    expected = [str(k) for k in range(len(matrix))] if layout == "plain" else names
    assert found.responses == (tuple(expected),)


@given(st.lists(preferences().filter(lambda p: len(p) == 3), min_size=1, max_size=3), st.booleans())
def test_preferences_survive_an_npy_file_in_either_memory_order(tmp_path_factory, batch, fortran):
    stack = np.stack(batch)
    path = tmp_path_factory.getbasetemp() / "matrix.npy"
    np.save(path, np.asfortranarray(stack) if fortran else stack)
    found = read_preferences(path)
    assert np.array_equal(found.preference, stack)
    assert len(found.prompts) == len(found.responses) == len(batch)
    assert len(set(found.prompts)) == len(batch)


def test_win_counts_are_read_from_csv_and_from_npy_of_any_real_type(tmp_path):
    for dtype in ("<i8", ">i4", "u1", "<f4", ">f8"):
        np.save(tmp_path / "wins.npy", W.astype(dtype))
        (counts,) = read_win_counts(tmp_path / "wins.npy")
        assert np.array_equal(counts.wins, W)
        assert counts.wins.dtype == np.int64
    (counts,) = read_win_counts(write_csv(tmp_path / "wins.csv", W))
    assert np.array_equal(counts.wins, W)
    assert not counts.ties.any()


def test_one_response_is_a_matrix_too(tmp_path):
    (tmp_path / "one.csv").write_text("0.5\n")
    assert read_preferences(tmp_path / "one.csv").preference.tolist() == [[[0.5]]]
    np.save(tmp_path / "one.npy", [[0]])
    assert read_win_counts(tmp_path / "one.npy")[0].responses == ("0",)


def changed(i, j, value):
    matrix = P.copy()
    matrix[i, j] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "fragments"),
    [
        (changed(0, 1, np.nan), ["row '0', column '1' holds nan", "not a number"]),
        (changed(2, 1, np.inf), ["row '2', column '1' holds inf"]),
        (changed(1, 2, 1.5), ["row '1', column '2' holds 1.5", "[0, 1]"]),
        (changed(1, 2, -0.1), ["row '1', column '2' holds -0.1"]),
        (changed(1, 1, 0.0), ["row '1', column '1' holds 0", "1/2"]),
        (changed(0, 2, 0.3), ["row '0', column '2'", "+0.1", "1e-09", "1 such pairs"]),
        (changed(0, 2, 0.2 + 3e-9), ["row '0', column '2'", "+3e-09"]),
    ],
)
def test_a_wrong_entry_of_preferences_is_named(tmp_path, matrix, fragments):
    for path in (tmp_path / "p.npy", write_csv(tmp_path / "p.csv", matrix)):
        np.save(tmp_path / "p.npy", matrix)
        with pytest.raises(InvalidData) as caught:
            read_preferences(path)
        for fragment in [str(path), *fragments]:
            assert fragment in str(caught.value)


def test_rounding_within_the_tolerance_is_accepted_and_returned_as_it_is(tmp_path):
    np.save(tmp_path / "p.npy", changed(0, 2, 0.2 + 5e-10))
    assert read_preferences(tmp_path / "p.npy").preference[0, 0, 2] == 0.2 + 5e-10


@pytest.mark.parametrize(
    ("matrix", "fragment"),
    [
        ([[0, -1], [1, 0]], "holds -1: negative"),
        ([[0, 0.5], [1, 0]], "holds 0.5: not an exact"),
        ([[0, 2.0**53], [1, 0]], "not an exact"),
        ([[0, np.nan], [1, 0]], "holds nan"),
        ([[7, 1], [1, 0]], "holds 7: a win against itself"),
    ],
)
def test_a_wrong_entry_of_win_counts_is_named(tmp_path, matrix, fragment):
    np.save(tmp_path / "w.npy", matrix)
    with pytest.raises(InvalidData, match=fragment):
        read_win_counts(tmp_path / "w.npy")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("", "empty"),
        ("\n\n", "not a square"),
        ("0.5,0.5\n", "not a square"),
        ("0.5,0.5\n0.5\n", "line 2: 1 fields"),
        ("a,b\n0.5,0.7\n0.3,x\n", "line 3, column 'b': 'x' is not a number"),
        ("a,a\n0.5,0.7\n0.3,0.5\n", "label 'a' occurs twice"),
        (",a,b\na,0.5,0.7\nc,0.3,0.5\n", "line 3: labelled 'c'"),
        ('0.5,"0.7\n0.3,0.5\n', "unexpected end"),
        (",a,b\n", "not a square"),
    ],
)
def test_a_csv_file_that_is_no_matrix_is_refused(tmp_path, content, fragment):
    path = tmp_path / "p.csv"
    path.write_text(content)
    with pytest.raises(InvalidData, match=fragment):
        read_preferences(path)


def test_npy_files_that_are_no_real_matrices_are_refused(tmp_path):
    path = tmp_path / "p.npy"
    for array, fragment in [
        (np.zeros(3), "shape"),
        (np.zeros((2, 3)), "shape"),
        (np.zeros((0, 0)), "shape"),
        (np.zeros((2, 2), complex), "type complex128"),
        (np.array([["a"]]), "type <U1"),
    ]:
        np.save(path, array)
        with pytest.raises(InvalidData, match=fragment):
            read_preferences(path)
    np.save(path, np.array([[{}]]), allow_pickle=True)
    with pytest.raises(InvalidData, match="type object"):
        read_preferences(path)


def test_a_cut_npy_file_is_refused_with_the_missing_bytes(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, P)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(InvalidData, match=r"64 bytes of entries where shape \(3, 3\).* need 72"):
        read_preferences(path)
    path.write_bytes(whole[:20])
    with pytest.raises(InvalidData, match=r"not a \.npy file"):
        read_preferences(path)


def test_a_huge_shape_in_the_header_allocates_nothing(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, P)
    path.write_bytes(path.read_bytes().replace(b"(3, 3)", b"(99999999, 99999999)", 1))
    with pytest.raises(InvalidData):
        read_preferences(path)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InvalidData, match=r"suffix '\.txt'"):
        read_win_counts(tmp_path / "wins.txt")


def test_the_caller_may_say_how_a_file_is_written(tmp_path):
    write_csv(tmp_path / "wins.txt", W)
    assert np.array_equal(read_win_counts(tmp_path / "wins.txt", container="csv")[0].wins, W)
    with open(tmp_path / "p.dat", "wb") as file:
        np.save(file, P)
    assert np.array_equal(read_preferences(tmp_path / "p.dat", container="npy").preference[0], P)
    with pytest.raises(InvalidData, match=r"container 'xls'.*\n.*keyword container: 'csv' or"):
        read_win_counts(tmp_path / "wins.txt", container="xls")


def test_a_line_of_data_is_not_taken_for_labels(tmp_path):
    path = tmp_path / "wins.csv"
    path.write_text("7,2\n0,3\n5,0\n")
    with pytest.raises(InvalidData, match="line 1: 3 lines of 2 numbers"):
        read_win_counts(path)
    for labels in (("0", "1"), ("1", "2"), ("a", "7")):
        path.write_text(",".join(labels) + "\n0,3\n5,0\n")
        assert read_win_counts(path)[0].responses == labels


def test_rounding_of_float32_is_named(tmp_path):
    # 0.2 and 0.8 rounded to 24 bits are off by 3e-9 and 1.2e-8, in the same direction.
    np.save(tmp_path / "p.npy", P.astype(np.float32))
    with pytest.raises(InvalidData, match="float32"):
        read_preferences(tmp_path / "p.npy")
