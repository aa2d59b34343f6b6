"""Votes held out from estimation, and win rates judged by them alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from nlhf.data.votes import Votes
from nlhf.errors import InvalidData, InvalidProblem
from nlhf.results import read_only
from nlhf.streams import Stream

CONFIDENCE = 0.95
_CHUNK = 2**22
"""Entries of a block of bootstrap weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Votes for estimation and votes held out from it.

    Attributes:
        training: The votes to estimate from; every rater with votes has some.
        held_out: The others.
        share: The share of votes held out, as it turned out.
    """

    training: Votes
    held_out: Votes

    @property
    def share(self) -> float:
        """The share of votes held out, as it turned out."""
        return len(self.held_out) / (len(self.training) + len(self.held_out))


def split_votes(votes: Votes, share: float, stream: Stream) -> Split:
    """Hold out a random share of the questions that every rater answered.

    A question is a rater and a pair of responses: what a rater said of one pair is held out as a
    whole, so that no held-out answer was seen in another copy. One question of every rater is kept
    for estimation: a rater's group must be guessed from something.

    Args:
        votes: All votes.
        share: Of the questions, between 0 and 1; what is kept of every rater makes the share held
            out smaller where raters answered few.
        stream: Randomness of the choice.

    Raises:
        InvalidProblem: If the share is not between 0 and 1.
        InvalidData: If nothing is held out.
    """
    if not 0.0 < share < 1.0:
        raise InvalidProblem(
            f"the share of votes held out is {share:g}", "give a share between 0 and 1, such as 0.2"
        )
    _, question = np.unique(_questions(votes), return_inverse=True)
    count = int(question.max(initial=-1)) + 1
    rater = np.zeros(count, dtype=np.int64)
    rater[question] = votes.annotator
    draw = stream.child("held-out").generator().random(count)
    out = draw < share
    order = np.lexsort((draw, rater))
    last = order[np.append(rater[order][1:] != rater[order][:-1], True)] if count else order
    out[last] = False  # the largest draw of a rater: kept anyway, unless all were held out
    chosen = out[question] if count else np.zeros(0, dtype=bool)
    if not chosen.any():
        raters = int(np.unique(votes.annotator).size)
        more = "collect raters' answers to more than one pair of responses each"
        raise InvalidData(
            f"of {len(votes)} votes, which are {count} answers of {raters} raters, none is held "
            f"out at a share of {share:g}: one answer of every rater is kept for estimation",
            more if count == raters else f"hold out a larger share, or {more}",
        )
    return Split(_chosen(votes, ~chosen), _chosen(votes, chosen))


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Estimates and what resampling raters makes of them.

    Attributes:
        value: The estimates; NaN where no vote tells.
        low: Lower ends of 95 % percentile intervals.
        high: Upper ends.
    """

    value: Float[np.ndarray, "*shape"]
    low: Float[np.ndarray, "*shape"]
    high: Float[np.ndarray, "*shape"]

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, read_only(np.asarray(getattr(self, name))))


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutWins:
    r"""Win rates against the reference, of every group under every policy, by held-out votes.

    Attributes:
        rates: The win rates, shape ``(policy, group)``.
        worst: The smallest of the groups', shape ``(policy,)``; of whichever group that is, anew in
            every resample.
        mean: Their unweighted mean.
        gains: Of every policy over the second (`baseline`), columns the groups, the worst group and
            the mean, from the same resamples.
        baseline: The index of the policy that gains are over.
        votes: The expected number of held-out votes of every group.
        coverage: Of the pairs of unequal responses that a policy and the reference draw, the share
            that has held-out votes.
        resamples: How many.
    """

    rates: Interval
    worst: Interval
    mean: Interval
    gains: Interval
    baseline: int
    votes: Float[np.ndarray, "group"]
    coverage: Float[np.ndarray, "policy"]
    resamples: int


class Judges:
    r"""Raters, with what each of their held-out votes says of every policy.

    The win rate of group u for a policy π against the reference μ is estimated by

    .. math:: \frac{\sum_h \gamma_{hu} \sum_{v \in D_h} \frac{1}{n_v}
              \big(\pi_a \mu_b s_v + \pi_b \mu_a (1 - s_v)\big)}
              {\sum_h \gamma_{hu} \sum_{v \in D_h} \frac{1}{n_v} (\pi_a \mu_b + \pi_b \mu_a)},

    where vote v of rater h compares a with b, :math:`s_v` is 1, 1/2 or 0 if a was preferred, tied
    or not, and :math:`n_v` is how many held-out votes that pair has: pairs count as often as π and
    μ draw them, whoever was asked about them. Where both draw the same response it is a half,
    which is added. The reference itself has exactly 1/2.

    Args:
        held_out: Votes that neither policies nor responsibilities were estimated from.
        policies: π, for every policy and prompt an array of its responses.
        references: μ of every prompt.
    """

    def __init__(
        self,
        held_out: Votes,
        policies: Sequence[Sequence[Float[np.ndarray, "_"]]],
        references: Sequence[Float[np.ndarray, "_"]],
    ) -> None:
        pi = np.stack([np.concatenate(list(policy)) for policy in policies])
        mu = np.concatenate(list(references))
        a, b = _items(held_out)
        _, pair, sizes = np.unique(_pairs(held_out), return_inverse=True, return_counts=True)
        forward, backward = pi[:, a] * mu[b], pi[:, b] * mu[a]
        score = (1.0 + held_out.label) / 2.0
        won = (forward * score + backward * (1.0 - score)) / sizes[pair]
        drawn = (forward + backward) / sizes[pair]
        self.raters = np.unique(held_out.annotator)
        place = np.searchsorted(self.raters, held_out.annotator)
        self._won, self._drawn = (_sums(values, place, len(self.raters)) for values in (won, drawn))
        self._votes = np.bincount(place, minlength=len(self.raters)).astype(np.float64)
        self._same = pi @ mu / len(held_out.prompts)  # both draw the same response
        self._drawn_in_all = drawn.sum(axis=1) / len(held_out.prompts)

    def wins(
        self,
        responsibilities: Float[np.ndarray, "annotator group"],
        resamples: int,
        stream: Stream,
        *,
        baseline: int = 0,
    ) -> HeldOutWins:
        """Return the groups' win rates, with intervals from resampling raters.

        Raters are drawn with replacement, each with all his held-out votes; policies, rewards,
        responsibilities and :math:`n_v` stay as they are. The intervals therefore say how sure the
        judgement of these policies is, not how much other training votes would change them.

        Args:
            responsibilities: γ, of all raters, from their training votes.
            resamples: Number of bootstrap samples; 0 leaves the intervals NaN.
            stream: Randomness of the resamples.
            baseline: Index of the policy that gains are over.
        """
        gamma = responsibilities[self.raters]
        whole = self._rates(np.ones((1, len(gamma))), gamma)
        draws = _multinomial(len(gamma), resamples, stream.child("bootstrap").generator())
        samples = np.concatenate([whole, *(self._rates(weights, gamma) for weights in draws)])
        worst, mean = samples.min(axis=-1), samples.mean(axis=-1)
        everything = np.concatenate([samples, worst[..., None], mean[..., None]], axis=-1)
        return HeldOutWins(
            rates=interval(samples),
            worst=interval(worst),
            mean=interval(mean),
            gains=interval(everything - everything[:, baseline, None]),
            baseline=baseline,
            votes=read_only(self._votes @ gamma),
            coverage=read_only(self._drawn_in_all / np.maximum(1.0 - self._same, 1e-300)),
            resamples=resamples,
        )

    def _rates(
        self, weights: Float[np.ndarray, "sample rater"], gamma: Float[np.ndarray, "rater group"]
    ) -> Float[np.ndarray, "sample policy group"]:
        won, drawn = (
            np.stack([(weights * of) @ values for of in gamma.T], axis=-1)
            for values in (self._won, self._drawn)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.where(drawn > 0.0, won / drawn, np.nan)
        same = self._same[:, None]
        found: np.ndarray = (1.0 - same) * rate + same / 2.0
        return found


def interval(samples: Float[np.ndarray, "sample *shape"]) -> Interval:
    """Return the first sample as the estimate, and percentiles of the others around it."""
    value, others = samples[0], samples[1:]
    if not len(others):
        nothing = np.full(value.shape, np.nan)
        return Interval(value, nothing, nothing)
    known = np.isfinite(others).all(axis=0) & np.isfinite(value)
    ends = np.quantile(
        np.where(known, others, 0.0), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), axis=0
    )
    low, high = np.where(known, ends, np.nan)
    return Interval(value, low, high)


def resampled_means(
    values: Float[np.ndarray, "column rater"],
    size: Float[np.ndarray, "rater"],
    resamples: int,
    stream: Stream,
) -> Interval:
    """Return Σ_h values / Σ_h size for every column, with intervals from resampling raters."""
    whole = (values.sum(axis=1) / size.sum())[None]
    draws = _multinomial(len(size), resamples, stream.child("bootstrap").generator())
    return interval(
        np.concatenate(
            [whole, *(weights @ values.T / (weights @ size)[:, None] for weights in draws)]
        )
    )


def _multinomial(
    count: int, resamples: int, generator: np.random.Generator
) -> Iterator[Float[np.ndarray, "sample rater"]]:
    """Yield how often every rater is drawn, in blocks of resamples."""
    rows = max(1, _CHUNK // max(count, 1))
    shares = np.full(count, 1.0 / count)
    for start in range(0, resamples, rows):
        draws = generator.multinomial(count, shares, size=min(rows, resamples - start))
        yield draws.astype(np.float64)


def _sums(
    values: Float[np.ndarray, "policy vote"], place: Int[np.ndarray, "vote"], raters: int
) -> Float[np.ndarray, "rater policy"]:
    return np.stack([np.bincount(place, row, raters) for row in values], axis=-1)


def _items(votes: Votes) -> tuple[Int[np.ndarray, "vote"], Int[np.ndarray, "vote"]]:
    """Return both responses of every vote, numbered through all prompts."""
    sizes = np.array([len(ids) for ids in votes.responses], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])[votes.prompt]
    return starts + votes.response_a, starts + votes.response_b


def _pairs(votes: Votes) -> Int[np.ndarray, "vote"]:
    """Return a number of the pair that every vote is about, whichever came first."""
    a, b = _items(votes)
    every = sum(len(ids) for ids in votes.responses)
    return np.asarray(np.minimum(a, b) * every + np.maximum(a, b))


def _questions(votes: Votes) -> Int[np.ndarray, "vote"]:
    """Return a number of the rater and the pair of every vote."""
    pairs = np.unique(_pairs(votes), return_inverse=True)[1]
    return votes.annotator * (int(pairs.max(initial=0)) + 1) + pairs


def _chosen(votes: Votes, which: Bool[np.ndarray, "vote"]) -> Votes:
    return Votes(
        prompts=votes.prompts,
        responses=votes.responses,
        annotators=votes.annotators,
        prompt=votes.prompt[which],
        response_a=votes.response_a[which],
        response_b=votes.response_b[which],
        annotator=votes.annotator[which],
        label=votes.label[which],
    )
