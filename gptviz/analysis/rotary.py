"""Rotary positions: how fast each pair of dimensions turns, and what the distance of two tokens does to their score.

Pure functions to arrays; knows nothing about pictures. Pair i of a head is its dimensions i and D / 2 + i.
Shapes: T tokens, C model width, D head width, N distances.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gptviz.analysis.head_stages import HeadStages, Projections
from gptviz.config import GPTConfig


def speeds(config: GPTConfig) -> np.ndarray:
    """Radians that each pair turns by from one token to the next, (D / 2,) float64 (Su et al. 2021, section 3.2.2).

    Pair i: base^(-2 i / D), divided by its factor where the model has factors.

    Raises:
        ValueError: for a model whose positions are not rotary.
    """
    if config.positions != "rotary":
        raise ValueError(f"expected rotary positions, found {config.positions}: nothing is turned")
    d = config.d_head
    return config.rotary_base ** (-np.arange(0, d, 2) / d) / np.array(config.rotary_factors or 1.0)


def periods(config: GPTConfig) -> np.ndarray:
    """Tokens that a whole turn of each pair takes, (D / 2,)."""
    return 2 * math.pi / speeds(config)


def cosines_by_distance(config: GPTConfig, count: int) -> np.ndarray:
    """Cosine of the angle between the turns of two positions, by pair and distance from 0 on: (D / 2, count)."""
    return np.cos(speeds(config)[:, None] * np.arange(count))


class Unturned(NamedTuple):
    """Queries and keys as their projections make them, before their positions turn them."""

    q: np.ndarray  # (T, D) float32
    k: np.ndarray  # (T, D)


def before_the_turn(stages: HeadStages, own: Projections) -> Unturned:
    """x W + b of one head, once more: a pass keeps queries and keys only as they are turned."""
    q = stages.x @ own.query if own.query_bias is None else stages.x @ own.query + own.query_bias
    k = stages.x @ own.key if own.key_bias is None else stages.x @ own.key + own.key_bias
    return Unturned(q, k)


def parts_by_distance(config: GPTConfig, q: np.ndarray, k: np.ndarray, count: int, scaled: bool = True) -> np.ndarray:
    """What each pair gives to the score of one query and one key at distances 0 to `count` - 1: (D / 2, count) float64.

    With a pair as one complex number, a query at position m and a key at n give Re(q k* e^(i (m - n) speed)): the
    distance alone counts (Su et al. 2021, equation 12). The sum over pairs is the score.

    Args:
        q, k: (D,) before they are turned. scaled: the score is divided by sqrt(D).
    """
    half = len(q) // 2
    asks, asked = (row[:half].astype(np.float64) + 1j * row[half:] for row in (q, k))  # (D / 2,)
    turns = np.exp(1j * speeds(config)[:, None] * np.arange(count))  # (D / 2, N)
    factor = 1 / math.sqrt(len(q)) if scaled else 1.0
    return factor * ((asks * asked.conj())[:, None] * turns).real
