"""Other packages: what they are asked is our game; what is not there is absent, no failure."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import processes
from benchmarks.cases import Comparison, OuterStep, Study, Tally
from benchmarks.found import Absent
from benchmarks.peers import PEERS
from benchmarks.rows import Row
from benchmarks.run import run_cases
from benchmarks.solvers import peer_worker
from benchmarks.solvers.comparison import INTERPRETERS, OTHER_INTERPRETERS, ask, interpreter_of
from nlhf import PreferenceGame, Stream, solve


def rows_of(folder: Path, case: object) -> dict[str, Row]:
    return {row.method: row for row in run_cases("test", [case], folder, lambda *_: None)}


def test_the_payoff_that_peers_are_given_has_our_equilibrium_as_its_quantal_response() -> None:
    rng = Stream(5).child("peers").generator()
    upper = np.triu(rng.random((6, 6)), 1)
    p = upper + np.tril(1.0 - upper.T, -1) + 0.5 * np.eye(6)
    mu, temperature = rng.dirichlet(np.ones(6)), 0.3
    policy = solve(PreferenceGame(p, mu, temperature)).policy
    payoff = peer_worker.payoff_of(p, np.log(mu), temperature)
    np.testing.assert_array_equal(payoff, -payoff.T)
    logits = payoff @ policy / temperature
    response = np.exp(logits - logits.max())
    np.testing.assert_allclose(policy, response / response.sum(), atol=1e-12)


def test_a_peer_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processor seconds are those of all threads, and ours of one."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nprintf '{\"threads\": %s}' $OPENBLAS_NUM_THREADS\n")
    interpreter.chmod(0o755)
    games = np.full((1, 2, 2), 0.5)
    assert ask(str(interpreter), "nashpy", games, games[0], 0.0) == {"threads": 1}


def test_every_peer_has_a_distribution_whose_version_is_told() -> None:
    for name, (_, distribution) in peer_worker.PEERS.items():
        assert PEERS[name] == (distribution,)


@pytest.mark.parametrize("name", list(peer_worker.PEERS))
def test_a_peer_that_is_there_finds_our_equilibrium_and_one_that_is_not_is_absent(
    name: str, tmp_path: Path
) -> None:
    regularised = name in ("pygambit", "open_spiel")
    case = Comparison("cycle", 3, 1, 0.5 if regularised else 0.0, ("exact", name), repeats=1)
    row = rows_of(tmp_path, case)[name]
    if row.status == "absent":
        with pytest.raises(Absent, match=INTERPRETERS.get(name, OTHER_INTERPRETERS)):
            interpreter_of(name)
    else:
        assert row.status == "ok", row.message
        assert row.numbers["duality_gap_largest"] < 1e-6
        assert set(PEERS[name]) <= set(row.provenance["versions"])


def test_counts_and_lists_of_votes_give_the_same_rewards(tmp_path: Path) -> None:
    pytest.importorskip("choix")
    rows = rows_of(tmp_path, Tally(5, 300, repeats=2))
    assert [row.status for row in rows.values()] == ["ok"] * 3
    assert rows["nlhf"].numbers["score_in_votes"] < 1e-8
    assert all(row.numbers["score_in_votes"] < 1e-2 for row in rows.values())


def test_without_trl_its_row_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NLHF_TRL_PYTHON", raising=False)
    case = OuterStep("tiny", rounds=1, steps=1, methods=("trl-nash-md-cached",))
    row = rows_of(tmp_path, case)["trl-nash-md-cached"]
    assert row.status == "absent"
    assert "NLHF_TRL_PYTHON" in row.message


def test_what_a_process_of_its_own_cannot_import_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an installation without extras: a module is there, and broken is what is failed."""
    module = tmp_path / "worker_without.py"
    module.write_text("import json, no_such_module\n")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    with pytest.raises(Absent, match="No module named 'no_such_module'"):
        processes.fresh("worker_without")
    module.write_text("raise ValueError('on purpose')\n")
    with pytest.raises(RuntimeError, match="on purpose"):
        processes.fresh("worker_without")


def test_a_study_without_its_modules_or_data_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_DATA", raising=False)
    for needs, data in ((("no_such_module",), ""), ((), "NO_SUCH_DATA")):
        case = Study("x", "benchmarks.studies.impossibility", "smoke", needs, data)
        row = rows_of(tmp_path, case)["study"]
        assert row.status == "absent"
        assert (*needs, data)[0] in row.message


def test_a_study_writes_its_tables_and_tells_what_it_took(tmp_path: Path) -> None:
    case = Study("impossibility", "benchmarks.studies.impossibility", "smoke")
    row = rows_of(tmp_path, case)["study"]
    assert row.status == "ok", row.message
    assert row.numbers["peak_memory_bytes"] > 10 << 20
    assert (tmp_path / "impossibility.csv").read_text().startswith("# revision: ")
    broken = Study("broken", "benchmarks.no_such_study", "smoke")
    assert rows_of(tmp_path, broken)["study"].status == "failed"
