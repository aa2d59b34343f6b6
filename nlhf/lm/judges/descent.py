"""Gradient descent on the log-odds of pairs, the same for every micro-batch."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.responses import Responses
from nlhf.streams import Stream

Coefficients = Float[np.ndarray, "pair group"]
"""What every pair counts for in every group, in votes."""


@runtime_checkable
class PairModel(Protocol):
    """A network whose log-odds of pairs can be trained: any of this folder's."""

    def margins(self, first: Responses, second: Responses) -> Float[torch.Tensor, "pair group"]:
        """Return the log-odds of the first, for one response each a prompt, with the graph."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters."""
        ...


@runtime_checkable
class Auxiliary(Protocol):
    """A further term of the loss, with its own data and perhaps its own parameters.

    Attributes:
        learning_rate: The peak of its own parameters', which are new where the network is not.
    """

    learning_rate: float

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters that only this term has."""
        ...

    def accumulate(self, step: int) -> float:
        """Add the gradients of the term at an optimiser step to `.grad`; return its value."""
        ...


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a network is fitted: AdamW, linear warm-up, cosine decay to 0, clipped gradients.

    Attributes:
        learning_rate: Its peak.
        weight_decay: AdamW's, on matrices only.
        epochs: Passes through the pairs.
        batch: Pairs of an optimiser step.
        micro_batch: Pairs of a forward and backward pass; it changes memory and speed only.
        warm_up: The share of the steps in which the learning rate rises.
        clip: The largest norm of a step's gradient; a longer one is shortened to it.

    Raises:
        HypothesisViolated: A number is out of its range.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.0
    epochs: int = 1
    batch: int = 64
    micro_batch: int = 8
    warm_up: float = 0.03
    clip: float = 1.0

    def __post_init__(self) -> None:
        counts = (self.epochs, self.batch, self.micro_batch)
        sizes = (self.learning_rate, self.weight_decay, self.warm_up)
        positive = min(self.learning_rate, self.clip) > 0
        if min(counts) < 1 or min(sizes) < 0 or self.warm_up > 1 or not positive:
            raise HypothesisViolated(
                f"epochs, batch and micro_batch are {counts}; learning rate, weight decay and "
                f"warm-up are {sizes}, clip is {self.clip}",
                "counts are at least 1, learning rate and clip positive, the warm-up in [0, 1]",
            )

    def rate(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at a step, counted from 0."""
        rise = math.ceil(self.warm_up * steps)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def descend(
    model: PairModel,
    pairs: PreferencePairs,
    coefficients: Coefficients,
    settings: FitSettings,
    stream: Stream,
    auxiliary: Auxiliary | None = None,
    report: Callable[[int, float, float], None] = lambda number, loss, extra: None,
    ridge: tuple[float, tuple[nn.Parameter, ...]] = (0.0, ()),
) -> None:
    r"""Minimise :math:`\frac1W \sum_{iu} c_{iu} \log(1 + e^{-m_{iu}})` and a penalty by AdamW.

    Args:
        model: Changed in place.
        pairs: The pairs i.
        coefficients: c; W is their sum.
        settings: See `FitSettings`.
        stream: Randomness of the order.
        auxiliary: A further term.
        report: Called after every epoch with its number, mean loss and mean auxiliary term.
        ridge: ρ in votes, and the parameters φ of the penalty :math:`\rho|\phi|^2/(2W)`.
    """
    trained = trained_parameters(model)
    optimiser, schedule = _optimiser(trained, auxiliary, settings, len(pairs))
    total = float(coefficients.sum())
    step = 0
    for number in range(1, settings.epochs + 1):
        order = stream.child("epoch", number).generator().permutation(len(pairs))
        losses, extras = [], []
        for start in range(0, len(order), settings.batch):
            batch = order[start : start + settings.batch].tolist()
            optimiser.zero_grad(set_to_none=True)
            losses.append(
                accumulate(
                    model,
                    pairs.take(batch),
                    coefficients[batch],
                    total * len(batch) / len(pairs),
                    settings.micro_batch,
                )
            )
            extras.append(auxiliary.accumulate(step) if auxiliary is not None else 0.0)
            _add_ridge(ridge, total)
            torch.nn.utils.clip_grad_norm_(trained, settings.clip)
            optimiser.step()
            schedule.step()
            step += 1
        report(number, float(np.mean(losses)), float(np.mean(extras)))


def accumulate(
    model: PairModel,
    pairs: PreferencePairs,
    coefficients: Coefficients,
    total: float,
    micro_batch: int,
) -> float:
    r"""Add the gradient of :math:`\frac1W \sum_{iu} c_{iu} \log(1 + e^{-m_{iu}})` to `.grad`.

    Args:
        model: Its parameters' gradients are added to.
        pairs: The pairs i.
        coefficients: c.
        total: W.
        micro_batch: Pairs of one pass; it changes the gradient by rounding only.

    Returns:
        The value of the loss.

    Raises:
        InvalidData: Log-odds are not finite; names the row.
    """
    value = 0.0
    for start in range(0, len(pairs), micro_batch):
        stop = min(start + micro_batch, len(pairs))
        margins = finite_margins(model, _part(pairs, start, stop))
        counted = torch.tensor(coefficients[start:stop]).to(margins)
        loss = -(counted * nn.functional.logsigmoid(margins)).sum() / total
        loss.backward()  # type: ignore[no-untyped-call]
        value += float(loss.detach())
    return value


@torch.no_grad()
def pair_margins(model: PairModel, pairs: PreferencePairs, micro_batch: int) -> Coefficients:
    """Return the log-odds of the chosen response of every pair, without a graph.

    Raises:
        InvalidData: Log-odds are not finite; names the row.
    """
    parts = [
        finite_margins(model, _part(pairs, start, min(start + micro_batch, len(pairs))))
        for start in range(0, len(pairs), micro_batch)
    ]
    return np.asarray(torch.cat(parts).double().cpu().numpy())


def trained_parameters(model: PairModel) -> list[nn.Parameter]:
    """Return what training changes: the parameters that require gradients.

    Raises:
        HypothesisViolated: There are none.
    """
    found = [one for one in model.parameters() if one.requires_grad]
    if not found:
        raise HypothesisViolated("no parameter requires gradients", "unfreeze the head at least")
    return found


def _part(pairs: PreferencePairs, start: int, stop: int) -> PreferencePairs:
    return pairs if (start, stop) == (0, len(pairs)) else pairs.take(range(start, stop))


def finite_margins(model: PairModel, pairs: PreferencePairs) -> Float[torch.Tensor, "pair group"]:
    """Return the log-odds of every pair with their graph, at least in float32.

    Raises:
        InvalidData: Log-odds are not finite; names the row.
    """
    margins = model.margins(pairs.chosen, pairs.rejected)
    wrong = ~torch.isfinite(margins.detach()).all(dim=1)
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        raise InvalidData(
            f"row {pairs.rows[at]}: the log-odds of its pair are {margins[at].tolist()}",
            "a network that overflows has too high a learning rate or damaged weights; or look at "
            "the texts of this row",
        )
    return margins.to(torch.promote_types(margins.dtype, torch.float32))


def _optimiser(
    own: list[nn.Parameter], auxiliary: Auxiliary | None, settings: FitSettings, pairs: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    decay = settings.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": [one for one in own if one.ndim >= 2], "weight_decay": decay},
        {"params": [one for one in own if one.ndim < 2], "weight_decay": 0.0},
    ]
    if auxiliary is not None:
        new = [one for one in auxiliary.parameters() if one.requires_grad]
        groups.append({"params": new, "weight_decay": 0.0, "lr": auxiliary.learning_rate})
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(pairs / settings.batch)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: settings.rate(step, steps))
    return optimiser, rate


def _add_ridge(ridge: tuple[float, tuple[nn.Parameter, ...]], total: float) -> None:
    strength, parameters = ridge
    for one in parameters if strength > 0 else ():
        assert one.grad is not None
        one.grad.add_(one.detach(), alpha=strength / total)
