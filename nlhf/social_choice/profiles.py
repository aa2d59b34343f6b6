"""Ranking profiles: everybody's whole ranking, and the features that restrict what is feasible."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.numerics import PROBABILITY_TOLERANCE
from nlhf.results import float_array, read_only
from nlhf.social_choice.feasible import orders


@dataclass(frozen=True, slots=True, eq=False)
class RankingProfile:
    r"""Voters' rankings of n responses, in linear social choice.

    A ranking is *feasible* if some θ gives it: :math:`\langle\theta, x_a\rangle` strictly
    decreasing along it. With the features :math:`x = I`, the default of `of`, all rankings are.

    Attributes:
        rankings: ``rankings[v]`` are the responses in the order of voter v, best first.
        weights: The share of every voter in the electorate; they sum to 1.
        features: x, one row per response.
    """

    rankings: Int[np.ndarray, "voter response"]
    weights: Float[np.ndarray, " voter"]
    features: Float[np.ndarray, "response feature"]

    def __post_init__(self) -> None:
        for name in ("rankings", "weights", "features"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def of(
        cls,
        rankings: Sequence[Sequence[int]] | np.ndarray,
        weights: ArrayLike | None = None,
        features: ArrayLike | None = None,
    ) -> "RankingProfile":
        """Return the checked profile.

        Args:
            rankings: One permutation of 0, ..., n − 1 per voter, best first.
            weights: Shares of the voters, positive with sum 1; equal by default.
            features: One row per response; the identity by default.

        Raises:
            InvalidProblem: A ranking is not a permutation or not feasible, or the shapes or
                weights do not fit.
        """
        votes = float_array("rankings", rankings)
        if votes.ndim != 2 or 0 in votes.shape:
            raise InvalidProblem(
                f"rankings of shape {votes.shape}",
                "give one row of responses, best first, for every voter",
            )
        voters, responses = votes.shape
        off = (np.sort(votes, axis=1) != np.arange(responses)).any(axis=1)
        if off.any():
            v = int(off.argmax())
            raise InvalidProblem(
                f"the ranking of voter {v} is {votes[v].tolist()}",
                f"let every ranking hold each of 0, ..., {responses - 1} once",
            )
        shares = (
            np.full(voters, 1.0 / voters) if weights is None else float_array("weights", weights)
        )
        if shares.shape != (voters,) or not (shares > 0).all() or not _sums_to_one(shares):
            raise InvalidProblem(
                f"weights of shape {shares.shape} with sum {shares.sum():.12g} for {voters} voters",
                "give one positive share per voter, with sum 1 (tolerance 1e-9)",
            )
        x = np.eye(responses) if features is None else float_array("features", features)
        if x.ndim != 2 or len(x) != responses or not np.isfinite(x).all():
            raise InvalidProblem(
                f"features of shape {x.shape} for {responses} responses",
                "give one finite row per response",
            )
        profile = cls(votes.astype(np.int64), shares, x)
        profile._require_feasible()
        return profile

    @property
    def preference(self) -> Float[np.ndarray, "response response"]:
        """P: the share of the electorate that ranks i above j; 1/2 on the diagonal."""
        # Complementary to the last bit: the smaller index's share is counted, the other is 1 - it.
        places = np.argsort(self.rankings, axis=1)
        ahead = places[:, :, None] < places[:, None, :]
        share = np.triu(np.minimum(np.einsum("v,vij->ij", self.weights, ahead), 1.0), 1)
        share[ahead.all(axis=0)] = 1.0
        above = np.triu(share, 1)
        return above + np.tril(1.0 - above.T, -1) + 0.5 * np.eye(len(above))

    def unanimous(self) -> tuple[tuple[int, int], ...]:
        """Return the pairs (a, b) in which every voter ranks a above b."""
        places = np.argsort(self.rankings, axis=1)
        pairs = np.argwhere((places[:, :, None] < places[:, None, :]).all(axis=0))
        return tuple((int(a), int(b)) for a, b in pairs)

    def feasible(self, order: Sequence[int]) -> bool:
        """Return whether a linear order, best first, is feasible."""
        return orders(self.features, tuple(pairwise(order))) is not None

    def _require_feasible(self) -> None:
        if np.array_equal(self.features, np.eye(len(self.features))):
            return
        for v, vote in enumerate(self.rankings.tolist()):
            if not self.feasible(vote):
                raise InvalidProblem(
                    f"the ranking {vote} of voter {v} is not feasible: no linear reward of the "
                    "features gives it",
                    "add features, or leave the features out: then every ranking is feasible",
                )


def _sums_to_one(shares: Float[np.ndarray, " voter"]) -> bool:
    return abs(float(shares.sum()) - 1.0) <= PROBABILITY_TOLERANCE
