"""The strategies of a language model, with the geometry of KL between whole responses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nlhf.lm.draws import Draws
from nlhf.lm.estimates import kl_estimate
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.base import Realiser
from nlhf.lm.responses import Prompts
from nlhf.lm.strategies import Mixture, Strategy, shares
from nlhf.protocols import Prox
from nlhf.results import Bound
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class LanguageSpace:
    """One player's strategies on a language model.

    Attributes:
        model: Where strategies are played and trained.
        realiser: How proximal steps are carried out; it keeps the state of its optimiser.
        prompts: What divergences are averaged over.
        draws: The responses that estimate them.
        stream: The randomness of these.
    """

    model: LanguageModel
    realiser: Realiser
    prompts: Prompts
    draws: Draws
    stream: Stream

    def prox(
        self, payoff: ResponsePayoff | None, anchors: Sequence[tuple[Strategy, float]]
    ) -> Prox[Strategy]:
        r"""Return the realised :math:`\arg\max_\pi E_\pi[g] - \sum_i \tau_i KL(\pi\|\pi_i)`.

        The divergence is between distributions over whole responses.

        Raises:
            HypothesisViolated: If a strength is negative or all are zero.
        """
        pulling = [(strategy, s) for strategy, s in anchors if s != 0.0]
        shares(tuple(s for _, s in pulling))
        return self.realiser.realise(self.model, payoff, pulling)

    def divergence(self, p: Strategy, q: Strategy) -> Bound:
        """Return an estimate of KL(p‖q) in nats, averaged over prompts, with its interval."""
        responses = self.draws.responses(self.model, p, self.prompts, self.stream)
        logs = [self.model.log_probabilities(each, responses) for each in (p, q)]
        ratio = logs[0] - logs[1]
        seen = torch.where(responses.weights > 0.0, ratio, 0.0)
        return kl_estimate(seen, responses.weights, exhaustive=responses.exhaustive)

    def mixture(self, weighted: Sequence[tuple[Strategy, float]]) -> Strategy:
        """Return the strategy that plays each for a whole response, by normalised weights.

        Raises:
            HypothesisViolated: If a weight is negative or all are zero.
        """
        parts = shares(tuple(weight for _, weight in weighted))
        pairs = [(s, w) for (s, _), w in zip(weighted, parts, strict=True) if w > 0.0]
        return pairs[0][0] if len(pairs) == 1 else Mixture(tuple(_flat(pairs)))


def _flat(pairs: Sequence[tuple[Strategy, float]]) -> list[tuple[Strategy, float]]:
    """Return a mixture of mixtures as one of its members, each strategy once."""
    found: dict[str, tuple[Strategy, float]] = {}
    for strategy, weight in pairs:
        inner = strategy.weighted if isinstance(strategy, Mixture) else ((strategy, 1.0),)
        for member, share in inner:
            before = found.get(member.key, (member, 0.0))[1]
            found[member.key] = (member, before + weight * share)
    return list(found.values())
