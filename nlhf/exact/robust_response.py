r"""The best policy against given weights of groups, when every group replies as well as it can.

In every context, with temperatures t of the policy and t' of the replies,

.. math:: \max_\pi\; \sum_u w_u \varphi_u(\pi) - t \langle\pi, \log\pi\rangle + \tau\langle\pi,
          \log\mu\rangle, \qquad
          \varphi_u(\pi) = -t' \log \sum_{y} \mu_y^{\tau'/t'} e^{-(A_u^\top\pi)_y/t'},

where t = τ and t' = τ' except on the way there. The objective is strictly concave: with the
replies :math:`\rho_u \propto \mu^{\tau'/t'} e^{-A_u^\top\pi/t'}`, minus its Hessian is

.. math:: \frac t\pi + G, \qquad
          G = \tfrac1{t'} \sum_u w_u A_u\,(\mathrm{diag}\,\rho_u - \rho_u\rho_u^\top)\,A_u^\top.

Newton steps are taken in log π, where they are as good for rare responses as for others: the step
δ solves :math:`(I + G\,\mathrm{diag}(\pi)/t)\,\delta = r`, identity plus a product of two positive
semidefinite matrices, with r what :math:`\log\pi` lacks of :math:`(\tau\log\mu + \sum_u w_u A_u
\rho_u)/t`, up to a constant. All contexts are worked on at once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.games.group_robust import GroupRobustGame
from nlhf.numerics import EPSILON, log_normalise, log_sum_exp

_CONTRACTS = 0.1
"""Factor by which a step must reduce the residual, or the next one gets derivatives of its own."""
_DESCENT = 1e-3
_SHORTEST = 1e-8
_LONGEST = 30.0
"""Nats by which a step may change a log-probability."""
_MOST_STEPS = 50
_IN_CACHE = 1 << 19
"""Entries of preferences that are worked on at a time, 4 MB."""
_SETTLED = 1e-6
"""Residual in nats below which rounding decides."""
_DROPPED = 1e-4
"""Weight of the replies that second derivatives leave out, in units of t t': t is changed by no
more than this part."""


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """The temperatures t of the policy and t' of the replies."""

    policy: float
    replies: float


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """A policy in every context, the groups' replies to it, and what is missing of the optimum.

    Attributes:
        log_policy: log π.
        log_replies: log ρ.
        values: φ_u, context by context.
        slopes: The gradients of φ_u, A_u ρ_u.
        worth: What is maximised.
        residual: r, less its mean under π; in nats.
    """

    log_policy: Float[np.ndarray, "context response"]
    log_replies: Float[np.ndarray, "context group response"]
    values: Float[np.ndarray, "context group"]
    slopes: Float[np.ndarray, "context group response"]
    worth: Float[np.ndarray, "context"]
    residual: Float[np.ndarray, "context response"]

    @property
    def missing(self) -> Float[np.ndarray, "context"]:
        """The largest residual of every context."""
        return np.asarray(np.abs(self.residual).max(axis=-1))


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best policy against weights of groups, as far as Newton's method got.

    Attributes:
        response: The policy.
        curvature: Second derivatives there or so close by that steps contract.
        converged: Whether the residual is rounding, or below 1e-6 nats where no step helps.
    """

    response: Response
    curvature: "Curvature"
    converged: bool


class RobustResponses:
    """The best policies of a group-robust game against weights of groups.

    Args:
        game: The game; its temperatures of policy and replies are positive.

    Attributes:
        final: The temperatures of the game.
        systems: How many second derivatives were computed.
    """

    def __init__(self, game: GroupRobustGame) -> None:
        responses = game.reference.log_probabilities.shape[-1]
        self.final = Heat(game.temperatures[0], game.reply_temperature)
        self.prompt_weights = game.prompt_weights
        self.log_reference = game.reference.log_probabilities.reshape(-1, responses)
        self.matrix = game.payoff.matrix.reshape(-1, responses, game.groups * responses)
        self.groups, self.systems = game.groups, 0

    def uniform(self) -> Float[np.ndarray, "context response"]:
        """Return the logarithm of the policy at infinite temperature."""
        shape = self.log_reference.shape
        return np.full(shape, -np.log(shape[-1]))

    def at(
        self, log_policy: Float[np.ndarray, "context response"], w: np.ndarray, heat: Heat
    ) -> Response:
        """Return a policy with the best replies to it."""
        policy = np.exp(log_policy)
        pulls = self.log_reference * (self.final.replies / heat.replies)
        faced = np.matmul(policy[:, None, :], self.matrix)
        logits = pulls[:, None, :] - faced.reshape(len(policy), self.groups, -1) / heat.replies
        soft = log_sum_exp(logits)
        values = -heat.replies * soft
        log_replies = log_normalise(logits)
        replies = np.exp(log_replies)
        blocks = self.matrix.reshape(*policy.shape, self.groups, -1)
        slopes = np.matmul(np.moveaxis(blocks, 2, 1), replies[..., None])[..., 0]
        pulled = self.final.policy * self.log_reference
        residual = (pulled + np.einsum("u,xuy->xy", w, slopes)) / heat.policy - log_policy
        residual -= np.einsum("xy,xy->x", policy, residual)[:, None]
        own = np.einsum("xy,xy->x", policy, pulled - heat.policy * log_policy)
        return Response(log_policy, log_replies, values, slopes, values @ w + own, residual)

    def best(self, start: Float[np.ndarray, "context response"], w: np.ndarray, heat: Heat) -> Best:
        """Return the best policy against weights w.

        Newton steps, shortened where they do not help, with derivatives that are kept for as long
        as steps contract.

        Args:
            start: log π, to start from.
            w: Weights of the groups, positive.
            heat: The temperatures.
        """
        at = self.at(start, w, heat)
        size = 1.0 + self.final.policy * float(np.abs(self.log_reference).max())
        floor = 8 * EPSILON * (1.0 + size / heat.policy)
        curvature, fresh = self.curvature(at, w, heat), True
        for _ in range(_MOST_STEPS):
            before = at.missing
            active = before > floor
            if not active.any():
                break
            at = self._moved(at, curvature, w, heat)
            slow = active & (at.missing > _CONTRACTS * before)
            if fresh and (at.missing < _SETTLED).all() and (at.missing > before / 2)[active].all():
                break
            fresh = bool(slow.any())
            if fresh:
                curvature = self.curvature(at, w, heat)
        return Best(at, curvature, bool((at.missing <= max(_SETTLED, floor)).all()))

    def _moved(self, at: Response, curvature: "Curvature", w: np.ndarray, heat: Heat) -> Response:
        """Take a step in every context, as long as it makes what is maximised larger there.

        Or, where rounding hides that, the residual smaller.
        """
        step = curvature.solved(at.residual)
        gain = heat.policy * np.einsum("xy,xy,xy->x", np.exp(at.log_policy), at.residual, step)
        length = np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=-1), 1.0))
        while True:
            tried = self.at(log_normalise(at.log_policy + length[:, None] * step), w, heat)
            helps = tried.worth >= at.worth + _DESCENT * length * np.abs(gain)
            helps |= tried.missing <= (1.0 - 0.5 * length) * at.missing
            if (helps | (length == 0.0)).all():
                return tried
            length = np.where(helps, length, 0.5 * length)
            length[length < _SHORTEST] = 0.0

    def curvature(self, at: Response, w: np.ndarray, heat: Heat) -> "Curvature":
        """Return the second derivatives at a policy, but for replies of almost no weight."""
        self.systems += 1
        contexts, responses = at.log_policy.shape
        weight = np.moveaxis(w[:, None] * np.exp(at.log_replies), 1, 2).reshape(contexts, -1)
        order = np.argsort(-weight, axis=-1)
        left = 1.0 - np.cumsum(np.take_along_axis(weight, order, axis=-1), axis=-1)
        dropped = _DROPPED * heat.policy * heat.replies
        kept = 1 + int((left > dropped).sum(axis=-1).max())
        order = np.sort(order[:, :kept], axis=-1)
        root = np.sqrt(np.take_along_axis(weight, order, axis=-1))
        # Column y' of A_u is one less its row: rows lie together in memory.
        rows = self.matrix.reshape(contexts, -1, responses)
        second = np.empty((contexts, responses, responses))
        size = max(1, _IN_CACHE // (kept * responses))
        for begin in range(0, contexts, size):
            part = np.arange(begin, min(begin + size, contexts))
            played = rows[part[:, None], order[part]]
            played *= root[part, :, None]
            second[part] = np.matmul(played.swapaxes(1, 2), played)
        means = 1.0 - at.slopes
        second -= np.matmul(means.swapaxes(1, 2) * w, means)
        second /= heat.replies
        root = np.exp(0.5 * at.log_policy)
        scaled = second * (root[:, :, None] * root[:, None, :])
        scaled += heat.policy * np.eye(responses)
        return Curvature(np.linalg.inv(scaled), second, root, heat.policy)


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """What the second derivatives at a policy say of the way a policy moves with its payoff.

    Attributes:
        inverse: The inverse of t + √π G √π, with π between its roots.
        second: G.
        root: √π.
        temperature: t.
    """

    inverse: Float[np.ndarray, "context response response"]
    second: Float[np.ndarray, "context response response"]
    root: Float[np.ndarray, "context response"]
    temperature: float

    def solved(self, residual: Float[np.ndarray, "context response"]) -> np.ndarray:
        """Return the Newton step δ in log π for a residual in nats."""
        step, _ = self.moved(self.temperature * residual[:, None, :])
        return step[:, 0]

    def moved(
        self, payoffs: Float[np.ndarray, "context direction response"]
    ) -> tuple[
        Float[np.ndarray, "context direction response"],
        Float[np.ndarray, "context direction response"],
    ]:
        """Return how log π and π move when a payoff of every response is added."""
        along = np.matmul(payoffs * self.root[:, None, :], self.inverse)
        level = np.matmul(self.inverse, self.root[..., None])
        share = np.matmul(along, self.root[..., None]) / np.matmul(self.root[:, None, :], level)
        flow = (along - share * level.swapaxes(1, 2)) * self.root[:, None, :]
        logs = (payoffs - share - np.matmul(flow, self.second)) / self.temperature
        return logs, flow
