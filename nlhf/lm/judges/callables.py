"""Judges and reward functions that anybody writes: plain callables on texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from nlhf.data.text import quoted
from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.judges.answers import listed, number, raised, rows_named
from nlhf.lm.judges.base import require_same_prompts
from nlhf.lm.judges.encoding import response_rows
from nlhf.lm.judges.texts import Decoder, prompt_texts, response_texts
from nlhf.lm.responses import Responses

Judge = Callable[[list[str], list[list[str]]], Sequence[float]]
"""`judge(prompts, pairs)`: for every prompt and pair [a, b] of texts, P(a is preferred to b)."""

RewardFunction = Callable[..., Sequence[float]]
"""TRL's: `f(prompts=..., completions=..., completion_ids=..., **columns)`, a number for each."""

Column = Sequence[Any] | Mapping[int, Any]
"""What further is known of every row, by its number."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked once, however many pairs of responses read the same."""

    row: int
    prompt: str
    first: str
    second: str


class CallablePreference:
    """A judge of texts as a preference model.

    Judges favour a place: the first or the second answer, whatever they say. With `debias`, every
    pair is asked in both orders and :math:`P(a, b) = (J(a, b) + 1 - J(b, a))/2`, which is
    complementary whatever the judge says, and 1/2 for equal texts. Without, a pair is asked in the
    order given, at half the price, and :math:`P(a, b) + P(b, a)` may differ from 1: the
    equilibrium of such answers is not that of a symmetric game. Equal questions are asked once.

    Args:
        judge: See `Judge`. It must be deterministic, or the two orders disagree by its noise.
        tokenizer: Turns tokens into text.
        debias: Whether both orders are asked.
        batch: The most pairs of one call.

    Raises:
        HypothesisViolated: The batch is not at least 1.
    """

    def __init__(
        self, judge: Judge, tokenizer: Decoder, *, debias: bool = True, batch: int = 1024
    ) -> None:
        if batch < 1:
            raise HypothesisViolated(f"batch {batch}", "ask for at least 1 pair a call")
        self.judge = judge
        self.tokenizer = tokenizer
        self.debias = debias
        self.batch = batch

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the judge's probabilities.

        Raises:
            InvalidData: The prompts differ; the judge raised (its exception is the cause), or an
                answer is no probability. Each names the row.
        """
        require_same_prompts(first, second)
        prompts = prompt_texts(first.prompts, self.tokenizer)
        lefts, rights = (response_texts(side, self.tokenizer) for side in (first, second))
        questions = [
            _Question(row, prompt, a, b)
            for row, prompt, own, other in zip(
                first.prompts.rows, prompts, lefts, rights, strict=True
            )
            for a in own
            for b in other
        ]
        asked = dict.fromkeys(questions)
        turned = [_Question(q.row, q.prompt, q.second, q.first) for q in questions]
        if self.debias:
            asked.update(dict.fromkeys(turned))
        answers = self._ask(list(asked))
        straight = np.array([answers[q] for q in questions])
        if self.debias:
            straight = (straight + 1.0 - np.array([answers[q] for q in turned])) / 2.0
        return straight.reshape(*first.shape, second.shape[1])

    def _ask(self, questions: list[_Question]) -> dict[_Question, float]:
        answers: dict[_Question, float] = {}
        for start in range(0, len(questions), self.batch):
            part = questions[start : start + self.batch]
            try:
                said = self._call(part)
            except Exception as error:
                raise self._blame(part, error) from error
            answers.update(zip(part, _probabilities(said, part), strict=True))
        return answers

    def _call(self, part: Sequence[_Question]) -> object:
        return self.judge([q.prompt for q in part], [[q.first, q.second] for q in part])

    def _blame(self, part: list[_Question], error: Exception) -> InvalidData:
        """Find the row on which the judge raises by asking again, row by row."""
        rows = sorted({q.row for q in part})
        for row in rows if len(rows) > 1 else []:
            try:
                self._call([q for q in part if q.row == row])
            except Exception:
                return raised("judge", f"row {row}", error)
        return raised("judge", rows_named(rows), error)


class CallableReward:
    """A reward function in TRL's form as a reward model.

    Called as `f(prompts=..., completions=..., completion_ids=..., **columns)` with one entry per
    response: the prompt's text repeated, the response's text and its tokens (the end token among
    them), and the columns of the data set, looked up by row and repeated likewise.

    Args:
        function: The reward function, or any callable that takes these arguments.
        tokenizer: Turns tokens into text.
        columns: Further columns of the user's data set, indexed by row number.
        batch: The most responses of one call.

    Raises:
        HypothesisViolated: The batch is not at least 1.
        InvalidData: A column has a name that is taken.
    """

    def __init__(
        self,
        function: RewardFunction,
        tokenizer: Decoder,
        *,
        columns: Mapping[str, Column] | None = None,
        batch: int = 1024,
    ) -> None:
        if batch < 1:
            raise HypothesisViolated(f"batch {batch}", "ask for at least 1 response a call")
        taken = {"prompts", "completions", "completion_ids"} & set(columns or {})
        if taken:
            raise InvalidData(
                f"columns are called {', '.join(sorted(taken))}",
                "rename them: reward functions get the prompts and responses under these names",
            )
        self.function = function
        self.tokenizer = tokenizer
        self.columns = dict(columns or {})
        self.batch = batch

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return the function's rewards.

        Raises:
            InvalidData: The function raised (its exception is the cause), a column lacks a row, or
                a reward is not a finite number. Each names the row.
        """
        count = responses.shape[1]
        rows = [row for row in responses.prompts.rows for _ in range(count)]
        prompts = prompt_texts(responses.prompts, self.tokenizer)
        asked: dict[str, list[Any]] = {
            "prompts": [text for text in prompts for _ in range(count)],
            "completions": [
                text for some in response_texts(responses, self.tokenizer) for text in some
            ],
            "completion_ids": [list(one) for some in response_rows(responses) for one in some],
        }
        for name, column in self.columns.items():
            asked[name] = [_entry(name, column, row) for row in rows]
        said: list[float] = []
        for start in range(0, len(rows), self.batch):
            stop = min(start + self.batch, len(rows))
            part = {name: values[start:stop] for name, values in asked.items()}
            try:
                found = self.function(**part)
            except Exception as error:
                raise self._blame(part, rows[start:stop], error) from error
            said += _finite(found, rows[start:stop], start, count)
        return np.array(said).reshape(responses.shape)

    def _blame(
        self, part: Mapping[str, list[Any]], rows: list[int], error: Exception
    ) -> InvalidData:
        """Find the row on which the function raises by calling it again, row by row."""
        distinct = sorted(set(rows))
        for row in distinct if len(distinct) > 1 else []:
            own = [k for k, other in enumerate(rows) if other == row]
            try:
                self.function(**{name: [values[k] for k in own] for name, values in part.items()})
            except Exception:
                return raised("reward function", f"row {row}", error)
        return raised("reward function", rows_named(distinct), error)


def _probabilities(said: object, asked: Sequence[_Question]) -> list[float]:
    fix = "return, for every pair, the probability in [0, 1] that its first text is preferred"
    values = listed(
        said, len(asked), f"the judge, {rows_named(sorted({q.row for q in asked}))}", fix
    )
    found = []
    for question, value in zip(asked, values, strict=True):
        answer = number(value)
        if answer is None or not 0.0 <= answer <= 1.0:
            raise InvalidData(
                f"row {question.row}: the judge answered {quoted(value)} to the pair "
                f"{quoted(question.first)}, {quoted(question.second)}",
                fix,
            )
        found.append(answer)
    return found


def _finite(said: object, rows: Sequence[int], start: int, count: int) -> list[float]:
    fix = "return a finite number for every completion"
    values = listed(said, len(rows), f"the reward function, {rows_named(sorted(set(rows)))}", fix)
    found = []
    for k, (row, value) in enumerate(zip(rows, values, strict=True), start):
        answer = number(value)
        if answer is None or not np.isfinite(answer):
            raise InvalidData(
                f"row {row}, response {k % count}: the reward is {quoted(value)}", fix
            )
        found.append(answer)
    return found


def _entry(name: str, column: Column, row: int) -> Any:
    try:
        return column[row]
    except (IndexError, KeyError) as error:
        raise InvalidData(
            f"row {row}: the column {name!r} has {len(column)} entries",
            "give columns that are as long as the data set, in its order",
        ) from error
