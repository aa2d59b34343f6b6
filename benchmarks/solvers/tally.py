"""Bradley-Terry rewards from counts of wins: ours against choix, on the same votes in turn."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from benchmarks.cases import Tally
from benchmarks.found import Found
from benchmarks.turns import Answer, Run, in_turn
from nlhf import Stream
from nlhf.data.counts import WinCounts
from nlhf.estimation import fit_bradley_terry

TOLERANCE = 1e-10
"""Of choix's iterations; its own default, 1e-8, is of the same quantity."""
Ballot = tuple[WinCounts, list[tuple[int, int]]]
"""The same votes as counts and as a list of winners and losers: what each method takes."""
Method = Run[Ballot, np.ndarray]


def draw(case: Tally, number: int) -> Ballot:
    """Return the votes of one repeat."""
    rng = Stream(case.seed).child("tally", case.responses, case.votes, number).generator()
    rewards = rng.normal(size=case.responses)
    above = np.triu_indices(case.responses, 1)
    votes = rng.multinomial(case.votes, np.full(len(above[0]), 1.0 / len(above[0])))
    won = rng.binomial(votes, 1.0 / (1.0 + np.exp(rewards[above[1]] - rewards[above[0]])))
    wins = np.zeros((case.responses, case.responses), dtype=np.int64)
    wins[above], wins.T[above] = won, votes - won
    names = tuple(f"response-{k}" for k in range(case.responses))
    counts = WinCounts("prompt", names, wins, np.zeros_like(wins))
    return counts, pairs_of(counts)


def nlhf(case: Tally) -> Method:
    """`nlhf.fit_bradley_terry(counts)`, its score checked."""
    return lambda ballot: Answer(fit_bradley_terry(ballot[0]).rewards)


def choix_ilsr(case: Tally) -> Method:
    """`choix.ilsr_pairwise_dense`: iterated spectral ranking of counts."""
    import choix

    return lambda ballot: Answer(
        choix.ilsr_pairwise_dense(ballot[0].wins.astype(float), alpha=0.0, tol=TOLERANCE)
    )


def choix_opt(case: Tally) -> Method:
    """`choix.opt_pairwise`: Newton's method on a list of all votes."""
    import choix

    return lambda ballot: Answer(choix.opt_pairwise(case.responses, ballot[1], tol=TOLERANCE))


def pairs_of(counts: WinCounts) -> list[tuple[int, int]]:
    """Return winner and loser of every vote."""
    winner, loser = np.nonzero(counts.wins)
    repeated = counts.wins[winner, loser]
    return list(
        zip(np.repeat(winner, repeated).tolist(), np.repeat(loser, repeated).tolist(), strict=True)
    )


METHODS: Mapping[str, Callable[[Tally], Method]] = {
    method.__name__: method for method in (nlhf, choix_ilsr, choix_opt)
}


def score(ballot: Ballot, rewards: np.ndarray) -> dict[str, float]:
    """Return the largest |derivative| of the log-likelihood at the rewards, in votes."""
    wins = ballot[0].wins
    expected = 1.0 / (1.0 + np.exp(rewards[None, :] - rewards[:, None]))
    slope = wins.sum(axis=1) - ((wins + wins.T) * expected).sum(axis=1)
    return {"score_in_votes": float(np.abs(slope).max())}


def tally(case: Tally) -> Iterator[Found]:
    """Yield what is found of every method, with the score at its answers: 0 at the maximum."""
    makers = {name: partial(METHODS[name], case) for name in case.methods}
    yield from in_turn(makers, partial(draw, case), score, case.repeats)
