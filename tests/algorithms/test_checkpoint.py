"""Interrupted runs go on bit by bit; checkpoints of other runs and damaged ones are refused."""

import copy
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlhf
from nlhf.algorithms.checkpoint import CheckpointFile, Identity
from nlhf.algorithms.fingerprint import fingerprint
from nlhf.errors import InvalidData, NotAllowed, Unsupported
from tests.algorithms.games import CYCLE, ONE_PER_METHOD, SampledGame, family

STREAM = nlhf.Stream(5)
STEPS = 32


def game(temperature=0.1):
    return SampledGame(CYCLE, [0.6, 0.3, 0.1], temperature)


GAMES = (
    game(),
    nlhf.PreferenceGame(CYCLE, [0.6, 0.3, 0.1], 0.1),
    nlhf.PreferenceGame(CYCLE, [0.6, 0.3, 0.1], 0.1).two_player(),
    nlhf.TrajectoryGame(
        nlhf.TokenTree(3, 2),
        family(1, 9, nlhf.Stream(4).generator())[0],
        temperature=0.1,
    ),
)


def solve(algorithm, stop, path, **options):
    every = options.pop("every_seconds", 1e9)
    checkpoint = None if path is None else nlhf.Checkpoint(path, every)
    return nlhf.solve(
        options.pop("game", game()),
        algorithm,
        stop=stop,
        stream=STREAM,
        checkpoint=checkpoint,
        **options,
    )


def told(solution):
    return [(row.iteration, row.gap) for row in solution.trace.rows]


@settings(max_examples=30)
@given(
    st.sampled_from(ONE_PER_METHOD),
    st.lists(st.integers(0, STEPS), max_size=3).map(sorted),
    st.integers(1, 12),
    st.sampled_from(GAMES),
)
def test_a_run_in_pieces_is_the_run_in_one(algorithm, cuts, judge_every, played):
    def rule(steps):
        return nlhf.StopRule(gap=0.0, max_iterations=steps, judge_every=judge_every, patience=1)

    whole = solve(algorithm, rule(STEPS), None, game=played)
    with tempfile.TemporaryDirectory() as folder:
        for cut in cuts:
            solve(algorithm, rule(cut), Path(folder) / "run", game=played)
        pieces = solve(algorithm, rule(STEPS), Path(folder) / "run", game=played)
    for part, strategy in zip(pieces.profile, whole.profile, strict=True):
        np.testing.assert_array_equal(part.log_probabilities, strategy.log_probabilities)
    assert told(pieces) == told(whole)
    assert pieces.stop is whole.stop
    assert pieces.provenance.iterations == whole.provenance.iterations


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("step", [0, 7, 30])
def test_an_interrupted_run_loses_nothing(error, step, tmp_path, monkeypatch):
    rule = nlhf.StopRule(gap=0.0, max_iterations=STEPS)
    checkpoint = nlhf.Checkpoint(tmp_path / "run", every_seconds=1e9)
    whole = solve(nlhf.Extragradient(), rule, None)
    exact = SampledGame.operator

    def interrupted(self, profile, stream=None):
        if stream is not None and stream.path == ("step", str(step), "second"):
            raise error
        return exact(self, profile, stream)

    monkeypatch.setattr(SampledGame, "operator", interrupted)
    with pytest.raises(error):
        nlhf.solve(game(), nlhf.Extragradient(), stop=rule, stream=STREAM, checkpoint=checkpoint)
    asked = []

    def counted(self, profile, stream=None):
        if stream is not None:
            asked.append(stream.path[1])
        return exact(self, profile, stream)

    monkeypatch.setattr(SampledGame, "operator", counted)
    resumed = nlhf.solve(
        game(), nlhf.Extragradient(), stop=rule, stream=STREAM, checkpoint=checkpoint
    )
    assert asked[0] == str(step)
    np.testing.assert_array_equal(resumed.log_policy, whole.log_policy)
    assert told(resumed) == told(whole)


@pytest.mark.parametrize("seconds", [0.0, 2.5])
def test_a_save_is_due_after_its_seconds_and_not_before(seconds, tmp_path, monkeypatch):
    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr("nlhf.algorithms.checkpoint.time", clock)
    now = 100.0
    identity = Identity.of(game(), game().start(), nlhf.MirrorDescent(), STREAM)
    file = CheckpointFile(nlhf.Checkpoint(tmp_path / "run", seconds), identity)
    assert file.due() == (seconds == 0.0)
    now = 102.25
    assert file.due() == (seconds == 0.0)
    now = 102.5
    assert file.due()


def test_a_finished_run_goes_on_to_a_smaller_gap(tmp_path):
    path = tmp_path / "run"
    exact = nlhf.PreferenceGame(CYCLE, [0.6, 0.3, 0.1], 0.1)
    done = solve(nlhf.MirrorDescent(), nlhf.StopRule(1e-4), path, game=exact)
    seen = []
    further = solve(
        nlhf.MirrorDescent(), nlhf.StopRule(1e-9), path, game=exact, observe=seen.append
    )
    assert (done.stop, further.stop) == (nlhf.Stop.CERTIFIED, nlhf.Stop.CERTIFIED)
    assert 0 < done.provenance.iterations < further.provenance.iterations
    straight = solve(nlhf.MirrorDescent(), nlhf.StopRule(1e-9), None, game=exact)
    assert told(further) == told(straight)
    assert tuple(seen) == further.trace.rows  # those before the resumption included
    assert further.trace.rows[0].seconds == done.trace.rows[0].seconds
    assert further.provenance.seconds > done.trace.rows[-1].seconds


def test_the_file_is_replaced_as_time_passes_and_never_half_written(tmp_path):
    path, sizes = tmp_path / "run", []

    def look(row):
        assert [file.name for file in tmp_path.iterdir()] == ["run"]
        sizes.append(path.stat().st_size)

    solve(nlhf.NashMD(), nlhf.StopRule(0.0, 50), path, observe=look, every_seconds=0.0)
    assert sizes == sorted(set(sizes))  # one more row each time


SAVED = nlhf.StopRule(gap=0.0, max_iterations=5)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"game": SampledGame(CYCLE, [0.6, 0.3, 0.1], 0.1 + 1e-15)}, "another game"),
        ({"game": SampledGame(CYCLE.T.copy(), [0.6, 0.3, 0.1], 0.1)}, "another game"),
        ({"start": [0.2, 0.3, 0.5]}, "another start"),
        ({"algorithm": nlhf.Extragradient(0.5)}, r"another algorithm.*step_size=None.*0\.5"),
        ({"algorithm": nlhf.MirrorDescent()}, r"another algorithm.*not MirrorDescent\("),
        ({"stream": nlhf.Stream(6)}, "another stream.*seed=5.*seed=6"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_kept(other, message, tmp_path):
    path = tmp_path / "run"
    solve(nlhf.Extragradient(), SAVED, path)
    before = path.read_bytes()
    run = {"game": game(), "algorithm": nlhf.Extragradient(), "stream": STREAM} | other
    with pytest.raises(NotAllowed, match=message):
        nlhf.solve(**run, stop=SAVED, checkpoint=nlhf.Checkpoint(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "run"
    solve(nlhf.Extragradient(), SAVED, path)
    return path.read_bytes()


@given(st.data())
def test_a_damaged_checkpoint_is_refused_and_kept(good, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        place = data.draw(st.integers(0, len(good) - 1))
        flipped = bytes([good[place] ^ data.draw(st.integers(1, 255))])
        for bad in (good[:place], good[:place] + flipped + good[place + 1 :], good + b"x"):
            path.write_bytes(bad)
            with pytest.raises(InvalidData, match="no checkpoint, or is damaged"):
                solve(nlhf.Extragradient(), SAVED, path)
            assert path.read_bytes() == bad


def test_a_checkpoint_that_cannot_be_read_or_written_is_refused_at_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(nlhf.Extragradient, "step", lambda *_: calls.append(1))
    with pytest.raises(NotAllowed, match="cannot be written: No such file"):
        solve(nlhf.Extragradient(), SAVED, tmp_path / "nowhere" / "run")
    with pytest.raises(NotAllowed, match="cannot be read: Is a directory"):
        solve(nlhf.Extragradient(), SAVED, tmp_path)
    with pytest.raises(nlhf.NlhfError, match="every_seconds is -1"):
        nlhf.Checkpoint("run", every_seconds=-1)
    assert calls == []


def test_what_cannot_be_pickled_is_refused_at_once(tmp_path):
    class Restless(nlhf.Extragradient):
        def init(self, game, start):
            return lambda: start

        def profile(self, state):
            return state()

    with pytest.raises(Unsupported, match="cannot be saved"):
        solve(Restless(), SAVED, tmp_path / "run")
    busy = game()
    busy.__dict__["lock"] = (k for k in "generator")
    with pytest.raises(Unsupported, match="cannot be told from another"):
        solve(nlhf.Extragradient(), SAVED, tmp_path / "run", game=busy)
    assert not any(tmp_path.iterdir())


def test_fingerprints_see_every_bit_and_no_accident():
    one = nlhf.PreferenceGame(CYCLE, [0.6, 0.3, 0.1], 0.1)
    assert fingerprint(one) == fingerprint(pickle.loads(pickle.dumps(one)))
    assert fingerprint(one) == fingerprint(copy.deepcopy(one))
    nudged = CYCLE.copy()
    nudged[0, 1] = np.nextafter(0.9, 1.0)
    nudged[1, 0] = 1.0 - nudged[0, 1]
    different = [
        one,
        nlhf.PreferenceGame(nudged, [0.6, 0.3, 0.1], 0.1),
        nlhf.PreferenceGame(CYCLE, [0.6, 0.1, 0.3], 0.1),
        nlhf.PreferenceGame(CYCLE[None], [0.6, 0.3, 0.1], 0.1),
        nlhf.LogOddsGame(CYCLE, [0.6, 0.3, 0.1], 0.1),
        one.two_player(),
        (one,),
        ("a", ("b", "c")),
        (("a", "b"), "c"),
        1,
        1.0,
        True,
        "1",
        {1: 2, 3: 4},
        {1: 4, 3: 2},
    ]
    assert len({fingerprint(value) for value in different}) == len(different)
    assert fingerprint({1: 2, 3: 4}) == fingerprint({3: 4, 1: 2})
    loop = []
    loop.append(loop)
    with pytest.raises(Unsupported):
        fingerprint(loop)


def test_a_fingerprint_is_that_of_another_process():
    code = (
        "import nlhf; from nlhf.algorithms.fingerprint import fingerprint as f;"
        "g = nlhf.PreferenceGame([[0.5, 0.8], [0.2, 0.5]], [0.3, 0.7], 0.1);"
        "print(f((g, {'a', 'b', 'c'}, g.two_player())))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


class Plain:
    """A method of somebody else: no dataclass, no repr."""

    keeps_equilibrium = True

    def __init__(self, strength):
        self._strength = strength

    def init(self, game, start):
        return start

    def step(self, game, state, stream):
        return game.prox(game.operator(state, stream), [(state, self._strength)])

    def profile(self, state):
        return state


def test_a_method_without_a_repr_resumes_and_another_parameter_is_another_method(tmp_path):
    game = nlhf.PreferenceGame([[0.5, 0.9], [0.1, 0.5]], temperature=0.1)
    file = nlhf.Checkpoint(tmp_path / "run")
    short, long = (nlhf.StopRule(gap=0.0, max_iterations=n) for n in (3, 7))
    nlhf.solve(game, Plain(2.0), stop=short, checkpoint=file)
    resumed = nlhf.solve(game, Plain(2.0), stop=long, checkpoint=file)
    whole = nlhf.solve(game, Plain(2.0), stop=long)
    assert resumed.provenance.iterations == 7
    assert (resumed.policy == whole.policy).all()
    with pytest.raises(NotAllowed, match="another algorithm"):
        nlhf.solve(game, Plain(3.0), stop=long, checkpoint=file)
