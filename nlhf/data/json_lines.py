"""JSON lines: one value a line, with the line named where one cannot be read."""

import json
from pathlib import Path

from nlhf.data.text import quoted
from nlhf.errors import InvalidData


def parse_json_lines(text: str, path: str | Path) -> tuple[list[object], list[int]]:
    r"""Return the values of a text in JSON lines, and the number of each one's line, from 1.

    Lines end at ``\n`` only: JSON text may hold other separators, such as U+2028, as they are.
    Blank lines are skipped.

    Raises:
        InvalidData: A line is not JSON.
    """
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    values: list[object] = []
    for number, line in numbered:
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            cut = "; it is the last line: the file may be cut" if number == numbered[-1][0] else ""
            raise InvalidData(
                f"{path}, line {number}: not JSON ({error}): {quoted(line)}{cut}",
                "write one complete JSON value per line; fetch a cut file again",
            ) from error
    return values, [number for number, _ in numbered]
