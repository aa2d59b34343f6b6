"""What the votes leave undetermined of a mixture of raters."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import Approximate, Degenerate
from nlhf.estimation.mixtures.ballots import Ballots, GroupSides, RaterGroups
from nlhf.estimation.mixtures.checks import parts
from nlhf.estimation.mixtures.rewards import Parameters
from nlhf.estimation.mixtures.steps import SCORE_TOLERANCE, Model
from nlhf.numerics import sigmoid
from nlhf.results import Stop

ALIKE = 0.02
"""Groups whose votes differ by less in mean win probability are reported as nearly equal."""

HALF_A_VOTE = 0.5
"""Expected votes from which a group counts as having compared two responses."""

NOBODY = 0.5
"""Expected raters below which a group has nobody. Not 1: the only rater of a group is expected
there with a little less."""

AGREE = 0.9
"""Share of raters in the same group from which two runs count as the same answer."""


@dataclass(frozen=True, slots=True)
class Run:
    """One restart.

    Attributes:
        objective: Where its short run ended, in nats.
        iterations: Of the short run.
        stop: Why that stopped.
        agreement: The share of raters who are most probably in the same group as in the mixture
            that was kept, groups matched as well as possible.
    """

    objective: float
    iterations: int
    stop: Stop
    agreement: float


@dataclass(frozen=True, slots=True, eq=False)
class Diagnostics:
    """What the votes leave undetermined.

    Attributes:
        raters: How many have votes that count.
        single_vote_raters: How many of them have one only: it says little of their group.
        group_raters: The expected number of raters of every group.
        group_votes: The expected number of votes of every group.
        entropy: The mean entropy of the responsibilities over log U, between 0 (every rater is
            assigned for certain) and 1; 0 for one group.
        diversity: For two groups, the mean of |P_u - P_v| over all votes' pairs: the total
            variation between their answers to the questions that were asked.
        disconnected: For every group, the prompts whose compared responses the group's votes do not
            connect: how the parts compare comes from the penalty alone. Pairs with less than
            half an expected vote do not connect.
        separable: For every group, the prompts where some responses won or lost every comparison
            with the others: without the penalty their rewards would be infinite.
        prompts: The number of prompts with votes.
        findings: The above in words, where something is amiss.
    """

    raters: int
    single_vote_raters: int
    group_raters: Float[np.ndarray, " group"]
    group_votes: Float[np.ndarray, " group"]
    entropy: float
    diversity: Float[np.ndarray, "group group"]
    disconnected: Int[np.ndarray, " group"]
    separable: Int[np.ndarray, " group"]
    prompts: int
    findings: tuple[str, ...]


def diagnose(
    model: Model, parameters: Parameters, responsibilities: RaterGroups, runs: tuple[Run, ...]
) -> Diagnostics:
    """Look for what is undetermined."""
    ballots = model.ballots
    gamma = responsibilities[ballots.present]
    wins = ballots.by_side(responsibilities)
    votes = ballots.votes[ballots.present]
    seen = wins >= HALF_A_VOTE
    weak, strong = _split(ballots, seen, "weak"), _split(ballots, seen, "strong")
    groups = len(parameters)
    surprise = -(gamma * np.log(np.maximum(gamma, 1e-300))).sum(axis=1)
    found = Diagnostics(
        raters=len(gamma),
        single_vote_raters=int((votes == 1).sum()),
        group_raters=gamma.sum(axis=0),
        group_votes=votes @ gamma,
        entropy=float(surprise.mean() / np.log(groups)) if groups > 1 else 0.0,
        diversity=_diversity(model, parameters, wins.sum(axis=0)),
        disconnected=weak,
        separable=strong,
        prompts=len(np.unique(ballots.prompt_of_side)),
        findings=(),
    )
    object.__setattr__(found, "findings", tuple(_findings(found, model, runs)))
    return found


def agreement(one: RaterGroups, other: RaterGroups) -> float:
    """Return the share of raters in the same group of two mixtures, groups matched at best."""
    from scipy.optimize import linear_sum_assignment

    groups = one.shape[1]
    both = one.argmax(axis=1) * groups + other.argmax(axis=1)
    table = np.bincount(both, minlength=groups * groups).reshape(groups, groups)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(one))


def warn_of(found: Diagnostics, score: float, stop: Stop, stacklevel: int) -> None:
    """Issue the findings as one warning, and another if the run did not end."""
    if found.findings:
        warnings.warn("; ".join(found.findings), Degenerate, stacklevel=stacklevel)
    if stop is not Stop.CERTIFIED:
        warnings.warn(
            f"the run ended ({stop.value}) with a relative score of {score:.3g}, above "
            f"{SCORE_TOLERANCE:g}: allow more iterations, or more penalty",
            Approximate,
            stacklevel=stacklevel,
        )


def _split(ballots: Ballots, seen: np.ndarray, connection: str) -> Int[np.ndarray, " group"]:
    """Return in how many prompts the items that a group compared fall into several components."""
    sizes = np.diff(ballots.offsets)
    prompt_of_item = np.repeat(np.arange(len(sizes)), sizes)
    met = np.zeros((len(seen), ballots.items), dtype=bool)
    for row, mine in zip(met, seen, strict=True):
        row[ballots.winner[mine]] = row[ballots.loser[mine]] = True
    alone = np.stack([np.bincount(prompt_of_item[~row], minlength=len(sizes)) for row in met])
    split: np.ndarray = parts(ballots, seen, connection) - alone > 1
    return split.sum(axis=1)


def _diversity(
    model: Model, parameters: Parameters, votes: Float[np.ndarray, " side"]
) -> Float[np.ndarray, "group group"]:
    loses: GroupSides = sigmoid(-model.rewards.differences(parameters))
    share = votes / votes.sum()
    return np.stack([abs(row - loses) @ share for row in loses])


def _findings(found: Diagnostics, model: Model, runs: tuple[Run, ...]) -> list[str]:
    groups, ridge = len(found.group_raters), model.rewards.ridge
    words = []
    if groups > 1 and found.single_vote_raters:
        words.append(
            f"{found.single_vote_raters} of {found.raters} raters have one vote, which says little "
            "of their group"
        )
    empty = np.flatnonzero(found.group_raters < NOBODY)
    if groups > 1 and empty.size:
        words.append(
            f"group {int(empty[0])} has nobody ({found.group_raters[empty[0]]:.2g} expected "
            f"raters; such groups: {empty.size} of {groups}): ask for fewer groups"
        )
    pairs = np.argwhere(np.triu(found.diversity < ALIKE, 1))
    if pairs.size:
        u, v = (int(k) for k in pairs[0])
        words.append(
            f"groups {u} and {v} are nearly equal: their win probabilities differ by "
            f"{found.diversity[u, v]:.2g} on average (such pairs of groups: {len(pairs)})"
        )
    for number, what in (
        (found.disconnected, "do not connect the responses they compare"),
        (found.separable, "have wins that go one way only between some responses"),
    ):
        if number.any():
            each = ", ".join(str(int(k)) for k in number)
            whose = "the votes" if groups == 1 else f"the votes of groups 0 to {groups - 1}"
            rest = f"the ridge {ridge:g}" if ridge > 0 else "less than half a vote"
            words.append(
                f"{whose} {what} in {each} of {found.prompts} prompts, where the rewards rest on "
                f"{rest}"
            )
    same = sum(run.agreement >= AGREE for run in runs)
    if same == 1 < len(runs):
        words.append(
            f"none of the {len(runs) - 1} other restarts led to the same groups: there are several "
            "local maxima, of which the best found was kept"
        )
    return words
