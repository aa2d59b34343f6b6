"""Theorems are found through entry points, by the library and by the command."""

import json
from importlib.metadata import EntryPoint

import pytest

import nlhf.cli.verify
import nlhf.theorems.ledger
from nlhf.cli.verify import Verify
from nlhf.errors import InvalidProblem, MissingExtra
from nlhf.theorems import installed_theorems, select
from tests.theorems.toys import FALSE, TRUE

FIRST_TABLE = {
    "kl-optimum",
    "symmetric-value",
    "ne-unique-symmetric",
    "gap-identity",
    "ne-dominance",
    "gap-controls-kl",
    "gap-controls-reverse-kl",
    "br-density-ratio",
    "logit-payoff-bt",
    "plug-in-identity",
    "no-reward-no-equilibrium",
}


def announce(monkeypatch, *entries: str):
    points = [EntryPoint(f"e{k}", value, "nlhf.theorems") for k, value in enumerate(entries)]
    monkeypatch.setattr(nlhf.theorems.ledger, "entry_points", lambda group: points)


def test_the_installed_ledger_holds_its_first_table():
    assert {theorem.key for theorem in installed_theorems()} >= FIRST_TABLE


def test_entry_points_may_be_of_another_class(monkeypatch):
    # As they are once importlib_metadata is loaded, by whatever package.
    class Entry:
        name, value, module = "ledger", "nlhf_theory:ALL", "nlhf_theory"

        def load(self):
            return (TRUE,)

    monkeypatch.setattr(nlhf.theorems.ledger, "entry_points", lambda group: [Entry()])
    assert installed_theorems() == (TRUE,)


def test_no_announced_theorems_is_an_error(monkeypatch):
    announce(monkeypatch)
    with pytest.raises(MissingExtra, match=r"nlhf\.theorems"):
        installed_theorems()


def test_two_theorems_of_one_key_are_an_error(monkeypatch):
    announce(monkeypatch, "nlhf_theory:ALL", "nlhf_theory.gap:ALL")
    with pytest.raises(InvalidProblem, match="gap-identity"):
        installed_theorems()


def test_an_unknown_key_names_near_ones():
    with pytest.raises(InvalidProblem, match=r"(?s)'prod-uct'.*did you mean product\?"):
        select((TRUE, FALSE), ("prod-uct",))
    with pytest.raises(InvalidProblem, match="choose among"):
        select((TRUE, FALSE), ("zzz",))


def test_selection_keeps_the_order_of_the_keys_and_takes_each_once():
    assert select((TRUE, FALSE), ("bump", "product", "bump")) == (FALSE, TRUE)
    assert select((TRUE, FALSE), ()) == (TRUE, FALSE)


def strict(text: str):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_command_prints_one_strict_json_document_and_leaves_nothing(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    command = Verify(
        only=("gap-controls-reverse-kl", "br-density-ratio"), budget=40, json=True, workers=1
    )
    assert command.run() == 0
    found = strict(capsys.readouterr().out)
    assert found["as_expected"] is True
    assert {"python", "numpy", "hypothesis", "nlhf"} <= set(found["versions"])
    assert (found["config"]["seed"], found["config"]["budget"]) == (0, 40)
    refuted, bound = found["theorems"]
    assert (refuted["key"], refuted["verdict"]) == ("gap-controls-reverse-kl", "falsified")
    assert refuted["counterexample_certified"] is True
    assert bound["controls"][0]["hypothesis"] == "range"
    assert bound["controls"][0]["bites"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_verdicts_and_controls(monkeypatch, capsys):
    monkeypatch.setattr(nlhf.cli.verify, "installed_theorems", lambda: (TRUE,))
    assert Verify(budget=30, workers=1).run() == 0
    out = capsys.readouterr().out
    assert "not falsified" in out
    assert "square 20/20" in out
    assert "1 of 1 as expected" in out


def test_the_command_fails_on_a_false_statement_and_says_why(monkeypatch, capsys):
    monkeypatch.setattr(nlhf.cli.verify, "installed_theorems", lambda: (TRUE, FALSE))
    assert Verify(budget=400, workers=1).run() == 1
    out = capsys.readouterr().out
    assert "bump: expected not falsified, found falsified" in out
    assert "1 of 2 as expected" in out


def test_a_vacuous_report_is_json_too(monkeypatch, capsys):
    from dataclasses import replace

    from nlhf.theorems import Hypothesis

    never = replace(TRUE, hypotheses=(Hypothesis("square", "never", lambda _: False),))
    monkeypatch.setattr(nlhf.cli.verify, "installed_theorems", lambda: (never,))
    assert Verify(budget=20, json=True, workers=1).run() == 1
    (entry,) = strict(capsys.readouterr().out)["theorems"]
    assert (entry["verdict"], entry["tightest"], entry["witness"]) == ("vacuous", "inf", None)
