"""Prose and maths told apart: texts of the ledger mix both without marks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique

from nlhf.errors import InvalidData

_OPENING, _CLOSING = "([{", ")]}"

_NAMES = frozenset(
    "KL BR NE BC TV SKL Var Cov prox range sign rank tr emp min max Multinomial correct".split()  # noqa: SIM905
)
"""Words that are names within maths; other letters side by side are factors."""

_PLAIN = frozenset({"range", "sign", "rank", "min", "max", "correct"})
"""Names that are prose when they stand alone."""

_SOMETIMES = frozenset({"gap"})
"""Words that are names beside a relation or an argument, and prose elsewhere."""

_AFTER_THE_LETTER_A = frozenset(
    "and or is are beat beats by under from with to for in at on of".split()  # noqa: SIM905
)
"""Before these, "a" is no article but the name of something."""

_SHORT = frozenset(
    "am an as at be by do go he if in is it me my no of on or so to up us we".split()  # noqa: SIM905
)
"""Words of two letters; any others are two factors, unless both are capitals."""

_RELATION = re.compile(r"=|<|>|\\(le|ge|ne|in|propto|iff|to|sim|pm)(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[A-Za-z]'?")
_POSSESSIVE = re.compile(r"([A-Za-z])('s)")
_ENDING = re.compile(r"(?<!\\)[,;:.]+$")
_PHRASE = re.compile(r" ?(?<![\\A-Za-z])[a-z]{2,}(?: [a-z]{2,})+(?![A-Za-z]) ?")
_LETTERS = re.compile(r"(?<![\\A-Za-z_])[A-Za-z]{2,}|(?<=_[A-Za-z])[A-Za-z]{2,}")


@unique
class Kind(StrEnum):
    """What a piece of a text is."""

    PROSE = "prose"
    MATHS = "maths"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one kind; its maths is LaTeX in which every multi-letter name is marked."""

    kind: Kind
    text: str


def pieces(text: str) -> tuple[Piece, ...]:
    r"""Split a text into prose and maths.

    Where the text holds ``$``, maths is what they enclose. Elsewhere a rule decides word by word,
    a word being what stands between spaces outside brackets: words of plain letters are prose, and
    what holds a command, a sub- or superscript, a relation, a digit or a single letter is maths.
    The single letter "a" is the article before a word that can follow one.

    Args:
        text: A statement, a hypothesis or a counterexample.

    Returns:
        The pieces in order; joined by nothing, they are the text again but for the marks of names
        in maths: ``\operatorname{KL}`` for ``KL``, ``\text{mode right}`` for ``mode right``.

    Raises:
        InvalidData: If there are dollars that do not pair.
    """
    return marked(text) if "$" in text else tuple(_joined(_by_rule(text)))


def marked(text: str) -> tuple[Piece, ...]:
    """Split a text in which maths is what ``$`` enclose, and nothing else is.

    Raises:
        InvalidData: If the dollars do not pair.
    """
    if text.count("$") % 2:
        raise InvalidData(f"{text!r} has an odd number of dollars", "close every formula by a $")
    return tuple(_between_dollars(text))


def _between_dollars(text: str) -> Iterator[Piece]:
    for position, part in enumerate(text.split("$")):
        if part:
            yield Piece(Kind.MATHS, named(part)) if position % 2 else Piece(Kind.PROSE, part)


def _by_rule(text: str) -> Iterator[Piece]:
    words = _words(text)
    for position, word in enumerate(words):
        if position:
            yield Piece(Kind.PROSE, " ")
        core = _ENDING.sub("", word) or word
        following = words[position + 1] if position + 1 < len(words) else ""
        ended = len(core) < len(word)
        yield from _classified(core, "" if ended else following)
        if ended:
            yield Piece(Kind.PROSE, word[len(core) :])


def _classified(core: str, following: str) -> Iterator[Piece]:
    possessive = _POSSESSIVE.fullmatch(core)
    if possessive:
        yield Piece(Kind.MATHS, possessive[1])
        yield Piece(Kind.PROSE, possessive[2])
    elif core[0] == "(" and core[-1] == ")" and _is_prose_inside(core[1:-1]):
        yield Piece(Kind.PROSE, "(")
        yield from _by_rule(core[1:-1])
        yield Piece(Kind.PROSE, ")")
    elif _is_maths(core, following):
        yield Piece(Kind.MATHS, named(core))
    else:
        yield Piece(Kind.PROSE, core)


def _is_maths(core: str, following: str) -> bool:
    if core in ("a", "A"):
        return not _follows_an_article(following)
    if core in _SOMETIMES:
        return _RELATION.match(following) is not None
    if _WORD.fullmatch(core) is None:
        return core not in ("%", "&")
    return core in _NAMES - _PLAIN or (
        len(core) == 2 and core.lower() not in _SHORT and not core.isupper()
    )


def _follows_an_article(following: str) -> bool:
    if _COMMAND.match(following):
        return _RELATION.match(following) is None
    word = _ENDING.sub("", following)
    return _WORD.fullmatch(word) is not None and word not in _AFTER_THE_LETTER_A


def _is_prose_inside(inner: str) -> bool:
    words = inner.replace(",", " ").split()
    return any(_WORD.fullmatch(word) and word not in _NAMES for word in words)


def _words(text: str) -> list[str]:
    """Split at spaces outside brackets; LaTeX's own spacing commands do not count as spaces."""
    found, depth, current = [], 0, ""
    for position, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == " " and depth <= 0 and text[position - 1] != "\\":
            found.append(current)
            current = ""
        else:
            current += character
    return [word for word in (*found, current) if word]


def _joined(found: Iterator[Piece]) -> Iterator[Piece]:
    """Merge neighbours of one kind, and maths across single spaces."""
    merged: list[Piece] = []
    for piece in found:
        spaced = len(merged) > 1 and merged[-1] == Piece(Kind.PROSE, " ")
        if piece.kind is Kind.MATHS and spaced and merged[-2].kind is Kind.MATHS:
            merged.pop()
            merged[-1] = Piece(Kind.MATHS, f"{merged[-1].text} {piece.text}")
        elif merged and piece.kind is merged[-1].kind and piece.text != " ":
            merged[-1] = Piece(piece.kind, merged[-1].text + piece.text)
        else:
            merged.append(piece)
    yield from merged


def named(maths: str) -> str:
    """Mark the names and phrases of LaTeX that spells them as plain letters."""
    maths = _PHRASE.sub(lambda match: rf"\text{{{match[0]}}}", maths)
    parts = re.split(r"(\\text\{[^}]*\})", maths)
    return "".join(
        part if part.startswith(r"\text{") else _LETTERS.sub(_name, part) for part in parts
    )


def _name(match: re.Match[str]) -> str:
    word = match[0]
    return rf"\operatorname{{{word}}}" if word in _NAMES | _SOMETIMES else word
