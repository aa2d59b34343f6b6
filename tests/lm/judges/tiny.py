"""Networks, responses and pairs that are small enough to check by hand."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from nlhf.lm.judges.pairs import PreferencePairs, single_responses
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.streams import Stream

PAD = 0
VOCABULARY = 12


def randomised(module, seed=0, scale=0.3):
    """Weights drawn from a stream, so that a test does not depend on the global generator."""
    generator = Stream(seed).child("weights").generator()
    with torch.no_grad():
        for one in module.parameters():
            one.copy_(torch.from_numpy(generator.normal(size=tuple(one.shape)) * scale))
    return module.eval()


def gpt2(seed=0, double=False, context=32):
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=context,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    module = randomised(GPT2Model(config), seed)
    return module.double() if double else module


def llama(seed=0):
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=None,
        eos_token_id=None,
    )
    return randomised(LlamaModel(config), seed)


class Table(nn.Module):
    """A frozen backbone whose hidden state is a row of a table: that of the last token."""

    def __init__(self, features):
        super().__init__()
        self.features = nn.Parameter(
            torch.from_numpy(np.array(features, dtype=np.float64)), requires_grad=False
        )
        self.config = SimpleNamespace(hidden_size=self.features.shape[1])

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=self.features[input_ids])


def random_responses(seed, prompts=3, responses=4, longest=5, vocabulary=VOCABULARY):
    """Responses of different lengths, with rubbish behind them."""
    generator = Stream(seed).child("responses").generator()
    asked = Prompts.of(
        [generator.integers(1, vocabulary, 1 + x % 3).tolist() for x in range(prompts)]
    )
    return Responses(
        asked,
        torch.from_numpy(generator.integers(1, vocabulary, (prompts, responses, longest))),
        torch.from_numpy(generator.integers(1, longest + 1, (prompts, responses))),
        uniform_weights(prompts, responses),
    )


def with_rubbish(responses, seed=9):
    """The same responses with other tokens behind their ends, and more of them."""
    generator = Stream(seed).generator()
    shape = (*responses.tokens.shape[:2], responses.tokens.shape[2] + 3)
    tokens = torch.from_numpy(generator.integers(0, VOCABULARY, shape))
    for x, row in enumerate(responses.lengths.tolist()):
        for y, length in enumerate(row):
            tokens[x, y, :length] = responses.tokens[x, y, :length]
    return Responses(responses.prompts, tokens, responses.lengths, responses.weights)


def pairs_of(chosen, rejected, weights=None, annotators=None, rows=None, prompt=1):
    """Pairs of single-token responses to one-token prompts."""
    count = len(chosen)
    numbers = tuple(range(count)) if rows is None else tuple(int(r) for r in rows)
    asked = Prompts(((prompt,),) * count, ("",) * count, numbers)
    left, right = (
        single_responses(asked, [(int(t),) for t in side], pad=PAD) for side in (chosen, rejected)
    )
    return PreferencePairs.of(left, right, weights=weights, annotators=annotators)


def random_pairs(seed, count=10):
    """Pairs of random responses of different lengths and weights."""
    both = random_responses(seed, prompts=count, responses=2)
    weights = Stream(seed).child("pairs").generator().uniform(0.2, 2.0, count)
    return PreferencePairs.of(both.among(0, 1), both.among(1, 2), weights=weights)


class Letters:
    """A tokenizer of single characters: token 1 is 'a'; 0 is special."""

    def decode(self, token_ids, skip_special_tokens=True):
        return "".join(chr(96 + t) for t in token_ids if t or not skip_special_tokens)
