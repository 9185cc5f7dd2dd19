"""Where heads look: at tokens before the query, at the query itself, at tokens after it, and how far away.

Pure functions from arrays to arrays; knows nothing about models or pictures. Shapes: L layers, H heads, T tokens;
rows of attention are queries, columns are keys.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from gptviz.analysis.heads import distance
from gptviz.analysis.masking import future_share


class Directions(NamedTuple):
    """Means over the queries that have a choice; the three shares add up to 1. All (...), float64."""

    past: np.ndarray  # share of the attention on tokens before the query
    itself: np.ndarray
    future: np.ndarray  # on tokens after it
    distance: np.ndarray  # mean number of tokens between a query and what it looks at


def directions(weights: np.ndarray, causal: bool) -> Directions:
    """Where attention (..., T, T) goes.

    Args:
        causal: the pass was masked, so that the first query sees itself alone: it has no choice and is left out,
            unless there is no other.
    """
    first = 1 if causal and weights.shape[-1] > 1 else 0
    weights = np.asarray(weights, dtype=np.float64)
    itself = np.diagonal(weights, axis1=-2, axis2=-1)  # (..., T)
    past = np.tril(weights, k=-1).sum(axis=-1)  # (..., T)
    every_query = past, itself, future_share(weights), distance(weights)
    return Directions(*(values[..., first:].mean(axis=-1) for values in every_query))


def share_of_last(weights: np.ndarray) -> np.ndarray:
    """The part of `future` that goes to the last token, the end of a sentence: unmasked (..., T, T) -> (...)."""
    return np.asarray(weights, dtype=np.float64)[..., :-1, -1].sum(axis=-1) / weights.shape[-1]


def spread_evenly(t: int, causal: bool) -> Directions:
    """`directions` of a head that looks at all T tokens that it may see alike: what to compare with."""
    seen = np.tri(t) if causal else np.ones((t, t))
    return directions(seen / seen.sum(axis=-1, keepdims=True), causal)


def directions_table(sides: dict[str, Directions]) -> pd.DataFrame:
    """Every head of every side, each side (L, H): side, head ("3.7"), layer, past, itself, future, distance."""
    tables = []
    for side, found in sides.items():
        layers, heads = (index.ravel() for index in np.indices(found.past.shape))
        names = [f"{layer}.{head}" for layer, head in zip(layers, heads, strict=True)]
        values = {name: value.ravel() for name, value in found._asdict().items()}
        tables.append(pd.DataFrame({"side": side, "head": names, "layer": layers} | values))
    return pd.concat(tables, ignore_index=True)
