"""Prompts and preferences in the formats of TRL's data sets, as text."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nlhf.data.records import Origin
from nlhf.data.text import quoted
from nlhf.errors import Degenerate, InvalidData
from nlhf.lm.loading.chat import Conversation, Text, as_assistant, as_user
from nlhf.lm.loading.records import Table, read_table

PROMPT, CHOSEN, REJECTED = "prompt", "chosen", "rejected"
GROUP, ANNOTATOR, MARGIN = "group", "annotator", "margin"


@dataclass(frozen=True, slots=True, eq=False)
class PromptData:
    """Prompts, before a tokenizer has seen them.

    Attributes:
        prompts: Plain texts or conversations.
        rows: Their numbers in the data set, from 0.
        groups: To which group each belongs; empty if the data set does not say.
        origin: Names the rows in errors.
    """

    prompts: tuple[Text, ...]
    rows: tuple[int, ...]
    groups: tuple[str, ...]
    origin: Origin

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, indices: Sequence[int]) -> "PromptData":
        """Return the prompts at the given places; they keep their row numbers."""
        return PromptData(
            tuple(self.prompts[i] for i in indices),
            tuple(self.rows[i] for i in indices),
            tuple(self.groups[i] for i in indices) if self.groups else (),
            self.origin,
        )

    def as_chat(self) -> "PromptData":
        """Return plain prompts as a user's turn, so that the chat template applies."""
        return replace(self, prompts=tuple(map(as_user, self.prompts)))


@dataclass(frozen=True, slots=True, eq=False)
class PreferenceData:
    """Pairs of responses of which one was preferred, before a tokenizer has seen them.

    Attributes:
        prompts: Plain texts or conversations, one per pair.
        chosen: The preferred response; as a conversation, one turn of the assistant.
        rejected: The other response.
        rows: Numbers of the pairs in the data set, from 0.
        groups: The group that preferred; empty if the data set does not say.
        annotators: Who preferred; empty if the data set does not say.
        margins: By how much, in the data set's units; empty if it does not say.
        origin: Names the rows in errors.
    """

    prompts: tuple[Text, ...]
    chosen: tuple[Text, ...]
    rejected: tuple[Text, ...]
    rows: tuple[int, ...]
    groups: tuple[str, ...]
    annotators: tuple[str, ...]
    margins: tuple[float, ...]
    origin: Origin

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, indices: Sequence[int]) -> "PreferenceData":
        """Return the pairs at the given places; they keep their row numbers."""
        return PreferenceData(
            tuple(self.prompts[i] for i in indices),
            tuple(self.chosen[i] for i in indices),
            tuple(self.rejected[i] for i in indices),
            tuple(self.rows[i] for i in indices),
            tuple(self.groups[i] for i in indices) if self.groups else (),
            tuple(self.annotators[i] for i in indices) if self.annotators else (),
            tuple(self.margins[i] for i in indices) if self.margins else (),
            self.origin,
        )

    def as_chat(self) -> "PreferenceData":
        """Return plain texts as turns of a user and the assistant, for the chat template."""
        return replace(
            self,
            prompts=tuple(map(as_user, self.prompts)),
            chosen=tuple(map(as_assistant, self.chosen)),
            rejected=tuple(map(as_assistant, self.rejected)),
        )

    def prompt_data(self) -> PromptData:
        """Return the prompts, each once, under the row in which it first appears."""
        first = {prompt: i for i, prompt in reversed([*enumerate(self.prompts)])}
        at = sorted(first.values())
        return PromptData(
            tuple(self.prompts[i] for i in at), tuple(self.rows[i] for i in at), (), self.origin
        )


def read_prompts(
    source: str | Path, *, subset: str | None = None, split: str = "train"
) -> PromptData:
    """Read prompts, in TRL's prompt-only format, standard or conversational.

    The column ``prompt`` holds text, or a list of messages with role and content. A column
    ``group`` is kept; others are not read.

    Args:
        source: A file (JSON lines, JSON, Parquet) or a data set's id on the hub.
        subset: Of a data set on the hub, where it has several.
        split: Of a data set on the hub.

    Raises:
        InvalidData: The first thing that is wrong, with its row.
        MissingExtra: What the source needs is not installed.
    """
    return prompts_of(read_table(source, subset=subset, split=split))


def read_preferences(
    source: str | Path, *, subset: str | None = None, split: str = "train"
) -> PreferenceData:
    """Read preferences, in TRL's preference format, standard or conversational.

    The columns are ``prompt``, ``chosen`` and ``rejected``. Without a prompt it is implicit: what
    both responses begin with, whole messages of conversations, or characters of texts up to the
    blank before the first difference (as TRL divides them). Columns ``group``, ``annotator`` and
    ``margin`` are kept; others are not read.

    Args:
        source: A file (JSON lines, JSON, Parquet) or a data set's id on the hub.
        subset: Of a data set on the hub, where it has several.
        split: Of a data set on the hub.

    Raises:
        InvalidData: The first thing that is wrong, with its row: a cell that is neither text nor a
            conversation, an empty prompt or response, text beside conversations.
        MissingExtra: What the source needs is not installed.

    Warns:
        Degenerate: Pairs of the same response twice; they are kept.
    """
    return preferences_of(read_table(source, subset=subset, split=split))


def prompts_of(table: Table) -> PromptData:
    """Return the prompts of a table, such as `table_of` makes of records in memory.

    Raises:
        InvalidData: As `read_prompts`.
    """
    table.require(PROMPT)
    prompts = tuple(_prompt(table, row) for row in range(len(table)))
    return PromptData(prompts, tuple(range(len(table))), table.names(GROUP), table.origin)


def preferences_of(table: Table) -> PreferenceData:
    """Return the preferences of a table, such as `table_of` makes of records in memory.

    Raises:
        InvalidData: As `read_preferences`.

    Warns:
        Degenerate: As `read_preferences`.
    """
    explicit = PROMPT in table.columns
    table.require(*((PROMPT, CHOSEN, REJECTED) if explicit else (CHOSEN, REJECTED)))
    triples = [_triple(table, row, explicit) for row in range(len(table))]
    prompts, chosen, rejected = zip(*triples, strict=True)
    pairs = PreferenceData(
        prompts,
        chosen,
        rejected,
        tuple(range(len(table))),
        table.names(GROUP),
        table.names(ANNOTATOR),
        table.numbers(MARGIN),
        table.origin,
    )
    warn_of_ties(pairs)
    return pairs


def warn_of_ties(pairs: PreferenceData) -> None:
    """Warn, once, of pairs whose responses are the same: they say nothing."""
    same = [
        row for row, a, b in zip(pairs.rows, pairs.chosen, pairs.rejected, strict=True) if a == b
    ]
    if same:
        warnings.warn(
            f"{pairs.origin.at(same[0])}: chosen and rejected are the same ({len(same)} such of "
            f"{len(pairs)} pairs); the pairs are kept and say nothing",
            Degenerate,
            stacklevel=4,
        )


def _prompt(table: Table, row: int) -> Text:
    prompt = table.text(row, PROMPT)
    if not (prompt if isinstance(prompt, str) else prompt[-1].content).strip():
        raise InvalidData(
            f"{table.origin.at(row)}: the prompt is empty",
            "write what to respond to; to respond to nothing, write the token of the beginning, "
            "such as <|endoftext|>",
        )
    return prompt


def _triple(table: Table, row: int, explicit: bool) -> tuple[Text, Text, Text]:
    chosen, rejected = table.text(row, CHOSEN), table.text(row, REJECTED)
    if explicit:
        prompt = _prompt(table, row)
    else:
        prompt, chosen, rejected = _divided(chosen, rejected, table.origin.at(row))
    kinds = ["text" if isinstance(t, str) else "messages" for t in (prompt, chosen, rejected)]
    if len(set(kinds)) > 1:
        raise InvalidData(
            f"{table.origin.at(row)}: prompt, chosen and rejected are {', '.join(kinds)}",
            "write all as text or all as messages; where chosen and rejected are whole "
            "conversations, remove the column prompt: it is then what both begin with",
        )
    for column, response in ((CHOSEN, chosen), (REJECTED, rejected)):
        check_response(response, f"{table.origin.at(row)}: {column}")
    return prompt, chosen, rejected


def check_response(response: Text, place: str) -> None:
    """Refuse a response that is blank, or more or other than one turn of the assistant.

    Raises:
        InvalidData: With the place.
    """
    if not isinstance(response, str):
        if len(response) != 1 or response[0].role != "assistant":
            roles = ", ".join(turn.role for turn in response) or "no message"
            raise InvalidData(
                f"{place} has after the prompt: {roles}",
                "end both conversations with one message of the assistant; all before is prompt",
            )
        response = response[0].content
    if not response.strip():
        raise InvalidData(f"{place} is empty", "give a response, or remove the pair")


def _divided(chosen: Text, rejected: Text, place: str) -> tuple[Text, Text, Text]:
    """Return the implicit prompt and the two responses to it."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        shared = _common(chosen, rejected)
        if chosen[:shared].endswith(" "):
            shared -= 1
        prompt: Text = chosen[:shared]
    elif isinstance(chosen, tuple) and isinstance(rejected, tuple):
        shared = min(_common(chosen, rejected), len(chosen) - 1, len(rejected) - 1)
        prompt = chosen[:shared]
    else:
        raise InvalidData(
            f"{place}: one of chosen and rejected is text, the other messages",
            "write both as text or both as messages",
        )
    if not prompt:
        raise InvalidData(
            f"{place}: no prompt, and chosen {quoted(chosen)} and rejected {quoted(rejected)} "
            "begin with nothing in common",
            "add a column prompt",
        )
    return prompt, chosen[shared:], rejected[shared:]


def _common(a: str | Conversation, b: str | Conversation) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
