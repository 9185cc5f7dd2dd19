"""One decoder for many: GPT-2's and Llama's ways, each against float64, autograd and itself, token by token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gptviz import checkpoint
from gptviz.analysis.check import check
from gptviz.analysis.passes import Pass
from gptviz.attention import KeyValueCache, plain_attention, turned
from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import expected_sizes
from gptviz.gpt import GPT, rotary_turn
from gptviz.tokenizer import Tokenizer
from gptviz.trace import WhatIf
from tests.tiny import random_gpt, tiny_ranks

LLAMA = {"norm_order": "pre", "norm": "rms", "bias": "none", "positions": "rotary", "gated": True, "activation": "silu"}
SHAPES = {
    "llama": LLAMA | {"n_kv_heads": 2},
    "one key head": LLAMA | {"n_kv_heads": 1, "tied": True, "rotary_base": 100.0, "norm_epsilon": 1e-3},
    "biases of qkv": LLAMA | {"bias": "qkv", "n_kv_heads": 4, "head_width": 6},
    "wide heads": LLAMA | {"head_width": 12, "n_kv_heads": 2, "rotary_factors": (1.0, 1.0, 2.0, 2.0, 4.0, 8.0)},
    "no biases": {"norm_order": "pre", "activation": "gelu", "bias": "none"},
    "gpt2": {"norm_order": "pre", "activation": "gelu_tanh", "tied": True},
    "rotary after the add": {"positions": "rotary"},
}
IDS = [5, 80, 80, 3, 250, 17, 80, 3]


def model_of(name: str) -> GPT:
    return random_gpt(seed=3, **SHAPES[name])


@pytest.mark.parametrize("name", SHAPES)
def test_every_stage_agrees_with_float64(name: str) -> None:
    gpt = model_of(name)
    for what_if in (WhatIf(), WhatIf(causal=False, scaled=False)):
        result = check(gpt, gpt.trace(IDS, what_if))
        assert result.verdict == "agrees", result.worst


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_by_hand_are_those_of_autograd(name: str) -> None:
    gpt = model_of(name).double().requires_grad_(True)
    ids = torch.tensor([IDS])
    gpt.loss(ids[:, :-1], ids[:, 1:], plain_attention()).backward()
    found = Pass(gpt, IDS, WhatIf()).gradient.parameters
    assert set(found) == {parameter for parameter, _ in gpt.named_parameters()}
    for parameter, value in gpt.named_parameters():
        np.testing.assert_allclose(found[parameter], value.grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=parameter)


@pytest.mark.parametrize("name", SHAPES)
def test_token_by_token_is_all_at_once(name: str) -> None:
    gpt = model_of(name)
    ids = torch.tensor([IDS])
    caches = [KeyValueCache(len(IDS)) for _ in gpt.blocks]
    steps = torch.cat([gpt(ids[:, i : i + 1], caches) for i in range(len(IDS))], dim=1)
    torch.testing.assert_close(steps, gpt(ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path) -> None:
    gpt = model_of(name)
    checkpoint.save(tmp_path / "model", gpt, Tokenizer(tiny_ranks()))
    loaded = checkpoint.load(tmp_path / "model").gpt
    assert loaded.config == gpt.config
    assert torch.equal(loaded(torch.tensor([IDS])), gpt(torch.tensor([IDS])))
    stored = {id(value): value for value in gpt.state_dict(keep_vars=True).values()}.values()
    assert expected_sizes(gpt.config) == (len(stored), sum(value.numel() for value in stored))


def test_only_the_distance_counts_where_positions_are_rotary() -> None:
    gpt = model_of("llama")
    first, later = (gpt.turn(start, start + 8) for start in (0, 40))
    q, k = torch.randn(2, 1, 4, 8, gpt.config.d_head)
    torch.testing.assert_close(
        turned(q, first) @ turned(k, first).mT, turned(q, later) @ turned(k, later).mT, rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(turned(q, first), q)


def test_angles_at_far_positions_are_not_rounded_away() -> None:
    config = model_of("llama").config
    turn = rotary_turn(config, 8_000, 8_001)
    angles = 8_000 * config.rotary_base ** (-2 * np.arange(config.d_head // 2) / config.d_head)
    np.testing.assert_allclose(turn.cos[0], np.cos(angles), atol=1e-7)


def test_heads_of_a_group_share_keys_and_values() -> None:
    trace = model_of("llama").trace(IDS)
    assert np.array_equal(trace.k[:, 0], trace.k[:, 1])
    assert not np.array_equal(trace.k[:, 1], trace.k[:, 2])
    assert not np.array_equal(trace.q[:, 0], trace.q[:, 1])
    assert not trace.position_embeddings.any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_kv_heads": 3}, "n_kv_heads must divide"),
        ({"positions": "rotary", "head_width": 7}, "pairs of dimensions"),
        ({"positions": "rotary", "rotary_factors": (1.0,)}, "rotary_factors must be 4 numbers"),
        ({"rotary_base": 0}, "rotary_base must be a number above 0"),
        ({"norm_epsilon": 10**400}, "norm_epsilon must be a number above 0"),
        ({"rotary_base": float("inf")}, "rotary_base must be a number above 0"),
        ({"norm_epsilon": float("nan")}, "norm_epsilon must be"),
        ({"norm": "batch"}, "norm must be one of layer, rms"),
        ({"head_width": True}, "head_width must be"),
        ({"rotary_factors": "4"}, "rotary_factors must be a list"),
    ],
)
def test_a_config_that_cannot_be_is_refused(changes: dict, said: str) -> None:
    values = {"vocab_size": 300, "context": 64, "n_layers": 3, "n_heads": 4, "d_model": 32}
    with pytest.raises(ConfigError, match=said):
        GPTConfig(**values | changes)


def test_what_is_usual_is_not_written() -> None:
    config = GPTConfig(vocab_size=300, context=64, n_layers=3, n_heads=4, d_model=32)
    assert not {"norm", "positions", "gated"} & set(config.to_dict())
    changed = dataclasses.replace(config, **SHAPES["wide heads"])
    assert GPTConfig.from_dict(changed.to_dict()) == changed
