"""The regularised preference game, and its variant with log-odds payoffs."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.games.payoffs import DensePayoff, LowRankPayoff, Payoff
from nlhf.games.tabular import (
    TabularGame,
    checked_reference,
    checked_temperature,
    checked_weights,
)
from nlhf.games.zero_sum import ZeroSumGame
from nlhf.numerics import COMPLEMENT_TOLERANCE
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, float_array, read_only
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream


class SelfPlayGame(TabularGame):
    """A symmetric two-player game, played by one policy against itself.

    The payoff satisfies A + Aᵀ = 2 · value, which the constructors verify; so the equilibrium is
    symmetric and the value of the game is `value`. It is the base of the concrete games.

    Attributes:
        payoff: A, the payoff of the row response against the column response.
        value: What both players get at the equilibrium.
    """

    multiplicity = 2

    def __init__(
        self,
        payoff: Payoff,
        value: float,
        units: Units,
        reference: ArrayLike | Policy | None,
        temperature: float,
        weights: ArrayLike | None,
    ) -> None:
        self.value = value
        super().__init__(
            payoff,
            (checked_reference(reference, payoff.contexts, payoff.shape[0]),),
            (checked_temperature(temperature),),
            checked_weights(weights, payoff.contexts),
            units,
        )

    @property
    def temperature(self) -> float:
        """τ, the strength of the KL pull towards the reference, in payoff units."""
        return self.temperatures[0]

    @property
    def reference(self) -> Policy:
        """μ."""
        return self.references[0]

    def operator(
        self, profile: Profile[Policy], stream: Stream | None = None
    ) -> Evaluation[np.ndarray]:
        """Return (A π,), every response's payoff against the policy; the stream is not used."""
        return Evaluation((self.payoff.rows(profile[0].probabilities),))

    def two_player(self) -> ZeroSumGame:
        """Return the same game with a strategy for each of its two players.

        The row player gets A and the column player −A; the equilibrium is (π*, π*).
        """
        matrix = self.payoff if isinstance(self.payoff, LowRankPayoff) else self._dense()
        return ZeroSumGame(
            matrix,
            references=(self.reference, self.reference),
            temperatures=(self.temperature, self.temperature),
            weights=self.weights,
            units=self.units,
        )

    def _dense(self) -> Float[np.ndarray, "*context response response"]:
        assert isinstance(self.payoff, DensePayoff)
        return self.payoff.matrix


class PreferenceGame(SelfPlayGame):
    r"""The KL-regularised preference game of Nash learning from human feedback.

    In every context both players want to win:

    .. math:: J(\pi,\rho) = \pi^\top P \rho - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu),

    with :math:`J(\pi,\rho) + J(\rho,\pi) = 1` and value 1/2. For τ > 0 the equilibrium
    :math:`\pi^* \propto \mu\, e^{P\pi^*/\tau}` is unique and symmetric.

    Args:
        preference: P, shape ``(n, n)`` or ``(X, n, n)``; ``P[..., i, j]`` is the probability that
            response i is preferred to response j. Entries in [0, 1] and P + Pᵀ = 1, each within
            1e-9, inside which P is made exactly complementary. Or a `LowRankPreference`.
        reference: μ, probabilities of full support, ``(n,)`` or ``(X, n)``; uniform by default.
        temperature: τ ≥ 0, in win probability. 0 is the von Neumann winner (maximal lottery).
        weights: Prompt distribution over the X contexts; uniform by default.

    Raises:
        InvalidProblem: If an argument has a wrong shape or an entry out of range; the entry or
            pair, its value and the tolerance are named.
    """

    def __init__(
        self,
        preference: "ArrayLike | LowRankPreference",
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        weights: ArrayLike | None = None,
    ) -> None:
        if isinstance(preference, LowRankPreference):
            payoff: Payoff = preference.payoff
        else:
            payoff = DensePayoff(checked_preference(preference))
        super().__init__(payoff, 0.5, Units.WIN_PROBABILITY, reference, temperature, weights)


class LogOddsGame(SelfPlayGame):
    r"""The game whose payoff is the log-odds :math:`R = \log P - \log P^\top`, with value 0.

    If P is Bradley-Terry with rewards r, the equilibrium is :math:`\mu e^{r/\tau}/Z`, the policy
    of reward-based RLHF; with win probabilities as payoff it is not.

    Args:
        preference: P as in `PreferenceGame`, with every entry strictly between 0 and 1.
        reference: μ, uniform by default.
        temperature: τ ≥ 0, in log-odds.
        weights: Prompt distribution; uniform by default.

    Raises:
        InvalidProblem: As `PreferenceGame`, and if an entry of P is 0 or 1.
    """

    def __init__(
        self,
        preference: ArrayLike,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        weights: ArrayLike | None = None,
    ) -> None:
        p = checked_preference(preference)
        sure = (p <= 0.0) | (p >= 1.0)
        if sure.any():
            where = tuple(int(i) for i in np.argwhere(sure)[0])
            raise InvalidProblem(
                f"preference entry {where} is {p[where]:g}: its log-odds are infinite",
                "estimate the preference with smoothing > 0, or use PreferenceGame",
            )
        # From the smaller entry of each pair as given: 1 - p has lost the digits of a small p.
        given = float_array("the preference", preference)
        other = np.swapaxes(given, -1, -2)
        small = np.minimum(given, other)
        odds = np.sign(given - other) * (np.log1p(-small) - np.log(small))
        super().__init__(DensePayoff(odds), 0.0, Units.LOG_ODDS, reference, temperature, weights)


class LowRankPreference:
    r"""A general bilinear preference :math:`P = \tfrac12 + \Phi J \Phi^\top` with J skew.

    Never formed as a matrix: a game over a million responses costs memory in n·d.

    Args:
        features: Φ, shape ``(n, d)``.
        skew: J, shape ``(d, d)``, with J + Jᵀ = 0 within 1e-9 of its largest entry.

    Raises:
        InvalidProblem: If the shapes do not fit, J is not skew, an entry is not finite, or
            |P − 1/2| ≤ 1/2 is not guaranteed. Up to 2,000 responses the entries are looked at;
            beyond, the bound ‖J‖₂ max_i ‖φ_i‖² ≤ 1/2 is required.
    """

    _CHECK_ENTRIES_UP_TO = 2000

    def __init__(self, features: ArrayLike, skew: ArrayLike) -> None:
        phi = read_only(float_array("features", features))
        j = float_array("skew", skew)
        if phi.ndim != 2 or 0 in phi.shape or j.shape != (phi.shape[1], phi.shape[1]):
            raise InvalidProblem(
                f"features have shape {phi.shape} and skew {j.shape}",
                "pass features (n, d) and skew (d, d)",
            )
        if not (np.isfinite(phi).all() and np.isfinite(j).all()):
            raise InvalidProblem("features or skew have a non-finite entry", "remove it")
        off = float(np.abs(j + j.T).max())
        if off > COMPLEMENT_TOLERANCE * float(np.abs(j).max()):
            raise InvalidProblem(
                f"skew + skewᵀ has an entry of size {off:.3g}", "pass (J - J.T) / 2"
            )
        j = (j - j.T) / 2
        largest = self._largest(phi, j)
        if largest > 0.5 * (1 + COMPLEMENT_TOLERANCE):
            raise InvalidProblem(
                f"|P - 1/2| may reach {largest:.6g}, more than 1/2",
                f"multiply skew by {0.5 / largest:.6g}",
            )
        self.features = phi
        self.skew = read_only(j)
        self.payoff = LowRankPayoff(phi @ j, phi, offset=0.5)

    def __repr__(self) -> str:
        responses, rank = self.payoff.right.shape
        return f"LowRankPreference({responses} responses, {rank} features)"

    def _largest(self, phi: np.ndarray, j: np.ndarray) -> float:
        if phi.shape[0] <= self._CHECK_ENTRIES_UP_TO:
            return float(np.abs(phi @ j @ phi.T).max())
        return float(np.linalg.norm(j, 2) * np.einsum("id,id->i", phi, phi).max())


def checked_preference(matrix: ArrayLike) -> Float[np.ndarray, "*context response response"]:
    """Return P with P + Pᵀ = 1 exactly, after checking that it holds within 1e-9.

    Raises:
        InvalidProblem: If P is not square, has an entry that is missing or outside [0, 1], or a
            pair that does not add up to 1.
    """
    p = float_array("the preference", matrix)
    if p.ndim not in (2, 3) or p.shape[-1] != p.shape[-2] or 0 in p.shape:
        raise InvalidProblem(
            f"the preference has shape {p.shape}",
            "pass a non-empty square matrix (n, n), or (X, n, n) for X contexts",
        )
    if np.isnan(p).any():
        where = tuple(int(i) for i in np.argwhere(np.isnan(p))[0])
        raise InvalidProblem(
            f"preference entry {where} is NaN ({int(np.isnan(p).sum())} in all): "
            "a pair never compared?",
            "complete unseen pairs by a rule of your choice before making the game",
        )
    outside = np.maximum(p - 1.0, -p)
    if outside.max() > COMPLEMENT_TOLERANCE:
        where = tuple(int(i) for i in np.unravel_index(int(outside.argmax()), p.shape))
        raise InvalidProblem(
            f"preference entry {where} is {float(p[where])!r}, outside [0, 1] "
            f"(tolerance {COMPLEMENT_TOLERANCE:g})",
            "pass probabilities; divide win counts by the number of votes of the pair",
        )
    transposed = np.swapaxes(p, -1, -2)
    off = np.abs(p + transposed - 1.0)
    if off.max() > COMPLEMENT_TOLERANCE:
        where = tuple(int(i) for i in np.unravel_index(int(off.argmax()), p.shape))
        back = (*where[:-2], where[-1], where[-2])
        raise InvalidProblem(
            f"P{list(where)} + P{list(back)} = {p[where]:.9g} + {p[back]:.9g} "
            f"= {p[where] + p[back]:.9g}, not 1 (tolerance {COMPLEMENT_TOLERANCE:g})",
            "count every vote for exactly one response and ties half for each; the diagonal is 1/2",
        )
    return np.asarray(np.clip((p + (1.0 - transposed)) / 2.0, 0.0, 1.0))


def checked_group_preferences(
    preference: ArrayLike,
) -> Float[np.ndarray, "group *context response response"]:
    """Return one checked preference per group, shape ``(U, n, n)`` or ``(U, X, n, n)``.

    Raises:
        InvalidProblem: If the shape is another, or a group's preference is none.
    """
    p = float_array("the preferences", preference)
    if p.ndim not in (3, 4) or 0 in p.shape:
        raise InvalidProblem(
            f"the preferences have shape {p.shape}",
            "pass one matrix per group: (U, n, n), or (U, X, n, n) with prompts",
        )
    checked = []
    for group, own in enumerate(p):
        try:
            checked.append(checked_preference(own))
        except InvalidProblem as error:
            raise InvalidProblem(f"group {group}: {error.found}", error.fix) from error
    return np.stack(checked)
