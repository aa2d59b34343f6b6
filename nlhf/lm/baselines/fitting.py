"""Gradient steps on a fixed data set of responses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from nlhf.errors import HypothesisViolated
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation, Optimiser
from nlhf.lm.responses import Responses
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream

BatchLoss = Callable[[Responses, torch.Tensor], torch.Tensor]
"""The sum over prompts of their losses, from responses and their log-probabilities ``(X, R)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A strategy fitted to data.

    Attributes:
        strategy: The weights reached.
        losses: The mean loss of the batch before every optimiser step.
    """

    strategy: Checkpoint
    losses: tuple[float, ...]


def fitted(
    model: LanguageModel,
    data: Responses,
    loss: BatchLoss,
    optimisation: Optimisation,
    stream: Stream,
    prompts_per_step: int | None,
    start: Checkpoint | None,
) -> Fitted:
    """Descend the mean of a loss over prompts.

    Every pass through the data has an order of its own; a last batch that would be short is left
    to the next pass.

    Args:
        model: The model to train.
        data: Responses to all prompts.
        loss: Of a batch, summed over its prompts.
        optimisation: Gradient steps; `steps` is the number of all.
        stream: Randomness of the order.
        prompts_per_step: Prompts of one step; `None` for all.
        start: Where to start; the model's reference by default.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        NotAllowed: If a loss or a gradient is not finite.
    """
    count = len(data.prompts)
    size = count if prompts_per_step is None else prompts_per_step
    if not 1 <= size <= count:
        raise HypothesisViolated(
            f"prompts_per_step is {size}, and there are {count} prompts",
            "pass a number in between, or None for all in every step",
        )
    model.begin(model.reference if start is None else start)
    optimiser = Optimiser(optimisation, model)
    losses, per_pass = [], count // size
    for step in range(optimisation.steps):
        order = stream.child("pass", step // per_pass).generator().permutation(count)
        chosen = order[(step % per_pass) * size :][:size]
        batch = data.take([int(chosen[i]) for i in model.engine.share(size)])

        def mean(logs: torch.Tensor, batch: Responses = batch) -> torch.Tensor:
            return loss(batch, logs) / size

        value, _ = optimiser.descend(partial(model.accumulate, batch, mean))
        losses.append(value)
    return Fitted(model.snapshot(), tuple(losses))
