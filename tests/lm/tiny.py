"""Tiny language models of both architectures, whose responses can all be listed."""

import warnings

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts
from nlhf.lm.strategies import Checkpoint

VOCABULARY, HORIZON = 4, 3
LEAVES = VOCABULARY**HORIZON
PROMPTS = Prompts.of([[0, 1, 3], [2]])
ARCHITECTURES = ("gpt2", "llama")


def causal_module(kind: str, seed: int, *, vocabulary: int = VOCABULARY, width: int = 16):
    """A random model whose next-token distributions are far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            config = GPT2Config(
                vocab_size=vocabulary,
                n_positions=16,
                n_embd=width,
                n_layer=1,
                n_head=2,
                bos_token_id=None,
                eos_token_id=None,
            )
            module = GPT2LMHeadModel(config)
            scaled = (module.transformer.wte, module.transformer.wpe)
        else:
            config = LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=16,
                bos_token_id=None,
                eos_token_id=None,
                pad_token_id=None,
            )
            module = LlamaForCausalLM(config)
            scaled = (module.model.embed_tokens, module.lm_head)
    with torch.no_grad():
        for part in scaled:
            part.weight.mul_(15.0)
    return module.eval()


def tiny_model(
    kind: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float64, **settings
) -> LanguageModel:
    """An enumerable model: four tokens, responses of three."""
    module = causal_module(kind, seed).to(dtype)
    given = {"end": None, "pad": 0, "limit": HORIZON, "micro_batch": 256} | settings
    return LanguageModel(module, **given)


def tiny_adapted(kind: str = "gpt2", seed: int = 0, dtype: torch.dtype = torch.float64):
    """The same with LoRA adapters, which alone are trained."""
    targets = ["c_attn"] if kind == "gpt2" else ["q_proj", "v_proj"]
    config = LoraConfig(
        r=2,
        lora_alpha=4,
        lora_dropout=0.1,
        target_modules=targets,
        fan_in_fan_out=kind == "gpt2",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        with warnings.catch_warnings():
            # peft reads a property of the model that transformers is about to rename.
            warnings.simplefilter("ignore", FutureWarning)
            module = get_peft_model(causal_module(kind, seed).to(dtype), config)
    return LanguageModel(module, end=None, pad=0, limit=HORIZON, micro_batch=256)


def moved(model: LanguageModel, seed: int, size: float = 0.3) -> Checkpoint:
    """The reference with every weight shifted at random."""
    generator = torch.Generator().manual_seed(seed)
    start = model.reference.weights or {n: p.data for n, p in model.trainable().items()}
    return Checkpoint.of(
        {
            name: value + size * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for name, value in start.items()
        }
    )


def intransitive(seed: int, scale: float, leaves: int = LEAVES, prompts: int = 2) -> np.ndarray:
    """A random preference: independent votes on every pair, so that no reward explains it."""
    drawn = np.random.default_rng(seed).normal(size=(prompts, leaves, leaves))
    return 1.0 / (1.0 + np.exp(-scale * (drawn - drawn.swapaxes(1, 2)) / np.sqrt(2.0)))
