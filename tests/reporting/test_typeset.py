"""Formulas become MathML that browsers set as mathematicians write."""

from xml.etree import ElementTree

import pytest

from nlhf.errors import InvalidData
from nlhf.reporting.prose import marked, pieces
from nlhf.reporting.typeset import html, markdown, mathml
from tests.reporting.test_prose import TEXTS


def tree(latex: str) -> ElementTree.Element:
    (element,) = mathml(latex)
    return ElementTree.fromstring(element)


def leaves(latex: str) -> list[tuple[str, str]]:
    return [(node.tag, node.text or "") for node in tree(latex).iter() if not len(node)]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_of_the_ledger_can_be_set(text):
    found = ElementTree.fromstring(f"<p>{html(pieces(text)).replace('<wbr>', '<wbr/>')}</p>")
    for node in found.iter():
        assert "\\" not in (node.text or "") + (node.tail or "")
    assert markdown(pieces(text)).count("$") % 2 == 0


def test_what_would_be_markup_is_escaped():
    assert "<b>" not in html(pieces("1 <b> & so"))
    assert "<mo>&lt;</mo>" in html(pieces("1 <b> & so"))
    assert html(marked("a <b> & $c$")) == "a &lt;b&gt; &amp; <math><mi>c</mi></math>"
    assert html(pieces("$a < b$")).count("<math>") == 2  # may break before the relation
    assert "<script" not in html(pieces("a <script>alert(1)</script> b"))
    assert markdown(pieces("one*two $x$ `z`")) == r"one\*two $x$ \`z\`"


@pytest.mark.parametrize("latex", [r"\nosuchcommand x", r"\frac{1}{", r"a & b", r"\arg x"], ids=str)
def test_what_cannot_be_set_is_an_error(latex):
    with pytest.raises(InvalidData, match=r"is no LaTeX|does not know"):
        mathml(latex)


def test_names_are_upright_and_apart_from_their_neighbours():
    found = leaves(r"\tau\operatorname{KL}(p) + \log P")
    assert ("mi", "KL") in found
    assert [tag for tag, _ in found].count("mspace") == 2  # after τ, and after log
    assert found[found.index(("mi", "KL")) + 1] == ("mo", "(")
    assert found[found.index(("mi", "log")) + 1][0] == "mspace"


def test_script_letters_do_not_look_like_others():
    assert ("mi", "𝒫") in leaves(r"\mathcal P")
    assert ("mi", "P") in leaves("P")


@pytest.mark.parametrize(
    ("latex", "leaf"),
    [
        (r"\langle x\rangle", ("mo", "⟨")),
        (r"\pm x", ("mo", "±")),
        (r"y \sim z", ("mo", "∼")),
        (r"P: x", ("mo", ":")),
        (".5", ("mn", ".5")),
    ],
)
def test_operators_are_operators_and_numbers_numbers(latex, leaf):
    assert leaf in leaves(latex)


def test_formulas_break_before_outer_relations_only():
    assert len(mathml(r"a = b \le c")) == 3
    assert len(mathml(r"f(a = b) + \sum_{s < t} |x = y|")) == 1
    assert len(mathml("= x")) == 1


def test_primes_are_not_raised_twice():
    assert "msup" not in {node.tag for node in tree("x'").iter()}


def test_no_line_starts_with_punctuation():
    assert html(pieces(r"if \pi, then")).count('<span class="kept"><math>') == 1
    assert '<span class="kept">(<math>' in html(pieces(r"$x$ so ($y$), yes"))
