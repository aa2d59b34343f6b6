"""Rankings in the formats of PrefLib.org, as pairwise counts.

`preflibtools` is not used to read them: version 2.0.33 accepts a file whose orders contain
unknown, repeated or unreadable alternatives, drops an unclosed brace, and loses voters where an
order is listed twice. Here such files are refused; on valid ones the tests compare the two.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Int

from nlhf.data.counts import WinCounts
from nlhf.data.text import container_of, quoted, read_text
from nlhf.errors import InvalidData

_TYPES = {
    "soc": "strict and complete",
    "soi": "strict, possibly incomplete",
    "toc": "complete, possibly with ties",
    "toi": "possibly with ties, possibly incomplete",
}
_GROUP = r"(?:[0-9]{1,9}|{[0-9]{1,9}(?:,[0-9]{1,9})*})"
_ORDER = re.compile(f"([0-9]{{1,12}}):({_GROUP}(?:,{_GROUP})*)")
_NAME = re.compile(r"# ALTERNATIVE NAME ([0-9]{1,9}):(.*)")
_UNRANKED = np.iinfo(np.int64).max


def read_preflib(path: str | Path, *, container: str | None = None) -> tuple[WinCounts, ...]:
    """Read one `.soc`, `.soi`, `.toc` or `.toi` file as the counts of one prompt.

    An order with multiplicity m gives, for every two alternatives that it ranks, m wins of the
    higher over the lower one, or m ties where they share a group `{...}`. An alternative that an
    incomplete order leaves out is *not compared* by its voters with any other: that it was not
    ranked is not taken to mean that it is worse. Responses are named by their alternative names;
    the prompt by the file.

    The votes that one ranking gives on its pairs are not independent of each other.

    Args:
        path: The file.
        container: Its type, `soc`, `soi`, `toc` or `toi`; by default what its ending says.

    Raises:
        InvalidData: The file is not in its format, an order does not fit its type, or the
            numbers of alternatives and voters differ from those in the header (as they do if the
            file is cut); with the line.
    """
    kind = container_of(path, tuple(_TYPES), container)
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    names = _names(lines, path)
    multiplicities, orders = [], []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            multiplicity, order = _order("".join(line.split()), f"{path}, line {number}")
            _check_order(order, len(names), kind, f"{path}, line {number}")
            multiplicities.append(multiplicity)
            orders.append(order)
    declared, voters = _declared(lines, "NUMBER VOTERS", path), sum(multiplicities)
    if voters != declared or not orders:
        raise InvalidData(
            f"{path}: the orders are those of {voters} voters, the header says {declared}",
            "the file is cut or was changed; download it again",
        )
    wins, ties = _count(np.array(multiplicities), _positions(orders, len(names)))
    return (WinCounts(Path(path).stem, names, wins, ties),)


def _declared(lines: list[str], key: str, path: str | Path) -> int:
    for number, line in enumerate(lines, 1):
        if line.startswith(f"# {key}:"):
            value = line.partition(":")[2].strip()
            if re.fullmatch("[0-9]{1,12}", value):
                return int(value)
            raise InvalidData(
                f"{path}, line {number}: {key} is {quoted(value)}", "write a natural number"
            )
    raise InvalidData(
        f"{path}: no line '# {key}: ...'",
        "the file is not in PrefLib's present format (with # metadata lines) or is cut; download "
        "it again from PrefLib.org",
    )


def _names(lines: list[str], path: str | Path) -> tuple[str, ...]:
    size = _declared(lines, "NUMBER ALTERNATIVES", path)
    names: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        match = _NAME.fullmatch(line)
        if match is None:
            continue
        key, name = int(match[1]), match[2].strip()
        if key in names or name in names.values() or not name:
            raise InvalidData(
                f"{path}, line {number}: alternative {key} is named {quoted(name)}; numbers and "
                "names must be unique, and names not blank",
                "rename the alternative in the file",
            )
        names[key] = name
    if size < 1 or sorted(names) != list(range(1, size + 1)):
        raise InvalidData(
            f"{path}: {len(names)} names of alternatives, where 1 to {size} are announced",
            "give one line '# ALTERNATIVE NAME k: ...' for every k; if the file is cut, download "
            "it again",
        )
    return tuple(names[key] for key in range(1, size + 1))


def _order(line: str, where: str) -> tuple[int, list[list[int]]]:
    match = _ORDER.fullmatch(line)
    if match is None or int(match[1]) == 0:
        raise InvalidData(
            f"{where}: {quoted(line)} is not an order",
            "write 'm: a, b, {c, d}' with a positive multiplicity m, numbers of alternatives, and "
            "braces round ties",
        )
    groups = re.findall(_GROUP, match[2])
    return int(match[1]), [[int(k) for k in group.strip("{}").split(",")] for group in groups]


def _check_order(order: list[list[int]], size: int, kind: str, where: str) -> None:
    ranked = [alternative for group in order for alternative in group]
    if min(ranked) < 1 or max(ranked) > size or len(set(ranked)) < len(ranked):
        wrong = next(k for k in ranked if not 1 <= k <= size or ranked.count(k) > 1)
        raise InvalidData(
            f"{where}: alternative {wrong} is ranked {ranked.count(wrong)} times, in an order of "
            f"alternatives 1 to {size}",
            "rank each of the announced alternatives at most once",
        )
    incomplete = len(ranked) < size and kind in ("soc", "toc")
    tied = len(order) < len(ranked) and kind in ("soc", "soi")
    if incomplete or tied:
        what = (
            f"{len(ranked)} of {size} alternatives are ranked" if incomplete else "there is a tie"
        )
        raise InvalidData(
            f"{where}: {what}, but {kind} means {_TYPES[kind]}",
            "say that the file is toi, or correct the order; if the file is cut, download it again",
        )


def _positions(orders: list[list[list[int]]], size: int) -> Int[np.ndarray, "order response"]:
    positions = np.full((len(orders), size), _UNRANKED)
    for row, order in zip(positions, orders, strict=True):
        for place, group in enumerate(order):
            row[np.array(group) - 1] = place
    return positions


def _count(
    multiplicity: Int[np.ndarray, " order"], positions: Int[np.ndarray, "order response"]
) -> tuple[Int[np.ndarray, "response response"], Int[np.ndarray, "response response"]]:
    ranked = positions < _UNRANKED
    size = positions.shape[1]
    wins, ties = np.zeros((2, size, size), dtype=np.int64)
    for i in range(size):
        mine, both = positions[:, i, None], ranked[:, i, None] & ranked
        wins[i] = multiplicity @ (both & (mine < positions))
        ties[i] = multiplicity @ (both & (mine == positions))
        ties[i, i] = 0
    return wins, ties
