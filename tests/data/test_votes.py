import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import Votes, read_votes, votes_from_columns, votes_from_frame
from nlhf.data.records import ANONYMOUS
from nlhf.errors import Degenerate, InvalidData

HEADER = ["prompt_id", "response_a", "response_b", "annotator", "label"]
TABLE = """prompt_id,response_a,response_b,annotator,label
p,x,y,ann,a
p,y,z,bob,tie
q,x,w,ann,b
p,x,y,ann,a
"""

identifiers = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
identifiers = identifiers.filter(str.strip)
records = st.lists(
    st.tuples(
        identifiers, identifiers, identifiers, identifiers, st.sampled_from(["a", "b", "tie"])
    ).filter(lambda r: r[1] != r[2]),
    min_size=1,
    max_size=12,
)


def spelled(votes: Votes) -> list[tuple[str, str, str, str, str]]:
    """Write votes out again as the records they were made of."""
    names = {1: "a", -1: "b", 0: "tie"}
    return [
        (
            votes.prompts[p],
            votes.responses[p][a],
            votes.responses[p][b],
            votes.annotators[k],
            names[int(label)],
        )
        for p, a, b, k, label in zip(
            votes.prompt,
            votes.response_a,
            votes.response_b,
            votes.annotator,
            votes.label,
            strict=True,
        )
    ]


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "votes.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
@given(records, st.permutations(HEADER), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_csv_file_gives_back_every_record_in_any_column_order(
    tmp_path_factory, rows, order, end, marked
):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["ignored", *order])
    for row in rows:
        record = dict(zip(HEADER, row, strict=True))
        writer.writerow(["…", *(record[column] for column in order)])
    path = tmp_path_factory.getbasetemp() / "property.csv"
    path.write_bytes(("\ufeff" if marked else "").encode() + text.getvalue().encode())
    assert spelled(read_votes(path)) == rows


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
@given(records)
def test_ids_are_numbered_by_first_appearance_within_their_prompt(rows):
    votes = votes_from_columns(*(list(c) for c in _columns(rows)))
    assert votes.prompts == tuple(dict.fromkeys(row[0] for row in rows))
    for prompt, responses in zip(votes.prompts, votes.responses, strict=True):
        mine = [name for row in rows if row[0] == prompt for name in row[1:3]]
        assert responses == tuple(dict.fromkeys(mine))


def _columns(rows):
    prompt, a, b, annotator, label = zip(*rows, strict=True)
    return prompt, a, b, label, annotator


def test_the_same_table_as_file_columns_pandas_and_polars_gives_the_same_votes(write):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    path = write(TABLE)
    expected = spelled(read_votes(path))
    assert spelled(votes_from_columns(*_columns(expected))) == expected
    for frame in (pandas.read_csv(path), polars.read_csv(path)):
        assert spelled(votes_from_frame(frame)) == expected
    categories = pandas.read_csv(path, dtype="category")
    assert spelled(votes_from_frame(categories)) == expected


def test_integer_ids_of_a_frame_equal_their_decimal_text_in_a_file(write):
    polars = pytest.importorskip("polars")
    path = write("prompt_id,response_a,response_b,label\n1,10,20,a\n1,20,30,b\n")
    assert spelled(votes_from_frame(polars.read_csv(path))) == spelled(read_votes(path))


def test_votes_without_annotators_have_one_anonymous_annotator(write):
    votes = read_votes(write("prompt_id,response_a,response_b,label\np,x,y,a\np,x,y,b\n"))
    assert votes.annotators == (ANONYMOUS,)
    assert votes.annotator.tolist() == [0, 0]


def test_identical_votes_are_kept(write):
    votes = read_votes(write(TABLE))
    assert len(votes) == 4
    assert spelled(votes)[0] == spelled(votes)[3]


def test_a_response_id_under_two_prompts_is_two_responses(write):
    votes = read_votes(write(TABLE))
    assert votes.responses == (("x", "y", "z"), ("x", "w"))


def test_the_arrays_of_votes_cannot_be_changed(write):
    votes = read_votes(write(TABLE))
    with pytest.raises(ValueError, match="read-only"):
        votes.label[0] = 0


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("", ["empty"]),
        ("\n\r\n\n", ["blank lines"]),
        ("prompt_id,response_a,response_b,label\n", ["no votes below the header"]),
        ("prompt_id,response_a,label\np,x,a\n", ["no column response_b", "'response_a'"]),
        ("prompt_id;response_a;response_b;label\np;x;y;a\n", ["no column", "separated by commas"]),
        (TABLE.replace("annotator", "label"), ["more than one column 'label'"]),
        (TABLE.replace("tie", "Tie").replace("ann,b", "ann,2"), ["line 3", "'Tie'", "2 such of 4"]),
        (TABLE.replace("q,x,w", "q,x,x"), ["line 4", "'x'", "itself", "1 such of 4"]),
        (TABLE.replace("bob", " "), ["line 3", "annotator", "blank"]),
        (TABLE.replace("p,y", ",y"), ["line 3", "prompt_id", "blank"]),
        (TABLE.replace("y,z", "y,"), ["line 3", "response_b", "blank"]),
        (TABLE.replace("q,x,w", "q,x,w,v"), ["line 4", "6 fields instead of 5"]),
        (TABLE.replace("q,x,w", "q,x"), ["line 4", "4 fields instead of 5"]),
        (TABLE[:-5], ["line 5", "cut"]),
        (TABLE + 'p,"x', ["line 6", "unexpected end of data"]),
        (TABLE + 'p,"x"y,z,ann,a\n', ["line 6", "double quote"]),
        (TABLE.encode() + b"p,caf\xe9,y,ann,a\n", ["0xe9", f"byte {len(TABLE) + 5}", "line 6"]),
        (TABLE.encode("utf-16"), ["UTF-16"]),
        (TABLE.replace("bob", "b\0b"), ["NUL", "line 3"]),
        ('"' + "x" * 200_000, ["record from line 1", "unexpected end of data"]),
    ],
)
def test_a_bad_file_is_refused_with_its_name_the_place_and_a_fix(write, content, fragments):
    path = write(content)
    with pytest.raises(InvalidData) as caught:
        read_votes(path)
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)
    assert caught.value.fix


def test_lines_are_counted_with_blank_lines_and_line_breaks_in_fields(write):
    content = TABLE + '\n"p\nwith a break",x,y,ann,a\n\np,x,y,ann,maybe\n'
    with pytest.raises(InvalidData, match="line 10: label 'maybe'"):
        read_votes(write(content))


def test_a_missing_file_and_a_directory_are_invalid_data(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv", "nul\0in-name"):
        with pytest.raises(InvalidData, match="cannot be read"):
            read_votes(path)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InvalidData, match="different lengths"):
        votes_from_columns(["p"], ["x"], ["y"], ["a", "b"])


def test_no_votes_in_memory_are_refused():
    with pytest.raises(InvalidData, match="no votes"):
        votes_from_columns([], [], [], [])


def test_missing_values_of_a_frame_are_named_by_row_and_column():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    table = {"prompt_id": ["p", "p"], "response_a": ["x", None], "response_b": ["y", "z"]}
    table["label"] = ["a", "b"]
    for frame in (pandas.DataFrame(table), polars.DataFrame(table)):
        with pytest.raises(InvalidData, match=r"row 1 .*response_a is"):
            votes_from_frame(frame)


def test_things_that_are_no_frames_are_refused():
    polars = pytest.importorskip("polars")
    for thing in (polars.LazyFrame({"label": ["a"]}), [1, 2], None):
        with pytest.raises(InvalidData, match="not a data frame"):
            votes_from_frame(thing)


def test_a_lone_surrogate_in_an_id_is_refused():
    with pytest.raises(InvalidData, match=r"row 1 .*response_b.*Unicode"):
        votes_from_columns(["p", "p"], ["x", "x"], ["y", "\ud800"], ["a", "a"])


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"prompt": np.array([0, 2])}, "prompt out of range"),
        ({"prompt": np.array([0, -1])}, "prompt out of range"),
        ({"response_a": np.array([0, 3])}, "response_a out of range"),
        ({"annotator": np.array([0, 1])}, "annotator out of range"),
        ({"response_a": np.array([0, 1])}, "itself"),
        ({"label": np.array([1, 2], dtype=np.int8)}, "label"),
        ({"label": np.array([1], dtype=np.int8)}, "lengths"),
        ({"responses": (("x", "y"),)}, "prompts"),
    ],
)
def test_inconsistent_arrays_are_no_votes(unchecked_types, change, fragment):
    sound = {
        "prompts": ("p", "q"),
        "responses": (("x", "y"), ("x", "y", "z")),
        "annotators": ("ann",),
        "prompt": np.array([0, 1]),
        "response_a": np.array([0, 2]),
        "response_b": np.array([1, 1]),
        "annotator": np.array([0, 0]),
        "label": np.array([1, 0], dtype=np.int8),
    }
    Votes(**sound)
    with pytest.raises(InvalidData, match=fragment):
        Votes(**(sound | change))


def test_convarg_is_read_as_its_description_says(real_data):
    votes = read_votes(real_data / "convarg" / "votes.csv")
    assert (len(votes), len(votes.prompts)) == (44_375, 16)
    with open(real_data / "convarg" / "votes.csv", newline="", encoding="utf-8") as file:
        rows = [tuple(row[column] for column in HEADER) for row in csv.DictReader(file)]
    assert spelled(votes) == rows
    with open(real_data / "convarg" / "responses.csv", newline="", encoding="utf-8") as file:
        described = {(row["prompt_id"], row["response_id"]) for row in csv.DictReader(file)}
    voted = {(p, r) for p, ids in zip(votes.prompts, votes.responses, strict=True) for r in ids}
    assert voted == described


def test_votes_in_parquet_are_those_in_csv(write, tmp_path):
    polars = pytest.importorskip("polars")
    path = write(TABLE)
    polars.read_csv(path).write_parquet(tmp_path / "votes.parquet")
    polars.read_csv(path).write_parquet(tmp_path / "votes")
    assert spelled(read_votes(tmp_path / "votes.parquet")) == spelled(read_votes(path))
    assert spelled(read_votes(tmp_path / "votes", container="parquet")) == spelled(read_votes(path))
    polars.read_csv(path).drop("label").write_parquet(tmp_path / "votes.parquet")
    with pytest.raises(InvalidData, match="no column label"):
        read_votes(tmp_path / "votes.parquet")


def test_a_long_response_is_read(write):
    long = "x" * 200_000
    votes = read_votes(write(f"prompt_id,response_a,response_b,label\np,{long},y,a\n"))
    assert votes.responses == ((long, "y"),)
    assert csv.field_size_limit() < len(long)


def test_ids_that_differ_by_blanks_are_warned_of_once():
    with pytest.warns(Degenerate, match=r"responses 'y' and ' y'.*\(2 such\)") as caught:
        votes = votes_from_columns(["p", "p"], ["x", "x "], ["y", " y"], ["a", "a"])
    assert len(caught) == 1
    assert len(votes.responses[0]) == 4
