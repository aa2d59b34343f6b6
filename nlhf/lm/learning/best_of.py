"""Best-of-n: the response that a judge ranks first among n of one strategy."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import PreferenceModel, checked_preferences
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.lm.strategies import Strategy
from nlhf.streams import Stream


def best_of(
    model: LanguageModel,
    strategy: Strategy,
    prompts: Prompts,
    count: int,
    stream: Stream,
    *,
    candidates: int,
    preference: PreferenceModel,
) -> Responses:
    r"""Return responses that each won a tournament among n independent ones of a strategy.

    With a transitive preference it is the best-of-n policy d of its order, and

    .. math:: KL(d\|\pi) \le \log n - \frac{n-1}{n},

    approached as no response has much probability of its own. Which of the candidates wins an
    intransitive preference depends on how they are paired.

    Args:
        model: The model.
        strategy: π.
        prompts: X prompts.
        count: R, the winners to each.
        stream: Randomness; used up.
        candidates: n ≥ 1.
        preference: The judge; it is asked X R (n - 1) times.

    Raises:
        HypothesisViolated: If there are no candidates.
        InvalidData: If the judge answers with something else than a probability.
    """
    if candidates < 1:
        raise HypothesisViolated(f"the best of {candidates}", "ask for at least 1 candidate")
    pool = model.sample(strategy, prompts, count * candidates, stream)
    blocks = torch.arange(count * candidates).reshape(count, candidates)
    return tournament(pool, blocks.expand(len(prompts), -1, -1), preference)


def tournament(
    pool: Responses,
    blocks: Int[torch.Tensor, "prompt block candidate"],
    preference: PreferenceModel,
) -> Responses:
    """Return the winner of a knock-out tournament in every block of candidates.

    Candidates meet in the order given, two at a time, and one of an odd number waits: n - 1
    comparisons among n. One that beats all others wins; at exactly 1/2 the first one goes on.

    Args:
        pool: Responses to X prompts.
        blocks: Places of the candidates among the responses to their prompt.
        preference: The judge.
    """
    left = blocks.to(pool.tokens.device)
    while left.shape[2] > 1:
        pairs = left.shape[2] // 2
        first, second = left[..., 0 : 2 * pairs : 2], left[..., 1 : 2 * pairs : 2]
        flat = first.flatten(1), second.flatten(1)
        wins = paired_preferences(
            chosen_responses(pool, flat[0]), chosen_responses(pool, flat[1]), preference
        )
        stays = torch.as_tensor(wins >= 0.5, device=left.device).reshape(first.shape)
        left = torch.cat([torch.where(stays, first, second), left[..., 2 * pairs :]], dim=2)
    return chosen_responses(pool, left[..., 0])


def paired_preferences(
    first: Responses, second: Responses, preference: PreferenceModel
) -> Float[np.ndarray, "prompt response"]:
    """Return P(first j ≻ second j | x): each response against one other, not against all.

    Raises:
        InvalidData: If the judge answers with something else than a probability; names the row.
    """
    left, right = as_rows(first), as_rows(second)
    found = checked_preferences(preference.preferences(left, right), left, right)
    return np.asarray(found.reshape(first.shape))


def chosen_responses(pool: Responses, places: Int[torch.Tensor, "prompt response"]) -> Responses:
    """Return the responses at the given places, equally weighted."""
    rows = torch.arange(len(pool.prompts), device=places.device)[:, None]
    return Responses(
        pool.prompts,
        pool.tokens[rows, places],
        pool.lengths[rows, places],
        uniform_weights(len(pool.prompts), places.shape[1]).to(places.device),
        {key: value[rows, places] for key, value in pool.known.items()},
    )


def as_rows(responses: Responses) -> Responses:
    """Return X prompts with R responses each as X R prompts with one, prompt by prompt."""
    prompts, count = responses.shape
    repeated = [x for x in range(prompts) for _ in range(count)]
    return Responses(
        responses.prompts.take(repeated),
        responses.tokens.flatten(0, 1)[:, None],
        responses.lengths.flatten()[:, None],
        torch.ones_like(responses.weights.flatten())[:, None],
        {key: value.flatten()[:, None] for key, value in responses.known.items()},
    )


def best_of_divergence(candidates: int) -> float:
    """Return log n - (n - 1)/n, in nats: KL of best-of-n from the policy, at most.

    Raises:
        HypothesisViolated: If there are no candidates.
    """
    if candidates < 1:
        raise HypothesisViolated(f"the best of {candidates}", "ask for at least 1 candidate")
    return math.log(candidates) - (candidates - 1) / candidates
