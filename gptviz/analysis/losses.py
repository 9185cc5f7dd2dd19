"""The loss of a sentence, position by position, and what it asks of the logits.

Knows nothing about models or pictures. Softmaxes are over the full vocabulary in float64; the loss is in nats unless a
name says bits. Shapes: T tokens, of which the first T - 1 have a target; V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptviz.analysis.predictions import likeliest_first, probabilities, read_sentence


@dataclass(frozen=True, eq=False)
class Losses:
    """What a model gave each target: the sentence itself, shifted by one, so that position t is asked for token t + 1.

    Empty for a single token, which has no target.
    """

    inputs: np.ndarray  # (T - 1,) the token that stands at each position
    targets: np.ndarray  # (T - 1,) the token that comes next
    probability: np.ndarray  # (T - 1,) float64, of the target
    rank: np.ndarray  # (T - 1,) of the target among all V tokens, 1 the likeliest
    nats: np.ndarray  # (T - 1,) float64, -ln probability: the cross-entropy with a target that is certain

    @property
    def mean(self) -> float:
        """The loss of the sentence: what training lowers, nats per token."""
        return float(self.nats.mean())

    @property
    def bits(self) -> float:
        """The mean in bits per token."""
        return self.mean / math.log(2)

    @property
    def perplexity(self) -> float:
        """e^mean: among how many equally likely tokens the model was choosing, on (geometric) average."""
        return math.exp(self.mean) if self.mean < 700 else math.inf


def target_losses(logits: np.ndarray, ids: Sequence[int]) -> Losses:
    """Judge each of T tokens but the first by the logits (T, V) of the position before it.

    Raises:
        ValueError: unless there are as many logits as ids.
    """
    # The first token is not predicted, and after the last none has come yet.
    came = read_sentence(logits, ids, with_entropy=False).iloc[1:-1]
    return Losses(
        inputs=np.asarray(ids[:-1], dtype=np.int64),
        targets=np.asarray(ids[1:], dtype=np.int64),
        probability=came["probability"].to_numpy(),
        rank=came["rank"].to_numpy(dtype=np.int64),
        nats=came["surprise"].to_numpy() * math.log(2),
    )


def logit_gradient(logits: np.ndarray, target: int) -> np.ndarray:
    """Gradient of one position's loss on its logits (V,): p - onehot(target), float64; it sums to 0.

    From d/dz_i of -z_target + ln sum_j exp z_j (Goodfellow et al. 2016, section 6.2.2.3). In the mean over a sentence
    each position counts 1 / (T - 1) of it.
    """
    gradient = probabilities(logits)  # (V,)
    gradient[target] -= 1
    return gradient


def strongest(gradient: np.ndarray, n: int) -> np.ndarray:
    """Ids of the `n` entries of (V,) that are pushed hardest, either way: largest |gradient| first, ties by id."""
    return likeliest_first(np.abs(gradient))[: max(0, n)]
