"""Masks, scaled dot-product attention in a fast and a plain form, and multi-head attention around them.

Knows nothing about blocks, vocabularies or text. Shapes: B batch, H heads, T queries,
S keys (sources), D head width, C model width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptviz.config import Bias
from gptviz.linear import Linear, linear

Attend = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""(q (B, H, T, D), k (B, H, S, D), v (B, H, S, D)) -> head outputs (B, H, T, D), weights (B, H, T, S) or None."""

Kernel = Callable[..., Attend]
"""`plain_attention` or `fast_attention`: (causal, scaled, mask) -> how to attend."""


class Stages(NamedTuple):
    """Every stage of attention, in the order it is computed; all (B, H, T, S) but the last."""

    scores: Tensor  # q @ k^T
    scaled: Tensor  # scores / sqrt(D)
    masked: Tensor  # scaled, with -inf wherever a query may not look
    weights: Tensor  # softmax of masked over the keys: rows sum to 1
    heads: Tensor  # weights @ v                        (B, H, T, D)


def causal_mask(t: int, s: int, device: torch.device | None = None) -> Tensor:
    """True where a query may look, (T, S): at itself and everything before it.

    Queries are the last `t` of the `s` positions, so a key/value cache needs no second rule.
    """
    return torch.tril(torch.ones(t, s, dtype=torch.bool, device=device), diagonal=s - t)  # (T, S)


def additive_mask(t: int, s: int, device: torch.device | None = None) -> Tensor:
    """0 where a query may look and -inf where it may not, (T, S): to be added to the scores."""
    return torch.zeros(t, s, device=device).masked_fill_(~causal_mask(t, s, device), -math.inf)


def padding_mask(there: Tensor) -> Tensor:
    """0 where a source has a token and -inf where it has padding: there (B, S) -> (B, 1, 1, S), for every query.

    Every row needs a token: a query that may look nowhere has no weights.
    """
    return torch.zeros(there.shape, device=there.device).masked_fill_(~there, -math.inf)[:, None, None]


def attention_stages(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, scaled: bool = True, mask: Tensor | None = None
) -> Stages:
    """softmax(q k^T / sqrt(D) + mask) v, every stage kept (Vaswani et al. 2017, equation 1).

    `mask` is an `additive_mask` or a `padding_mask` made beforehand; without one, `causal` makes it.
    """
    scores = q @ k.mT  # (B, H, T, S)
    scores_scaled = scores / math.sqrt(q.size(-1)) if scaled else scores
    if causal and mask is None:
        mask = additive_mask(q.size(-2), k.size(-2), q.device)
    masked = scores_scaled if mask is None else scores_scaled + mask
    weights = masked.softmax(dim=-1)
    return Stages(scores, scores_scaled, masked, weights, weights @ v)


def attention_weights(
    q: Tensor, k: Tensor, *, scaled: bool = True, mask: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """The weights of `attention_stages` alone, (B, H, T, S): product, scale and mask in one pass over the memory.

    They are float32 or finer whatever q and k are. Args: `mask` is an `additive_mask`; `out` is where to put them.
    """
    added = q.new_zeros(1, 1) if mask is None else mask.to(q.dtype)
    alpha = 1 / math.sqrt(q.size(-1)) if scaled else 1.0
    masked = torch.baddbmm(added[None], q.flatten(0, 1), k.flatten(0, 1).mT, alpha=alpha)  # (B H, T, S)
    dtype = torch.promote_types(masked.dtype, torch.float32)
    return torch.softmax(masked.unflatten(0, q.shape[:2]), dim=-1, dtype=dtype, out=out)


def plain_attention(causal: bool = True, scaled: bool = True, mask: Tensor | None = None) -> Attend:
    """Attention written out, weights returned: for traces, and for compiled training on a CPU."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        stages = attention_stages(q, k, v, causal=causal, scaled=scaled, mask=mask)
        return stages.heads, stages.weights

    return attend


def fast_attention(causal: bool = True, scaled: bool = True, mask: Tensor | None = None) -> Attend:
    """PyTorch's fused kernel: no weights come back; for training on a GPU and for plain inference.

    `mask` is made beforehand, as for `attention_stages`; without one, `causal` makes it.
    """

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
        t, s = q.size(-2), k.size(-2)
        scale = None if scaled else 1.0
        if mask is not None:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype), scale=scale), None
        # The kernel's own causal mask starts at the top left: right only when T = S. One query sees all.
        seen = causal_mask(t, s, q.device) if causal and 1 < t != s else None
        heads = F.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, is_causal=causal and t == s and t > 1, scale=scale
        )
        return heads, None

    return attend


class Turn(NamedTuple):
    """By how much rotary positions turn each pair of dimensions of queries and keys at T positions."""

    cos: Tensor  # (T, D / 2)
    sin: Tensor  # (T, D / 2)


def turned(x: Tensor, turn: Turn) -> Tensor:
    """x (B, H, T, D) with dimensions i and D / 2 + i turned as a pair, by the angle of their position.

    Su et al. 2021, section 3.2.2; the pairs as in Llama's published weights for Hugging Face: split halves.
    """
    first, second = x.chunk(2, dim=-1)  # (B, H, T, D / 2)
    return torch.cat([first * turn.cos - second * turn.sin, second * turn.cos + first * turn.sin], dim=-1)


class KeyValueCache:
    """Keys and values of the positions that one generation has seen, for one block.

    Belongs to the call that generates, never to a module. Memory is taken once, for `length` positions.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.used = 0
        self.keys: Tensor | None = None  # (B, H, length, D)
        self.values: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, H, T, D) keys and values; returns all so far, (B, H, S, D)."""
        end = self.used + k.size(2)
        if end > self.length:
            raise ValueError(f"the cache holds {self.length} positions and was asked for {end}; start a longer one")
        if self.keys is None or self.values is None:
            shape = (*k.shape[:2], self.length, k.size(3))
            self.keys, self.values = k.new_empty(shape), v.new_empty(shape)
        self.keys[:, :, self.used : end] = k
        self.values[:, :, self.used : end] = v
        self.used = end
        return self.seen()

    def seen(self) -> tuple[Tensor, Tensor]:
        """Keys and values so far, each (B, H, S, D)."""
        if self.keys is None or self.values is None:
            raise ValueError("the cache is empty; append keys and values first")
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def choose(self, rows: Tensor) -> None:
        """Go on with these rows of the batch, (B',): the beams that a search keeps."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class AttentionTrace(NamedTuple):
    """What one multi-head attention saw and made."""

    q: Tensor  # (B, H, T, D), turned where positions are rotary
    k: Tensor  # (B, H, S, D), as well; equal in heads that share them
    v: Tensor  # (B, H, S, D)
    weights: Tensor | None  # (B, H, T, S); None from the fast path, and where they are too many to keep
    heads: Tensor  # (B, H, T, D), a view of what the projection read
    out: Tensor  # (B, T, C), heads concatenated and projected


class MultiHeadAttention(nn.Module):
    """Project to q, k, v per head; attend; concatenate; project (Vaswani et al. 2017, section 3.2.2).

    Self-attention by default; cross-attention when `forward` is given a `memory`.

    Args:
        d_model: C; n_heads: H.
        d_head: D; C / H if not given.
        n_groups: heads of keys and values, each for H / n_groups query heads in a row; H if not given.
        bias: see `GPTConfig`.
    """

    def __init__(
        self, d_model: int, n_heads: int, d_head: int | None = None, n_groups: int | None = None, bias: Bias = "all"
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.n_groups = n_groups or n_heads
        self.d_head = d_head or d_model // n_heads
        rows = (n_heads + 2 * self.n_groups) * self.d_head  # all of q, then k, then v; head by head inside each
        self.qkv = Linear(d_model, rows, bias=bias != "none")
        self.out = Linear(n_heads * self.d_head, d_model, bias=bias == "all")

    def project(
        self, x: Tensor, memory: Tensor | None = None, cache: KeyValueCache | None = None, turn: Turn | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, C), memory (B, S, C) -> q (B, H, T, D), k (B, H, S, D), v (B, H, S, D).

        With a `cache`, keys and values of x are added to it; those of a memory are made once and kept in it. With a
        `turn`, queries and keys are turned by their positions. Heads that share keys and values each see them.
        """
        if memory is None:
            q, k, v = self.split(self.qkv(x), self.n_heads, self.n_groups, self.n_groups)
            if turn is not None:
                q, k = turned(q, turn), turned(k, turn)
            k, v = (k, v) if cache is None else cache.append(k, v)
            return q, self.shared(k), self.shared(v)
        c = x.size(-1)
        (q,) = self.split(linear(x, self.qkv.weight[:c], self.qkv.bias[:c]), self.n_heads)
        if cache is not None and cache.used:
            return q, *cache.seen()
        k, v = self.split(linear(memory, self.qkv.weight[c:], self.qkv.bias[c:]), self.n_heads, self.n_heads)
        return (q, k, v) if cache is None else (q, *cache.append(k, v))

    def split(self, x: Tensor, *heads: int) -> tuple[Tensor, ...]:
        """(B, T, sum of heads times D) -> a view (B, heads, T, D) for each"""
        all_heads = x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)  # (B, sum of heads, T, D)
        return all_heads.split(heads, dim=1)

    def shared(self, x: Tensor) -> Tensor:
        """(B, n_groups, S, D) -> (B, H, S, D), each repeated for its group of query heads."""
        return x if self.n_groups == self.n_heads else x.repeat_interleave(self.n_heads // self.n_groups, dim=1)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        attend: Attend,
        cache: KeyValueCache | None = None,
        turn: Turn | None = None,
    ) -> AttentionTrace:
        """x (B, T, C), memory (B, S, C) or None for self-attention -> `AttentionTrace`."""
        q, k, v = self.project(x, memory, cache, turn)
        heads, weights = attend(q, k, v)  # (B, H, T, D)
        joined = heads.transpose(1, 2).flatten(2)  # (B, T, H D)
        heads = joined.unflatten(2, (self.n_heads, -1)).transpose(1, 2)  # (B, H, T, D), so that one copy is kept
        return AttentionTrace(q, k, v, weights, heads, self.out(joined))
