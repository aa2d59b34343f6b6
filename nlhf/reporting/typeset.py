"""Maths as MathML, made here: nothing is fetched when a page is read."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from nlhf.errors import InvalidData
from nlhf.reporting.prose import Kind, Piece

_BREAKS_BEFORE = frozenset("=<>≤≥∝⟺→∈")
"""A line may break before these relations, outside brackets."""

_OPENING, _CLOSING, _BARS = frozenset("([{⟨⌈"), frozenset(")]}⟩⌉"), frozenset("|‖")
_MISREAD = frozenset("±⟺⟨⟩⌈⌉:")
"""Operators that the converter takes for variables, which would be set without their spaces."""

_SCRIPT = {letter: chr(0x1D49C + ord(letter) - ord("A")) for letter in "ACDGJKNOPQSTUVWXYZ"}
"""Browsers set no script letters from an attribute; these are letters of their own."""

_CLOSE = frozenset("/|‖")
"""Operators set without the spaces that browsers give them between two operands."""

_PRIME = "′"
_THIN = "0.167em"
_BESIDE_PUNCTUATION = re.compile(r"\(?<math>(?:(?!</math>).)*</math>(?:'s|[,;:.)]+)")
"""A formula that no line break must part from its punctuation."""

_NUMBER = re.compile(r"\d*\.?\d+")
_SCRIPTED = frozenset({"msub", "msup", "msubsup", "munder", "mover", "munderover"})


def html(split: Iterable[Piece]) -> str:
    """Return a text, split into prose and maths, as HTML with its maths as MathML.

    A formula may break before a relation; punctuation stays with what it follows.

    Raises:
        InvalidData: If it holds LaTeX that cannot be converted.
    """
    found = "".join(
        "<wbr>".join(mathml(piece.text)) if piece.kind is Kind.MATHS else _escaped(piece.text)
        for piece in split
    )
    return _BESIDE_PUNCTUATION.sub(r'<span class="kept">\g<0></span>', found)


def markdown(split: Iterable[Piece]) -> str:
    """Return a text, split into prose and maths, as Markdown with its maths between dollars."""
    return "".join(
        f"${piece.text}$" if piece.kind is Kind.MATHS else plain(piece.text) for piece in split
    )


def plain(text: str) -> str:
    """Return Markdown that shows a text as it is, in a cell of a table too."""
    return re.sub(r"([\\`*_{}\[\]<>#|$&])", r"\\\1", text)


@cache
def mathml(latex: str) -> tuple[str, ...]:
    r"""Return LaTeX as inline MathML elements, cut before its outermost relations.

    Raises:
        InvalidData: If it cannot be converted.
    """
    root = _converted(latex)
    row = root[0] if len(root) == 1 and root[0].tag == "mrow" else root
    _mend(row)
    return tuple(_element(group) for group in _groups(list(row)))


def _converted(latex: str) -> Element:
    from latex2mathml.converter import convert

    source = latex.replace(r"\arg\max", r"\operatorname{argmax}")
    try:
        found = convert(source).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
        root = ElementTree.fromstring(found)
    except Exception as error:  # of many kinds, none of them announced
        raise InvalidData(
            f"{latex!r} is no LaTeX that can be set: {type(error).__name__} {error}",
            "balance its brackets and use commands that latex2mathml knows",
        ) from error
    unknown = [node.text for node in root.iter() if node.text and "\\" in node.text]
    if unknown:
        raise InvalidData(
            f"{latex!r} holds the commands {unknown}, which latex2mathml does not know",
            "use others",
        )
    return root


def _mend(row: Element) -> None:
    """Give names their spaces, and operators, numbers and script letters their elements."""
    for node in list(row.iter()):
        text = node.text or ""
        if node.tag == "mo" and len(text) > 1 and text.isalpha():
            node.tag = "mi"
            node.attrib.clear()
        if node.tag == "mi" and text == "~":
            node.tag, node.text = "mo", "∼"
        if node.tag == "mi" and text in _MISREAD:
            node.tag = "mo"
            if text != ":":
                node.set("stretchy", "false")
        elif node.tag == "mi" and _NUMBER.fullmatch(text):
            node.tag = "mn"
        elif node.attrib.pop("mathvariant", "") == "script":
            node.text = _SCRIPT[text]
        if node.tag == "mo" and text in _CLOSE:
            node.attrib.update(lspace="0", rspace="0")
        if node.tag == "msup" and node[1].text == _PRIME:  # raised by its font already
            node.tag, node[1].tag = "mrow", "mi"
    for node in list(row.iter()):
        if node.tag in ("mrow", "msqrt", "math"):
            _space(node)


def _space(row: Element) -> None:
    """Set thin spaces between the names of functions and their neighbours."""
    children = list(row)
    for position, node in enumerate(children):
        after = children[position + 1] if position + 1 < len(children) else None
        if after is None:
            continue
        named = _is_name(node) and not _is_operator(after)
        ended = not _is_operator(node) or _text(node) in _CLOSING | _BARS
        if named or (_is_name(after) and ended):
            space = Element("mspace", width=_THIN)
            row.insert(list(row).index(node) + 1, space)


def _is_name(node: Element) -> bool:
    base = node[0] if node.tag in _SCRIPTED else node
    return base.tag == "mi" and len(base.text or "") > 1 and (base.text or "").isalpha()


def _is_operator(node: Element) -> bool:
    base = node[0] if node.tag in _SCRIPTED else node
    return base.tag in ("mo", "mspace")


def _text(node: Element) -> str:
    base = node[0] if node.tag in _SCRIPTED else node
    return base.text or ""


def _groups(nodes: list[Element]) -> Iterator[list[Element]]:
    depth, bars = 0, 0
    group: list[Element] = []
    for node in nodes:
        text = _text(node) if _is_operator(node) else ""
        if text in _BREAKS_BEFORE and depth == 0 and bars % 2 == 0 and group:
            yield group
            group = []
        bars += text in _BARS
        depth += (text in _OPENING) - (text in _CLOSING)
        group.append(node)
    yield group


def _element(group: list[Element]) -> str:
    inner = "".join(ElementTree.tostring(node, encoding="unicode") for node in group)
    return f"<math>{inner}</math>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
