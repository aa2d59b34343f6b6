"""Whatever the bytes, a reader returns data or raises InvalidData, and nothing else."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import (
    example_votes,
    read_comparisons,
    read_preferences,
    read_preflib,
    read_votes,
    read_win_counts,
)
from nlhf.errors import InvalidData

P = np.array([[0.5, 0.7, 0.2], [0.3, 0.5, 0.6], [0.8, 0.4, 0.5]])
SOC = b"""# NUMBER ALTERNATIVES: 3
# NUMBER VOTERS: 6
# NUMBER UNIQUE ORDERS: 2
# ALTERNATIVE NAME 1: A
# ALTERNATIVE NAME 2: B
# ALTERNATIVE NAME 3: C
4: 1,{2,3}
2: {2,3},1
"""
JSONL = (
    b'{"prompt": "p", "chosen": "x", "rejected": "y", "group": "g"}\n'
    b'{"prompt": [{"role": "user", "content": "q"}], "chosen": "x", "rejected": "z", "group": 1}\n'
)


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def parquet_bytes():
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"prompt": "p", "chosen": f"x{k}", "rejected": "y"} for k in range(4)]
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


pytestmark = pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")

READERS = {
    "votes.csv": (read_votes, lambda: example_votes().encode()[:1500].rpartition(b"\n")[0]),
    "preferences.csv": (read_preferences, lambda: b",x,y\nx,0.5,0.7\ny,0.3,0.5\n"),
    "preferences.npy": (read_preferences, lambda: saved(P)),
    "wins.csv": (read_win_counts, lambda: b"0,3\n4,0\n"),
    "wins.npy": (read_win_counts, lambda: saved(np.array([[[0, 3], [4, 0]]]))),
    "orders.toc": (read_preflib, lambda: SOC),
    "rows.jsonl": (read_comparisons, lambda: JSONL),
    "rows.parquet": (read_comparisons, parquet_bytes),
}
CONFUSING = [b"", b"\0", b'"', b"\r", b"\xff", b"\xef\xbb\xbf", b"-1", b"nan", b"{", b"\n", b","]
CONFUSING += [
    b',"',
    b'\n"',
    b"9" * 5000,
    b"[" * 3000,
    b"1e999",
    b"\xe2\x80\xa8",
    b"\\ud800",
    b"tie",
    b"True",
]

changes = st.tuples(
    st.floats(0, 1), st.integers(0, 8), st.sampled_from(CONFUSING) | st.binary(max_size=6)
)


def mutated(content, edits):
    for place, removed, inserted in edits:
        at = int(place * len(content))
        content = content[:at] + inserted + content[at + removed :]
    return content


def read(folder, name, content):
    reader = READERS[name][0]
    path = folder / name
    path.write_bytes(content)
    try:
        reader(path)
    except InvalidData as error:
        refusal = error
    else:
        return
    assert str(path) in refusal.found
    assert refusal.fix


@pytest.mark.parametrize("name", READERS)
def test_the_unchanged_file_is_read(tmp_path, name):
    reader, content = READERS[name]
    (tmp_path / name).write_bytes(content())
    reader(tmp_path / name)


@pytest.mark.parametrize("name", READERS)
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(tmp_path_factory, name, content):
    READERS[name][1]()  # skips where the library that reads the format is not installed
    read(tmp_path_factory.getbasetemp(), name, content)


@pytest.mark.parametrize("name", READERS)
@given(edits=st.lists(changes, min_size=1, max_size=4))
def test_a_changed_file_is_read_or_refused(tmp_path_factory, name, edits):
    read(tmp_path_factory.getbasetemp(), name, mutated(READERS[name][1](), edits))


@pytest.mark.parametrize("name", READERS)
@given(place=st.floats(0, 1))
def test_a_cut_file_is_read_or_refused(tmp_path_factory, name, place):
    content = READERS[name][1]()
    read(tmp_path_factory.getbasetemp(), name, content[: int(place * len(content))])
