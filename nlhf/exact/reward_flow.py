r"""Rewards of groups as linear functions of occupancies, whatever the setting.

With several prompts, d is the distribution over prompts and what follows them. Every group's mean
reward is then :math:`\langle G_u, o\rangle` in the occupancy o of actions, which is all that convex
and linear programs need to know of a bandit, a token tree, histories or a decision process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from nlhf.exact.sequence_form import FlowGraph, flow_graph, policy_of_occupancy
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.duals import LeafPayoff, StepPayoff
from nlhf.spaces.policy import Policy
from nlhf.spaces.tree import TokenTree


@dataclass(frozen=True, slots=True, eq=False)
class RewardFlow:
    r"""All decision points of all prompts, and what every group gets of an action.

    Attributes:
        graph: The occupancies o ≥ 0 of actions, :math:`(E - M)^T o = \rho`.
        rewards: G, shape ``(action, group)``; rewards of the last point are counted with the last
            action, as their mean.
        shape: Shape of a policy.
    """

    graph: FlowGraph
    rewards: Float[np.ndarray, "action group"]
    shape: tuple[int, ...]

    def policy(self, occupancy: Float[np.ndarray, "action"], reference: Policy) -> Policy:
        """Return the policy of an occupancy; the reference where it never comes."""
        weights = np.asarray(occupancy, dtype=np.float64).reshape(self.shape)
        return Policy(policy_of_occupancy(weights, reference.log_probabilities))


def reward_flow(
    process: Any | None,
    shape: tuple[int, ...],
    prompt_weights: Float[np.ndarray, "context"],
    rewards: Sequence[Any] | np.ndarray,
) -> RewardFlow:
    """Return the flow of a game.

    Args:
        process: Where it is played; `None` for responses that are chosen at once.
        shape: Shape of a policy.
        prompt_weights: The prompt distribution.
        rewards: One payoff per group.
    """
    graph = _bandit(shape, prompt_weights) if process is None else _process(process, prompt_weights)
    columns = [_of_actions(process, graph, prompt_weights, reward) for reward in rewards]
    return RewardFlow(graph, np.stack(columns, axis=-1), shape)


def _bandit(shape: tuple[int, ...], prompt_weights: Float[np.ndarray, "context"]) -> FlowGraph:
    from scipy.sparse import csr_array, eye_array, kron

    prompts, responses = len(prompt_weights), shape[-1]
    owner = csr_array(kron(eye_array(prompts), np.ones((responses, 1))))
    return FlowGraph(owner, csr_array(owner.shape), None, prompt_weights)


def _process(process: Any, prompt_weights: Float[np.ndarray, "context"]) -> FlowGraph:
    from scipy.sparse import csr_array, eye_array, kron

    if not process.contexts:
        return flow_graph(process)
    tree = flow_graph(TokenTree(process.vocabulary, process.horizon))
    copies = eye_array(len(prompt_weights))
    return FlowGraph(
        owner=csr_array(kron(copies, tree.owner)),
        moves=csr_array(kron(copies, tree.moves)),
        ends=csr_array(kron(copies, tree.ends)),
        start=np.kron(prompt_weights, tree.start),
    )


def _of_actions(
    process: Any | None, graph: FlowGraph, prompt_weights: Float[np.ndarray, "context"], reward: Any
) -> Float[np.ndarray, "action"]:
    if isinstance(reward, LeafPayoff):
        return np.asarray(graph.ends @ reward.leaves.reshape(-1))
    if isinstance(reward, StepPayoff):
        steps = reward.steps.reshape(-1)
        if isinstance(process, Discounted):
            # It is paid where the process stops, with the share 1 - γ of visits.
            return (1.0 - process.discount) * steps
        return steps + np.asarray(graph.ends @ reward.final)
    return np.asarray(reward).reshape(-1)
