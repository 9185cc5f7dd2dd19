"""Whose weights a lesson shows: the projections of each attention, and the tables that the first layer reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gptviz.seq2seq import positional_encoding
from gptviz.stack import SIDES, gpt_stack, transformer_stack
from tests.tiny import random_gpt, translator


def test_the_tables_of_a_gpt_sum_to_what_layer_0_reads() -> None:
    gpt = random_gpt(seed=1)
    stack, trace = gpt_stack(gpt), gpt.trace([3, 1, 4])
    summed = stack.token_table[[3, 1, 4]] + stack.position_table[:3]
    np.testing.assert_allclose(summed.detach().numpy(), trace.attention_in[0], atol=1e-6)
    assert stack.first_norm is None and stack.learned_positions and stack.token_scale == 1
    assert [id(a) for a in stack.attentions] == [id(block.attention) for block in gpt.blocks]


def test_a_gpt_that_normalises_first_has_what_layer_0_reads_through() -> None:
    gpt = random_gpt(seed=1, norm_order="pre")
    stack, trace = gpt_stack(gpt), gpt.trace([3, 1, 4])
    summed = stack.token_table[[3, 1, 4]] + stack.position_table[:3]
    torch.testing.assert_close(stack.first_norm(summed), trace.blocks[0].attention_in[0])


@pytest.mark.parametrize("side", SIDES)
def test_a_side_has_the_attention_of_its_own(side: str) -> None:
    transformer = translator(seed=1).transformer
    stack = transformer_stack(transformer, side)
    names = {"encoder": "encoder.{}.attention", "decoder": "decoder.{}.attention", "cross": "decoder.{}.cross"}
    modules = dict(transformer.named_modules())
    for layer, attention in enumerate(stack.attentions):
        assert attention is modules[names[side].format(layer)]
    assert stack.config is transformer.config


def test_the_tables_of_an_encoder_decoder_sum_to_what_it_reads() -> None:
    transformer = translator(seed=1).transformer
    stack, ids = transformer_stack(transformer, "encoder"), [3, 1, 4]
    _, _, blocks = transformer.encode(torch.tensor([ids]))
    summed = stack.token_table[ids] + stack.position_table[:3]
    torch.testing.assert_close(summed, blocks[0].attention_in[0])
    assert not stack.learned_positions
    torch.testing.assert_close(stack.token_table, transformer.token_embedding.weight * stack.token_scale)
    torch.testing.assert_close(stack.position_table, positional_encoding(0, len(stack.position_table), summed.size(1)))


def test_another_side_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of encoder, decoder, cross, found 'left'"):
        transformer_stack(translator().transformer, "left")
