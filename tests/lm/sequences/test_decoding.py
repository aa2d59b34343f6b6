"""Drawing with caches, padding and batches gives what a fresh pass per token gives."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from transformers.cache_utils import DynamicCache

from nlhf.errors import InvalidProblem, NotAllowed
from nlhf.lm.sequences.decoding import decode, decode_together, decode_tokenwise
from nlhf.lm.sequences.log_probabilities import (
    sequence_log_probabilities,
    tokenwise_log_probabilities,
)
from nlhf.lm.sequences.members import Play
from tests.lm.sequences.modules import (
    ARCHITECTURES,
    END,
    PAD,
    PROMPTS,
    causal,
    next_logits,
    played_slowly,
    uniforms,
)

TEMPERATURE, LIMIT, COPIES = 0.7, 8, 3
SETTINGS = {"temperature": TEMPERATURE, "end": END, "pad": PAD, "limit": LIMIT}
ROWS = [prompt for prompt in PROMPTS for _ in range(COPIES)]
NUMBERS = uniforms(len(ROWS), LIMIT)


@pytest.fixture(scope="module", params=[*ARCHITECTURES, "mistral"])
def module(request):
    return causal(request.param)


def mixed_slowly(first, second, prompt, numbers):
    def laws(tokens):
        return 0.4 * next_logits(first, tokens) + 0.6 * next_logits(second, tokens)

    return played_slowly(laws, prompt, numbers, TEMPERATURE)


def members_of(first, second):
    return [(lambda: nullcontext(first), 0.4), (lambda: nullcontext(second), 0.6)]


def assert_same(drawn, expected):
    tokens, lengths, logs = drawn
    for row, (said, total) in enumerate(expected):
        assert tokens[row, : int(lengths[row])].tolist() == said
        assert (tokens[row, int(lengths[row]) :] == PAD).all()
        assert float(logs[row]) == pytest.approx(total, abs=1e-10)


def test_caches_padding_and_batches_change_nothing(module):
    drawn = decode(module, PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS)
    expected = [
        played_slowly(lambda tokens: next_logits(module, tokens), prompt, row, TEMPERATURE)
        for prompt, row in zip(ROWS, NUMBERS, strict=True)
    ]
    assert_same(drawn, expected)
    assert len({len(said) for said, _ in expected}) > 1, "some end early, and leave the batch"


def test_eager_attention_takes_the_same_masks():
    module = causal("llama", attn_implementation="eager")  # its softmax is in float32 always
    drawn = decode(module, PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS)
    same = decode(causal("llama"), PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS)
    assert torch.equal(drawn[0], same[0])
    assert torch.allclose(drawn[2], same[2], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_log_probabilities_kept_from_sampling_are_those_of_scoring(kind):
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        module = causal(kind, dtype=dtype)
        tokens, lengths, logs = decode(module, PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS)
        with torch.no_grad():
            scored = sequence_log_probabilities(
                module, ROWS, tokens, lengths, temperature=TEMPERATURE, pad=PAD
            )
            cold = sequence_log_probabilities(module, ROWS, tokens, lengths, temperature=1.0)
        assert torch.allclose(scored, logs, rtol=0.0, atol=tolerance)
        assert not torch.allclose(cold, logs, atol=0.1), "another temperature is another policy"


def test_a_response_depends_on_its_own_prompt_and_numbers_only(module):
    together = decode(module, PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS)
    for number, prompt in enumerate(PROMPTS):
        mine = slice(COPIES * number, COPIES * (number + 1))
        alone = decode(module, [prompt], NUMBERS[mine], rows_per_prompt=COPIES, **SETTINGS)
        assert torch.equal(alone[0], together[0][mine])
        assert torch.allclose(alone[2], together[2][mine], rtol=0.0, atol=1e-10)


def test_equally_spaced_numbers_draw_every_token_its_share_of_times():
    module, count = causal("gpt2"), 4000
    numbers = ((torch.arange(count) + 0.5) / count).double()[:, None]
    settings = SETTINGS | {"limit": 1, "temperature": 1.3}
    tokens, _, _ = decode(module, [[1, 2]], numbers, rows_per_prompt=count, **settings)
    logits = next_logits(module, [1, 2]) / 1.3
    law = np.exp(logits) / np.exp(logits).sum()
    shares = np.bincount(tokens[:, 0].numpy(), minlength=len(law)) / count
    assert np.abs(shares - law).max() <= 1.0 / count


def test_without_an_end_token_every_response_reaches_the_limit():
    settings = SETTINGS | {"end": None}
    _, lengths, _ = decode(causal("gpt2"), PROMPTS, NUMBERS, rows_per_prompt=COPIES, **settings)
    assert (lengths == LIMIT).all()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_members_of_a_mixture_remember_for_themselves(kind):
    first, second = causal(kind, seed=0), causal(kind, seed=5)
    drawn = decode_tokenwise(
        members_of(first, second), PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS
    )
    expected = [
        mixed_slowly(first, second, prompt, row) for prompt, row in zip(ROWS, NUMBERS, strict=True)
    ]
    assert_same(drawn, expected)
    scored = tokenwise_log_probabilities(
        members_of(first, second), ROWS, *drawn[:2], temperature=TEMPERATURE, pad=PAD, chunk=5
    )
    assert torch.allclose(scored, drawn[2], rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_memory_shared_by_the_members_is_seen_to_be_wrong(kind):
    # The control: one cache handed to both models, as generate() does with a wrapped mixture.
    first, second = causal(kind, seed=0), causal(kind, seed=5)
    prompt, said = PROMPTS[0], [4, 7]

    def law(shared):
        caches = [DynamicCache(), DynamicCache()]
        given = [caches[0], caches[0]] if shared else caches
        fed = [torch.tensor([prompt]), *(torch.tensor([[token]]) for token in said)]
        for tokens in fed:
            with torch.no_grad():
                logits = [
                    member(tokens, past_key_values=cache, use_cache=True).logits[0, -1]
                    for member, cache in zip((first, second), given, strict=True)
                ]
        return torch.softmax((0.4 * logits[0] + 0.6 * logits[1]) / TEMPERATURE, dim=-1)

    exact = 0.4 * next_logits(first, [*prompt, *said]) + 0.6 * next_logits(second, [*prompt, *said])
    truth = torch.softmax(torch.as_tensor(exact) / TEMPERATURE, dim=-1)
    assert torch.allclose(law(shared=False), truth, atol=1e-10)
    assert 0.5 * float((law(shared=True) - truth).abs().sum()) > 0.05


def test_plays_drawn_together_are_those_drawn_alone():
    first, second = causal("llama", seed=0), causal("llama", seed=5)
    contexts = [lambda: nullcontext(first), lambda: nullcontext(second)]
    exponents, copies = ((1.0, 0.0), (0.4, 0.6), (0.0, 1.0)), (2, 3, 1)
    plays = [
        Play(given, uniforms(len(PROMPTS) * count, LIMIT, seed=7 + count))
        for given, count in zip(exponents, copies, strict=True)
    ]
    together = decode_together(contexts, PROMPTS, plays, **SETTINGS)
    for play, found, count in zip(plays, together, copies, strict=True):
        members = [m for m in zip(contexts, play.exponents, strict=True) if m[1] != 0.0]
        alone = decode_tokenwise(members, PROMPTS, play.uniforms, rows_per_prompt=count, **SETTINGS)
        for ours, theirs in zip(found, alone, strict=True):
            assert torch.allclose(ours.double(), theirs.double(), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_model_whose_rows_have_all_ended_rests(kind):
    first, second = causal(kind, seed=0), causal(kind, seed=5)
    logits = next_logits(first, [1, 2]) / TEMPERATURE
    rising = np.exp(logits - logits.max()).cumsum()
    ends_at_once = 0.5 * (rising[END - 1] + rising[END]) / rising[-1]
    numbers = torch.full((1, LIMIT), ends_at_once, dtype=torch.float64)
    contexts = [lambda: nullcontext(first), lambda: nullcontext(second)]
    plays = [Play((1.0, 0.0), numbers), Play((0.0, 1.0), uniforms(4, LIMIT))]
    ended, others = decode_together(contexts, [[1, 2]], plays, **SETTINGS)
    assert ended[0][0].tolist() == [END, *[PAD] * (LIMIT - 1)]
    alone = decode(second, [[1, 2]], uniforms(4, LIMIT), rows_per_prompt=4, **SETTINGS)
    assert int(alone[1].max()) > 1
    assert torch.equal(others[0], alone[0])


def test_logits_that_are_not_finite_are_told_not_drawn_from():
    module = causal("gpt2")
    with torch.no_grad():
        module.transformer.wpe.weight[5] = torch.nan
    with pytest.raises(NotAllowed, match=r"12 of 12 responses .* first of them to prompt 0"):
        decode(module, PROMPTS, NUMBERS, rows_per_prompt=3, **SETTINGS | {"end": None, "limit": 4})


def test_nothing_is_drawn_from_the_global_generator():
    before = torch.get_rng_state()
    decode(causal("gpt2"), PROMPTS, NUMBERS, rows_per_prompt=COPIES, **SETTINGS)
    assert torch.equal(before, torch.get_rng_state())


def test_what_does_not_fit_is_named():
    module = causal("gpt2")
    with pytest.raises(InvalidProblem, match=r"prompt 1 has 30 tokens: .* 8 new .* context of 32"):
        decode(module, [[1], [2] * 30], NUMBERS[:2], rows_per_prompt=1, **SETTINGS)
    with pytest.raises(InvalidProblem, match=r"\[1\] have no token"):
        decode(module, [[1], []], NUMBERS[:2], rows_per_prompt=1, **SETTINGS)
    with pytest.raises(InvalidProblem, match=r"12 rows, for 4 prompts with 2 rows"):
        decode(module, PROMPTS, NUMBERS, rows_per_prompt=2, **SETTINGS)
    with pytest.raises(InvalidProblem, match="12 rows of 5 uniform"):
        decode(module, PROMPTS, NUMBERS[:, :5], rows_per_prompt=3, **SETTINGS)
