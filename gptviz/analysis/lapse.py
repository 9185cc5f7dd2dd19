"""A model at many moments of its training, on one sentence: its heads, what it expects next, and what its heads became.

Shapes: N recorded steps, L layers, H heads, T tokens shown, K candidates, B sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from gptviz.analysis.predictions import probabilities, top
from gptviz.analysis.scores import induction_score, previous_token_score
from gptviz.attention import additive_mask, attention_weights
from gptviz.evaluate import period_for
from gptviz.trace import WhatIf

if TYPE_CHECKING:
    from torch import Tensor

    from gptviz.checkpoint import LanguageModel
    from gptviz.gpt import GPT

SEQUENCES = 4  # random ones that heads are scored on
MOST_POINTS = 1500  # of a curve on its way to the browser


class Moments(NamedTuple):
    """What the snapshots of a training did with one sentence."""

    weights: np.ndarray  # (N, L, H, T, T) float32, of the last T tokens
    ids: np.ndarray  # (N, K) the likeliest next tokens, by falling probability
    probabilities: np.ndarray  # (N, K) float64, of the whole vocabulary
    rest: np.ndarray  # (N,) float64, of all other tokens together


class HeadScores(NamedTuple):
    """What the heads became, N x L x H each, from 0 to 1."""

    previous: np.ndarray
    induction: np.ndarray


def look_at_all(
    models: Iterable[LanguageModel], ids: Sequence[int], causal: bool = True, most: int = 64, candidates: int = 10
) -> Moments:
    """Let every snapshot read the same tokens.

    Args:
        models: in order of their steps.
        ids: what all of them read, from 1 to a context's length.
        causal: with the mask; False for a training without it.
        most: of the tokens, this many of the last ones are shown.
        candidates: K.
    """
    weights, best = [], []
    for model in models:
        trace = model.gpt.trace(ids, WhatIf(causal=causal))
        weights.append(trace.weights[:, :, -most:, -most:].astype(np.float32))
        best.append(top(probabilities(trace.logits[-1]), candidates))
    return Moments(
        np.stack(weights),
        np.stack([each.ids for each in best]),
        np.stack([each.probabilities for each in best]),
        np.array([each.rest for each in best]),
    )


def score_all(models: Iterable[LanguageModel], causal: bool = True, seed: int = 0) -> HeadScores:
    """Previous-token and induction score of every head of every snapshot, on random tokens that come twice.

    The sequences are the first ones of `gptviz.evaluate.induction_scores`: no text is needed, and every recording of
    one vocabulary gets the same.
    """
    previous, induction = [], []
    for model in models:
        ids = scored_ids(model, seed)  # (B, 2 P)
        weights = batch_weights(model.gpt, torch.from_numpy(ids), causal)  # (L, B, H, 2 P, 2 P)
        previous.append(previous_token_score(weights).mean(axis=1))
        induction.append(induction_score(weights, ids.shape[1] // 2).mean(axis=1))
    return HeadScores(np.stack(previous), np.stack(induction))


def scored_ids(model: LanguageModel, seed: int = 0) -> np.ndarray:
    """The random tokens that heads are scored on, each row its first half twice: (B, 2 P) int64."""
    size = SEQUENCES, period_for(model)
    return np.tile(np.random.default_rng(seed).integers(0, model.tokenizer.end_of_text, size=size), 2)


@torch.inference_mode()
def batch_weights(gpt: GPT, ids: Tensor, causal: bool = True) -> np.ndarray:
    """Attention weights of a batch, (B, T) -> (L, B, H, T, T): several short passes in the time of one."""
    t = ids.size(1)
    mask = additive_mask(t, t, gpt.device) if causal else None
    seen = []

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
        seen.append(attention_weights(q, k, mask=mask))  # (B, H, T, T)
        return seen[-1].to(v.dtype) @ v, None

    gpt.hidden(ids.to(gpt.device), attend)
    return torch.stack(seen).float().cpu().numpy()


def thinned(steps: Sequence[int], values: Sequence[float], most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """A curve with at most `most` of its points: of each stretch, on a logarithmic axis, the lowest and the highest.

    Returns:
        steps and values, of the same length, as float32; nothing is averaged, and points that are no numbers are left
        out.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(x) > most:
        place = np.log1p(x) / np.log1p(x.max()) * (most // 2 - 1)
        frame = pd.DataFrame({"stretch": place.astype(int), "y": y})
        groups = frame.groupby("stretch")["y"]
        kept = np.unique(np.concatenate([groups.idxmin(), groups.idxmax()]))
        x, y = x[kept], y[kept]
    return x.astype(np.float32), y.astype(np.float32)


def score_table(steps: Sequence[int], scores: HeadScores) -> pd.DataFrame:
    """A row for each step and head: "step", "head" ("1.3"), "previous token" and "induction"."""
    n, n_layers, n_heads = scores.previous.shape
    names = [f"{layer}.{head}" for layer in range(n_layers) for head in range(n_heads)]
    return pd.DataFrame(
        {
            "step": np.repeat(np.asarray(steps), len(names)),
            "head": names * n,
            "previous token": scores.previous.reshape(-1),
            "induction": scores.induction.reshape(-1),
        }
    )


def next_table(steps: Sequence[int], tokens: Sequence[Sequence[str]], moments: Moments) -> pd.DataFrame:
    """A row for each step and candidate: "step", "rank" from 1, "token" and "probability".

    Args:
        steps: N; tokens: N x K, as they are shown.
    """
    n, k = moments.probabilities.shape
    return pd.DataFrame(
        {
            "step": np.repeat(np.asarray(steps), k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "token": [token for row in tokens for token in row],
            "probability": moments.probabilities.reshape(-1),
        }
    )
