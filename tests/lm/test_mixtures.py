"""Mixtures of language models, sampled and scored, against the same mixtures on the tree."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from nlhf.errors import Unsupported
from nlhf.lm.draws import Enumerated
from nlhf.lm.enumerate import Enumeration, leaves
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.base import Blending, blended
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.lm.sequences.decoding import decode_tokenwise
from nlhf.lm.strategies import GeometricMixture, Mixture, TokenwiseMixture
from nlhf.spaces.realisers import SoftBellman
from nlhf.spaces.realisers import TokenwiseMixture as TreeTokenwise
from nlhf.streams import Stream
from tests.lm.tiny import ARCHITECTURES, HORIZON, LEAVES, PROMPTS, VOCABULARY, moved, tiny_model

FALSE_ALARM = 1e-6


def bridge_of(kind="llama"):
    model = tiny_model(kind)
    return model, Enumeration(model, PROMPTS, VOCABULARY), moved(model, 1), moved(model, 2)


class _Named:
    """A strategy of which only the key matters."""

    def __init__(self, key: str) -> None:
        self.key = key


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
    # Systematic shares of the members only lower the variance of the frequencies.
    drawn = model.sample(mixture, PROMPTS, 2_500, Stream(3))
    assert misfit(drawn, expected) > FALSE_ALARM
    only_one = np.exp(bridge.log_probabilities(q))
    assert misfit(drawn, only_one) < FALSE_ALARM, "this test could not tell"


def test_the_members_of_a_small_sample_are_drawn_without_bias():
    # One draw of weights 0.3 and 0.7 is the first member's with probability 0.3. Among 1,000 of
    # them the share is off by 0.09 with probability below 2 exp(-2 * 1,000 * 0.09^2) = 2e-7.
    first, second, count = _Named("first"), _Named("second"), 1_000
    mixture = Mixture(((first, 0.3), (second, 0.7)))
    found = []

    class Answers:
        def sample(self, strategy, prompts, count, stream):
            found.extend([strategy.key] * count)
            return answer

    answer = responses_of(PROMPTS, 1)
    for i in range(count):
        LanguageModel._sample_mixture(Answers(), mixture, PROMPTS, 1, Stream(7).child(i))
    assert len(found) == count
    assert abs(found.count("first") / count - 0.3) < 0.09


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
