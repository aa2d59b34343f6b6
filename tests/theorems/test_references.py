"""Bibliographies are read as BibTeX means them."""

import pytest

from nlhf.errors import InvalidData
from nlhf.theorems import installed_references, installed_theorems
from nlhf.theorems.references import parse_references
from tests.theorems.announced import BIBLIOGRAPHY


def entry(fields: str) -> str:
    return f"@misc{{k,\n  {fields}\n}}"


WHOLE = "author = {A, B}, title = {T}, year = {1900},"


def test_accents_suffixes_and_special_characters():
    (found,) = parse_references(BIBLIOGRAPHY).values()
    assert found.people == ("Kurt Gödel", "Ann van der Toy Jr.")
    assert str(found) == (
        r"Kurt Gödel and Ann van der Toy Jr. (2026). On $\epsilon$-Toys & Games. Toys 7, 1–2."
    )


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("journal = {J}, volume = {3}, number = {4}", "T. J 3(4)."),
        ("booktitle = {B}, note = {arXiv:1.2}", "T. B; arXiv:1.2."),
        ("publisher = {P}", "T. P."),
        ("note = {N}", "T. N."),
        ("", "(1900). T."),
    ],
)
def test_the_place_of_every_kind_of_entry(field, part):
    assert str(parse_references(entry(WHOLE + field))["k"]).endswith(part)


def test_a_question_needs_no_full_stop():
    text = entry("author = {A}, title = {Why?}, year = {1900}, note = {N}")
    assert str(parse_references(text)["k"]) == "A (1900). Why? N."


def test_others_are_et_al():
    text = entry("author = {A, B and C, D and others}, title = {T}, year = {1}")
    assert str(parse_references(text)["k"]) == "B A, D C et al. (1). T."


def test_editors_stand_in_for_authors():
    assert parse_references(entry("editor = {A, B}, title = {T}, year = {1}"))["k"].people == (
        "B A",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry("author = {A}, year = {1}"), "lacks title"),
        (entry("title = {T}, year = {1}"), "author or editor"),
        ("@misc{k, author = {A}, title = {T", "braces do not match"),
        (entry("author = A, title = {T}"), "braces do not match"),
        (entry(WHOLE) * 2, "two references have the key k"),
    ],
)
def test_defects_are_named(text, said):
    with pytest.raises(InvalidData, match=said):
        parse_references(text)


def test_every_source_of_the_ledger_is_resolved():
    references = installed_references()
    for theorem in installed_theorems():
        for source in theorem.sources:
            text = str(references[source.key])
            assert references[source.key].year in text
            assert not set("{}\\") & set(text.replace(r"$\epsilon$", ""))


def test_the_bibliographies_of_all_ledgers_are_read(toy_ledger):
    assert {"toy2026", "ye2024"} <= set(installed_references())
