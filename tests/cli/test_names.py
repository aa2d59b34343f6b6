"""Any string is a possible name of a prompt or a response: nothing printed or drawn may choke."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.analysis.votes import Settings, analyse_votes
from nlhf.cli.documents import document
from nlhf.cli.tables import print_analysis
from nlhf.data import WinCounts
from nlhf.labels import label, printable
from nlhf.plotting import plot_analysis

NASTY = [
    "[INST] hi [/INST]",
    "[/]",
    ":cat:",
    "$x^{2$",
    "$\\frac$",
    "\x1b[31m",
    "a\nb",
    "\ud800",
    "",
]
names = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=40))


def analysis_of(prompt: str, responses: list[str]):
    wins = np.array([[0, 9, 2], [1, 0, 7], [8, 3, 0]])
    return analyse_votes(
        [WinCounts(prompt, tuple(responses), wins, np.zeros_like(wins))], Settings(0.1)
    )


@settings(deadline=None, max_examples=30)
@given(names, st.lists(names, min_size=3, max_size=3, unique=True))
def test_tables_and_documents_take_any_name(prompt, responses):
    analysis = analysis_of(prompt, responses)
    print_analysis(analysis, 0.0)
    found = json.loads(json.dumps(document(analysis, {}, 0.0, 0), allow_nan=False))
    assert found["prompts"][0]["prompt"] == prompt
    assert found["prompts"][0]["responses"] == responses


@settings(deadline=None, max_examples=6)
@given(names, st.lists(names, min_size=3, max_size=3, unique=True))
def test_pictures_take_any_name(tmp_path_factory, prompt, responses):
    folder = tmp_path_factory.mktemp("pictures")
    plot_analysis(analysis_of(prompt, responses), folder / "picture.svg")
    assert "</svg>" in (folder / "picture.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NASTY)
def test_pictures_take_names_that_look_like_formulas(name, tmp_path):
    plot_analysis(analysis_of(name, [name, "b", "c"]), tmp_path / "picture.svg")


@given(names, st.integers(4, 40))
def test_labels_are_printable_and_short_and_keep_what_fits(name, most):
    text = label(name, most)
    assert text.isprintable()
    assert len(text) <= most
    if name.isprintable():
        assert printable(name) == name
        assert len(name) > most or text == name
