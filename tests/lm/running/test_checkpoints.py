"""Checkpoints are whole or not there: cut, altered, missing and unwritable files."""

import json
import resource
import shutil
from contextlib import contextmanager

import pytest
import torch

from nlhf.algorithms.steps import Iterate
from nlhf.errors import Damaged, InvalidData, NotAllowed
from nlhf.lm.loading.adapters import LoraSettings, with_lora
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.base import RealiserState
from nlhf.lm.running.checkpoints import RunCheckpoints, Saved
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream
from tests.lm.tiny import causal_module, tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("gpt2")


def checkpoints(model, folder, identity=None, keep=3):
    return RunCheckpoints(folder, model, identity or {"[run] seed": 0}, keep)


def saved(model, step: int) -> Saved:
    weights = {name: p.detach() + step for name, p in model.trainable().items()}
    moments = {f"exp_avg:{name}": torch.full_like(p, step) for name, p in weights.items()}
    name = next(iter(weights))
    moments |= {f"step:{name}": torch.tensor(float(step))}
    state = Iterate((Checkpoint.of(weights),), 0.1 * step)
    return Saved(step, state, RealiserState(2 * step, 6 * step, moments), 1.5 * step)


def same(found: Saved | None, expected: Saved) -> None:
    assert found is not None
    assert found.step == expected.step
    assert found.seconds == expected.seconds
    assert found.state.strength == expected.state.strength
    ours, theirs = found.state.current[0], expected.state.current[0]
    assert ours.key == theirs.key
    for name, value in theirs.weights.items():
        assert torch.equal(ours.weights[name], value)
    assert (found.realiser.count, found.realiser.steps) == (2 * expected.step, 6 * expected.step)
    assert found.realiser.tensors.keys() == expected.realiser.tensors.keys()
    for name, value in expected.realiser.tensors.items():
        assert torch.equal(found.realiser.tensors[name], value)


def test_the_newest_is_read_back_to_the_bit_and_the_last_few_are_kept(model, tmp_path):
    run = checkpoints(model, tmp_path, keep=2)
    assert run.newest() is None
    for step in (1, 2, 10):
        run.save(saved(model, step))
    same(run.newest(), saved(model, 10))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]


def test_a_run_goes_on_with_the_values_it_was_saved_with(model, tmp_path):
    run = checkpoints(model, tmp_path)
    run.save(saved(model, 3))
    path = next((tmp_path / "step-00000003" / "strategies").iterdir())
    before = path.stat().st_ino
    after = Saved(4, saved(model, 3).state, saved(model, 4).realiser, 6.0)
    run.save(after)
    again = tmp_path / "step-00000004" / "strategies" / path.name
    assert again.stat().st_ino == before  # an unchanged strategy takes no more space


FILES = ["state.json", "arrays.safetensors", "moments.safetensors", "manifest.json", "strategies"]


def damage(folder, name: str, how: str):
    path = folder / name
    if name == "strategies":
        path = next(path.iterdir())
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "altered"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(model, tmp_path, name, how):
    run = checkpoints(model, tmp_path)
    run.save(saved(model, 1))
    run.save(saved(model, 2))
    damage(tmp_path / "step-00000002", name, how)
    with pytest.warns(Damaged, match="step-00000002.*the checkpoint before it is used"):
        found = run.newest()
    same(found, saved(model, 1))
    run.save(saved(model, 2))  # the run gets there again
    same(run.newest(), saved(model, 2))


def test_with_no_whole_checkpoint_the_run_refuses_to_start_silently_anew(model, tmp_path):
    run = checkpoints(model, tmp_path)
    run.save(saved(model, 1))
    damage(tmp_path / "step-00000001", "moments.safetensors", "cut")
    with (
        pytest.warns(Damaged),
        pytest.raises(InvalidData, match=r"none is whole.*moments.safetensors"),
    ):
        run.newest()


def test_a_damaged_newer_checkpoint_is_never_kept_in_place_of_a_whole_one(model, tmp_path):
    run = checkpoints(model, tmp_path, keep=1)
    run.save(saved(model, 1))
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "step-00000009")
    damage(tmp_path / "step-00000009", "state.json", "cut")
    run.save(saved(model, 2))
    with pytest.warns(Damaged):
        same(run.newest(), saved(model, 2))


@contextmanager
def files_of_at_most(size: int):
    """Let the system refuse to let any file grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [64, 1000, 4000])
def test_a_full_disk_is_one_clear_error_and_leaves_the_last_checkpoint_whole(model, tmp_path, size):
    run = checkpoints(model, tmp_path)
    run.save(saved(model, 1))
    with (
        files_of_at_most(size),
        pytest.raises(NotAllowed, match=r"step 2 cannot be written.*step-00000001 is whole"),
    ):
        run.save(saved(model, 2))
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    same(run.newest(), saved(model, 1))
    run.save(saved(model, 2))
    same(run.newest(), saved(model, 2))


def test_what_a_killed_run_left_half_written_is_removed(model, tmp_path):
    run = checkpoints(model, tmp_path)
    run.save(saved(model, 1))
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".part-00000002")
    same(run.newest(), saved(model, 1))
    run.save(saved(model, 3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000003"]


def test_another_run_does_not_go_on_from_it_and_is_told_which_key_differs(model, tmp_path):
    checkpoints(model, tmp_path).save(saved(model, 1))
    other = checkpoints(model, tmp_path, {"[run] seed": 1})
    with pytest.raises(NotAllowed, match=r"\[run\] seed = 0, not 1"):
        other.newest()
    same(other.newest(any_run=True), saved(model, 1))


def test_another_model_is_refused(model, tmp_path):
    checkpoints(model, tmp_path).save(saved(model, 1))
    other = tiny_model("gpt2", seed=1)
    with pytest.raises(NotAllowed, match="other weights"):
        checkpoints(other, tmp_path).newest()


def test_no_file_is_a_pickle(model, tmp_path):
    checkpoints(model, tmp_path).save(saved(model, 1))
    kinds = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert kinds == {".json", ".safetensors"}
    manifest = json.loads((tmp_path / "step-00000001" / "manifest.json").read_text())
    assert len(manifest["files"]) == 4


def adapted(base_weights: float) -> LanguageModel:
    """Return a model with adapters, of which one number of the base is chosen."""
    module = causal_module("gpt2", 0)
    with torch.no_grad():
        module.transformer.h[0].ln_1.weight[0] = base_weights
    adapters = with_lora(module, LoraSettings(rank=1), Stream(0, ("adapters",)))
    return LanguageModel(adapters, end=None, pad=0, limit=2)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_adapters_are_not_put_on_another_base_not_even_to_look_at_them(tmp_path):
    model = adapted(1.0)
    checkpoints(model, tmp_path).save(saved(model, 1))
    same(checkpoints(adapted(1.0), tmp_path).newest(any_run=True), saved(model, 1))
    other = checkpoints(adapted(1.5), tmp_path)
    for any_run in (False, True):
        with pytest.raises(NotAllowed, match="started from other weights"):
            other.newest(any_run=any_run)
