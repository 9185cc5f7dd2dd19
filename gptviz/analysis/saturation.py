"""What the division by sqrt(D) is for: how sharp a softmax is, and how much gradient passes through it.

Pure functions on queries, keys and values in float64; knows nothing about models or pictures.
Shapes: T queries, S keys, D head width; "..." any leading axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gptviz.analysis.heads import entropy

SEED = 0  # of every random direction and vector here


@dataclass(frozen=True, eq=False)
class Saturation:
    """How sharp the rows of one attention are, and what gradient reaches its queries and keys."""

    entropy: np.ndarray  # (..., T) bits
    largest: np.ndarray  # (..., T) the largest weight of each row
    jacobian: np.ndarray  # (..., T) Frobenius norm of the softmax Jacobian
    to_q: np.ndarray  # (..., T) norm of the gradient on each query
    to_k: np.ndarray  # (..., S) norm of the gradient on each key


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis; -inf has no weight."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def jacobian_norm(p: np.ndarray) -> np.ndarray:
    """Frobenius norm of the Jacobian of softmax at each row, (..., S) -> (...).

    The Jacobian is diag(p) - p p^T; the sum of its squares is sum p^2 - 2 sum p^3 + (sum p^2)^2. It is summed here as
    sum p_i^2 ((1 - p_i)^2 + sum_(j != i) p_j^2), where nothing cancels when one weight is nearly 1.
    """
    # With p nearly 1, 1 - p is lost to rounding: the sum of the others is not.
    largest = p.argmax(axis=-1)[..., None]
    others = p.copy()
    np.put_along_axis(others, largest, 0.0, axis=-1)
    rest = 1 - p
    np.put_along_axis(rest, largest, others.sum(axis=-1, keepdims=True), axis=-1)
    squares = p**2
    without = squares.sum(axis=-1, keepdims=True) - squares
    np.put_along_axis(without, largest, (others**2).sum(axis=-1, keepdims=True), axis=-1)
    return np.sqrt((squares * (rest**2 + without.clip(min=0))).sum(axis=-1))


def directions(shape: tuple[int, ...], seed: int = SEED) -> np.ndarray:
    """Vectors (..., D) of length 1 in random directions, the same for the same seed."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def saturation(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, *, causal: bool, scaled: bool, seed: int = SEED
) -> Saturation:
    """Sharpness and gradient of one attention: q (..., T, D), k and v (..., S, D), with S = T where `causal`.

    The gradient is that of the sum over queries i of g_i . o_i, where o = softmax(f q k^T + mask) v is the head's
    output, f is 1 / sqrt(D) or 1, and g_i is a fixed random direction of length 1. With a = g v^T:

        dS = p (a - sum_j p_j a_j) for each row,    dq = f dS k,    dk = f dS^T q.
    """
    q, k, v = (np.asarray(part, dtype=np.float64) for part in (q, k, v))
    factor = 1 / math.sqrt(q.shape[-1]) if scaled else 1.0
    scores = factor * q @ np.swapaxes(k, -1, -2)  # (..., T, S)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    p = softmax(scores)
    wanted = directions(q.shape, seed) @ np.swapaxes(v, -1, -2)  # (..., T, S)
    to_scores = p * (wanted - (p * wanted).sum(axis=-1, keepdims=True))
    to_q, to_k = factor * to_scores @ k, factor * np.swapaxes(to_scores, -1, -2) @ q
    return Saturation(
        entropy(p), p.max(axis=-1), jacobian_norm(p), np.linalg.norm(to_q, axis=-1), np.linalg.norm(to_k, axis=-1)
    )


def medians(found: Saturation, first: int = 0) -> tuple[float, ...]:
    """Median of each measure, queries before `first` left out and keys never; NaN where none is left."""
    parts = (getattr(found, name)[..., 0 if name == "to_k" else first :] for name in MEASURES)
    return tuple(float(np.median(part)) if part.size else math.nan for part in parts)


MEASURES: dict[str, str] = {
    "entropy": "entropy of a row, bits",
    "largest": "largest weight of a row",
    "jacobian": "norm of the softmax Jacobian",
    "to_q": "gradient that reaches a query",
    "to_k": "gradient that reaches a key",
}
"""The fields of `Saturation`, in words."""

WIDTHS = tuple(2**power for power in range(2, 11))  # 4 to 1024
QUERIES, KEYS = 256, 16  # of the random attention at each width


def over_widths(scaled: bool, seed: int = SEED) -> dict[str, np.ndarray]:
    """The measures for random vectors of growing width: name -> (len(WIDTHS), 3), quartiles over rows.

    q, k and v are drawn from the standard normal distribution, `QUERIES` queries on `KEYS` keys, nothing masked; with
    and without scaling they are the same.
    """
    quartiles: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    for width in WIDTHS:
        drawn = np.random.default_rng((seed, width))
        # 16 sentences of 16 tokens each: one key is then reached by as many queries as in a sentence.
        q, k, v = drawn.standard_normal((3, QUERIES // KEYS, KEYS, width))
        found = saturation(q, k, v, causal=False, scaled=scaled, seed=seed)
        for name in MEASURES:
            quartiles[name].append(np.quantile(getattr(found, name), (0.25, 0.5, 0.75)))
    return {name: np.stack(rows) for name, rows in quartiles.items()}
