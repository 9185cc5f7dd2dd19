"""What the causal mask changes: the same weights and the same sentence, once masked and once not.

Knows nothing about models or pictures; it compares two sets of arrays. Shapes: L layers, H heads, T tokens,
V vocabulary; rows of attention are queries, columns are keys. Probabilities are float64 over the whole vocabulary;
surprise and divergence are in bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:  # only annotations need it: the numbers come without torch
    from gptviz.trace import Trace

CHUNK = 64  # rows of (T, V) logits in float64 at a time: bounded memory at any length


@dataclass(frozen=True, eq=False)
class Comparison:
    """One sentence through one model twice: as it was trained, and with the mask taken away.

    Small, so that it can be kept: attention itself stays with the traces.
    """

    future: np.ndarray  # (L, H, T) share of a query's unmasked attention on the tokens after it
    moved: np.ndarray  # (L, H) mean of `future` over the queries that have a future
    rearranged: np.ndarray  # (L, H) mean over the queries of what `rearranged` says
    divergence: np.ndarray  # (T,) bits, D(masked || unmasked) of the next-token distributions
    surprise_masked: np.ndarray  # (T - 1,) bits, -log2 p of the token that really came next
    surprise_unmasked: np.ndarray  # (T - 1,) bits, the same with that token in view


def compare(masked: Trace, unmasked: Trace) -> Comparison:
    """Everything the two passes differ in.

    Raises:
        ValueError: unless the first is causal, the second is not, and both read the same ids.
    """
    if not masked.what_if.causal or unmasked.what_if.causal:
        raise ValueError(
            "expected a causal trace, then one with causal=False; found causal="
            f"{masked.what_if.causal}, then causal={unmasked.what_if.causal}"
        )
    if masked.ids != unmasked.ids:
        raise ValueError(
            f"expected two traces of one sentence, found {len(masked.ids)} and {len(unmasked.ids)} tokens that differ"
        )
    future = np.stack([future_share(weights) for weights in unmasked.weights])  # a layer at a time: bounded memory
    elsewhere = [rearranged(*pair).mean(axis=-1) for pair in zip(masked.weights, unmasked.weights, strict=True)]
    divergence, surprise_masked, surprise_unmasked = compare_predictions(masked.logits, unmasked.logits, masked.ids)
    return Comparison(
        future=future,
        moved=mean_over_queries(future),
        rearranged=np.stack(elsewhere),
        divergence=divergence,
        surprise_masked=surprise_masked,
        surprise_unmasked=surprise_unmasked,
    )


def difference(masked: np.ndarray, unmasked: np.ndarray) -> np.ndarray:
    """Unmasked minus masked attention, (..., T, T) float64: positive where attention arrived, rows sum to 0."""
    return unmasked.astype(np.float64) - masked.astype(np.float64)


def future_share(weights: np.ndarray) -> np.ndarray:
    """Attention on the tokens after the query, (..., T, T) -> (..., T) float64, each 0 to 1; the last is always 0."""
    weights = np.asarray(weights, dtype=np.float64)
    return np.triu(weights, k=1).sum(axis=-1)


def mean_over_queries(future: np.ndarray) -> np.ndarray:
    """Mean of (..., T) over the queries that have a future, all but the last: (...). 0 for a single token.

    Attention spread evenly over the sentence gives exactly 0.5 at every length.
    """
    if future.shape[-1] < 2:
        return np.zeros(future.shape[:-1])
    return future[..., :-1].mean(axis=-1)


def only_past(weights: np.ndarray) -> np.ndarray:
    """Unmasked attention with the future cut off and each row rescaled to 1: (..., T, T) float64.

    In layer 0 this is the masked attention exactly, since both passes begin with the same vectors and softmax only
    divides by a smaller sum. In later layers it is not: the vectors themselves have seen the future. A row whose
    every weight on the past underflowed to 0 stays 0.
    """
    past = np.tril(np.asarray(weights, dtype=np.float64))
    total = past.sum(axis=-1, keepdims=True)
    return past / np.where(total > 0, total, 1.0)


def rearranged(masked: np.ndarray, unmasked: np.ndarray) -> np.ndarray:
    """How far the attention to the past differs beyond losing a share to the future, (..., T, T) -> (..., T), 0 to 1.

    Total variation distance between the masked row and `only_past` of the unmasked one: 0 throughout layer 0.
    """
    return np.abs(only_past(unmasked) - masked).sum(axis=-1) / 2


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Natural logarithm of softmax over the whole vocabulary, (..., V) -> (..., V) float64."""
    logits = np.asarray(logits, dtype=np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def divergence_bits(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """D(p || q) = sum p log2(p / q), from natural logarithms (..., V) -> (...), bits (Kullback and Leibler 1951).

    The extra bits it costs to guess what p says with q's odds. Not symmetric. Never below 0: rounding is cut off.
    """
    p = np.exp(log_p)
    terms = np.where(p > 0, p * (log_p - log_q), 0.0)  # p log p -> 0 as p -> 0
    return np.maximum(terms.sum(axis=-1), 0.0) / math.log(2)


def compare_predictions(
    masked: np.ndarray, unmasked: np.ndarray, ids: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """logits (T, V) twice and the T ids -> divergence (T,), surprise masked and unmasked (T - 1,), all bits.

    Surprise at position t is -log2 p(ids[t + 1]): the cross-entropy of the token that really came, divided by ln 2.
    The last position has none, nothing came after it.
    """
    divergence, surprises = [], ([], [])
    for start in range(0, len(ids), CHUNK):
        logs = [log_probabilities(logits[start : start + CHUNK]) for logits in (masked, unmasked)]  # 2 x (chunk, V)
        divergence.append(divergence_bits(*logs))
        came = np.asarray(ids[start + 1 : start + 1 + CHUNK], dtype=np.int64)
        for surprise, log_p in zip(surprises, logs, strict=True):
            surprise.append(-log_p[np.arange(len(came)), came] / math.log(2))
    return np.concatenate(divergence), np.concatenate(surprises[0]), np.concatenate(surprises[1])


def largest_changes(masked: np.ndarray, unmasked: np.ndarray, n: int = 10) -> pd.DataFrame:
    """The n tokens whose probability changes most, from the logits (V,) of one position in both passes.

    Columns: id, masked, unmasked (probabilities over the whole vocabulary), change (unmasked - masked),
    rank_masked, rank_unmasked (1 is the likeliest). Largest |change| first, ties by id.
    """
    p, q = (np.exp(log_probabilities(logits)) for logits in (masked, unmasked))
    change = q - p
    order = np.argsort(-np.abs(change), kind="stable")[:n]
    return pd.DataFrame(
        {
            "id": order,
            "masked": p[order],
            "unmasked": q[order],
            "change": change[order],
            "rank_masked": [1 + int((p > p[i]).sum()) for i in order],
            "rank_unmasked": [1 + int((q > q[i]).sum()) for i in order],
        }
    )


def probability_moved(masked: np.ndarray, unmasked: np.ndarray) -> float:
    """Share of the next-token probability that changed hands, 0 to 1: half the sum of all |changes| (total variation).

    From the logits (V,) of one position in both passes.
    """
    p, q = (np.exp(log_probabilities(logits)) for logits in (masked, unmasked))
    return float(np.abs(q - p).sum() / 2)


def heads_table(comparison: Comparison) -> pd.DataFrame:
    """Every head, (L H) rows: head ("3.7"), layer, moved, most, at, rearranged.

    `moved` is the mean share on the future, `most` the largest share of one query and `at` the position of that
    query; `rearranged` is the change among the tokens of the past, see the function of that name.
    """
    n_layers, n_heads = comparison.moved.shape
    layer, head = np.divmod(np.arange(n_layers * n_heads), n_heads)
    future = comparison.future.reshape(n_layers * n_heads, -1)  # (L H, T)
    return pd.DataFrame(
        {
            "head": [f"{a}.{b}" for a, b in zip(layer, head, strict=True)],
            "layer": layer,
            "moved": comparison.moved.ravel(),
            "most": future.max(axis=-1),
            "at": future.argmax(axis=-1),
            "rearranged": comparison.rearranged.ravel(),
        }
    )
