"""A translation step by step: what each attention was at a step, what else could have been written, how sure it was.

Step n writes token n of the T that were written: row n - 1 of the decoder's and of the cross-attention, whose query has
read the tokens before it. Knows nothing about pictures or pages. Shapes: L layers, H heads, T tokens written, S source
tokens, V vocabulary.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gptviz.analysis.predictions import CHUNK, probabilities


def of_heads(weights: np.ndarray, layer: int, head: int | None = None) -> np.ndarray:
    """One head of (L, H, T, S), or the mean over the heads of a layer: (T, S) float64, whose rows sum to 1.

    Raises:
        ValueError: for a layer or head that is not there.
    """
    layers, heads = weights.shape[:2]
    if not 0 <= layer < layers or not (head is None or 0 <= head < heads):
        raise ValueError(f"expected a layer under {layers} and a head under {heads}, found {layer} and {head}")
    chosen = weights[layer].astype(np.float64)  # (H, T, S)
    return chosen.mean(axis=0) if head is None else chosen[head]


class Candidates(NamedTuple):
    """What could have been written at each step, the likeliest first."""

    ids: np.ndarray  # (T, n)
    probabilities: np.ndarray  # (T, n) float64, of the whole vocabulary: not renormalised
    rest: np.ndarray  # (T,) probability of all other tokens together
    written: np.ndarray  # (T,) probability of the token that was written


def candidates(logits: np.ndarray, written: Sequence[int], n: int) -> Candidates:
    """The `n` likeliest tokens of every step.

    Args:
        logits: (T, V) of the decoder.
        written: T ids.
        n: how many, as far as the vocabulary goes.

    Raises:
        ValueError: unless there is a row of logits for every written token.
    """
    if len(logits) != len(written):
        raise ValueError(f"expected a row of logits for each of {len(written)} tokens, found {len(logits)}")
    n = min(n, logits.shape[-1])
    found = []
    for start in range(0, len(logits), CHUNK):
        p = probabilities(logits[start : start + CHUNK])  # (chunk, V)
        some = np.argpartition(p, -n, axis=-1)[:, -n:]  # (chunk, n), in no order: sorting all V takes ten times as long
        order = np.argsort(-np.take_along_axis(p, some, -1), axis=-1, kind="stable")
        ids = np.take_along_axis(some, order, -1)
        top = np.take_along_axis(p, ids, -1)
        own = np.take_along_axis(p, np.asarray(written[start : start + CHUNK])[:, None], -1)[:, 0]
        found.append(Candidates(ids, top, np.maximum(1 - top.sum(-1), 0.0), own))
    return Candidates(*map(np.concatenate, zip(*found, strict=True)))


def mean_probability(p: np.ndarray) -> float:
    """Geometric mean of the probabilities (T,) of the tokens written, exp(mean log p): 1 / perplexity, from 0 to 1."""
    return float(np.exp(np.log(np.maximum(np.asarray(p, dtype=np.float64), np.finfo(np.float64).tiny)).mean()))


def as_npz(arrays: dict[str, np.ndarray], texts: dict[str, Sequence[str]]) -> bytes:
    """Arrays and lists of texts as one compressed .npz file, which `numpy.load` opens without pickles."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays, **{name: np.array(tokens, dtype=np.str_) for name, tokens in texts.items()})
    return file.getvalue()
