"""M-steps: what raises the weighted log-likelihood of every group's rewards."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from nlhf.lm.judges.descent import (
    Coefficients,
    FitSettings,
    accumulate,
    descend,
    trained_parameters,
)
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.judges.reward_heads import MixtureReward
from nlhf.streams import Stream


@runtime_checkable
class Maximiser(Protocol):
    r"""The M-step for the rewards.

    It raises :math:`\sum_{iu} c_{iu} \log\sigma(m_{iu}) - \tfrac\rho2 |\phi|^2`, φ the heads'
    weights.
    """

    def __call__(
        self,
        model: MixtureReward,
        pairs: PreferencePairs,
        coefficients: Coefficients,
        ridge: float,
        stream: Stream,
    ) -> None:
        """Change the model in place."""
        ...


@dataclass(frozen=True, slots=True)
class AdamWMaximiser:
    """Some epochs of AdamW on everything that requires gradients; may lower the objective.

    Attributes:
        settings: The learning rate's schedule starts again in every M-step.
    """

    settings: FitSettings

    def __call__(
        self,
        model: MixtureReward,
        pairs: PreferencePairs,
        coefficients: Coefficients,
        ridge: float,
        stream: Stream,
    ) -> None:
        """Change the model in place."""
        heads = tuple(model.head.parameters())
        descend(model, pairs, coefficients, self.settings, stream, ridge=(ridge, heads))


@dataclass(frozen=True, slots=True)
class FullBatchMaximiser:
    """L-BFGS with a strong Wolfe line search on all pairs at once: never lowers the objective.

    For frozen backbones and small data: with only the heads trained the problem is concave, and
    solved, in float64, to the tolerance of the gradient.

    Attributes:
        iterations: The most of one M-step.
        micro_batch: Pairs of one pass.
    """

    iterations: int = 200
    micro_batch: int = 256

    def __call__(
        self,
        model: MixtureReward,
        pairs: PreferencePairs,
        coefficients: Coefficients,
        ridge: float,
        stream: Stream,
    ) -> None:
        """Change the model in place."""
        total = float(coefficients.sum())
        optimiser = torch.optim.LBFGS(
            trained_parameters(model),
            max_iter=self.iterations,
            history_size=20,
            tolerance_grad=1e-10,
            tolerance_change=1e-15,
            line_search_fn="strong_wolfe",
        )

        def closure() -> float:
            optimiser.zero_grad()
            value = accumulate(model, pairs, coefficients, total, self.micro_batch)
            penalty = (ridge / (2 * total)) * (model.head.weight**2).sum()
            penalty.backward()  # type: ignore[no-untyped-call]
            return value + float(penalty.detach())

        optimiser.step(closure)  # type: ignore[no-untyped-call]
