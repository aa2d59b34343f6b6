"""Third route: equilibria computed once by Gambit's quantal-response tracer, stored beside."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlhf import PreferenceGame, solve
from tests.definition import self_play_gap

TABLE = json.loads(Path(__file__).with_name("gambit_table.json").read_text())
AGREEMENT = 1e-9


def game_of(row: dict[str, Any], temperature: float | None = None) -> PreferenceGame:
    size = len(row["weights"])
    p = np.full((size, size), 0.5)
    i, j = np.triu_indices(size, 1)
    p[i, j] = row["above"]
    p[j, i] = 1.0 - p[i, j]
    mu = np.array(row["weights"]) / np.sum(row["weights"])
    return PreferenceGame(p, mu, temperature or row["temperature"])


def label(row: dict[str, Any]) -> str:
    return f"n{len(row['weights'])}-{row['kind']}-{row['temperature']:g}"


def test_the_table_names_its_maker_and_covers_sizes_and_temperatures() -> None:
    assert "pygambit 16.7.0" in TABLE["made_by"]
    assert {len(row["weights"]) for row in TABLE["rows"]} == {2, 3, 5, 10, 30}
    assert {row["temperature"] for row in TABLE["rows"]} == {1.0, 0.1, 0.01, 0.001}
    assert len(TABLE["rows"]) >= 40


@pytest.mark.parametrize("row", TABLE["rows"], ids=label)
def test_our_equilibrium_is_gambits_to_1e_9(row: dict[str, Any]) -> None:
    assert np.abs(solve(game_of(row)).policy - np.array(row["policy"])).sum() <= AGREEMENT


@pytest.mark.parametrize("row", [r for r in TABLE["rows"] if len(r["weights"]) <= 10], ids=label)
def test_gambits_policy_has_the_gap_of_an_equilibrium(row: dict[str, Any]) -> None:
    game = game_of(row)
    gap = self_play_gap(
        game.payoff.matrix,
        np.log(row["policy"]),
        game.reference.log_probabilities,
        row["temperature"],
    )
    assert -1e-45 <= gap <= row["temperature"] * TABLE["distance_bound"] ** 2 + 1e-18


@pytest.mark.parametrize("wrong", ["temperature", "transposed"])
def test_a_wrong_game_disagrees_with_the_table(wrong: str) -> None:
    """Control: the table tells temperatures and orientations apart."""
    missed = []
    for row in TABLE["rows"]:
        if wrong == "temperature":
            game = game_of(row, temperature=1.001 * row["temperature"])
        else:
            game = game_of({**row, "above": [1.0 - entry for entry in row["above"]]})
        apart = np.abs(solve(game).policy - np.array(row["policy"])).sum()
        if apart <= AGREEMENT:
            missed.append(label(row))
    # Where one response has all the mass, a temperature 0.1 % higher moves less than 1e-9.
    assert len(missed) <= (len(TABLE["rows"]) // 4 if wrong == "temperature" else 0), missed
