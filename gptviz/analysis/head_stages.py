"""One head from the inside: every stage from what it read to what it adds, and one cell worked out by hand.

Pure functions from a model and a `Trace` to arrays; knows nothing about pictures. Rows of a score are queries,
columns are keys. Shapes: T tokens, C model width, H heads, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gptviz.attention import attention_stages
from gptviz.gpt import GPT
from gptviz.trace import Trace, read_only


@dataclass(frozen=True, eq=False)
class Projections:
    """The part of one attention's weights that belongs to one head, so that q = x query + query_bias."""

    query: np.ndarray  # (C, D)
    key: np.ndarray  # (C, D)
    value: np.ndarray  # (C, D)
    query_bias: np.ndarray  # (D,)
    key_bias: np.ndarray  # (D,)
    value_bias: np.ndarray  # (D,)
    output: np.ndarray  # (D, C) the rows of the output projection that read this head
    output_bias: np.ndarray  # (C,) shared by all heads


@torch.no_grad()
def projections(gpt: GPT, layer: int, head: int) -> Projections:
    """The weights of one head as the model holds them: read-only, float32.

    Raises:
        ValueError: for a layer or head that is not there.
    """
    config = gpt.config
    check_head(layer, head, config.n_layers, config.n_heads)
    attention, d = gpt.blocks[layer].attention, config.d_head
    mine = slice(head * d, (head + 1) * d)
    weights = attention.qkv.weight.unflatten(0, (3, -1))[:, mine].mT  # (3, C, D)
    biases = attention.qkv.bias.unflatten(0, (3, -1))[:, mine]  # (3, D)
    output = attention.out.weight[:, mine].T  # (D, C)
    return Projections(*map(read_only, (*weights, *biases, output, attention.out.bias)))


@dataclass(frozen=True, eq=False)
class HeadStages:
    """What one head did with one sentence; float32, the numbers of the pass itself."""

    x: np.ndarray  # (T, C) what attention read
    q: np.ndarray  # (T, D)
    k: np.ndarray  # (T, D)
    v: np.ndarray  # (T, D)
    scores: np.ndarray  # (T, T) q k^T
    scaled: np.ndarray  # (T, T) scores / sqrt(D)
    masked: np.ndarray  # (T, T) scaled, -inf where a query may not look
    weights: np.ndarray  # (T, T) softmax of masked; rows sum to 1
    output: np.ndarray  # (T, D) weights v
    joined: np.ndarray  # (T, C) the outputs of all heads side by side
    out: np.ndarray  # (T, C) joined, projected: what attention adds to the stream


def head_stages(trace: Trace, layer: int, head: int) -> HeadStages:
    """Every stage of one head, this one alone: a long text's scores are not made for the other heads.

    Raises:
        ValueError: for a layer or head that is not there.
    """
    check_head(layer, head, len(trace.blocks), trace.blocks[0].attention.q.size(1))
    block, what_if = trace.blocks[layer], trace.what_if
    seen = block.attention
    q, k, v = (part[:, head, None] for part in (seen.q, seen.k, seen.v))  # (1, 1, T, D)
    stages = attention_stages(q, k, v, causal=what_if.causal, scaled=what_if.scaled)
    joined = seen.heads.transpose(1, 2).flatten(2)  # (1, T, C)

    def array(tensor: Tensor) -> np.ndarray:
        return read_only(tensor.flatten(0, -3)[0])

    made = (q, k, v, stages.scores, stages.scaled, stages.masked)
    weights = trace.layer_weights(layer)[head]
    rest = (seen.heads[:, head, None], joined, seen.out)
    return HeadStages(array(block.attention_in), *map(array, made), weights, *map(array, rest))


def check_head(layer: int, head: int, n_layers: int, n_heads: int) -> None:
    """Raise `ValueError` for a layer or head that is not there."""
    if not (0 <= layer < n_layers and 0 <= head < n_heads):
        raise ValueError(f"expected a head from 0.0 to {n_layers - 1}.{n_heads - 1}, found {layer}.{head}")


@dataclass(frozen=True, eq=False)
class Cell:
    """One attention weight, worked out in float64 from the q and k of the pass."""

    products: np.ndarray  # (D,) q_d k_d, element by element
    running: np.ndarray  # (D,) their sum so far; the last is the score
    score: float
    scaled: float
    seen: bool  # False where the mask forbids it: its exponential is 0
    largest: float  # of the row's scores that may be seen; softmax subtracts it, so that no exponential overflows
    exponential: float  # exp(scaled - largest)
    total: float  # of the row's exponentials
    weight: float  # exponential / total


def work_out(stages: HeadStages, query: int, key: int, *, causal: bool = True, scaled: bool = True) -> Cell:
    """How one cell of the attention matrix comes about (Vaswani et al. 2017, equation 1).

    Args:
        stages: of the pass; query, key: positions from 0.
        causal, scaled: as in the pass.

    Raises:
        ValueError: for a position that is not there.
    """
    t, d = stages.q.shape
    if not (0 <= query < t and 0 <= key < t):
        raise ValueError(f"expected a query and a key from 0 to {t - 1}, found query {query}, key {key}")
    q, keys = stages.q[query].astype(np.float64), stages.k.astype(np.float64)
    factor = 1 / math.sqrt(d) if scaled else 1.0
    products = q * keys[key]  # (D,)
    row = (keys[: query + 1] if causal else keys) @ q * factor  # the scores that may be seen
    largest, seen = float(row.max()), not causal or key <= query
    score = float(products.sum())
    exponential = math.exp(score * factor - largest) if seen else 0.0
    total = float(np.exp(row - largest).sum())
    return Cell(
        products, products.cumsum(), score, score * factor, seen, largest, exponential, total, exponential / total
    )
