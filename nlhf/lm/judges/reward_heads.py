"""Reward models: linear heads on the last hidden state, one, or one for every group of raters."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from nlhf.errors import HypothesisViolated, Unsupported
from nlhf.lm.judges.base import checked_rewards, require_same_prompts
from nlhf.lm.judges.encoding import Encoder, new_linear, whole_rows
from nlhf.lm.responses import Responses
from nlhf.numerics import sigmoid
from nlhf.results import read_only
from nlhf.streams import Stream


class RewardHeads(nn.Module):
    r"""K rewards of a response, :math:`r_u(x, y) = w_u^\top h(x, y)`, on one backbone.

    h is the backbone's last hidden state at the last token of prompt and response. There is no
    bias: a constant changes no preference.

    Args:
        encoder: The backbone.
        head: From its hidden states to K rewards, in logits.
    """

    def __init__(self, encoder: Encoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    @property
    def groups(self) -> int:
        """K."""
        return self.head.out_features

    def forward(self, responses: Responses) -> Float[torch.Tensor, "row group"]:
        """Return the rewards of all responses, prompt by prompt, in one pass with its graph.

        Raises:
            InvalidData: Prompt and response are longer than the context.
        """
        return self.read(self.encoder(whole_rows(responses, self.encoder.context)))

    def read(self, vectors: Float[torch.Tensor, "row hidden"]) -> Float[torch.Tensor, "row group"]:
        """Return the rewards that the heads read from hidden states."""
        found: torch.Tensor = self.head(vectors.to(self.head.weight.dtype))
        return found

    def margins(self, first: Responses, second: Responses) -> Float[torch.Tensor, "pair group"]:
        """Return r_u(first) - r_u(second) for one response each a prompt, with the graph."""
        rows = [*whole_rows(first, self.encoder.context), *whole_rows(second, self.encoder.context)]
        left, right = self.read(self.encoder(rows)).chunk(2)
        return left - right

    @torch.no_grad()
    def group_rewards(self, responses: Responses) -> Float64[np.ndarray, "group prompt response"]:
        """Return the rewards of every group.

        Raises:
            InvalidData: Prompt and response are longer than the context, or a reward is not finite.
        """
        rows = whole_rows(responses, self.encoder.context)
        found = self.read(self.encoder.encoded(rows)).double().cpu().numpy()
        groups = found.T.reshape(self.groups, *responses.shape)
        return np.stack([checked_rewards(one, responses) for one in groups])


class BradleyTerryReward(RewardHeads):
    """A single reward head: a reward model, fitted so that preferences are σ(r(a) - r(b))."""

    @classmethod
    def on(
        cls, backbone: nn.Module, *, pad: int, stream: Stream, micro_batch: int = 32
    ) -> "BradleyTerryReward":
        """Put a new head, drawn N(0, 1/(width + 1)), on a backbone; see `Encoder`."""
        encoder = Encoder(backbone, pad=pad, micro_batch=micro_batch)
        return cls(encoder, _new_head(encoder, 1, stream))

    @classmethod
    def of_classifier(
        cls, module: nn.Module, *, pad: int, micro_batch: int = 32
    ) -> "BradleyTerryReward":
        """Take the backbone and the `score` layer of a sequence classifier with one label.

        That is how reward models of causal architectures are published. The reward is read at the
        last token whatever it is; transformers' own classifier skips tokens that equal its padding
        token, and with padding = end reads before the end token.

        Raises:
            Unsupported: It has no linear `score` layer with one output.
        """
        score = getattr(module, "score", None)
        if not isinstance(score, nn.Linear) or score.out_features != 1:
            raise Unsupported(
                f"{type(module).__name__} has no linear layer `score` with one output",
                "load AutoModelForSequenceClassification with num_labels=1 of a causal model",
            )
        return cls(Encoder(module.base_model, pad=pad, micro_batch=micro_batch), score)  # type: ignore[arg-type]

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return the reward of every response, in logits.

        Raises:
            InvalidData: Prompt and response are longer than the context, or a reward is not finite.
        """
        rewards: np.ndarray = self.group_rewards(responses)[0]
        return rewards


class MixtureReward(RewardHeads):
    r"""A reward for every group of raters, and how large the groups are.

    As a preference model it is the preference of a rater drawn at random,
    :math:`P(a \succ b | x) = \sum_u \eta_u \sigma(r_u(x, a) - r_u(x, b))`: complementary, and
    intransitive where the groups disagree in a cycle.

    Attributes:
        proportions: η; a buffer, saved with the weights.
    """

    proportions: Float64[torch.Tensor, " group"]

    def __init__(self, encoder: Encoder, head: nn.Linear) -> None:
        super().__init__(encoder, head)
        count = head.out_features
        flat = torch.full((count,), 1.0 / count, dtype=torch.float64)
        self.register_buffer("proportions", flat)
        self._last: tuple[Responses, object, np.ndarray] | None = None

    @classmethod
    def on(
        cls, backbone: nn.Module, groups: int, *, pad: int, stream: Stream, micro_batch: int = 32
    ) -> "MixtureReward":
        """Put new heads, drawn N(0, 1/(width + 1)), on a backbone; see `Encoder`."""
        encoder = Encoder(backbone, pad=pad, micro_batch=micro_batch)
        return cls(encoder, _new_head(encoder, groups, stream))

    @torch.no_grad()
    def group_rewards(self, responses: Responses) -> Float64[np.ndarray, "group prompt response"]:
        """Return the rewards of every group; asked again for the same responses, the same array.

        So a game that asks group by group reads every response once. Whatever changes a weight in
        place, as optimisers do, makes the next answer a new one.

        Raises:
            InvalidData: Prompt and response are longer than the context, or a reward is not finite.
        """
        weights = tuple((id(one), one._version) for one in self.parameters())
        if self._last is None or self._last[0] is not responses or self._last[1] != weights:
            self._last = (responses, weights, read_only(super().group_rewards(responses)))
        return self._last[2]

    def set_proportions(self, proportions: Float[np.ndarray, " group"]) -> None:
        """Set η."""
        self.proportions.copy_(torch.from_numpy(np.array(proportions, dtype=np.float64)))

    def shares(self) -> Float64[np.ndarray, " group"]:
        """Return η as an array."""
        return np.array(self.proportions.cpu().numpy())

    def group(self, number: int) -> "GroupReward":
        """Return the reward model of one group."""
        return GroupReward(self, range(self.groups)[number])

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the preference of a random rater.

        Raises:
            InvalidData: The prompts differ, one is too long, or a reward is not finite.
        """
        require_same_prompts(first, second)
        left = self.group_rewards(first)
        right = left if second is first else self.group_rewards(second)
        each = sigmoid(left[:, :, :, None] - right[:, :, None, :])
        return np.asarray(np.tensordot(self.shares(), each, axes=1))


class GroupReward:
    """The reward of one group of a mixture."""

    def __init__(self, mixture: MixtureReward, group: int) -> None:
        self.mixture = mixture
        self.group = group

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return the reward of every response to this group, in logits."""
        rewards: np.ndarray = self.mixture.group_rewards(responses)[self.group]
        return rewards


def _new_head(encoder: Encoder, groups: int, stream: Stream) -> nn.Linear:
    if groups < 1:
        raise HypothesisViolated(f"{groups} groups", "ask for at least 1")
    like = next(encoder.backbone.parameters())
    return new_linear(encoder.width, groups, stream.child("head"), bias=False, like=like)
