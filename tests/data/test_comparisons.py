import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.data import read_comparisons
from nlhf.errors import InvalidData

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
rows = st.lists(
    st.fixed_dictionaries({"prompt": texts, "chosen": texts, "rejected": texts}).filter(
        lambda row: row["chosen"] != row["rejected"]
    ),
    min_size=1,
    max_size=8,
)


def spelled(votes):
    assert (votes.label == 1).all()
    return [
        {
            "prompt": votes.prompts[p],
            "chosen": votes.responses[p][a],
            "rejected": votes.responses[p][b],
        }
        for p, a, b in zip(votes.prompt, votes.response_a, votes.response_b, strict=True)
    ]


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
@given(rows, st.booleans())
def test_json_lines_give_back_every_comparison(tmp_path_factory, table, ascii_only):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in table]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    assert spelled(read_comparisons(path)) == table


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
@given(rows)
def test_parquet_gives_back_every_comparison(tmp_path_factory, table):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path_factory.getbasetemp() / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(table), path)
    assert spelled(read_comparisons(path)) == table


def conversation(*contents):
    roles = ["user", "assistant"] * len(contents)
    return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]


def test_conversations_are_equal_whatever_the_order_of_their_keys_and_the_file_format(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {"prompt": conversation("hi"), "chosen": conversation("a"), "rejected": conversation("é")}
    turned = {key: [dict(reversed(m.items())) for m in value] for key, value in row.items()}
    lines = tmp_path / "rows.jsonl"
    lines.write_text(json.dumps(row) + "\n" + json.dumps(turned) + "\n")
    table = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([row, row]), table)
    for votes in (read_comparisons(lines), read_comparisons(table)):
        (prompt,) = votes.prompts
        assert json.loads(prompt) == row["prompt"]
        assert [json.loads(r) for r in votes.responses[0]] == [row["chosen"], row["rejected"]]
    assert read_comparisons(lines).responses == read_comparisons(table).responses


def test_groups_are_annotators(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "p", "chosen": "x", "rejected": "y"}
    path.write_text("\n".join(json.dumps(row | {"group": g}) for g in ["young", 7, "young"]))
    votes = read_comparisons(path)
    assert votes.annotators == ("young", "7")
    assert votes.annotator.tolist() == [0, 1, 0]


GOOD = '{"prompt": "p", "chosen": "x", "rejected": "y"}\n'


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("", ["empty"]),
        ("\n \n", ["no comparisons"]),
        (GOOD + "\n" + GOOD[:-9], ["line 3", "not JSON", "cut"]),
        (GOOD + "[1]\n", ["line 2", "not an object"]),
        (GOOD + GOOD.replace("chosen", "preferred"), ["line 2", "no chosen", "'preferred'"]),
        (GOOD + GOOD.replace('"x"', "null"), ["line 2", "no chosen"]),
        (GOOD + GOOD.replace('"x"', "3"), ["line 2", "chosen is 3"]),
        (GOOD + GOOD.replace('"x"', "[]"), ["line 2", "chosen is []"]),
        (GOOD + GOOD.replace('"x"', '[{"role": "user"}]'), ["line 2", "list of messages"]),
        (GOOD + GOOD.replace('"x"', '" "'), ["line 2", "blank"]),
        (GOOD + GOOD.replace('"x"', '"y"'), ["line 2", "itself"]),
        (GOOD + GOOD.replace('"x"', r'"\ud800"'), ["line 2", "Unicode"]),
        (GOOD + GOOD.replace("}", ', "group": "g"}'), ["line 1", "no group", "1 of 2"]),
        (GOOD.replace("}", ', "group": [1]}'), ["line 1", "group is [1]"]),
        ("[" * 100_000, ["line 1", "not JSON"]),
        ("9" * 10_000, ["line 1", "not JSON"]),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, fragments):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(InvalidData) as caught:
        read_comparisons(path)
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)


def test_a_bad_parquet_file_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InvalidData, match="not a readable Parquet file"):
        read_comparisons(path)
    parquet.write_table(pyarrow.table({"prompt": ["p"], "chosen": ["x"]}), path)
    with pytest.raises(InvalidData, match=r"row 0 .*no rejected"):
        read_comparisons(path)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InvalidData, match=r"suffix '\.json'"):
        read_comparisons(tmp_path / "rows.json")


@pytest.mark.parametrize(("name", "size"), [("natural", 100), ("mtbench", 200)])
def test_llmbar_is_read_line_by_line(real_data, name, size):
    path = real_data / "llmbar" / f"{name}.jsonl"
    with open(path, encoding="utf-8") as file:
        table = [json.loads(line) for line in file]
    assert len(table) == size
    fields = ("prompt", "chosen", "rejected")
    expected = [{field: row[field] for field in fields} for row in table]
    assert spelled(read_comparisons(path)) == expected


def test_the_caller_may_say_how_a_file_is_written(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('{"prompt": "p", "chosen": "x", "rejected": "y"}\n')
    assert read_comparisons(path, container="jsonl").responses == (("x", "y"),)
    with pytest.raises(InvalidData, match="keyword container: 'jsonl' or 'parquet'"):
        read_comparisons(path)
