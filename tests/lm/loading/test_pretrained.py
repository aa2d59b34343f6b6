"""Checkpoints are loaded whole or refused, without pickles, dropout or the global generator."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import GPT2Config, GPT2LMHeadModel

from nlhf.errors import InvalidData, InvalidProblem, NotAllowed
from nlhf.lm.loading import pretrained
from nlhf.lm.loading.pretrained import (
    Architecture,
    context_length,
    dtype_named,
    load_model,
    new_model,
)
from nlhf.lm.loading.weight_files import weight_files
from nlhf.streams import Stream

TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6]])


@pytest.fixture
def shards(model, tmp_path):
    """A checkpoint in many shards, as a 7B one comes; loading never changes the files."""
    model.save_pretrained(tmp_path / "model", max_shard_size="3KB")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undamaged")
    tiny = Architecture("llama", vocabulary=31, context=24, width=16, layers=1, heads=2)
    new_model(tiny, Stream(3)).save_pretrained(folder, max_shard_size="3KB")
    return folder


@pytest.fixture
def copied(undamaged, tmp_path):
    """A checkpoint in shards for tests to which the architecture makes no difference."""
    return shutil.copytree(undamaged, tmp_path / "copied")


def first_shard(folder):
    return sorted(folder.glob("*.safetensors"))[0]


def test_a_checkpoint_in_shards_gives_the_model_that_was_saved(model, shards):
    assert len(weight_files(shards)) > 3
    loaded = load_model(shards)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)


def test_every_weight_is_laid_out_on_the_meta_device_first(shards):
    first = {}
    hook = register_module_parameter_registration_hook(
        lambda module, name, p: first.setdefault((id(module), name), p.device.type) and None
    )
    try:
        load_model(shards)
    finally:
        hook.remove()
    assert len(first) > 20
    assert set(first.values()) == {"meta"}


def test_weights_come_in_the_type_that_is_asked_for(copied):
    loaded = load_model(copied, dtype=dtype_named("bfloat16"))
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    with pytest.raises(InvalidProblem, match="bfloat61"):
        dtype_named("bfloat61")


@pytest.mark.gpu
def test_a_checkpoint_goes_straight_to_the_device(model, shards):
    loaded = load_model(shards, device="cuda")
    assert {p.device.type for p in loaded.parameters()} == {"cuda"}
    assert torch.allclose(loaded(TOKENS.cuda()).logits.cpu(), model(TOKENS).logits, atol=1e-5)


def missing(shard):
    shard.unlink()


def cut(shard):
    shard.write_bytes(shard.read_bytes()[:-7])


def cut_in_its_header(shard):
    shard.write_bytes(shard.read_bytes()[:20])


def empty(shard):
    shard.write_bytes(b"")


def a_pointer(shard):
    shard.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def of_another_model(shard):
    save_file({"other": torch.zeros(2)}, shard)


@pytest.mark.parametrize(
    "damage", [missing, cut, cut_in_its_header, empty, a_pointer, of_another_model]
)
def test_a_damaged_shard_is_named(damage, copied):
    shard = first_shard(copied)
    damage(shard)
    with pytest.raises(InvalidData, match=shard.name):
        load_model(copied)


def test_a_broken_or_lost_index_is_named(copied):
    index = copied / "model.safetensors.index.json"
    content = index.read_text()
    index.write_text(content[:40])
    with pytest.raises(InvalidData, match="not an index"):
        load_model(copied)
    index.unlink()
    with pytest.raises(InvalidData, match=r"but no model\.safetensors\.index"):
        load_model(copied)


def test_weights_that_are_absent_or_of_another_shape_are_not_drawn_at_random(model, tmp_path):
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    name = next(n for n in sorted(weights) if n.endswith("weight"))
    kept = weights.pop(name)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InvalidData, match=f"1 weights are missing.*{name}"):
        load_model(tmp_path)
    save_file({**weights, name: kept[:-1].clone()}, file, metadata={"format": "pt"})
    with pytest.raises(InvalidData, match=f"another shape.*{name}"):
        load_model(tmp_path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was opened')",))


def test_a_pickle_is_named_and_never_opened(model, tmp_path):
    model.config.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(NotAllowed, match=r"pytorch_model\.bin.*\n.*save_pretrained"):
        load_model(tmp_path)


def test_code_that_comes_with_a_model_is_not_run(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "modelling.py").write_text("raise SystemExit('remote code was run')\n")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["model_type"] = "of_its_own"
    config["auto_map"] = {"AutoConfig": "modelling.C", "AutoModelForCausalLM": "modelling.M"}
    path.write_text(json.dumps(config))
    with pytest.raises(NotAllowed, match="its own code"):
        load_model(tmp_path)


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    with pytest.raises(InvalidData, match="not a folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(InvalidData, match=r"neither model\.safetensors nor"):
        load_model(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InvalidData, match="an adapter, not a model"):
        load_model(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InvalidData, match="no configuration"):
        load_model(tmp_path)


def test_an_id_that_the_hub_does_not_give_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidData, match=r"nobody/nothing at revision v1 is neither"):
        load_model("nobody/nothing", revision="v1")


def test_dropout_is_off_even_in_training_mode(tmp_path):
    config = GPT2Config(
        vocab_size=31, n_positions=24, n_embd=16, n_layer=1, n_head=2, bos_token_id=0,
        eos_token_id=0, attn_pdrop=0.5, embd_pdrop=0.5, resid_pdrop=0.5,
    )  # fmt: skip
    as_saved = GPT2LMHeadModel(config).train()
    as_saved.save_pretrained(tmp_path)
    assert not torch.equal(as_saved(TOKENS).logits, as_saved(TOKENS).logits)
    loaded = load_model(tmp_path)
    expected = loaded(TOKENS).logits
    assert torch.equal(loaded.train()(TOKENS).logits, expected)
    assert torch.equal(as_saved.eval()(TOKENS).logits, expected)


def test_weights_larger_than_the_memory_are_refused_before_loading(copied, monkeypatch):
    monkeypatch.setattr(pretrained, "_memory", lambda device: 1000)
    with pytest.raises(NotAllowed, match=r"GiB in all\n.*bfloat16"):
        load_model(copied)


def test_new_models_are_functions_of_their_stream_alone(architecture):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = new_model(architecture, Stream(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = new_model(architecture, Stream(5), dtype=torch.float64)
    other = new_model(architecture, Stream(6))
    for name, p in one.named_parameters():
        assert torch.equal(p.double(), two.get_parameter(name)), name
    assert not torch.equal(one(TOKENS).logits, other(TOKENS).logits)
    assert context_length(one.config) == architecture.context
    assert torch.equal(one.train()(TOKENS).logits, one.eval()(TOKENS).logits)


@pytest.mark.parametrize(
    ("kind", "heads", "layers"), [("gpt3", 2, 1), ("gpt2", 3, 1), ("llama", 2, 0)]
)
def test_impossible_shapes_are_refused(kind, heads, layers):
    with pytest.raises(InvalidProblem):
        Architecture(kind, vocabulary=31, context=24, width=16, layers=layers, heads=heads)
