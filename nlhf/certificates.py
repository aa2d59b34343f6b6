"""The judge of every result: duality gaps from the game alone. Imports no solver.

Best responses of a KL-regularised game are closed forms, so the gap of any profile is exact up to
rounding, whoever proposed the profile.
"""

import reprlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nlhf.errors import Unsupported
from nlhf.protocols import Evaluation
from nlhf.results import (
    Bound,
    Certificate,
    Profile,
    Quantity,
    Units,
    read_only,
    weighted_mean,
)
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.policy import Policy


@runtime_checkable
class Judged(Protocol):
    """A space that can say what the best deviation from a policy gains."""

    def best_response_method(self, unregularised: bool) -> str:
        """Say how best responses are found."""
        ...

    def improvement(
        self,
        policy: Policy,
        payoff: Any,
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        """Return the gain of the best response over the policy."""
        ...


@runtime_checkable
class CertifiableGame(Protocol):
    """What the certificate needs to know of a game with finitely many decisions."""

    references: tuple[Policy, ...]
    temperatures: tuple[float, ...]
    weights: Float[np.ndarray, "context"]
    multiplicity: int
    units: Units

    @property
    def spaces(self) -> Sequence[Judged]:
        """One space per distinct player."""
        ...

    @property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Per context, a bound on the rounding error of an entry of a payoff."""
        ...

    def operator(self, profile: Profile[Policy]) -> Evaluation[Any]:
        """Return every player's payoff against the profile."""
        ...

    def as_profile(self, strategies: object) -> Profile[Policy]:
        """Return a validated profile."""
        ...


def certify(game: CertifiableGame, profile: object) -> Certificate[Policy]:
    r"""Return the duality gap of a profile, exact up to the stated rounding.

    The duality gap is the sum over the two players of what the best deviation of one of them
    alone would gain. A player at temperature τ > 0 facing payoff g has the best response
    :math:`b \propto \mu e^{g/\tau}` and gains exactly :math:`\tau KL(\pi\|b)` by moving there; at
    temperature 0 it gains :math:`\max_a g_a - \langle\pi, g\rangle`.

    The gap bounds the distance from the equilibrium of every player with τ > 0, whose strategy
    in it is unique: :math:`\tau_1 KL(x\|x^*) + \tau_2 KL(y\|y^*) \le` gap, hence
    :math:`\|x - x^*\|_1 \le \sqrt{2\,\mathrm{gap}/\tau_1}`, and in self-play
    :math:`\|\pi - \pi^*\|_1 \le \sqrt{\mathrm{gap}/\tau}`. On a decision process, policies
    stand for distributions over trajectories: divergence and distance are between those.

    Args:
        game: A game with finitely many responses, or on a decision process.
        profile: What `game.as_profile` takes: a profile, or arrays of probabilities.

    Returns:
        The certificate: the weighted mean over contexts, the gap and the distance bounds in each
        context, and the best responses as witness.

    Raises:
        InvalidProblem: If the profile does not fit the game.
        Unsupported: If the game is none.
    """
    return _certificate(game, _profile(game, profile), Quantity.DUALITY_GAP)


def exploitability(game: CertifiableGame, profile: object) -> Certificate[Policy]:
    """Return the duality gap divided by the number of players.

    In self-play it is what one player gains by a best response to the policy.

    Raises:
        InvalidProblem: If the profile does not fit the game.
    """
    return _certificate(game, _profile(game, profile), Quantity.EXPLOITABILITY)


def _profile(game: CertifiableGame, profile: object) -> Profile[Policy]:
    if isinstance(game, type) or not hasattr(game, "as_profile"):
        raise Unsupported(
            f"what is to be judged in is {reprlib.repr(game)}, not a game",
            "pass the game first, then the profile: nlhf.certify(game, profile)",
        )
    return game.as_profile(profile)


def _certificate(
    game: CertifiableGame, profile: Profile[Policy], quantity: Quantity
) -> Certificate[Policy]:
    payoffs = game.operator(profile).payoffs
    gains, roundings, witness = [], [], []
    for i, payoff in enumerate(payoffs):
        found = game.spaces[i].improvement(
            profile[i], payoff, game.references[i], game.temperatures[i], game.rounding
        )
        gains.append(found.gain)
        roundings.append(found.rounding)
        witness.append(found.response)
    gap = game.multiplicity * np.sum(gains, axis=0)
    rounding = game.multiplicity * np.sum(roundings, axis=0)
    players = game.multiplicity * len(profile)
    share = 1 if quantity is Quantity.DUALITY_GAP else players
    bound = Bound.exact(
        weighted_mean(gap, game.weights) / share,
        game.units,
        weighted_mean(rounding, game.weights) / share,
    )
    return Certificate(
        quantity=quantity,
        bound=bound,
        per_context=read_only(gap / share),
        distance=read_only(_distance(game, gap + rounding)),
        witness=tuple(witness),
        method="best response " + " and ".join(_methods(game)),
    )


def _methods(game: CertifiableGame) -> Sequence[str]:
    """Say how the best responses of every player are found, each way once."""
    pairs = zip(game.spaces, game.temperatures, strict=True)
    return [*dict.fromkeys(space.best_response_method(t == 0.0) for space, t in pairs)]


def _distance(
    game: CertifiableGame, gap: Float[np.ndarray, "context"]
) -> Float[np.ndarray, "player context"]:
    largest = np.full((len(game.temperatures), gap.size), 2.0)
    scale = np.array(game.temperatures)[:, None] * game.multiplicity
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.sqrt(2.0 * np.maximum(gap, 0.0)[None, :] / scale)
    return np.where(scale > 0.0, np.minimum(largest, known), largest)
