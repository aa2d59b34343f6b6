"""Fits to preference pairs without a reward model: DPO and IPO."""

from collections.abc import Callable

import torch
from torch.nn.functional import logsigmoid

from nlhf.errors import InvalidData, InvalidProblem
from nlhf.games.tabular import checked_temperature
from nlhf.lm.baselines.fitting import BatchLoss, Fitted, fitted
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.responses import Responses, joined
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream

PairLoss = Callable[[torch.Tensor], torch.Tensor]
"""The loss of pairs by the differences of their log-ratios."""


def fit_dpo(
    model: LanguageModel,
    chosen: Responses,
    rejected: Responses,
    temperature: float,
    optimisation: Optimisation,
    stream: Stream,
    *,
    prompts_per_step: int | None = None,
    start: Checkpoint | None = None,
) -> Fitted:
    r"""Fit preference pairs by direct preference optimisation (Rafailov et al. 2023).

    .. math:: L(\theta) = -E \log\sigma\big(\beta h_\theta(y^+, y^-)\big), \qquad
              h_\theta(y, y') = \log\frac{\pi_\theta(y)}{\mu(y)}
                                - \log\frac{\pi_\theta(y')}{\mu(y')},

    with log-probabilities summed over all tokens of a response, the end token included, and not
    divided by its length; no label smoothing. Where the pairs come from a Bradley-Terry model of
    reward r and every response is compared, the minimum is :math:`\mu e^{r/\beta}/Z`.

    Args:
        model: The model to train; μ is its reference.
        chosen: Shape ``(X, R)``: R pairs for each prompt, weighted by the weights in here.
        rejected: The other sides of the same pairs, in the same order.
        temperature: β > 0, in units of the reward.
        optimisation: Gradient steps; `steps` is the number of all.
        stream: Randomness of the order of prompts.
        prompts_per_step: Prompts of one step; `None` for all.
        start: Where to start; the model's reference by default.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        InvalidData: If the two sides do not belong together.
        InvalidProblem: If the temperature is out of range.
        NotAllowed: If a loss or a gradient is not finite.
    """

    def pair_loss(difference: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(temperature * difference)

    _require_positive(temperature)
    data, loss = _pairs(model, chosen, rejected), _of_pairs(model, pair_loss)
    return fitted(model, data, loss, optimisation, stream, prompts_per_step, start)


def fit_ipo(
    model: LanguageModel,
    chosen: Responses,
    rejected: Responses,
    temperature: float,
    optimisation: Optimisation,
    stream: Stream,
    *,
    prompts_per_step: int | None = None,
    start: Checkpoint | None = None,
) -> Fitted:
    r"""Fit preference pairs by identity preference optimisation (Azar et al. 2023).

    .. math:: L(\theta) = E\Big(h_\theta(y^+, y^-) - \frac{1}{2\tau}\Big)^2,

    h as in `fit_dpo`, summed over tokens. Where every response is compared with responses of one
    distribution ν by a preference P, the pairs drawn by ν, the minimum is
    :math:`\mu e^{g/\tau}/Z` with :math:`g(y) = E_{y'\sim\nu} P(y \succ y')`: a best response to ν
    in the preference game, once.

    Args:
        model: The model to train; μ is its reference.
        chosen: Shape ``(X, R)``: R pairs for each prompt, weighted by the weights in here.
        rejected: The other sides of the same pairs, in the same order.
        temperature: τ > 0, in win probability.
        optimisation: Gradient steps; `steps` is the number of all.
        stream: Randomness of the order of prompts.
        prompts_per_step: Prompts of one step; `None` for all.
        start: Where to start; the model's reference by default.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        InvalidData: If the two sides do not belong together.
        InvalidProblem: If the temperature is out of range.
        NotAllowed: If a loss or a gradient is not finite.
    """

    def pair_loss(difference: torch.Tensor) -> torch.Tensor:
        return (difference - 1.0 / (2.0 * temperature)) ** 2

    _require_positive(temperature)
    data, loss = _pairs(model, chosen, rejected), _of_pairs(model, pair_loss)
    return fitted(model, data, loss, optimisation, stream, prompts_per_step, start)


def _require_positive(temperature: float) -> None:
    if checked_temperature(temperature) == 0.0:
        raise InvalidProblem(
            "temperature is 0: the fit has no minimum", "pass a positive one, in payoff units"
        )


def _pairs(model: LanguageModel, chosen: Responses, rejected: Responses) -> Responses:
    """Return both sides as one batch, chosen first, scored by the reference."""
    if chosen.prompts.rows != rejected.prompts.rows or chosen.shape != rejected.shape:
        raise InvalidData(
            f"{chosen.shape[1]} chosen responses to each of {chosen.shape[0]} prompts, and "
            f"{rejected.shape[1]} rejected ones to each of {rejected.shape[0]}",
            "pass both sides of the same pairs in the same order",
        )
    both = joined([chosen, rejected])
    model.log_probabilities(model.reference, both)
    return both


def _of_pairs(model: LanguageModel, pair_loss: PairLoss) -> BatchLoss:
    def loss(batch: Responses, logs: torch.Tensor) -> torch.Tensor:
        ratio = logs - model.log_probabilities(model.reference, batch)
        first, second = ratio.chunk(2, dim=1)
        weights = 2.0 * batch.weights[:, : first.shape[1]]
        return (weights * pair_loss(first - second)).sum()

    return loss
