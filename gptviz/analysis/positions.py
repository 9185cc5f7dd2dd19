"""What a model knows of places: its position vectors, those of sines and cosines, and what they do to a score.

Pure functions to arrays; knows nothing about pictures. Shapes: P positions, C model width, T tokens, D head width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import nn

from gptviz.analysis.head_stages import projections
from gptviz.analysis.vectors import cosine_matrix
from gptviz.stack import Stack
from gptviz.trace import Trace, read_only


def position_vectors(stack: Stack) -> np.ndarray:
    """The model's position vectors, learned or not, (context, C) float32, read-only.

    Raises:
        ValueError: where positions are rotary: `gptviz.analysis.rotary` has what there is instead.
    """
    if stack.position_table is None:
        raise ValueError("expected a model that adds position vectors, found rotary positions: show their angles")
    return read_only(stack.position_table)


def sinusoidal_positions(positions: int, width: int) -> np.ndarray:
    """The fixed position vectors of Vaswani et al. 2017, section 3.5: (P, C) float64.

    Dimension 2i of position p is sin(p / 10000^(2i / C)), dimension 2i + 1 the cosine of the same angle.
    """
    dimension = np.arange(width)
    angles = np.arange(positions)[:, None] / 10000 ** ((dimension - dimension % 2) / width)  # (P, C)
    return np.where(dimension % 2 == 0, np.sin(angles), np.cos(angles))


class ByDistance(NamedTuple):
    """How alike two position vectors are that stand a number of places apart; index 0 is a vector with itself."""

    mean: np.ndarray  # (P,) cosine
    lowest: np.ndarray  # (P,)
    highest: np.ndarray  # (P,)


def by_distance(cosines: np.ndarray) -> ByDistance:
    """Cosines of all pairs of positions, (P, P), gathered by distance: pairs i, i + d for d from 0 to P - 1."""
    diagonals = [np.diagonal(cosines, distance) for distance in range(len(cosines))]
    return ByDistance(*(np.array([measure(row) for row in diagonals]) for measure in (np.mean, np.min, np.max)))


class Positions(NamedTuple):
    """Position vectors and how alike they are."""

    vectors: np.ndarray  # (P, C)
    cosines: np.ndarray  # (P, P)
    distance: ByDistance


def compare_positions(stack: Stack) -> tuple[Positions, Positions]:
    """The model's own position vectors, and sines and cosines of the same shape."""
    own = own_positions(stack)
    return own, how_alike(sinusoidal_positions(*own.vectors.shape))


def own_positions(stack: Stack) -> Positions:
    """The model's position vectors, and how alike they are."""
    return how_alike(position_vectors(stack))


def how_alike(vectors: np.ndarray) -> Positions:
    """Position vectors (P, C) with their cosines."""
    cosines = cosine_matrix(vectors)
    return Positions(vectors, cosines, by_distance(cosines))


TERMS = ("token · token", "token · position", "position · token", "position · position")
"""What the query brings and what the key brings, in the order of `Split.terms`."""


class Split(NamedTuple):
    """The scaled scores of one head of layer 0, split by what each side of the product comes from; float64."""

    terms: np.ndarray  # (4, T, T) in the order of `TERMS`
    total: np.ndarray  # (T, T) their sum: q k^T / sqrt(D)


def split_scores(stack: Stack, trace: Trace, head: int) -> Split:
    """The scores of head 0.`head`, split exactly into four terms.

    With x = t + p, a query is q = t W + p W + b: a part of the token and a part of its position. So is a key, and the
    product of two sums of two is four products. What does not depend on the position, the bias b, goes with the token.

    In a model that normalises first, x = g (t + p - mean) / s + c stands in the place of t + p. With s, the deviation
    of this token at this position, held at the value that it has, that is a sum again: g (t - mean t) / s + c for the
    token and g (p - mean p) / s for the position. An RMS norm takes no mean away.

    Args:
        stack: of self-attention; what cross-attention reads is no sum of two tables.
        trace: a pass of that stack.

    Raises:
        ValueError: for a head that is not there, or where positions are rotary: they are no part of the sum.
    """
    if stack.position_table is None:
        raise ValueError("expected a model that adds position vectors, found rotary positions: they are no term")
    own = projections(stack.attentions[0], head)
    token, position = layer_0_parts(stack, trace)
    sides = []
    for weight, bias in ((own.query, own.query_bias), (own.key, own.key_bias)):
        double = weight.astype(np.float64)  # (C, D)
        sides.append((token @ double + (0 if bias is None else bias), position @ double))  # (T, D) twice
    queries, keys = sides
    factor = 1 / math.sqrt(own.query.shape[1]) if trace.what_if.scaled else 1.0
    terms = np.stack([factor * q @ k.T for q in queries for k in keys])
    return Split(terms, terms.sum(axis=0))


def layer_0_parts(stack: Stack, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """What attention of layer 0 reads, as the token's part and the position's part: (T, C) float64 twice."""
    token, position = (
        part.astype(np.float64) for part in (trace.token_embeddings, trace.position_embeddings)
    )  # (T, C)
    if (norm := stack.first_norm) is None:
        return token, position
    gain = read_only(norm.weight).astype(np.float64)  # (C,)
    if isinstance(norm, nn.LayerNorm):
        token, position = (part - part.mean(axis=-1, keepdims=True) for part in (token, position))
    deviation = np.sqrt(((token + position) ** 2).mean(axis=-1, keepdims=True) + norm.eps)  # (T, 1)
    shift = getattr(norm, "bias", None)  # (C,), if there is one
    token, position = (gain * part / deviation for part in (token, position))
    return token + (0 if shift is None else read_only(shift).astype(np.float64)), position


def spread_in_row(term: np.ndarray, causal: bool = True) -> float:
    """How much a term (T, T) tells the keys of one query apart: standard deviation over the keys that it sees, mean
    over the queries with a choice; 0 without one.

    What is the same for all keys of a row changes no weight: softmax takes it away. `causal` as in the pass.
    """
    if len(term) < 2:
        return 0.0
    seen = np.tri(len(term), dtype=bool) if causal else np.ones(term.shape, dtype=bool)
    counts = seen.sum(axis=1)
    means = np.where(seen, term, 0).sum(axis=1) / counts  # (T,)
    squares = np.where(seen, (term - means[:, None]) ** 2, 0).sum(axis=1) / counts
    return float(np.sqrt(squares[counts > 1]).mean())
