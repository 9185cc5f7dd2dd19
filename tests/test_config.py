"""A config checks itself, says what is wrong, and survives the way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptviz.config import ConfigError, GPTConfig, TransformerConfig

SHAPE: dict[str, Any] = {"vocab_size": 500, "context": 64, "n_layers": 2, "n_heads": 4, "d_model": 32}
sizes = st.integers(1, 1000)


@given(
    vocab_size=sizes, context=sizes, n_layers=sizes, n_heads=st.integers(1, 16), d_head=st.integers(1, 64),
    d_ff=st.integers(0, 1000), norm_order=st.sampled_from(["post", "pre"]), tied=st.booleans(),
    activation=st.sampled_from(["relu", "gelu", "gelu_tanh"]),
)  # fmt: skip
def test_every_valid_config_survives_json(n_heads: int, d_head: int, d_ff: int, **rest: Any) -> None:
    config = GPTConfig(n_heads=n_heads, d_model=n_heads * d_head, d_ff=d_ff, **rest)
    assert GPTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.d_head == d_head
    assert config.d_ff == (d_ff or 4 * n_heads * d_head)


def test_the_defaults_are_the_model_of_the_lesson() -> None:
    config = GPTConfig(**SHAPE)
    assert (config.norm_order, config.activation, config.tied, config.d_ff) == ("post", "relu", False, 128)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPTConfig(**SHAPE).n_layers = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["vocab_size", "context", "n_layers", "n_heads", "d_model", "d_ff"])
@pytest.mark.parametrize("value", [-1, 1.0, 2.5, "8", None, True, [8], 2**31, float("nan")])
def test_a_size_is_a_whole_number_in_range(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number from 1 to 2147483647, found "):
        GPTConfig(**(SHAPE | {name: value}))


@pytest.mark.parametrize("name", ["vocab_size", "context", "n_layers", "n_heads", "d_model"])
def test_only_the_feed_forward_width_may_be_left_at_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number .*, found 0"):
        GPTConfig(**(SHAPE | {name: 0}))


@pytest.mark.parametrize("value", ["swish", "", "RELU", None, 3, ["relu"], {"kind": "relu"}])
def test_an_unknown_activation_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="activation must be one of relu, gelu, gelu_tanh, silu, found "):
        GPTConfig(**SHAPE, activation=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["before", True, None])
def test_an_unknown_order_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="norm_order must be one of post, pre, found "):
        GPTConfig(**SHAPE, norm_order=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_tied_is_true_or_false(value: object) -> None:
    with pytest.raises(ConfigError, match="tied must be true or false, found "):
        GPTConfig(**SHAPE, tied=value)  # type: ignore[arg-type]


def test_heads_must_divide_the_width_and_the_message_has_a_width_that_does() -> None:
    with pytest.raises(ConfigError, match="found d_model 32 and n_heads 5; choose a width such as 35"):
        GPTConfig(**(SHAPE | {"n_heads": 5}))
    assert GPTConfig(**(SHAPE | {"n_heads": 5, "d_model": 35})).d_head == 7


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown: dropout, n_embd; missing: context, d_model"):
        GPTConfig.from_dict({"vocab_size": 500, "n_layers": 2, "n_heads": 4, "n_embd": 32, "dropout": 0.1})


@pytest.mark.parametrize("values", [None, [], "gpt", 3])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match="expected a JSON object describing the model, found "):
        GPTConfig.from_dict(values)


def test_a_key_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown: 7"):
        GPTConfig.from_dict(SHAPE | {7: 1})


def test_a_context_that_no_weight_bounds_has_a_bound() -> None:
    shape = {"vocab_size": 9, "n_layers": 1, "n_heads": 1, "d_model": 4}
    assert TransformerConfig(context=4096, **shape).context == 4096
    with pytest.raises(ConfigError, match="at most 4,096 where positions are not learned, found 1,000,000,000"):
        TransformerConfig(context=10**9, **shape)
