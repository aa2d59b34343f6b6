"""Statements, proofs and references agree on keys, hypotheses, constants and sources."""

import re
from fractions import Fraction
from pathlib import Path

import nlhf_theory
import pytest

FOLDER = Path(nlhf_theory.__file__).parent
LINE = re.compile(r"^(Hypotheses|Constants|Sources): (.+)$", re.MULTILINE)


def sections() -> dict[str, str]:
    """Every `## key` section of every proof file."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.md")):
        for part in re.split(r"^## ", path.read_text(), flags=re.MULTILINE)[1:]:
            key, body = part.split("\n", 1)
            assert key not in found, f"{key} is proved twice"
            found[key] = body
    return found


def listed(body: str, what: str) -> list[str]:
    text = dict(LINE.findall(body))[what]
    return [] if text == "none" else [item.strip() for item in text.split(",")]


def bibliography() -> set[str]:
    return set(re.findall(r"^@\w+\{(\w+),", (FOLDER / "references.bib").read_text(), re.MULTILINE))


ALL = pytest.mark.parametrize("theorem", nlhf_theory.ALL, ids=lambda theorem: theorem.key)


def test_every_statement_has_a_proof_and_every_proof_a_statement():
    assert sorted(sections()) == sorted(theorem.key for theorem in nlhf_theory.ALL)


@ALL
def test_hypotheses_are_the_same(theorem):
    names = [hypothesis.name for hypothesis in theorem.hypotheses]
    assert listed(sections()[theorem.key], "Hypotheses") == names


@ALL
def test_constants_are_the_same(theorem):
    pairs = [item.split(" = ") for item in listed(sections()[theorem.key], "Constants")]
    stated = {name: float(Fraction(value)) for name, value in pairs}
    assert stated == dict(theorem.constants)


@ALL
def test_sources_are_the_same_and_in_the_bibliography(theorem):
    keys = [source.key for source in theorem.sources]
    assert listed(sections()[theorem.key], "Sources") == keys
    assert set(keys) <= bibliography()


def test_every_reference_is_cited():
    text = "".join(sections().values())
    assert {key for key in bibliography() if key not in text} == set()


@ALL
def test_mathematics_is_closed(theorem):
    assert sections()[theorem.key].count("$") % 2 == 0
    assert "*Proof.*" in sections()[theorem.key] or "*Counterexample.*" in sections()[theorem.key]
