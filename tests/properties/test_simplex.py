import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlhf.errors import HypothesisViolated, InvalidProblem
from nlhf.numerics import kl_divergence, log_normalise
from nlhf.spaces.policy import Policy
from nlhf.spaces.simplex import Simplex


def policy_from(seed: int, n: int, scale: float = 2.0) -> Policy:
    return Policy(log_normalise(np.random.default_rng(seed).normal(scale=scale, size=n)))


cases = st.tuples(st.integers(0, 10**6), st.integers(2, 7), st.floats(1e-3, 10.0))


def objective(policy: Policy, payoff: np.ndarray, anchors) -> float:
    pull = sum(
        s * float(kl_divergence(policy.log_probabilities, a.log_probabilities)) for a, s in anchors
    )
    return float(policy.probabilities @ payoff) - pull


@given(cases)
def test_prox_is_the_maximiser_and_every_other_policy_loses_exactly_its_divergence(case):
    seed, n, strength = case
    payoff = np.random.default_rng(seed).uniform(size=n)
    anchors = [(policy_from(seed + 1, n), strength), (policy_from(seed + 2, n), 2 * strength)]
    best = Simplex(n, np.ones(1)).prox(payoff, anchors).strategy
    other = policy_from(seed + 3, n)
    loss = objective(best, payoff, anchors) - objective(other, payoff, anchors)
    divergence = float(kl_divergence(other.log_probabilities, best.log_probabilities))
    assert loss == pytest.approx(3 * strength * divergence, rel=1e-9, abs=1e-10)


@given(cases, st.floats(-5, 5), st.floats(0.01, 100))
def test_prox_ignores_payoff_shifts_and_joint_scaling(case, shift, factor):
    seed, n, strength = case
    space, anchor = Simplex(n, np.ones(1)), policy_from(seed, n)
    payoff = np.random.default_rng(seed).uniform(size=n)
    base = space.prox(payoff, [(anchor, strength)]).strategy.log_probabilities
    shifted = space.prox(payoff + shift, [(anchor, strength)]).strategy.log_probabilities
    scaled = space.prox(factor * payoff, [(anchor, factor * strength)]).strategy.log_probabilities
    tolerance = 1e-13 * (1 + (abs(shift) + 1) / strength)
    np.testing.assert_allclose(shifted, base, rtol=0, atol=tolerance)
    np.testing.assert_allclose(scaled, base, rtol=0, atol=tolerance)


def test_no_payoff_is_a_zero_payoff():
    space, anchors = Simplex(3, np.ones(1)), [(policy_from(0, 3), 1.0), (policy_from(1, 3), 0.5)]
    np.testing.assert_array_equal(
        space.prox(None, anchors).strategy.log_probabilities,
        space.prox(np.zeros(3), anchors).strategy.log_probabilities,
    )


@pytest.mark.parametrize("strengths", [[0.0], [-1.0, 2.0], []])
def test_a_prox_without_positive_strength_is_refused(strengths):
    anchors = [(policy_from(i, 3), s) for i, s in enumerate(strengths)]
    with pytest.raises(HypothesisViolated, match="strengths"):
        Simplex(3, np.ones(1)).prox(np.zeros(3), anchors)


def test_the_best_response_breaks_ties_by_the_lowest_index():
    response = Simplex(3, np.ones(1)).best_response(np.array([1.0, 2.0, 2.0]))
    np.testing.assert_array_equal(response.probabilities, [0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0.5, 0.6], r"^the policy sums to 1 \+ 0\.1 "),
        ([[0.5, 0.5], [0.5, 0.4]], r"of context 1 sums to 1 - 0\.1 "),
        ([1.5, -0.5], r"entry \(1,\) is"),
        ([0.5, float("nan")], r"entry \(1,\) is nan"),
        (1.0, "shape"),
        ([], "shape"),
    ],
)
def test_what_is_not_a_policy_is_refused_with_the_entry_named(bad, message):
    with pytest.raises(InvalidProblem, match=message):
        Policy.of(bad)


def test_policies_cannot_be_written_to():
    policy = Policy.of([0.25, 0.75])
    with pytest.raises(ValueError, match="read-only"):
        policy.log_probabilities[0] = 0.0


@given(cases)
def test_divergence_is_the_weighted_mean_over_contexts(case):
    seed, n, _ = case
    rng = np.random.default_rng(seed)
    p, q = (Policy(log_normalise(rng.normal(size=(4, n)))) for _ in range(2))
    weights = rng.dirichlet(np.ones(4))
    whole = Simplex(n, weights).divergence(p, q).value
    parts = [
        float((np.exp(a) * (a - b)).sum())
        for a, b in zip(p.log_probabilities, q.log_probabilities, strict=True)
    ]
    assert whole == pytest.approx(float(weights @ parts), rel=1e-9, abs=1e-14)
