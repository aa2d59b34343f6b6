"""Methods side by side: each on the same freshly drawn instances, one after another in turn."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from benchmarks.clock import Laps, yardstick, yardstick_numbers
from benchmarks.found import Found, ratios

I = TypeVar("I")  # noqa: E741
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Answer(Generic[A]):
    """What a method returned.

    Attributes:
        value: The answer.
        status: ``ok``, or what the method says of itself.
        spent: Seconds by wall and processor where they were not taken here, but where it ran.
        notes: Numbers for the row.
    """

    value: A
    status: str = "ok"
    spent: tuple[float, float] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


Run = Callable[[I], Answer[A]]
Judge = Callable[[I, A], Mapping[str, float]]


@dataclass(slots=True)
class Turns:
    """All turns of one method.

    Attributes:
        laps: Their times.
        judged: What the judge said of every answer.
        status: The first that is not ``ok``.
        notes: Of the last answer.
        error: What it failed with.
    """

    laps: Laps = field(default_factory=Laps)
    judged: list[Mapping[str, float]] = field(default_factory=list)
    status: str = "ok"
    notes: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    def take(self, run: Run[I, A], instance: I, judge: Judge[I, A]) -> None:
        """Take a turn that counts."""
        answer = self.laps.time(lambda: run(instance))
        if answer.spent is not None:
            self.laps.wall[-1], self.laps.processor[-1] = answer.spent
        self.judged.append(judge(instance, answer.value))
        self.notes = answer.notes
        if self.status == "ok":
            self.status = answer.status

    def worst(self) -> dict[str, float]:
        """Return the largest of everything that the judge said."""
        return {name: max(each[name] for each in self.judged) for name in self.judged[0]}


def in_turn(
    makers: Mapping[str, Callable[[], Run[I, A]]],
    draw: Callable[[int], I],
    judge: Judge[I, A],
    repeats: int,
) -> Iterator[Found]:
    """Yield what is found of every method; the first instance is not counted.

    A method that fails, or is not there, is out; the others go on.

    Args:
        makers: Return the method, by name. What they compile is not timed.
        draw: Returns the instance of a number, -1 for the first.
        judge: Names how good an answer is; the smaller the better.
        repeats: Instances that count.
    """
    turns = {name: Turns() for name in makers}
    runs: dict[str, Run[I, A]] = {}
    yards = Laps()
    for name, make in makers.items():
        try:
            runs[name] = make()
        except Exception as error:  # a failure is a row
            turns[name].error = error
    for number in range(-1, repeats):
        instance = draw(number)
        for name in [each for each in runs if turns[each].error is None]:
            try:
                if number < 0:
                    runs[name](instance)
                else:
                    turns[name].take(runs[name], instance, judge)
            except Exception as error:
                turns[name].error = error
        if number >= 0:
            yards.time(yardstick)
    named = next(iter(turns))
    first = turns[named].laps
    for name, one in turns.items():
        if one.error is not None:
            yield Found.failure(name, one.error)
            continue
        numbers = (
            one.laps.numbers() | ratios(one.laps, first, named) | one.worst() | dict(one.notes)
        )
        yield Found(name, numbers | yardstick_numbers(yards), one.status)
