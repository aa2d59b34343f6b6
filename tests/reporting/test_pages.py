"""The page and its Markdown say the same, all of it, and nothing else is needed."""

import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nlhf.errors import InvalidData
from nlhf.reporting import Texts, html_page, markdown_page, require_typeset, write_report
from nlhf.reporting.origin import commit
from nlhf.theorems import Difference
from tests.reporting.made import ORIGIN, TEXTS, TRICKY, toy_records
from tests.theorems.toys import TRUE

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
    assert "it holds & is <u>not</u> proved" in page.words
    assert "<i>" not in text
    assert "<u>" not in text
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


def test_a_part_of_the_ledger_says_so_and_how_to_get_it_again(records):
    chosen = replace(ORIGIN, only=("product", "bump"))
    for made in (html_page, markdown_page):
        whole, part = (made(records, TEXTS, origin) for origin in (ORIGIN, chosen))
        assert "asked-row" in part
        for text, said in ((whole, False), (part, True)):
            assert ("part of the ledger" in text) == said
            assert ("--only product bump --report out" in text) == said
            assert ("Every other row" in text) != said


def test_the_time_of_the_searches_is_told_from_that_of_the_run(records):
    kept = [replace(record, seconds=1000.0) for record in records]
    for made in (html_page, markdown_page):
        text = made(kept, TEXTS, ORIGIN)
        assert "7 s in this run" in text
        assert "took 4000 s" in text


def test_bars_and_stars_stay_within_their_cells_of_markdown(records):
    control = replace(records[0].controls[0], hypothesis="|x|_1 <b>", broken=("*a*|",))
    part = replace(records[0].parts[0], name="|y|")
    record = replace(records[0], controls=(control,), parts=(part,))
    difference = Difference("a|b", "*x*", (record.key,), "log(|P|/d)")
    lines = markdown_page([record], Texts({}, (difference,)), ORIGIN).split("\n")
    heads = {i: line for i, line in enumerate(lines) if set(line) <= set("|-:") and line}
    assert len(heads) == 4
    for first, head in heads.items():
        for line in lines[first + 1 : lines.index("", first)]:
            assert len(re.findall(r"(?<!\\)\|", line)) == head.count("|")
            assert not re.search(r"(?<!\\)[*<]", line)


def test_latex_that_cannot_be_set_is_named_with_its_theorem():
    require_typeset([TRUE, TRICKY])
    for text in (r"$\nonsense{x}$", "it costs $5", r"\frac"):
        with pytest.raises(InvalidData, match=f"^{TRUE.key} cannot be set"):
            require_typeset([replace(TRUE, statement=text)])


def test_the_commit_is_of_all_sources_and_says_what_differs_from_it(tmp_path):
    def git(*arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *names, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    for name in ("code", "ledger", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("")
    sources = (tmp_path / "code", tmp_path / "ledger")
    assert commit(sources) == ""
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=x")
    head = git("rev-parse", "HEAD")
    (tmp_path / "other" / "a.py").write_text("1")
    assert commit(sources) == head
    (tmp_path / "ledger" / "a.py").write_text("1")
    assert commit(sources) == f"{head}, with changes"
    assert commit((tmp_path / "code", tmp_path / "ledger" / "a.py")) == f"{head}, with changes"
    assert commit(sources[:1]) == head


def test_both_files_are_written_whole(records, tmp_path):
    paths = write_report(records[:1], TEXTS, ORIGIN, tmp_path)
    assert [path.name for path in paths] == ["index.html", "report.md"]
    assert paths[0].read_text() == html_page(records[:1], TEXTS, ORIGIN)
    assert paths[1].read_text() == markdown_page(records[:1], TEXTS, ORIGIN)
    assert len(list(tmp_path.iterdir())) == 2
