"""A translation judged token by token: what the model gave it, what it would have said, and where two of them part.

Knows nothing about pages or pictures. Softmaxes are over the full vocabulary in float64; logarithms are natural.
Shapes: T target tokens, the end of text included where there is one; V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptviz.analysis.masking import log_probabilities
from gptviz.analysis.predictions import ranks


@dataclass(frozen=True, eq=False)
class Judged:
    """What a decoder gave each token of a translation after those before it, and its own first choice there."""

    ids: np.ndarray  # (T,)
    log_p: np.ndarray  # (T,) float64, nats
    rank: np.ndarray  # (T,) of the token among all V, 1 the likeliest
    choices: np.ndarray  # (T,) the likeliest token of each place
    choice_log_p: np.ndarray  # (T,) float64, nats

    @property
    def total(self) -> float:
        """ln of the probability of the whole translation, by the chain rule."""
        return float(self.log_p.sum())

    @property
    def mean(self) -> float:
        """nats per token."""
        return float(self.log_p.mean())

    @property
    def perplexity(self) -> float:
        """e^-mean: among how many equally likely tokens the model was choosing, on (geometric) average."""
        return math.exp(-self.mean) if self.mean > -700 else math.inf

    @property
    def probability(self) -> np.ndarray:
        """(T,) float64."""
        return np.exp(self.log_p)

    @property
    def choice_probability(self) -> np.ndarray:
        """(T,) float64; never below `probability`."""
        return np.exp(self.choice_log_p)


def judge(logits: np.ndarray, ids: Sequence[int]) -> Judged:
    """Judge T tokens by the logits (T, V) of the places that were asked for them.

    Raises:
        ValueError: unless there are as many rows of logits as tokens, and one or more.
    """
    if len(logits) != len(ids) or not len(ids):
        raise ValueError(f"expected a row of logits for each token, found {len(logits)} rows for {len(ids)} tokens")
    log_p, came = log_probabilities(logits), np.asarray(ids, dtype=np.int64)  # (T, V), (T,)
    places, choices = np.arange(len(came)), log_p.argmax(axis=-1)
    return Judged(came, log_p[places, came], ranks(logits, came), choices, log_p[places, choices])


def parting(first: Sequence[int], second: Sequence[int]) -> int | None:
    """The first place where two translations have not the same token; None where they are the same throughout."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return None if len(first) == len(second) else min(len(first), len(second))


def odds(one: float, other: float) -> float:
    """How many times as probable the first is as the second, from their log-probabilities; inf beyond e^700."""
    return math.exp(one - other) if one - other < 700 else math.inf
