r"""One round of reward learning on policy in one bandit, and what the judge makes of it.

Human comparisons D of the reference give :math:`\hat r`, its policy :math:`\pi_\theta` gives
synthetic comparisons :math:`\hat D`, both together give :math:`\hat r'`, and its policy starts
from the reference again (Lang, Huang, Li, 2024, Algorithm 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.bandits import ClusteredBandit
from nlhf.learning.reward_on_policy.judging import (
    centred_error,
    divergence,
    gold_reward,
    label_accuracy,
    match_divergence,
    matched_derivative,
    objective,
    pair_accuracy,
    win_rate,
)
from nlhf.learning.reward_on_policy.labelling import Labeller, labelled_pairs
from nlhf.learning.reward_on_policy.reward_models import fit_tabular_reward
from nlhf.results import read_only


@dataclass(frozen=True, slots=True)
class FirstStage:
    r"""What the reward model of the human comparisons is worth.

    Attributes:
        divergence: Of its policy :math:`\pi_\theta` from the reference, in nats.
        reward_gain: :math:`E_{\pi_\theta} r^* - E_{\pi_0} r^*`, in logits.
        reference_error: Centred error of the reward on the reference's responses.
        policy_error: The same on the policy's.
        reference_accuracy: Accuracy of the reward on the reference's pairs.
        policy_accuracy: The same on the policy's.
    """

    divergence: float
    reward_gain: float
    reference_error: float
    policy_error: float
    reference_accuracy: float
    policy_accuracy: float


@dataclass(frozen=True, slots=True)
class Retrained:
    r"""What retraining on one labeller's comparisons did.

    Attributes:
        labeller: Who labelled.
        weight: Synthetic comparisons per human one, before selection.
        coverage: The probability that a context yields a comparison.
        label_accuracy: Mean true Bradley-Terry probability of the labels.
        reward_change: Of the expected true reward at the divergence of the first policy, in
            logits; `nan` if the new reward has no policy that far from the reference.
        matched_win_rate: Of the new policy at that divergence against the first one.
        value_change: Of J at the same β, in logits.
        fixed_win_rate: Of the new policy at the same β against the first one.
        divergence: Of the new policy at the same β.
        policy_error_change: Of the centred error on the first policy's responses, in logits².
        policy_accuracy_change: Of the accuracy on the first policy's pairs.
        predicted: The derivative of the true reward at constant divergence along
            :math:`\hat r' - \hat r`, by `matched_derivative`: whether retraining should help, to
            first order; `nan` if the first reward is constant.
    """

    labeller: Labeller
    weight: float
    coverage: float
    label_accuracy: float
    reward_change: float
    matched_win_rate: float
    value_change: float
    fixed_win_rate: float
    divergence: float
    policy_error_change: float
    policy_accuracy_change: float
    predicted: float


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One round in one bandit.

    Attributes:
        first: The first stage.
        reward: The reward model of the human comparisons.
        retrained: One entry a labeller and weight.
        rewards: The retrained reward models, in that order.
    """

    first: FirstStage
    reward: Float[np.ndarray, "context response"]
    retrained: tuple[Retrained, ...]
    rewards: Float[np.ndarray, "method context response"]


def reward_learning_on_policy(
    bandit: ClusteredBandit,
    human: Float[np.ndarray, "context response response"],
    labellers: Sequence[Labeller],
    weights: Sequence[float],
    *,
    ridge: float,
    samples: int = 10,
) -> Round:
    r"""Retrain on every labeller's comparisons with every weight, and judge the results.

    .. math:: \hat D(x, i, j) = \lambda\,m\,\rho_x\,P(i \succ j \text{ labelled} | x)

    for m human comparisons: weight λ is |U|/|D|, so that a labeller who covers a share c of the
    contexts adds λ m c comparisons.

    Args:
        bandit: The bandit.
        human: D, how often i won against j in each context.
        labellers: Who labels.
        weights: λ, each at least 0.
        ridge: Of the tabular reward models, in comparisons per logit².
        samples: n, for consensus.

    Raises:
        HypothesisViolated: An argument is out of range or of another shape, or somebody labels no
            pair at all.
    """
    _check(bandit, human, labellers, weights)
    reward = fit_tabular_reward(human, ridge)
    cases = [(one, weight) for one in labellers for weight in weights]
    synthetic = {one: labelled_pairs(one, bandit, reward, samples) for one in labellers}
    mass = human.sum() * bandit.weights[:, None, None]
    data = np.stack([human + weight * mass * synthetic[one] for one, weight in cases])
    rewards = fit_tabular_reward(data, ridge)
    return Round(
        first=_first_stage(bandit, reward),
        reward=read_only(reward),
        retrained=tuple(
            _judged(bandit, reward, one, weight, synthetic[one], new)
            for (one, weight), new in zip(cases, rewards, strict=True)
        ),
        rewards=read_only(rewards),
    )


def _check(
    bandit: ClusteredBandit,
    human: np.ndarray,
    labellers: Sequence[Labeller],
    weights: Sequence[float],
) -> None:
    contexts, responses = bandit.truth.shape
    if human.shape != (contexts, responses, responses):
        raise HypothesisViolated(
            f"comparisons of shape {human.shape} for {contexts} contexts of {responses} responses",
            "give one matrix (response, response) a context",
        )
    if not labellers or not weights or not all(0.0 <= weight < math.inf for weight in weights):
        raise HypothesisViolated(
            f"{len(labellers)} labellers with weights {tuple(weights)}",
            "give somebody who labels, and weights that are finite and at least 0",
        )


def _first_stage(bandit: ClusteredBandit, reward: np.ndarray) -> FirstStage:
    policy = bandit.policy(reward)
    return FirstStage(
        divergence=divergence(bandit, policy),
        reward_gain=gold_reward(bandit, policy) - gold_reward(bandit, bandit.reference),
        reference_error=centred_error(bandit, bandit.reference, reward),
        policy_error=centred_error(bandit, policy, reward),
        reference_accuracy=pair_accuracy(bandit, bandit.reference, reward),
        policy_accuracy=pair_accuracy(bandit, policy, reward),
    )


def _judged(
    bandit: ClusteredBandit,
    reward: np.ndarray,
    labeller: Labeller,
    weight: float,
    pairs: np.ndarray,
    new: np.ndarray,
) -> Retrained:
    before, after = bandit.policy(reward), bandit.policy(new)
    try:
        matched = match_divergence(bandit, new, divergence(bandit, before)).policy
        reward_change = gold_reward(bandit, matched) - gold_reward(bandit, before)
        matched_win_rate = win_rate(bandit, matched, before)
    except HypothesisViolated:
        reward_change = matched_win_rate = math.nan
    try:
        predicted = matched_derivative(bandit, reward, new - reward)
    except HypothesisViolated:
        predicted = math.nan
    return Retrained(
        labeller=labeller,
        weight=weight,
        coverage=float(bandit.weights @ pairs.sum(axis=(1, 2))),
        label_accuracy=label_accuracy(bandit, pairs),
        reward_change=reward_change,
        matched_win_rate=matched_win_rate,
        value_change=objective(bandit, after) - objective(bandit, before),
        fixed_win_rate=win_rate(bandit, after, before),
        divergence=divergence(bandit, after),
        policy_error_change=centred_error(bandit, before, new)
        - centred_error(bandit, before, reward),
        policy_accuracy_change=pair_accuracy(bandit, before, new)
        - pair_accuracy(bandit, before, reward),
        predicted=predicted,
    )
