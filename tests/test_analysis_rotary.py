"""Rotary positions against the model itself: angles, vectors before they are turned, and scores by distance alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gptviz.analysis import rotary
from gptviz.analysis.head_stages import head_stages, projections
from gptviz.analysis.positions import position_vectors, split_scores
from gptviz.gpt import rotary_turn
from gptviz.stack import gpt_stack
from tests.test_family import IDS, LLAMA, SHAPES, model_of
from tests.tiny import random_gpt

ROTARY = [name for name, shape in SHAPES.items() if shape.get("positions") == "rotary"]


@pytest.mark.parametrize("name", ROTARY)
def test_speeds_are_those_that_the_model_turns_by(name: str) -> None:
    config = model_of(name).config
    turn = rotary_turn(config, 0, 50)
    angles = np.arange(50)[:, None] * rotary.speeds(config)
    np.testing.assert_allclose(turn.cos, np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(turn.sin, np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(rotary.cosines_by_distance(config, 50), np.cos(angles).T, atol=1e-12)
    np.testing.assert_allclose(rotary.periods(config) * rotary.speeds(config), 2 * np.pi)


@pytest.mark.parametrize("name", ROTARY)
def test_every_score_of_the_pass_is_found_at_its_distance(name: str) -> None:
    gpt = model_of(name)
    trace = gpt.trace(IDS)
    for layer, head in ((0, 0), (2, 3)):
        stages = head_stages(trace, layer, head)
        before = rotary.before_the_turn(stages, projections(gpt_stack(gpt).attentions[layer], head))
        np.testing.assert_allclose(before.q[0], stages.q[0], atol=1e-5)  # position 0 turns nothing
        assert not np.allclose(before.q[5], stages.q[5], atol=1e-2)
        for query in range(len(IDS)):
            for key in range(query + 1):
                parts = rotary.parts_by_distance(gpt.config, before.q[query], before.k[key], len(IDS))
                assert parts[:, query - key].sum() == pytest.approx(stages.scaled[query, key], abs=2e-4)


def test_learned_positions_have_no_angles_and_rotary_ones_no_table() -> None:
    with pytest.raises(ValueError, match="nothing is turned"):
        rotary.speeds(model_of("gpt2").config)
    gpt = model_of("llama")
    with pytest.raises(ValueError, match="show their angles"):
        position_vectors(gpt_stack(gpt))
    with pytest.raises(ValueError, match="no term"):
        split_scores(gpt_stack(gpt), gpt.trace(IDS), 0)


@pytest.mark.parametrize("name", SHAPES)
def test_projections_make_the_queries_keys_and_values_of_their_head(name: str) -> None:
    gpt = model_of(name)
    attention, stack = gpt.blocks[1].attention, gpt_stack(gpt)
    x = torch.randn(1, 5, gpt.config.d_model)
    wanted = attention.project(x)  # each (1, H, T, D)
    for head in range(gpt.config.n_heads):
        own = projections(stack.attentions[1], head)
        parts = ((own.query, own.query_bias), (own.key, own.key_bias), (own.value, own.value_bias))
        for (weight, bias), made in zip(parts, wanted, strict=True):
            assert (bias is None) == (gpt.config.bias == "none")
            found = x[0].numpy() @ weight + (0 if bias is None else bias)
            np.testing.assert_allclose(found, made[0, head], atol=1e-5)
        assert (own.output_bias is None) == (gpt.config.bias != "all")
        sharing = [h for h in range(gpt.config.n_heads) if torch.equal(wanted[1][0, h], wanted[1][0, head])]
        assert list(own.group) == sharing


@pytest.mark.parametrize(
    "changes", [{"bias": "none"}, {"bias": "qkv", "head_width": 6}, {"bias": "all", "norm": "layer"}]
)
def test_a_model_with_a_table_and_an_rms_norm_splits_its_scores(changes: dict) -> None:
    gpt = random_gpt(seed=5, **LLAMA | {"positions": "learned", "n_kv_heads": 2} | changes)
    trace = gpt.trace(IDS)
    for head in range(4):
        total, score = split_scores(gpt_stack(gpt), trace, head).total, head_stages(trace, 0, head).scaled
        np.testing.assert_allclose(total, score, atol=2e-4)
