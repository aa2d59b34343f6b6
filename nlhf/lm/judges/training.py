"""Fitting preference and reward networks to pairs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.descent import Auxiliary, PairModel, descend, finite_margins, pair_margins
from nlhf.lm.judges.descent import FitSettings as FitSettings
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True)
class PairScore:
    """How well log-odds predict which response was chosen.

    Attributes:
        log_loss: The mean of -log P(chosen preferred), in nats a vote.
        accuracy: The share of votes with log-odds above 0, ties counted half.
    """

    log_loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass through the pairs achieved.

    Attributes:
        number: Counted from 1.
        loss: The mean training loss of its steps, in nats a vote, without the auxiliary term.
        auxiliary: The mean of the auxiliary term; 0 if there is none.
        held_out: The score on the held-out pairs after it.
    """

    number: int
    loss: float
    auxiliary: float
    held_out: PairScore


@dataclass(frozen=True, slots=True)
class PairFit:
    """What a fit achieved; the model itself was changed in place.

    Attributes:
        before: The score on the held-out pairs before the first step.
        epochs: Every epoch.
    """

    before: PairScore
    epochs: tuple[Epoch, ...]


Observer = Callable[[Epoch], None]


def fit_pairs(
    model: PairModel,
    pairs: PreferencePairs,
    held_out: PreferencePairs,
    settings: FitSettings,
    stream: Stream,
    *,
    auxiliary: Auxiliary | None = None,
    observe: Observer | None = None,
) -> PairFit:
    r"""Fit a network to pairs by maximum likelihood, in place.

    .. math:: \min \frac{1}{W} \sum_i w_i \log(1 + e^{-m_i}) + L_{aux}, \qquad W = \sum_i w_i,

    with m the log-odds of the chosen response. A step takes a batch B of a random order and divides
    its sum by :math:`|B| W / N`, so that its gradient is an unbiased estimate and the same for
    every micro-batch. Dropout is off.

    Args:
        model: Changed in place; parameters that require no gradients stay.
        pairs: What is fitted.
        held_out: What the network is scored on before the first and after every epoch.
        settings: See `FitSettings`.
        stream: Randomness of the order.
        auxiliary: A further term.
        observe: Called after every epoch.

    Raises:
        InvalidData: Log-odds are not finite, with the row; or a row is longer than the context.
        HypothesisViolated: The model has several groups (see `fit_rater_mixture`), or nothing to
            train.
    """
    _require_one_group(model, pairs)
    epochs: list[Epoch] = []
    before = score_pairs(model, held_out, settings.micro_batch)

    def report(number: int, loss: float, extra: float) -> None:
        scored = score_pairs(model, held_out, settings.micro_batch)
        epochs.append(Epoch(number, loss, extra, scored))
        if observe is not None:
            observe(epochs[-1])

    descend(model, pairs, pairs.weights[:, None], settings, stream, auxiliary, report)
    return PairFit(before, tuple(epochs))


def fit_ensemble(
    models: Iterable[PairModel],
    pairs: PreferencePairs,
    held_out: PreferencePairs,
    settings: FitSettings,
    stream: Stream,
) -> tuple[PairFit, ...]:
    """Fit every member to a bootstrap replicate of its own, rows drawn with replacement.

    Args:
        models: The members, which should also differ by the randomness of their heads.
        pairs: What the replicates are drawn from.
        held_out: What every member is scored on.
        settings: The same for all.
        stream: Randomness of replicates and orders.

    Raises:
        InvalidData: As for `fit_pairs`.
        HypothesisViolated: As for `fit_pairs`.
    """
    fits = []
    for number, model in enumerate(models):
        own = stream.child("member", number)
        replicate = pairs.bootstrapped(own.child("bootstrap"))
        fits.append(fit_pairs(model, replicate, held_out, settings, own))
    return tuple(fits)


def score_pairs(model: PairModel, pairs: PreferencePairs, micro_batch: int = 32) -> PairScore:
    """Score a network with a single group on pairs, weighted.

    Raises:
        InvalidData: Log-odds are not finite; names the row.
    """
    margins = pair_margins(model, pairs, micro_batch)[:, 0]
    right = np.where(margins == 0.0, 0.5, margins > 0.0)
    lost = float(pairs.weights @ np.logaddexp(0.0, -margins))
    return PairScore(lost / pairs.total, float(pairs.weights @ right) / pairs.total)


def _require_one_group(model: PairModel, pairs: PreferencePairs) -> None:
    with torch.no_grad():
        groups = finite_margins(model, pairs.take([0])).shape[1]
    if groups != 1:
        raise HypothesisViolated(
            f"the model has {groups} groups, and pairs do not say which group they are of",
            "use fit_rater_mixture, which finds the groups",
        )
