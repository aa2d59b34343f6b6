"""Proximal steps by pairwise regression of log-ratios on differences of payoff."""

import torch

from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.audit import residual_of, target
from nlhf.lm.realisers.base import (
    UNKNOWN,
    Anchors,
    Blending,
    starting_point,
)
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.trained import Audit, TrainedRealiser
from nlhf.lm.responses import joined
from nlhf.lm.strategies import Strategy
from nlhf.protocols import Prox
from nlhf.results import Bound
from nlhf.streams import Stream


class PairwiseRegression(TrainedRealiser):
    r"""Fit the proximal point by least squares on pairs of responses.

    With :math:`\log\pi^+(y) = \sum_i (\tau_i/\tau)\log\pi_i(y) + g(y)/\tau - \log Z` the
    proximal point of payoff g and anchors π_i, the loss is

    .. math:: L(\theta) = \tfrac12 E_{x,\, y, y'}\Big(\log\frac{\pi_\theta(y)}{\pi_\theta(y')}
              - \log\frac{\pi^+(y)}{\pi^+(y')}\Big)^2
              = E_x Var_y\big(\log\pi_\theta(y) - \log\pi^+(y)\big),

    over all pairs of the drawn responses: the unknown log Z cancels. Zero loss on a distribution
    of full support is the proximal point itself; a sample fits where it looks, so the residual is
    reported on held-out responses and on the new policy's own.

    Published as: with mirror descent, INPO and online IPO; with a temperature of 0, SPPO and
    REBEL; with extragradient, EGPO. Their pair losses are this one up to a factor.

    Args:
        stream: Randomness of all its draws.
        optimisation: Gradient steps.
        draws: Responses of the first anchor, the current iterate, to fit on.
        reference_draws: Responses of the reference to fit on as well, which keep in view what the
            current iterate has all but given up; `None` for none.
        held_out: Responses of the current iterate that are not fitted on; `None` for none.
        audit: How steps are measured on the new strategy's own responses.
        blending: How steps without a payoff are played.
    """

    def __init__(
        self,
        stream: Stream,
        optimisation: Optimisation | None = None,
        draws: Draws | None = None,
        *,
        reference_draws: Draws | None = None,
        held_out: Draws | None = None,
        audit: Audit | None = None,
        blending: Blending | None = None,
    ) -> None:
        super().__init__(
            stream,
            Optimisation() if optimisation is None else optimisation,
            Sampled(16) if draws is None else draws,
            audit,
            blending,
        )
        self.reference_draws = reference_draws
        self.held_out = held_out

    def _train(
        self, model: LanguageModel, payoff: ResponsePayoff, anchors: Anchors
    ) -> Prox[Strategy]:
        parts = [self.draws.responses(model, anchors[0][0], payoff.prompts, self._here("pairs"))]
        if self.reference_draws is not None:
            where = self._here("reference pairs")
            parts.append(
                self.reference_draws.responses(model, model.reference, payoff.prompts, where)
            )
        seen = joined(parts)
        aim = target(model, payoff, anchors, seen)
        prompts = float(model.engine.total_count(len(seen.prompts)))

        def loss(logs: torch.Tensor) -> torch.Tensor:
            difference = logs - aim
            mean = (seen.weights * difference).sum(dim=1, keepdim=True)
            return (seen.weights * (difference - mean) ** 2).sum() / prompts

        model.begin(starting_point(anchors))
        optimiser = self._optimiser_of(model)
        taken = [
            optimiser.descend(lambda: model.accumulate(seen, loss))
            for _ in range(self.optimisation.steps)
        ]
        held_out = self._held_out(model, payoff, anchors) if self._due() else UNKNOWN
        return self._finish(model, payoff, anchors, taken, held_out)

    def _held_out(self, model: LanguageModel, payoff: ResponsePayoff, anchors: Anchors) -> Bound:
        """Return half the variance of log π − log π⁺ on responses that were not fitted on."""
        if self.held_out is None:
            return UNKNOWN
        stream = self._here("held out")
        kept = self.held_out.responses(model, anchors[0][0], payoff.prompts, stream)
        difference = model.present_log_probabilities(kept) - target(model, payoff, anchors, kept)
        return residual_of(difference, kept)
