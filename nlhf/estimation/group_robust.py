"""Group-robust preference optimisation: one log-linear policy for the group of the worst loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.data.votes import Votes
from nlhf.errors import HypothesisViolated
from nlhf.estimation.pair_losses import Differences, PairLosses, PreferenceLoss, least_over_ball
from nlhf.numerics import EPSILON, log_normalise
from nlhf.results import Bound, Knows, Units, chosen, float_array, read_only
from nlhf.spaces.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class GroupRobust:
    r"""A log-linear policy that was trained against the worst of several groups.

    .. math:: \log \frac{\pi_\theta(y|x)}{\mu(y|x)} = \theta^\top \psi(x, y) + \text{const}(x).

    Attributes:
        parameters: θ, the mean of the iterates.
        group_losses: :math:`L_g(\theta)`, the mean loss of every group, without adjustments.
        weights: The mean of the weights that the groups had, the average's share included.
        objective: The most that the group player makes of θ: a mean of the average and the worst
            adjusted loss.
        gap: What θ lacks of optimality over the ball, and the weights of theirs: the primal-dual
            gap, from above; `high` adds what sums of losses may round.
        guarantee: The bound on the gap that was known before the run; see `fit_group_robust`.
        history: :math:`L_g` at every iterate.
        loss: The loss of a comparison.
        temperature: β.
        trade_off: χ.
        adjustment: C.
        radius: B.
    """

    parameters: Float[np.ndarray, " feature"]
    group_losses: Float[np.ndarray, " group"]
    weights: Float[np.ndarray, " group"]
    objective: float
    gap: Bound
    guarantee: float
    history: Float[np.ndarray, "iteration group"]
    loss: PreferenceLoss
    temperature: float
    trade_off: float
    adjustment: float
    radius: float

    def __post_init__(self) -> None:
        for name in ("parameters", "group_losses", "weights", "history"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def log_ratios(
        self, features: Float[np.ndarray, "*context response feature"]
    ) -> Float[np.ndarray, "*context response"]:
        """Return log π/μ up to a constant per context, of least norm: its mean is 0."""
        found: np.ndarray = features @ self.parameters
        return found - found.mean(axis=-1, keepdims=True)

    def policy(
        self, features: Float[np.ndarray, "*context response feature"], reference: Policy
    ) -> Policy:
        """Return π, which is proportional to μ times the exponential of the log-ratios."""
        logits = reference.log_probabilities + self.log_ratios(features)
        return Policy(log_normalise(logits))


def fit_group_robust(
    differences: Sequence[Differences],
    temperature: float,
    *,
    loss: PreferenceLoss | str = PreferenceLoss.DPO,
    radius: float,
    trade_off: float = 1.0,
    adjustment: float = 0.0,
    iterations: int = 1000,
) -> GroupRobust:
    r"""Train a log-linear policy against the group of the worst loss.

    .. math:: \min_{\|\theta\| \le B} \max_{\alpha \in \Delta_G} \sum_g
        \big[\tfrac{1-\chi}{G} + \chi\alpha_g\big] \big(L_g(\theta) + C/\sqrt{N_g}\big)

    where L_g is the mean loss of the N_g comparisons of group g, with y the difference of the
    features of the preferred response and the other one:

    * DPO: :math:`-\log\sigma(\beta\,\theta^\top y)`;
    * IPO: :math:`(\theta^\top y - \tfrac1{2\beta})^2`.

    Each iteration weighs the groups by :math:`\alpha_g \leftarrow \alpha_g e^{s\ell_g}/\Sigma` with
    the adjusted losses ℓ, and takes a projected gradient step of length t on the weighted loss. The
    steps are fixed in advance, :math:`s = \sqrt{8\log G/T}/M` and :math:`t = B/(\Gamma\sqrt T)`,
    where no gradient of a group's loss in the ball is longer than Γ and no two adjusted losses
    differ by more than M. The mean of the iterates then has a primal-dual gap of at most

    .. math:: \big(B\,\Gamma + \chi M \sqrt{\tfrac12\log G}\big)/\sqrt T

    (statement ``group-dro-rate`` of the ledger). It is the *loss* that is made equal: a group whose
    comparisons are noisier counts as worse served, whatever its utility; compare
    `nlhf.MaxMinGame`.

    Source: Ramesh et al., Group Robust Preference Optimization in Reward-free RLHF, 2024.

    Args:
        differences: y of every comparison, an array for each of G groups.
        temperature: β > 0, per nat of log-ratio.
        loss: DPO or IPO.
        radius: B > 0, of the ball of parameters: separable comparisons have no best θ without.
        trade_off: χ, from 0 (the average of the groups) to 1 (the worst).
        adjustment: C ≥ 0, in units of the loss: what small groups get for generalising worse.
        iterations: T ≥ 1.

    Raises:
        InvalidProblem: The loss is none, or differences are no real numbers.
        HypothesisViolated: An argument is out of its range or of the wrong shape, a group has no
            comparisons, no difference is other than 0, or losses or gradients in the ball leave
            the range of floating point.
    """
    loss = chosen(PreferenceLoss, loss, "loss")
    groups = _checked_differences(differences)
    iterations = _checked_range(temperature, radius, trade_off, adjustment, iterations)
    losses = PairLosses(groups, loss, temperature)
    extra = adjustment / np.sqrt(losses.counts)
    count = len(groups)
    longest, apart = _constants(losses, radius, extra)
    step = radius / (longest * math.sqrt(iterations))
    tilt = math.sqrt(8.0 * math.log(count) / iterations) / apart if apart > 0.0 else 0.0

    theta, log_alpha = np.zeros(groups[0].shape[1]), np.full(count, -math.log(count))
    total, played = np.zeros_like(theta), np.zeros(count)
    history = np.empty((iterations, count))
    for t in range(iterations):
        weights = (1.0 - trade_off) / count + trade_off * np.exp(log_alpha)
        history[t], gradient = losses.value_and_gradient(theta, weights)
        total += theta
        played += weights
        log_alpha = log_normalise(log_alpha + tilt * (history[t] + extra))
        theta = _into_ball(theta - step * gradient, radius)
    mean, shares = total / iterations, played / iterations
    found = losses.values(mean)
    adjusted = found + extra
    objective = float((1.0 - trade_off) * adjusted.mean() + trade_off * adjusted.max())
    least = least_over_ball(losses, shares, radius) + float(shares @ extra)
    gap = max(0.0, objective - least)
    # Sums of losses, of features and of gradients, in units of what is added.
    terms = int(losses.counts.max()) + losses.features + 16
    rounding = 4.0 * terms * EPSILON * (objective + radius * longest)
    return GroupRobust(
        parameters=mean,
        group_losses=found,
        weights=shares,
        objective=objective,
        gap=Bound(gap, Knows.UPPER, _UNITS[loss], 0.0, gap + rounding),
        guarantee=(radius * longest + trade_off * apart * math.sqrt(0.5 * math.log(count)))
        / math.sqrt(iterations),
        history=history,
        loss=loss,
        temperature=temperature,
        trade_off=trade_off,
        adjustment=adjustment,
        radius=radius,
    )


def pair_differences(
    votes: Votes,
    features: Float[np.ndarray, "item feature"],
    groups: Int[np.ndarray, " annotator"],
) -> tuple[Differences, ...]:
    """Return the differences of features, winner less loser, of every group's votes.

    Ties are left out.

    Args:
        votes: With the raters named.
        features: One row an item, the responses of the first prompt first.
        groups: The group of every rater, from 0.

    Raises:
        InvalidProblem: The features are no real numbers.
        HypothesisViolated: A table does not have one row an item or rater, a group is no number
            from 0, or a group has no decisive votes.
    """
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in votes.responses])])
    features, groups = float_array("features", features), np.asarray(groups)
    if features.ndim != 2 or groups.ndim != 1 or groups.dtype.kind not in "iu":
        raise HypothesisViolated(
            f"features of shape {features.shape}, and groups of shape {groups.shape} and type "
            f"{groups.dtype}",
            "give a matrix (item, feature), and one whole number a rater",
        )
    if len(features) != offsets[-1] or len(groups) != len(votes.annotators):
        raise HypothesisViolated(
            f"{len(features)} rows of features for {offsets[-1]} items, and the groups of "
            f"{len(groups)} raters for {len(votes.annotators)}",
            "give one row of features a response of every prompt, and one group a rater",
        )
    if groups.min(initial=0) < 0:
        rater = int(groups.argmin())
        raise HypothesisViolated(
            f"rater {votes.annotators[rater]!r} is of group {int(groups[rater])}",
            "number the groups from 0, and leave the votes of other raters out",
        )
    gain = features[offsets[votes.prompt] + votes.response_a]
    gain = (gain - features[offsets[votes.prompt] + votes.response_b]) * votes.label[:, None]
    of = groups[votes.annotator]
    decisive = votes.label != 0
    found = tuple(gain[decisive & (of == g)] for g in range(int(groups.max(initial=-1)) + 1))
    _require_votes([len(one) for one in found])
    return found


_UNITS = {PreferenceLoss.DPO: Units.NATS, PreferenceLoss.IPO: Units.PAYOFF}


def _into_ball(theta: Float[np.ndarray, " feature"], radius: float) -> np.ndarray:
    norm = float(np.linalg.norm(theta))
    return theta if norm <= radius else theta * (radius / norm)


def _checked_differences(differences: Sequence[Differences]) -> tuple[Differences, ...]:
    if not isinstance(differences, Sequence | np.ndarray):
        raise HypothesisViolated(
            f"differences are {differences!r}", "pass a sequence of one array for each group"
        )
    found = tuple(float_array(f"differences of group {g}", d) for g, d in enumerate(differences))
    shapes = [one.shape for one in found]
    if not shapes or any(len(s) != 2 or s[1] != shapes[0][-1] or s[1] == 0 for s in shapes):
        raise HypothesisViolated(
            f"differences of shapes {shapes[:20]}",
            "pass one array (comparison, feature) for each group, all with the same features",
        )
    _require_votes([len(one) for one in found])
    for g, one in enumerate(found):
        if not np.isfinite(one).all():
            row, column = (int(k) for k in np.argwhere(~np.isfinite(one))[0])
            raise HypothesisViolated(
                f"differences of group {g}, entry ({row}, {column}), is {one[row, column]}",
                "give finite numbers",
            )
    if not any(one.any() for one in found):
        raise HypothesisViolated(
            "every difference of features is 0, so that no parameters tell responses apart",
            "give features in which the compared responses differ",
        )
    return found


def _require_votes(counts: list[int]) -> None:
    if 0 in counts:
        raise HypothesisViolated(
            f"group {counts.index(0)} has no comparisons (comparisons by group: {counts[:20]})",
            "leave the group out, or collect decisive comparisons of it",
        )


def _constants(
    losses: PairLosses, radius: float, extra: Float[np.ndarray, " group"]
) -> tuple[float, float]:
    """Return Γ and M."""
    with np.errstate(over="ignore"):
        longest, apart = losses.longest_gradient(radius), losses.range_of_losses(radius, extra)
    if not (0.0 < longest < math.inf and apart < math.inf):
        raise HypothesisViolated(
            f"gradients of losses in the ball are up to {longest:.3g} long, and losses up to "
            f"{apart:.3g} apart",
            "scale the features, the radius or the temperature to the range of floating point",
        )
    return longest, apart


def _checked_range(
    temperature: float, radius: float, trade_off: float, adjustment: float, iterations: int
) -> int:
    """Return the iterations as an int."""
    for name, value in (("temperature", temperature), ("radius", radius)):
        if not 0.0 < _number(value) < math.inf:
            raise HypothesisViolated(f"{name} {value!r}", "give a positive finite number")
    if not 0.0 <= _number(trade_off) <= 1.0:
        raise HypothesisViolated(
            f"trade-off {trade_off!r}", "give a number from 0 (average) to 1 (worst group)"
        )
    if not 0.0 <= _number(adjustment) < math.inf:
        raise HypothesisViolated(f"adjustment {adjustment!r}", "give a finite number of at least 0")
    if not (isinstance(iterations, int | np.integer) and iterations >= 1):
        raise HypothesisViolated(f"{iterations!r} iterations", "ask for a whole number, at least 1")
    return int(iterations)


def _number(value: object) -> float:
    """Return the value, or nan if it is no number."""
    known = isinstance(value, int | float | np.integer | np.floating)
    return float(value) if known else math.nan  # type: ignore[arg-type]
