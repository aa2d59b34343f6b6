"""Finite classes made from votes: candidate models of many kinds, on resamples of the votes."""

from collections.abc import Iterator
from math import log

import numpy as np
from jaxtyping import Float

from nlhf.analysis.learning_votes import Layout, rows_of
from nlhf.data.preference_data import PreferenceData
from nlhf.data.votes import Votes
from nlhf.errors import InvalidProblem
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.estimation.classes.links import Link
from nlhf.estimation.likelihood import Likelihood, maximise
from nlhf.numerics import log_sum_exp, sigmoid
from nlhf.streams import Stream

BOUND = 4.0
"""The largest log-odds of a candidate in size: win probabilities from 0.018 to 0.982."""

RIDGES = (0.1, 1.0, 10.0)
"""Penalties of Bradley-Terry rewards, in votes per logit²."""

SHRINKAGES = (1.0, 3.0, 10.0, 30.0)
"""Votes on every pair that the Bradley-Terry rewards of ridge 1 are worth, beside those cast."""

RANKS = (2, 4, 8)
"""Ranks that the log-odds of the second of these mixtures are cut to."""

KINDS = len(RIDGES) + len(SHRINKAGES) + len(RANKS)
"""Candidates that are made from one resample of the votes."""


def candidate_class(
    votes: Votes, layout: Layout, link: Link, count: int, stream: Stream, least: float = 1.0
) -> FiniteClass:
    """Return models fitted to votes in several ways, and to resamples of these votes.

    Of every resample there are Bradley-Terry models of three ridges; mixtures of shares of votes
    with one of these models, which is worth one to thirty votes a pair; and skew log-odds of ranks
    2, 4 and 8 nearest to a mixture. The last resample is the votes themselves. Log-odds are cut at
    ±4, so that no candidate can be excluded by one vote.

    A certificate that takes one of them to be true is honest only for data that did not make them:
    give it other votes.

    Args:
        votes: What the candidates are fitted to.
        layout: Their prompts as one table.
        link: What payoffs say of preferences.
        count: K, how many candidates.
        stream: Randomness of the resamples.
        least: About the share of the votes in the first resample; shares grow geometrically.

    Raises:
        InvalidProblem: If there is no candidate.
    """
    if count < 1:
        raise InvalidProblem(f"{count} candidates", "ask for at least one, such as 200")
    resamples = -(-count // KINDS)
    shares = least ** (1.0 - np.arange(1, resamples + 1) / resamples)
    models = _models(_resamples(votes, layout, shares, stream))
    tables = np.empty((count, *layout.shape, layout.shape[1]))
    for k, log_odds in zip(range(count), models, strict=False):
        spread = layout.spread(log_odds)
        tables[k] = spread if link is Link.LOG_ODDS else sigmoid(spread) - 0.5
    tables -= tables.swapaxes(-1, -2)
    tables /= 2.0  # exactly skew
    return FiniteClass(tables, link)


def log_mixture(training: PreferenceData, others: PreferenceData) -> float:
    """Return how likely votes are under what other votes predict, whatever class is true: in nats.

    Under the even mixture of the `KINDS` models of the training votes, which is one model.
    """
    logs = [
        Link.LOG_ODDS.log_likelihood(others.pairs.payoffs(table), others.counts, others.wins)
        for table in _models(iter([_wins(training)]))
    ]
    return float(log_sum_exp(np.array(logs))) - log(KINDS)


def _wins(data: PreferenceData) -> Float[np.ndarray, "context response response"]:
    stages, outcomes = data.pairs.shape
    wins = np.zeros((stages, outcomes, outcomes))
    at = (data.pairs.stage[:, 0], data.pairs.first[:, 0], data.pairs.second[:, 0])
    np.add.at(wins, at, data.wins)
    np.add.at(wins, (at[0], at[2], at[1]), data.counts - data.wins)
    return wins


def _resamples(
    votes: Votes, layout: Layout, shares: Float[np.ndarray, " resample"], stream: Stream
) -> Iterator[Float[np.ndarray, "context response response"]]:
    """Yield the wins in shares of the votes, drawn with replacement; the last is all of them."""
    generator = stream.child("resamples").generator()
    for share in shares[:-1]:
        size = max(1, round(share * len(votes)))
        yield _wins(layout.data(rows_of(votes, generator.integers(len(votes), size=size))))
    yield _wins(layout.data(votes))


def _models(
    resamples: Iterator[Float[np.ndarray, "context response response"]],
) -> Iterator[Float[np.ndarray, "context response response"]]:
    """Yield the log-odds of `KINDS` models of every resample."""
    for wins in resamples:
        start = np.zeros(wins.shape[:2])
        rewards = [maximise(Likelihood(wins, ridge), start) for ridge in RIDGES]
        smooth = [r[:, :, None] - r[:, None, :] for r in rewards]
        ahead = [wins + worth * sigmoid(smooth[1]) for worth in SHRINKAGES]
        mixed = [np.log(votes) - np.log(votes.swapaxes(-1, -2)) for votes in ahead]
        for log_odds in (*smooth, *mixed, *nearest_of_ranks(mixed[1])):
            yield np.clip(log_odds, -BOUND, BOUND)


def nearest_of_ranks(
    log_odds: Float[np.ndarray, "context response response"],
) -> list[Float[np.ndarray, "context response response"]]:
    """Return the nearest skew matrices of every rank: eigenvalues come in pairs ±iσ."""
    # iA is Hermitian for skew A, and numpy's eigh is exact about its spectrum being real.
    values, vectors = np.linalg.eigh(1j * log_odds)
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    values = np.take_along_axis(values, order, axis=-1)
    vectors = np.take_along_axis(vectors, order[:, None, :], axis=-1)
    found = []
    for rank in RANKS:
        left = vectors[..., :rank] * values[:, None, :rank]
        nearest = -1j * (left @ vectors[..., :rank].conj().swapaxes(-1, -2))
        found.append((nearest.real - nearest.real.swapaxes(-1, -2)) / 2.0)
    return found
