r"""Majority cycles and equilibria of real votes: which of two arguments convinces more.

Written down before the first run, and not changed after. The votes are ``convarg/votes.csv`` in the
folder that ``NLHF_TEST_DATA`` names (UKPConvArg1: 16 prompts, about 5 crowd workers a pair); ties
count half, pairs never compared are 1/2, nothing is smoothed. So the games are those of the votes
as they were cast, and not of the people: a few votes a pair make cycles by noise alone, and a null
law says how many.

``convarg.csv``, a row a prompt and one for all together: whether there is a Condorcet winner, the
number of majority 3-cycles, and their mean and 95 % range under the null of
`nlhf.estimation.condorcet_null` (new votes from Bradley-Terry rewards that are as uncertain as the
votes leave them; fitted to the prompt alone in its row); the size of the Smith set and of the
support of the maximal lottery, the equilibrium at temperature 0, with its certified gap; and at
temperature 0.05 the least exploitability, in win probability, of a policy that a Bradley-Terry
reward of the votes makes, beside that of the equilibrium.

``convarg_lotteries.csv``: the maximal lotteries, likeliest response first; `start` is the
probability of the ones before.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nlhf
from benchmarks.sizes import Size
from benchmarks.tables import write_table
from nlhf.analysis.baselines import RewardBaseline
from nlhf.analysis.votes import VoteAnalysis
from nlhf.data.counts import WinCounts
from nlhf.estimation.condorcet import condorcet_null

TEMPERATURE = 0.05
SUPPORTED = 1e-6
"""Probability from which on a response counts as played."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt, or all together; nan where a number makes no sense of all.

    Attributes:
        prompt: Its id, or ``all``.
        responses: How many.
        votes: How many.
        condorcet: ``winner``, or why there is none; of all, how many prompts have a winner.
        no_winner_null: Probability of no winner under the null; of all, the expected number.
        three_cycles: Majority 3-cycles.
        null_mean: Under the null.
        null_low: 2.5 % quantile.
        null_high: 97.5 % quantile.
        smith_set: Its size.
        support: Of the maximal lottery.
        gap_high: The duality gap of the lottery is at most this.
        reward_exploitability: Of the best policy of a reward at temperature 0.05.
        nash_exploitability: Of the equilibrium there: at most this.
        reward_loses: Win probability of the equilibrium against that policy.
    """

    prompt: str
    responses: int
    votes: int
    condorcet: str
    no_winner_null: float
    three_cycles: int
    null_mean: float
    null_low: float
    null_high: float
    smith_set: float
    support: float
    gap_high: float
    reward_exploitability: float
    nash_exploitability: float
    reward_loses: float


@dataclass(frozen=True, slots=True)
class Played:
    """A response that a maximal lottery plays.

    Attributes:
        prompt: Its prompt.
        rank: From 1, the likeliest first.
        probability: Of it.
        start: Of those before it together.
    """

    prompt: str
    rank: int
    probability: float
    start: float


def prompt_rows(
    counts: Sequence[WinCounts], hard: VoteAnalysis, soft: VoteAnalysis
) -> Iterator[PromptRow]:
    """Yield a row for every prompt and one for all, by analyses at both temperatures."""
    for k, (at_zero, warm, baseline) in enumerate(
        zip(hard.prompts, soft.prompts, soft.baselines, strict=True)
    ):
        null = condorcet_null([counts[k]])
        known = baseline if isinstance(baseline, RewardBaseline) else None
        yield PromptRow(
            prompt=at_zero.prompt,
            responses=len(at_zero.responses),
            votes=at_zero.votes,
            condorcet=str(at_zero.condorcet),
            no_winner_null=float(null.probability[0]),
            three_cycles=at_zero.majority.three_cycles,
            null_mean=float(null.three_cycles.sum()),
            null_low=null.cycles_low,
            null_high=null.cycles_high,
            smith_set=len(at_zero.majority.smith_set),
            support=int((at_zero.policy > SUPPORTED).sum()),
            gap_high=at_zero.gap_high,
            reward_exploitability=known.exploitability if known else math.nan,
            nash_exploitability=warm.gap_high / 2.0,
            reward_loses=known.loses if known else math.nan,
        )
    yield PromptRow(
        prompt="all",
        responses=sum(len(one.responses) for one in hard.prompts),
        votes=sum(one.votes for one in hard.prompts),
        condorcet=str(len(hard.prompts) - hard.null.observed),
        no_winner_null=hard.null.expected,
        three_cycles=sum(one.majority.three_cycles for one in hard.prompts),
        null_mean=float(hard.null.three_cycles.sum()),
        null_low=hard.null.cycles_low,
        null_high=hard.null.cycles_high,
        smith_set=math.nan,
        support=math.nan,
        gap_high=hard.largest_gap,
        reward_exploitability=math.nan,
        nash_exploitability=soft.largest_gap / 2.0,
        reward_loses=math.nan,
    )


def lotteries(analysis: VoteAnalysis) -> Iterator[Played]:
    """Yield what the maximal lottery of every prompt plays."""
    for one in analysis.prompts:
        played = np.sort(one.policy[one.policy > SUPPORTED])[::-1]
        starts = np.concatenate([[0.0], played.cumsum()])
        for rank, probability in enumerate(played):
            yield Played(one.prompt, rank + 1, float(probability), float(starts[rank]))


def record(folder: Path, size: Size) -> None:
    """Write ``convarg.csv`` and ``convarg_lotteries.csv``.

    Raises:
        FileNotFoundError: If ``NLHF_TEST_DATA`` names no folder with the votes.
    """
    path = Path(os.environ.get("NLHF_TEST_DATA", "")) / "convarg" / "votes.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: set NLHF_TEST_DATA to the folder that holds convarg/")
    counts = nlhf.win_counts(nlhf.read_votes(path))[: size.pick(2, 16)]
    hard = nlhf.analyse_votes(counts, nlhf.Settings(temperature=0.0))
    soft = nlhf.analyse_votes(counts, nlhf.Settings(temperature=TEMPERATURE))
    write_table(folder / "convarg.csv", list(prompt_rows(counts, hard, soft)))
    write_table(folder / "convarg_lotteries.csv", list(lotteries(hard)))
