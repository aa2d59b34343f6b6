"""A folder with all that a training run needs: a tiny model in float64, prompts, judges, a file."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from tests.lm.tiny import causal_module

LETTERS = ["<end>", " ", *"abcdefgh"]

JUDGES = """
import math, os

def worth(text):
    return text.count("a") - 0.2 * len(text)

def prefers(prompts, pairs):
    if os.path.exists(os.path.join(os.path.dirname(__file__), "broken")):
        raise RuntimeError("no judge today")
    return [1.0 / (1.0 + math.exp(worth(b) - worth(a))) for a, b in pairs]

def reward(prompts, completions, **columns):
    return [worth(text) for text in completions]

def other(prompts, completions, **columns):
    return [text.count("b") - 0.1 * len(text) for text in completions]

def nothing(prompts, completions, **columns):
    return [float("nan") for _ in completions]

not_callable = 3
"""

RUN = """
[model]
name = "model"
dtype = "float64"
limit = 4
micro_batch = 8

[data]
prompts = "prompts.jsonl"

[judge]
preference = "judges.py:prefers"

[game]
opponents = 2
prompts_per_step = 4

[algorithm]
name = "extragradient"
step_size = 1.0

[realiser]
draws = 4
audit_draws = 2

[optimiser]
steps = 2
learning_rate = 1e-3

[run]
out = "out"
steps = 4
evaluate_every = 2
evaluation_draws = 2
cpu = true
"""


def letters_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(LETTERS)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", bos_token="<end>", pad_token="<end>"
    )


def toy_folder(folder: Path, run: str = RUN) -> Path:
    """Write the folder; return the path of its run.toml."""
    model = causal_module("gpt2", 0, vocabulary=len(LETTERS)).to(torch.float64)
    model.save_pretrained(folder / "model")
    letters_tokenizer().save_pretrained(folder / "model")
    prompts = ["ab", "cde", "f", "gh a", "bb", "h"]
    lines = [json.dumps({"prompt": prompt}) + "\n" for prompt in prompts]
    (folder / "prompts.jsonl").write_text("".join(lines))
    (folder / "judges.py").write_text(JUDGES)
    (folder / "run.toml").write_text(run)
    return folder / "run.toml"
