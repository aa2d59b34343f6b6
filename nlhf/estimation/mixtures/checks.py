"""What votes must have for a mixture of raters to be fitted to them."""

import operator

import numpy as np
from jaxtyping import Bool, Int

from nlhf.data.records import ANONYMOUS
from nlhf.data.text import quoted
from nlhf.data.votes import Votes
from nlhf.errors import HypothesisViolated
from nlhf.estimation.graphs import components, describe
from nlhf.estimation.mixtures.ballots import Ballots, RaterGroups

COUNTS = 1e-6
"""Expected votes below which a group is taken not to have seen a side at all."""


def require_count(name: str, value: int) -> int:
    """Return a number of things, at least 1.

    Raises:
        HypothesisViolated: It is less, or no whole number.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise HypothesisViolated(f"{value!r} {name}", "ask for a whole number of at least 1")
    return count


def require_data(votes: Votes, ballots: Ballots, groups: int) -> None:
    """Refuse votes that cannot tell so many groups apart, whatever they say.

    Raises:
        HypothesisViolated: There are no votes, or ties only; or there are several groups, and the
            votes name no raters or fewer than groups.
    """
    tied = int((votes.label == 0).sum())
    if tied == len(votes):
        what = f"all {tied} votes are ties" if tied else "there are no votes"
        raise HypothesisViolated(
            f"{what}: they say nothing of which response is better", "collect decisive votes"
        )
    raters = int(ballots.present.sum())
    if groups > 1 and votes.annotators == (ANONYMOUS,):
        raise HypothesisViolated(
            f"{len(votes)} votes name no raters, so nothing tells {groups} groups apart",
            "give every vote the id of its annotator, or fit 1 group",
        )
    if groups > raters:
        raise HypothesisViolated(
            f"{groups} groups of {raters} raters with votes that count (ties {ballots.ties.value})",
            "ask for no more groups than raters",
        )


def require_maximum(votes: Votes, ballots: Ballots, responsibilities: RaterGroups) -> None:
    """Refuse groups whose rewards have no maximum-likelihood estimate.

    Raises:
        HypothesisViolated: The graph of wins of a group within a prompt is not strongly connected,
            sides with at most `COUNTS` expected votes left out; with its components.
    """
    wins = ballots.by_side(responsibilities)
    split = parts(ballots, wins > COUNTS, "strong") > 1
    if not split.any():
        return
    group, prompt = (int(k) for k in np.argwhere(split)[0])
    start, stop = ballots.offsets[prompt : prompt + 2]
    graph = np.zeros((stop - start, stop - start), dtype=bool)
    here = (wins[group] > COUNTS) & (ballots.prompt_of_side == prompt)
    graph[ballots.winner[here] - start, ballots.loser[here] - start] = True
    found = components(graph)
    who = "" if len(wins) == 1 else f"group {group}: "
    raise HypothesisViolated(
        f"{who}prompt {quoted(votes.prompts[prompt])}: no maximum-likelihood rewards exist (ties "
        f"{ballots.ties.value}): the graph of wins is not strongly connected; its {len(found)} "
        f"components, between any two of which wins go at most one way: "
        f"{describe(found, votes.responses[prompt])}; such prompts: {int(split.sum())} of "
        f"{split.size}",
        "give a ridge above 0 (for example 0.1), or collect votes that connect them",
    )


def parts(
    ballots: Ballots, sides: Bool[np.ndarray, "group side"], connection: str
) -> Int[np.ndarray, "group prompt"]:
    """Return how many connected components (weak or strong) every prompt's responses fall into."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    items, sizes = ballots.items, np.diff(ballots.offsets)
    prompt_of_item = np.repeat(np.arange(len(sizes)), sizes)
    counted = []
    for row in sides:
        edges = (ballots.winner[row], ballots.loser[row])
        graph = csr_array((np.ones(int(row.sum())), edges), shape=(items, items))
        number, names = connected_components(graph, directed=True, connection=connection)
        first = np.full(number, items)
        np.minimum.at(first, names, np.arange(items))
        counted.append(np.bincount(prompt_of_item[first], minlength=len(sizes)))
    return np.stack(counted)
