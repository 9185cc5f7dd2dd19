"""What one forward pass showed, and what may be changed in one.

A `Trace` is returned by the call that made it and belongs to the caller. Its stages are read-only NumPy arrays,
stacked when first asked for; the widest are not kept by the pass but computed again, by the same operations.
Shapes: L layers, H heads, T tokens, S keys, which are the T tokens but in cross-attention, D head width, C model
width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gptviz.attention import Attend, AttentionTrace, additive_mask, attention_stages, attention_weights
from gptviz.config import ModelConfig
from gptviz.half import product

if TYPE_CHECKING:
    import pandas as pd

KEPT_BYTES = 64 * 2**20  # of all attention weights of a pass; where they take more, they are computed when asked for


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

    def check(self, config: ModelConfig, t: int, s: int | None = None) -> None:
        """Raise `ValueError` where a change names a layer, head or token that is not there.

        Args:
            config: of the model; t: how many queries there are; s: how many keys, `t` if not given.
        """
        s = t if s is None else s
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
            if not (0 <= edit.query < t and 0 <= edit.key < s and 0 <= edit.weight <= 1):
                there = f"query and key from 0 to {t - 1}" if s == t else f"query from 0 to {t - 1}, a key to {s - 1}"
                raise ValueError(
                    f"expected a {there} and a weight from 0 to 1, found query {edit.query}, key {edit.key}, "
                    f"weight {edit.weight}"
                )
            if self.causal and edit.key > edit.query:
                raise ValueError(f"key {edit.key} is in the future of query {edit.query}: unmask first (causal=False)")
            if (edit.query + 1 if self.causal else s) == 1 and edit.weight != 1:
                only = "itself" if s == t else "one key"
                raise ValueError(f"query {edit.query} sees only {only}: expected a weight of 1, found {edit.weight}")


class TracedAttention:
    """Attention of one pass with `t` queries, written out, with the changes that `what_if` asks for."""

    def __init__(self, what_if: WhatIf, t: int, device: torch.device) -> None:
        self.what_if = what_if
        self.mask = additive_mask(t, t, device) if what_if.causal else None  # (T, T), made once for all layers

    def weights(self, layer: int, q: Tensor, k: Tensor, out: Tensor | None = None) -> Tensor:
        """One layer's attention weights with its edits, (B, H, T, S): in the pass, and again for who asks later."""
        weights = attention_weights(q, k, scaled=self.what_if.scaled, mask=self.mask, out=out)
        edits = [edit for edit in self.what_if.edits if edit.layer == layer]
        edit_weights(weights, edits, self.what_if.causal)
        return weights

    def attend(self, layer: int, kept: Tensor | None) -> Attend:
        """How one layer attends. Its weights are written to `kept` (L, H, T, S); without it they are not returned."""
        gains = [gain for gain in self.what_if.gains if gain.layer == layer]

        def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
            weights = self.weights(layer, q, k, None if kept is None else kept[layer, None])  # (B, H, T, S)
            heads = weights.to(v.dtype) @ v  # (B, H, T, D)
            if gains:
                factor = torch.ones(q.size(1), dtype=q.dtype, device=q.device)  # (H,)
                for gain in gains:
                    factor[gain.head] *= gain.gain
                heads = heads * factor[:, None, None]
            return heads, None if kept is None else weights

        return attend

    def in_turn(self, kept: Tensor | None) -> Attend:
        """How the layers of one pass attend, for a pass that asks once for all: each call is the next layer's."""
        layers = itertools.count()

        def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
            return self.attend(next(layers), kept)(q, k, v)

        return attend


def room_for_weights(config: ModelConfig, t: int, like: Tensor, s: int | None = None) -> Tensor | None:
    """Where a pass writes its attention weights, (L, H, T, S), T = S if not given; None where they are not kept."""
    s = t if s is None else s
    if not keeps_squares(config.n_layers, config.n_heads, t, s):
        return None
    dtype = torch.promote_types(like.dtype, torch.float32)
    return like.new_empty((config.n_layers, config.n_heads, t, s), dtype=dtype)


def keeps_squares(n_layers: int, n_heads: int, t: int, s: int | None = None) -> bool:
    """A trace keeps what has a number for every query and key in every head, up to `KEPT_BYTES` of float32."""
    return 4 * n_layers * n_heads * t * (t if s is None else s) <= KEPT_BYTES


def edit_weights(weights: Tensor, edits: list[CellEdit], causal: bool) -> None:
    """Set single cells of (B, H, T, S), in place, and rescale the rest of each row to keep its sum at 1."""
    for edit in edits:
        row = weights[:, edit.head, edit.query]  # (B, S), a view
        row[:, edit.key] = 0
        rest = row.sum(-1, keepdim=True)  # (B, 1), added up: 1 - weight would lose what is left of a sharp row
        # A row that was all in this cell has nothing to rescale: what is left goes evenly to all that it may see.
        even = torch.ones_like(row)
        even[:, edit.key] = 0
        if causal:
            even[:, edit.query + 1 :] = 0
        shares = torch.where(rest > 1e-30, row, even)  # (B, S)
        row.copy_((1 - edit.weight) * shares / shares.sum(-1, keepdim=True).clamp_min(1e-30))
        row[:, edit.key] = edit.weight


class BlockTrace(NamedTuple):
    """What one block saw, batched as it ran."""

    attention: AttentionTrace
    attention_in: Tensor  # (B, T, C) what attention read: the stream, or its norm in a "pre" model
    middle: Tensor  # (B, T, C) the stream between attention and feed-forward
    ff_in: Tensor  # (B, T, C) what the feed-forward read
    ff_hidden: Callable[[Tensor], Tensor]  # ff_in -> (B, T, F) after the activation, by the model's own layer
    ff_out: Tensor  # (B, T, C) what the feed-forward adds
    out: Tensor  # (B, T, C) the stream after the block


class Stage:
    """A named stage of a `Trace`: computed as a tensor, read as a NumPy array, made once, that cannot be changed.

    A `square` one has a number for every query and key in every head: where that is too much to keep, it is made
    whenever it is read.
    """

    def __init__(self, compute: Callable[[Trace], Tensor], doc: str, *, square: bool = False) -> None:
        self.compute = torch.no_grad()(compute)
        self.square = square
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trace: Trace | None, owner: type | None = None) -> np.ndarray | Stage:
        if trace is None:
            return self
        if self.name in trace.arrays:
            return trace.arrays[self.name]
        array = read_only(self.compute(trace))
        if trace.keeps_squares or not self.square:
            trace.arrays[self.name] = array
        return array


def read_only(tensor: Tensor) -> np.ndarray:
    """As a float32 array that cannot be written to."""
    array = tensor.detach().float().cpu().numpy()
    array.flags.writeable = False
    return array


def per_block(get: Callable[[BlockTrace], Tensor], doc: str) -> Stage:
    """A stage that every block has: (L, ...)."""
    return Stage(lambda trace: torch.stack([get(block)[0] for block in trace.blocks]), doc)


def per_attention(name: str, doc: str) -> Stage:
    """A stage of attention that is not kept, computed again from q and k exactly as in the pass: (L, H, T, S)."""

    def compute(trace: Trace) -> Tensor:
        rule = {"causal": trace.what_if.causal, "scaled": trace.what_if.scaled}
        seen = [block.attention for block in trace.blocks]
        return torch.stack([getattr(attention_stages(a.q, a.k, a.v, **rule), name)[0] for a in seen])

    return Stage(compute, doc, square=True)


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything one forward pass over T tokens showed. Made by `GPT.trace` and `gptviz.trace`.

    >>> trace.weights[1, 3]  # the attention of head 1.3, rows are queries: (T, T)
    """

    ids: tuple[int, ...]
    what_if: WhatIf
    token_vectors: Tensor = field(repr=False)  # (T, C)
    position_vectors: Tensor = field(repr=False)  # (T, C)
    blocks: tuple[BlockTrace, ...] = field(repr=False)
    final: Tensor = field(repr=False)  # (T, C), what the vocabulary projection reads
    unembedding: Tensor = field(repr=False)  # (V, C), the model's own
    kept_weights: Tensor | None = field(default=None, repr=False)  # (L, H, T, S)
    tokens: tuple[str, ...] = ()
    dropped: int = 0  # tokens cut at the left because the text is longer than the context
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    memory: Tensor | None = field(default=None, repr=False)  # (S, C) what keys and values of a cross-attention are of
    texts_of: Callable[[Sequence[int]], tuple[str, ...]] | None = field(default=None, repr=False)  # of token ids

    token_embeddings = Stage(lambda t: t.token_vectors, "(T, C) token vectors")
    position_embeddings = Stage(lambda t: t.position_vectors, "(T, C) position vectors")
    residual = Stage(
        lambda t: torch.stack([t.token_vectors + t.position_vectors] + [b.out[0] for b in t.blocks]),
        "(L + 1, T, C) the residual stream: the summed embeddings, then after every block",
    )
    attention_in = per_block(lambda b: b.attention_in, "(L, T, C) what each attention read")
    q = per_block(lambda b: b.attention.q, "(L, H, T, D) queries")
    k = per_block(lambda b: b.attention.k, "(L, H, S, D) keys")
    v = per_block(lambda b: b.attention.v, "(L, H, S, D) values")
    scores = per_attention("scores", "(L, H, T, S) q k^T")
    scaled = per_attention("scaled", "(L, H, T, S) scores / sqrt(D)")
    masked = per_attention("masked", "(L, H, T, S) scaled, -inf where a query may not look")
    weights = Stage(
        lambda t: t.all_weights(), "(L, H, T, S) attention weights; rows are queries and sum to 1", square=True
    )
    heads = per_block(lambda b: b.attention.heads, "(L, H, T, D) weights times v, per head")
    attention_out = per_block(lambda b: b.attention.out, "(L, T, C) what each attention adds to the stream")
    middle = per_block(lambda b: b.middle, "(L, T, C) the stream between attention and feed-forward")
    ff_in = per_block(lambda b: b.ff_in, "(L, T, C) what each feed-forward read")
    ff_hidden = per_block(lambda b: b.ff_hidden(b.ff_in), "(L, T, F) feed-forward activations")
    ff_out = per_block(lambda b: b.ff_out, "(L, T, C) what each feed-forward adds to the stream")
    final_vectors = Stage(lambda t: t.final, "(T, C) what the vocabulary projection reads")
    logits = Stage(lambda t: product(t.final, t.unembedding), "(T, V) one score per vocabulary entry")

    @property
    def key(self) -> tuple:
        """What every number of the pass depends on, but for the model."""
        return self.ids, self.what_if

    @property
    def keeps_squares(self) -> bool:
        """The (L, H, T, S) stages are few enough to be kept once they have been read."""
        seen = self.blocks[0].attention
        return keeps_squares(len(self.blocks), seen.q.size(1), seen.q.size(2), seen.k.size(2))

    @torch.no_grad()
    def layer_weights(self, layer: int) -> np.ndarray:
        """The attention weights of one layer, (H, T, S) float32, read-only: equal to `weights[layer]`.

        For long texts, where the weights of all layers are not kept: those of this layer alone are made.

        Raises:
            ValueError: for a layer that is not there.
        """
        if not 0 <= layer < len(self.blocks):
            raise ValueError(f"expected a layer from 0 to {len(self.blocks) - 1}, found {layer}")
        if self.kept_weights is not None:
            return self.weights[layer]
        seen = self.blocks[layer].attention
        return read_only(self.attention.weights(layer, seen.q, seen.k)[0])

    @property
    def attention(self) -> TracedAttention:
        """How this pass attended."""
        return TracedAttention(self.what_if, len(self.final), self.final.device)

    def all_weights(self) -> Tensor:
        """The attention weights of all layers, (L, H, T, S)."""
        if self.kept_weights is not None:
            return self.kept_weights
        attention, seen = self.attention, [block.attention for block in self.blocks]
        return torch.stack([attention.weights(layer, a.q, a.k)[0] for layer, a in enumerate(seen)])

    def tensor(self, stage: str) -> Tensor:
        """A stage as a tensor on the model's device; see `STAGES` for the names."""
        if stage not in STAGES:
            raise KeyError(f"expected one of {', '.join(STAGES)}, found {stage!r}")
        return vars(Trace)[stage].compute(self)

    def axes(self, stage: str) -> dict[str, int]:
        """Names and sizes of the axes of a stage, in order, such as {"layer": 4, "head": 4, "query": 6, "key": 6}.

        Nothing is computed. `AXES` has the names alone. "id" is a token id of the vocabulary, "dimension" a place in a
        vector, "unit" one of the feed-forward layer. Of `residual`, layer 0 is the summed embeddings, and layer l what
        block l - 1 left.

        Raises:
            ValueError: for what is no stage.
        """
        from gptviz.frames import sizes_of

        return sizes_of(self, stage)

    def to_frame(self, stage: str = "weights", layer: int | None = None, head: int | None = None) -> pd.DataFrame:
        """A stage as a long pandas table: a row for each number.

        >>> trace.to_frame("weights", layer=1, head=3)  # layer, head, query, key, query_token, key_token, weight

        Args:
            stage: one of `STAGES`.
            layer, head: of that layer and head alone, counted from 0; of all without.

        Returns:
            The stage's axes by name as columns (see `axes`), the texts of its tokens (`query_token`, `key_token` or
            `text`), and the numbers in float32, without a unit: `weight`, `score`, `logit` (nats), or else `value`.

        Raises:
            ValueError: for what is no stage, a layer or head that is not there or that the stage has no axis for, and
                more rows than memory is made for (2,000,000): then a layer or head has to be chosen.
        """
        from gptviz.frames import frame

        return frame(self, stage, layer, head)

    def _repr_html_(self) -> str:
        """What a notebook shows: the tokens, what may come next, and the stages with their shapes."""
        from gptviz.notebook import trace_html

        return trace_html(self)


STAGES: tuple[str, ...] = tuple(name for name, value in vars(Trace).items() if isinstance(value, Stage))
"""The names of all stages, in the order of the computation."""

AXES: dict[str, tuple[str, ...]] = {
    "token_embeddings": ("token", "dimension"),
    "position_embeddings": ("token", "dimension"),
    "residual": ("layer", "token", "dimension"),
    "attention_in": ("layer", "token", "dimension"),
    "q": ("layer", "head", "query", "dimension"),
    "k": ("layer", "head", "key", "dimension"),
    "v": ("layer", "head", "key", "dimension"),
    "scores": ("layer", "head", "query", "key"),
    "scaled": ("layer", "head", "query", "key"),
    "masked": ("layer", "head", "query", "key"),
    "weights": ("layer", "head", "query", "key"),
    "heads": ("layer", "head", "query", "dimension"),
    "attention_out": ("layer", "token", "dimension"),
    "middle": ("layer", "token", "dimension"),
    "ff_in": ("layer", "token", "dimension"),
    "ff_hidden": ("layer", "token", "unit"),
    "ff_out": ("layer", "token", "dimension"),
    "final_vectors": ("token", "dimension"),
    "logits": ("token", "id"),
}
"""The names of the axes of every stage, in order; `Trace.axes` has their sizes too."""
