"""Several processes give the records of one, and what is done is not done again."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nlhf.errors import HypothesisViolated, InvalidProblem, NotAllowed
from nlhf.theorems import (
    Search,
    installed_references,
    installed_theorems,
    plain,
    run,
    select,
)
from nlhf.theorems.shelf import Shelf, fingerprint
from tests.theorems.toys import FALSE, TRUE

ROOT = Path(__file__).resolve().parents[2]


def without_times(records):
    return [{**plain(record), "seconds": None} for record in records]


class Counted:
    """A theorem that counts its evaluations, and may be interrupted at one of them."""

    def __init__(self, theorem, key: str, interrupted: bool = False) -> None:
        self.count = 0
        self.interrupted = interrupted
        self._margin = theorem.margin
        self.theorem = replace(theorem, key=key, margin=self._evaluate)

    def _evaluate(self, point):
        if self.interrupted:
            raise KeyboardInterrupt
        self.count += 1
        return self._margin(point)


@pytest.mark.slow
def test_two_workers_give_the_records_of_one(toy_ledger, tmp_path):
    keys = ("toy-false", "gap-identity", "toy-product", "selection", "coverage-grows-exponentially")
    theorems = select(installed_theorems(), keys)
    search = Search(12, 3)
    alone = run(theorems, search, workers=1)
    together = run(theorems, search, workers=2, folder=tmp_path / "kept")
    assert without_times(together) == without_times(alone)
    assert [record.key for record in together] == list(keys)
    pids = set((toy_ledger / "toy-product.seen").read_text().split())
    assert len(pids) == 2  # this process, and the worker that got it
    assert len(list((tmp_path / "kept").iterdir())) == len(keys)


def test_what_is_kept_is_not_run_again(tmp_path):
    counted = Counted(TRUE, "counted")
    first = run([counted.theorem], Search(40, 0), folder=tmp_path)
    before = counted.count
    assert before >= 40
    again = run([counted.theorem], Search(40, 0), folder=tmp_path)
    assert counted.count == before
    assert plain(again[0]) == plain(first[0])  # its time too


@pytest.mark.parametrize("other", [Search(41, 0), Search(40, 1)], ids=["budget", "seed"])
def test_another_search_is_run(tmp_path, other):
    counted = Counted(TRUE, "counted")
    run([counted.theorem], Search(40, 0), folder=tmp_path)
    before = counted.count
    run([counted.theorem], other, folder=tmp_path)
    assert counted.count > before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def changed(path: Path) -> None:
    content = json.loads(path.read_text())
    content["record"]["violations"] += 1
    path.write_text(json.dumps(content))


def of_another_kind(path: Path) -> None:
    path.write_text("[1, 2]")


def of_other_code(path: Path) -> None:
    content = json.loads(path.read_text())
    content["fingerprint"] = content["fingerprint"][::-1]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("spoil", [cut, changed, of_another_kind, of_other_code, Path.unlink])
def test_spoilt_records_are_run_again_and_replaced(tmp_path, spoil):
    counted, other = Counted(TRUE, "counted"), Counted(TRUE, "other")
    search, theorems = Search(30, 0), [counted.theorem, other.theorem]
    first = run(theorems, search, folder=tmp_path)
    before = counted.count, other.count
    spoil(tmp_path / "counted.json")
    again = run(theorems, search, folder=tmp_path)
    assert counted.count == 2 * before[0]
    assert other.count == before[1]
    assert without_times(again) == without_times(first)
    assert Shelf(tmp_path, search).read("counted") is not None


def test_an_interruption_leaves_what_is_done(tmp_path):
    done, stopped = Counted(TRUE, "done"), Counted(TRUE, "stopped", interrupted=True)
    theorems = [done.theorem, stopped.theorem]
    with pytest.raises(KeyboardInterrupt):
        run(theorems, Search(30, 0), folder=tmp_path)
    before = done.count
    assert [path.name for path in tmp_path.iterdir()] == ["done.json"]
    stopped.interrupted = False
    assert len(run(theorems, Search(30, 0), folder=tmp_path)) == 2
    assert done.count == before
    assert stopped.count >= 30


def test_the_fingerprint_changes_with_the_sources_of_the_ledger(toy_ledger):
    before = fingerprint(Search(1, 0))
    assert fingerprint(Search(1, 0)) == before
    with (toy_ledger / "__init__.py").open("a") as file:
        file.write("# another line\n")
    assert fingerprint(Search(1, 0)) != before


def test_the_ledger_may_be_a_single_file(tmp_path, monkeypatch):
    module, info = tmp_path / "single_ledger.py", tmp_path / "single_ledger-1.dist-info"
    module.write_text(
        "from dataclasses import replace\n"
        "from tests.theorems.toys import TRUE\n"
        "ALL = (replace(TRUE, key='single'),)\n"
    )
    (tmp_path / "references.bib").write_text("no bibliography of this module")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: single-ledger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[nlhf.theorems]\nx = single_ledger:ALL\n")
    before = fingerprint(Search(1, 0)), dict(installed_references())
    monkeypatch.syspath_prepend(tmp_path)
    assert "single" in {theorem.key for theorem in installed_theorems()}
    assert dict(installed_references()) == before[1]
    among = fingerprint(Search(1, 0))
    module.write_text(module.read_text() + "# another line\n")
    assert len({before[0], among, fingerprint(Search(1, 0))}) == 3


PROGRAMME = """
import signal
import sys
from pathlib import Path
from nlhf.theorems import Search, installed_theorems, run, select

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have ignored it
    theorems = select(installed_theorems(), ("toy-product", "toy-slow", "toy-false"))
    run(theorems, Search(10, 0), workers=2, folder=Path(sys.argv[1]))
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look for processes")
@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_workers_end_with_their_parent_and_the_rest_is_done_later(toy_ledger, tmp_path, ended):
    programme, kept = tmp_path / "programme.py", tmp_path / "kept"
    programme.write_text(PROGRAMME)
    path = os.pathsep.join([str(toy_ledger.parent), str(ROOT)])
    command = [sys.executable, str(programme), str(kept)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL
    )
    seen = toy_ledger / "toy-slow.seen"
    wait_for(lambda: len(list(kept.glob("*.json"))) == 2 and seen.exists())
    stuck = {int(pid) for pid in seen.read_text().split()}
    process.send_signal(ended)
    assert process.wait(60) != 0
    wait_for(lambda: not any(is_alive(pid) for pid in stuck), 30.0)
    first = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert set(first) == {"toy-product.json", "toy-false.json"}
    (toy_ledger / "go").touch()
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True)
    second = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert set(second) - set(first) == {"toy-slow.json"}
    assert {name: second[name] for name in first} == first


@pytest.mark.parametrize(("budget", "seed"), [(0, 0), (1, -1)])
def test_a_search_needs_a_budget_and_a_seed(budget, seed):
    with pytest.raises(HypothesisViolated):
        Search(budget, seed)


def test_a_run_needs_a_worker():
    with pytest.raises(HypothesisViolated, match="0 workers"):
        run([TRUE], Search(5, 0), workers=0)


@pytest.mark.slow
def test_a_worker_that_does_not_know_the_theorem_says_so(tmp_path):
    with pytest.raises(InvalidProblem, match="there is no theorem"):
        run([TRUE, FALSE], Search(5, 0), workers=2)


@pytest.mark.slow
def test_an_error_that_cannot_be_handed_over_is_named(toy_ledger):
    theorems = select(installed_theorems(), ("toy-raising", "toy-false"))
    with pytest.raises(NotAllowed, match="toy-raising raised Particular: nonsense at 7"):
        run(theorems, Search(5, 0), workers=2)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotAllowed, match="cannot be made"):
        run([TRUE], Search(5, 0), folder=tmp_path / "file" / "kept")


@pytest.mark.parametrize(("budget", "each"), [(5, 5), (20, 20), (100, 20), (200, 25)])
def test_a_control_gets_an_eighth_of_the_budget_but_what_a_small_one_has(budget, each):
    (found,) = run([TRUE], Search(budget, 0))
    assert found.controls[0].instances == each
