"""Closed forms that one reward, or one distribution per response, makes of groups of raters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.estimation.likelihood import Likelihood, maximise, polish
from nlhf.games.tabular import checked_reference, checked_temperature
from nlhf.numerics import log_normalise
from nlhf.results import float_array, read_only
from nlhf.social_choice.distortion import average_utility, preference_of_utilities
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class HiddenContext:
    r"""The utility of every response as a distribution over the hidden groups.

    What distributional preference learning estimates (A. Siththaranjan, C. Laidlaw,
    D. Hadfield-Menell, 2024): atoms :math:`u(x)` with the weights η. Here it is exact.

    Attributes:
        utilities: u, shape ``(U, n)``.
        proportions: η, shape ``(U,)``.
        means: Mean utility of every response.
        variances: Variance of every response's utility over the groups.
    """

    utilities: Float[np.ndarray, "group response"]
    proportions: Float[np.ndarray, " group"]
    means: Float[np.ndarray, " response"]
    variances: Float[np.ndarray, " response"]

    @property
    def explained_share(self) -> float:
        r"""r²: variance of the means over the variance of the utility of a random response.

        :math:`\mathrm{Var}_x(m) / (\mathrm{Var}_x(m) + E_x[v])`, x uniform: 1 if all groups have
        the same utilities, 0 if all means are equal; 1 where no utility varies at all.
        """
        between, within = float(self.means.var()), float(self.variances.mean())
        return between / (between + within) if between + within > 0.0 else 1.0

    def quantile(self, level: float) -> Float[np.ndarray, " response"]:
        """Return the least utility that a share `level` of the raters stays within.

        Args:
            level: In (0, 1]; 0.01 and the like are averse to risk.

        Raises:
            InvalidProblem: The level is out of range.
        """
        if not 0.0 < level <= 1.0:
            raise InvalidProblem(f"the level is {level:g}", "give a share above 0, at most 1")
        order = np.argsort(self.utilities, axis=0, kind="stable")
        reached = np.cumsum(self.proportions[order], axis=0)
        enough = np.minimum(level, reached[-1])  # the sum may fall short of 1 by rounding
        place = np.argmax(reached >= enough, axis=0)
        sorted_ = np.take_along_axis(self.utilities, order, axis=0)
        return np.asarray(np.take_along_axis(sorted_, place[None], axis=0)[0])

    def averse_choice(self, level: float) -> int:
        """Return the response of the highest quantile, the first of several.

        Raises:
            InvalidProblem: The level is out of range.
        """
        return int(self.quantile(level).argmax())


def hidden_context(utilities: ArrayLike, proportions: ArrayLike | None = None) -> HiddenContext:
    """Return the distribution of every response's utility over the groups.

    Args:
        utilities: Shape ``(U, n)``.
        proportions: η, shape ``(U,)``; equal by default.

    Raises:
        InvalidProblem: The utilities are not finite, or η is no distribution.
    """
    means = average_utility(utilities, proportions)
    u = float_array("the utilities", utilities)
    eta = np.full(len(u), 1.0 / len(u)) if proportions is None else np.array(proportions, float)
    variances = eta @ (u - means) ** 2
    return HiddenContext(*(read_only(np.asarray(each)) for each in (u, eta, means, variances)))


def pooled_reward(
    rewards: ArrayLike,
    proportions: ArrayLike | None = None,
    pairs: ArrayLike | None = None,
) -> Float[np.ndarray, " response"]:
    r"""Return the single Bradley-Terry reward of all groups' votes together, in logits, mean 0.

    .. math:: \max_r \sum_{a \ne b} W_{ab} P(a, b) \log\sigma(r_a - r_b), \qquad
        P(a, b) = \sum_u \eta_u\,\sigma(r_u(a) - r_u(b))

    It ranks as the Borda counts of P do if all pairs are compared equally often.

    Args:
        rewards: r_u in logits, shape ``(U, n)``.
        proportions: η, shape ``(U,)``; equal by default.
        pairs: W, how often each pair is compared: symmetric, at least 0, connected; all alike by
            default.

    Raises:
        InvalidProblem: The rewards are not finite, η is no distribution, or W does not fit.
    """
    p = preference_of_utilities(rewards, 1.0, proportions)
    weights = np.ones_like(p) if pairs is None else float_array("the pair weights", pairs)
    bad = weights.shape != p.shape or not (weights >= 0).all() or not np.isfinite(weights).all()
    if bad or not np.allclose(weights, weights.T):
        raise InvalidProblem(
            f"pair weights of shape {weights.shape} for {len(p)} responses",
            "give a symmetric matrix of weights of at least 0",
        )
    off = ~np.eye(len(p), dtype=bool)
    reached = np.linalg.matrix_power(((weights > 0) & off | ~off).astype(float), len(p)) > 0
    if not reached.all():
        raise InvalidProblem(
            "the compared pairs do not connect the responses",
            "compare more pairs: nothing says how the parts compare",
        )
    likelihood = Likelihood(weights * p * off, 0.0)
    found = polish(likelihood, maximise(likelihood, np.zeros(len(p))))
    return np.asarray(found - found.mean())


def reward_policy(
    rewards: ArrayLike,
    temperature: float,
    reference: ArrayLike | Policy | None = None,
) -> Policy:
    r"""Return :math:`\pi \propto \mu\,e^{r/\beta}`, the policy of KL-regularised RLHF.

    It maximises :math:`E_\pi r - \beta KL(\pi\|\mu)`.

    Args:
        rewards: r, shape ``(n,)``.
        temperature: β > 0, in units of the reward.
        reference: μ; uniform by default.

    Raises:
        InvalidProblem: The temperature is not positive, a reward is not finite, or μ does not fit.
    """
    r, beta = _checked_rewards(rewards), checked_temperature(temperature)
    if beta == 0.0:
        raise InvalidProblem("the temperature is 0", "give a positive number")
    mu = checked_reference(reference, (), len(r))
    return Policy(log_normalise(mu.log_probabilities + r / beta))


def preference_matching_policy(rewards: ArrayLike) -> Policy:
    r"""Return :math:`\pi \propto e^r`, whose odds are those of the votes.

    It maximises :math:`E_\pi[r - \log\pi]` (J. Xiao and others, 2024): then
    :math:`\pi(a)/(\pi(a)+\pi(b)) = \sigma(r(a) - r(b))` for every pair, the share of raters who
    prefer a under a Bradley-Terry reward. KL-regularised RLHF with a uniform reference does so
    only at β = 1.

    Args:
        rewards: r in logits, shape ``(n,)``.

    Raises:
        InvalidProblem: A reward is not finite.
    """
    return Policy(log_normalise(_checked_rewards(rewards)))


def _checked_rewards(rewards: ArrayLike) -> Float[np.ndarray, " response"]:
    r = float_array("the rewards", rewards)
    if r.ndim != 1 or not r.size or not np.isfinite(r).all():
        raise InvalidProblem(
            f"rewards of shape {r.shape}, {int((~np.isfinite(r)).sum())} of them not finite",
            "give one finite reward per response, shape (n,)",
        )
    return r
