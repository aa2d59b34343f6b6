"""RLP-UML: the divergence, the bound, the loss's gradients, and the linear-Gaussian case."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.learning.reward_on_policy import (
    ViewLoss,
    code_correlation,
    critical_ratio,
    jensen_shannon_information,
    view_loss,
)
from nlhf.lm.judges.reward_heads import BradleyTerryReward
from nlhf.lm.judges.training import FitSettings, fit_pairs
from nlhf.lm.reward_on_policy.codes import (
    Critic,
    GaussianHeads,
    Gaussians,
    jensen_shannon_bound,
    symmetric_divergence,
)
from nlhf.lm.reward_on_policy.uml import MultiView, MultiViewTerm, fit_multi_view_reward
from nlhf.streams import Stream
from tests.lm.judges.tiny import PAD, gpt2, random_pairs, random_responses


def gaussians(seed, rows=5, code=3):
    generator = Stream(seed).generator()
    return Gaussians(
        torch.from_numpy(generator.normal(size=(rows, code))),
        torch.from_numpy(generator.uniform(0.3, 2.0, (rows, code))),
    )


def test_the_divergence_is_the_closed_form_of_both_directions():
    p, q = gaussians(1), gaussians(2)
    laws = [
        torch.distributions.Independent(torch.distributions.Normal(one.mean, one.scale), 1)
        for one in (p, q)
    ]
    expected = sum(torch.distributions.kl_divergence(a, b) for a, b in (laws, laws[::-1])) / 2
    torch.testing.assert_close(symmetric_divergence(p, q), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(symmetric_divergence(q, p), expected, rtol=1e-12, atol=0)
    assert symmetric_divergence(p, p).tolist() == [0.0] * 5


def test_the_divergence_is_the_mean_of_the_sampled_one():
    p, q = gaussians(1, rows=1), gaussians(2, rows=1)
    noise = torch.from_numpy(Stream(3).generator().standard_normal((40000, 3)))
    z1, z2 = p.sample(noise), q.sample(noise.flip(0))
    each = (p.log_density(z1) - q.log_density(z1) + q.log_density(z2) - p.log_density(z2)) / 2
    error = float(each.std()) / math.sqrt(len(each))
    assert abs(float(each.mean()) - float(symmetric_divergence(p, q)[0])) < 4 * error


def log_ratio(x, y, rho):
    square = (x * x - 2 * rho * x * y + y * y) / (1 - rho * rho) - x * x - y * y
    return -0.5 * square - 0.5 * math.log1p(-rho * rho)


def grid(rho):
    """A product grid with the masses of the joint and of the independent normal pair."""
    nodes = np.linspace(-8.0, 8.0, 401)
    x, y = np.meshgrid(nodes, nodes)
    apart = np.exp(-0.5 * (x * x + y * y))
    joint = apart * np.exp(log_ratio(x, y, rho))
    return x, y, joint / joint.sum(), apart / apart.sum()


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_the_bound_at_the_best_critic_is_the_jensen_shannon_divergence(rho):
    # Repeating grid points in proportion to their masses would need weights: draw instead, and
    # compare the same critic's integral by quadrature with the theory's number.
    x, y, joint, apart = grid(rho)
    critic = log_ratio(x, y, rho)
    integral = -(joint * np.logaddexp(0, -critic)).sum() - (apart * np.logaddexp(0, critic)).sum()
    assert integral + 2 * math.log(2) == pytest.approx(jensen_shannon_information(rho), abs=1e-6)
    generator = Stream(4).generator()
    a, b, c = generator.standard_normal((3, 60000))
    other = rho * a + math.sqrt(1 - rho * rho) * b
    bound = jensen_shannon_bound(
        torch.from_numpy(log_ratio(a, other, rho)), torch.from_numpy(log_ratio(a, c, rho))
    )
    assert float(bound) == pytest.approx(integral, abs=0.012)  # 4 s.e. of 0.003


def test_the_bound_by_adaptive_quadrature_agrees_too():
    rho = 0.6

    def term(y, x):
        density = math.exp(-0.5 * (x * x + y * y)) / (2 * math.pi)
        ratio = math.exp(log_ratio(x, y, rho))
        return density * (-ratio * math.log1p(1 / ratio) - math.log1p(ratio))

    found, _ = dblquad(term, -7, 7, -7, 7, epsabs=1e-7)
    assert found + 2 * math.log(2) == pytest.approx(jensen_shannon_information(rho), abs=1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_no_other_critic_exceeds_the_bound(factor):
    rho = 0.7
    x, y, joint, apart = grid(rho)
    critic = factor * log_ratio(x, y, rho)
    value = -(joint * np.logaddexp(0, -critic)).sum() - (apart * np.logaddexp(0, critic)).sum()
    assert value < jensen_shannon_information(rho) - 2 * math.log(2) - 1e-3
    if factor == 0.0:
        zeros = torch.zeros(4, dtype=torch.float64)
        assert float(jensen_shannon_bound(zeros, zeros)) == pytest.approx(-2 * math.log(2))


def linear_gaussian_loss(gain, ratio, seed=5, count=60000):
    """Our loss on codes z = sqrt(s) h + noise, with the best critic of their correlation."""
    generator = Stream(seed).generator()
    common, w1, w2, e1, e2, far = generator.standard_normal((6, count))
    h1, h2 = math.sqrt(ratio) * common + w1, math.sqrt(ratio) * common + w2
    p, q = (
        Gaussians(
            torch.from_numpy(math.sqrt(gain) * h)[:, None],
            torch.ones(count, 1, dtype=torch.float64),
        )
        for h in (h1, h2)
    )
    rho = code_correlation(gain, ratio)
    scale = math.sqrt(1 + gain * (1 + ratio))
    z1 = p.sample(torch.from_numpy(e1)[:, None])[:, 0].numpy() / scale
    z2 = q.sample(torch.from_numpy(e2)[:, None])[:, 0].numpy() / scale
    bound = jensen_shannon_bound(
        torch.from_numpy(log_ratio(z1, z2, rho)), torch.from_numpy(log_ratio(z1, far, rho))
    )
    return float(symmetric_divergence(p, q).mean() - bound) - 2 * math.log(2)


def test_the_linear_gaussian_loss_has_the_theorys_value_and_sign():
    threshold = critical_ratio(1.0, ViewLoss.JENSEN_SHANNON)
    gain = threshold.gain
    kept, dropped = 3 * threshold.ratio, threshold.ratio / 3
    for ratio in (kept, dropped):
        exact = view_loss(ViewLoss.JENSEN_SHANNON, gain, ratio)
        assert linear_gaussian_loss(gain, ratio) == pytest.approx(exact, abs=0.015)  # 4 s.e.
    # A direction that responses share is worth a code, one that varies within a prompt is not.
    assert linear_gaussian_loss(gain, kept) < -0.02
    assert linear_gaussian_loss(gain, dropped) > 0.02


def trained_gain(ratio, seed=6):
    """The signal left in a one-dimensional code after training heads and critic on features."""
    like = torch.zeros(1)
    loss = MultiView(1, Stream(seed), like, code=1, width=16)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    generator = Stream(seed).child("data").generator()
    for step in range(250):
        common, w1, w2 = generator.standard_normal((3, 64, 1))
        h1, h2 = (
            torch.from_numpy(math.sqrt(ratio) * common + w).float() / math.sqrt(1 + ratio)
            for w in (w1, w2)
        )
        terms = loss(h1, h2, Stream(seed).child(step))
        optimiser.zero_grad()
        terms.loss.backward()
        optimiser.step()
    return float(terms.bound.detach()) + 2 * math.log(2), float(terms.divergence.detach())


@pytest.mark.slow
def test_trained_codes_keep_what_responses_share_and_drop_what_varies():
    shared, _ = trained_gain(200.0)
    lost, divergence = trained_gain(1.0)
    assert shared > 0.3
    assert lost < 0.1
    assert divergence < 0.1


def reward_of(double=True):
    return BradleyTerryReward.on(gpt2(double=double), pad=PAD, stream=Stream(3))


def term_of(reward, **settings):
    like = next(reward.parameters())
    loss = MultiView(reward.encoder.width, Stream(2), like, code=4, width=8)
    views = random_responses(7, prompts=5, responses=3)
    return MultiViewTerm(reward.encoder, loss, views, Stream(1), **settings)


def gradients(term, reward):
    reward.zero_grad()
    term.loss.zero_grad()
    value = term.accumulate(3)
    found = [*reward.encoder.parameters(), *term.loss.parameters()]
    return value, [one.grad.clone() for one in found]


def test_gradients_are_the_same_for_every_micro_batch():
    reward = reward_of()
    value, whole = gradients(term_of(reward, batch=4, micro_batch=8), reward)
    for micro_batch in (1, 3):
        other, parts = gradients(term_of(reward, batch=4, micro_batch=micro_batch), reward)
        assert other == pytest.approx(value, rel=1e-10)
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_the_gradient_is_that_of_lambda_times_the_loss():
    reward = reward_of()
    term = term_of(reward, batch=4, weight=0.5)
    value, found = gradients(term, reward)
    rows = term._drawn(Stream(1).child("step", 3))
    first, second = reward.encoder(rows).chunk(2)
    terms = term.loss(first, second, Stream(1).child("step", 3).child("codes"))
    everything = [*reward.encoder.parameters(), *term.loss.parameters()]
    expected = torch.autograd.grad(0.5 * terms.loss, everything)
    assert value == pytest.approx(0.5 * float(terms.loss.detach()), rel=1e-12)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_the_weight_zero_is_plain_bradley_terry():
    pairs = random_pairs(4)
    settings = FitSettings(learning_rate=1e-2, epochs=2, batch=4, micro_batch=2)
    fitted = []
    for weight in (None, 0.0, 0.5):
        reward = reward_of()
        if weight is None:
            fit = fit_pairs(reward, pairs, pairs, settings, Stream(0))
        else:
            term = term_of(reward, weight=weight)
            fit = fit_multi_view_reward(reward, pairs, pairs, term, settings, Stream(0))
        fitted.append((fit, [one.detach().clone() for one in reward.parameters()]))
    (plain, without), (zero, same), (full, other) = fitted
    assert zero.epochs == plain.epochs
    assert all(torch.equal(a, b) for a, b in zip(without, same, strict=True))
    assert any(not torch.allclose(a, b) for a, b in zip(without, other, strict=True))
    assert full.epochs[-1].auxiliary != 0.0


def test_heads_and_critic_have_the_shapes_they_say():
    like = torch.zeros(1)
    law = GaussianHeads(6, 2, 5, Stream(0), like)(torch.ones(3, 6))
    assert law.mean.shape == law.scale.shape == (3, 2)
    assert bool((law.scale > 0).all())
    critic = Critic(2, 5, Stream(0), like)
    z1, z2 = (torch.from_numpy(Stream(k).generator().normal(size=(3, 2))).float() for k in (1, 2))
    table = critic(z1, z2)
    alone = critic(z1[1:2], z2[2:3])
    torch.testing.assert_close(table[1, 2], alone[0, 0])


def test_wrong_asks_are_refused():
    reward, pairs = reward_of(), random_pairs(4)
    term = term_of(reward)
    views = random_responses(7, prompts=1, responses=3)
    with pytest.raises(InvalidData, match="at least 2 responses to each"):
        MultiViewTerm(reward.encoder, term.loss, views, Stream(1))
    with pytest.raises(HypothesisViolated, match="weight -1"):
        term_of(reward, weight=-1.0)
    with pytest.raises(HypothesisViolated, match="another backbone"):
        fit_multi_view_reward(reward_of(), pairs, pairs, term, FitSettings(), Stream(0))
    with torch.no_grad():
        term.loss.critic.network.layers[0].weight.fill_(float("nan"))
    with pytest.raises(InvalidData, match="step 2: the multi-view loss is not finite"):
        term.accumulate(2)
