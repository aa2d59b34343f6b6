"""What processes, games and solutions look like in a terminal: one short line that says which."""

import numpy as np
import pytest

import nlhf
from nlhf.results import Bound, Knows, Units

MDP = nlhf.MDP(np.full((3, 2, 3), 1 / 3), 0)
CYCLE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])
PROCESS = "MDP(3 states, 2 actions, 18 entries)"
LOW_RANK = nlhf.LowRankPreference(np.eye(4)[:, :2], np.array([[0.0, 0.3], [-0.3, 0.0]]))


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (nlhf.FiniteHorizon(MDP, 5), f"FiniteHorizon({PROCESS}, horizon=5)"),
        (nlhf.Histories(MDP, 2), f"Histories({PROCESS}, horizon=2)"),
        (nlhf.Discounted(MDP, 0.9), f"Discounted({PROCESS}, discount=0.9)"),
        (nlhf.TokenTree(3, 2), "TokenTree(vocabulary=3, horizon=2)"),
        (nlhf.TokenTree(3, 2, 4), "TokenTree(vocabulary=3, horizon=2, contexts=4)"),
        (
            nlhf.MarkovGame(nlhf.FiniteHorizon(MDP, 5), np.full((6, 6), 0.5), temperature=0.05),
            f"MarkovGame(FiniteHorizon({PROCESS}, horizon=5), temperature=0.05)",
        ),
        (
            nlhf.TrajectoryGame(nlhf.TokenTree(3, 1), CYCLE),
            "TrajectoryGame(TokenTree(vocabulary=3, horizon=1), temperature=0)",
        ),
        (
            nlhf.PreferenceGame(CYCLE, temperature=0.1),
            "PreferenceGame(3 responses, temperature=0.1)",
        ),
        (
            nlhf.LogOddsGame(np.stack([CYCLE, CYCLE])),
            "LogOddsGame(2 contexts, 3 responses, temperature=0)",
        ),
        (
            nlhf.ZeroSumGame(np.ones((2, 3)), temperatures=(0.1, 0.2)),
            "ZeroSumGame(2 x 3 responses, temperatures=(0.1, 0.2))",
        ),
        (LOW_RANK, "LowRankPreference(4 responses, 2 features)"),
        (nlhf.Policy.of(np.full((4, 2), 0.5)), "Policy(shape=(4, 2))"),
    ],
)
def test_it_is_printed_in_one_line(value, printed):
    assert repr(value) == str(value) == printed


def test_a_solution_prints_its_certificate_and_why_it_stopped_but_no_arrays():
    game = nlhf.PreferenceGame(np.full((500, 500), 0.5), temperature=0.1)
    rule = nlhf.StopRule(gap=0.0, max_iterations=7)
    for solution, end in (
        (nlhf.solve(game, nlhf.Extragradient(), stop=rule), "budget after 7 iterations"),
        (nlhf.solve(game), "solver after "),
    ):
        assert str(solution) == repr(solution)
        assert str(solution.certificate) in str(solution)
        assert end in str(solution)
        assert len(str(solution)) < 200


def test_an_exact_solution_is_not_told_to_be_solved_exactly():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.1)
    with pytest.raises(nlhf.NlhfError) as caught:
        nlhf.solve(game).require(-1.0)
    assert "nlhf.solve(game)" not in str(caught.value)
    run = nlhf.solve(game, nlhf.Extragradient(), stop=nlhf.StopRule(max_iterations=1))
    with pytest.raises(nlhf.NlhfError, match=r"nlhf.solve\(game\)"):
        run.require(-1.0)


@pytest.mark.parametrize(
    ("bound", "printed"),
    [
        (Bound.exact(0.25, Units.NATS, 1e-16), "0.25 nats (exact)"),
        (Bound(0.1, Knows.LOWER, Units.PAYOFF, 0.1, np.inf), "0.1 payoff (lower)"),
        (
            Bound(0.5, Knows.INTERVAL, Units.WIN_PROBABILITY, 0.4, 0.625, 0.95),
            "0.5 win probability (0.4 to 0.625 at confidence 0.95)",
        ),
    ],
)
def test_a_bound_says_what_is_known(bound, printed):
    assert str(bound) == printed
