"""The encoder-decoder once more: NumPy, float64, head by head, from the raw weights.

The answer that the traces of a translation are held against, of the same parts as `float64`, and like it of no line of
the code that makes them. Shapes: S source tokens, T tokens that the decoder read, C model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.float64 import (
    ROWS,
    Piece,
    activate,
    attention,
    exact,
    gains_of,
    linear,
    normalise,
    parameter,
    parameters_of,
)

if TYPE_CHECKING:
    from gptviz.seq2seq import Transformer
    from gptviz.trace import WhatIf

BASE = 10000.0  # of the wavelengths of positions (Vaswani et al. 2017, section 3.5)
ENCODER, DECODER = ("encoder",), ("decoder", "cross")  # the attentions of a block, in the order they run

Stages = Mapping[str, "np.ndarray | None"]
"""Stages of one layer in the order of the computation; None where a path has no such numbers."""


def float64_pair(
    transformer: Transformer,
    source: Sequence[int],
    inputs: Sequence[int],
    what_ifs: Mapping[str, WhatIf],
    keep: Callable[[np.ndarray], np.ndarray] = exact,
) -> Iterator[Piece]:
    """Every stage of a pass over S source ids and T ids of the decoder, as "encoder.q": where a trace has them.

    Vaswani et al. 2017, section 3, in the order of the computation, one layer in memory at a time. What decoder and
    cross-attention have in common, such as the stream, comes once for each.

    Args:
        what_ifs: of "encoder", "decoder" and "cross": as in `float64_pieces`.
        keep: as in `float64_pieces`.
    """
    memory = yield from half(transformer, ENCODER, source, what_ifs, keep)  # (S, C)
    yield Piece("cross.memory", None, 0, memory)
    yield from half(transformer, DECODER, inputs, what_ifs, keep, memory)


def float64_tree(
    transformer: Transformer,
    memory: np.ndarray,
    parents: Sequence[int],
    tokens: Sequence[int],
    what_ifs: Mapping[str, WhatIf],
    keep: Callable[[np.ndarray], np.ndarray] = exact,
) -> np.ndarray:
    """What could follow at every node of a tree of beginnings: logits (N, V) of the decoder, all nodes in one pass.

    A node stands as many places from the start as it has nodes above it, and sees those and itself.

    Args:
        memory: (S, C), the encoder's output.
        parents, tokens: of N nodes; parents come first, and the root's is not read.
    """
    pieces = half(transformer, DECODER, tokens, what_ifs, keep, memory, parents)
    return np.concatenate([piece.values for piece in pieces if piece.stage == "decoder.logits"])


def above(parents: Sequence[int]) -> np.ndarray:
    """Which nodes are above each node of a tree, itself counted: (N, N) of bools."""
    seen = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if node:
            seen[node] |= seen[parent]
    return seen


def half(
    transformer: Transformer,
    sides: tuple[str, ...],
    ids: Sequence[int],
    what_ifs: Mapping[str, WhatIf],
    keep: Callable[[np.ndarray], np.ndarray],
    memory: np.ndarray | None = None,
    parents: Sequence[int] | None = None,
) -> Generator[Piece, None, np.ndarray]:
    """Encoder or decoder, over `ids`, which may be the nodes of a tree; returns its last stream."""
    config, at, unseen = transformer.config, np.arange(len(ids)), None
    if parents is not None:
        seen_by = above(parents)
        at, unseen = seen_by.sum(axis=1) - 1, ~seen_by
    table = parameter(transformer, "token_embedding.weight")  # (V, C)
    tokens, positions = table[list(ids)] * config.d_model**0.5, sines(len(ids), config.d_model)[at]
    x = keep(tokens + positions)
    yield from before(sides, tokens, positions, x)
    for layer in range(config.n_layers):
        p, seen = parameters_of(transformer, f"{sides[0]}.{layer}"), {}
        for side in sides:
            name, looked_at = ("cross", memory) if side == "cross" else ("attention", None)
            gains = gains_of(what_ifs[side], layer, config.n_heads)
            hides = unseen if looked_at is None else None
            made = attention(x, p, gains, what_ifs[side], keep, name, looked_at, hides)
            seen[side] = {"attention_in": x} | made
            x = keep(normalise(keep(x + made["attention_out"]), p, f"{name}_norm", config))
        hidden = activate(linear(x, p, "ff.expand"), config.activation)
        rest = {"middle": x, "ff_in": x, "ff_hidden": hidden, "ff_out": linear(hidden, p, "ff.contract")}
        x = keep(normalise(x + rest["ff_out"], p, "ff_norm", config))
        yield from inside(layer, seen, rest, x)
    yield from after(sides, x, lambda rows: rows @ table.T)
    return x


def sines(t: int, c: int) -> np.ndarray:
    """Position vectors (T, C): sin(t / 10000^(i / C)) in the even columns i, and the cosine of the same after it."""
    column = np.arange(c)
    angles = np.arange(t)[:, None] / BASE ** ((column - column % 2) / c)  # (T, C)
    return np.where(column % 2, np.cos(angles), np.sin(angles))


def before(sides: tuple[str, ...], tokens: np.ndarray, positions: np.ndarray, x: np.ndarray) -> Iterator[Piece]:
    """What comes before the first layer."""
    for stage, values in (("token_embeddings", tokens), ("position_embeddings", positions)):
        yield from (Piece(f"{side}.{stage}", None, 0, values) for side in sides)
    yield from (Piece(f"{side}.residual", 0, 0, x) for side in sides)


def inside(layer: int, attentions: Mapping[str, Stages], rest: Stages, out: np.ndarray) -> Iterator[Piece]:
    """One layer: its attentions, then what they have in common."""
    for side, stages in attentions.items():
        yield from (Piece(f"{side}.{stage}", layer, 0, values) for stage, values in stages.items())
    for stage, values in rest.items():
        yield from (Piece(f"{side}.{stage}", layer, 0, values) for side in attentions)
    yield from (Piece(f"{side}.residual", layer + 1, 0, out) for side in attentions)


def after(sides: tuple[str, ...], final: np.ndarray, logits: Callable[[np.ndarray], np.ndarray]) -> Iterator[Piece]:
    """What comes after the last layer; `logits` makes some rows of them."""
    yield from (Piece(f"{side}.final_vectors", None, 0, final) for side in sides)
    for start in range(0, len(final), ROWS):
        rows = logits(final[start : start + ROWS])
        yield from (Piece(f"{side}.logits", None, start, rows) for side in sides)
