"""The page as a browser shows it: maths and plots visible, no errors, no network."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from nlhf.reporting import html_page
from nlhf.theorems import (
    check,
    installed_differences,
    installed_references,
    installed_theorems,
    record,
)
from tests.reporting.made import ORIGIN, TEXTS, toy_records

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--hide-scrollbars"),
)

PROBE = """
<script>
addEventListener("load", () => {
  const box = element => element.getBoundingClientRect();
  const flat = element => !(box(element).width > 0 && box(element).height > 0);
  const label = element => (element.closest("[id]") || {}).id + ": " + element.textContent;
  const shown = () => document.querySelectorAll("article:not([hidden])").length
    - [...document.querySelectorAll("article")].filter(flat).length;
  const counts = {};
  for (const choice of document.querySelectorAll("input[name=show]:not([disabled])")) {
    choice.checked = true;
    counts[choice.id] = shown();
  }
  document.querySelector("#show-all").checked = true;
  document.querySelectorAll("details").forEach(details => { details.open = true; });
  const maths = [...document.querySelectorAll("math")];
  const plots = [...document.querySelectorAll("figure svg")];
  const wide = [...document.querySelectorAll("body *")].filter(element =>
    box(element).right > innerWidth + 1
    && !element.closest(".wide, pre, svg, math, .statement, dd"));
  const found = {
    maths: maths.length, flat_maths: maths.filter(flat).map(label),
    plots: plots.length, flat_plots: plots.filter(flat).map(label),
    dotted: plots.filter(plot => [...plot.querySelectorAll("path")].some(path =>
      getComputedStyle(path).strokeLinecap === "round" && path.getTotalLength() === 0)).length,
    colours: [...new Set(plots.map(plot => getComputedStyle(plot.querySelector("text")).fill))],
    width: innerWidth, scroll: document.documentElement.scrollWidth,
    beyond: wide.map(label), counts,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name),
    page: getComputedStyle(document.body).backgroundColor,
  };
  const output = document.createElement("output");
  output.id = "probe";
  output.textContent = JSON.stringify(found);
  document.body.append(output);
});
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What the probe found, and what the browser complained of."""

    found: dict
    console: list[str]


def opened(page: str, folder: Path, width: int = 1000, *more: str) -> Seen:
    path = folder / "page.html"
    path.write_text(page.replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [
            str(CHROMIUM),
            *OPTIONS,
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},900",
            *more,
            "--virtual-time-budget=5000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    (probe,) = re.findall(r'<output id="probe">(.*?)</output>', done.stdout, re.DOTALL)
    found = json.loads(probe.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return Seen(found, [line for line in done.stderr.split("\n") if "CONSOLE" in line])


@pytest.fixture(scope="module")
def toys():
    return html_page(toy_records(), TEXTS, ORIGIN)


def test_maths_and_plots_are_visible_and_nothing_is_fetched(toys, tmp_path):
    seen = opened(toys, tmp_path)
    assert seen.console == []
    assert seen.found["maths"] == toys.count("<math>") > 10
    assert seen.found["flat_maths"] == []
    assert seen.found["plots"] == seen.found["dotted"] == 4
    assert seen.found["flat_plots"] == []
    assert seen.found["fetched"] == []


def test_the_filter_shows_what_it_says(toys, tmp_path):
    assert opened(toys, tmp_path).found["counts"] == {
        "show-all": 4,
        "show-1": 2,
        "show-2": 2,
        "show-unexpected": 1,
    }


def test_a_phone_needs_no_scrolling_sideways(toys, tmp_path):
    found = opened(toys, tmp_path, 360).found
    assert found["width"] <= 500  # the least that some versions allow
    assert found["scroll"] <= found["width"]
    assert found["beyond"] == []


def test_light_and_dark_have_their_own_colours(toys, tmp_path):
    light, dark = (
        opened(toys, tmp_path, 1000, f"--blink-settings=preferredColorScheme={scheme}").found
        for scheme in (1, 0)
    )
    assert light["page"] == "rgb(255, 255, 255)"
    assert dark["page"] != light["page"]
    assert len(light["colours"]) == len(dark["colours"]) == 1
    assert light["colours"] != dark["colours"]


@pytest.mark.parametrize(
    ("spoil", "noticed"),
    [
        (lambda page: page.replace("<h1>", "<script>nonsense(</script><h1>"), "console"),
        (lambda page: page.replace("<h1>", '<img src="http://127.0.0.1:9/x.png"><h1>'), "fetched"),
        (lambda page: page.replace("math { font-size", "math { display: none; x"), "flat_maths"),
        (
            lambda page: page.replace("figure svg { display: block", "svg { display: none"),
            "flat_plots",
        ),
        (lambda page: page.replace("<h1>", "<h1 style='width: 90rem'>"), "beyond"),
        (lambda page: page.replace(":has(#show-2:checked)", ":has(#show-9:checked)"), "counts"),
    ],
    ids=["console", "network", "maths", "plots", "width", "filter"],
)
def test_control_each_defect_is_noticed(toys, tmp_path, spoil, noticed):
    spoilt = spoil(toys)
    assert spoilt != toys
    good, bad = opened(toys, tmp_path, 360), opened(spoilt, tmp_path, 360)
    if noticed == "console":
        assert bad.console != []
    else:
        assert bad.found[noticed] != good.found[noticed]


def test_the_page_of_the_whole_ledger(tmp_path):
    from nlhf.reporting import Texts

    records = tuple(record(check(theorem, 1)) for theorem in installed_theorems())
    for found in records:
        for text in (found.witness_source, *(control.witness for control in found.controls)):
            exec(compile(text, found.key, "exec"), {})  # it can be pasted
    page = html_page(records, Texts(installed_references(), installed_differences()), ORIGIN)
    assert len(page.encode()) < 10_000_000
    wide, narrow = (opened(page, tmp_path, width) for width in (1000, 360))
    assert wide.console == narrow.console == []
    for seen in (wide.found, narrow.found):
        assert seen["maths"] == page.count("<math>") > 500
        assert seen["flat_maths"] == seen["flat_plots"] == seen["fetched"] == []
        assert seen["plots"] == len(records)
        assert seen["scroll"] <= seen["width"]
        assert seen["beyond"] == []
