"""What a preference model and a reward model are, and the checks of what they answer."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from nlhf.errors import InvalidData
from nlhf.lm.responses import Responses
from nlhf.numerics import sigmoid


@runtime_checkable
class PreferenceModel(Protocol):
    """Says with what probability one response is preferred to another."""

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return P(first i is preferred to second j | x) for the same prompts in both.

        The answers are complementary: P(a, b) + P(b, a) = 1.
        """
        ...


@runtime_checkable
class RewardModel(Protocol):
    """Gives every response a number; only differences within a prompt mean anything."""

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return the reward of every response."""
        ...


class BradleyTerryPreference:
    r"""The preference of a reward: :math:`P(y \succ y' | x) = \sigma(r(x, y) - r(x, y'))`.

    Rewards are in logits; complementary by construction, and never intransitive.
    """

    def __init__(self, reward: RewardModel) -> None:
        self.reward = reward

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the preferences.

        Raises:
            InvalidData: The prompts differ, or a reward is not a finite number.
        """
        require_same_prompts(first, second)
        r = checked_rewards(self.reward.rewards(first), first)
        s = r if second is first else checked_rewards(self.reward.rewards(second), second)
        return sigmoid(r[:, :, None] - s[:, None, :])


def checked_rewards(
    values: np.ndarray, responses: Responses
) -> Float64[np.ndarray, "prompt response"]:
    """Return rewards as float64 after checking them.

    Raises:
        InvalidData: The shape is not (prompt, response), or a reward is not a finite number; the
            message names the row, the response and the value.
    """
    found = _floats(values, responses.shape, "rewards", "(prompt, response)")
    wrong = ~np.isfinite(found)
    if wrong.any():
        x, y = (int(k) for k in np.argwhere(wrong)[0])
        raise InvalidData(
            f"row {responses.prompts.rows[x]}, response {y}: the reward is {found[x, y]} "
            f"({int(wrong.sum())} such of {wrong.size})",
            "return a finite number for every response; look at the reward of that one",
        )
    return found


def checked_preferences(
    values: np.ndarray, first: Responses, second: Responses
) -> Float64[np.ndarray, "prompt first second"]:
    """Return preferences as float64 after checking them.

    Raises:
        InvalidData: The shape is not (prompt, first, second), or an answer is no probability; the
            message names the row, the two responses and the value.
    """
    shape = (*first.shape, second.shape[1])
    found = _floats(values, shape, "preferences", "(prompt, first, second)")
    wrong = ~((found >= 0.0) & (found <= 1.0))
    if wrong.any():
        x, i, j = (int(k) for k in np.argwhere(wrong)[0])
        raise InvalidData(
            f"row {first.prompts.rows[x]}, responses {i} and {j}: the preference is "
            f"{found[x, i, j]}, not a probability ({int(wrong.sum())} such of {wrong.size})",
            "return the probability in [0, 1] that the first is preferred to the second",
        )
    return found


def require_same_prompts(first: Responses, second: Responses) -> None:
    """Refuse responses to different prompts.

    Raises:
        InvalidData: Naming the first place at which the prompts differ.
    """
    left, right = first.prompts, second.prompts
    if left is right or left.tokens == right.tokens:
        return
    if len(left) != len(right):
        raise InvalidData(
            f"responses to {len(left)} prompts against responses to {len(right)}",
            "compare responses to the same prompts, in the same order",
        )
    pairs = zip(left.tokens, right.tokens, strict=True)
    at = next(x for x, (a, b) in enumerate(pairs) if a != b)
    raise InvalidData(
        f"prompt {at} differs: row {left.rows[at]} on one side, row {right.rows[at]} on the other",
        "compare responses to the same prompts, in the same order",
    )


def _floats(values: object, shape: tuple[int, ...], name: str, axes: str) -> np.ndarray:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidData(
            f"{name} cannot be read as numbers: {error}", f"return an array of shape {axes}"
        ) from error
    if found.shape != shape:
        raise InvalidData(
            f"{name} of shape {found.shape} where {axes} is {shape}",
            "return one number for each of them",
        )
    return found
