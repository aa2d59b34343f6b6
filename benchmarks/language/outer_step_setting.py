"""What both sides of the outer-step benchmark share: model, prompts, judge, clocks.

Imports torch and transformers only, so that neither side pays for the other.
"""

import time
from dataclasses import dataclass, field

import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

NEW_TOKENS = 64
PROMPTS = 8
SHORTEST, LONGEST = 16, 48
TEMPERATURE = 0.9
"""TRL's default, of sampling."""
KL_STRENGTH = 0.1
"""TRL's default beta."""
LEARNING_RATE = 5e-7
"""TRL's default."""
END, PAD = 0, 1
"""End of text and padding; TRL tells its rewards where a response ends by the padding."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A GPT-2 by its sizes."""

    layers: int
    width: int
    heads: int
    vocabulary: int


SHAPES = {
    "tiny": Shape(layers=2, width=64, heads=2, vocabulary=512),
    "small": Shape(layers=6, width=320, heads=5, vocabulary=16384),
    "gpt2": Shape(layers=12, width=768, heads=12, vocabulary=50257),
}


def language_model(name: str) -> GPT2LMHeadModel:
    """Return the policy: random weights, the same in every process."""
    shape = SHAPES[name]
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocabulary,
            n_positions=1024,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            bos_token_id=None,
            eos_token_id=END,
            pad_token_id=PAD,
        )
    )


def reward_model(name: str) -> GPT2ForSequenceClassification:
    """Return the judge's reward, small beside the policy."""
    torch.manual_seed(1)
    return GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=SHAPES[name].vocabulary,
            n_positions=1024,
            n_embd=64,
            n_layer=1,
            n_head=1,
            num_labels=1,
            bos_token_id=None,
            eos_token_id=END,
            pad_token_id=PAD,
        )
    ).eval()


def prompts(name: str) -> list[list[int]]:
    """Return the prompts of one step; every step has the same ones."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (PROMPTS,), generator=generator).tolist()
    lengths[0] = LONGEST
    vocabulary = SHAPES[name].vocabulary
    return [torch.randint(2, vocabulary, (n,), generator=generator).tolist() for n in lengths]


@dataclass(slots=True)
class Clock:
    """Seconds of each step, by the wall and by the processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    _begun: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Begin a step."""
        self._begun = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """End it."""
        self.wall.append(time.perf_counter() - self._begun[0])
        self.processor.append(time.process_time() - self._begun[1])
