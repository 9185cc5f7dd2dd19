"""Masks, both forms of attention, and multi-head attention, against loops and against PyTorch's own module."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gptviz.attention import (
    KeyValueCache,
    MultiHeadAttention,
    additive_mask,
    attention_stages,
    causal_mask,
    fast_attention,
    plain_attention,
)
from tests import reference

CLOSE = {"rtol": 0, "atol": 1e-5}
SETTINGS = [(causal, scaled) for causal in (True, False) for scaled in (True, False)]
# T queries and S keys: alone, square, as a key/value cache gives them (one new token, several new ones), and cross
SHAPES = [(1, 1), (2, 2), (9, 9), (1, 7), (3, 7), (6, 7)]


def random_qkv(t: int, s: int, d: int = 8, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """q (2, 3, T, D), k and v (2, 3, S, D) that ask for gradients."""
    source = torch.Generator().manual_seed(100 * t + s)
    return [torch.randn(2, 3, n, d, generator=source, dtype=dtype).requires_grad_() for n in (t, s, s)]


@pytest.mark.parametrize("size", [1, 2, 3, 17])
def test_square_causal_mask_is_tril(size: int) -> None:
    assert torch.equal(causal_mask(size, size), torch.tril(torch.ones(size, size)).bool())


@given(st.integers(1, 12), st.integers(0, 12))
def test_causal_mask_lets_a_query_see_itself_and_its_past(t: int, before: int) -> None:
    mask = causal_mask(t, before + t)
    for query in range(t):
        for key in range(before + t):
            assert bool(mask[query, key]) == (key <= before + query)
    added = additive_mask(t, before + t)
    assert torch.equal(added == 0, mask)
    assert torch.equal(added == -math.inf, ~mask)


@pytest.mark.parametrize(("causal", "scaled"), SETTINGS)
@pytest.mark.parametrize(("t", "s"), SHAPES)
def test_fast_and_plain_attention_agree_in_values_and_gradients(t: int, s: int, causal: bool, scaled: bool) -> None:
    answers = []
    for attend in (fast_attention(causal, scaled), plain_attention(causal, scaled)):
        qkv = random_qkv(t, s)
        heads, _ = attend(*qkv)
        wave = torch.cos(torch.arange(heads.numel(), dtype=torch.float32)).view_as(heads)
        gradients = torch.autograd.grad((heads * wave).sum(), qkv)
        answers.append([heads, *gradients])
    for fast, plain in zip(*answers, strict=True):
        torch.testing.assert_close(fast, plain, **CLOSE)


@pytest.mark.parametrize("scaled", [True, False])
def test_fast_and_plain_agree_with_more_queries_than_keys(scaled: bool) -> None:
    qkv = random_qkv(7, 3)  # cross-attention: nothing is masked
    torch.testing.assert_close(fast_attention(False, scaled)(*qkv)[0], plain_attention(False, scaled)(*qkv)[0], **CLOSE)


@pytest.mark.parametrize(("causal", "scaled"), SETTINGS)
@pytest.mark.parametrize(("t", "s"), SHAPES)
def test_every_stage_is_what_loops_in_numpy_give(t: int, s: int, causal: bool, scaled: bool) -> None:
    q, k, v = (x.detach() for x in random_qkv(t, s, dtype=torch.float64))
    stages = attention_stages(q, k, v, causal=causal, scaled=scaled)
    for row in range(2):
        for head in range(3):
            parts = (x[row, head].numpy() for x in (q, k, v))
            for name, expected in reference.attend(*parts, causal=causal, scaled=scaled).items():
                np.testing.assert_allclose(getattr(stages, name)[row, head], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("t", "s"), SHAPES)
def test_a_mask_made_beforehand_changes_nothing(t: int, s: int) -> None:
    qkv = random_qkv(t, s)
    made = plain_attention(mask=additive_mask(t, s))(*qkv)
    for ours, expected in zip(made, plain_attention()(*qkv), strict=True):
        assert torch.equal(ours, expected)


def test_only_plain_attention_returns_weights() -> None:
    qkv = random_qkv(4, 4)
    assert fast_attention()(*qkv)[1] is None
    _, weights = plain_attention()(*qkv)
    assert weights.shape == (2, 3, 4, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 4), **CLOSE)


def same_weights(d_model: int, n_heads: int) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    """Ours and PyTorch's, with the same random parameters."""
    torch.manual_seed(d_model + n_heads)
    theirs = nn.MultiheadAttention(d_model, n_heads, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention(d_model, n_heads)
    ours.qkv.load_state_dict({"weight": theirs.in_proj_weight, "bias": theirs.in_proj_bias})
    ours.out.load_state_dict(theirs.out_proj.state_dict())
    return ours, theirs


@pytest.mark.parametrize("n_heads", [1, 2, 4])
@pytest.mark.parametrize("causal", [True, False])
def test_self_attention_is_that_of_pytorch(n_heads: int, causal: bool) -> None:
    ours, theirs = same_weights(16, n_heads)
    x = torch.randn(2, 6, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(6) if causal else None
    out, weights = theirs(x, x, x, attn_mask=mask, average_attn_weights=False)
    for attend in (plain_attention(causal), fast_attention(causal)):
        seen = ours(x, attend=attend)
        torch.testing.assert_close(seen.out, out, **CLOSE)
        if seen.weights is not None:
            torch.testing.assert_close(seen.weights, weights, **CLOSE)


@pytest.mark.parametrize(("t", "s"), [(5, 5), (3, 8), (8, 3), (1, 4)])
def test_cross_attention_is_that_of_pytorch(t: int, s: int) -> None:
    ours, theirs = same_weights(16, 4)
    x, memory = torch.randn(2, t, 16, requires_grad=True), torch.randn(2, s, 16, requires_grad=True)
    out, weights = theirs(x, memory, memory, average_attn_weights=False)
    expected = torch.autograd.grad(out.square().sum(), (x, memory))
    for attend in (plain_attention(causal=False), fast_attention(causal=False)):
        seen = ours(x, memory, attend=attend)
        torch.testing.assert_close(seen.out, out, **CLOSE)
        if seen.weights is not None:
            torch.testing.assert_close(seen.weights, weights, **CLOSE)
        for gradient, wanted in zip(torch.autograd.grad(seen.out.square().sum(), (x, memory)), expected, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)


def test_memory_that_is_the_input_is_self_attention() -> None:
    ours, _ = same_weights(16, 4)
    x = torch.randn(2, 6, 16)
    for alone, crossed in zip(ours(x, attend=plain_attention()), ours(x, x, attend=plain_attention()), strict=True):
        torch.testing.assert_close(alone, crossed, **CLOSE)


def test_cache_gives_back_all_that_it_was_given() -> None:
    k, v = torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 8)
    cache = KeyValueCache(9)
    for start, end in [(0, 4), (4, 5), (5, 9)]:
        keys, values = cache.append(k[:, :, start:end], v[:, :, start:end])
        assert cache.used == end
        assert torch.equal(keys, k[:, :, :end])
        assert torch.equal(values, v[:, :, :end])
    assert cache.keys.shape == (2, 3, 9, 8)


def test_a_full_cache_says_so_and_keeps_what_it_holds() -> None:
    cache = KeyValueCache(4)
    k = torch.randn(1, 1, 3, 2)
    cache.append(k, k)
    with pytest.raises(ValueError, match="holds 4 positions and was asked for 6"):
        cache.append(k, k)
    assert cache.used == 3
    assert torch.equal(cache.append(k[:, :, :1], k[:, :, :1])[0][:, :, :3], k)
