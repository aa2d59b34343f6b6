"""The inverse of the distribution function, at its edges."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlhf.lm.sequences.inverse_cdf import draw

BELOW_ONE = float(np.nextafter(1.0, 0.0))


@given(
    st.lists(st.floats(-40.0, 40.0), min_size=1, max_size=12),
    st.sampled_from([1, 7, 90]),
    st.floats(0.0, BELOW_ONE),
)
def test_the_drawn_token_is_where_the_distribution_function_passes_the_number(
    logits, repeats, number
):
    row = torch.tensor(logits * repeats, dtype=torch.float64)
    tokens, logs = draw(row[None], torch.tensor([number], dtype=torch.float64))
    law = torch.softmax(row, dim=0).numpy()
    token, rising = int(tokens[0]), np.concatenate([[0.0], law.cumsum()])
    assert rising[token] <= number + 1e-12
    assert number <= rising[token + 1] + 1e-12
    assert float(logs[0]) == pytest.approx(float(torch.log_softmax(row, dim=0)[token]), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("vocabulary", [5, 256, 1000])
def test_what_has_no_probability_is_never_drawn(dtype, vocabulary):
    logits = torch.full((3, vocabulary), -torch.inf, dtype=dtype)
    logits[:, vocabulary // 2] = 0.0
    logits[:, vocabulary // 2 - 1] = -1.0
    tokens, logs = draw(logits, torch.tensor([0.0, 0.5, BELOW_ONE], dtype=torch.float64))
    half = vocabulary // 2
    assert tokens.tolist() == [half - 1, half, half]
    assert torch.isfinite(logs).all()


def test_adding_a_constant_to_logits_changes_nothing():
    logits = torch.randn(4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor([0.1, 0.4, 0.6, 0.99], dtype=torch.float64)
    first, second = draw(logits, numbers), draw(logits + 500.0, numbers)
    assert torch.equal(first[0], second[0])
    assert torch.allclose(first[1], second[1], atol=1e-9)


def test_logits_are_left_as_they_were():
    logits = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    draw(logits, torch.tensor([0.2, 0.7], dtype=torch.float64))
    assert torch.equal(logits, before)
