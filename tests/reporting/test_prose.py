"""Prose and maths are told apart as a reader of the ledger would."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.errors import InvalidData
from nlhf.reporting.prose import Kind, marked, pieces
from nlhf.theorems import installed_theorems


def shown(text: str) -> str:
    return "".join(
        f"«{piece.text}»" if piece.kind is Kind.MATHS else piece.text for piece in pieces(text)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"J = 1 for all \pi, \rho", r"«J = 1» for all «\pi», «\rho»"),
        (r"KL(\pi\|\mu) \le c", r"«\operatorname{KL}(\pi\|\mu) \le c»"),
        ("has an expected gap of h/2", "has an expected gap of «h/2»"),
        (r"gap \le \epsilon, and so", r"«\operatorname{gap} \le \epsilon», and so"),
        (r"c\, gap(\pi) holds", r"«c\, \operatorname{gap}(\pi)» holds"),
        ("a scalar r beats a and b", "a scalar «r» beats «a» and «b»"),
        (r"for every \pi and a", r"for every «\pi» and «a»"),
        (r"from a \kappa on", r"from a «\kappa» on"),
        (r"for a \ne b only", r"for «a \ne b» only"),
        ("A reward; A is any matrix", "A reward; «A» is any matrix"),
        ("group u's own, two groups' rewards", "group «u»'s own, two groups' rewards"),
        ("(OMD), and (a, b)", "(OMD), and «(a, b)»"),
        (r"heads Ah + \varepsilon", r"heads «Ah + \varepsilon»"),
        (r"P(g is correct) = q_g", r"«P(g\text{ is correct}) = q_g»"),
        (r"\sum(P(mode right)-\gamma)", r"«\sum(P(\text{mode right})-\gamma)»"),
        (r"E_xKL(\pi) and w_te", r"«E_x\operatorname{KL}(\pi)» and «w_te»"),
        ("flip 25 % & more", "flip «25» % & more"),
        (r"only $x_a$ is maths, not \beta", r"only «x_a» is maths, not \beta"),
        (r"$KL(p)$", r"«\operatorname{KL}(p)»"),
        ("", ""),
    ],
)
def test_words_and_formulas_are_told_apart(text, expected):
    assert shown(text) == expected


def test_in_references_only_dollars_make_maths():
    kinds = [piece.kind for piece in marked("Statistics & Data 3, On $f$-Divergences")]
    assert kinds == [Kind.PROSE, Kind.MATHS, Kind.PROSE]


def unmarked(text: str) -> str:
    return re.sub(r"\\(?:operatorname|text)\{([^}]*)\}", r"\1", text)


WORDS = st.sampled_from(
    [
        "the",
        "a",
        "gap",
        "KL",
        r"\pi",
        "x_1",
        "=",
        r"\le",
        "(a,b)",
        "(so on)",
        "u's",
        "x,",
        "end.",
        "r;",
    ]
)


@given(st.lists(WORDS, min_size=1).map(" ".join))
def test_nothing_is_lost_or_added(text):
    assert unmarked("".join(piece.text for piece in pieces(text))) == text


@given(st.text(alphabet="ab ,.()$KL\\_{}", max_size=30))
def test_any_text_can_be_split_whose_dollars_pair(text):
    if text.count("$") % 2:
        with pytest.raises(InvalidData):
            pieces(text)
    else:
        assert isinstance(pieces(text), tuple)


TEXTS = sorted(
    {
        text
        for theorem in installed_theorems()
        for text in (
            theorem.statement,
            *(hypothesis.text for hypothesis in theorem.hypotheses),
            *(source.item for source in theorem.sources),
            *([theorem.counterexample.text] if theorem.counterexample else []),
        )
    }
)


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_the_ledger_leaves_words_in_maths_or_maths_in_prose(text):
    for piece in pieces(text):
        if piece.kind is Kind.PROSE:
            assert not re.search(r"[\\^_{}<>=|+/]|(?<!')\b[B-HJ-Zb-z]\b", piece.text), piece
        else:
            marked_names = re.sub(r"\\(operatorname|text)\{[^}]*\}", " ", piece.text)
            assert not re.search(r"(?<![\\A-Za-z])[a-z]{4,}", marked_names), piece
