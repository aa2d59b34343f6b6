"""The page and its Markdown say the same, all of it, and nothing else is needed."""

import re
from html.parser import HTMLParser

import pytest

from nlhf.reporting import html_page, markdown_page, write_report
from tests.reporting.made import ORIGIN, TEXTS, toy_records

VOID = {"meta", "link", "input", "wbr", "br"}


class Page(HTMLParser):
    """The elements of a page, with their texts; an error if they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[list[str]] = []
        self.said = ""
        self.feed(text)
        self.words = " ".join(self.said.split())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.said += data
        if {"td", "th"} & set(self.open) and self.cells and self.cells[-1]:
            self.cells[-1][-1] += data


@pytest.fixture(scope="module")
def records():
    return toy_records()


@pytest.fixture(scope="module")
def text(records):
    return html_page(records, TEXTS, ORIGIN)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_nothing_outside_the_page_is_referred_to(page, text):
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
            assert value.startswith(("#", "data:")), (tag, name, value)
    style = re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
    assert not re.search(r"@import|url\((?!#)", "".join(style))
    assert "<script" not in text
    assert not re.search(r"https?:", text)


def test_identifiers_are_unique_and_anchors_lead_somewhere(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    anchors = {value[1:] for _, name, value in page.attributes if name == "href" and "#" in value}
    assert anchors <= set(ids)
    assert {"product", "bump", "refuted", "tricky"} <= anchors


def test_what_would_be_markup_is_text(page, text):
    assert "i>never" in page.words
    assert "Lemma <" in page.words
    assert "it holds & is < proved" in page.words
    assert "<i>" not in text
    assert "<b>" not in text


def test_references_are_in_full_and_unknown_ones_are_named(page):
    assert "Kurt Gödel and Ann van der Toy Jr. (2026)" in page.words
    assert "-Toys & Games. Toys 7, 1–2." in page.words
    assert "unheard-of" in page.words


def test_a_failing_theorem_is_shown_as_failing(page, text):
    assert "3 of 4 as expected" in page.words
    assert "expected not falsified, found falsified" in page.words
    (article,) = re.findall(r'<article id="bump" class="([^"]*)"', text)
    assert article.split() == ["theorem", "falsified", "unexpected"]
    (refuted,) = re.findall(r'<article id="refuted" class="([^"]*)"', text)
    assert refuted.split() == ["theorem", "falsified"]


def test_the_origin_is_recorded(page):
    for said in ("2020-01-02 03:04 UTC", "60 instances", "abc1234", "nlhf 9.9", "--seed 5"):
        assert said in page.words


def test_instances_and_counterexamples_can_be_pasted(page, text, records):
    blocks = re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
    sources = [record.witness_source for record in records]
    sources += [control.witness for record in records for control in record.controls]
    for source in filter(None, sources):
        assert source in blocks
        assert set(eval(source)) == {"x", "y"}
    (certificate,) = (block for block in blocks if "Fraction" in block)
    names: dict[str, object] = {}
    exec(certificate.replace("&lt;", "<"), names)
    assert str(names["x"]) == "3/10"


def test_every_theorem_has_a_plot_and_set_maths(text):
    articles = re.split(r"<article ", text)[1:]
    assert len(articles) == 4
    for article in articles:
        assert article.count("<svg role") == 1
        assert article.count("<math>") >= 2


def markdown_rows(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.split("\n") if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_markdown_has_the_same_rows(page, records):
    rows = markdown_rows(markdown_page(records, TEXTS, ORIGIN))
    in_page = {tuple(" ".join(cell.split()) for cell in row) for row in page.cells}
    for record in records:
        (summary,) = (row for row in rows if row[0] == f"[{record.key}](#{record.key})")
        (shown,) = (row for row in in_page if row[0] == record.key and len(row) == 6)
        assert summary[1] == shown[1] == record.expected
        assert summary[2].removesuffix(" (not as expected)") == shown[2] == record.verdict
        assert summary[3] == shown[3] == str(record.instances)
        assert summary[4] == shown[4]
        for control in record.controls:
            row = (control.hypothesis, f"{control.bites} of {control.instances}")
            assert any(shown[:2] == row for shown in in_page)
            assert any(tuple(line[:2]) == row for line in rows)
    assert any(row[0] == "asked-row" for row in rows)
    assert any(row[0] == "asked-row" for row in in_page)


def test_markdown_says_everything_of_a_theorem(records):
    markdown = markdown_page(records, TEXTS, ORIGIN)
    assert r"$xy \le 1$" in markdown
    assert "3 of 4 as expected" in markdown
    assert "expected not falsified, found falsified" in markdown
    assert "x = Fraction(3, 10)" in markdown
    assert "Kurt Gödel" in markdown
    for record in records:
        assert f"```python\n{record.witness_source}\n```" in markdown


def test_differences_of_other_theorems_are_left_out(records):
    assert "asked-row" not in html_page(records[1:], TEXTS, ORIGIN)


def test_both_files_are_written_whole(records, tmp_path):
    paths = write_report(records[:1], TEXTS, ORIGIN, tmp_path)
    assert [path.name for path in paths] == ["index.html", "report.md"]
    assert paths[0].read_text() == html_page(records[:1], TEXTS, ORIGIN)
    assert paths[1].read_text() == markdown_page(records[:1], TEXTS, ORIGIN)
    assert len(list(tmp_path.iterdir())) == 2
