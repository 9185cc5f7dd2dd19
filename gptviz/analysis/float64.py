"""The decoder-only transformer once more: NumPy, float64, head by head, from the raw weights.

The answer that traces are held against, so it shares no line with the code that makes them: it reads the parameters
by their names and the shape from the config, and nothing else of gptviz.
Shapes: L layers, H heads, T tokens, D head width, C model width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from gptviz.config import GPTConfig, ModelConfig
    from gptviz.gpt import GPT
    from gptviz.trace import WhatIf

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
    gpt: GPT,
    ids: Sequence[int],
    what_if: WhatIf,
    keep: Callable[[np.ndarray], np.ndarray] = exact,
    moved: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Piece]:
    """Every stage of one pass over T ids, in the order of the computation, one layer in memory at a time.

    Vaswani et al. 2017, section 3, with both orders of layer norm (Ba et al. 2016).

    Args:
        what_if: may leave out the mask and the scaling, and weaken heads; edited weights are not supported.
        keep: `rounded` rounds what attention and the next sub-layer read: how far the stages then move is what
            rounding alone does to this pass.
        moved: parameters by name, to be used in place of the model's own.
    """
    config, post = gpt.config, gpt.config.norm_order == "post"
    tokens = parameter(gpt, "token_embedding.weight", moved, list(ids))  # (T, C)
    positions, angles = np.zeros_like(tokens), None  # (T, C)
    if config.positions == "rotary":
        angles = rotary_angles(config, len(ids))  # (T, D / 2)
    else:
        positions = parameter(gpt, "position_embedding.weight", moved, slice(len(ids)))
    x = keep(tokens + positions)
    yield from [Piece("token_embeddings", None, 0, tokens), Piece("position_embeddings", None, 0, positions)]
    yield Piece("residual", 0, 0, x)
    for layer in range(config.n_layers):
        p = parameters_of(gpt, f"blocks.{layer}", moved)
        seen = {"attention_in": x if post else normalise(x, p, "attention_norm", config)}
        gains = gains_of(what_if, layer, config.n_heads)
        seen |= attention(seen["attention_in"], p, gains, what_if, keep, angles=angles)
        added = keep(x + seen["attention_out"])
        seen["middle"] = normalise(added, p, "attention_norm", config) if post else added
        seen["ff_in"] = seen["middle"] if post else normalise(seen["middle"], p, "ff_norm", config)
        seen["ff_hidden"] = hidden_layer(seen["ff_in"], p, config.activation)
        seen["ff_out"] = linear(seen["ff_hidden"], p, "ff.contract")
        x = seen["middle"] + seen["ff_out"]
        x = keep(normalise(x, p, "ff_norm", config) if post else x)
        yield from (Piece(stage, layer, 0, values) for stage, values in seen.items())
        yield Piece("residual", layer + 1, 0, x)
    norm = {f"final.{name}": value for name, value in parameters_of(gpt, "final_norm", moved).items()}
    final = x if post else normalise(x, norm, "final", config)
    yield Piece("final_vectors", None, 0, final)
    table = parameter(gpt, "token_embedding.weight" if config.tied else "unembedding.weight", moved)  # (V, C)
    for start in range(0, len(ids), ROWS):
        yield Piece("logits", None, start, final[start : start + ROWS] @ table.T)


def parameter(
    gpt: GPT, name: str, moved: Mapping[str, np.ndarray] | None = None, rows: slice | list[int] = slice(None)
) -> np.ndarray:
    """Some rows of a parameter, a copy in float64; from `moved`, if it is there."""
    if moved and name in moved:
        return moved[name][rows]
    values = gpt.get_parameter(name)[rows].detach().cpu()
    values = values if values.dtype == torch.float64 else values.float()  # NumPy does not know every type
    return values.numpy().astype(np.float64)  # by NumPy: the threads of PyTorch and of NumPy get in each other's way


def parameters_of(gpt: GPT, module: str, moved: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """The parameters of a module by their names in it, in float64."""
    names = [name for name, _ in gpt.get_submodule(module).named_parameters()]
    return {name: parameter(gpt, f"{module}.{name}", moved) for name in names}


def linear(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    """x W^T + b, if there is a bias"""
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)


def hidden_layer(x: np.ndarray, p: dict[str, np.ndarray], activation: str) -> np.ndarray:
    """What stands between the two projections of a feed-forward; gated where it has a gate (Shazeer 2020)."""
    expanded = linear(x, p, "ff.expand")
    if "ff.gate.weight" not in p:
        return activate(expanded, activation)
    return activate(linear(x, p, "ff.gate"), activation) * expanded


def normalise(x: np.ndarray, p: dict[str, np.ndarray], name: str, config: ModelConfig) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon), times gain, plus bias; over the last axis (Ba et al. 2016).

    An "rms" norm takes no mean away (Zhang and Sennrich 2019, equation 4).
    """
    mean = np.einsum("tc->t", x)[:, None] / x.shape[1] if config.norm == "layer" else 0.0
    variance = np.einsum("tc,tc->t", x - mean, x - mean)[:, None] / x.shape[1]
    return (x - mean) / np.sqrt(variance + config.norm_epsilon) * p[f"{name}.weight"] + p.get(f"{name}.bias", 0.0)


def rotary_angles(config: GPTConfig, t: int) -> np.ndarray:
    """The angle of pair i at position p, (T, D / 2): p base^(-2 i / D) / factor of i (Su et al. 2021, 3.2.2)."""
    pairs = config.d_head // 2
    factors = config.rotary_factors or [1.0] * pairs
    return np.array(
        [[p * config.rotary_base ** (-i / pairs) / factors[i] for i in range(pairs)] for p in range(t)]
    ).reshape(t, pairs)


def rotate(x: np.ndarray, angles: np.ndarray | None) -> np.ndarray:
    """x (T, D): dimensions i and D / 2 + i as one complex number, turned by its angle; as it is without angles."""
    if angles is None:
        return x
    pairs = angles.shape[1]
    numbers = (x[:, :pairs] + 1j * x[:, pairs:]) * np.exp(1j * angles)
    return np.concatenate([numbers.real, numbers.imag], axis=1)


def gains_of(what_if: WhatIf, layer: int, n_heads: int) -> list[float]:
    """What the output of each head of a layer is multiplied by."""
    return [
        math.prod(gain.gain for gain in what_if.gains if (gain.layer, gain.head) == (layer, head))
        for head in range(n_heads)
    ]


def attention(
    x: np.ndarray,
    p: dict[str, np.ndarray],
    gains: Sequence[float],
    what_if: WhatIf,
    keep: Callable[[np.ndarray], np.ndarray],
    name: str = "attention",
    memory: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
    angles: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Multi-head attention over x (T, C), one head after the other (Vaswani et al. 2017, section 3.2.2).

    With a `memory` (S, C), keys and values are made of it. `hidden` (T, S) says which keys a query may not see; without
    it, those after it in a causal pass. `angles` (T, D / 2) turn queries and keys. Heads may share keys and values.
    """
    t, n_heads = len(x), len(gains)
    read = (x, x, x) if memory is None else (x, memory, memory)
    weight = p[f"{name}.qkv.weight"]  # ((H + 2 groups) D, C): q, k, v; head by head in each
    bias = p.get(f"{name}.qkv.bias", np.zeros(len(weight)))
    d = p[f"{name}.out.weight"].shape[1] // n_heads
    groups = (len(weight) // d - n_heads) // 2
    out_bias = p.get(f"{name}.out.bias", np.zeros(x.shape[1]))
    if hidden is None and what_if.causal:
        hidden = np.arange(len(read[1]))[None] > np.arange(t)[:, None]
    seen: dict[str, list[np.ndarray]] = {}
    out = np.tile(out_bias, (t, 1))  # (T, C)
    for head, gain in enumerate(gains):
        group = head * groups // n_heads
        places = (head, n_heads + group, n_heads + groups + group)
        rows = [slice(place * d, (place + 1) * d) for place in places]
        q, k, v = (
            np.einsum("tc,dc->td", each, weight[row], optimize=True) + bias[row]
            for each, row in zip(read, rows, strict=True)
        )
        q, k, v = keep(rotate(q, angles)), keep(rotate(k, angles)), keep(v)
        scores = keep(np.einsum("td,sd->ts", q, k, optimize=True))
        divided = scores / d**0.5 if what_if.scaled else scores
        masked = divided if hidden is None else np.where(hidden, -np.inf, divided)
        raised = np.exp(masked - masked.max(axis=1, keepdims=True))
        weights = raised / raised.sum(axis=1, keepdims=True)
        mixed = gain * (weights @ v)  # (T, D)
        out += mixed @ p[f"{name}.out.weight"][:, head * d : (head + 1) * d].T
        stages = {"q": q, "k": k, "v": v, "scores": scores, "scaled": divided, "masked": masked, "weights": weights}
        for stage, values in (stages | {"heads": mixed}).items():
            seen.setdefault(stage, []).append(values)
    return {stage: np.stack(values) for stage, values in seen.items()} | {"attention_out": out}


def activate(x: np.ndarray, kind: str) -> np.ndarray:
    """ReLU; GELU by the error function or by its tanh approximation; SiLU (all of Hendrycks and Gimpel 2016, 2)."""
    if kind == "relu":
        return np.maximum(x, 0.0)
    if kind == "gelu":
        return x * (1 + torch.erf(torch.from_numpy(x / 2**0.5)).numpy()) / 2  # NumPy has no error function
    if kind == "gelu_tanh":
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    if kind == "silu":
        return x / (1 + np.exp(-x))
    raise ValueError(f"expected relu, gelu, gelu_tanh or silu, found {kind!r}; teach `activate` its formula")
