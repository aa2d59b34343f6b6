"""Mixtures of language models, sampled and scored, against the same mixtures on the tree."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from nlhf.errors import Unsupported
from nlhf.lm.draws import Enumerated
from nlhf.lm.enumerate import Enumeration, leaves
from nlhf.lm.realisers.audit import residual_of
from nlhf.lm.realisers.base import Blending, blended
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.responses import Prompts, Responses, joined, uniform_weights
from nlhf.lm.sequences.decoding import decode_tokenwise
from nlhf.lm.space import LanguageSpace
from nlhf.lm.strategies import GeometricMixture, Mixture, TokenwiseMixture
from nlhf.results import Knows
from nlhf.spaces.realisers import SoftBellman
from nlhf.spaces.realisers import TokenwiseMixture as TreeTokenwise
from nlhf.streams import Stream
from tests.lm.tiny import ARCHITECTURES, HORIZON, LEAVES, PROMPTS, VOCABULARY, moved, tiny_model

FALSE_ALARM = 1e-6


def bridge_of(kind="llama"):
    model = tiny_model(kind)
    return model, Enumeration(model, PROMPTS, VOCABULARY), moved(model, 1), moved(model, 2)


def responses_of(prompts: Prompts, count: int) -> Responses:
    """As many responses, of zeros."""
    shape = (len(prompts), count)
    tokens = torch.zeros((*shape, HORIZON), dtype=torch.long)
    return Responses(prompts, tokens, torch.full(shape, HORIZON), uniform_weights(*shape))


def misfit(drawn, probabilities) -> float:
    """The probability, under these probabilities, of frequencies as far off as the drawn ones.

    Cells with less than 5 expected responses are pooled with the smallest kept one.
    """
    statistic, freedom, count = 0.0, 0, drawn.shape[1]
    for x, row in enumerate(probabilities):
        seen = np.bincount(leaves(drawn, VOCABULARY)[x], minlength=LEAVES)
        order = np.argsort(row)[::-1]
        expected, seen = count * row[order], seen[order]
        kept = max(int((expected >= 5.0).sum()) - 1, 0)
        expected = np.append(expected[:kept], expected[kept:].sum())
        seen = np.append(seen[:kept], seen[kept:].sum())
        statistic += ((seen - expected) ** 2 / expected).sum()
        freedom += len(expected) - 1
    return float(chi2.sf(statistic, freedom))


def geometric(logs, exponents) -> np.ndarray:
    total = sum(w * each for w, each in zip(exponents, logs, strict=True))
    return np.exp(total) / np.exp(total).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_mixture_plays_each_strategy_with_its_weight(kind):
    model, bridge, p, q = bridge_of(kind)
    mixture = Mixture(((p, 0.3), (q, 0.7)))
    expected = 0.3 * np.exp(bridge.log_probabilities(p)) + 0.7 * np.exp(bridge.log_probabilities(q))
    scored = model.log_probabilities(mixture, bridge.responses).exp().numpy()
    np.testing.assert_allclose(scored, expected, rtol=1e-10)
    drawn = model.sample(mixture, PROMPTS, 2_500, Stream(3))
    assert misfit(drawn, expected) > FALSE_ALARM
    only_one = np.exp(bridge.log_probabilities(q))
    assert misfit(drawn, only_one) < FALSE_ALARM, "this test could not tell"


def test_every_response_has_a_member_of_its_own_so_prompts_are_independent():
    # One response to each of 1,500 copies of a prompt: a member that all of them shared would
    # give the frequencies of that member, whose misfit is the control.
    model, bridge, p, q = bridge_of()
    mixture, count = Mixture(((p, 0.3), (Mixture(((q, 1.0),)), 0.7))), 1_500
    copies = Prompts(((2,),) * count, ("",) * count, tuple(range(count)))
    drawn = model.sample(mixture, copies, 1, Stream(7))
    together = Responses(
        PROMPTS.take([1]),
        drawn.tokens.swapaxes(0, 1),
        drawn.lengths.swapaxes(0, 1),
        uniform_weights(1, count),
    )
    first, second = (np.exp(bridge.log_probabilities(s))[1:] for s in (p, q))
    assert misfit(together, 0.3 * first + 0.7 * second) > FALSE_ALARM
    assert misfit(together, first) < FALSE_ALARM, "this test could not tell"
    assert misfit(together, second) < FALSE_ALARM, "this test could not tell"


def test_a_sample_of_a_mixture_depends_on_the_rows_of_its_prompts_only():
    model, _, p, q = bridge_of()
    mixture = Mixture(((p, 0.3), (q, 0.7)))
    both = model.sample(mixture, PROMPTS, 5, Stream(1))
    alone = model.sample(mixture, PROMPTS.take([1]), 5, Stream(1))
    assert torch.equal(both.tokens[1:], alone.tokens)
    assert torch.equal(both.weights, uniform_weights(2, 5))


def test_a_sample_is_never_taken_for_a_list_of_all_responses():
    # Weights of joined samples differ by rounding, and those of a uniform policy do not differ.
    model, bridge, p, _ = bridge_of()
    parts = [model.sample(p, PROMPTS, n, Stream(n)) for n in (7, 17)]
    both = joined(parts)
    assert bool((both.weights != both.weights[:, :1]).any()), "this test would not tell"
    space = LanguageSpace(model, PolicyGradient(Stream(0)), PROMPTS, _Given(both), Stream(0))
    found = space.divergence(p, model.reference)
    assert found.knows is Knows.INTERVAL
    zeros = torch.zeros(both.shape, dtype=torch.float64)
    assert residual_of(zeros, both).knows is Knows.INTERVAL
    with torch.no_grad():
        model.module.lm_head.weight.zero_()
    uniform = model.snapshot()
    listed = bridge.draws.responses(model, uniform, PROMPTS, Stream(0))
    assert not bool((listed.weights != listed.weights[:, :1]).any())
    difference = torch.linspace(0.0, 3.0, LEAVES, dtype=torch.float64).expand(2, -1)
    residual = residual_of(difference, listed)
    assert residual.knows is Knows.EXACT
    exact = difference[0].mean() + torch.log((-difference[0]).exp().mean())
    assert residual.value == pytest.approx(float(exact), rel=1e-9)
    assert listed.take([1]).exhaustive
    assert not listed.among(0, 3).exhaustive
    assert not joined([listed, both]).exhaustive


class _Given:
    """Draws that are already there."""

    def __init__(self, drawn: Responses) -> None:
        self.drawn = drawn

    def responses(self, model, strategy, prompts, stream):
        return self.drawn

    promised = responses


def test_a_geometric_mixture_of_one_is_sampled():
    model, _, p, q = bridge_of()
    inner = GeometricMixture(((p, 0.5), (q, 0.5)), 2)
    drawn = model.sample(GeometricMixture(((inner, 0.5), (p, 0.5)), 2), PROMPTS, 3, Stream(0))
    assert drawn.shape == (2, 3)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_geometric_mixture_is_the_proximal_point_without_payoff(kind):
    model, bridge, p, q = bridge_of(kind)
    exact = SoftBellman().realise(
        bridge.tree, None, [(bridge.policy(p), 0.06), (bridge.policy(q), 0.04)]
    )
    mixture = blended([(p, 0.06), (q, 0.04)], Blending()).strategy
    assert isinstance(mixture, GeometricMixture)
    np.testing.assert_allclose(
        bridge.policy(mixture).log_probabilities, exact.log_probabilities, atol=1e-10
    )
    weights = Enumerated(VOCABULARY).responses(model, mixture, PROMPTS, Stream(0)).weights
    logs = [bridge.log_probabilities(s) for s in (p, q)]
    np.testing.assert_allclose(weights, geometric(logs, (0.6, 0.4)), atol=1e-12)


def resampled(first, second, exponents) -> np.ndarray:
    """The law of the kept one of two candidates for one prompt, by summing over all pairs."""
    weight = first ** (exponents[0] - 1.0) * second ** exponents[1]
    kept = weight[:, None] / (weight[:, None] + weight)
    return 2.0 * first * (kept @ first)


def test_resampling_keeps_what_the_law_of_importance_resampling_says():
    # The exact law of a kept candidate, from all 64^2 pairs of candidates.
    model, bridge, p, q = bridge_of()
    drawn = model.sample(GeometricMixture(((p, 0.6), (q, 0.4)), 2), PROMPTS, 2_500, Stream(4))
    firsts, seconds = (np.exp(bridge.log_probabilities(s)) for s in (p, q))
    law = np.stack([resampled(a, b, (0.6, 0.4)) for a, b in zip(firsts, seconds, strict=True)])
    np.testing.assert_allclose(law.sum(axis=1), 1.0, atol=1e-9)
    assert misfit(drawn, law) > FALSE_ALARM


def test_the_bias_of_resampling_falls_as_candidates_grow():
    # What is measured is the mean of log of the importance weight: it grows from its mean under
    # the first strategy to its mean under the mixture, by far more than the noise of 1,000 draws.
    model, bridge, p, q = bridge_of()
    logs = [bridge.log_probabilities(s) for s in (p, q)]
    excess = 0.4 * (logs[1] - logs[0])
    exact = (geometric(logs, (0.6, 0.4)) * excess).sum(axis=1).mean()
    errors = []
    for candidates in (1, 8):
        mixture = GeometricMixture(((p, 0.6), (q, 0.4)), candidates)
        drawn = model.sample(mixture, PROMPTS, 500, Stream(5))
        at = np.take_along_axis(excess, leaves(drawn, VOCABULARY), axis=1)
        errors.append(abs(at.mean() - exact))
    assert errors[0] > 1.8 * errors[1]


def test_a_geometric_mixture_of_equals_is_sampled_exactly():
    model, bridge, p, _ = bridge_of()
    same = GeometricMixture(((p, 0.5), (p, 0.5)), 2)
    drawn = model.sample(same, PROMPTS, 2_500, Stream(6))
    assert misfit(drawn, np.exp(bridge.log_probabilities(p))) > FALSE_ALARM


def test_the_probabilities_of_a_geometric_mixture_are_known_up_to_a_factor_only():
    model, bridge, p, q = bridge_of()
    mixture = GeometricMixture(((p, 0.6), (q, 0.4)))
    with pytest.raises(Unsupported, match="up to a factor"):
        model.log_probabilities(mixture, bridge.responses)
    relative = model.relative_log_probabilities(mixture, bridge.responses)
    assert float(torch.logsumexp(relative, dim=1).abs().min()) > 0.1, "it is not normalised"


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_tokenwise_mixture_is_that_of_the_tree_and_not_the_geometric_one(kind):
    model, bridge, p, q = bridge_of(kind)
    exact = TreeTokenwise().realise(
        bridge.tree, None, [(bridge.policy(p), 0.06), (bridge.policy(q), 0.04)]
    )
    mixture = blended([(p, 0.06), (q, 0.04)], Blending(tokenwise=True)).strategy
    assert isinstance(mixture, TokenwiseMixture)
    np.testing.assert_allclose(
        bridge.policy(mixture).log_probabilities, exact.log_probabilities, atol=1e-10
    )
    expected = np.exp(bridge.log_probabilities(mixture))
    drawn = model.sample(mixture, PROMPTS, 2_500, Stream(8))
    assert misfit(drawn, expected) > FALSE_ALARM
    sequence_level = geometric([bridge.log_probabilities(s) for s in (p, q)], (0.6, 0.4))
    assert misfit(drawn, sequence_level) < FALSE_ALARM, "the approximation must be seen"
    np.testing.assert_allclose(
        drawn.known[mixture.key],
        np.take_along_axis(bridge.log_probabilities(mixture), leaves(drawn, VOCABULARY), axis=1),
        atol=1e-10,
    )


def test_a_mixture_that_shares_one_cache_is_seen_to_fail():
    # The control: one memory for two models, so that the second reads keys of the first.
    model, bridge, p, q = bridge_of()
    mixture = TokenwiseMixture(((p, 0.6), (q, 0.4)))
    expected = np.exp(bridge.log_probabilities(mixture))
    drawn = model.sample(mixture, PROMPTS, 2_500, Stream(9))
    assert misfit(drawn, expected) > FALSE_ALARM
    assert misfit(shared_cache(model, mixture, 2_500, Stream(9)), expected) < FALSE_ALARM


def shared_cache(model, mixture, count, stream):
    """Sample the mixture with the keys and values of the first member for all of them."""
    rows = []
    for x, prompt in enumerate(PROMPTS.tokens):
        uniforms = stream.child("row", x).generator().random((count, HORIZON))
        tokens = torch.zeros((count, 0), dtype=torch.long)
        cache = None
        for t in range(HORIZON):
            read = torch.tensor([prompt] * count) if cache is None else tokens[:, -1:]
            total = 0.0
            for i, (strategy, weight) in enumerate(mixture.weighted):
                with torch.no_grad(), model.playing(strategy) as module:
                    out = module(input_ids=read, past_key_values=cache, use_cache=True)
                    if i == 0:
                        cache = out.past_key_values
                    else:
                        cache.crop(-read.shape[1])
                total = total + weight * out.logits[:, -1].double()
            rising = torch.softmax(total, dim=-1).cumsum(dim=-1)
            chosen = (rising < torch.as_tensor(uniforms[:, t : t + 1])).sum(dim=-1, keepdim=True)
            tokens = torch.cat([tokens, chosen.clamp(max=VOCABULARY - 1)], dim=1)
        rows.append(tokens)
    found = responses_of(PROMPTS, count)
    return Responses(PROMPTS, torch.stack(rows), found.lengths, found.weights)


def test_a_tokenwise_mixture_of_equals_is_sampled_with_the_sum_of_their_exponents():
    model, _, p, _ = bridge_of()
    drawn = model.sample(TokenwiseMixture(((p, 0.5), (p, 0.5))), PROMPTS, 4, Stream(0))
    assert torch.equal(drawn.tokens, model.sample(p, PROMPTS, 4, Stream(0)).tokens)


def test_the_tokenwise_decoder_of_one_member_is_that_member():
    model, _, p, _ = bridge_of()
    uniforms = torch.as_tensor(np.random.default_rng(0).random((6, HORIZON)))
    found = decode_tokenwise(
        [(lambda: model.playing(p), 0.5), (lambda: model.playing(p), 0.5)],
        PROMPTS.tokens,
        uniforms,
        rows_per_prompt=3,
        temperature=1.0,
        end=None,
        pad=0,
        limit=HORIZON,
    )
    alone = decode_tokenwise(
        [(lambda: model.playing(p), 1.0)],
        PROMPTS.tokens,
        uniforms,
        rows_per_prompt=3,
        temperature=1.0,
        end=None,
        pad=0,
        limit=HORIZON,
    )
    assert torch.equal(found[0], alone[0])
