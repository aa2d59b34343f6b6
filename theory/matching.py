"""What regularised reward policies make of the preferences that the reward was fitted to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.analysis.aggregation import preference_matching_policy, reward_policy
from nlhf.numerics import EPSILON, log_normalise
from nlhf.spaces.policy import Policy
from nlhf.theorems import Citation, Coordinates, Hypothesis, Margin, Theorem

from .definitions import depth
from .draws import Draws, instances
from .instances import draw_reference
from .rewards import bradley_terry
from .social_choice import sound

STATIONARY = 1e-10
"""How far, in units of reward, marginal rewards of a policy called optimal may differ."""
COLDEST, HOTTEST = 0.05, 20.0
LARGEST_REWARD = 6.0

Vector = Float[np.ndarray, "response"]
Matrix = Float[np.ndarray, "response response"]


@dataclass(frozen=True, slots=True, eq=False)
class Regularised:
    """A reward, the preference of the raters, and the policies of two regularisers.

    Attributes:
        rewards: r.
        preference: P.
        log_reference: log μ.
        temperature: β.
        penalised: log π, to be judged as the optimum of E r − β KL(π‖μ).
        matched: log π′, to be judged as the optimum of E r − E log π′.
    """

    rewards: Vector
    preference: Matrix
    log_reference: Vector
    temperature: float
    penalised: Vector
    matched: Vector


def is_bradley_terry(instance: Regularised) -> bool:
    """Return whether P(a, b) = σ(r(a) − r(b)), to rounding."""
    off = np.abs(instance.preference - bradley_terry(instance.rewards))
    return bool(off.max() <= 8 * EPSILON)


def is_uniform(instance: Regularised) -> bool:
    """Return whether μ is uniform."""
    return bool(np.ptp(instance.log_reference) == 0.0)


def is_penalised_optimum(instance: Regularised) -> bool:
    """Return whether r − β log(π/μ) is constant, which makes π the maximiser."""
    ratio = instance.penalised - instance.log_reference
    return bool(np.ptp(instance.rewards - instance.temperature * ratio) <= STATIONARY)


def is_matched_optimum(instance: Regularised) -> bool:
    """Return whether r − log π′ is constant, which makes π′ the maximiser."""
    return bool(np.ptp(instance.rewards - instance.matched) <= STATIONARY)


def _odds(logs: Vector) -> Matrix:
    return np.asarray(logs[:, None] - logs[None, :])


def _preference_collapse(instance: Regularised) -> Margin:
    """Margins in logits and in probability; P loses digits where it is near 0 or 1."""
    beta, p = instance.temperature, instance.preference
    wanted = np.log(p) - np.log(p.T)
    reached = beta * _odds(instance.penalised)
    lost = 8 * EPSILON / float(p.min())
    scale = 1.0 + float(np.abs(wanted).max()) + beta * depth(instance.penalised)
    rounding = lost + STATIONARY + 32 * EPSILON * scale
    shares = 1.0 / (1.0 + np.exp(-_odds(instance.matched)))
    most = np.exp(instance.penalised).max(), np.exp(instance.matched).max()
    return Margin.every(
        {
            "odds": Margin.equal(
                np.abs(reached - wanted).max(), 0.0, scale=scale, rounding=rounding
            ),
            "amplified": Margin.at_most(
                0.0,
                np.sign(1.0 - beta) * (most[0] - most[1]),
                scale=1.0,
                rounding=STATIONARY * (1.0 + 1.0 / beta) + 32 * EPSILON * scale,
            ),
            "matched": Margin.equal(
                np.abs(shares - p).max(), 0.0, scale=1.0, rounding=STATIONARY + 32 * EPSILON
            ),
        }
    )


def optimal(
    rewards: Vector, log_reference: Vector, temperature: float, preference: Matrix | None = None
) -> Regularised:
    """Return both policies in closed form, and the preference of the rewards unless given."""
    return Regularised(
        rewards,
        bradley_terry(rewards) if preference is None else preference,
        log_reference,
        temperature,
        reward_policy(rewards, temperature, Policy(log_reference)).log_probabilities,
        preference_matching_policy(rewards).log_probabilities,
    )


def _uniform(responses: int) -> Vector:
    return np.full(responses, -np.log(responses))


def _draw_rewards(draws: Draws) -> Vector:
    spread = draws.one_of((1.0, LARGEST_REWARD))
    return np.asarray(draws.array((draws.one_of((2, 2, 3, 5)),), -spread, spread))


def _draw_optimal(draws: Draws) -> Regularised:
    rewards = _draw_rewards(draws)
    temperature = draws.one_of((1.0, draws.logarithmic(COLDEST, HOTTEST)))
    drawn = optimal(rewards, _uniform(rewards.size), temperature)
    return sound(MATCHED, sound(PENALISED, drawn))


def _draw_referred(draws: Draws) -> Regularised:
    rewards = _draw_rewards(draws)
    reference = draw_reference(draws, 1, rewards.size)[0]
    return optimal(rewards, reference, draws.logarithmic(COLDEST, HOTTEST))


def _draw_unrewarded(draws: Draws) -> Regularised:
    base = _draw_optimal(draws)
    above = np.triu(draws.array(base.preference.shape, 0.1, 0.9), 1)
    other = above + np.tril(1.0 - above.T, -1) + 0.5 * np.eye(len(above))
    return optimal(base.rewards, base.log_reference, base.temperature, other)


def _draw_policy(draws: Draws, responses: int) -> Vector:
    return log_normalise(np.asarray(draws.array((responses,), -3.0, 0.0)))


def _draw_unpenalised(draws: Draws) -> Regularised:
    base = _draw_optimal(draws)
    policy = _draw_policy(draws, base.rewards.size)
    return Regularised(
        base.rewards, base.preference, base.log_reference, base.temperature, policy, base.matched
    )


def _draw_unmatched(draws: Draws) -> Regularised:
    base = _draw_optimal(draws)
    policy = _draw_policy(draws, base.rewards.size)
    return Regularised(
        base.rewards, base.preference, base.log_reference, base.temperature, base.penalised, policy
    )


def _vector(instance: Regularised) -> Float[np.ndarray, "coordinate"]:
    return np.append(instance.rewards, np.log(instance.temperature))


def _at(_: Regularised, vector: Float[np.ndarray, "coordinate"]) -> Regularised:
    rewards = np.clip(vector[:-1], -LARGEST_REWARD, LARGEST_REWARD)
    temperature = float(np.exp(np.clip(vector[-1], np.log(COLDEST), np.log(HOTTEST))))
    return optimal(rewards, _uniform(rewards.size), temperature)


PENALISED: Hypothesis[Regularised] = Hypothesis(
    "kl-optimum", r"r - \beta\log(\pi/\mu) constant", is_penalised_optimum
)
MATCHED: Hypothesis[Regularised] = Hypothesis(
    "entropy-optimum", r"r - \log\pi constant", is_matched_optimum
)

SIXTY_FORTY = np.log(np.array([0.6, 0.4]))

PREFERENCE_COLLAPSE = Theorem(
    key="preference-collapse",
    statement=(
        r"P(a,b) = \sigma(r(a)-r(b)), \mu uniform: the maximiser of E_\pi r - \beta KL(\pi\|\mu)"
        r" has \log(\pi(a)/\pi(b)) = \tfrac1\beta \log(P(a,b)/P(b,a)), so its most likely response"
        r" is more likely than under e^r/Z for \beta < 1 and less for \beta > 1; the maximiser of"
        r" E_\pi[r - \log\pi] is e^r/Z, with \pi(a)/(\pi(a)+\pi(b)) = P(a,b)"
    ),
    sources=(
        Citation("xiao2024", "as commonly stated"),
        Citation("bradley1952", "the model"),
    ),
    hypotheses=(
        Hypothesis("bradley-terry", r"P(a,b) = \sigma(r(a)-r(b))", is_bradley_terry),
        Hypothesis("uniform-reference", r"\mu uniform", is_uniform),
        PENALISED,
        MATCHED,
    ),
    margin=_preference_collapse,
    instances=instances(_draw_optimal),
    controls={
        "bradley-terry": instances(_draw_unrewarded),
        "uniform-reference": instances(_draw_referred),
        "kl-optimum": instances(_draw_unpenalised),
        "entropy-optimum": instances(_draw_unmatched),
    },
    sharp=(
        optimal(SIXTY_FORTY, _uniform(2), 0.5),
        optimal(SIXTY_FORTY, _uniform(2), 0.1),
        optimal(SIXTY_FORTY, _uniform(2), 1.0),
    ),
    coordinates=Coordinates(_vector, _at),
)

ALL = (PREFERENCE_COLLAPSE,)
