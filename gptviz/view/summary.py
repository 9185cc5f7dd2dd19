"""Numbers of each head, for its badge and for sorting: entropy, distance, and what kind of head it is on this text.

Shapes: H heads, T queries, S keys.
"""

from __future__ import annotations

import numpy as np

PATTERNS = {"previous": "previous token", "first": "first token", "diagonal": "diagonal"}
SPREAD, ERROR = "spread", "error"
CACHED = 2**20  # weights that are looked at together: they stay in the processor's cache
MAJORITY = 0.5  # a head is of a kind if at least half of its attention goes there


def summarise_heads(
    layer: np.ndarray, masked: np.ndarray | None = None, *, wrong: np.ndarray | None = None, square: bool = True
) -> dict[str, np.ndarray | list[str] | None]:
    """What each head looks at, means over its rows that are right.

    A row with a single possible key says nothing, and is left out unless all rows are such; so is, in self-attention,
    the first query, which has no choice under a causal mask.

    Args:
        layer: (H, T, S) weights. Where a row does not sum to 1, entropy and distance are of its shares.
        masked: (1 or H, T, S) bool or None; rows masked all over do not count.
        wrong: (H, T) bool or None; see `payload.wrong_rows`.
        square: self-attention. Otherwise queries and keys are different texts, and only entropy and first have a
            meaning; the others are None.

    Returns:
        "entropy" (H,) bits, "distance" (H,) tokens, "first", "previous", "diagonal" (H,) mean weight, "kind" H words,
        and "rows", a dict of the same before the mean, (H, T). NaN where no row counts; "previous" is None for T = 1.
        The kind is "" where no row has a choice.
    """
    h, t, s = layer.shape
    counts, chooses = rows_that_count((h, t, s), masked, wrong, square)
    away = np.abs(np.subtract.outer(np.arange(t), np.arange(s))).astype(np.float32) if square else None  # (T, S)
    rows = {"entropy": np.empty((h, t)), "distance": np.empty((h, t)) if square else None, "first": layer[:, :, 0]}
    some = max(1, CACHED // (t * s))
    for part in (slice(start, start + some) for start in range(0, h, some)):
        weights = layer[part]
        total = weights.sum(axis=-1)  # (some, T)
        rows["entropy"][part] = row_entropy(weights, total)
        if away is not None:
            rows["distance"][part] = share(np.einsum("hts,ts->ht", weights, away), total)
    means = {name: None if values is None else mean_where(values, counts) for name, values in rows.items()}
    diagonal = np.diagonal(layer, axis1=1, axis2=2)  # (H, T)
    means["diagonal"] = mean_where(diagonal, counts) if square else None
    before = np.diagonal(layer, offset=-1, axis1=1, axis2=2)  # (H, T - 1), of queries 1 and on
    means["previous"] = mean_where(before, counts[:, 1:]) if square and t > 1 else None
    failed = np.zeros(h, dtype=bool) if wrong is None else wrong.any(axis=-1)
    kinds = [ERROR if bad else kind_of(means, i) if chooses[i] else "" for i, bad in enumerate(failed)]
    return means | {"kind": kinds, "rows": rows}


def rows_that_count(
    shape: tuple[int, int, int], masked: np.ndarray | None, wrong: np.ndarray | None, square: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows go into the means of each head, (H, T) bool, and whether one of them has a choice, (H,) bool."""
    h, t, s = shape
    possible = np.full((1, t), s) if masked is None else (~masked).sum(axis=-1)  # keys of a row, (1 or H, T)
    counts = np.broadcast_to(possible > 0, (h, t)).copy()
    if square and t > 1:
        counts[:, 0] = False
    if wrong is not None:
        counts &= ~wrong
    choice = counts & (possible > 1)
    chooses = choice.any(axis=-1)
    return np.where(chooses[:, None], choice, counts), chooses


def row_entropy(weights: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Entropy in bits of each row's shares: weights (..., T, S), their sums (..., T) -> (..., T); 0 for a sum of 0."""
    # sum p log2 p with p = w / total is (sum w log2 w) / total - log2 total. Nothing is added where w is 0.
    with np.errstate(all="ignore"):
        logs = np.log2(np.maximum(weights, np.float32(1e-37)))
        inside = np.einsum("...s,...s->...", weights, logs).astype(np.float64)
        whole = total.astype(np.float64)
        bits = np.log2(whole) - inside / whole
    return np.where(whole > 0, np.maximum(bits, 0), np.where(whole == 0, 0.0, np.nan))


def share(values: np.ndarray, total: np.ndarray) -> np.ndarray:
    """values / total in float64, 0 where the total is 0."""
    with np.errstate(all="ignore"):
        return np.where(total == 0, 0.0, values.astype(np.float64) / total)


def mean_where(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what counts, in float64; NaN where nothing does. Both (H, T) -> (H,)."""
    kept = np.where(counts, values, 0).sum(axis=-1, dtype=np.float64)
    number = counts.sum(axis=-1)
    return np.divide(kept, number, out=np.full(len(kept), np.nan), where=number > 0)


def kind_of(means: dict[str, np.ndarray | None], head: int) -> str:
    """The pattern that has most of a head's attention, "spread" if none has half; earlier ones win a tie."""
    found = {name: means[name][head] for name in PATTERNS if means[name] is not None}
    best = max(found, key=found.__getitem__)  # NaN, where no row counts, is in all of them or in none
    return PATTERNS[best] if found[best] >= MAJORITY else SPREAD
