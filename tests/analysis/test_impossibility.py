"""The impossibility construction: identities, bounds, limits and invariances."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize

from nlhf.analysis.impossibility import impossibility
from nlhf.analysis.population import Population
from nlhf.errors import HypothesisViolated, InvalidProblem, SolverFailed
from nlhf.spaces.policy import Policy
from nlhf.streams import Stream
from tests.unchecked import raised


def drawn(seed: int, groups: int = 3, responses: int = 5, features: int = 2) -> Population:
    rng = Stream(seed).child("population", groups, responses, features).generator()
    return Population.of(
        rng.normal(size=(responses, features)),
        1.5 * rng.normal(size=(groups, features)),
        temperature=float(np.exp(rng.normal())),
        proportions=rng.dirichlet(np.ones(groups)),
        reference=Policy.of(rng.dirichlet(np.ones(responses))),
        pair_law=law(rng, responses),
    )


def law(rng: np.random.Generator, responses: int) -> np.ndarray:
    weights = np.triu(rng.random((responses, responses)), 1)
    return weights / weights.sum()


def exact(seed: int, groups: int = 3, features: int = 2) -> Population:
    """A population of which only a path of features + 1 responses is compared."""
    rng = Stream(seed).child("path", groups, features).generator()
    n = features + 2
    path = np.zeros((n, n))
    path[np.arange(features), np.arange(features) + 1] = rng.dirichlet(np.ones(features))
    return Population.of(
        rng.normal(size=(n, features)),
        1.5 * rng.normal(size=(groups, features)),
        temperature=float(np.exp(rng.normal())),
        proportions=rng.dirichlet(np.ones(groups)),
        pair_law=path,
    )


def sigma(x):
    return 1.0 / (1.0 + np.exp(-x))


SEEDS = pytest.mark.parametrize("seed", range(12))


@SEEDS
def test_the_pooled_parameter_minimises_the_pooled_loss(seed):
    population = drawn(seed)
    found = impossibility(population)
    z, weights = population.differences, population.pair_weights
    share = population.proportions @ sigma(population.parameters @ z.T)

    def loss(at):
        odds = z @ at
        return weights @ (share * np.logaddexp(0, -odds) + (1 - share) * np.logaddexp(0, odds))

    other = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-10}).x
    assert found.pooled_parameter == pytest.approx(other, abs=1e-6)
    assert found.score <= 1e-14
    residual = z.T @ (weights * (sigma(z @ found.pooled_parameter) - share))
    assert np.abs(residual).max() <= 1e-13


@SEEDS
def test_the_gap_is_the_same_by_both_routes_and_never_negative(seed):
    found = impossibility(drawn(seed))
    assert found.gaps == pytest.approx(found.gaps_of_objectives, abs=1e-12)
    assert (found.gaps >= 0).all()


@SEEDS
def test_the_gap_is_the_integral_of_the_variance_along_the_segment(seed):
    population = drawn(seed)
    found = impossibility(population)
    change = population.parameters[found.minority] - found.pooled_parameter
    rewards = population.features @ change

    def variance(t: float) -> float:
        at = found.pooled_parameter + t * change
        weights = population.reference.probabilities * np.exp(
            population.features @ at / population.temperature
        )
        weights /= weights.sum()
        return (1.0 - t) * float(weights @ (rewards - weights @ rewards) ** 2)

    integral, _ = quad(variance, 0.0, 1.0, epsabs=1e-13, limit=200)
    assert found.gap == pytest.approx(integral / population.temperature, rel=1e-8)


@pytest.mark.parametrize("groups", [2, 3, 4])
@SEEDS
def test_what_is_proved_of_any_population_holds(seed, groups):
    population = drawn(seed, groups)
    found = impossibility(population)
    u = found.minority
    assert found.gap_bounds.segment <= found.gap
    assert found.mismatch_bounds.moments <= found.mismatch[u]
    if groups == 2:
        assert found.mismatch_bounds.published <= found.mismatch_bounds.two_groups
        assert found.mismatch_bounds.two_groups <= found.mismatch[u]
    own = sigma(population.parameters @ population.differences.T)
    pooled = population.proportions @ own
    distance = float(population.pair_weights @ np.abs(pooled - own[u]))
    y = (1 - population.proportions[u]) * found.epsilon
    assert y <= distance + 1e-15
    if groups == 2:
        assert distance == pytest.approx(y, rel=1e-12)


@pytest.mark.parametrize("groups", [2, 3, 4])
@SEEDS
def test_what_is_proved_of_an_exact_pooled_model_holds(seed, groups):
    found = impossibility(exact(seed, groups))
    assert found.realisable
    assert found.mismatch_bounds.sharp <= found.mismatch[found.minority]
    assert found.mismatch_bounds.sharp == pytest.approx(8 * found.mismatch_bounds.published)
    assert found.gap_bounds.repaired <= found.gap


def test_a_mixture_is_in_general_not_bradley_terry():
    assert not impossibility(drawn(0)).realisable


@pytest.mark.parametrize("others", [0.1, 1e-6, 1e-12])
def test_a_model_is_not_exact_because_nearly_everybody_is_of_one_group(others):
    law = np.zeros((3, 3))
    law[0, 1], law[0, 2] = 1 / 3, 2 / 3
    population = Population.of(
        [[15.0], [-15.0], [14.0]],
        np.log([[29 / 28], [100.0]]),
        temperature=1.0,
        proportions=[1 - others, others],
        pair_law=law,
    )
    found = impossibility(population, group=0)
    assert not found.realisable
    assert found.mismatch_bounds.two_groups < found.mismatch[0] < found.mismatch_bounds.sharp


def test_distances_are_a_metric_between_labelled_comparisons():
    found = impossibility(drawn(3, groups=5))
    d = found.diversity
    assert np.array_equal(d, d.T)
    assert (d.diagonal() == 0).all()
    assert (d[:, None, :] <= d[:, :, None] + d.T[None] + 1e-15).all()
    assert d.max() <= 1.0
    assert d[found.minority, found.opposite] == d.max()
    others = [d[k, found.opposite] for k in range(5) if k != found.minority]
    assert found.epsilon == d.max() - max(others)


def test_people_who_agree_lose_nothing():
    same = np.tile([[0.7, -0.2]], (3, 1))
    found = impossibility(Population.cross_polytope(same, temperature=0.5))
    assert found.gaps == pytest.approx(0.0, abs=1e-30)
    assert found.mismatch == pytest.approx(0.0, abs=1e-15)
    assert found.epsilon == pytest.approx(0.0, abs=1e-15)
    assert found.gap_bounds.repaired == pytest.approx(0.0, abs=1e-30)


def test_one_group_loses_nothing():
    found = impossibility(Population.of([[1.0], [0.0]], [[2.0]], temperature=1.0))
    assert found.epsilon == 0.0
    assert found.gap == pytest.approx(0.0, abs=1e-30)


def crossed(distance: float, share: float, beta: float = 1.0):
    parameters = [[0.5, 0.0], [0.5 + distance, 0.0]]
    population = Population.cross_polytope(
        parameters, temperature=beta, proportions=[1 - share, share]
    )
    return impossibility(population, group=1)


def test_the_gap_vanishes_quadratically_as_groups_meet_and_the_transcribed_bound_linearly():
    near, nearer = crossed(1e-4, 0.2), crossed(1e-5, 0.2)
    assert near.gap / nearer.gap == pytest.approx(100.0, rel=1e-3)
    assert near.gap_bounds.repaired / nearer.gap_bounds.repaired == pytest.approx(100.0, rel=1e-3)
    ratio = near.gap_bounds.transcribed / nearer.gap_bounds.transcribed
    assert ratio == pytest.approx(10.0, rel=1e-3)
    assert nearer.gap_bounds.transcribed > nearer.gap
    assert nearer.gap_bounds.segment == pytest.approx(nearer.gap, rel=1e-3)


def test_the_gap_vanishes_as_a_group_becomes_everybody():
    gaps = [crossed(1.0, share).gap for share in (0.1, 0.5, 0.9, 0.99, 0.999)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-2] / gaps[-1] == pytest.approx(100.0, rel=0.05)


def test_at_fixed_policies_the_gap_is_of_the_order_of_beta():
    def scaled(beta: float):
        parameters = beta * np.array([[0.5, 0.0], [1.5, 0.0]])
        population = Population.cross_polytope(parameters, temperature=beta, proportions=[0.8, 0.2])
        return impossibility(population, group=1)

    cold, colder = scaled(1e-3), scaled(1e-4)
    assert cold.gap / colder.gap == pytest.approx(10.0, rel=1e-3)
    assert cold.gap_bounds.repaired / colder.gap_bounds.repaired == pytest.approx(10.0, rel=1e-3)
    assert cold.gap_bounds.squared == pytest.approx(colder.gap_bounds.squared, rel=1e-3)
    assert colder.gap_bounds.squared > colder.gap > colder.gap_bounds.repaired


@given(angle=st.floats(0.0, 6.28), seed=st.integers(0, 5))
def test_rotating_features_and_parameters_changes_nothing(angle, seed):
    base = drawn(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = Population.of(
        base.features @ turn.T,
        base.parameters @ turn.T,
        temperature=base.temperature,
        proportions=base.proportions,
        reference=base.reference,
        pair_law=base.pair_law,
    )
    one, other = impossibility(base), impossibility(turned)
    assert other.pooled_parameter == pytest.approx(turn @ one.pooled_parameter, abs=1e-11)
    for name in ("gaps", "diversity", "mismatch", "radius", "pair_gram", "epsilon"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9, abs=1e-13), name
    assert other.gap_bounds.segment == pytest.approx(one.gap_bounds.segment, rel=1e-9)


@SEEDS
def test_the_order_of_groups_does_not_matter(seed):
    base = drawn(seed)
    order = Stream(seed).child("order").generator().permutation(3)
    mixed = Population.of(
        base.features,
        base.parameters[order],
        temperature=base.temperature,
        proportions=base.proportions[order],
        reference=base.reference,
        pair_law=base.pair_law,
    )
    one, other = impossibility(base), impossibility(mixed)
    assert order[other.minority] == one.minority
    assert other.gaps == pytest.approx(one.gaps[order], rel=1e-9)
    assert other.epsilon == pytest.approx(one.epsilon, abs=1e-15)


@SEEDS
def test_shifting_features_moves_the_radius_alone(seed):
    base = drawn(seed)
    one, other = impossibility(base), impossibility(base.centred)
    assert other.gaps == pytest.approx(one.gaps, rel=1e-9)
    assert other.mismatch == pytest.approx(one.mismatch, rel=1e-9)
    assert other.pair_gram == pytest.approx(one.pair_gram, rel=1e-9)


def test_the_concrete_instance_of_the_audit():
    # The numbers are those of the audit, which were computed by other code.
    features = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    for delta, gap, claimed in ((0.003, 1.354e-6, 1.577e-6), (0.001, 1.50e-7, 5.27e-7)):
        population = Population.of(
            features, [[0.5, 0], [0.5 + delta, 0]], temperature=1.0, proportions=[0.8, 0.2]
        )
        found = impossibility(population)
        assert found.minority == 1
        assert found.gap == pytest.approx(gap, rel=3e-3)
        assert found.gap_bounds.transcribed == pytest.approx(claimed, rel=1e-3)


def test_two_responses_in_forty_digits():
    mp.mp.dps = 40
    own, other, share, beta = mp.mpf("0.5"), mp.mpf(4) / 7, mp.mpf("0.5"), mp.mpf(1) / 3
    pooled = share * own + (1 - share) * other
    odds = mp.log(pooled / (1 - pooled)) / beta
    p = 1 / (1 + mp.e**-odds)
    gap = beta * (p * mp.log(2 * p) + (1 - p) * mp.log(2 * (1 - p)))
    population = Population.of(
        [[0.5], [-0.5]],
        [[0.0], [float(mp.log(other / (1 - other)))]],
        temperature=float(beta),
        proportions=[0.5, 0.5],
    )
    found = impossibility(population)
    epsilon = other - own
    assert found.gap == pytest.approx(float(gap), rel=1e-13)
    assert found.epsilon == pytest.approx(float(epsilon), rel=1e-14)
    claimed = (1 - p) * epsilon * (1 - share) / (64 * beta**2 / 4)
    assert found.gap_bounds.transcribed == pytest.approx(float(claimed), rel=1e-13)
    assert claimed > gap


def test_tiny_gaps_are_accurate_where_the_difference_of_objectives_is_not():
    mp.mp.dps = 60
    delta = 1e-9
    found = crossed(delta, 0.5)
    first, second = mp.mpf("0.5"), mp.mpf(0.5 + delta)

    def chance(x):
        return 1 / (1 + mp.e ** (-2 * x))

    pooled = (chance(first) + chance(second)) / 2
    at = mp.log(pooled / (1 - pooled)) / 2

    def policy(x):
        raw = [mp.e**x, mp.mpf(1), mp.e**-x, mp.mpf(1)]
        return [r / sum(raw) for r in raw]

    gap = sum(p * mp.log(p / q) for p, q in zip(policy(at), policy(second), strict=True))
    # φ* is known to about 1e-16, which is 1e-6 of the distance.
    assert found.gap == pytest.approx(float(gap), rel=1e-5)


def test_the_smaller_of_the_most_distant_groups_is_the_minority_unless_asked():
    parameters = [[0.0], [1.0], [0.1]]
    population = Population.of(
        [[1.0], [-1.0]], parameters, temperature=1.0, proportions=[0.5, 0.3, 0.2]
    )
    assert impossibility(population).minority == 1
    assert impossibility(population, group=0).minority == 0
    with pytest.raises(HypothesisViolated, match="group 2 is not one of the most diverse pair"):
        impossibility(population, group=2)


def test_features_that_no_comparison_tells_are_refused():
    law = np.zeros((3, 3))
    law[0, 1] = 1.0
    population = Population.of(
        [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [[1.0, 1.0]], temperature=1.0, pair_law=law
    )
    with pytest.raises(HypothesisViolated, match="span 1 of 2 features"):
        impossibility(population)


def test_a_reference_that_leaves_a_response_out_is_refused():
    population = Population.of(
        [[1.0], [0.0]], [[1.0]], temperature=1.0, reference=Policy.of([1.0, 0.0])
    )
    with pytest.raises(HypothesisViolated, match="never plays response 1"):
        impossibility(population)


@pytest.mark.parametrize("seed", range(6))
def test_nearly_collinear_features_are_named_as_the_cause(seed):
    """Their score is nearly zero at any parameter, so that it says nothing of the solution."""
    rng = Stream(seed).child("collinear").generator()
    first = rng.normal(size=(6, 1))
    features = np.hstack([first, first + 1e-10 * rng.normal(size=(6, 1))])
    population = Population.of(features, rng.normal(size=(3, 2)), temperature=1.0)
    with pytest.raises(SolverFailed, match=r"condition number of the differences is .*e\+1"):
        impossibility(population)


@pytest.mark.parametrize("spread", [1e-4, 1e-5, 1e-6])
def test_the_segment_bound_is_below_the_gap_however_ill_conditioned(spread):
    for seed in range(20):
        rng = Stream(seed).child("ill-conditioned").generator()
        first = rng.normal(size=(5, 1))
        features = np.hstack([first, first + spread * rng.normal(size=(5, 1))])
        parameters = rng.normal(size=(2, 2)) / np.array([1.0, 1e3 * spread])
        try:
            found = impossibility(Population.of(features, parameters, temperature=1.0))
        except SolverFailed:
            continue
        assert found.gap_bounds.segment <= found.gap


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"proportions": [0.5, 0.6]}, "sum 1 \\+0.1"),
        ({"proportions": [1.0]}, "shape \\(1,\\)"),
        ({"parameters": [[1.0, 2.0], [0.0, 1.0]]}, "2 groups have 2"),
        ({"features": [[1.0], [np.nan]]}, "1 entries that are not finite"),
        ({"features": [[1.0]]}, "1 responses"),
        ({"pair_law": [[0.5, 0.5], [0.0, 0.0]]}, "compares response 0 with itself"),
        ({"reference": Policy.of([0.2, 0.3, 0.5])}, "shape \\(3,\\)"),
    ],
)
def test_what_is_no_population_is_refused_with_numbers(change, message):
    arguments = {
        "features": [[1.0], [0.0]],
        "parameters": [[1.0], [2.0]],
        "temperature": 1.0,
    } | change
    features, parameters = arguments.pop("features"), arguments.pop("parameters")
    with pytest.raises(InvalidProblem, match=message):
        Population.of(features, parameters, **arguments)


def test_wrong_kinds_of_arguments_are_refused_in_words():
    setting = "from nlhf.analysis.population import Population; f, p = [[1.0], [0.0]], [[1.0]]"
    wanted = {
        "Population.of(f, p, temperature='1')": "the temperature is '1'",
        "Population.of(f, p, temperature=None)": "the temperature is None",
        "Population.of(f, p, temperature=1.0, reference=[0.5, 0.5])": "is a list, not a policy",
        "Population.of([1.0, 0.0], p, temperature=1.0)": r"features have shape (2,)",
    }
    for call, (kind, message) in raised(setting, wanted).items():
        assert kind == "InvalidProblem", call
        assert wanted[call] in message


@SEEDS
def test_large_rewards_are_fitted_too(seed):
    rng = Stream(seed).child("large").generator()
    population = Population.of(
        rng.normal(size=(4, 2)), 12.0 * rng.normal(size=(2, 2)), temperature=1.0
    )
    found = impossibility(population)
    assert found.score <= 1e-13
    assert found.mismatch_bounds.two_groups <= found.mismatch[found.minority]
