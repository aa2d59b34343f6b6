"""Random causal modules that are far from uniform, and the slow way to play them."""

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

VOCABULARY, END, PAD = 23, 3, 0
PROMPTS = [[1, 2, 3, 4, 5], [7], [5, 3, 3], [6, 3, 6, 5, 9, 1, 2, 3, 4]]
"""Of different lengths; three of them contain the end token."""
ARCHITECTURES = ("gpt2", "llama")

_IDS = {"bos_token_id": None, "eos_token_id": None}
_LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "initializer_range": 0.5,
    "pad_token_id": None,
} | _IDS


def causal(kind: str, seed: int = 0, dtype: torch.dtype = torch.float64, **config):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 4}
            given = {"vocab_size": VOCABULARY, "initializer_range": 0.5} | sizes | _IDS | config
            module = GPT2LMHeadModel(GPT2Config(**given))
        elif kind == "mistral":
            module = MistralForCausalLM(MistralConfig(**_LLAMA, sliding_window=4, **config))
        else:
            module = LlamaForCausalLM(LlamaConfig(**_LLAMA, **config))
    return module.to(dtype).eval()


def uniforms(rows: int, tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).random((rows, tokens)))


def next_logits(module, tokens) -> np.ndarray:
    """The module's own logits of the next token: one row, no padding, no cache."""
    with torch.no_grad():
        return module(torch.tensor([list(tokens)]), use_cache=False).logits[0, -1].double().numpy()


def played_slowly(laws, prompt, numbers, temperature, end=END):
    """One response by a fresh pass per token; `laws` maps tokens to the next logits."""
    said, total = [], 0.0
    for number in numbers:
        logits = laws([*prompt, *said]) / temperature
        masses = np.exp(logits - logits.max())
        law = masses / masses.sum()
        token = int(np.searchsorted(law.cumsum(), float(number), side="right"))
        said.append(token)
        total += float(np.log(law[token]))
        if token == end:
            break
    return said, total
