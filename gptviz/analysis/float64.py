"""The decoder-only transformer once more: NumPy, float64, head by head, from the raw weights.

The answer that traces are held against, so it shares no line with the code that makes them: it reads the parameters
by their names and the shape from the config, and nothing else of gptviz.
Shapes: L layers, H heads, T tokens, D head width, C model width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from gptviz.gpt import GPT
    from gptviz.trace import WhatIf

EPSILON = 1e-5  # added to the variance by every layer norm
ROWS = 64  # of logits at a time: (T, V) in float64 would be the largest array of all


class Piece(NamedTuple):
    """A part of a stage, as large as is held at a time."""

    stage: str  # one of `trace.STAGES`
    layer: int | None  # where along its first axis; None for a stage without layers
    start: int  # its first row, which is 0 unless the stage is cut into rows
    values: np.ndarray | None  # None where a path has no such numbers


def exact(x: np.ndarray) -> np.ndarray:
    """As it is."""
    return x


def rounded(x: np.ndarray) -> np.ndarray:
    """As float32 would keep it, in float64."""
    return x.astype(np.float32).astype(np.float64)


def float64_pieces(
    gpt: GPT, ids: Sequence[int], what_if: WhatIf, keep: Callable[[np.ndarray], np.ndarray] = exact
) -> Iterator[Piece]:
    """Every stage of one pass over T ids, in the order of the computation, one layer in memory at a time.

    Vaswani et al. 2017, section 3, with both orders of layer norm (Ba et al. 2016).

    Args:
        what_if: may leave out the mask and the scaling, and weaken heads; edited weights are not supported.
        keep: `rounded` rounds what attention and the next sub-layer read: how far the stages then move is what
            rounding alone does to this pass.
    """
    config, post = gpt.config, gpt.config.norm_order == "post"
    tokens = double(gpt.token_embedding.weight[list(ids)])  # (T, C)
    positions = double(gpt.position_embedding.weight[: len(ids)])  # (T, C)
    x = keep(tokens + positions)
    yield from [Piece("token_embeddings", None, 0, tokens), Piece("position_embeddings", None, 0, positions)]
    yield Piece("residual", 0, 0, x)
    for layer in range(config.n_layers):
        p = {name: double(value) for name, value in gpt.blocks[layer].named_parameters()}
        seen = {"attention_in": x if post else normalise(x, p, "attention_norm")}
        gains = [
            math.prod(gain.gain for gain in what_if.gains if (gain.layer, gain.head) == (layer, head))
            for head in range(config.n_heads)
        ]
        seen |= attention(seen["attention_in"], p, gains, what_if, keep)
        added = keep(x + seen["attention_out"])
        seen["middle"] = normalise(added, p, "attention_norm") if post else added
        seen["ff_in"] = seen["middle"] if post else normalise(seen["middle"], p, "ff_norm")
        seen["ff_hidden"] = activate(linear(seen["ff_in"], p, "ff.expand"), config.activation)
        seen["ff_out"] = linear(seen["ff_hidden"], p, "ff.contract")
        x = seen["middle"] + seen["ff_out"]
        x = keep(normalise(x, p, "ff_norm") if post else x)
        yield from (Piece(stage, layer, 0, values) for stage, values in seen.items())
        yield Piece("residual", layer + 1, 0, x)
    final = x if post else normalise(x, {f"n.{k}": double(v) for k, v in gpt.final_norm.named_parameters()}, "n")
    yield Piece("final_vectors", None, 0, final)
    table = double(gpt.unembedding.weight)  # (V, C)
    for start in range(0, len(ids), ROWS):
        yield Piece("logits", None, start, final[start : start + ROWS] @ table.T)


def double(parameter: torch.Tensor) -> np.ndarray:
    """A copy in float64."""
    return parameter.detach().double().cpu().numpy()


def linear(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    """x W^T + b"""
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def normalise(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon), times gain, plus bias; over the last axis (Ba et al. 2016)."""
    mean = np.einsum("tc->t", x)[:, None] / x.shape[1]
    variance = np.einsum("tc,tc->t", x - mean, x - mean)[:, None] / x.shape[1]
    return (x - mean) / np.sqrt(variance + EPSILON) * p[f"{name}.weight"] + p[f"{name}.bias"]


def attention(
    x: np.ndarray,
    p: dict[str, np.ndarray],
    gains: Sequence[float],
    what_if: WhatIf,
    keep: Callable[[np.ndarray], np.ndarray],
) -> dict[str, np.ndarray]:
    """Multi-head attention over x (T, C), one head after the other (Vaswani et al. 2017, section 3.2.2)."""
    c, t = x.shape[1], len(x)
    d = c // len(gains)
    weight, bias = p["attention.qkv.weight"], p["attention.qkv.bias"]  # (3 C, C): q, k, v; head by head in each
    seen: dict[str, list[np.ndarray]] = {}
    out = np.tile(p["attention.out.bias"], (t, 1))  # (T, C)
    for head, gain in enumerate(gains):
        rows = [slice(part * c + head * d, part * c + (head + 1) * d) for part in range(3)]
        q, k, v = (keep(np.einsum("tc,dc->td", x, weight[row], optimize=True) + bias[row]) for row in rows)
        scores = keep(np.einsum("td,sd->ts", q, k, optimize=True))
        divided = scores / d**0.5 if what_if.scaled else scores
        masked = np.where(np.arange(t)[None] > np.arange(t)[:, None], -np.inf, divided) if what_if.causal else divided
        raised = np.exp(masked - masked.max(axis=1, keepdims=True))
        weights = raised / raised.sum(axis=1, keepdims=True)
        mixed = gain * (weights @ v)  # (T, D)
        out += mixed @ p["attention.out.weight"][:, head * d : (head + 1) * d].T
        stages = {"q": q, "k": k, "v": v, "scores": scores, "scaled": divided, "masked": masked, "weights": weights}
        for name, values in (stages | {"heads": mixed}).items():
            seen.setdefault(name, []).append(values)
    return {name: np.stack(values) for name, values in seen.items()} | {"attention_out": out}


def activate(x: np.ndarray, kind: str) -> np.ndarray:
    """ReLU, or GELU by the error function or by its tanh approximation (Hendrycks and Gimpel 2016, section 2)."""
    if kind == "relu":
        return np.maximum(x, 0.0)
    if kind == "gelu":
        return x * (1 + torch.erf(torch.from_numpy(x / 2**0.5)).numpy()) / 2  # NumPy has no error function
    if kind == "gelu_tanh":
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    raise ValueError(f"expected relu, gelu or gelu_tanh, found {kind!r}; teach `activate` its formula")
