"""References in full: BibTeX, as far as a bibliography of papers needs it."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nlhf.errors import InvalidData

_ENTRY = re.compile(r"@(\w+)\s*\{\s*([^,\s]+)\s*,")
_FIELD = re.compile(r"\s*(\w+)\s*=\s*")
_ACCENT = re.compile(r"\\([\"'`^~=.cuvH])\s*\{?([A-Za-z])\}?")
_COMBINING = {
    '"': "\u0308",
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    ".": "\u0307",
    "c": "\u0327",
    "u": "\u0306",
    "v": "\u030c",
    "H": "\u030b",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of a bibliography as plain text; maths in it stands between dollars.

    Attributes:
        key: Its key.
        people: Its authors or editors, in reading order of their names.
        year: Its year.
        title: Its title.
        place: Where it appeared, with volume, number, pages and notes.
    """

    key: str
    people: tuple[str, ...]
    year: str
    title: str
    place: str

    def __str__(self) -> str:
        people = _listed(self.people)
        title = self.title if self.title[-1] in "?!" else f"{self.title}."
        return f"{people} ({self.year}). {title} {self.place}".rstrip(" .") + "."


def parse_references(text: str) -> Mapping[str, Reference]:
    """Return the entries of a BibTeX file by their keys.

    Raises:
        InvalidData: If an entry has unbalanced braces, or lacks an author or editor, a title or a
            year; or if two share a key.
    """
    found: dict[str, Reference] = {}
    for match in _ENTRY.finditer(text):
        key = match[2]
        if key in found:
            raise InvalidData(f"two references have the key {key}", "rename one")
        fields = dict(_fields(key, text, match.end()))
        people = fields.get("author", fields.get("editor", ""))
        missing = [name for name in ("title", "year") if name not in fields]
        if missing or not people:
            raise InvalidData(
                f"the reference {key} lacks {', '.join(missing) or 'an author or editor'}",
                "add it",
            )
        found[key] = Reference(
            key=key,
            people=tuple(_name(person) for person in people.split(" and ")),
            year=fields["year"],
            title=fields["title"],
            place=_place(fields),
        )
    return found


def _fields(key: str, text: str, start: int) -> Iterator[tuple[str, str]]:
    while (match := _FIELD.match(text, start)) is not None:
        value, start = _braced(key, text, match.end())
        yield match[1].lower(), _plain(value)
        start += text[start : start + 1] == ","


def _braced(key: str, text: str, start: int) -> tuple[str, int]:
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            break
    if depth or text[start : start + 1] != "{":
        raise InvalidData(
            f"the reference {key} has a field whose braces do not match",
            "give every value in braces, balanced",
        )
    return text[start + 1 : position], position + 1


def _plain(value: str) -> str:
    value = _ACCENT.sub(lambda match: match[2] + _COMBINING[match[1]], value)
    value = value.replace(r"\&", "&").replace("--", "–").replace("~", " ")
    return " ".join(unicodedata.normalize("NFC", value.translate({123: None, 125: None})).split())


def _name(person: str) -> str:
    last, *suffix, first = ("", *person.split(", ")) if ", " not in person else person.split(", ")
    return " ".join(part for part in (first, last, *suffix) if part)


def _listed(people: tuple[str, ...]) -> str:
    if people[-1] == "others":
        return ", ".join(people[:-1]) + " et al."
    return ", ".join(people[:-1]) + (" and " if people[:-1] else "") + people[-1]


def _place(fields: Mapping[str, str]) -> str:
    where = fields.get("journal", fields.get("booktitle", fields.get("publisher", "")))
    if "volume" in fields:
        where += f" {fields['volume']}"
    if "number" in fields:
        where += f"({fields['number']})"
    if "pages" in fields:
        where += f", {fields['pages']}"
    return "; ".join(part for part in (where, fields.get("note", "")) if part)
