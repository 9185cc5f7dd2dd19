"""Numbers out of attention weights: summaries over heads and layers, words, readings, and what a head is like.

Pure functions from arrays to arrays; knows nothing about models or pictures. Unless said otherwise a matrix is
(T, T), rows are queries, columns are keys, and a row sums to 1. Shapes: L layers, H heads, T tokens, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


def mean_attention(weights: np.ndarray) -> np.ndarray:
    """Mean over all leading axes, heads and layers: (..., T, T) -> (T, T). Rows still sum to 1."""
    return weights.astype(np.float64).reshape(-1, *weights.shape[-2:]).mean(axis=0)


def max_attention(weights: np.ndarray) -> np.ndarray:
    """Largest weight over all leading axes: (..., T, T) -> (T, T). Rows sum to 1 or *more*."""
    return weights.astype(np.float64).reshape(-1, *weights.shape[-2:]).max(axis=0)


def rollout(weights: np.ndarray) -> np.ndarray:
    """How much of each input position reaches each output position, if attention were all that mixes them.

    Attention rollout (Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3): per layer the
    mean over heads A, the residual connection as 0.5 A + 0.5 I, rows renormalised, and the product of the layers.

    Args:
        weights: (L, H, T, T), the layers from the first one up to the one to look at.

    Returns:
        (T, T) float64; rows are output positions and sum to 1.
    """
    identity = np.eye(weights.shape[-1])
    flow = identity
    for layer in weights.astype(np.float64).mean(axis=1):  # (T, T)
        mixed = 0.5 * layer + 0.5 * identity
        flow = (mixed / mixed.sum(axis=-1, keepdims=True)) @ flow
    return flow


def summarise(weights: np.ndarray, what: str, layer: int, head: int, whole_model: bool = False) -> np.ndarray:
    """The one matrix that a view shows: (L, H, T, T) -> (T, T) float64.

    Args:
        what: "head" for one head as it is; "mean" or "max" over the heads of `layer`; "rollout" through `layer`.
        whole_model: let mean and max run over the heads of all layers, and rollout through the last one.
    """
    if what == "head":
        return weights[layer, head].astype(np.float64)
    if what == "rollout":
        return rollout(weights if whole_model else weights[: layer + 1])
    summary = {"mean": mean_attention, "max": max_attention}
    if what not in summary:
        raise ValueError(f"expected head, mean, max or rollout, found {what!r}")
    return summary[what](weights if whole_model else weights[layer])


def without_first(weights: np.ndarray) -> np.ndarray:
    """The matrix without its first key, rows rescaled to sum to 1. Not what the model computed.

    The first column becomes NaN, and so does every row that has nothing left: the first one under a causal mask.
    """
    rest = weights.astype(np.float64)
    rest[..., 0] = 0.0
    total = rest.sum(axis=-1, keepdims=True)
    kept = np.divide(rest, total, out=np.full_like(rest, np.nan), where=total > 0)
    kept[..., 0] = np.nan
    return kept


def as_bytes(tokens: Sequence[bytes | str]) -> list[bytes]:
    """Tokens as the bytes that they stand for."""
    return [token.encode("utf-8", "backslashreplace") if isinstance(token, str) else token for token in tokens]


def word_groups(tokens: Sequence[bytes | str]) -> list[range]:
    """Which neighbouring tokens make a word: ranges of positions that cover all tokens in order.

    A word starts at the first token, at a token that begins with white space, and after a token that ends with
    white space. Tokens may be any bytes: a character split over several tokens is read whole.
    """
    pieces = as_bytes(tokens)
    begins, ends, place = set(), set(), 0  # byte offsets where a white space character begins, and where one ends
    for character in b"".join(pieces).decode("utf-8", "surrogateescape"):
        size = len(character.encode("utf-8", "surrogateescape"))
        if character.isspace():
            begins.add(place)
            ends.add(place + size)
        place += size
    offsets = np.cumsum([0, *map(len, pieces)])[:-1].tolist()
    starts = [i for i, offset in enumerate(offsets) if i == 0 or offset in begins or offset in ends]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(pieces)], strict=True)]


def word_texts(tokens: Sequence[bytes | str], groups: Sequence[range]) -> tuple[str, ...]:
    """The text of each word; bytes that are no whole character read as \\xNN."""
    pieces = as_bytes(tokens)
    return tuple(b"".join(pieces[i] for i in group).decode("utf-8", "backslashreplace") for group in groups)


def join_words(weights: np.ndarray, groups: Sequence[range]) -> np.ndarray:
    """From tokens to words: summed over a word's keys, averaged over its queries. (..., T, T) -> (..., W, W).

    A row that summed to 1 still does: what is looked at is shared out, who looks is asked as one.
    """
    starts = [group.start for group in groups]
    sizes = np.array([len(group) for group in groups])[:, None]  # (W, 1)
    by_key = np.add.reduceat(weights.astype(np.float64), starts, axis=-1)  # (..., T, W)
    return np.add.reduceat(by_key, starts, axis=-2) / sizes


def join_mask(masked: np.ndarray, groups: Sequence[range]) -> np.ndarray:
    """A pair of words is masked if every pair of their tokens is: (T, T) bool -> (W, W) bool."""
    starts = [group.start for group in groups]
    return np.logical_and.reduceat(np.logical_and.reduceat(masked, starts, axis=1), starts, axis=0)


@dataclass(frozen=True, eq=False)
class View:
    """What one setting of the attention page shows; N tokens, or words."""

    weights: np.ndarray  # (N, N) float64, the chosen matrix
    heads: np.ndarray  # (H, N, N) float64, every head of the chosen layer
    masked: np.ndarray  # (N, N) bool, True where every score was -inf
    names: tuple[str, ...]  # N


def look(
    weights: np.ndarray,
    masked: np.ndarray,
    tokens: Sequence[bytes | str],
    *,
    what: str,
    layer: int,
    head: int,
    whole_model: bool = False,
    words: bool = False,
    hide_first: bool = False,
) -> View:
    """Summarise, then join tokens into words, then hide the first of them, as far as each is asked for.

    Args:
        weights: (L, H, T, T); masked: (T, T) bool, where the scores were -inf.
        tokens: T tokens; bytes where they are known, so that a character split over tokens joins again.
        what, layer, head, whole_model: see `summarise`.
    """
    groups = groups_of(tokens, words)
    matrices = summarise(weights, what, layer, head, whole_model), weights[layer].astype(np.float64)
    masked = join_mask(masked, groups) if words else masked
    changed = (change(matrix, groups, words, hide_first) for matrix in matrices)
    return View(*changed, masked, word_texts(tokens, groups))


def groups_of(tokens: Sequence[bytes | str], words: bool) -> list[range]:
    """Positions of the tokens that go together: those of a word, or each alone."""
    return word_groups(tokens) if words else [range(i, i + 1) for i in range(len(tokens))]


def change(weights: np.ndarray, groups: Sequence[range], words: bool, hide_first: bool) -> np.ndarray:
    """Join the tokens of each group, then hide the first, as far as each is asked for: (..., T, T) -> (..., N, N)."""
    if words:
        weights = join_words(weights, groups)
    return without_first(weights) if hide_first else weights


def attended_by(weights: np.ndarray, picked: Sequence[int]) -> np.ndarray:
    """What the picked queries attend to, their rows summed: (T,), which sums to the number picked."""
    return np.nan_to_num(weights[list(picked)]).sum(axis=0)


def attending_to(weights: np.ndarray, picked: Sequence[int]) -> np.ndarray:
    """What attends to the picked keys, their columns summed: (T,), each query's share between 0 and 1."""
    return np.nan_to_num(weights[:, list(picked)]).sum(axis=1)


def read_levels(weights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Weights read as 0 (low: under `low`), 1 (med) and 2 (high: `high` and more); -1 where a weight is NaN.

    Raises:
        ValueError: unless low <= high.
    """
    if not low <= high:
        raise ValueError(f"expected the threshold of med at or under that of high, found {low} and {high}")
    return np.where(np.isnan(weights), -1, (weights >= low).astype(np.int8) + (weights >= high)).astype(np.int8)


def entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy of each row in bits, (..., T, T) -> (..., T): 0 looks at one token, log2(n) at n tokens alike."""
    p = weights.astype(np.float64)
    return -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(axis=-1)


def distance(weights: np.ndarray) -> np.ndarray:
    """Mean number of tokens between a query and what it looks at, (..., T, T) -> (..., T)."""
    places = np.arange(weights.shape[-1])
    return (weights.astype(np.float64) * np.abs(places[:, None] - places)).sum(axis=-1)


def head_table(weights: np.ndarray, layer: int) -> pd.DataFrame:
    """What each head of a layer looks at on this text, one row a head, means over the queries.

    Args:
        weights: (H, T, T), of one layer; layer: its number, for the names.

    Returns:
        Columns "head" ("3.7"), "first token", "previous token" and "itself" (mean weight; the first query, which has
        no previous token, is left out), "distance" (tokens) and "entropy" (bits).
    """
    heads = weights.astype(np.float64)
    rows = heads[:, 1:] if heads.shape[-1] > 1 else heads  # the first query has no choice
    previous = np.diagonal(heads, offset=-1, axis1=1, axis2=2)  # (H, T - 1)
    itself = np.diagonal(heads, axis1=1, axis2=2)[:, -rows.shape[1] :]
    return pd.DataFrame(
        {
            "head": [f"{layer}.{head}" for head in range(len(heads))],
            "first token": rows[:, :, 0].mean(axis=1),
            "previous token": previous.mean(axis=1) if previous.size else np.zeros(len(heads)),
            "itself": itself.mean(axis=1),
            "distance": distance(heads)[:, -rows.shape[1] :].mean(axis=1),
            "entropy": entropy(rows).mean(axis=1),
        }
    )


def weight_table(weights: np.ndarray, queries: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    """A matrix as a table: one row a query, one column a key, names led by positions so that none repeats."""
    return pd.DataFrame(
        weights,
        index=pd.Index([f"{i} {token}" for i, token in enumerate(queries)], name="query \\ key"),
        columns=[f"{i} {token}" for i, token in enumerate(keys)],
    )
