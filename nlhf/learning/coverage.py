"""How well comparisons cover what a policy may meet: computed, never assumed.

Coverage weighs what models differ by between policies against what they differ by in the data.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import InvalidData, Unsupported
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.judging import opposed
from nlhf.learning.processes import MarkovSetting
from nlhf.learning.settings import Setting
from nlhf.learning.uncertainty import reached_either_way
from nlhf.numerics import EPSILON
from nlhf.spaces.policy import Policy

_NEGLIGIBLE = 256 * EPSILON
"""A mean squared difference below this share of the largest square is rounding, and so none."""


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How badly comparisons cover what a policy may meet.

    Attributes:
        coefficient: C; infinite if models differ there that the comparisons cannot tell apart.
        model: The number of the model that has it.
        competitor: The policy that has it.
    """

    coefficient: float
    model: int
    competitor: Policy


def coverage(
    setting: Setting,
    tables: Float[np.ndarray, "model stage outcome outcome"],
    centre: Float[np.ndarray, "stage outcome outcome"],
    policy: Policy,
    errors: Float[np.ndarray, " model"],
) -> Coverage:
    r"""Return the coverage coefficient of a policy, over all competitors and models.

    .. math:: C(\pi) = \max_\rho \max_k \frac{\big((T_k - T_0)(\pi, \rho)\big)^2}{e_k}

    A model that differs from the centre nowhere that the policy may be counts for nothing; one
    that does, and has the error 0, makes C infinite.

    Args:
        setting: Where the policy acts.
        tables: T_k.
        centre: T_0, the estimate or the truth.
        policy: π, usually the equilibrium of the true game: then this is unilateral coverage.
        errors: e_k, the mean squared difference of T_k and T_0 in comparisons: those of a sample
            (`sample_errors`: the C of pelhf-version-space) or of what they were drawn from
            (`population_errors`).
    """
    visits = setting.visits(policy)
    values = opposed(tables, visits) - opposed(centre[None], visits)
    met, signs = reached_either_way(setting, values)
    size = _size(tables, centre)
    met[met <= 8 * sum(setting.shape) * EPSILON * size] = 0.0
    seen = np.where(errors <= _NEGLIGIBLE * EPSILON * size**2, 0.0, errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(met > 0.0, met**2 / seen, 0.0)
    model = int(np.argmax(found))
    return Coverage(float(found[model]), model, setting.best(signs[model] * values[model], 0.0))


def sample_errors(
    tables: Float[np.ndarray, "model stage outcome outcome"],
    centre: Float[np.ndarray, "stage outcome outcome"],
    data: PreferenceData,
) -> Float[np.ndarray, " model"]:
    r"""Return :math:`\frac1n \sum_i (T_k - T_0)^2(z_i)` of every model.

    Raises:
        InvalidData: If there are no comparisons.
    """
    if data.size == 0.0:
        raise InvalidData("there are no comparisons", "coverage needs at least one")
    seen = data.pairs.payoffs(tables) - data.pairs.payoffs(centre)
    return np.asarray(seen**2 @ (data.counts / data.size))


def population_errors(
    setting: Setting,
    tables: Float[np.ndarray, "model stage outcome outcome"],
    centre: Float[np.ndarray, "stage outcome outcome"],
    first: Policy,
    second: Policy,
) -> Float[np.ndarray, " model"]:
    r"""Return :math:`E (T_k - T_0)^2(z)` of every model, for pairs z of what two policies do.

    Exact: a sum over cells in a bandit; between trajectories, where the differences of all steps
    add up before they are squared, a recursion over the steps, at O(H S³A³) a model.

    Raises:
        Unsupported: In a setting that is neither.
    """
    if isinstance(setting, BanditSetting):
        weights = setting.stage_weights[:, None] * setting.visits(first)
        squares = (
            opposed((table - centre)[None] ** 2, weights)[0] * setting.visits(second)
            for table in tables
        )
        return np.array([float(square.sum()) for square in squares])
    if isinstance(setting, MarkovSetting):
        found = _trajectory_errors(setting, tables, centre, first, second)
        size = _size(tables, centre)
        return np.where(found <= _NEGLIGIBLE * size**2, 0.0, found)
    raise Unsupported(
        f"the comparisons in a {type(setting).__name__} have no population that is known here",
        "draw a sample with setting.draw, and use sample_errors",
    )


def _trajectory_errors(
    setting: MarkovSetting,
    tables: Float[np.ndarray, "model stage outcome outcome"],
    centre: Float[np.ndarray, "stage outcome outcome"],
    first: Policy,
    second: Policy,
) -> Float[np.ndarray, " model"]:
    """Return the second moments of the mean over steps of what two trajectories differ by.

    With u_h the difference at step h, E(Σ u_h)² = Σ E u_h² + 2 Σ E u_h Σ_{g<h} u_g, and the last
    mean is carried along for every pair of outcomes of step h.
    """
    horizon, outcomes = setting.shape
    visits = [setting.visits(policy) for policy in (first, second)]
    moves = [_moves(setting, policy) for policy in (first, second)]
    found = np.zeros(len(tables))
    for k, table in enumerate(tables):
        before = np.zeros((outcomes, outcomes))
        for h in range(horizon):
            here = table[h] - centre[h]
            both = visits[0][h][:, None] * visits[1][h] * here
            found[k] += float((both * here + 2.0 * before * here).sum())
            if h + 1 < horizon:
                before = moves[0][h].T @ (before + both) @ moves[1][h]
    return found / horizon**2


def _moves(setting: MarkovSetting, policy: Policy) -> Float[np.ndarray, "step outcome outcome"]:
    """Return from which (s, a) a policy comes to which at the next step, how likely."""
    mdp, (horizon, outcomes) = setting.process.mdp, setting.shape
    states = np.asarray(mdp.transitions.toarray())
    each = states[None, :, :, None] * policy.probabilities[1:, None]
    return np.asarray(each.reshape(horizon - 1, outcomes, outcomes))


def _size(
    tables: Float[np.ndarray, "model stage outcome outcome"],
    centre: Float[np.ndarray, "stage outcome outcome"],
) -> float:
    ends = [abs(float(end)) for end in (tables.max(), tables.min(), centre.max(), centre.min())]
    return max(ends)
