"""Gaussian codes of hidden states, how far two are apart, and how much they share."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from nlhf.lm.judges.encoding import new_linear
from nlhf.streams import Stream

FLOOR = 1e-7
"""Added to every standard deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """One normal law with independent coordinates a row.

    Attributes:
        mean: μ.
        scale: The standard deviations, positive.
    """

    mean: Float[torch.Tensor, "row code"]
    scale: Float[torch.Tensor, "row code"]

    def sample(self, noise: Float[torch.Tensor, "row code"]) -> Float[torch.Tensor, "row code"]:
        """Return μ + scale · noise, the noise being standard normal."""
        return self.mean + self.scale * noise

    def log_density(self, codes: Float[torch.Tensor, "row code"]) -> Float[torch.Tensor, " row"]:
        """Return log p(z), in nats."""
        standard = (codes - self.mean) / self.scale
        each = -0.5 * standard**2 - self.scale.log() - 0.5 * math.log(2.0 * math.pi)
        return each.sum(dim=1)


def symmetric_divergence(p: Gaussians, q: Gaussians) -> Float[torch.Tensor, " row"]:
    r"""Return :math:`\tfrac12[KL(p\|q) + KL(q\|p)]` in nats, in closed form.

    .. math:: \tfrac14 \sum_k \Big[\frac{s_k^2 + d_k^2}{t_k^2} + \frac{t_k^2 + d_k^2}{s_k^2} - 2
        \Big]

    with d the difference of means and s, t the scales; written so that equal laws give exactly 0.
    """
    square = (p.mean - q.mean) ** 2
    ratio = torch.log(p.scale / q.scale)
    apart = square * (p.scale**-2 + q.scale**-2)
    return 0.25 * (apart + 4.0 * torch.sinh(ratio) ** 2).sum(dim=1)


def jensen_shannon_bound(
    joint: Float[torch.Tensor, "*pair"], apart: Float[torch.Tensor, "*other"]
) -> Float[torch.Tensor, ""]:
    r"""Return :math:`E_{joint}[-sp(-T)] - E_{apart}[sp(T)]`, sp the softplus.

    For any critic T at most :math:`2\,JSD(p(z_1, z_2) \| p(z_1) p(z_2)) - 2 \log 2`, with equality
    at the log-ratio of the two. It is not the information itself: it never exceeds 0, and for a
    weak correlation ρ it is ρ²/4 above -2 log 2, half of the information (Hjelm et al., 2019).

    Args:
        joint: T at codes of one prompt.
        apart: T at codes of different prompts.
    """
    return nn.functional.logsigmoid(joint).mean() + nn.functional.logsigmoid(-apart).mean()


class Perceptron(nn.Module):
    """Three linear layers with ReLUs between them, weights N(0, 2/(inputs + 1))."""

    def __init__(
        self, inputs: int, width: int, outputs: int, stream: Stream, like: torch.Tensor
    ) -> None:
        super().__init__()
        sizes = ((inputs, width), (width, width), (width, outputs))
        self.layers = nn.ModuleList(
            new_linear(*size, stream.child(k), bias=True, like=like) for k, size in enumerate(sizes)
        )

    def forward(self, rows: Float[torch.Tensor, "row entry"]) -> Float[torch.Tensor, "row out"]:
        """Return the outputs."""
        for layer in self.layers[:-1]:
            rows = torch.relu(layer(rows)) * 2.0**0.5
        found: torch.Tensor = self.layers[-1](rows)
        return found


class GaussianHeads(nn.Module):
    """Two three-layer networks that read mean and scale of a code from a hidden state.

    Args:
        hidden: Length of a hidden state.
        code: Length of a code.
        width: Of the hidden layers.
        stream: Randomness of the weights.
        like: A tensor on the device; a float64 one makes float64 layers.
    """

    def __init__(
        self, hidden: int, code: int, width: int, stream: Stream, like: torch.Tensor
    ) -> None:
        super().__init__()
        self.mean = Perceptron(hidden, width, code, stream.child("mean"), like)
        self.scale = Perceptron(hidden, width, code, stream.child("scale"), like)
        self.code = code

    def forward(self, hidden: Float[torch.Tensor, "row hidden"]) -> Gaussians:
        """Return the law of the code of every row; scales are softplus(·) + `FLOOR`."""
        scale = nn.functional.softplus(self.scale(hidden)) + FLOOR
        return Gaussians(self.mean(hidden), scale)


class Critic(nn.Module):
    """T: a three-layer network on two codes side by side."""

    def __init__(self, code: int, width: int, stream: Stream, like: torch.Tensor) -> None:
        super().__init__()
        self.network = Perceptron(2 * code, width, 1, stream, like)

    def forward(
        self, first: Float[torch.Tensor, "row code"], second: Float[torch.Tensor, "row code"]
    ) -> Float[torch.Tensor, "row row"]:
        """Return T of every first code with every second one."""
        count = len(first)
        left = first.repeat_interleave(count, dim=0)
        right = second.repeat(count, 1)
        found: torch.Tensor = self.network(torch.cat([left, right], dim=1))
        return found.reshape(count, count)


def normal_noise(stream: Stream, like: Float[torch.Tensor, "row code"]) -> torch.Tensor:
    """Return standard normal noise of a tensor's shape, type and device."""
    drawn = stream.generator().standard_normal(tuple(like.shape))
    return torch.from_numpy(np.asarray(drawn)).to(like)
