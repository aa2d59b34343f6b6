"""Mutants are drawn from all that count; needs the extra `mutations`."""

import pytest

pytest.importorskip("cosmic_ray")

from tests.mutations import drawing
from tests.mutations.drawing import behaviour, draw

CODE = '''
def f(x: int | None = None) -> float | str:
    """Return 1 + 1."""
    y: int | float = x + 1
    if x < 2:
        raise ValueError(f"{x + 1}", 3 - x)
    return f"{y + 1:g}" + y
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int | None", "int & None"),
        ("float | str", "float ^ str"),
        ("int | float", "int & float"),
        ('f"{x + 1}"', 'f"{x - 1}"'),
        ("3 - x", "3 * x"),
        ("{y + 1:g}", "{y - 1:g}"),
    ],
)
def test_what_only_types_and_texts_say_does_not_count(old, new):
    assert CODE.count(old) == 1
    assert behaviour(CODE.replace(old, new)) == behaviour(CODE)


@pytest.mark.parametrize(
    ("old", "new"), [("= x + 1", "= x - 1"), ("x < 2", "x <= 2"), ('" + y', '" - y')]
)
def test_control_what_is_computed_counts(old, new):
    assert CODE.count(old) == 1
    assert behaviour(CODE.replace(old, new)) != behaviour(CODE)


def test_a_draw_is_of_mutants_that_count_each_as_often_as_another(monkeypatch):
    monkeypatch.setattr(drawing, "files", lambda: ["nlhf/exact/rewards.py"])
    everything = draw(10**6, 0)
    assert len(set(everything)) == len(everything) > 20
    assert all(mutant.source() not in (None, drawing.text(mutant.file)) for mutant in everything)
    assert draw(10, 3) == draw(10, 3) != draw(10, 4)
    assert set(draw(10, 3)) <= set(everything)


def test_the_mutants_of_a_line_are_what_the_operators_make_of_it(monkeypatch):
    monkeypatch.setattr(drawing, "files", lambda: ["f.py"])
    monkeypatch.setattr(drawing, "text", lambda file: "def f(x):\n    return x - 1\n")
    made = {mutant.source().splitlines()[1].replace(" ", "") for mutant in draw(99, 0)}
    signs = ["+", "*", "/", "//", "%", "**"]
    assert made == {*(f"returnx{sign}1" for sign in signs), "returnx-2", "returnx-0"}
