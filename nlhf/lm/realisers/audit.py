"""How far a realised step is from the proximal point, and where it has gone."""

import torch
from jaxtyping import Float64

from nlhf.lm.draws import Draws
from nlhf.lm.estimates import CONFIDENCE, QUANTILE, kl_estimate, mean_estimate
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.base import Anchors, Report
from nlhf.lm.responses import Responses
from nlhf.lm.strategies import Strategy, shares
from nlhf.results import Bound, Knows, Units
from nlhf.streams import Stream


def target(
    model: LanguageModel, payoff: ResponsePayoff, anchors: Anchors, responses: Responses
) -> Float64[torch.Tensor, "prompt response"]:
    r"""Return :math:`\sum_i (\tau_i/\tau)\log\pi_i(y) + g(y)/\tau`, log of the proximal point.

    It is known up to a constant per prompt.
    """
    total = sum(strength for _, strength in anchors)
    parts = shares(tuple(strength for _, strength in anchors))
    logs = payoff.values(responses) / total
    for (strategy, _), share in zip(anchors, parts, strict=True):
        logs = logs + share * model.relative_log_probabilities(strategy, responses)
    return logs


def residual_of(
    difference: Float64[torch.Tensor, "prompt response"],
    responses: Responses,
) -> Bound:
    r"""Return KL(π‖π⁺) in nats from d = log π − log π⁺ + const at responses of π.

    With all responses listed it is :math:`E d + \log E e^{-d}`, exact. From a sample it is half
    the variance of d, the KL to second order, with a normal interval over the prompts.
    """
    weights = responses.weights
    mean = (weights * difference).sum(dim=1, keepdim=True)
    centred = difference - mean
    if responses.exhaustive:
        exact = torch.logsumexp(weights.log() - centred, dim=1)
        return Bound.exact(float(exact.mean()), Units.NATS)
    count = difference.shape[1]
    halves = (weights * centred**2).sum(dim=1) * count / max(count - 1, 1) / 2.0
    value, prompts = float(halves.mean()), len(halves)
    if count == 1 or prompts == 1:
        return Bound(value, Knows.INTERVAL, Units.NATS, 0.0, float("inf"), CONFIDENCE)
    width = QUANTILE * float(halves.std()) / prompts**0.5
    return Bound(
        value, Knows.INTERVAL, Units.NATS, max(0.0, value - width), value + width, CONFIDENCE
    )


def audited(
    model: LanguageModel,
    strategy: Strategy,
    payoff: ResponsePayoff,
    anchors: Anchors,
    draws: Draws,
    stream: Stream,
    held_out: Bound,
    step: int,
    losses: tuple[float, ...],
    gradient_norms: tuple[float, ...],
) -> Report:
    """Return the report of a step, measured on fresh responses of the new strategy."""
    own = draws.responses(model, strategy, payoff.prompts, stream)
    logs = model.log_probabilities(strategy, own)
    reference = model.log_probabilities(model.reference, own)
    seen = own.weights > 0.0
    difference = torch.where(seen, logs - target(model, payoff, anchors, own), 0.0)
    return Report(
        step=step,
        losses=losses,
        gradient_norms=gradient_norms,
        residual=residual_of(difference, own),
        held_out=held_out,
        divergence=kl_estimate(
            torch.where(seen, logs - reference, 0.0), own.weights, exhaustive=own.exhaustive
        ),
        payoff=mean_estimate(
            payoff.values(own), own.weights, Units.PAYOFF, exhaustive=own.exhaustive
        ),
        length=own.mean_length,
    )
