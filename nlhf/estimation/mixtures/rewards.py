"""The rewards of every group as functions of parameters, and a sure step uphill."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from nlhf.estimation.mixtures.ballots import Ballots, GroupSides
from nlhf.numerics import log_sigmoid, sigmoid

Parameters = Float[np.ndarray, "group parameter"]
_SURE = 1.0
_NEAR = 1e-12
_DENSE = 600
_CHUNK = 2**24


@runtime_checkable
class Design(Protocol):
    """Rewards that are linear in their parameters.

    The likelihood is a sum over *blocks* of parameters, which are stepped independently.

    Attributes:
        parameters: How many a group has.
        block_of_parameter: The block of every parameter.
        block_of_side: The block of every side; in increasing order.
        contrast: Matrix (side, parameter), sparse or not: winner's reward less loser's.
    """

    parameters: int
    contrast: Any
    block_of_parameter: Int[np.ndarray, " parameter"]
    block_of_side: Int[np.ndarray, " side"]

    def rewards(self, parameters: Parameters) -> Float[np.ndarray, "group item"]:
        """Return the reward of every item."""
        ...

    def pull(self, items: Float[np.ndarray, "group item"]) -> Parameters:
        """Return the transpose of `rewards` applied to a vector of items."""
        ...

    def solve(self, curvature: GroupSides, score: Parameters, ridge: float) -> Parameters:
        """Return the Newton direction, given the curvature of every side."""
        ...


class Tabular:
    """One parameter an item: its reward. A block is a prompt."""

    def __init__(self, ballots: Ballots) -> None:
        self.contrast = _incidence(ballots)
        sizes = np.diff(ballots.offsets)
        self.parameters = ballots.items
        self.block_of_parameter = np.repeat(np.arange(len(sizes)), sizes)
        self.block_of_side = ballots.prompt_of_side
        ends = np.searchsorted(self.block_of_side, np.arange(len(sizes) + 1))
        self._parts = [
            _Part(ballots, prompts, ends)
            for size in np.unique(sizes[np.diff(ends) > 0])
            for prompts in _chunks(np.flatnonzero((sizes == size) & (np.diff(ends) > 0)), size)
        ]

    def rewards(self, parameters: Parameters) -> Float[np.ndarray, "group item"]:
        """Return the parameters themselves."""
        return parameters

    def pull(self, items: Float[np.ndarray, "group item"]) -> Parameters:
        """Return the items themselves."""
        return items

    def solve(self, curvature: GroupSides, score: Parameters, ridge: float) -> Parameters:
        """Solve prompt by prompt, prompts of one size together."""
        step = np.zeros_like(score)
        for one, of, right in zip(step, curvature, score, strict=True):
            for part in self._parts:
                one[part.items] = part.solve(of, right[part.items], ridge)
        return step


class _Part:
    """The Newton equations of some prompts of one size."""

    def __init__(self, ballots: Ballots, prompts: np.ndarray, ends: np.ndarray) -> None:
        starts = ballots.offsets[prompts]
        size = int(ballots.offsets[prompts[0] + 1] - starts[0])
        self._sides = np.concatenate([np.arange(ends[k], ends[k + 1]) for k in prompts])
        place = np.repeat(np.arange(len(prompts)), ends[prompts + 1] - ends[prompts])
        base = starts[place]
        self._row = ballots.winner[self._sides] - base
        self._column = ballots.loser[self._sides] - base
        self._entry = (place * size + self._row) * size + self._column
        self.items = starts[:, None] + np.arange(size)

    def solve(self, curvature: np.ndarray, score: np.ndarray, ridge: float) -> np.ndarray:
        number, size = self.items.shape
        if size > _DENSE:
            return self._solve_sparse(curvature[self._sides], score[0], ridge)[None]
        entries = np.bincount(self._entry, curvature[self._sides], number * size * size)
        weights = entries.reshape(number, size, size)
        matrix = -(weights + weights.swapaxes(1, 2))
        degree = -matrix.sum(axis=2)
        along = degree.mean(axis=1, keepdims=True) + ridge
        along = np.where(along > 0, along, 1.0)
        every = np.arange(size)
        matrix[:, every, every] = degree + ridge + _NEAR * along
        # Curvature along the constants, to which the score of centred rewards is orthogonal.
        matrix += (along / size)[:, :, None]
        solved: np.ndarray = np.linalg.solve(matrix, score[..., None])[..., 0]
        return solved

    def _solve_sparse(self, weights: np.ndarray, score: np.ndarray, ridge: float) -> np.ndarray:
        from scipy.sparse import csr_array, diags_array
        from scipy.sparse.linalg import cg

        size = len(score)
        half = csr_array((weights, (self._row, self._column)), shape=(size, size))
        both = half + half.T
        degree = np.asarray(both.sum(axis=1)) + ridge
        degree = np.maximum(degree, _NEAR * max(float(degree.max()), 1.0))
        matrix = diags_array(degree) - both
        found: tuple[np.ndarray, int] = cg(
            matrix, score, rtol=1e-10, maxiter=500, M=diags_array(1.0 / degree)
        )
        return found[0] - found[0].mean()


class Linear:
    """Rewards linear in given features of the items; all parameters are one block."""

    def __init__(self, ballots: Ballots, features: Float[np.ndarray, "item parameter"]) -> None:
        self._features = features
        self.contrast = features[ballots.winner] - features[ballots.loser]
        self.parameters = features.shape[1]
        self.block_of_parameter = np.zeros(self.parameters, dtype=np.int64)
        self.block_of_side = np.zeros(len(ballots.winner), dtype=np.int64)

    def rewards(self, parameters: Parameters) -> Float[np.ndarray, "group item"]:
        """Return the features times the parameters."""
        return parameters @ self._features.T

    def pull(self, items: Float[np.ndarray, "group item"]) -> Parameters:
        """Return the features' sums, weighted by the items."""
        return items @ self._features

    def solve(self, curvature: GroupSides, score: Parameters, ridge: float) -> Parameters:
        """Solve one dense system a group."""
        steps = []
        for of, right in zip(curvature, score, strict=True):
            matrix = (self.contrast * of[:, None]).T @ self.contrast
            size = float(np.trace(matrix)) / len(matrix) + ridge
            floor = _NEAR * (size if size > 0 else 1.0)
            matrix += (ridge + floor) * np.eye(len(matrix))
            steps.append(np.linalg.solve(matrix, right))
        return np.stack(steps)


class Rewards:
    r"""The penalised expected log-likelihood of rewards, group by group.

    .. math:: Q_u(\phi) = \sum_s n_{us} \log \sigma(r_{w(s)} - r_{l(s)}) - \tfrac\rho2 |\phi|^2

    with :math:`n_{us}` the wins of side s in group u.
    """

    def __init__(self, ballots: Ballots, design: Design, ridge: float) -> None:
        self.ballots, self.design, self.ridge = ballots, design, ridge
        self._blocks, self._starts = np.unique(design.block_of_side, return_index=True)
        self._number = int(design.block_of_parameter[-1]) + 1

    def differences(self, parameters: Parameters) -> GroupSides:
        """Return the reward of the winner less that of the loser."""
        rewards = self.design.rewards(parameters)
        difference: np.ndarray = rewards[:, self.ballots.winner] - rewards[:, self.ballots.loser]
        return difference

    def penalty(self, parameters: Parameters) -> float:
        """Return (ρ/2) |φ|², of all groups together."""
        return self.ridge / 2 * float((parameters * parameters).sum())

    def score(self, wins: GroupSides, parameters: Parameters) -> Parameters:
        """Return the gradient, in votes per unit of the parameters."""
        return self._score(wins * sigmoid(-self.differences(parameters)), parameters)

    def _score(self, missed: GroupSides, parameters: Parameters) -> Parameters:
        ballots, items = self.ballots, self.ballots.items
        gained = [
            np.bincount(ballots.winner, row, items) - np.bincount(ballots.loser, row, items)
            for row in missed
        ]
        return self.design.pull(np.stack(gained)) - self.ridge * parameters

    def ascend(self, wins: GroupSides, parameters: Parameters) -> tuple[Parameters, Parameters]:
        r"""Take one damped Newton step that lowers no group's Q; return it and the score before.

        Within a block whose differences change by at most s, a step with s > 1 is taken in full or
        shortened to :math:`\log(1 + s)/s`, whichever gives the larger value; see
        `nlhf.estimation.likelihood.maximise` for why the shortened one, and a full one with
        s ≤ 1, are sure to make progress.
        """
        difference = self.differences(parameters)
        lost = sigmoid(-difference)
        missed = wins * lost
        score = self._score(missed, parameters)
        step = self.design.solve(missed * (1.0 - lost), score, self.ridge)
        change = self.differences(step)
        spread = np.maximum.reduceat(abs(change), self._starts, axis=1)
        full = parameters + step
        if float(spread.max(initial=0.0)) <= _SURE:
            return full, score
        factor = np.log1p(spread) / np.maximum(spread, 1e-3)
        scale = np.ones((len(step), self._number))
        scale[:, self._blocks] = np.where(spread > _SURE, factor, 1.0)
        short = parameters + scale[:, self.design.block_of_parameter] * step
        better = self._by_block(wins, full) > self._by_block(wins, short)
        return np.where(better[:, self.design.block_of_parameter], full, short), score

    def _by_block(self, wins: GroupSides, parameters: Parameters) -> np.ndarray:
        logs = wins * log_sigmoid(self.differences(parameters))
        value = np.zeros((len(wins), self._number))
        value[:, self._blocks] = np.add.reduceat(logs, self._starts, axis=1)
        first = np.searchsorted(self.design.block_of_parameter, np.arange(self._number))
        squares = np.add.reduceat(parameters * parameters, first, axis=1)
        difference: np.ndarray = value - self.ridge / 2 * squares
        return difference


def _incidence(ballots: Ballots) -> Any:
    from scipy.sparse import csr_array

    sides = len(ballots.winner)
    signs = np.repeat([1.0, -1.0], sides)
    places = (np.tile(np.arange(sides), 2), np.concatenate([ballots.winner, ballots.loser]))
    return csr_array((signs, places), shape=(sides, ballots.items))


def _chunks(prompts: np.ndarray, size: Any) -> list[np.ndarray]:
    most = 1 if size > _DENSE else max(1, _CHUNK // int(size) ** 2)
    return [prompts[k : k + most] for k in range(0, len(prompts), most)]
