"""Comparisons for the tests of preference classes, and exact chances of what depends on them."""

from itertools import product

import numpy as np
from scipy.stats import binom

from nlhf.data.preference_data import Pairs, PreferenceData


def told(shape, rows):
    """Return data of rows (stage, first, second, counts, wins)."""
    rows = np.array(rows, dtype=float).reshape(-1, 5)
    stage, first, second = rows[:, :3].astype(np.int64).T
    return PreferenceData(Pairs.in_contexts(shape, stage, first, second), rows[:, 3], rows[:, 4])


def drawn(rng, preference, count):
    """Return so many answers about pairs drawn uniformly, of preferences (L, m, m)."""
    stages, outcomes, _ = preference.shape
    stage, first, second = (rng.integers(n, size=count) for n in (stages, outcomes, outcomes))
    labels = (rng.random(count) < preference[stage, first, second]).astype(float)
    return PreferenceData.of_labels(
        Pairs.in_contexts((stages, outcomes), stage, first, second), labels
    )


def turned(data):
    """Return the same comparisons with the two outcomes of every pair exchanged."""
    pairs = data.pairs
    other = Pairs(pairs.shape, pairs.stage, pairs.second, pairs.first)
    return PreferenceData(other, data.counts, data.counts - data.wins)


def renamed(data, order):
    """Return the comparisons after outcome i was renamed to order[i]."""
    pairs = data.pairs
    other = Pairs(pairs.shape, pairs.stage, order[pairs.first], order[pairs.second])
    return PreferenceData(other, data.counts, data.wins)


def chances_in_two_steps(preference, opening, replies, count, events):
    """Return the exact probabilities of events under a design that looks at the answers.

    The opening pair (stage, first, second) is compared `count` times, and then, so often again,
    the first of two pairs if the opening's first won at least half of them, the second if not.
    `events` says of the data which events they are in.
    """
    shape = preference.shape[:2]
    total = 0.0
    for won, more in product(range(count + 1), repeat=2):
        reply = replies[0] if 2 * won >= count else replies[1]
        chance = binom.pmf(won, count, preference[opening])
        chance *= binom.pmf(more, count, preference[reply])
        data = told(shape, [(*opening, count, won), (*reply, count, more)])
        total = total + chance * np.array(events(data), dtype=float)
    return total


def failures(preference_class, truth, delta, shrink):
    """Return the events that a confidence set misses the truth, as it is and shrunk: a control."""

    def events(data):
        found = preference_class.confidence(data, delta)
        apart = np.abs(truth - found.model.table)
        error = data.pairs.payoffs(truth - found.model.table) ** 2 @ data.counts
        return [
            (apart > scale * found.width + 1e-12).any() or error > scale * found.radius
            for scale in (1.0, shrink)
        ]

    return events
