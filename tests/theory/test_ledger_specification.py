"""The ledger against the list of statements it was written from, where that list is at hand."""

import os
import re
from pathlib import Path

import nlhf_theory
import pytest

OURS = {theorem.key: str(theorem.expected) for theorem in nlhf_theory.ALL}
DIFFERENT = {difference.key: difference for difference in nlhf_theory.DIFFERENCES}


def asked(text: str) -> dict[str, str]:
    """The expected verdict of every key; a row may have several keys, perhaps a rider on one."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not line.startswith("|") or cells[0] == "key" or set(cells[0]) <= {"-"}:
            continue
        for key, number in re.findall(r"([\w-]+)(?: \((T\d+)\))?", cells[0]):
            assert key not in found, f"{key} is asked for twice"
            found[key] = re.sub(rf"; (?!{number} )T\d+ .*", "", cells[-1])
    return found


def plain(verdict: str) -> str:
    """The verdict alone, without what it rests on; '' where a case of it is not settled."""
    word = re.match(r"holds|refuted|open", verdict)
    settled = not re.search(r"; .*(open|argued)", verdict)
    return word.group() if word and settled else ""


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    folder = os.environ.get("NLHF_TEST_DATA")
    path = Path(folder or ".").parent / "spec" / "theorems.md"
    if not folder or not path.exists():
        pytest.skip("the list of statements is not at hand (NLHF_TEST_DATA)")
    return asked(path.read_text())


def test_rows_of_several_keys_are_read():
    text = (
        "| key | claim | expected |\n|---|---|---|\n| a (T1), b-c (T2) | \\|x\\| <= 1 | holds |\n"
    )
    assert asked(text) == {"a": "holds", "b-c": "holds"}
    assert [plain(v) for v in ("holds, exact", "refuted (x)", "open", "holds; x: open", "?")] == [
        "holds",
        "refuted",
        "open",
        "",
        "",
    ]


def test_every_row_is_a_theorem_of_the_expected_verdict_or_a_reasoned_difference(rows):
    assert len(rows) > 60
    for key, verdict in rows.items():
        assert key in OURS, f"there is no theorem {key}"
        if OURS[key] != plain(verdict):
            assert key in DIFFERENT, f"{key} is asked to be {verdict!r}, and is {OURS[key]}"


def test_every_difference_is_one(rows):
    for key, difference in DIFFERENT.items():
        assert difference.asked == rows[key]
        other = [k for k in difference.ours if k not in rows]
        assert other or OURS[key] != plain(difference.asked), f"{key} does not differ"


def test_every_further_theorem_belongs_to_a_row(rows):
    further = set(OURS) - set(rows)
    explained = {k for difference in DIFFERENT.values() for k in difference.ours}
    assert further <= explained, "statements that nobody asked for, and no reason"


def test_differences_name_theorems_and_reasons():
    assert len(DIFFERENT) == len(nlhf_theory.DIFFERENCES)
    for difference in DIFFERENT.values():
        assert difference.key in difference.ours
        assert set(difference.ours) <= set(OURS)
        assert len(difference.reason) > 20
