"""What kind of head is it? Scores of attention patterns, measured and not guessed from a picture.

Pure functions on attention weights (L, H, T, T); rows are queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def previous_token_score(weights: np.ndarray) -> np.ndarray:
    """Mean attention from a token to the one just before it.

    Args:
        weights: (L, H, T, T) with T of 2 or more.

    Returns:
        (L, H), from 0 to 1. The first token has none before it and does not count.
    """
    if weights.shape[-1] < 2:
        raise ValueError(f"expected at least 2 tokens, found {weights.shape[-1]}")
    return np.diagonal(weights, offset=-1, axis1=-2, axis2=-1).mean(axis=-1)


def induction_score(weights: np.ndarray, period: int) -> np.ndarray:
    """Mean attention from a token to the one *after* its earlier occurrence (Olsson et al. 2022, prefix matching).

    Args:
        weights: (L, H, T, T) over a sequence that repeats itself after `period` tokens.
        period: length of the part that is repeated, less than T.

    Returns:
        (L, H), from 0 to 1, over the queries from `period` on.
    """
    t = weights.shape[-1]
    if not 1 < period < t:
        raise ValueError(f"expected a period from 2 to {t - 1}, found {period}")
    # Query i first saw its token at i - period, so the token after that is at i - period + 1.
    return np.diagonal(weights, offset=1 - period, axis1=-2, axis2=-1)[..., 1:].mean(axis=-1)


def repeats(ids: Sequence[int]) -> list[tuple[int, int]]:
    """For each token that came before: its position, and the one after its last earlier occurrence, if that is past."""
    seen: dict[int, int] = {}
    found = []
    for place, token in enumerate(ids):
        if seen.get(token, place) + 1 < place:
            found.append((place, seen[token] + 1))
        seen[token] = place
    return found


def repeat_score(weights: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """`induction_score` on any text: mean attention from a token to the one after its last earlier occurrence.

    Args:
        weights: (L, H, T, T) over the T `ids`.

    Returns:
        (L, H), from 0 to 1, over the `repeats`; NaN where there is none.
    """
    pairs = repeats(ids)
    if not pairs:
        return np.full(weights.shape[:-2], np.nan)
    queries, keys = zip(*pairs, strict=True)
    return weights[..., queries, keys].mean(axis=-1)
