"""What a model knows of places: its position vectors, those of sines and cosines, and what they do to a score.

Pure functions to arrays; knows nothing about pictures. Shapes: P positions, C model width, T tokens, D head width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gptviz.analysis.head_stages import projections
from gptviz.analysis.vectors import cosine_matrix
from gptviz.gpt import GPT
from gptviz.trace import Trace, read_only


def learned_positions(gpt: GPT) -> np.ndarray:
    """The model's position vectors, (context, C) float32, read-only."""
    return read_only(gpt.position_embedding.weight)


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


def compare_positions(gpt: GPT) -> tuple[Positions, Positions]:
    """The model's own position vectors, and sines and cosines of the same shape."""
    learned = learned_positions(gpt)
    both = learned, sinusoidal_positions(*learned.shape)
    cosines = [cosine_matrix(vectors) for vectors in both]
    return tuple(
        Positions(vectors, similar, by_distance(similar)) for vectors, similar in zip(both, cosines, strict=True)
    )


TERMS = ("token · token", "token · position", "position · token", "position · position")
"""What the query brings and what the key brings, in the order of `Split.terms`."""


class Split(NamedTuple):
    """The scaled scores of one head of layer 0, split by what each side of the product comes from; float64."""

    terms: np.ndarray  # (4, T, T) in the order of `TERMS`
    total: np.ndarray  # (T, T) their sum: q k^T / sqrt(D)


def split_scores(gpt: GPT, trace: Trace, head: int) -> Split:
    """The scores of head 0.`head`, split exactly into four terms.

    With x = t + p, a query is q = t W + p W + b: a part of the token and a part of its position. So is a key, and the
    product of two sums of two is four products. What does not depend on the position, the bias b, goes with the token.

    In a model that normalises first, x = g (t + p - mean) / s + c stands in the place of t + p. With s, the deviation
    of this token at this position, held at the value that it has, that is a sum again: g (t - mean t) / s + c for the
    token and g (p - mean p) / s for the position.

    Raises:
        ValueError: for a head that is not there.
    """
    own = projections(gpt, 0, head)
    token, position = layer_0_parts(gpt, trace)
    sides = []
    for weight, bias in ((own.query, own.query_bias), (own.key, own.key_bias)):
        sides.append((token @ weight.astype(np.float64) + bias, position @ weight.astype(np.float64)))  # (T, D) twice
    queries, keys = sides
    factor = 1 / math.sqrt(own.query.shape[1]) if trace.what_if.scaled else 1.0
    terms = np.stack([factor * q @ k.T for q in queries for k in keys])
    return Split(terms, terms.sum(axis=0))


def layer_0_parts(gpt: GPT, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """What attention of layer 0 reads, as the token's part and the position's part: (T, C) float64 twice."""
    token, position = (
        part.astype(np.float64) for part in (trace.token_embeddings, trace.position_embeddings)
    )  # (T, C)
    if gpt.config.norm_order == "post":
        return token, position
    norm = gpt.blocks[0].attention_norm
    gain, shift = (read_only(part).astype(np.float64) for part in (norm.weight, norm.bias))
    deviation = np.sqrt((token + position).var(axis=-1, keepdims=True) + norm.eps)  # (T, 1)
    token, position = (gain * (part - part.mean(axis=-1, keepdims=True)) / deviation for part in (token, position))
    return token + shift, position


def spread_in_row(term: np.ndarray) -> float:
    """How much a term (T, T) tells the keys of one query apart: standard deviation over the keys that it sees, mean
    over the queries with a choice; 0 without one.

    What is the same for all keys of a row changes no weight: softmax takes it away.
    """
    if len(term) < 2:
        return 0.0
    seen = np.tri(len(term), dtype=bool)
    counts = np.arange(1, len(term) + 1)
    means = np.where(seen, term, 0).sum(axis=1) / counts  # (T,)
    squares = np.where(seen, (term - means[:, None]) ** 2, 0).sum(axis=1) / counts
    return float(np.sqrt(squares[1:]).mean())
