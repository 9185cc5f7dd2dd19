"""The encoder-decoder transformer (Vaswani et al. 2017), from the same attention and feed-forward as the GPT.

Source ids in, the logits of every next target token out. What a pass saw is in what it returns; nothing stays on a
module. Shapes: B batch, S source tokens, T target tokens, H heads, D head width, C model width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptviz.attention import (
    Attend,
    AttentionTrace,
    Kernel,
    KeyValueCache,
    MultiHeadAttention,
    fast_attention,
    padding_mask,
)
from gptviz.config import TransformerConfig
from gptviz.gpt import Block, Drop, FeedForward, initialise, lay_out_by_columns, nothing
from gptviz.linear import linear
from gptviz.trace import BlockTrace

PADDING = -1  # in sources it is masked, in targets it does not count
WAVELENGTH = 10000.0  # of the slowest position, in multiples of 2 pi tokens


class Noise(NamedTuple):
    """The dropout of one training step: 1 for what stays and 0 for what goes, of all that is added (section 5.4).

    Drawn before the step, as random numbers inside a compiled step took more time on a CPU than its matrix products.
    """

    scale: float  # of what stays, such that the mean stays
    encoder: Tensor  # (2 L + 1, B, S, C) bfloat16
    decoder: Tensor  # (3 L + 1, B, T, C) bfloat16

    def drops(self) -> tuple[Drop, Drop]:
        """For the encoder and the decoder: each call drops by what was drawn next."""
        return self.in_turn(self.encoder), self.in_turn(self.decoder)

    def in_turn(self, drawn: Tensor) -> Drop:
        """One side's dropout."""
        kept = iter(drawn.unbind())
        return lambda x: x * next(kept) * self.scale


class DecoderCache(NamedTuple):
    """Keys and values of one decoder block: of the target so far, and of the source, which are made once."""

    own: KeyValueCache
    cross: KeyValueCache


class DecoderBlockTrace(NamedTuple):
    """What one decoder block saw, batched as it ran: a `BlockTrace` with a second attention, on the source."""

    own: BlockTrace  # `own.middle` is what the feed-forward is added to, after the cross-attention
    cross: AttentionTrace
    cross_in: Tensor  # (B, T, C) the stream between self-attention and cross-attention


class DecoderBlock(nn.Module):
    """Masked self-attention, cross-attention on the encoder's output, feed-forward: each added, then normalised."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(config.d_model, config.n_heads)
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.cross = MultiHeadAttention(config.d_model, config.n_heads)
        self.cross_norm = nn.LayerNorm(config.d_model)
        self.ff = FeedForward(config)
        self.ff_norm = nn.LayerNorm(config.d_model)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        attend: Attend,
        attend_cross: Attend,
        cache: DecoderCache | None = None,
        drop: Drop = nothing,
    ) -> tuple[Tensor, DecoderBlockTrace]:
        """x (B, T, C), memory (B, S, C) -> the stream after this block (B, T, C), and what the block saw."""
        own = self.attention(x, attend=attend, cache=cache.own if cache else None)
        cross_in = self.attention_norm(x + drop(own.out))
        cross = self.cross(cross_in, memory, attend=attend_cross, cache=cache.cross if cache else None)
        middle = self.cross_norm(cross_in + drop(cross.out))
        ff_out = self.ff(middle)
        out = self.ff_norm(middle + drop(ff_out))
        seen = BlockTrace(own, x, middle, middle, self.ff.hidden, ff_out, out)
        return out, DecoderBlockTrace(seen, cross, cross_in)


class Transformer(nn.Module):
    """Encoder and decoder over one vocabulary, whose table is also the output projection (section 3.4)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layers))
        self.apply(initialise)
        # Times sqrt(C) the vectors have unit variance, like the positions nearly; so have the logits.
        nn.init.normal_(self.token_embedding.weight, std=config.d_model**-0.5)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.weight.device

    def for_reading(self) -> Transformer:
        """Itself, to be read and no longer trained; see `GPT.for_reading`."""
        lay_out_by_columns(self)
        return self.requires_grad_(False).eval()

    def count_parameters(self) -> int:
        """Trained numbers; the one table counts once."""
        return sum(p.numel() for p in self.parameters())

    def embed(self, ids: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """ids (B, T), the first at position `start` -> token vectors (B, T, C) times sqrt(C), positions (T, C)."""
        end = start + ids.size(1)
        if end > self.config.context:
            raise ValueError(f"{end} tokens do not fit a context of {self.config.context}; translate shorter sentences")
        tokens = self.token_embedding(ids.clamp_min(0)) * math.sqrt(self.config.d_model)
        return tokens, positional_encoding(start, end, self.config.d_model, ids.device)

    def encode(
        self, source: Tensor, kernel: Kernel = fast_attention, drop: Drop = nothing
    ) -> tuple[Tensor, Tensor, list[BlockTrace]]:
        """source (B, S), `PADDING` at the ends -> memory (B, S, C), its mask (B, 1, 1, S), what each block saw."""
        tokens, positions = self.embed(source)
        x = drop(tokens + positions)
        mask = padding_mask(source != PADDING)
        attend = kernel(causal=False, mask=mask)
        blocks = []
        for block in self.encoder:
            x, seen = block(x, attend, drop=drop)
            blocks.append(seen)
        return x, mask, blocks

    def decode(
        self,
        inputs: Tensor,
        memory: Tensor,
        mask: Tensor | None,
        kernel: Kernel = fast_attention,
        caches: Sequence[DecoderCache] | None = None,
        drop: Drop = nothing,
    ) -> tuple[Tensor, list[DecoderBlockTrace]]:
        """inputs (B, T), memory (B, S, C), its mask -> the last stream (B, T, C), and what each block saw.

        With `caches`, `inputs` continue what the caches hold.
        """
        tokens, positions = self.embed(inputs, caches[0].own.used if caches else 0)
        x = drop(tokens + positions)
        attend, attend_cross = kernel(causal=True), kernel(causal=False, mask=mask)
        blocks = []
        for i, block in enumerate(self.decoder):
            x, seen = block(x, memory, attend, attend_cross, caches[i] if caches else None, drop)
            blocks.append(seen)
        return x, blocks

    def logits(self, x: Tensor) -> Tensor:
        """The last stream (..., C) -> (..., V), by the table of the embeddings."""
        return linear(x, self.token_embedding.weight)

    def forward(
        self, source: Tensor, inputs: Tensor, kernel: Kernel = fast_attention, noise: Noise | None = None
    ) -> Tensor:
        """source (B, S), inputs (B, T), the target shifted right -> logits (B, T, V); `noise` is for training."""
        drops = noise.drops() if noise else (nothing, nothing)
        memory, mask, _ = self.encode(source, kernel, drops[0])
        x, _ = self.decode(inputs, memory, mask, kernel, drop=drops[1])
        return self.logits(x)

    def loss(
        self,
        source: Tensor,
        inputs: Tensor,
        targets: Tensor,
        kernel: Kernel = fast_attention,
        noise: Noise | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Mean cross-entropy in nats over the targets (B, T) that are not padding -> ().

        `smoothing` is the share of the target's probability that is spread evenly over the vocabulary (section 5.4).
        """
        logits = self(source, inputs, kernel, noise)  # (B, T, V)
        return F.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=PADDING, label_smoothing=smoothing
        )

    def draw_noise(self, source: Tensor, inputs: Tensor, share: float, seed: Sequence[int]) -> Noise | None:
        """The dropout of one step on source (B, S) and inputs (B, T): equal seeds give equal noise."""
        threshold = round(256 * share)  # of a random byte
        if threshold == 0:
            return None
        rng, n = np.random.Generator(np.random.SFC64(seed)), self.config.n_layers
        drawn = []
        for ids, sublayers in ((source, 2 * n + 1), (inputs, 3 * n + 1)):  # one more for the embeddings
            shape = (sublayers, *ids.shape, self.config.d_model)
            noise = torch.frombuffer(bytearray(rng.bytes(math.prod(shape))), dtype=torch.uint8).view(shape)
            drawn.append((noise.to(self.device) >= threshold).bfloat16())
        return Noise(256 / (256 - threshold), *drawn)


def positional_encoding(start: int, end: int, d_model: int, device: torch.device | None = None) -> Tensor:
    """Positions `start` to `end` - 1 as (T, C): sines in even columns, cosines in odd ones (section 3.5)."""
    position = torch.arange(start, end, device=device, dtype=torch.float32)[:, None]  # (T, 1)
    column = torch.arange(0, d_model, 2, device=device, dtype=torch.float32)  # (C / 2,)
    angles = position * torch.exp(column * (-math.log(WAVELENGTH) / d_model))  # (T, C / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d_model]
