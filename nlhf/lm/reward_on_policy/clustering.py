"""Semantic clusters of the responses to a prompt, by any notion of saying the same."""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
from jaxtyping import Int

from nlhf.data.text import quoted
from nlhf.errors import InvalidData
from nlhf.lm.judges.answers import listed, raised, rows_named

Equivalence = Callable[[list[str], list[list[str]]], Sequence[bool]]
"""`equivalent(prompts, pairs)`: for every prompt and pair [a, b] of texts, whether they say the
same; it should not depend on their order."""


class Clustering(StrEnum):
    """How answers about pairs become clusters, since saying the same is rarely transitive."""

    GREEDY = "greedy"
    """In the order of the sample, each response joins the first cluster whose first member it
    equals, or begins a new one (the rule of `semantic_entropy` in jlko's code). It depends on the
    order, and asks only about first members."""
    TRANSITIVE = "transitive"
    """Connected components: whatever is linked by a chain of equal pairs is one cluster. Does not
    depend on the order; one wrong answer can join two clusters."""


def semantic_clusters(
    prompts: Sequence[str],
    texts: Sequence[Sequence[str]],
    equivalent: Equivalence,
    *,
    clustering: Clustering = Clustering.GREEDY,
    rows: Sequence[int] | None = None,
) -> list[Int[np.ndarray, " response"]]:
    """Return the cluster of every response, numbered from 0 by first appearance.

    Equal texts are one cluster without a question, and a pair is asked once.

    Args:
        prompts: The text of every prompt.
        texts: The responses to every prompt.
        equivalent: Whether two responses say the same; all prompts are asked in one call.
        clustering: How pairs become clusters.
        rows: Row numbers for errors; by default the places of the prompts.

    Raises:
        InvalidData: The callable raised (its exception is the cause), or an answer is neither true
            nor false; names the row.
    """
    asker = _Asker(prompts, equivalent, range(len(prompts)) if rows is None else rows)
    distinct = [list(dict.fromkeys(own)) for own in texts]
    if clustering is Clustering.GREEDY:
        found = _greedy(distinct, asker)
    else:
        found = _components(distinct, asker)
    clusters = []
    for own, names, labels in zip(texts, distinct, found, strict=True):
        label = dict(zip(names, labels, strict=True))
        clusters.append(np.array([label[text] for text in own], dtype=np.int64))
    return clusters


class _Asker:
    def __init__(
        self, prompts: Sequence[str], equivalent: Equivalence, rows: Sequence[int]
    ) -> None:
        self._prompts, self._equivalent, self._rows = prompts, equivalent, rows

    def ask(self, questions: list[tuple[int, str, str]]) -> list[bool]:
        """Answer questions (prompt, text, text) in one call."""
        if not questions:
            return []
        rows = sorted({self._rows[x] for x, _, _ in questions})
        try:
            said: object = self._equivalent(
                [self._prompts[x] for x, _, _ in questions], [[a, b] for _, a, b in questions]
            )
        except Exception as error:
            raise raised("equivalence", rows_named(rows), error) from error
        fix = "return True or False for every pair of texts"
        values = listed(said, len(questions), f"the equivalence, {rows_named(rows)}", fix)
        for (x, a, b), value in zip(questions, values, strict=True):
            if not isinstance(value, bool | np.bool_):
                raise InvalidData(
                    f"row {self._rows[x]}: the equivalence answered {quoted(value)} to the pair "
                    f"{quoted(a)}, {quoted(b)}",
                    fix,
                )
        return [bool(value) for value in values]


def _greedy(distinct: list[list[str]], asker: _Asker) -> list[list[int]]:
    labels: list[list[int]] = [[] for _ in distinct]
    leaders: list[list[str]] = [[] for _ in distinct]
    for place in range(max(map(len, distinct), default=0)):
        here = [x for x, own in enumerate(distinct) if place < len(own)]
        questions = [(x, leader, distinct[x][place]) for x in here for leader in leaders[x]]
        answers = iter(asker.ask(questions))
        for x in here:
            equal = [next(answers) for _ in leaders[x]]
            label = equal.index(True) if True in equal else len(equal)
            labels[x].append(label)
            if label == len(equal):
                leaders[x].append(distinct[x][place])
    return labels


def _components(distinct: list[list[str]], asker: _Asker) -> list[list[int]]:
    places = [
        (x, i, j) for x, own in enumerate(distinct) for j in range(len(own)) for i in range(j)
    ]
    answers = asker.ask([(x, distinct[x][i], distinct[x][j]) for x, i, j in places])
    found = [list(range(len(own))) for own in distinct]
    for (x, i, j), equal in zip(places, answers, strict=True):
        if equal and found[x][i] != found[x][j]:
            low, high = sorted((found[x][i], found[x][j]))
            found[x] = [low if name == high else name for name in found[x]]
    return [[list(dict.fromkeys(names)).index(name) for name in names] for names in found]
