"""Two models of one recipe, one trained with the mask and one without: what each reads, predicts and writes.

Shapes: L layers, H heads, T tokens, V vocabulary. Losses and log-probabilities are in nats, entropy in bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from gptviz.analysis.masking import log_probabilities

if TYPE_CHECKING:
    from gptviz.gpt import GPT
    from gptviz.runs.recording import Losses

LAST = 50  # records whose mean is a training's loss: a single one is a matter of luck
BINS = 240  # points of a curve: more than a chart has room for


class Likeliest(NamedTuple):
    """The head of a distribution over the next token."""

    ids: np.ndarray  # (n,), the likeliest first
    probabilities: np.ndarray  # (n,)
    rest: float  # of all the others together
    entropy: float  # bits, of the whole distribution


def next_share(weights: np.ndarray) -> np.ndarray:
    """How much of its attention each head gives to the token after the query: (L, H, T, T) -> (L, H).

    The mean over the queries that have one, all but the last; 0 for a single token. Spread evenly it would be 1 / T.
    """
    after = np.diagonal(np.asarray(weights, dtype=np.float64), offset=1, axis1=-2, axis2=-1)  # (L, H, T - 1)
    return after.mean(axis=-1) if after.shape[-1] else np.zeros(after.shape[:-1])


def largest(share: np.ndarray) -> tuple[int, int]:
    """Layer and head of the largest number of (L, H)."""
    layer, head = np.unravel_index(int(share.argmax()), share.shape)
    return int(layer), int(head)


def of_the_next(logits: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Log-probability of the token that really came next: logits (T, V) and T ids -> (T - 1,)."""
    came = np.asarray(ids[1:], dtype=np.int64)
    return log_probabilities(logits[:-1])[np.arange(len(came)), came]


def of_the_next_unseen(gpt: GPT, ids: Sequence[int], causal: bool, last: int | None = None) -> np.ndarray:
    """The same where no future exists: each token is asked for by a pass over those before it and nothing else.

    Args:
        gpt: the model.
        ids: T token ids that fit its context.
        causal: read with the mask or without, as it was trained.
        last: ask for so many tokens at the end; for all but the first if not given.

    Returns:
        (T - 1,) log-probabilities, or (last,).
    """
    from gptviz.sampling import next_logits  # here, because it brings torch

    ids = list(ids)
    first = 1 if last is None else max(1, len(ids) - last)
    logs = [log_probabilities(next_logits(gpt, ids[:t], causal=causal))[ids[t]] for t in range(first, len(ids))]
    return np.array(logs, dtype=np.float64)


def likeliest(logits: np.ndarray, n: int = 5) -> Likeliest:
    """The n likeliest next tokens from logits (V,), of equals the lower id first."""
    log_p = log_probabilities(logits)
    p = np.exp(log_p)
    order = np.argsort(-p, kind="stable")[:n]
    entropy = -float((p * np.where(p > 0, log_p, 0.0)).sum()) / math.log(2)
    return Likeliest(order, p[order], float(max(0.0, 1 - p[order].sum())), entropy)


def written_log_probabilities(gpt: GPT, ids: Sequence[int], written: int) -> np.ndarray:
    """What a model with the mask makes of the last `written` of `ids`: (written,) log-probabilities.

    In one pass over the last tokens that fit its context, whoever wrote them.

    Raises:
        ValueError: unless each of them has a token before it in that pass.
    """
    window = list(ids)[-gpt.config.context :]
    if not 0 <= written < len(window):
        raise ValueError(f"expected fewer written tokens than the {len(window)} of the pass, found {written}")
    return of_the_next(gpt.trace(window).logits, window)[len(window) - 1 - written :]


def at_step(losses: Losses, step: int, last: int = LAST) -> tuple[float, float]:
    """Where a training is after `step` steps: the mean of its last training losses, and its last held-out loss.

    NaN where there is none so far.
    """
    train = [loss for at, loss in zip(losses.steps, losses.train, strict=True) if at <= step][-last:]
    valid = [loss for at, loss in zip(losses.valid_steps, losses.valid, strict=True) if at <= step][-1:]
    return float(np.mean(train)) if train else math.nan, valid[0] if valid else math.nan


def thinned(steps: Sequence[int], losses: Sequence[float], bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """A curve for a logarithmic axis: the means of neighbouring steps, in at most `bins` bins of equal width on it.

    Returns:
        The mean step and the mean loss of each bin that has a step: early ones have one each.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if not len(x):
        return x, y
    width = max(math.log(x.max() / x.min()), 1e-12) / bins
    places = np.minimum((np.log(x / x.min()) / width).astype(np.int64), bins - 1)
    counts = np.bincount(places, minlength=bins)
    kept = counts > 0
    return tuple(np.bincount(places, weights=values, minlength=bins)[kept] / counts[kept] for values in (x, y))


def heads_table(masked: np.ndarray, unmasked: np.ndarray) -> pd.DataFrame:
    """The share on the next token of every head of both, (L, H) twice: one row a head."""
    names = [f"{layer}.{head}" for layer, head in np.ndindex(masked.shape)]
    return pd.DataFrame(
        {"head": names, "trained with the mask": masked.ravel(), "trained without": unmasked.ravel()}
    ).set_index("head")
