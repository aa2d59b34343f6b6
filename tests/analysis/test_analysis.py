"""What the analysis adds to the solver: order, completion, choices, comparison with a reward."""

import subprocess
import sys

import numpy as np
import pytest

import nlhf
from nlhf.analysis.votes import (
    SEVERITY,
    Condorcet,
    NoBaseline,
    PayoffKind,
    Settings,
    analyse_preferences,
    analyse_votes,
    least_favourable,
)
from nlhf.data import WinCounts
from nlhf.data.matrices import Preferences
from nlhf.errors import Degenerate, InvalidData, InvalidProblem, SolverFailed
from nlhf.estimation import Completion


def counts(name: str, wins) -> WinCounts:
    wins = np.array(wins)
    names = tuple(f"{name}{i}" for i in range(len(wins)))
    return WinCounts(name, names, wins, np.zeros_like(wins))


CYCLE = counts("cycle", [[0, 9, 2], [1, 0, 7], [8, 3, 0]])
PAIR = counts("pair", [[0, 3], [1, 0]])
OPEN = counts("open", [[0, 3, 0], [1, 0, 2], [0, 2, 0]])


def test_prompts_of_different_sizes_keep_their_order():
    analysis = analyse_votes([CYCLE, PAIR, OPEN], Settings(temperature=0.1))
    assert [solution.prompt for solution in analysis.prompts] == ["cycle", "pair", "open"]
    for solution in analysis.prompts:
        alone = nlhf.solve(nlhf.PreferenceGame(solution.preference, temperature=0.1))
        np.testing.assert_allclose(solution.policy, alone.policy, atol=1e-13)


def test_pairs_never_compared_are_reported_and_the_rule_is_named():
    analysis = analyse_votes([OPEN], Settings(temperature=0.1))
    assert analysis.prompts[0].unseen == ((0, 2),)
    assert any("1 pair never compared, filled in by: half" in c for c in analysis.choices)
    with pytest.raises(InvalidData, match="never compared"):
        analyse_votes([OPEN], Settings(temperature=0.1, unseen=Completion.ERROR))


def test_votes_that_are_bradley_terry_leave_nothing_to_gain_under_log_odds():
    rewards = np.array([0.0, np.log(2), np.log(4)])
    odds = np.exp(rewards[:, None] - rewards[None, :])
    share = odds / (1 + odds)
    wins = np.round(share * 15_000_000).astype(int)
    np.fill_diagonal(wins, 0)
    analysis = analyse_votes(
        [counts("bt", wins)], Settings(temperature=0.5, payoff=PayoffKind.LOG_ODDS)
    )
    # Under log-odds the equilibrium is μ e^{r/τ}/Z: the reward's policy at scale τ (ne: theory).
    assert analysis.baselines[0].exploitability < 1e-6
    assert analysis.baselines[0].scale == pytest.approx(0.5, rel=2e-2)
    expected = np.exp(rewards / 0.5)
    np.testing.assert_allclose(analysis.prompts[0].policy, expected / expected.sum(), atol=1e-5)


def test_a_cycle_is_beyond_any_reward():
    # Around this cycle no reward tilts the policy the right way; the equilibrium does.
    analysis = analyse_votes([CYCLE], Settings(temperature=0.05))
    assert analysis.prompts[0].majority.condorcet_winners == ()
    assert set(analysis.prompts[0].majority.cycle) == {0, 1, 2}
    assert analysis.baselines[0].exploitability > 100 * analysis.largest_gap
    assert analysis.baselines[0].exploitability > 1e-4


def test_given_preferences_need_no_votes():
    p = np.array([[[0.5, 0.9], [0.1, 0.5]]])
    analysis = analyse_preferences(Preferences(("x",), (("a", "b"),), p), Settings(0.1))
    exact = nlhf.solve(nlhf.PreferenceGame(p[0], temperature=0.1)).policy
    np.testing.assert_allclose(analysis.prompts[0].policy, exact, atol=1e-14)
    with pytest.raises(InvalidProblem, match="temperature"):
        analyse_preferences(Preferences(("x",), (("a", "b"),), p), Settings(-1.0))


def test_progress_is_told_of_every_stage():
    told = []
    analyse_votes([CYCLE, PAIR], Settings(), lambda stage, done, total: told.append((stage, total)))
    assert {stage for stage, _ in told} == {"estimating", "solving", "comparing"}
    assert {total for _, total in told} == {2}


def test_the_upper_end_of_every_gap_covers_the_gap_of_the_prompt_alone():
    found = analyse_votes([CYCLE, CYCLE, OPEN], Settings(temperature=0.1))
    for solution in found.prompts:
        game = nlhf.PreferenceGame(solution.preference, temperature=0.1)
        alone = nlhf.certify(game, solution.policy).bound
        assert solution.gap_low <= solution.gap <= solution.gap_high <= found.largest_gap
        assert alone.low <= solution.gap_high
        assert solution.gap_low <= alone.high


@pytest.mark.parametrize(
    ("wins", "reason"),
    [
        ([[0, 2, 2], [1, 0, 2], [1, 1, 0]], Condorcet.WINNER),
        ([[0, 9, 2], [1, 0, 7], [8, 3, 0]], Condorcet.CYCLE),
        ([[0, 1, 2], [1, 0, 2], [1, 1, 0]], Condorcet.TIES),
        ([[0, 3, 0], [1, 0, 2], [0, 1, 0]], Condorcet.UNSEEN),
        # The first is tied with the second and was never compared with the third.
        ([[0, 1, 0], [1, 0, 1], [0, 2, 0]], Condorcet.UNSEEN),
        ([[0, 1, 0], [1, 0, 2], [0, 1, 0]], Condorcet.TIES),
    ],
)
def test_a_missing_condorcet_winner_has_a_reason(wins, reason):
    assert analyse_votes([counts("x", wins)], Settings(0.1)).prompts[0].condorcet is reason


def test_a_single_response_is_named_and_is_no_silent_winner():
    with pytest.warns(Degenerate, match="'one': only one response"):
        analysis = analyse_votes([counts("one", [[0]]), PAIR], Settings(0.1))
    assert analysis.prompts[0].condorcet is Condorcet.TRIVIAL
    assert analysis.null.observed == 0


def test_a_run_that_stalled_outranks_an_exact_solution():
    stops = [nlhf.Stop.STALLED, nlhf.Stop.SOLVER, nlhf.Stop.CERTIFIED]
    assert least_favourable(stops) is nlhf.Stop.STALLED
    assert least_favourable(list(nlhf.Stop)) is nlhf.Stop.DIVERGED
    assert set(SEVERITY) == set(nlhf.Stop)


def test_a_failed_fit_loses_no_policy(monkeypatch):
    def fail(*_, **__):
        raise SolverFailed("score 1", "more votes", solver="newton", status="score not zero")

    monkeypatch.setattr("nlhf.analysis.baselines.fit_bradley_terry", fail)
    analysis = analyse_votes([CYCLE], Settings(0.1))
    assert isinstance(analysis.baselines[0], NoBaseline)
    assert analysis.baselines[0].reason == "score 1"
    assert analysis.largest_gap < 1e-12


@pytest.mark.parametrize("temperature", [0.0, 1e-3, 0.1, 30.0])
def test_the_best_scale_is_no_worse_than_any_other_in_its_range(temperature):
    found = analyse_votes([CYCLE], Settings(temperature))
    baseline = found.baselines[0]
    game = nlhf.PreferenceGame(found.prompts[0].preference, temperature=temperature)
    least, largest = baseline.scale_range
    assert least <= baseline.scale <= largest
    for scale in np.geomspace(least, largest, 50):
        logits = baseline.rewards / scale
        other = np.exp(logits - logits.max())
        loss = nlhf.exploitability(game, other / other.sum()).bound.value
        assert baseline.exploitability <= loss * (1 + 1e-3) + 1e-9


_STRINGS = """
import numpy as np
from nlhf.analysis.prompts import PayoffKind, game_of
from nlhf.analysis.votes import Settings
from nlhf.errors import InvalidProblem
from nlhf.estimation import Completion
from nlhf.games.preference import LogOddsGame, PreferenceGame

p = np.array([[0.5, 0.9], [0.1, 0.5]])
games = {"probability": PreferenceGame, "log-odds": LogOddsGame}
for name, kind in games.items():
    for payoff in (name, PayoffKind(name)):
        settings = Settings(payoff=payoff, unseen="half")
        print(settings.unseen is Completion.HALF, type(game_of(p, settings.payoff, 0.1)) is kind)
        print(type(game_of(p, payoff, 0.1)) is kind)
for wrong in ({"payoff": "junk"}, {"unseen": "junk"}):
    try:
        Settings(**wrong)
    except InvalidProblem as error:
        print("'junk'" in str(error) and "choose from" in str(error))
"""


def test_choices_may_be_given_as_strings():
    # In a process of its own: the type checks of the test run allow members only.
    ran = subprocess.run(
        [sys.executable, "-c", _STRINGS], check=True, capture_output=True, text=True
    )
    assert ran.stdout.split() == ["True"] * 14
