"""One side of the outer-step benchmark: this library. Runs in the benchmark's environment."""

import json
import sys
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from transformers import GPT2ForSequenceClassification

from benchmarks.clock import peak_bytes
from benchmarks.language.outer_step_setting import (
    END,
    KL_STRENGTH,
    LEARNING_RATE,
    NEW_TOKENS,
    PAD,
    TEMPERATURE,
    Clock,
    language_model,
    prompts,
    reward_model,
)
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.nash_md import NashMD
from nlhf.lm.draws import Sampled
from nlhf.lm.games import LanguageGame, RewardGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.base import Blending
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.responses import Prompts, Responses
from nlhf.streams import Stream

NEVER = Audit(every=1 << 30)
"""Audits measure how well a step was carried out; TRL has none. The warm-up step is audited."""
ONE_STEP = Optimisation(steps=1, learning_rate=LEARNING_RATE, betas=(0.9, 0.999), clip=1.0)


class Judge:
    """Rewards by a small model, and the Bradley-Terry preference that they stand for."""

    def __init__(self, module: GPT2ForSequenceClassification) -> None:
        self._module = module

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return r(x, y)."""
        rows, tokens, lengths = responses.listed()
        ends = [len(row) + int(length) for row, length in zip(rows, lengths, strict=True)]
        inputs = torch.full((len(rows), max(ends)), PAD)
        for i, row in enumerate(rows):
            inputs[i, : len(row)] = torch.as_tensor(row)
            inputs[i, len(row) : ends[i]] = tokens[i, : lengths[i]]
        seen = torch.arange(max(ends)) < torch.as_tensor(ends)[:, None]
        with torch.no_grad():
            states = self._module.transformer(input_ids=inputs, attention_mask=seen.long())
            last = states.last_hidden_state[torch.arange(len(rows)), torch.as_tensor(ends) - 1]
            scores = self._module.score(last)[:, 0]
        return scores.double().reshape(responses.shape).numpy()

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return P(first > second)."""
        margin = self.rewards(first)[:, :, None] - self.rewards(second)[:, None, :]
        return 1.0 / (1.0 + np.exp(-margin))


def stepper(method: str, name: str, tokens: int = NEW_TOKENS) -> Callable[[int], None]:
    """Return the outer step of a method with so many new tokens, a function of its number."""
    model = LanguageModel(
        language_model(name),
        end=END,
        pad=PAD,
        limit=tokens,
        temperature=TEMPERATURE,
    )
    batch = Prompts.of(prompts(name))
    judge = Judge(reward_model(name))
    stream = Stream(0)
    if method == "nash-md":
        realiser = PolicyGradient(
            stream.child("realiser"),
            ONE_STEP,
            Sampled(1),
            audit=NEVER,
            blending=Blending(tokenwise=True),
        )
        game = LanguageGame(model, batch, judge, KL_STRENGTH, realiser, opponents=Sampled(1))
        # The mixture is then half the reference, TRL's default mixture_coef.
        algorithm = NashMD(textbook_step=0.5 / KL_STRENGTH)
    else:
        realiser = PairwiseRegression(stream.child("realiser"), ONE_STEP, Sampled(2), audit=NEVER)
        game = RewardGame(model, batch, judge, KL_STRENGTH, realiser)
        algorithm = MirrorDescent(step_size=1.0 / KL_STRENGTH)
    state = algorithm.init(game, game.start())

    def step(number: int) -> None:
        nonlocal state
        state = algorithm.step(game, state, stream.child(number))

    return step


def main() -> None:
    """Take the steps that the command line asks for; print what they cost as JSON."""
    method, name = sys.argv[1:3]
    steps, threads, tokens = (int(number) for number in sys.argv[3:6])
    torch.set_num_threads(threads)
    step = stepper(method, name, tokens)
    imported = peak_bytes()
    clock = Clock()
    for number in range(steps):
        clock.start()
        step(number)
        clock.stop()
    print(
        json.dumps(
            {
                "wall_seconds": clock.wall,
                "processor_seconds": clock.processor,
                "peak_bytes": peak_bytes(),
                "peak_bytes_before_steps": imported,
            }
        )
    )


if __name__ == "__main__":
    main()
