"""Raters in groups, their votes drawn from known rewards, and likelihoods written out."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nlhf.data import Votes


def cast(rows, sizes=None, raters=None):
    """Make votes of (prompt, a, b, annotator, label) rows."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    if sizes is None:
        count = int(table[:, 0].max(initial=0)) + 1
        sizes = [int(table[table[:, 0] == k, 1:3].max(initial=1)) + 1 for k in range(count)]
    raters = int(table[:, 3].max(initial=0)) + 1 if raters is None else raters
    return Votes(
        tuple(f"p{k}" for k in range(len(sizes))),
        tuple(tuple(f"r{k}" for k in range(size)) for size in sizes),
        tuple(f"a{k}" for k in range(raters)),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        table[:, 3],
        table[:, 4].astype(np.int8),
    )


@st.composite
def ballots(draw, prompts=2, responses=4, raters=8, most=60):
    """Draw the rows of `cast`, a decisive vote of every rater among them."""
    number = draw(st.integers(raters, most))
    prompt = draw(arrays(np.int64, number, elements=st.integers(0, prompts - 1)))
    a = draw(arrays(np.int64, number, elements=st.integers(0, responses - 1)))
    turn = draw(arrays(np.int64, number, elements=st.integers(1, responses - 1)))
    rater = draw(arrays(np.int64, number, elements=st.integers(0, raters - 1)))
    label = draw(arrays(np.int64, number, elements=st.integers(-1, 1)))
    rater[:raters] = np.arange(raters)
    label[:raters] = np.where(label[:raters] == 0, 1, label[:raters])
    return np.stack([prompt, a, (a + turn) % responses, rater, label], axis=1)


def planted(generator, rewards, proportions, raters, each):
    """Draw a number of votes of every rater; return them and the raters' groups."""
    groups, prompts, responses = rewards.shape
    group = generator.choice(groups, size=raters, p=proportions)
    number = raters * each
    rater = np.repeat(np.arange(raters), each)
    prompt = generator.integers(prompts, size=number)
    a = generator.integers(responses, size=number)
    b = (a + generator.integers(1, responses, size=number)) % responses
    better = rewards[group[rater], prompt, a] - rewards[group[rater], prompt, b]
    label = np.where(generator.random(number) < 1 / (1 + np.exp(-better)), 1, -1)
    rows = np.stack([prompt, a, b, rater, label], axis=1)
    return cast(rows, [responses] * prompts, raters), group


def marginal(votes, rewards, weights, tie=0.5):
    """The marginal log-likelihood, vote by vote; rewards are lists by group and prompt."""
    total = 0.0
    for rater in range(len(votes.annotators)):
        mine = np.flatnonzero(votes.annotator == rater)
        if len(mine):
            logs = [
                math.log(weights[rater][u]) + likelihood(votes, mine, rewards[u], tie)
                for u in range(len(rewards))
            ]
            top = max(logs)
            total += top + math.log(sum(math.exp(one - top) for one in logs))
    return total


def classification(votes, rewards, tie=0.5):
    """The classification log-likelihood, vote by vote."""
    return sum(
        max(likelihood(votes, np.flatnonzero(votes.annotator == h), one, tie) for one in rewards)
        for h in range(len(votes.annotators))
    )


def likelihood(votes, which, rewards, tie=0.5):
    """The log-likelihood of some votes under one group's rewards."""
    total = 0.0
    for k in which:
        of = rewards[votes.prompt[k]]
        difference = of[votes.response_a[k]] - of[votes.response_b[k]]
        if votes.label[k] == 0:
            total += tie * (_log_sigmoid(difference) + _log_sigmoid(-difference))
        else:
            total += _log_sigmoid(votes.label[k] * difference)
    return total


def _log_sigmoid(x):
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


def by_prompt(offsets, flat):
    """Split rewards of shape (group, item) into lists by group and prompt."""
    return [np.split(row, offsets[1:-1]) for row in flat]
