"""Preferences in the files of Personalized Soups: P1A, P1B, ..., P3B, one file per group."""

from collections.abc import Sequence
from pathlib import Path

from nlhf.data.records import Origin
from nlhf.data.text import listed, quoted
from nlhf.errors import InvalidData
from nlhf.lm.loading.datasets import (
    CHOSEN,
    REJECTED,
    PreferenceData,
    check_response,
    warn_of_ties,
)
from nlhf.lm.loading.records import Record, Table, read_table

INSTRUCTIONS = {
    "P1A": "Generate a response that can be easily understood by an elementary school student.",
    "P1B": "Generate a response that only a PhD Student in that specific field could understand.",
    "P2A": "Generate a response that is concise and to the point, without being verbose.",
    "P2B": "Generate a response that is very informative, without missing any background "
    "information.",
    "P3A": "Generate a response that is friendly, witty, funny, and humorous, like a close friend.",
    "P3B": "Generate a response in an unfriendly manner.",
}
"""What the simulated annotators of each group were told (Jang et al. 2023, arXiv:2310.11564)."""

_PAIR = ("user_input", "completion_a", "completion_b")
_ANNOTATED = ("instruction", "output_1", "output_2", "preference")


def read_personalised_soups(
    paths: Sequence[str | Path], *, keep_instructions: bool = False
) -> PreferenceData:
    r"""Read the preferences of several groups, one file each, named by the file: ``P1A.json``.

    Two layouts of records are read, told apart by their columns:

    * of reward-model training: ``user_input``, ``completion_a``, ``completion_b``, of which
      ``completion_a`` is preferred;
    * of annotation: ``instruction``, optionally ``input``, ``output_1``, ``output_2`` and
      ``preference``, which is 1 or 2.

    Other columns are not read. Within the prompts stand the instructions of the groups; as in the
    experiments of MaxMin-RLHF they are taken out, since the group could be read off the prompt
    otherwise, and a policy that reads it needs no compromise between groups.

    Verified: which columns the authors' scripts read, that they score ``completion_a`` above
    ``completion_b``, the meaning of ``preference``, and the wording of the instructions in the
    MaxMin-RLHF scripts. Not verified: the published data files themselves, which were not at hand;
    a file in another layout is refused with the columns that it has.

    Args:
        paths: One file per group; the groups are named by the files, without their endings.
        keep_instructions: Leave the instructions of the groups in the prompts.

    Returns:
        The pairs, file after file; rows are counted from 0 through all files.

    Raises:
        InvalidData: Two files name one group, a file has another layout, or a record has an empty
            text or a preference that is neither 1 nor 2.

    Warns:
        Degenerate: Pairs of the same response twice; they are kept.
    """
    if not paths:
        raise InvalidData("no files", "give one file per group, such as P3A.json and P3B.json")
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        raise InvalidData(
            f"the files name the groups {listed(names)}", "give every group one file of its own"
        )
    tables = [read_table(path) for path in paths]
    places = [table.origin.at(row) for table in tables for row in range(len(table))]
    origin = Origin("Personalized Soups", places.__getitem__)
    triples = [triple for table in tables for triple in _triples(table, keep_instructions)]
    prompts, chosen, rejected = zip(*triples, strict=True)
    pairs = PreferenceData(
        prompts,
        chosen,
        rejected,
        tuple(range(len(triples))),
        tuple(name for name, table in zip(names, tables, strict=True) for _ in range(len(table))),
        (),
        (),
        origin,
    )
    warn_of_ties(pairs)
    return pairs


def _triples(table: Table, keep_instructions: bool) -> list[tuple[str, str, str]]:
    annotated = "preference" in table.columns and "output_1" in table.columns
    table.require(*(_ANNOTATED if annotated else _PAIR))
    found = []
    for row, record in enumerate(table.records):
        place = table.origin.at(row)
        if annotated:
            prompt, chosen, rejected = _annotated(record, place)
        else:
            prompt, chosen, rejected = (_text(record, name, place) for name in _PAIR)
        if not keep_instructions:
            prompt = without_instructions(prompt)
        if not prompt:
            raise InvalidData(
                f"{place}: no prompt is left", "the record says nothing to respond to: remove it"
            )
        check_response(chosen, f"{place}: {CHOSEN}")
        check_response(rejected, f"{place}: {REJECTED}")
        found.append((prompt, chosen, rejected))
    return found


def _annotated(record: Record, place: str) -> tuple[str, str, str]:
    first, second = (_text(record, name, place) for name in ("output_1", "output_2"))
    preference = record.get("preference")
    if preference not in (1, 2) or isinstance(preference, bool):
        raise InvalidData(
            f"{place}: preference is {quoted(preference)}, neither 1 nor 2",
            "1 says that output_1 was preferred, 2 that output_2 was: remove records without one",
        )
    context = record.get("input")
    prompt = _text(record, "instruction", place)
    if context:
        prompt = f"{prompt}\n\n{_text(record, 'input', place)}"
    return (prompt, first, second) if preference == 1 else (prompt, second, first)


def _text(record: Record, name: str, place: str) -> str:
    cell = record.get(name)
    if not isinstance(cell, str):
        raise InvalidData(
            f"{place}: {name} is {quoted(cell)} ({type(cell).__name__})", "give text there"
        )
    return cell


def without_instructions(prompt: str) -> str:
    """Return a prompt without the groups' instructions, and without blanks around the rest."""
    for instruction in INSTRUCTIONS.values():
        prompt = prompt.replace(instruction, "")
    return prompt.strip()
