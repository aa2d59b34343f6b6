"""Files of prompts: from the beginnings of texts, or from any prompts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from nlhf.errors import InvalidData
from nlhf.lm.loading.chat import Text
from nlhf.lm.loading.datasets import GROUP, PROMPT, PromptData, prompts_of
from nlhf.lm.loading.records import Table, read_table


def beginnings(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    *,
    column: str = "text",
    subset: str | None = None,
    split: str = "train",
) -> PromptData:
    """Return the first tokens of every text as a prompt, for models that continue texts.

    Args:
        source: A file (JSON lines, JSON, Parquet) or a data set's id on the hub.
        tokenizer: Says what a token is.
        count: Tokens of a prompt, before decoding.
        column: Holds the texts.
        subset: Of a data set on the hub, where it has several.
        split: Of a data set on the hub.

    Raises:
        InvalidData: A text is no text, or has fewer tokens; names the row.
    """
    table = read_table(source, subset=subset, split=split)
    table.require(column)
    texts = [_plain(table, row, column) for row in range(len(table))]
    records = []
    for row, tokens in enumerate(tokenizer(texts, add_special_tokens=False)["input_ids"]):
        if len(tokens) < count:
            raise InvalidData(
                f"{table.origin.at(row)}: {column} has {len(tokens)} tokens, fewer than {count}",
                "ask for fewer tokens, or remove such texts",
            )
        records.append({PROMPT: tokenizer.decode(tokens[:count])})
    return prompts_of(replace(table, records=records))


def _plain(table: Table, row: int, column: str) -> str:
    text = table.text(row, column)
    if not isinstance(text, str):
        raise InvalidData(f"{table.origin.at(row)}: {column} is a conversation", "give plain texts")
    return text


def write_prompts(data: PromptData, path: str | Path) -> None:
    """Write prompts as JSON lines that `read_prompts` reads, groups included."""
    groups: Sequence[str | None] = data.groups or (None,) * len(data)
    lines = []
    for prompt, group in zip(data.prompts, groups, strict=True):
        record: dict[str, object] = {PROMPT: _cell(prompt)}
        if group is not None:
            record[GROUP] = group
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def _cell(prompt: Text) -> object:
    if isinstance(prompt, str):
        return prompt
    return [{"role": turn.role, "content": turn.content} for turn in prompt]
