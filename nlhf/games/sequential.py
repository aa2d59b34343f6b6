"""What preference games on decision processes share: self-play by one policy of a process."""

from abc import abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import Unsupported
from nlhf.games.tabular import (
    RegularisedGame,
    checked_reference,
    checked_temperature,
    checked_weights,
)
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.histories import Histories
from nlhf.spaces.markov import FiniteHorizon
from nlhf.spaces.mdp import MDP
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman
from nlhf.spaces.sequential import SequentialSpace
from nlhf.spaces.tree import TokenTree
from nlhf.streams import Stream


class SequentialGame(RegularisedGame):
    r"""A preference between the trajectories of one policy and those of another.

    .. math:: J(\pi,\rho) = P(\pi \succ \rho) - \tau KL(\pi\|\mu) + \tau KL(\rho\|\mu),

    with KL between distributions over trajectories. Complementary preferences make it symmetric,
    with value 1/2. It is the base of the concrete games, not a game itself.

    Attributes:
        process: What choices lead to.
        value: 1/2, what both players get at the equilibrium.
    """

    multiplicity = 2
    value = 0.5

    def __init__(
        self,
        process: Process[Any],
        reference: ArrayLike | Policy | None,
        temperature: float,
        weights: ArrayLike | None,
        realiser: Realiser,
    ) -> None:
        self.process = process
        self.exact_steps = type(realiser) is SoftBellman  # a subclass may realise something else
        prompts = checked_weights(weights, process.contexts)
        super().__init__(
            spaces=(SequentialSpace(process, prompts, realiser),),
            references=(checked_reference(reference, process.shape[:-1], process.shape[-1]),),
            temperatures=(checked_temperature(temperature),),
            weights=prompts,
            units=Units.WIN_PROBABILITY,
        )

    def _decisions(self) -> str:
        return repr(self.process)

    @property
    def temperature(self) -> float:
        """τ, the strength of the KL pull towards the reference, in win probability."""
        return self.temperatures[0]

    @property
    def reference(self) -> Policy:
        """μ."""
        return self.references[0]

    def operator(self, profile: Profile[Policy], stream: Stream | None = None) -> Evaluation[Any]:
        """Return the payoff of every trajectory against the policy; the stream is not used."""
        return Evaluation((self.payoff_against(profile[0]),))

    @abstractmethod
    def payoff_against(self, policy: Policy) -> Any:
        """Return the chance of being preferred to a trajectory of the policy."""

    @property
    @abstractmethod
    def lipschitz(self) -> float:
        r"""Half the range of the payoffs of trajectories.

        So :math:`\|F(z)-F(z')\|_\infty \le L\|z-z'\|_1` up to a constant, for the distributions
        over trajectories.
        """

    @property
    @abstractmethod
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Per context, a bound on the rounding error of the payoff of a trajectory."""


def checked_process(
    process: object, *, of_mdp: str, of_other: str
) -> TokenTree | Histories | FiniteHorizon | Discounted:
    """Return the process, or raise `Unsupported` with what the caller says to pass instead."""
    if isinstance(process, MDP):
        raise Unsupported("an MDP does not say for how long it is played", of_mdp)
    if not isinstance(process, TokenTree | Histories | FiniteHorizon | Discounted):
        raise Unsupported(f"the process is of type {type(process).__name__}", of_other)
    return process
