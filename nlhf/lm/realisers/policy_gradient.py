"""Proximal steps by policy gradient, with the gradient of the KL between whole responses."""

from functools import partial

import torch

from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.audit import target
from nlhf.lm.realisers.base import (
    Anchors,
    Blending,
    starting_point,
)
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.trained import Audit, TrainedRealiser
from nlhf.lm.responses import Responses
from nlhf.lm.strategies import Checkpoint, Strategy
from nlhf.protocols import Prox
from nlhf.streams import Stream


class PolicyGradient(TrainedRealiser):
    r"""Climb the objective of the proximal step by its score-function gradient.

    .. math:: J(\theta) = E_{\pi_\theta}[g] - \sum_i \tau_i KL(\pi_\theta\|\pi_i), \qquad
              \nabla J = E_{y\sim\pi_\theta}\big[A(y)\,\nabla\log\pi_\theta(y)\big],\qquad
              A(y) = g(y) - \sum_i \tau_i \log\frac{\pi_\theta(y)}{\pi_i(y)} - b,

    with log-probabilities of whole responses, so that the effect of a token on all later KL terms
    is in it, and b the mean of the other responses to the prompt. The estimate is unbiased. It is
    scaled by 1/τ, τ the sum of the strengths, so that learning rates mean the same at every
    temperature.

    Published as: with Nash-MD, Nash-MD-PG; with extragradient, Nash Mirror Prox; on a
    `RewardGame`, REINFORCE leave-one-out (RLOO). It is inexact: few steps do not reach the
    proximal point, so no rate is inherited; the residual says how far it is.

    Args:
        stream: Randomness of all its draws.
        optimisation: Gradient steps, each on fresh responses.
        draws: Responses of the current weights; of a single one to a prompt the baseline is the
            mean over the other prompts of the step.
        audit: How steps are measured on the new strategy's own responses.
        blending: How steps without a payoff are played.
    """

    def __init__(
        self,
        stream: Stream,
        optimisation: Optimisation | None = None,
        draws: Draws | None = None,
        *,
        audit: Audit | None = None,
        blending: Blending | None = None,
    ) -> None:
        super().__init__(
            stream,
            Optimisation(steps=1) if optimisation is None else optimisation,
            Sampled(4) if draws is None else draws,
            audit,
            blending,
        )

    def _train(
        self, model: LanguageModel, payoff: ResponsePayoff, anchors: Anchors
    ) -> Prox[Strategy]:
        start = starting_point(anchors)
        model.begin(start)
        optimiser = self._optimiser_of(model)
        taken, current = [], start
        for step in range(self.optimisation.steps):
            stream = self._here("responses").child(step)
            seen = self.draws.responses(model, current, payoff.prompts, stream)
            ascent = objective(model, payoff, anchors, current, seen)
            taken.append(optimiser.descend(partial(model.accumulate, seen, ascent)))
            current = model.present(f"{self._count}.{step}")
        return self._finish(model, payoff, anchors, taken)


class _Surrogate:
    """The loss whose gradient at the sampling weights is the negative gradient of J/τ."""

    def __init__(self, coefficients: torch.Tensor) -> None:
        self._coefficients = coefficients

    def __call__(self, logs: torch.Tensor) -> torch.Tensor:
        return -(self._coefficients * logs).sum()


def objective(
    model: LanguageModel,
    payoff: ResponsePayoff,
    anchors: Anchors,
    current: Checkpoint,
    seen: Responses,
) -> _Surrogate:
    """Return the surrogate of the objective at responses of the current weights."""
    logs = model.log_probabilities(current, seen)
    weights = seen.weights
    advantage = target(model, payoff, anchors, seen) - logs
    advantage = torch.where(weights > 0.0, advantage, 0.0)
    count = seen.shape[1]
    total, prompts = model.engine.totals([float(advantage.sum()), float(len(seen.prompts))])
    if count == 1:  # the mean of the other prompts' responses, of all processes, is the baseline
        centred = advantage - (total - advantage) / max(prompts - 1.0, 1.0)
    else:
        centred = advantage - (weights * advantage).sum(dim=1, keepdim=True)
        if not seen.exhaustive:
            centred = centred * (count / (count - 1))  # the mean of the others is the baseline
    return _Surrogate((weights * centred / prompts).detach())
