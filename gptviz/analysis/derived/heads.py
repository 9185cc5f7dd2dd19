"""What lessons make out of attention, worked out again from a pass in float64, head by head and row by row.

Shapes: L layers, H heads, T tokens, D head width, C model width; rows of attention are queries, columns are keys.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Bounds, Derived

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass


def mean_of(seen: Pass, layer: int | None, head: int | None) -> np.ndarray:
    """Mean attention (T, T): of one head, of a layer, or of all."""
    if head is not None:
        return seen.layer("weights", layer)[head]
    layers = seen.layers("weights") if layer is None else [seen.layer("weights", layer)]
    return np.mean([np.mean([*each], axis=0) for each in layers], axis=0)


def drawn_rows(seen: Pass, start: int, layer: int | None, head: int | None, own: bool) -> Derived:
    """Attention of the tokens from `start` on: each token's own row, or that of the token before it."""
    mean = mean_of(seen, layer, head)
    rows = range(start, len(mean)) if own else range(start - 1, len(mean) - 1)
    return {"weight [drawn token, token]": np.array([mean[row] for row in rows])}


def unmasked(masked: Pass, other: Pass) -> Derived:
    """What heads do with the future: shares on it, and how differently they look at the past."""
    futures, pasts = [], []
    for with_mask, without in zip(masked.layers("weights"), other.layers("weights"), strict=True):
        futures.append([[row[i + 1 :].sum() for i, row in enumerate(head)] for head in without])
        pasts.append([moved_in_past(*pair) for pair in zip(with_mask, without, strict=True)])
    share = np.array(futures)  # (L, H, T)
    return {
        "share on the future [layer, head, query]": share,
        "moved to the future [layer, head]": share[..., :-1].mean(axis=-1) if share.shape[-1] > 1 else share[..., 0],
        "rearranged past [layer, head]": np.array(pasts),
    }


def moved_in_past(masked: np.ndarray, unmasked: np.ndarray) -> float:
    """Mean over queries: half the differences between a masked row and the unmasked one, cut and scaled up to 1."""
    rows = enumerate(zip(masked, unmasked, strict=True), start=1)
    return float(np.mean([np.abs(b[:i] / b[:i].sum() - a[:i]).sum() / 2 for i, (a, b) in rows]))


def difference(masked: Pass, other: Pass, layer: int, head: int) -> Derived:
    """Unmasked minus masked attention of one head."""
    return {
        "unmasked − masked [query, key]": other.layer("weights", layer)[head] - masked.layer("weights", layer)[head]
    }


def look(
    seen: Pass, what: str, layer: int, head: int, whole_model: bool, words: tuple[tuple[int, int], ...], first: bool
) -> Derived:
    """One matrix of attention, and every head of a layer: as they are, summed up, joined into words, without the first.

    Args:
        what: "head", "mean", "max" or "rollout", the last two of the heads of a layer or of the whole model.
        words: first and last token but one of each word; empty where tokens stay as they are.
        first: leave out the first key, and scale the rest of each row up to 1.
    """
    shown = [summary(seen, what, layer, head, whole_model), *seen.layer("weights", layer)]
    if words:
        shown = [joined(matrix, words) for matrix in shown]
    if first:
        shown = [headless(matrix) for matrix in shown]
    return {"weight [query, key]": shown[0], "weight by head [head, query, key]": np.array(shown[1:])}


def summary(seen: Pass, what: str, layer: int, head: int, whole_model: bool) -> np.ndarray:
    """One head (T, T), or the mean, the largest or the rollout of several."""
    if what == "rollout":
        return flow([*seen.layers("weights")][: None if whole_model else layer + 1])
    if what == "max":
        layers = seen.layers("weights") if whole_model else [seen.layer("weights", layer)]
        return np.max([np.max([*each], axis=0) for each in layers], axis=0)
    return mean_of(seen, None if whole_model and what == "mean" else layer, head if what == "head" else None)


def flow(layers: list[np.ndarray]) -> np.ndarray:
    """Rollout (Abnar and Zuidema 2020, section 3): mean over heads, half of it the identity, multiplied on."""
    total = None
    for heads in layers:
        mixed = (heads.sum(axis=0) / len(heads) + np.identity(heads.shape[-1])) / 2
        mixed /= np.einsum("ts->t", mixed)[:, None]
        total = mixed if total is None else mixed @ total
    return total


def joined(matrix: np.ndarray, words: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Summed over the keys of a word, averaged over its queries."""
    return np.array([[matrix[a:b, c:d].sum() / (b - a) for c, d in words] for a, b in words])


def between(seen: Pass, layer: int, head: int, pieces: tuple[tuple[int, int], ...], most: int) -> Derived:
    """One head, joined into pieces of the text, of which the last are shown; the row of an empty one is NaN."""
    matrix = seen.layer("weights", layer)[head]
    rows = [
        [matrix[a:b, c:d].sum() / (b - a) if b > a else math.nan for c, d in pieces[-most:]] for a, b in pieces[-most:]
    ]
    return {"weight between pieces [query, key]": np.array(rows)}


def headless(matrix: np.ndarray) -> np.ndarray:
    """Without its first key, which becomes NaN, and so does a row that has nothing left."""
    rows = []
    for row in matrix:
        rest = row[1:].sum()
        rows.append([math.nan, *(row[1:] / rest)] if rest > 0 else [math.nan] * len(row))
    return np.array(rows)


def levels(seen: Pass, low: float, high: float, *how: object) -> Derived:
    """`look`, read as 0, 1 and 2 by two borders; at a border rounding may do either; -1 where there is no weight."""
    weights = look(seen, *how)["weight [query, key]"]
    low_high = []
    for step in (-(2.0**-14), 2.0**-14):
        read = (weights + step >= low).astype(int) + (weights + step >= high)
        low_high.append(np.where(np.isnan(weights), -1, read))
    return {"level [query, key]": Bounds(*low_high)}


def habits(seen: Pass, layer: int) -> Derived:
    """What each head of a layer looks at: means over the queries but the first, which has no choice."""
    rows: dict[str, list[float]] = {}
    for head in seen.layer("weights", layer):
        queries = range(1, len(head)) if len(head) > 1 else range(1)
        for name, of in HABITS.items():
            rows.setdefault(f"{name} [head]", []).append(float(np.mean([of(head[i], i) for i in queries])))
    return {name: np.array(values) for name, values in rows.items()}


def bits(row: np.ndarray) -> float:
    """Entropy of one row."""
    some = row[row > 0]
    return -float(some @ np.log(some)) / math.log(2)


HABITS = {
    "first token": lambda row, i: row[0],
    "previous token": lambda row, i: row[i - 1] if i else 0.0,
    "itself": lambda row, i: row[i],
    "distance": lambda row, i: row @ np.abs(np.arange(len(row)) - i),
    "entropy": lambda row, i: bits(row),
}


def after_repeats(seen: Pass) -> Derived:
    """Mean attention from a token that came before to what followed it there, at its last earlier occurrence."""
    ids, pairs = seen.ids, []
    for i, token in enumerate(ids):
        earlier = [j for j in range(i) if ids[j] == token]
        if earlier and earlier[-1] + 1 < i:
            pairs.append((i, earlier[-1] + 1))
    means = [[np.mean([head[pair] for pair in pairs]) for head in heads] for heads in seen.layers("weights")]
    return {"weight on what followed [layer, head]": np.array(means)}
