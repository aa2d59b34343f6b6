"""What a realiser of proximal steps offers, and what it reports of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from nlhf.errors import HypothesisViolated
from nlhf.lm.model import LanguageModel
from nlhf.lm.strategies import Checkpoint, GeometricMixture, Strategy, TokenwiseMixture, shares
from nlhf.protocols import Prox
from nlhf.results import Bound, Knows, Units

Anchors = Sequence[tuple[Strategy, float]]
"""Strategies with the positive strengths of their KL pulls, in payoff units."""

UNKNOWN = Bound(0.0, Knows.LOWER, Units.NATS, 0.0, float("inf"))
"""The residual of a step that nobody has measured."""


@dataclass(frozen=True, slots=True)
class Blending:
    """How a proximal step without a payoff, a geometric mixture, is played.

    Attributes:
        candidates: Responses drawn for every one kept when the mixture is sampled.
        tokenwise: Let the token-wise mixture stand for it: a named approximation.
    """

    candidates: int = 8
    tokenwise: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What was measured of one proximal step.

    Attributes:
        step: Which it was, from 0.
        losses: The loss before every optimiser step.
        gradient_norms: The norm of the gradient at every optimiser step.
        residual: KL from the new strategy to the proximal point, on responses of its own, in nats.
        held_out: The same discrepancy on held-out responses of the pair distribution, in nats.
        divergence: KL from the new strategy to the reference, in nats.
        payoff: Mean payoff of the new strategy's responses.
        length: Their mean length in tokens.
    """

    step: int
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    residual: Bound
    held_out: Bound
    divergence: Bound
    payoff: Bound
    length: float


@dataclass(frozen=True, slots=True, eq=False)
class RealiserState:
    """What a realiser remembers between steps, beside its configuration.

    Attributes:
        count: Proximal steps taken.
        steps: Steps of the optimiser taken.
        tensors: Its moments, by the names of weights.
    """

    count: int
    steps: int
    tensors: Mapping[str, torch.Tensor]


@runtime_checkable
class Realiser(Protocol):
    """A way to carry out proximal steps on a language model.

    The trajectory of a run is a function of the algorithm's state, the realiser's state and the
    streams; so a realiser has its state saved with the run.
    """

    @property
    def reports(self) -> Sequence[Report]:
        """What was measured of the steps since the last `restore`, oldest first."""
        ...

    def realise(self, model: LanguageModel, payoff: Any, anchors: Anchors) -> Prox[Strategy]:
        """Return the strategy that stands for the proximal point, with its residual."""
        ...

    def state(self) -> RealiserState:
        """Return what the next steps depend on."""
        ...

    def restore(self, model: LanguageModel, state: RealiserState) -> None:
        """Go on from a state."""
        ...


def starting_point(anchors: Anchors) -> Checkpoint:
    """Return the checkpoint to train from: the first anchor, or the strongest that is one.

    Raises:
        HypothesisViolated: If no anchor is a checkpoint.
    """
    checkpoints = [(s, w) for s, w in anchors if isinstance(s, Checkpoint)]
    if not checkpoints:
        raise HypothesisViolated(
            "none of the anchors of a proximal step is a checkpoint to train from",
            "anchor the step at the current iterate or at the reference",
        )
    first = anchors[0][0]
    if isinstance(first, Checkpoint):
        return first
    return max(checkpoints, key=lambda pair: pair[1])[0]


def blended(anchors: Anchors, blending: Blending) -> Prox[Strategy]:
    """Return the proximal point without a payoff: the geometric mixture of the anchors.

    Args:
        anchors: The strategies with their strengths.
        blending: How it is played.
    """
    parts = shares(tuple(strength for _, strength in anchors))
    merged: dict[str, tuple[Strategy, float]] = {}
    for (strategy, _), share in zip(anchors, parts, strict=True):
        merged[strategy.key] = (strategy, merged.get(strategy.key, (strategy, 0.0))[1] + share)
    weighted = tuple(merged.values())
    if len(weighted) == 1:
        return Prox(weighted[0][0], Bound.exact(0.0, Units.NATS))
    if blending.tokenwise:
        return Prox(TokenwiseMixture(weighted), UNKNOWN)
    return Prox(GeometricMixture(weighted, blending.candidates), Bound.exact(0.0, Units.NATS))
