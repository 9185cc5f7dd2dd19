"""What the model expects next: the whole distribution, how sure it is, and how it judged the tokens that came.

Knows nothing about pictures or pages. Every probability is a softmax over the full vocabulary in float64; entropy and
surprise are in bits. Ranks count from 1, the likeliest. Shapes: L layers, H heads, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from gptviz.analysis.masking import log_probabilities

CHUNK = 64  # rows of (T, V) logits in float64 at a time: bounded memory at any length


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax over the whole vocabulary, (..., V) -> (..., V) float64; each row sums to 1."""
    return np.exp(log_probabilities(logits))


def entropy_bits(p: np.ndarray) -> np.ndarray:
    """-sum p log2 p over (..., V) -> (...), bits: 0 when sure, log2(V) when all are alike (Shannon 1948, section 6)."""
    p = np.asarray(p, dtype=np.float64)
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)  # p log p -> 0 as p -> 0
    return np.maximum(-(p * logs).sum(axis=-1), 0.0)


def ranks(values: np.ndarray, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Place of one entry in each row, 1 for the largest: values (N, V), ids (N,) -> (N,). Equals share the better one.

    Logits and probabilities have the same ranks; logits do not underflow.
    """
    values = np.asarray(values)
    own = np.take_along_axis(values, np.asarray(ids, dtype=np.int64)[:, None], axis=-1)  # (N, 1)
    return 1 + (values > own).sum(axis=-1)


def likeliest_first(p: np.ndarray) -> np.ndarray:
    """All ids by falling probability (V,) -> (V,); equal ones in the order of their ids."""
    return np.argsort(-np.asarray(p), kind="stable")


class Top(NamedTuple):
    """The likeliest tokens, and what is left over for all others together."""

    ids: np.ndarray  # (n,) by falling probability
    probabilities: np.ndarray  # (n,) float64, of the whole vocabulary: not renormalised
    rest: float  # probability of all the other tokens
    others: int  # how many those are


def top(p: np.ndarray, n: int) -> Top:
    """The first `n` of a distribution (V,); with `rest` they sum to 1."""
    order = likeliest_first(p)
    n = max(0, min(n, len(order)))
    return Top(order[:n], p[order[:n]], float(p[order[n:]].sum()), len(order) - n)


def read_sentence(logits: np.ndarray, ids: Sequence[int], *, with_entropy: bool = True) -> pd.DataFrame:
    """How the model judged the sentence as it was typed: T + 1 rows, one a token and one for what would come next.

    Args:
        logits: (T, V) of one pass over the sentence.
        ids: its T token ids.
        with_entropy: False leaves it at NaN: half of the work.

    Returns:
        position: 0 to T.
        id: the token that came; missing in the last row, where none has come yet.
        probability: given to it by the position before.
        rank: its place among all V tokens there, 1 the likeliest.
        surprise: -log2 probability, bits; the mean over a text is its cross-entropy.
        entropy: bits, how open the choice was just before it: the surprise the model itself expected.
        Row 0 has only an id: nothing stands before the first token, so nothing predicts it.
    """
    if len(ids) != len(logits) or not len(ids):
        raise ValueError(f"expected logits for each of 1 or more tokens, found {len(logits)} rows and {len(ids)} ids")
    t = len(ids)
    probability, rank, surprise, entropy = (np.full(t + 1, np.nan) for _ in range(4))
    for start in range(0, t, CHUNK):
        log_p = log_probabilities(logits[start : start + CHUNK])  # (chunk, V)
        if with_entropy:
            entropy[start + 1 : start + 1 + len(log_p)] = entropy_bits(np.exp(log_p))
        came = np.asarray(ids[start + 1 : start + 1 + CHUNK], dtype=np.int64)
        here = slice(start + 1, start + 1 + len(came))
        own = log_p[np.arange(len(came)), came]
        probability[here], surprise[here] = np.exp(own), -own / math.log(2)
        rank[here] = ranks(log_p[: len(came)], came)
    return pd.DataFrame(
        {
            "position": np.arange(t + 1),
            "id": pd.array([*map(int, ids), None], dtype="Int64"),
            "probability": probability,
            "rank": pd.array([None if np.isnan(r) else int(r) for r in rank], dtype="Int64"),
            "surprise": surprise,
            "entropy": entropy,
        }
    )


def chosen_rows(
    weights: np.ndarray, start: int, *, layer: int | None = None, head: int | None = None, own: bool = False
) -> np.ndarray:
    """What every token from position `start` on attended to, (T - start, T) float64; each row sums to 1.

    Args:
        weights: (L, H, T, T) of one pass over the sentence and what was added to it.
        start: position of the first token asked for, 1 to T.
        layer, head: one head; without `head` the mean over the layer's heads, without both the mean over all.
        own: False gives the row of the position *before* the token, the one whose output the token was drawn from;
            True gives the token's own row, what it looked at once it stood there.
    """
    t = weights.shape[-1]
    if not 1 <= start <= t:
        raise ValueError(
            f"expected a first position from 1 to {t}, found {start}: nothing was drawn before a first token"
        )
    picked = weights[slice(None) if layer is None else [layer]][:, slice(None) if head is None else [head]]
    mean = picked.astype(np.float64).mean(axis=(0, 1))  # (T, T)
    return mean[start:] if own else mean[start - 1 : t - 1]


class Stack(NamedTuple):
    """One distribution after another as bars of length 1, tokens always in the same order: falling raw probability.

    Temperature, top-k and top-p never change that order, so a token keeps its place in every bar.
    """

    ids: np.ndarray  # (K,) the token of each segment; -1 for a run of several tokens that are not named
    counts: np.ndarray  # (S, K) how many tokens of the segment are possible at each stage
    widths: np.ndarray  # (S, K) probability of each segment at each stage

    def start(self, segment: int, stage: int = -1) -> float:
        """Where a segment begins on the bar of a stage: the probability of everything likelier."""
        return float(self.widths[stage, :segment].sum())


def stack(stages: Sequence[np.ndarray], n: int, drawn: int | None = None) -> Stack:
    """Cut S stages (V,) each into the first `n` tokens, the drawn one wherever it stands, and the runs between them.

    Args:
        stages: probabilities; the first is the model's own and gives the order.
        n: how many tokens get a segment of their own.
        drawn: a token that gets one too.
    """
    order = likeliest_first(stages[0])
    n = max(0, min(n, len(order)))
    cuts = [*range(n + 1), len(order)]
    if drawn is not None:
        place = int(np.flatnonzero(order == drawn)[0])
        cuts += [place, place + 1]
    begins = sorted(set(cuts) - {len(order)})
    named = [begin < n or order[begin] == drawn for begin in begins]
    ordered = np.stack([np.asarray(stage, dtype=np.float64)[order] for stage in stages])  # (S, V)
    return Stack(
        ids=np.where(named, order[begins], -1),
        counts=np.add.reduceat((ordered > 0).astype(np.int64), begins, axis=1),
        widths=np.add.reduceat(ordered, begins, axis=1),
    )
