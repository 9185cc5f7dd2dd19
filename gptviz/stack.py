"""A stack of attention layers as lessons read it: of a GPT, or one of the three of an encoder-decoder.

The same lesson explains a head wherever it is; this says whose projections and which tables belong to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor, nn

from gptviz.attention import MultiHeadAttention
from gptviz.config import ModelConfig
from gptviz.gpt import GPT
from gptviz.seq2seq import Transformer, positional_encoding

SIDES = ("encoder", "decoder", "cross")
"""The attentions of an encoder-decoder: the encoder's, the decoder's on its own past, the decoder's on the encoder."""


@dataclass(frozen=True, eq=False)
class Stack:
    """One attention a layer, and what the first layer reads: two tables' sum, or one where positions are rotary."""

    config: ModelConfig
    attentions: tuple[MultiHeadAttention, ...] = field(repr=False)  # L of them
    token_table: Tensor = field(repr=False)  # (V, C) as it is added
    position_table: Tensor | None = field(repr=False)  # (context, C); None where nothing is added
    first_norm: nn.LayerNorm | nn.RMSNorm | None = field(default=None, repr=False)  # what layer 0 reads through
    token_scale: float = 1.0  # that the rows of the trained table were multiplied by
    learned_positions: bool = True


def gpt_stack(gpt: GPT) -> Stack:
    """The only stack of a GPT."""
    attentions = tuple(block.attention for block in gpt.blocks)
    norm = gpt.blocks[0].attention_norm if gpt.config.norm_order == "pre" else None
    table = None if gpt.position_embedding is None else gpt.position_embedding.weight
    return Stack(gpt.config, attentions, gpt.token_embedding.weight, table, norm, learned_positions=table is not None)


def transformer_stack(transformer: Transformer, side: str) -> Stack:
    """One of `SIDES` of an encoder-decoder. All share both tables.

    Raises:
        ValueError: for another side.
    """
    attentions = {
        "encoder": [block.attention for block in transformer.encoder],
        "decoder": [block.attention for block in transformer.decoder],
        "cross": [block.cross for block in transformer.decoder],
    }
    if side not in attentions:
        raise ValueError(f"expected one of {', '.join(SIDES)}, found {side!r}")
    config, table = transformer.config, transformer.token_embedding.weight
    scale = math.sqrt(config.d_model)  # section 3.4
    return Stack(
        config,
        tuple(attentions[side]),
        table * scale,
        positional_encoding(0, config.context, config.d_model, table.device),
        token_scale=scale,
        learned_positions=False,
    )
