"""The comparison: honest counts, curves and labels, on every kind of game."""

import numpy as np
import pytest

import nlhf
from nlhf.algorithms import published
from nlhf.analysis.comparison import DEFAULT_STOP, Curve, _decay, compare, default_algorithms
from nlhf.analysis.methods import METHODS, method, published_names
from nlhf.analysis.promises import promise
from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.plotting import plot_comparison
from nlhf.plotting.comparisons import _apart

CYCLE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])
QUICK = nlhf.StopRule(gap=1e-6, max_iterations=200, judge_every=1, patience=200)
BRIEF = nlhf.StopRule(gap=1e-4, max_iterations=40, judge_every=4)


@pytest.fixture(scope="module")
def cyclic():
    return compare(nlhf.PreferenceGame(CYCLE, temperature=0.3), stop=QUICK)


def by_name(comparison):
    return {run.name: run for run in comparison.runs}


def test_every_shipped_method_is_compared(cyclic):
    kinds = {type(run.algorithm) for run in cyclic.runs}
    assert kinds == set(published.ALGORITHMS.values())
    assert not cyclic.refused


def test_a_run_is_what_solve_gives_and_nothing_is_left_out_of_its_curve(cyclic):
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    for run in cyclic.runs:
        alone = nlhf.solve(game, run.algorithm, stop=QUICK)
        assert run.stop is alone.stop
        assert run.curve.gaps.tolist() == [row.gap for row in alone.trace.rows]
        assert run.curve.iterations.tolist() == list(range(run.iterations + 1))
        assert run.bound.value == alone.certificate.bound.value == run.curve.gaps[-1]


def test_evaluations_are_counted_and_time_does_not_run_back(cyclic):
    runs = by_name(cyclic)
    per_step = {"mirror descent": 1, "extragradient": 2, "optimistic": 1, "Nash-MD": 1}
    for name, count in per_step.items():
        curve = runs[name].curve
        np.testing.assert_array_equal(curve.evaluations, count * curve.iterations)
        assert runs[name].evaluations_per_iteration == count
    for run in cyclic.runs:
        assert (run.curve.seconds >= 0.0).all()
        assert not run.curve.gaps.flags.writeable


def test_linear_rates_keep_their_promises(cyclic):
    promised = [run for run in cyclic.runs if run.promise is not None and run.promise.contraction]
    assert len(promised) == 3
    for run in promised:
        assert run.stop is nlhf.Stop.CERTIFIED
        assert run.iterations <= run.promise.until
        assert run.decay.contraction <= run.promise.contraction
        bounds = dict(zip(run.promise.iterations.tolist(), run.promise.gaps, strict=True))
        for k, gap in zip(run.curve.iterations[1:].tolist(), run.curve.gaps[1:], strict=True):
            assert k not in bounds or gap <= bounds[k] * (1 + 1e-9)


def test_the_bias_of_constant_step_nash_md_is_recorded_and_no_other_method_is_called_biased():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    rule = nlhf.StopRule(gap=1e-12, max_iterations=200, judge_every=2, patience=200)
    found = by_name(compare(game, stop=rule))
    assert {name for name, run in found.items() if run.biased} == {"Nash-MD, constant step"}
    # More iterations change nothing: the fixed point is another one, by theory/nash_md.py.
    run = found["Nash-MD, constant step"]
    mixed = nlhf.PreferenceGame(CYCLE, temperature=0.3 / (1.0 - 0.3 * run.step_size))
    tilt = np.exp(CYCLE @ nlhf.solve(mixed).policy / 0.3)
    bias = nlhf.certify(game, tilt / tilt.sum()).bound.value
    assert run.curve.gaps[-1] == pytest.approx(bias, rel=1e-6)


def test_a_run_cut_short_is_not_called_biased():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    rule = nlhf.StopRule(gap=1e-10, max_iterations=20, judge_every=1)
    assert not any(run.biased for run in compare(game, stop=rule).runs)


def test_at_temperature_zero_refusals_have_reasons_and_averages_keep_their_bounds():
    found = compare(nlhf.PreferenceGame(CYCLE), stop=QUICK)
    assert {refusal.name for refusal in found.refused} == {
        "mirror descent",
        "Nash-MD",
        "Nash-EMA",
    }
    assert all("temperature" in refusal.reason for refusal in found.refused)
    averages = [run for run in found.runs if isinstance(run.algorithm, nlhf.Average)]
    assert len(averages) == 2
    for run in averages:
        bounds = dict(zip(run.promise.iterations.tolist(), run.promise.gaps, strict=True))
        for k, gap in zip(run.curve.iterations[1:].tolist(), run.curve.gaps[1:], strict=True):
            assert k not in bounds or gap <= bounds[k]


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_trees_decision_processes_and_two_player_games_are_compared_too(temperature):
    rng = np.random.default_rng(3)
    upper = np.triu(rng.random((4, 4)), 1)
    p = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(4)
    transitions = rng.dirichlet(np.ones(2), size=(2, 2))
    mdp = nlhf.MDP(transitions, np.array([0.5, 0.5]))
    games = [
        nlhf.TrajectoryGame(nlhf.TokenTree(2, 2), p, temperature=temperature),
        nlhf.MarkovGame(nlhf.FiniteHorizon(mdp, 3), p, temperature=temperature),
        nlhf.ZeroSumGame(p, temperatures=(temperature, temperature)),
        nlhf.PreferenceGame(np.stack([p, p.T]), temperature=temperature),
    ]
    for game in games:
        found = compare(game, stop=BRIEF)
        assert "extragradient" in {run.name for run in found.runs}
        assert all(run.curve.gaps.min() < run.curve.gaps[0] for run in found.runs)
        steps = [run.iterations for run in found.certified]
        assert steps == sorted(steps)


def test_observed_decay_finds_a_known_factor_and_a_known_power():
    k = np.arange(501)
    for gaps, linear in ((3.0 * 0.97**k, True), (2.0 * (k + 1e-9) ** -1.5, False)):
        decay = _decay(Curve(k, k, k * 1e-3, gaps), rounding=1e-30)
        assert decay.linear is linear
        if linear:
            assert decay.contraction == pytest.approx(0.97, rel=1e-9)
        else:
            assert decay.exponent == pytest.approx(-1.5, rel=1e-6)
    # Gaps of rounding size say nothing.
    assert _decay(Curve(k, k, k * 1e-3, np.full(501, 1e-17)), rounding=1e-16) is None


def test_own_methods_under_own_names_and_an_empty_choice():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    told = []
    found = compare(
        game,
        {"mine": nlhf.Extragradient(1.0), "too bold": nlhf.Extragradient(50.0)},
        QUICK,
        observe=lambda name, row: told.append((name, row.iteration)),
    )
    assert [run.name for run in found.runs] == ["mine"]
    assert found.runs[0].step_size == 1.0
    assert "step_size 50" in found.refused[0].reason
    assert told[0] == ("mine", 0)
    with pytest.raises(HypothesisViolated, match="no algorithm"):
        compare(game, {})


def test_nothing_is_promised_outside_the_hypotheses():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    assert promise(game, nlhf.Extragradient(50.0, unproven=True), DEFAULT_STOP) is None
    assert promise(game, nlhf.NashMD(1.0), DEFAULT_STOP) is None
    assert promise(game, nlhf.Average(nlhf.Extragradient()), DEFAULT_STOP) is None
    assert promise(game, nlhf.Extragradient(), DEFAULT_STOP).until is not None


def test_published_names_are_names_of_the_same_class():
    for name in published.__all__:
        kind = getattr(published, name)
        if isinstance(kind, type) and kind is not nlhf.Average:
            assert kind in METHODS.values()
    for name, kind in METHODS.items():
        assert type(method(name)) is kind
    assert method("egpo") == method("nash-mirror-prox") == nlhf.Extragradient()
    assert method("mpo") == nlhf.ProximalPoint(nlhf.MirrorDescent())
    assert method("mpo", 0.1, unproven=True).inner == nlhf.MirrorDescent(0.1, True)
    assert method("onpo", average=True) == nlhf.Average(nlhf.OptimisticMirrorDescent())
    assert "EGPO" in published_names(nlhf.Extragradient())
    assert "MPO" not in published_names(nlhf.ProximalPoint())
    with pytest.raises(InvalidProblem, match="'egpo' is close"):
        method("egopo")


def test_default_algorithms_are_proven_ones_but_for_those_without_a_proof():
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    for algorithm in default_algorithms(game).values():
        assert not getattr(algorithm, "unproven", False)


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_pictures_are_drawn_whatever_the_runs_did(tmp_path, temperature):
    game = nlhf.PreferenceGame(CYCLE, temperature=temperature)
    for k, rule in enumerate(
        [
            BRIEF,
            nlhf.StopRule(gap=0.0, max_iterations=40, judge_every=7),
            nlhf.StopRule(gap=1e9),
            nlhf.StopRule(max_iterations=0),
        ]
    ):
        path = tmp_path / f"{k}.svg"
        plot_comparison(compare(game, stop=rule), path)
        text = path.read_text(encoding="utf-8")
        assert "</svg>" in text
    tie = nlhf.PreferenceGame(np.full((2, 2), 0.5), temperature=temperature)
    plot_comparison(compare(tie, stop=BRIEF), tmp_path / "tie.png")
    names = {f"$x^{{2$ [red] {k}": nlhf.Extragradient() for k in range(14)}
    plot_comparison(compare(game, names, BRIEF), tmp_path / "names.png")


def test_labels_are_moved_apart_and_stay_in_their_order():
    heights = [1.0, 1.0, 1.05, 3.9, 0.1]
    moved = _apart(heights, 0.0, 4.0)
    assert sorted(range(5), key=lambda k: moved[k]) == sorted(range(5), key=lambda k: heights[k])
    assert np.diff(sorted(moved)).min() >= 0.3
    assert min(moved) >= 0.0
    assert max(moved) <= 4.0


def test_where_steps_are_approximate_nothing_is_promised_and_a_rest_above_the_gap_is_bias():
    upper = np.triu(np.random.default_rng(5).random((27, 27)), 1)
    p = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(27)
    rule = nlhf.StopRule(gap=1e-9, max_iterations=60, judge_every=1, patience=60)
    methods = {"short": nlhf.Extragradient(), "long": nlhf.NashMD(), "mirror": nlhf.MirrorDescent()}
    found = {}
    for realiser in (nlhf.SoftBellman(), nlhf.TokenwiseMixture()):
        game = nlhf.TrajectoryGame(nlhf.TokenTree(3, 3), p, temperature=0.5, realiser=realiser)
        found[type(realiser)] = by_name(compare(game, methods, rule))
    approximate, exact = found[nlhf.TokenwiseMixture], found[nlhf.SoftBellman]
    assert all(run.promise is None for run in approximate.values())
    assert all(run.promise is not None for run in exact.values())
    assert not any(run.biased for run in exact.values())
    assert exact["short"].stop is nlhf.Stop.CERTIFIED
    assert approximate["short"].biased
    assert approximate["short"].bound.low > rule.gap


def test_promises_name_theorems_of_the_ledger():
    ledger = pytest.importorskip("nlhf_theory").ALL
    games = [nlhf.PreferenceGame(CYCLE, temperature=t) for t in (0.0, 0.3)]
    promised = {
        type(run.algorithm): run.promise.theorem
        for game in games
        for run in compare(game, stop=BRIEF).runs
        if run.promise is not None and game.temperature > 0.0
    }
    assert promised == {
        nlhf.MirrorDescent: "mirror-descent-linear",
        nlhf.Extragradient: "extragradient-linear",
        nlhf.OptimisticMirrorDescent: "optimistic-linear",
        nlhf.NashMD: "nash-md-rate",
    }
    averaged = {
        run.promise.theorem for run in compare(games[0], stop=BRIEF).runs if run.promise is not None
    }
    assert averaged == {"sppo-average", "onpo-average"}
    assert averaged | set(promised.values()) <= {theorem.key for theorem in ledger}


def test_names_of_methods_are_read_in_capitals_too_and_options_are_not_swallowed():
    assert method("EGPO") == method("egpo")
    assert method("MPO") == method("mpo")
    for name in ("nash-md", "Nash-EMA"):
        with pytest.raises(InvalidProblem, match="changes nothing"):
            method(name, 0.1, unproven=True)


@pytest.mark.parametrize("gap", [1e-6, 1e-9])
def test_labels_of_ticks_stay_inside_the_picture(cyclic, tmp_path, monkeypatch, gap):
    figures = []
    monkeypatch.setattr("nlhf.plotting.comparisons.save", lambda figure, _: figures.append(figure))
    rule = nlhf.StopRule(gap=gap, max_iterations=1000, judge_every=100, patience=1000)
    game = nlhf.PreferenceGame(CYCLE, temperature=0.3)
    plot_comparison(compare(game, stop=rule), tmp_path / "picture.png")
    figure = figures[0]
    figure.draw_without_rendering()
    for panel in figure.axes:
        for text in panel.get_xticklabels():
            assert text.get_window_extent().x1 <= figure.bbox.x1
