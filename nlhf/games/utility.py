"""General utilities: one policy that maximises a concave function of what it does where."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.games.agreement import agreement
from nlhf.games.group_rewards import checked_setting
from nlhf.games.occupancy_utilities import GroupWelfare, Occupancy, Utility
from nlhf.games.tabular import (
    RegularisedGame,
    checked_reference,
    checked_temperature,
    checked_weights,
    responses_of,
)
from nlhf.games.welfare import NashWelfare
from nlhf.numerics import EPSILON
from nlhf.protocols import Evaluation
from nlhf.results import Profile, Units, read_only
from nlhf.spaces.discounted import Discounted
from nlhf.spaces.improvement import Improvement
from nlhf.spaces.layered import Layered
from nlhf.spaces.policy import Policy
from nlhf.spaces.pooled import Pooled
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman
from nlhf.spaces.sequential import SequentialSpace
from nlhf.spaces.simplex import Simplex
from nlhf.streams import Stream


class UtilityGame(RegularisedGame):
    r"""One policy that maximises a concave function of its occupancy, less the price of KL.

    .. math:: \max_\pi\ F(\pi) = f(d_\pi) - \tau KL(\pi\|\mu).

    The operator is the gradient of f at the present occupancy, as a payoff, so all first-order
    methods of games run unchanged. The certificate is the linearised (Frank-Wolfe) gap

    .. math:: \max_\rho\ \langle\nabla f(d_\pi), d_\rho - d_\pi\rangle
              - \tau KL(\rho\|\mu) + \tau KL(\pi\|\mu) = \tau KL(\pi\|b),

    with b the best response to the gradient. It is exact as that, the duality gap of the game
    against who picks a supergradient, and since f is concave it is at least F(π*) − F(π), which in
    turn is at least τ KL(π‖π*): the distance in the certificate holds as it stands.

    Args:
        utility: f.
        reference: μ, of full support; uniform by default.
        temperature: τ ≥ 0, in units of f.
        weights: The prompt distribution; uniform by default.
        units: Units of f.
        process: A token tree, histories or a Markov decision process to act in.
        realiser: How proximal steps on a process are carried out; exactly by default.

    Raises:
        InvalidProblem: If an argument has a wrong shape, an entry is out of range, or, for a Nash
            welfare, no policy gives every group more than its disagreement utility.
        Unsupported: If the process is none, or the utility cannot be had there.
    """

    def __init__(
        self,
        utility: Utility,
        reference: ArrayLike | Policy | None = None,
        temperature: float = 0.0,
        *,
        weights: ArrayLike | None = None,
        units: Units = Units.PAYOFF,
        process: Process[Any] | None = None,
        realiser: Realiser | None = None,
    ) -> None:
        if not callable(getattr(utility, "gradient", None)):
            raise InvalidProblem(
                f"the utility is of type {type(utility).__name__}, and has no gradient",
                "pass GroupWelfare(rewards, welfare), StateEntropy(), or a Utility of your own",
            )
        realiser = SoftBellman() if realiser is None else realiser
        each: Simplex | SequentialSpace
        if process is None:
            shape = _shape(utility, reference)
            self.prompt_weights = checked_weights(weights, shape[:-1])
            each = Simplex(shape[-1], self.prompt_weights)
        else:
            played: Process[Any] = checked_setting(process)
            shape = played.shape
            self.prompt_weights = checked_weights(weights, played.contexts)
            each = SequentialSpace(played, self.prompt_weights, realiser)
        self.utility = utility
        self.process = process
        self.exact_steps = process is None or type(realiser) is SoftBellman
        super().__init__(
            spaces=(_Linearised(each, self._rounding),),
            references=(checked_reference(reference, shape[:-1], shape[-1]),),
            temperatures=(checked_temperature(temperature),),
            weights=read_only(np.ones(1)),
            units=units,
        )
        self._first = self._start()
        self.spaces[0].best_response(self.operator(self._first).payoffs[0])  # does it fit?

    @property
    def reference(self) -> Policy:
        """μ."""
        return self.references[0]

    @property
    def temperature(self) -> float:
        """τ."""
        return self.temperatures[0]

    @property
    def lipschitz(self) -> float:
        """L: bounds half the range of gradients, and their change per distance of policies.

        Infinite where there is no bound: then a step size is a choice, with `unproven=True`.
        """
        return max(self.utility.half_range, self.utility.smoothness)

    @property
    def rounding(self) -> Float[np.ndarray, "context"]:
        """Zero: what rounding does to a gradient depends on the policy, and the space adds it."""
        return read_only(np.zeros(1))

    def start(self) -> Profile[Policy]:
        """Return the reference, or if it is outside the domain of f a policy inside."""
        return self._first

    def occupancy(self, policy: Policy) -> Occupancy:
        """Return d_π."""
        p, process = policy.probabilities, self.process
        if process is None:
            shares = self.prompt_weights[:, None] if p.ndim == 2 else 1.0
            return Occupancy(shares * p, np.empty(0))
        if isinstance(process, Discounted):
            visits = (1.0 - process.discount) * process.visits(policy.log_probabilities)
            return Occupancy(visits[:, None] * p, np.empty(0))
        assert isinstance(process, Layered)
        visits, last = process.flow(policy.log_probabilities)
        if process.contexts:
            visits = self.prompt_weights[:, None] * visits
            last = self.prompt_weights[:, None] * last
        return Occupancy(visits[..., None] * p, last)

    def operator(self, profile: Profile[Policy], stream: Stream | None = None) -> Evaluation[Any]:
        """Return ∇f(d_π); exact, so the stream is not used."""
        return Evaluation((self.utility.gradient(self.occupancy(profile[0])),))

    def primal(self, policy: Policy) -> float:
        """Return F(π), `-inf` outside the domain of f."""
        value = self.utility.value(self.occupancy(policy))
        if self.temperature == 0.0:
            return value
        divergence = self.spaces[0].divergence(policy, self.reference).value
        return value - self.temperature * float(divergence)

    def _rounding(self, policy: Policy) -> float:
        if self.process is None:
            error = 4 * EPSILON * float(np.log(policy.log_probabilities.shape[-1]) + 2.0)
        else:
            error = float(self.process.rounding)
        return self.utility.rounding(self.occupancy(policy), error)

    def _start(self) -> Profile[Policy]:
        welfare = getattr(self.utility, "welfare", None)
        if not isinstance(self.utility, GroupWelfare) or not isinstance(welfare, NashWelfare):
            return self.references
        gain = self.utility.utilities(self.occupancy(self.reference)) - welfare.disagreement
        if gain.min() > 0.0:
            return self.references
        rewards = self.utility.rewards
        return (agreement(self.spaces[0], self.reference, rewards, welfare.disagreement),)

    def _decisions(self) -> str:
        what = responses_of(self.reference) if self.process is None else repr(self.process)
        return f"{what}, {self.utility!r}"


@dataclass(frozen=True, slots=True, eq=False)
class _Linearised(Pooled):
    """The policies, with what rounding does to the gradient at each of them."""

    error: Callable[[Policy], float]

    def improvement(
        self,
        policy: Policy,
        payoff: Any,
        reference: Policy,
        temperature: float,
        rounding: Float[np.ndarray, "context"],
    ) -> Improvement:
        """Return the gain of the best response to the gradient."""
        own = rounding + self.error(policy)
        return Pooled.improvement(self, policy, payoff, reference, temperature, own)


def _shape(utility: Utility, reference: ArrayLike | Policy | None) -> tuple[int, ...]:
    if utility.shape is not None:
        return utility.shape
    if reference is None:
        raise InvalidProblem(
            f"{utility!r} does not tell how many responses there are",
            "pass a reference policy, or the process to act in",
        )
    policy = reference if isinstance(reference, Policy) else Policy.of(reference)
    return policy.log_probabilities.shape
