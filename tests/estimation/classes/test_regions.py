import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlhf.estimation.classes import (
    BradleyTerryClass,
    LinearClass,
    Link,
    LowRankClass,
    TabularClass,
    difference_features,
)
from nlhf.estimation.classes.regions import Region, _curvature, log_odds_region, mixture_cost
from nlhf.estimation.classes.rows import Rows
from tests.estimation.classes.compared import told


def divergence(t, s):
    """KL between the answers of log-odds t and s."""
    p, q = 1 / (1 + math.exp(-t)), 1 / (1 + math.exp(-s))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@settings(max_examples=40)
@given(st.floats(-6, 6), st.floats(1e-3, 9))
def test_the_curvature_is_the_least_along_the_way(t, farthest):
    steps = farthest * np.linspace(0.02, 1, 50)
    each = [2 * divergence(t, t + d) / d**2 for d in steps]
    p = 1 / (1 + math.exp(-t))
    least = min(*each, p * (1 - p))
    found = float(_curvature(np.array([t]), np.array([farthest]))[0])
    cancelled = 1e-15 / steps[0] ** 2  # of the divergence over the smallest step
    assert found <= least * (1 + 1e-6) + cancelled
    assert found >= 0.98 * least


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.05, 5))
def test_a_width_is_the_most_that_the_ellipsoid_in_the_ball_allows(seed, reach):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, 2)) * [[1.0], [0.05]]
    matrix = root.T @ root
    eigenvalues, basis = np.linalg.eigh(matrix)
    region = Region(np.zeros(2), np.maximum(eigenvalues, 0.0), basis, 1.0, reach, 0.0)
    angle = np.linspace(0, 2 * np.pi, 2001)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    allowed = np.einsum("ni,ij,nj->n", points, matrix, points)
    points *= np.minimum(reach, 1 / np.sqrt(np.maximum(allowed, 1e-300)))[:, None]
    features = rng.normal(size=(5, 2))
    most = np.abs(features @ points.T).max(axis=1)
    found = region.width(features)
    assert (found >= most * (1 - 1e-9)).all()
    # The multiplier is from a grid of tenfold steps.
    assert (found <= 1.25 * most + 1e-9).all()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_the_cost_of_a_mixture_bounds_the_mixture_itself(seed):
    """The integral over the prior, by quadrature, is at least what the bound says."""
    rng = np.random.default_rng(seed)
    phi, counts = rng.normal(size=(4, 1)), rng.integers(1, 30, size=4).astype(float)
    rows = Rows(phi, counts, np.floor(counts * rng.random(4)), Link.LOG_ODDS)
    grid = np.linspace(-12, 12, 4001)
    payoffs = np.outer(grid, phi[:, 0])
    logs = -np.logaddexp(0, -payoffs) @ rows.wins - np.logaddexp(0, payoffs) @ (counts - rows.wins)
    for scale in (0.5, 1.5):
        prior = np.exp(-(grid**2) / (2 * scale**2)) / (scale * math.sqrt(2 * math.pi))
        mixture = np.trapezoid(np.exp(logs) * prior, grid)
        best = grid[int(np.argmax(logs))]
        bound = logs.max() - mixture_cost(rows, np.array([best]), scale)
        assert math.log(mixture) >= bound - 1e-3


def test_answers_that_weigh_nothing_leave_what_the_class_allows():
    """At log-odds of 1000 the curvature is below the least number."""
    rows = Rows(np.ones((1, 1)), np.array([4.0]), np.array([4.0]), Link.LOG_ODDS)
    region = log_odds_region(rows, np.array([1000.0]), 3.0, 2000.0, np.array([1000.0]))
    assert region.radius == pytest.approx(4 * 2000.0**2)
    assert region.width(np.ones((1, 1))) == pytest.approx(2000.0)


def asked_where_widest(rng, preference, preference_class, delta, rounds=4, batch=60):
    """Whether the truth is missed at any round of a design that asks where it knows least."""
    stages, outcomes, _ = preference.shape
    truth = preference - 0.5
    if preference_class.link is Link.LOG_ODDS:
        truth = np.log(preference) - np.log(1 - preference)
    data = told((stages, outcomes), [])
    cells = rng.integers(preference.size, size=batch)
    for _ in range(rounds):
        rows = []
        for cell in cells:
            at = np.unravel_index(cell, preference.shape)
            rows.append((*at, 1, float(rng.random() < preference[at])))
        data = data.joined(told((stages, outcomes), rows)).condensed()
        found = preference_class.confidence(data, delta)
        error = data.pairs.payoffs(truth - found.model.table) ** 2 @ data.counts
        outside = (np.abs(truth - found.model.table) > found.width + 1e-12).any()
        if outside or error > found.radius:
            return True
        cells = rng.choice(np.argsort(-found.width.ravel())[:6], size=batch)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "linear log-odds", "rewards", "tabular", "low rank"])
@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
def test_no_class_misses_the_truth_too_often_where_it_chooses_what_is_asked(kind):
    """40 runs at δ = 0.1: more than 16 misses have a probability below 1e-6."""
    rng, missed = np.random.default_rng(8), 0
    for _ in range(40):
        phi = difference_features(rng.normal(size=(2, 4, 2)))
        phi /= np.linalg.norm(phi, axis=-1).max()
        theta = rng.normal(size=2)
        theta *= rng.random() / np.linalg.norm(theta)
        r = rng.uniform(-1.2, 1.2, size=(2, 4))
        odds = Link.LOG_ODDS.probability(r[:, :, None] - r[:, None])
        preference_class, preference = {
            "linear": (LinearClass(phi, 0.45), 0.5 + phi @ (0.45 * theta)),
            "linear log-odds": (
                LinearClass(phi, 3.0, Link.LOG_ODDS),
                Link.LOG_ODDS.probability(phi @ (3.0 * theta)),
            ),
            "rewards": (BradleyTerryClass((2, 4), 3.0), odds),
            "tabular": (TabularClass((2, 4)), odds),
            "low rank": (LowRankClass((2, 4), 2, 3.0, starts=0), odds),
        }[kind]
        missed += asked_where_widest(rng, preference, preference_class, 0.1)
    assert missed <= 16
