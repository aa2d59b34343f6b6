"""Losses, published updates and enumerated sequence models, against direct computation."""

from fractions import Fraction
from itertools import product
from math import exp, log, sqrt

import mpmath as mp
import numpy as np
import pytest
from nlhf_theory import aliases, losses, tokens
from nlhf_theory.definitions import Game
from scipy.optimize import minimize

from nlhf.numerics import log_normalise

PREFERENCE = np.array([[0.5, 0.9, 0.25], [0.1, 0.5, 0.75], [0.75, 0.25, 0.5]])


def logs(*probabilities: float) -> np.ndarray:
    return np.log(np.array([probabilities]))


def sampled(step: float = 0.5) -> losses.Sampled:
    played = Game(PREFERENCE[None], logs(0.5, 0.25, 0.25), 0.4, np.ones(1))
    current = logs(0.2, 0.3, 0.5)
    return losses.Sampled(played, current, current, logs(0.6, 0.3, 0.1), step)


def test_the_loss_of_inpo_is_the_mean_over_all_outcomes():
    x = sampled()
    mu, now, policy = (np.exp(v[0]) for v in (x.game.log_reference, x.current, x.policy))

    def h(y, other):
        kept = 1.0 - x.textbook_step * 0.4
        return (
            log(policy[y] / policy[other])
            - (1.0 - kept) * log(mu[y] / mu[other])
            - kept * log(now[y] / now[other])
        )

    mean = 0.0
    for y, other in product(range(3), repeat=2):
        for winner, loser in ((y, other), (other, y)):
            mean += now[y] * now[other] * PREFERENCE[winner, loser] * (h(winner, loser) - 0.25) ** 2
    assert losses.inpo_loss(x, x.policy[0] + 0j).real == pytest.approx(mean, rel=1e-13)


def test_a_numerical_minimiser_of_the_loss_finds_the_mirror_step():
    x = sampled()
    found = minimize(
        lambda v: losses.inpo_loss(x, np.append(v, 0.0) + 0j).real, np.zeros(2), tol=1e-14
    )
    best = losses.inpo_minimiser(x)[0]
    assert found.x == pytest.approx(best[:2] - best[2], abs=1e-5)


def test_complex_steps_are_the_derivatives_that_mpmath_finds():
    x = sampled()
    mp.mp.dps = 30
    at = [mp.mpf(float(v)) for v in x.policy[0]]
    opponent = np.exp(x.policy[0])

    def objective(*theta):
        raw = [mp.exp(t) for t in theta]
        p = [r / sum(raw) for r in raw]
        return sum(
            p[a]
            * (
                sum(float(PREFERENCE[a, b]) * float(opponent[b]) for b in range(3))
                - mp.mpf(0.4) * (mp.log(p[a]) - mp.mpf(float(x.game.log_reference[0, a])))
            )
            for a in range(3)
        )

    expected = [
        float(mp.diff(objective, at, tuple(int(a == b) for b in range(3)))) for a in range(3)
    ]
    found = losses.gradient(lambda v: losses.self_play_objective(x, v), x.policy[0])
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_published_weights_at_a_half():
    played = Game(PREFERENCE[None], logs(0.5, 0.25, 0.25), 0.5, np.ones(1))
    x = aliases.Named(played, logs(0.2, 0.3, 0.5), Fraction(1, 2), Fraction(2, 3))
    assert aliases.PUBLISHED_ALIASES.satisfied(x)
    expected = (Fraction(3, 4), Fraction(1, 4), Fraction(1, 2))
    assert aliases.ours(x) == expected
    assert {name(x) for name in aliases.PRINTED} == {expected}
    unconverted = aliases.Named(played, x.start, Fraction(1, 2), Fraction(1, 2))
    assert aliases.ours(unconverted) == (Fraction(4, 5), Fraction(1, 5), Fraction(2, 5))


def model(*tables) -> tokens.Model:
    return tuple(log_normalise(np.array(table, dtype=float)) for table in tables)


def random_model(seed: int, vocabulary: int = 2, horizon: int = 3) -> tokens.Model:
    rng = np.random.default_rng(seed)
    return model(*(rng.normal(size=(vocabulary**h, vocabulary)) for h in range(horizon)))


def test_sequences_are_products_of_their_tokens():
    p = random_model(0)
    expected = []
    for a, b, c in product(range(2), repeat=3):
        expected.append(p[0][0, a] + p[1][a, b] + p[2][2 * a + b, c])
    assert tokens.sequence_logs(p) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "peak"), [(0.5, 3.0), (0.1, 8.0)])
def test_the_distance_of_two_mixtures_of_two_tokens_in_closed_form(share, peak):
    # The models agree on the first token, and after the second one of it contradict each other.
    first, flat = [log(share), log(1.0 - share)], [0.0, 0.0]
    p, q = (model([first], [flat, contrary]) for contrary in ([peak, 0.0], [0.0, peak]))
    mass = exp(peak) / (1.0 + exp(peak))
    affinity = 2.0 * sqrt(mass * (1.0 - mass))
    by_sequence = share / (share + (1.0 - share) * affinity)
    x = tokens.Mixed(p, q, 0.5, 0.5)
    whole = np.exp(tokens.sequence_level(p, q, 0.5))
    by_token = np.exp(tokens.sequence_logs(tokens.tokenwise(p, q, 0.5)))
    assert 0.5 * np.abs(whole - by_token).sum() == pytest.approx(by_sequence - share, rel=1e-12)
    assert tokens.is_uneven(x) is (affinity < 1 / 3 and 0.25 <= share <= 0.75)


def test_the_gradient_of_the_divergence_by_finite_differences():
    x = tokens.Trained(random_model(1), random_model(2), random_model(1))
    found = tokens.exact_gradient(x)
    flat = np.concatenate([table.ravel() for table in x.policy])

    def value(logits):
        parts, start = [], 0
        for table in x.policy:
            parts.append(logits[start : start + table.size].reshape(table.shape))
            start += table.size
        return tokens.divergence_of(model(*parts), x.reference)

    step = 1e-5
    for k in range(flat.size):
        shift = step * np.eye(flat.size)[k]
        slope = (value(flat + shift) - value(flat - shift)) / (2 * step)
        assert found[k] == pytest.approx(slope, abs=1e-8)


def test_estimators_are_means_over_sequences():
    x = tokens.Trained(random_model(1), random_model(2), random_model(3))
    for credit, later in ((tokens.own_token, False), (tokens.to_go, True)):
        expected = [np.zeros_like(table) for table in x.policy]
        for y in product(range(2), repeat=3):
            places = [0, y[0], 2 * y[0] + y[1]]
            mass = exp(sum(x.sampler[h][places[h], y[h]] for h in range(3)))
            ratio = [
                x.policy[h][places[h], y[h]] - x.reference[h][places[h], y[h]] for h in range(3)
            ]
            for h in range(3):
                score = np.eye(2)[y[h]] - np.exp(x.policy[h][places[h]])
                expected[h][places[h]] += mass * (sum(ratio[h:]) if later else ratio[h]) * score
        found = tokens.estimated_gradient(x, credit)
        assert found == pytest.approx(np.concatenate([e.ravel() for e in expected]), abs=1e-14)


def test_a_first_token_on_which_the_models_agree_looks_free_token_by_token():
    # After the second token the models differ by KL = log 2, after the first one they agree.
    sure = [50.0, 0.0]
    policy = model([[0.0, 0.0]], [[0.0, 0.0], sure])
    reference = model([[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    x = tokens.Trained(policy, reference, policy)
    exact = tokens.exact_gradient(x)[:2]
    assert exact == pytest.approx([-log(2.0) / 4, log(2.0) / 4])
    assert tokens.estimated_gradient(x, tokens.own_token)[:2] == pytest.approx([0.0, 0.0])
    assert tokens.future(x) == pytest.approx(exact)
