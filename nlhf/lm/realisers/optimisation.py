"""The optimiser of a realiser: Adam over all proximal steps of a run."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nlhf.errors import HypothesisViolated, NotAllowed
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.base import RealiserState


@dataclass(frozen=True, slots=True)
class Optimisation:
    r"""How a proximal step is approached by gradient steps.

    The learning rate falls along half a cosine from `learning_rate` to `final_share` of it over
    `planned` optimiser steps of the whole run, and stays there.

    Attributes:
        steps: Gradient steps in one proximal step.
        learning_rate: Of Adam, at the start.
        final_share: Share of the learning rate that is left at the end.
        planned: Optimiser steps of the whole run; 0 keeps the learning rate.
        betas: Of Adam.
        clip: Largest norm of a gradient; infinite for none.

    Raises:
        HypothesisViolated: If a number is out of range.
    """

    steps: int = 15
    learning_rate: float = 1e-3
    final_share: float = 0.02
    planned: int = 0
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = float("inf")

    def __post_init__(self) -> None:
        if not (
            self.steps >= 1
            and self.learning_rate > 0.0
            and 0.0 <= self.final_share <= 1.0
            and self.planned >= 0
            and self.clip > 0.0
        ):
            raise HypothesisViolated(
                f"{self} makes no sense",
                "steps >= 1, learning_rate > 0, final_share from 0 to 1, planned >= 0, clip > 0",
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of an optimiser step, counted from 0."""
        if self.planned == 0:
            return self.learning_rate
        share = min(1.0, step / self.planned)
        falling = 0.5 * (1.0 + math.cos(math.pi * share))
        return self.learning_rate * (self.final_share + (1.0 - self.final_share) * falling)


class Optimiser:
    """Adam on the trainable weights of a model; its moments outlive proximal steps.

    Args:
        settings: How to step.
        model: Whose weights; they may be swapped in between, the moments stay.

    Attributes:
        model: Whose weights.
        steps: Steps taken.
    """

    def __init__(self, settings: Optimisation, model: LanguageModel) -> None:
        self._settings = settings
        self.model = model
        self._names = list(model.trainable())
        self._adam = torch.optim.Adam(
            list(model.trainable().values()), lr=settings.learning_rate, betas=settings.betas
        )
        self.steps = 0

    def descend(self, gradient: Callable[[], float]) -> tuple[float, float]:
        """Take one step and return the loss before it with the norm of its gradient.

        Args:
            gradient: Adds this process's part of the gradient, and returns its part of the loss.

        Raises:
            NotAllowed: If the loss or the gradient is not finite; the weights are untouched.
        """
        model, parameters = self.model, list(self.model.trainable().values())
        self._adam.zero_grad(set_to_none=True)
        (loss,) = model.engine.totals([gradient()])
        model.engine.synchronise(parameters)
        norm = model.engine.clip(parameters, self._settings.clip)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotAllowed(
                f"optimiser step {self.steps} has loss {loss} and gradient norm {norm}",
                "lower the learning rate or set clip; training goes on from the last checkpoint",
            )
        for group in self._adam.param_groups:
            group["lr"] = self._settings.rate(self.steps)
        self._adam.step()
        self.steps += 1
        return loss, norm

    def state(self, count: int) -> RealiserState:
        """Return the moments."""
        tensors = {}
        for name, p in self.model.trainable().items():
            for key, value in self._adam.state.get(p, {}).items():
                tensors[f"{key}:{name}"] = torch.as_tensor(value).detach().clone()
        return RealiserState(count, self.steps, tensors)

    def restore(self, state: RealiserState) -> None:
        """Go on with saved moments, and with no others."""
        self.steps = state.steps
        self._adam.state.clear()
        parameters = self.model.trainable()
        for name, value in state.tensors.items():
            key, _, weight = name.partition(":")
            where = value.device if key == "step" else parameters[weight].device
            self._adam.state[parameters[weight]][key] = value.clone().to(where)
