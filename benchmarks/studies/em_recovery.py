r"""How many raters expectation-maximisation puts in their group, against votes per rater.

Written down before the first run, and not changed after. The electorates of
`benchmarks.solvers.raters.recovery`: 200 raters in two groups, one prompt of 6 responses, rewards
independent N(0, 4) in logits, votes on uniform pairs, 20 electorates, at 1, 2, 3, 5, 10 and 20
votes a rater; groups of 80 % and 20 %, and of 50 % and 50 %. Soft and hard assignment; as groups
found have no names, they are matched with the true ones at best. Beside them ``known``: both
groups' rewards and shares are known, and every rater is put in the likelier group. No rule that is
given less does better on average, but for that matching.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cases import Recovery
from benchmarks.sizes import Size
from benchmarks.solvers.raters import electorate, recovery
from benchmarks.tables import write_table
from nlhf import Stream

VOTES = (1, 2, 3, 5, 10, 20)
SPLITS = ((0.8, 0.2), (0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Recovered:
    """The share of raters in their group, over electorates.

    Attributes:
        largest: Share of the larger group: what putting everybody there gets right.
        votes: Of a rater.
        method: ``soft``, ``hard`` or ``known``.
        electorates: How many.
        mean: Share of raters in their group.
        lower_quartile: Of the electorates.
        upper_quartile: Likewise.
    """

    largest: float
    votes: int
    method: str
    electorates: int
    mean: float
    lower_quartile: float
    upper_quartile: float


def recovered(case: Recovery) -> Iterator[Recovered]:
    """Yield the shares of all methods in a case."""
    each = {found.method: found.numbers["share_in_their_group_each"] for found in recovery(case)}
    each["known"] = [known(case, seed) for seed in range(case.seeds)]
    for name, values in each.items():
        ends = map(float, np.quantile(values, (0.25, 0.75)))
        mean = float(np.mean(values))
        yield Recovered(max(case.proportions), case.comparisons, name, case.seeds, mean, *ends)


def known(case: Recovery, seed: int) -> float:
    """Return the share of raters whose likelier group, rewards and shares known, is theirs."""
    stream = Stream(seed).child("recovery", case.raters, case.responses)
    shape = (len(case.proportions), case.prompts, case.responses)
    rewards = case.scale * stream.child("rewards").generator().normal(size=shape)
    generator = stream.child("groups").generator()
    group = generator.choice(len(case.proportions), size=case.raters, p=case.proportions)
    rater = np.repeat(np.arange(case.raters), case.comparisons)
    votes = electorate(stream.child("votes").generator(), rewards, group, rater)
    margin = rewards[:, votes.prompt, votes.response_a] - rewards[:, votes.prompt, votes.response_b]
    logs = -np.logaddexp(0.0, -votes.label * margin)
    belief = np.log(case.proportions)[:, None] + np.array(
        [np.bincount(votes.annotator, one, case.raters) for one in logs]
    )
    return float((belief.argmax(axis=0) == group).mean())


def record(folder: Path, size: Size) -> None:
    """Write ``em_recovery.csv``."""
    cases = [
        Recovery(votes, proportions=split, seeds=size.pick(1, 20), raters=size.pick(30, 200))
        for split in SPLITS
        for votes in VOTES
    ]
    write_table(folder / "em_recovery.csv", [one for case in cases for one in recovered(case)])
