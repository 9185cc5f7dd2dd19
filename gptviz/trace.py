"""What one forward pass showed, and what may be changed in one.

A `Trace` is returned by the call that made it and belongs to the caller. Its stages are read-only NumPy arrays,
stacked when first asked for. Shapes: L layers, H heads, T tokens, D head width, C model width, F feed-forward
width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gptviz.attention import Attend, AttentionTrace, attention_stages, plain_attention
from gptviz.config import GPTConfig


class HeadGain(NamedTuple):
    """Multiply what one head adds by `gain`: 0 removes the head, 1 leaves it."""

    layer: int
    head: int
    gain: float


class CellEdit(NamedTuple):
    """Set one attention weight; the rest of its row is rescaled so that the row still sums to 1."""

    layer: int
    head: int
    query: int
    key: int
    weight: float


@dataclass(frozen=True)
class WhatIf:
    """Changes to one forward pass. The default changes nothing.

    Args:
        causal: False lets every query see the future as well.
        scaled: False leaves out the division by sqrt(D).
        gains: heads to weaken, remove or amplify.
        edits: attention weights to set by hand, in order.
    """

    causal: bool = True
    scaled: bool = True
    gains: tuple[HeadGain, ...] = ()
    edits: tuple[CellEdit, ...] = ()

    def check(self, config: GPTConfig, t: int) -> None:
        """Raise `ValueError` where a change names a layer, head or token that is not there."""
        for change in (*self.gains, *self.edits):
            if not (0 <= change.layer < config.n_layers and 0 <= change.head < config.n_heads):
                raise ValueError(
                    f"expected a head from 0.0 to {config.n_layers - 1}.{config.n_heads - 1}, "
                    f"found {change.layer}.{change.head}"
                )
        for gain in self.gains:
            if not math.isfinite(gain.gain):
                raise ValueError(f"expected a finite gain for head {gain.layer}.{gain.head}, found {gain.gain}")
        for edit in self.edits:
            if not (0 <= edit.query < t and 0 <= edit.key < t and 0 <= edit.weight <= 1):
                raise ValueError(
                    f"expected a query and key from 0 to {t - 1} and a weight from 0 to 1, found query "
                    f"{edit.query}, key {edit.key}, weight {edit.weight}"
                )
            if self.causal and edit.key > edit.query:
                raise ValueError(f"key {edit.key} is in the future of query {edit.query}: unmask first (causal=False)")
            if (edit.query + 1 if self.causal else t) == 1 and edit.weight != 1:
                raise ValueError(f"query {edit.query} sees only itself: expected a weight of 1, found {edit.weight}")


def traced_attention(what_if: WhatIf, layer: int) -> Attend:
    """Plain attention with the changes that `what_if` asks of this layer."""
    plain = plain_attention(what_if.causal, what_if.scaled)
    gains = [g for g in what_if.gains if g.layer == layer]
    edits = [e for e in what_if.edits if e.layer == layer]
    if not gains and not edits:
        return plain

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        heads, weights = plain(q, k, v)
        if edits:
            weights = edit_weights(weights, edits, what_if.causal)
            heads = weights @ v
        factor = torch.ones(q.size(1), dtype=q.dtype, device=q.device)  # (H,)
        for gain in gains:
            factor[gain.head] *= gain.gain
        return heads * factor[:, None, None], weights

    return attend


def edit_weights(weights: Tensor, edits: list[CellEdit], causal: bool) -> Tensor:
    """Set single cells of (B, H, T, T) and rescale the rest of each row to keep its sum at 1."""
    weights = weights.clone()
    for edit in edits:
        row = weights[:, edit.head, edit.query]  # (B, T), a view
        row[:, edit.key] = 0
        rest = row.sum(-1, keepdim=True)  # (B, 1), added up: 1 - weight would lose what is left of a sharp row
        # A row that was all in this cell has nothing to rescale: what is left goes evenly to all that it may see.
        even = torch.ones_like(row)
        even[:, edit.key] = 0
        if causal:
            even[:, edit.query + 1 :] = 0
        shares = torch.where(rest > 1e-30, row, even)  # (B, T)
        row.copy_((1 - edit.weight) * shares / shares.sum(-1, keepdim=True).clamp_min(1e-30))
        row[:, edit.key] = edit.weight
    return weights


class BlockTrace(NamedTuple):
    """What one block saw, batched as it ran."""

    attention: AttentionTrace
    attention_in: Tensor  # (B, T, C) what attention read: the stream, or its norm in a "pre" model
    middle: Tensor  # (B, T, C) the stream between attention and feed-forward
    ff_in: Tensor  # (B, T, C) what the feed-forward read
    ff_hidden: Tensor  # (B, T, F) after the activation
    ff_out: Tensor  # (B, T, C) what the feed-forward adds
    out: Tensor  # (B, T, C) the stream after the block


class Stage:
    """A named stage of a `Trace`: computed as a tensor, read as a NumPy array, made once, that cannot be changed."""

    def __init__(self, compute: Callable[[Trace], Tensor], doc: str) -> None:
        self.compute = compute
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trace: Trace | None, owner: type | None = None) -> np.ndarray | Stage:
        if trace is None:
            return self
        if self.name not in trace.arrays:
            array = self.compute(trace).detach().float().cpu().numpy()
            array.flags.writeable = False
            trace.arrays[self.name] = array
        return trace.arrays[self.name]


def per_block(get: Callable[[BlockTrace], Tensor], doc: str) -> Stage:
    """A stage that every block has: (L, ...)."""
    return Stage(lambda trace: torch.stack([get(block)[0] for block in trace.blocks]), doc)


def per_attention(name: str, doc: str) -> Stage:
    """A stage of attention that is not kept, computed again from q and k exactly as in the pass: (L, H, T, T)."""

    def compute(trace: Trace) -> Tensor:
        rule = {"causal": trace.what_if.causal, "scaled": trace.what_if.scaled}
        seen = [block.attention for block in trace.blocks]
        return torch.stack([getattr(attention_stages(a.q, a.k, a.v, **rule), name)[0] for a in seen])

    return Stage(compute, doc)


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything one forward pass over T tokens showed. Made by `GPT.trace` and `gptviz.trace`.

    >>> trace.weights[3, 7]  # the attention of head 3.7, rows are queries: (T, T)
    """

    ids: tuple[int, ...]
    what_if: WhatIf
    token_vectors: Tensor = field(repr=False)  # (T, C)
    position_vectors: Tensor = field(repr=False)  # (T, C)
    blocks: tuple[BlockTrace, ...] = field(repr=False)
    final: Tensor = field(repr=False)  # (T, C), what the vocabulary projection reads
    unembedding: Tensor = field(repr=False)  # (V, C), the model's own
    tokens: tuple[str, ...] = ()
    dropped: int = 0  # tokens cut at the left because the text is longer than the context
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    token_embeddings = Stage(lambda t: t.token_vectors, "(T, C) token vectors")
    position_embeddings = Stage(lambda t: t.position_vectors, "(T, C) position vectors")
    residual = Stage(
        lambda t: torch.stack([t.token_vectors + t.position_vectors] + [b.out[0] for b in t.blocks]),
        "(L + 1, T, C) the residual stream: the summed embeddings, then after every block",
    )
    attention_in = per_block(lambda b: b.attention_in, "(L, T, C) what each attention read")
    q = per_block(lambda b: b.attention.q, "(L, H, T, D) queries")
    k = per_block(lambda b: b.attention.k, "(L, H, T, D) keys")
    v = per_block(lambda b: b.attention.v, "(L, H, T, D) values")
    scores = per_attention("scores", "(L, H, T, T) q k^T")
    scaled = per_attention("scaled", "(L, H, T, T) scores / sqrt(D)")
    masked = per_attention("masked", "(L, H, T, T) scaled, -inf where a query may not look")
    weights = per_block(lambda b: b.attention.weights, "(L, H, T, T) attention weights; rows are queries and sum to 1")
    heads = per_block(lambda b: b.attention.heads, "(L, H, T, D) weights times v, per head")
    attention_out = per_block(lambda b: b.attention.out, "(L, T, C) what each attention adds to the stream")
    middle = per_block(lambda b: b.middle, "(L, T, C) the stream between attention and feed-forward")
    ff_in = per_block(lambda b: b.ff_in, "(L, T, C) what each feed-forward read")
    ff_hidden = per_block(lambda b: b.ff_hidden, "(L, T, F) feed-forward activations")
    ff_out = per_block(lambda b: b.ff_out, "(L, T, C) what each feed-forward adds to the stream")
    final_vectors = Stage(lambda t: t.final, "(T, C) what the vocabulary projection reads")
    logits = Stage(lambda t: F.linear(t.final, t.unembedding), "(T, V) one score per vocabulary entry")

    def tensor(self, stage: str) -> Tensor:
        """A stage as a tensor on the model's device; see `STAGES` for the names."""
        if stage not in STAGES:
            raise KeyError(f"expected one of {', '.join(STAGES)}, found {stage!r}")
        return vars(Trace)[stage].compute(self)


STAGES: tuple[str, ...] = tuple(name for name, value in vars(Trace).items() if isinstance(value, Stage))
"""The names of all stages, in the order of the computation."""
