"""Log-probabilities and objectives of tiny models by another route: full logits and autograd."""

from itertools import product

import torch

from tests.lm.tiny import HORIZON, VOCABULARY

ALL = torch.tensor(list(product(range(VOCABULARY), repeat=HORIZON)))


def token_logs(module, prompt) -> torch.Tensor:
    """log π(y_t | x, y_<t) of all responses, shape (leaf, token), with a graph."""
    rows = torch.cat([torch.tensor(prompt).expand(len(ALL), -1), ALL], dim=1)
    logits = module(input_ids=rows).logits[:, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, dim=-1).gather(-1, ALL[:, :, None])[..., 0]


def response_logs(module, prompts) -> torch.Tensor:
    """log π(y | x) of all responses to all prompts, with a graph."""
    return torch.stack([token_logs(module, prompt).sum(dim=1) for prompt in prompts.tokens])


def anchor_logs(model, strategy, prompts) -> torch.Tensor:
    with torch.no_grad(), model.playing(strategy) as module:
        return response_logs(module, prompts)


def objective(logs, payoff, anchors) -> torch.Tensor:
    """The mean over prompts of E_π[g] − Σ τ_i KL(π‖π_i), by summing over all responses."""
    price = sum(strength * (logs - anchor) for anchor, strength in anchors)
    return (logs.exp() * (payoff - price)).sum(dim=1).mean()


def gradient(model, value) -> torch.Tensor:
    """The gradient of a scalar by all trainable weights, in one vector."""
    parameters = list(model.trainable().values())
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, found, strict=True)
        ]
    )


def accumulated(model) -> torch.Tensor:
    """What lies in the gradients of all trainable weights, in one vector."""
    return torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
            for p in model.trainable().values()
        ]
    )


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
