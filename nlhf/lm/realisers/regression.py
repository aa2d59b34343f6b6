"""Proximal steps by pairwise regression of log-ratios on differences of payoff."""

from collections.abc import Sequence

import torch

from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.audit import residual_of, target
from nlhf.lm.realisers.base import (
    UNKNOWN,
    Anchors,
    Blending,
    RealiserState,
    Report,
    blended,
    starting_point,
)
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.record import Audit, Record
from nlhf.lm.responses import joined
from nlhf.lm.strategies import Strategy
from nlhf.protocols import Prox
from nlhf.results import Bound
from nlhf.streams import Stream


class PairwiseRegression:
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
        self.draws: Draws = Sampled(16) if draws is None else draws
        self.reference_draws = reference_draws
        self.held_out = held_out
        self.blending = Blending() if blending is None else blending
        self._record = Record(
            stream,
            Optimisation() if optimisation is None else optimisation,
            Audit() if audit is None else audit,
        )

    @property
    def reports(self) -> Sequence[Report]:
        """What was measured of the steps since the last `restore`, oldest first."""
        return self._record.reports

    def realise(
        self, model: LanguageModel, payoff: ResponsePayoff | None, anchors: Anchors
    ) -> Prox[Strategy]:
        """Return the fitted strategy, or without a payoff the geometric mixture.

        Raises:
            HypothesisViolated: If no anchor is a checkpoint to train from.
            NotAllowed: If a loss or a gradient is not finite.
        """
        if payoff is None:
            return blended(anchors, self.blending)
        record = self._record
        parts = [self.draws.responses(model, anchors[0][0], payoff.prompts, record.here("pairs"))]
        if self.reference_draws is not None:
            where = record.here("reference pairs")
            parts.append(
                self.reference_draws.responses(model, model.reference, payoff.prompts, where)
            )
        seen = joined(parts)
        aim = target(model, payoff, anchors, seen)
        prompts = float(model.engine.total(torch.tensor(float(len(seen.prompts)))))

        def loss(logs: torch.Tensor) -> torch.Tensor:
            difference = logs - aim
            mean = (seen.weights * difference).sum(dim=1, keepdim=True)
            return (seen.weights * (difference - mean) ** 2).sum() / prompts

        model.begin(starting_point(anchors))
        optimiser = record.optimiser(model)
        taken = [
            optimiser.descend(lambda: model.accumulate(seen, loss))
            for _ in range(record.optimisation.steps)
        ]
        held_out = self._held_out(model, payoff, anchors) if record.due() else UNKNOWN
        return record.finish(model, payoff, anchors, taken, held_out)

    def state(self) -> RealiserState:
        """Return what the next steps depend on."""
        return self._record.state()

    def restore(self, model: LanguageModel, state: RealiserState) -> None:
        """Go on from a state."""
        self._record.restore(model, state)

    def _held_out(self, model: LanguageModel, payoff: ResponsePayoff, anchors: Anchors) -> Bound:
        """Return half the variance of log π − log π⁺ on responses that were not fitted on."""
        if self.held_out is None:
            return UNKNOWN
        stream = self._record.here("held out")
        kept = self.held_out.responses(model, anchors[0][0], payoff.prompts, stream)
        difference = model.present_log_probabilities(kept) - target(model, payoff, anchors, kept)
        return residual_of(difference, kept)
