"""The plot shows every margin, in its place."""

import re
from dataclasses import replace
from math import inf, nan
from xml.etree import ElementTree

import pytest

from nlhf.reporting.plots import tightness
from nlhf.theorems import check, record
from tests.theorems.toys import TRUE

DOT = re.compile(r"M\s?(\S+) (\S+?)h0")


@pytest.fixture(scope="module")
def found():
    return record(check(TRUE, 100))


def with_margins(found, part, control):
    return replace(
        found,
        parts=(replace(found.parts[0], margins=part, tightest=min(part, default=inf)),),
        controls=(replace(found.controls[0], margins=control),),
    )


def dots(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in DOT.findall(svg)]


def test_every_margin_is_a_dot(found):
    count = len(found.parts[0].margins) + len(found.controls[0].margins)
    assert len(dots(tightness(found))) == count > 100


def test_dots_stand_in_the_order_of_their_margins(found):
    margins = (-1e5, -1.0, -1e-7, -1e-12, 0.0, 1e-12, 1e-7, 1.0, 1e5)
    places = [x for x, _ in dots(tightness(with_margins(found, margins, ())))]
    assert places == sorted(places)
    assert len(set(places)) == len(margins)


def test_the_place_of_a_margin_is_logarithmic(found):
    margins = (1e-9, 1e-6, 1e-3, 1.0, -1e-9, -1e-6)
    a, b, c, d, left, far_left = (x for x, _ in dots(tightness(with_margins(found, margins, ()))))
    assert b - a == pytest.approx(c - b, abs=0.03)
    assert d - c == pytest.approx(c - b, abs=0.03)
    assert left - far_left == pytest.approx(b - a, abs=0.03)


def test_undefined_margins_are_left_out_and_endless_ones_drawn_at_the_end(found):
    shown = dots(tightness(with_margins(found, (nan, 1.0, 1e300, inf), (nan,))))
    assert len(shown) == 3
    assert shown[0][0] < shown[1][0] == shown[2][0] <= 410.0


@pytest.mark.parametrize("name", ['a"b<script>&', "tau 0.12345", "ε in ℝ", "word " * 200])
def test_any_name_can_be_said_and_leaves_room_for_the_dots(found, name):
    control = replace(found.controls[0], hypothesis=name)
    svg = tightness(replace(found, controls=(control,)))
    element = ElementTree.fromstring(svg)
    assert f"without {name}" in element.attrib["aria-label"]
    texts = [text.text or "" for text in element.iter() if text.tag.endswith("text")]
    assert any(text.startswith(f"not {name[:12]}") for text in texts)
    assert max(map(len, texts[:2])) <= 36
    if len(name) < 30:
        assert f"not {name}" in texts
    assert min(x for x, _ in dots(svg)) > 0


def test_nothing_seen_is_an_empty_picture(found):
    svg = tightness(replace(found, parts=(), controls=()))
    assert dots(svg) == []
    ElementTree.fromstring(svg.replace("xlink:", ""))


def test_identifiers_belong_to_the_theorem_and_colours_to_the_page(found):
    first, second = tightness(found), tightness(replace(found, key="other"))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert all(name.startswith("product--") for name in ids[0])
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", first))
    assert used <= ids[0]
    assert not re.findall(r"#[0-9a-f]{6}\b", first)
    assert {"var(--ink)", "var(--held)", "var(--broke)"} <= set(re.findall(r"var\([^)]*\)", first))


def test_the_same_record_gives_the_same_bytes(found):
    assert tightness(found) == tightness(found)


def test_the_picture_says_in_words_what_it_shows(found):
    label = ElementTree.fromstring(tightness(found).replace("xlink:", "")).get("aria-label")
    assert "the tightest" in label
    assert "20 of 20 without square" in label


def test_the_picture_is_small(found):
    assert len(tightness(found)) < 4000 + 40 * 120
