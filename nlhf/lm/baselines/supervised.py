"""Supervised fine-tuning: the likelihood of given responses."""

import torch

from nlhf.lm.baselines.fitting import Fitted, fitted
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.responses import Responses
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream


def fit_supervised(
    model: LanguageModel,
    responses: Responses,
    optimisation: Optimisation,
    stream: Stream,
    *,
    prompts_per_step: int | None = None,
    start: Checkpoint | None = None,
) -> Fitted:
    r"""Fit the responses by maximum likelihood.

    .. math:: L(\theta) = -\frac{1}{X \bar T} \sum_x \sum_r w_{xr} \log\pi_\theta(y_{xr}|x),

    in nats per token: :math:`\bar T` is the mean length of all responses, one number for every
    batch, so that a token weighs the same in short and in long ones and batches are unbiased.

    Args:
        model: The model to train.
        responses: R responses to each of X prompts, with their weights.
        optimisation: Gradient steps; `steps` is the number of all.
        stream: Randomness of the order of prompts.
        prompts_per_step: Prompts of one step; `None` for all.
        start: Where to start; the model's reference by default.

    Raises:
        HypothesisViolated: If `prompts_per_step` is out of range.
        NotAllowed: If a loss or a gradient is not finite.
    """
    length = responses.mean_length

    def loss(batch: Responses, logs: torch.Tensor) -> torch.Tensor:
        return -(batch.weights * logs).sum() / length

    return fitted(model, responses, loss, optimisation, stream, prompts_per_step, start)
