"""One head from the inside: every stage from what it read to what it adds, and one cell worked out by hand.

Pure functions from a model and a `Trace` to arrays; knows nothing about pictures. Rows of a score are queries,
columns are keys. Shapes: T queries, S keys, C model width, H heads, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gptviz.attention import MultiHeadAttention, attention_stages
from gptviz.trace import Trace, read_only


@dataclass(frozen=True, eq=False)
class Projections:
    """The part of one attention's weights that belongs to one head, so that q = x query + query_bias.

    A bias that the model does not have is None, not zeros.
    """

    query: np.ndarray  # (C, D)
    key: np.ndarray  # (C, D) the same for all heads of `group`
    value: np.ndarray  # (C, D) as well
    query_bias: np.ndarray | None  # (D,)
    key_bias: np.ndarray | None  # (D,)
    value_bias: np.ndarray | None  # (D,)
    output: np.ndarray  # (D, C) the rows of the output projection that read this head
    output_bias: np.ndarray | None  # (C,) shared by all heads
    group: range  # the heads that share these keys and values, itself among them


@torch.no_grad()
def projections(attention: MultiHeadAttention, head: int) -> Projections:
    """The weights of one head as the model holds them: read-only, float32.

    Args:
        attention: one of `Stack.attentions`; of a cross-attention, `query` is for the queries' side and `key` and
            `value` are for the memory.

    Raises:
        ValueError: for a head that is not there.
    """
    if not 0 <= head < attention.n_heads:
        raise ValueError(f"expected a head from 0 to {attention.n_heads - 1}, found {head}")
    d, h, groups = attention.d_head, attention.n_heads, attention.n_groups
    mine, together = head * groups // h, h // groups
    rows = [slice(place * d, (place + 1) * d) for place in (head, h + mine, h + groups + mine)]  # of q, k, v
    weights = [read_only(attention.qkv.weight[row].T) for row in rows]  # (C, D) each
    bias, out_bias = attention.qkv.bias, attention.out.bias
    biases = [None if bias is None else read_only(bias[row]) for row in rows]  # (D,) each
    output = read_only(attention.out.weight[:, rows[0]].T)  # (D, C)
    group = range(mine * together, (mine + 1) * together)
    return Projections(*weights, *biases, output, None if out_bias is None else read_only(out_bias), group)


@dataclass(frozen=True, eq=False)
class HeadStages:
    """What one head did with one sentence; float32, the numbers of the pass itself."""

    x: np.ndarray  # (T, C) what attention read: queries are made of it
    memory: np.ndarray  # (S, C) what keys and values are made of: x itself but in cross-attention
    q: np.ndarray  # (T, D) turned, where positions are rotary
    k: np.ndarray  # (S, D) as well
    v: np.ndarray  # (S, D)
    scores: np.ndarray  # (T, S) q k^T
    scaled: np.ndarray  # (T, S) scores / sqrt(D)
    masked: np.ndarray  # (T, S) scaled, -inf where a query may not look
    weights: np.ndarray  # (T, S) softmax of masked; rows sum to 1
    output: np.ndarray  # (T, D) weights v
    joined: np.ndarray  # (T, H D) the outputs of all heads side by side
    out: np.ndarray  # (T, C) joined, projected: what attention adds to the stream


def head_stages(trace: Trace, layer: int, head: int) -> HeadStages:
    """Every stage of one head, this one alone: a long text's scores are not made for the other heads.

    Raises:
        ValueError: for a layer or head that is not there.
    """
    check_head(layer, head, len(trace.blocks), trace.blocks[0].attention.q.size(1))
    block, what_if = trace.blocks[layer], trace.what_if
    seen = block.attention
    q, k, v = (part[:, head, None] for part in (seen.q, seen.k, seen.v))  # (1, 1, T or S, D)
    stages = attention_stages(q, k, v, causal=what_if.causal, scaled=what_if.scaled)
    joined = seen.heads.transpose(1, 2).flatten(2)  # (1, T, H D)

    def array(tensor: Tensor) -> np.ndarray:
        return read_only(tensor.flatten(0, -3)[0])

    made = (q, k, v, stages.scores, stages.scaled, stages.masked)
    weights = trace.layer_weights(layer)[head]
    rest = (seen.heads[:, head, None], joined, seen.out)
    x = array(block.attention_in)
    memory = x if trace.memory is None else read_only(trace.memory)
    return HeadStages(x, memory, *map(array, made), weights, *map(array, rest))


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
    (t, d), s = stages.q.shape, len(stages.k)
    if not (0 <= query < t and 0 <= key < s):
        raise ValueError(
            f"expected a query from 0 to {t - 1} and a key from 0 to {s - 1}, found query {query}, key {key}"
        )
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
