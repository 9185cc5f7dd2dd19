"""Vectors of tokens: cosines, neighbours, principal axes, and where the stream goes from block to block.

Knows nothing about figures or pages. Shapes: N any number of vectors, V vocabulary, C model width, K axes, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gptviz.stack import Stack
from gptviz.trace import Trace, read_only

CHUNK = 8192  # rows of a table that are held in float64 at one time


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each row of (N, C) scaled to length 1, in its own precision; a row of zeros, which has no direction, stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)  # (N, 1)
    return vectors / np.where(lengths > 0, lengths, 1)


def cosine_matrix(vectors: np.ndarray) -> np.ndarray:
    """Cosine of the angle between every two rows of (N, C), in float64: (N, N), from -1 to 1; 0 with a row of zeros."""
    unit = unit_rows(np.asarray(vectors, dtype=np.float64))
    return np.clip(unit @ unit.T, -1, 1)  # rounding may step over 1


class Neighbours(NamedTuple):
    """Rows of a table in the order of their cosine with one vector, the closest first."""

    ids: np.ndarray  # (n,)
    cosines: np.ndarray  # (n,) float64


def nearest(vector: np.ndarray, unit_table: np.ndarray, n: int, without: int | None = None) -> Neighbours:
    """The `n` rows closest in direction to `vector` (C,): every row is compared, none is skipped.

    Args:
        vector: of any length; rows of zeros and a vector of zeros have cosine 0 with everything.
        unit_table: (V, C) from `unit_rows`.
        without: a row to leave out, such as the vector's own.
    Equal cosines come in the order of their ids.
    """
    cosines = cosines_with(unit_table, vector[None])[0]  # (V,)
    if without is not None:
        cosines[without] = -np.inf
    n = max(0, min(n, len(cosines) - (without is not None)))
    if n == 0:
        return Neighbours(np.empty(0, dtype=np.int64), np.empty(0))
    edge = np.partition(cosines, -n)[-n]  # all that can belong to the first n, ties at the edge included
    candidates = np.flatnonzero(cosines >= edge)
    order = candidates[np.lexsort((candidates, -cosines[candidates]))][:n]
    return Neighbours(order, cosines[order])


def cosines_with(unit_table: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Cosines of each of `vectors` (N, C) with each row of `unit_table` (V, C): (N, V) float64, products in float32."""
    return products(unit_table, vectors).astype(np.float64)


def products(unit_table: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The same in the precision of the table: of 48 vectors and 49,152 rows, float64 takes as long as the products."""
    unit = unit_rows(np.asarray(vectors, dtype=np.float64)).astype(unit_table.dtype)  # (N, C)
    found = unit @ unit_table.T
    return np.clip(found, -1, 1, out=found)


class Closest(NamedTuple):
    """For each of N vectors, the row of a table that is closest in direction, and how close a row of its own is."""

    ids: np.ndarray  # (N,) the closest row
    cosines: np.ndarray  # (N,) float64
    own_ranks: np.ndarray  # (N,) 1 where the own row is the closest
    own_cosines: np.ndarray  # (N,) float64


def closest(vectors: np.ndarray, unit_table: np.ndarray, own: Sequence[int]) -> Closest:
    """Compare (N, C) with every row of `unit_table` (V, C); `own` names one row for each vector."""
    cosines = products(unit_table, vectors)  # (N, V)
    first = cosines.argmax(axis=1)  # (N,)
    each = np.arange(len(cosines))
    own_cosines = cosines[each, np.asarray(own, dtype=np.int64)]
    ranks = (cosines > own_cosines[:, None]).sum(axis=1) + 1
    return Closest(first, cosines[each, first].astype(np.float64), ranks, own_cosines.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Projection:
    """The K directions in which a table of vectors varies most."""

    mean: np.ndarray  # (C,)
    axes: np.ndarray  # (K, C), orthonormal, the one of largest variance first
    explained: np.ndarray  # (K,) share of the table's whole variance, 0 to 1

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Coordinates of (N, C) on the axes: (N, K). Vectors that were not fitted are welcome."""
        starts = range(0, max(1, len(vectors)), CHUNK)
        rows = (np.asarray(vectors[start : start + CHUNK], dtype=np.float64) for start in starts)
        return np.concatenate([(each - self.mean) @ self.axes.T for each in rows])


def principal_axes(table: np.ndarray, k: int = 3) -> Projection:
    """Principal component analysis of all rows of (V, C), in float64 (Pearson 1901; Jolliffe 2002, section 1.1).

    By the eigenvectors of the C x C matrix of covariances, never a singular value decomposition of V x C: the same
    axes for a fraction of the time. Axes have no sign of their own; the largest component of each is made positive.

    Raises:
        ValueError: for fewer than two rows, or more axes than the vectors have dimensions.
    """
    rows, width = table.shape
    if rows < 2 or not 1 <= k <= width:
        raise ValueError(f"expected 2 or more vectors and 1 to {width} axes, found {rows} vectors and {k} axes")
    mean = table.mean(axis=0, dtype=np.float64)  # (C,)
    covariance = np.zeros((width, width))
    for start in range(0, rows, CHUNK):
        centred = table[start : start + CHUNK] - mean  # (CHUNK, C)
        covariance += centred.T @ centred / rows
    variances, vectors = np.linalg.eigh(covariance)  # ascending
    axes = vectors[:, ::-1][:, :k].T  # (K, C)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)  # (K, 1)
    whole = variances.clip(min=0).sum()
    explained = variances[::-1][:k].clip(min=0) / whole if whole > 0 else np.zeros(k)
    return Projection(mean, axes * np.where(largest < 0, -1, 1), explained)


def embedding_table(stack: Stack) -> np.ndarray:
    """The vector of every token of the vocabulary as the first layer gets it, (V, C) float32, read-only."""
    return read_only(stack.token_table)


class Strips(NamedTuple):
    """Vectors of the same T tokens that belong side by side."""

    names: tuple[str, ...]
    vectors: np.ndarray  # (len(names), T, C)


def strips(trace: Trace, stage: int, crossed: Trace | None = None, *, positions_added: bool = True) -> Strips:
    """What made the residual stream of `stage`: 0 is the embeddings, stage l the stream after block l - 1.

    In a model that normalises first, the strips before the last add up to the last. One that adds and then
    normalises rescales the sum after each addition, so that they do not.

    Args:
        crossed: of a decoder, its cross-attention in the same pass, which comes between the other two.
        positions_added: False where positions are rotary: then stage 0 is the token vectors alone.

    Raises:
        ValueError: for a stage that the model does not have.
    """
    if not 0 <= stage < len(trace.residual):
        raise ValueError(f"expected a stage from 0 to {len(trace.residual) - 1}, found {stage}")
    if stage == 0 and not positions_added:
        names, parts = ("token vector",), (trace.token_embeddings,)
    elif stage == 0:
        names = ("token vector", "position vector", "their sum")
        parts = (trace.token_embeddings, trace.position_embeddings, trace.residual[0])
    else:
        block = stage - 1
        names = ("stream before", "attention adds", "feed-forward adds", "stream after")
        parts = (trace.residual[block], trace.attention_out[block], trace.ff_out[block], trace.residual[stage])
        if crossed is not None:
            names = ("stream before", "self-attention adds", "cross-attention adds", *names[2:])
            parts = (*parts[:2], crossed.attention_out[block], *parts[2:])
    return Strips(names, np.stack(parts))


def step(trace: Trace, stage: int) -> tuple[np.ndarray, np.ndarray]:
    """The last move of the stream up to `stage`, from (T, C) to (T, C).

    At stage 0 from the token vectors to the sum with their positions, later from before a block to after it.
    """
    parts = strips(trace, stage).vectors
    return parts[0], parts[-1]


def token_kind(token: bytes) -> str:
    """What a token looks like: one of `KINDS`. Tells nothing about what the model makes of it."""
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return "part of a character"
    if not text.strip() or not text.isprintable():
        return "white space or control"
    if text.strip().isnumeric():
        return "number"
    if not any(c.isalpha() for c in text):
        return "sign"
    return "starts a word" if text[0] == " " else "no space before"


KINDS = (
    "starts a word",
    "no space before",
    "number",
    "sign",
    "white space or control",
    "part of a character",
)
