"""Tables of samples, to read: what the policy and the reference say to a few prompts."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nlhf.files import append_to_file, replace_file


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A prompt with one response of the policy and one of the reference.

    Attributes:
        row: Of the prompt in the data.
        prompt: What it says.
        policy: The policy's response.
        reference: The reference's.
    """

    row: int
    prompt: str
    policy: str
    reference: str


class SampleTables:
    """`samples.jsonl` of a run, all tables, and `samples.md`, the newest one.

    Args:
        folder: Of the run.
        after: The step that the run goes on from; tables after it are removed.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._lines, self._shown = folder / "samples.jsonl", folder / "samples.md"
        if self._lines.exists():
            # Not splitlines: responses may hold other separators, such as U+2028, as they are.
            rows = self._lines.read_text(encoding="utf-8").split("\n")
            kept = [row + "\n" for row in rows if _step(row) <= after]
            replace_file(self._lines, "".join(kept))

    def add(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Append a table.

        Raises:
            NotAllowed: If it cannot be written.
        """
        lines = "".join(
            json.dumps({"step": step, **asdict(row)}, ensure_ascii=False) + "\n" for row in rows
        )
        append_to_file(self._lines, lines)
        replace_file(self._shown, f"# Step {step}\n\n" + markdown(rows))


def markdown(rows: Sequence[SampleRow]) -> str:
    """Return a table in Markdown."""
    lines = ["| row | prompt | policy | reference |", "|---|---|---|---|"]
    for row in rows:
        cells = (str(row.row), row.prompt, row.policy, row.reference)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # half written when the run was killed
