r"""Retraining over random bandits: means, intervals and how often it helped, per cell.

**The family**, written down before anything was run: `BanditFamily` with 4 contexts of 4 clusters
of 3 responses, response spread 1/2, spread of the reference's own opinions 1, β = 1, 25 % of human
labels flipped. m human comparisons in all contexts together, of two different responses of the
reference. Tabular reward models with ridge 0.1 comparisons per logit² (a Gaussian prior of standard
deviation 3.2 logits). n = 10 samples. Synthetic weight λ = 2, as with |U| : |D| = 20k : 10k, and
λ = 0.1. All labellers but the oracle see only the reference, the clusters and the reward model; the
clusters are the true ones, on which most of the true reward depends. The oracle's labels have no
flips.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nlhf.errors import HypothesisViolated
from nlhf.learning.reward_on_policy.bandits import BanditFamily
from nlhf.learning.reward_on_policy.cells import Cell, summarised
from nlhf.learning.reward_on_policy.labelling import Labeller
from nlhf.learning.reward_on_policy.retraining import Round, reward_learning_on_policy
from nlhf.streams import Stream

RIDGE = 0.1
"""Of the reward models, in comparisons per logit²."""

WEIGHTS = (2.0, 0.1)
"""Synthetic comparisons per human one, before selection."""

SAMPLES = 10
"""Samples per context."""


def study_cell(
    family: BanditFamily,
    pairs: int,
    instances: int,
    stream: Stream,
    *,
    labellers: Sequence[Labeller] = tuple(Labeller),
    weights: Sequence[float] = WEIGHTS,
    ridge: float = RIDGE,
    samples: int = SAMPLES,
    progress: Callable[[int], None] | None = None,
) -> Cell:
    """Retrain in so many bandits of a family, and summarise.

    The k-th bandit and its comparisons come from ``stream.child(k)``: cells that share a stream
    share their normals, and differences between them are sharper than their intervals.

    Args:
        family: The law of the bandits.
        pairs: m, human comparisons in all contexts together; at least 1.
        instances: How many bandits, at least 2.
        stream: Randomness.
        labellers: Who labels.
        weights: Synthetic comparisons per human one, before selection.
        ridge: Of the reward models.
        samples: Samples per context.
        progress: Called after every instance with how many are done.

    Raises:
        HypothesisViolated: There are fewer than 2 instances or no comparisons, or an argument is
            out of its range.
    """
    if instances < 2 or pairs < 1:
        raise HypothesisViolated(
            f"{instances} instances with {pairs} human comparisons",
            "take at least 2 instances and 1 comparison",
        )
    rounds: list[Round] = []
    for k in range(instances):
        bandit = family.draw(stream.child(k))
        human = bandit.draw_comparisons(pairs, stream.child(k, "comparisons"))
        rounds.append(
            reward_learning_on_policy(
                bandit, human, labellers, weights, ridge=ridge, samples=samples
            )
        )
        if progress is not None:
            progress(k + 1)
    return summarised(family, pairs, ridge, rounds)


def help_or_hurt(
    informativeness: Sequence[float],
    flip_rates: Sequence[float],
    pairs: int,
    instances: int,
    stream: Stream,
    *,
    family: BanditFamily | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[tuple[Cell, ...], ...]:
    r"""Return the map of what consensus does over the reference's and the humans' quality.

    Rows are values of ω, columns of η; each cell has the labellers CONSENSUS and GOLD with weight
    2. The sign of ``cell.effect(Labeller.CONSENSUS, 2.0).reward_change`` says whether it helps.

    Args:
        informativeness: ω, one row each.
        flip_rates: η, one column each.
        pairs: m.
        instances: How many bandits in each cell, the same normals in all.
        stream: Randomness.
        family: The other parameters of the law.
        progress: Called after every cell with how many are done.

    Raises:
        HypothesisViolated: As `study_cell`.
    """
    start = BanditFamily(0.0) if family is None else family
    rows: list[tuple[Cell, ...]] = []
    for omega in informativeness:
        row = []
        for flips in flip_rates:
            here = replace(start, informativeness=omega, flip_rate=flips)
            asked = (Labeller.CONSENSUS, Labeller.GOLD)
            row.append(
                study_cell(here, pairs, instances, stream, labellers=asked, weights=WEIGHTS[:1])
            )
            if progress is not None:
                progress(len(rows) * len(flip_rates) + len(row))
        rows.append(tuple(row))
    return tuple(rows)
