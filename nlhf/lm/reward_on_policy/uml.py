"""RLP-UML: a reward model trained on its pairs and on what the policy's responses share."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.judges.encoding import Encoder, Row, batches, whole_rows
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.judges.reward_heads import BradleyTerryReward
from nlhf.lm.judges.training import FitSettings, PairFit, fit_pairs
from nlhf.lm.responses import Responses
from nlhf.lm.reward_on_policy.codes import (
    Critic,
    GaussianHeads,
    jensen_shannon_bound,
    normal_noise,
    symmetric_divergence,
)
from nlhf.streams import Stream

WEIGHT = 0.5
"""λ of the paper."""

CODE, WIDTH, RATE = 64, 1024, 1e-4
"""Length of a code, width and learning rate of its networks, as the authors of the multi-view
bottleneck have them; RLP gives none."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewTerms:
    """The terms of the multi-view loss on one batch.

    Attributes:
        bound: The Jensen-Shannon bound, at most 0, and -2 log 2 if codes tell nothing.
        divergence: The mean symmetrised divergence of the two codes of a prompt, in nats.
    """

    bound: Float[torch.Tensor, ""]
    divergence: Float[torch.Tensor, ""]

    @property
    def loss(self) -> Float[torch.Tensor, ""]:
        """The divergence less the bound: both have weight 1 in the paper."""
        return self.divergence - self.bound


class MultiView(nn.Module):
    r"""The loss of RLP-UML on the hidden states of two responses to every prompt.

    .. math:: L_M = E\big[-\hat I(z_1; z_2) + \tfrac12 (KL(p_1 \| p_2) + KL(p_2 \| p_1))\big],

    with :math:`p_i = N(\mu(h_i), diag\,\sigma(h_i)^2)` the law of the code :math:`z_i` of response
    i (shared heads), and the Jensen-Shannon bound for the information, whose pairs of independent
    codes are all those of two different prompts of the batch. The divergence is in closed form.

    Source: Lang, Huang, Li, 2024, sections 4.2 and 5.3. Not in the paper, and so our choices:
    lengths, widths, the pairs of different prompts, the closed form.

    Args:
        hidden: Length of a hidden state.
        stream: Randomness of the weights.
        like: A tensor on the device; a float64 one makes float64 layers.
        code: Length of a code.
        width: Of the networks' hidden layers.
    """

    def __init__(
        self,
        hidden: int,
        stream: Stream,
        like: torch.Tensor,
        *,
        code: int = CODE,
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.heads = GaussianHeads(hidden, code, width, stream.child("heads"), like)
        self.critic = Critic(code, width, stream.child("critic"), like)

    def forward(
        self,
        first: Float[torch.Tensor, "prompt hidden"],
        second: Float[torch.Tensor, "prompt hidden"],
        stream: Stream,
    ) -> ViewTerms:
        """Return the terms for hidden states of two responses to the same different prompts.

        Args:
            first: One response's.
            second: Another's.
            stream: Randomness of the codes.
        """
        p, q = self.heads(first), self.heads(second)
        z1 = p.sample(normal_noise(stream.child("first"), p.mean))
        z2 = q.sample(normal_noise(stream.child("second"), q.mean))
        scores = self.critic(z1, z2)
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        bound = jensen_shannon_bound(scores[own], scores[~own])
        return ViewTerms(bound, symmetric_divergence(p, q).mean())


class MultiViewTerm:
    """λ times the multi-view loss of a reward model's backbone, as a term of its training.

    Every optimiser step draws a batch of prompts and two different responses to each. The loss
    couples the whole batch, so the hidden states are computed first without a graph and their
    gradients then taken back through the backbone in micro-batches: the result is the same for
    every micro-batch.

    Args:
        encoder: The backbone that the reward head reads too.
        loss: The codes and the critic.
        views: At least 2 responses of the policy to each of at least 2 different prompts.
        stream: Randomness of the batches and of the codes.
        weight: λ ≥ 0.
        batch: Prompts of a step; all of them if there are fewer.
        micro_batch: Responses of one pass.
        learning_rate: Of the codes' networks and the critic, which begin anew.

    Raises:
        InvalidData: There are too few responses or prompts, or a row is longer than the context.
        HypothesisViolated: The weight is negative, or a number of rows too small.
    """

    def __init__(
        self,
        encoder: Encoder,
        loss: MultiView,
        views: Responses,
        stream: Stream,
        *,
        weight: float = WEIGHT,
        batch: int = 64,
        micro_batch: int = 8,
        learning_rate: float = RATE,
    ) -> None:
        self._rows = _by_prompt(views, encoder)
        if not weight >= 0.0 or batch < 2 or micro_batch < 1:
            raise HypothesisViolated(
                f"weight {weight}, batch {batch} and micro_batch {micro_batch}",
                "take a weight of at least 0, at least 2 prompts a batch and 1 response a pass",
            )
        self.encoder = encoder
        self.loss = loss
        self.stream = stream
        self.weight = weight
        self.batch = min(batch, len(self._rows))
        self.micro_batch = micro_batch
        self.learning_rate = learning_rate

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of codes and critic."""
        return self.loss.parameters()

    def accumulate(self, step: int) -> float:
        """Add λ times the loss's gradients at an optimiser step; return λ times the loss.

        Raises:
            InvalidData: The loss is not finite.
        """
        stream = self.stream.child("step", step)
        rows = self._drawn(stream)
        with torch.no_grad():
            parts = [self.encoder(part) for part in batches(rows, self.micro_batch)]
        hidden = torch.cat(parts).detach()
        dtype = next(self.loss.parameters()).dtype
        hidden = hidden.to(dtype).requires_grad_()
        first, second = hidden.chunk(2)
        terms = self.loss(first, second, stream.child("codes"))
        value = self.weight * terms.loss
        if not bool(torch.isfinite(value)):
            bound, divergence = float(terms.bound.detach()), float(terms.divergence.detach())
            raise InvalidData(
                f"step {step}: the multi-view loss is not finite (bound {bound}, divergence "
                f"{divergence})",
                "lower the learning rate or the weight of the loss",
            )
        value.backward()  # type: ignore[no-untyped-call]
        self._take_back(rows, hidden.grad)
        return float(value.detach())

    def _take_back(self, rows: list[Row], gradient: torch.Tensor | None) -> None:
        assert gradient is not None
        if not any(one.requires_grad for one in self.encoder.parameters()):
            return
        start = 0
        for part in batches(rows, self.micro_batch):
            hidden = self.encoder(part)
            hidden.backward(gradient[start : start + len(part)].to(hidden.dtype))  # type: ignore[no-untyped-call]
            start += len(part)

    def _drawn(self, stream: Stream) -> list[Row]:
        """Return the first responses of the batch, then the second ones."""
        generator = stream.child("batch").generator()
        prompts = generator.permutation(len(self._rows))[: self.batch]
        ends: tuple[list[Row], list[Row]] = ([], [])
        for x in prompts.tolist():
            own = self._rows[x]
            i, j = generator.choice(len(own), 2, replace=False).tolist()
            ends[0].append(own[i])
            ends[1].append(own[j])
        return ends[0] + ends[1]


def fit_multi_view_reward(
    reward: BradleyTerryReward,
    pairs: PreferencePairs,
    held_out: PreferencePairs,
    term: MultiViewTerm,
    settings: FitSettings,
    stream: Stream,
) -> PairFit:
    r"""Retrain a reward model by RLP-UML: :math:`L_R + \lambda L_M` on its pairs and the views.

    The reward head reads the backbone, not the codes: L_M acts through the shared backbone only.
    With λ = 0 the reward model becomes what `fit_pairs` makes of it. A representation without any
    superfluous information would not tell two responses to a prompt apart; what that does to
    rewards is in `nlhf.learning.reward_on_policy.multiview`.

    Args:
        reward: Changed in place.
        pairs: D, the labelled pairs.
        held_out: What the reward is scored on.
        term: The multi-view term on the same backbone.
        settings: See `FitSettings`.
        stream: Randomness of the order of the pairs.

    Raises:
        HypothesisViolated: The term is on another backbone.
        InvalidData: Log-odds or the loss are not finite.
    """
    if term.encoder is not reward.encoder:
        raise HypothesisViolated(
            "the multi-view term reads another backbone than the reward",
            "build it with the reward's encoder: it acts through the shared backbone only",
        )
    return fit_pairs(reward, pairs, held_out, settings, stream, auxiliary=term)


def _by_prompt(views: Responses, encoder: Encoder) -> list[list[Row]]:
    """Return the rows of every distinct prompt; repeated prompts are one, with all responses."""
    prompts, responses = views.shape
    rows = whole_rows(views, encoder.context)
    found: dict[Row, list[Row]] = {}
    for x, prompt in enumerate(views.prompts.tokens):
        found.setdefault(prompt, []).extend(rows[x * responses : (x + 1) * responses])
    fewest = int(np.min([len(own) for own in found.values()]))
    if fewest < 2 or len(found) < 2:
        raise InvalidData(
            f"{len(found)} different prompts of {prompts}, with at least {fewest} responses each",
            "give at least 2 responses to each of at least 2 different prompts",
        )
    return list(found.values())
