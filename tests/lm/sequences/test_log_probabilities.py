"""Log-probabilities of responses are sums over their own tokens, however they are computed."""

from itertools import product

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
)

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.lm.responses import Prompts
from nlhf.lm.sequences.log_probabilities import (
    sequence_log_probabilities,
    token_log_probabilities,
)
from nlhf.streams import Stream
from tests.lm.sequences.modules import ARCHITECTURES, PROMPTS, VOCABULARY, causal
from tests.lm.tiny import tiny_model

TEMPERATURE = 0.7
LENGTHS = torch.tensor([4, 1, 6, 2])
TOKENS = torch.randint(0, VOCABULARY, (4, 6), generator=torch.Generator().manual_seed(3))
WEIGHTS = torch.tensor([0.3, -1.0, 0.7, 2.0], dtype=torch.float64)


def scored(module, prompts=PROMPTS, tokens=TOKENS, lengths=LENGTHS, **settings):
    given = {"temperature": TEMPERATURE, "pad": 0} | settings
    return sequence_log_probabilities(module, prompts, tokens, lengths, **given)


def by_definition(module, prompts=PROMPTS, tokens=TOKENS, lengths=LENGTHS):
    """One row at a time, from the logits of the whole model."""
    sums = []
    for prompt, row, length in zip(prompts, tokens, lengths, strict=True):
        whole = torch.tensor([[*prompt, *row[: int(length)].tolist()]])
        laws = torch.log_softmax(module(whole).logits[0].double() / TEMPERATURE, dim=-1)
        terms = laws[:-1].gather(-1, whole[0, 1:, None])[:, 0]
        sums.append(terms[len(prompt) - 1 :].sum())
    return torch.stack(sums)


def gradient(module, sums):
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.autograd.grad((WEIGHTS * sums).sum(), parameters)


@pytest.mark.parametrize("kind", [*ARCHITECTURES, "mistral"])
def test_values_and_gradients_are_those_of_the_definition(kind):
    module = causal(kind)
    sums, expected = scored(module), by_definition(module)
    assert torch.allclose(sums, expected, rtol=0.0, atol=1e-10)
    for ours, theirs in zip(gradient(module, sums), gradient(module, expected), strict=True):
        assert torch.allclose(ours, theirs, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_chunks_change_neither_values_nor_gradients(chunk):
    module = causal("gpt2")
    seen = []
    hook = module.lm_head.register_forward_hook(lambda _, __, out: seen.append(out.numel()))
    sums = scored(module, chunk=chunk)
    ours = gradient(module, sums)
    hook.remove()
    whole = scored(module)
    assert torch.allclose(sums, whole, rtol=0.0, atol=1e-12)
    for part, full in zip(ours, gradient(module, whole), strict=True):
        assert torch.allclose(part, full, rtol=0.0, atol=1e-11)
    assert max(seen[2:]) <= chunk * VOCABULARY, "logits of one chunk at a time, also backwards"


def test_only_counted_tokens_have_logits():
    module, seen = causal("llama"), []
    scored(module)
    hook = module.lm_head.register_forward_hook(lambda _, __, out: seen.append(out.shape[0]))
    with torch.no_grad():
        scored(module)
    hook.remove()
    assert sum(seen) == int(LENGTHS.sum())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_padding_and_what_follows_the_end_have_no_influence(kind):
    module = causal(kind)
    with torch.no_grad():
        sums = scored(module)
        junk = torch.where(torch.arange(6) < LENGTHS[:, None], TOKENS, VOCABULARY - 1)
        assert torch.allclose(scored(module, tokens=junk), sums, rtol=0.0, atol=1e-12)
        assert torch.allclose(scored(module, pad=7), sums, rtol=0.0, atol=1e-12)
        for row, prompt in enumerate(PROMPTS):
            own = slice(row, row + 1)
            alone = scored(module, [prompt], TOKENS[own], LENGTHS[own])
            assert float(alone) == pytest.approx(float(sums[row]), abs=1e-10)


def test_probabilities_of_all_responses_sum_to_one():
    # Those that end, and those cut at the limit, which stand for all that begin so.
    module, end, limit = causal("gpt2"), 3, 2
    ended = [(end,)]
    cut = list(product(set(range(VOCABULARY)) - {end}, range(VOCABULARY)))
    responses = [*ended, *cut]
    tokens = torch.tensor([[*said, *[0] * (limit - len(said))] for said in responses])
    lengths = torch.tensor([len(said) for said in responses])
    with torch.no_grad():
        sums = scored(module, [[5, end, 1]] * len(responses), tokens, lengths)
    assert float(sums.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    assert len(set(lengths.tolist())) == 2


def test_terms_are_the_summands_and_zero_elsewhere():
    module = causal("llama")
    with torch.no_grad():
        terms = token_log_probabilities(module, PROMPTS, TOKENS, LENGTHS, temperature=TEMPERATURE)
        assert torch.allclose(terms.sum(dim=1), scored(module), rtol=0.0, atol=1e-12)
    counted = torch.arange(6) < LENGTHS[:, None]
    assert (terms[~counted] == 0.0).all()
    assert (terms[counted] < 0.0).all()


def test_sums_of_a_module_in_half_precision_are_close():
    module = causal("llama", dtype=torch.bfloat16)
    exact = causal("llama", dtype=torch.bfloat16).double()
    with torch.no_grad():
        assert torch.allclose(scored(module), scored(exact), rtol=0.05, atol=0.3)


_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (
            Gemma2ForCausalLM,
            Gemma2Config(
                **_SIZES, head_dim=8, final_logit_softcapping=2.0, attn_implementation="eager"
            ),
        ),
        (CohereForCausalLM, CohereConfig(**_SIZES, logit_scale=0.25)),
        (GraniteForCausalLM, GraniteConfig(**_SIZES, logits_scaling=3.0)),
    ],
    ids=["soft cap", "scale", "divisor"],
)
def test_what_an_architecture_does_after_its_head_is_done_here_too(kind, config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind(config).eval()
    with torch.no_grad():
        assert torch.allclose(scored(module), by_definition(module), rtol=0.0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own
def test_adapters_are_active_and_are_off_when_they_are_disabled():
    base = causal("gpt2")
    with torch.no_grad():
        before = scored(base)
    targets = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    adapted = get_peft_model(base, targets).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.5)
        active = scored(adapted)
        assert torch.allclose(active, by_definition(adapted), rtol=0.0, atol=1e-10)
        assert not torch.allclose(active, before, atol=1e-2)
        with adapted.disable_adapter():
            assert torch.allclose(scored(adapted), before, rtol=0.0, atol=1e-12)


class Shifted(GPT2LMHeadModel):
    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.logits = out.logits + torch.arange(VOCABULARY)
        return out


def test_modules_that_are_not_a_body_and_a_head_are_refused():
    config = causal("gpt2").config
    with pytest.raises(Unsupported, match="differ by 22"):
        scored(Shifted(config))
    config.pad_token_id = 0
    with pytest.raises(Unsupported, match="no output embedding"):
        scored(GPT2ForSequenceClassification(config))


def test_rows_beyond_the_context_and_tokens_beyond_the_vocabulary_are_named():
    model = tiny_model("gpt2")
    long, known = torch.zeros((2, 20), dtype=torch.long), torch.tensor([3, 20])
    with pytest.raises(InvalidProblem, match="row 1 have 21 tokens, the model's context 16"):
        sequence_log_probabilities(model.module, [[0], [0]], long, known)
    strange = torch.tensor([[0, 1], [2, 4]])
    with pytest.raises(InvalidProblem, match=r"token 2 of row 1 is 4, and .* tokens 0 to 3"):
        sequence_log_probabilities(model.module, [[0], [0]], strange, torch.tensor([2, 2]))
    with pytest.raises(InvalidProblem, match="token 1 of row 0 is 9"):
        model.sample(model.reference, Prompts.of([[0, 9]]), 1, Stream(0))


def test_prompts_that_are_empty_or_missing_are_named():
    module = causal("gpt2")
    with pytest.raises(InvalidProblem, match=r"4 prompts for 4 responses, empty in rows \[2\]"):
        scored(module, [[1], [2], [], [3]])
    with pytest.raises(InvalidProblem, match="3 prompts for 4"):
        scored(module, PROMPTS[:3])
