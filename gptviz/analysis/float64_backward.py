"""The gradient of a sentence's loss once more: NumPy, float64, by hand and layer by layer, from the raw weights.

The answer that shown gradients are held against: no automatic differentiation, and no line of the code that makes them.
Goodfellow et al. 2016, section 6.5; layer norm: Ba et al. 2016; softmax: its Jacobian diag(p) - p p^T.
Shapes: L layers, H heads, T tokens, D head width, C model width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from gptviz.analysis.float64 import activate, rotary_angles, rotate

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass

Arrays = dict[str, np.ndarray]


class Gradient(NamedTuple):
    """dL/dw of the mean cross-entropy over the T - 1 targets, in nats."""

    parameters: Arrays  # by name, as the model has them; a tied table once, with the sum of both gradients
    attention: np.ndarray  # (L, H, T, T) dL/dA, every other number held


def gradient(seen: Pass) -> Gradient:
    """Back through a masked and scaled pass over T tokens, two or more."""
    config, ids, t = seen.config, seen.ids, len(seen.ids)
    found: Arrays = {}
    push = np.zeros((t, config.vocab_size))  # dL/dlogits: p - onehot, over the number of targets
    for start, logits in seen.logit_rows():
        push[start : start + len(logits)] = [np.exp(row - np.logaddexp.reduce(row)) for row in logits]
    push[np.arange(t - 1), ids[1:]] -= 1
    push[t - 1] = 0
    push /= t - 1
    table = "token_embedding.weight" if config.tied else "unembedding.weight"
    final = seen.whole("final_vectors")
    found[table] = push.T @ final
    dx = push @ seen.weight(table)  # (T, C)
    if config.norm_order == "pre":
        dx = through_norm(seen, seen.layer("residual", config.n_layers), "final_norm", dx, found)
    attention = []
    for layer in reversed(range(config.n_layers)):
        dx, on_weights = through_block(seen, layer, dx, found)
        attention.append(on_weights)
    tokens = np.zeros((config.vocab_size, config.d_model))
    np.add.at(tokens, list(ids), dx)
    found["token_embedding.weight"] = tokens + (found[table] if config.tied else 0)
    if config.positions == "learned":
        found["position_embedding.weight"] = np.zeros((config.context, config.d_model))
        found["position_embedding.weight"][:t] = dx
    return Gradient(found, np.stack(attention[::-1]))


def through_block(seen: Pass, layer: int, dx: np.ndarray, found: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """dL/d(stream after a block) -> dL/d(stream before it), both (T, C), and dL/dA (H, T, T)."""
    name, post = f"blocks.{layer}", seen.config.norm_order == "post"
    x, middle = seen.layer("residual", layer), seen.layer("middle", layer)
    if post:
        dx = through_norm(seen, middle + seen.layer("ff_out", layer), f"{name}.ff_norm", dx, found)
    read = through_feed_forward(seen, layer, dx, found)
    dx = dx + (read if post else through_norm(seen, middle, f"{name}.ff_norm", read, found))
    if post:
        dx = through_norm(seen, x + seen.layer("attention_out", layer), f"{name}.attention_norm", dx, found)
    read, on_weights = through_attention(seen, layer, dx, found)
    return dx + (read if post else through_norm(seen, x, f"{name}.attention_norm", read, found)), on_weights


def through_linear(seen: Pass, name: str, read: np.ndarray, dy: np.ndarray, found: Arrays) -> np.ndarray:
    """y = x W^T + b: dL/dy (T, out) -> dL/dx (T, in); notes dL/dW, and dL/db if there is a bias."""
    found[f"{name}.weight"] = dy.T @ read
    if seen.has(f"{name}.bias"):
        found[f"{name}.bias"] = np.einsum("to->o", dy)
    return dy @ seen.weight(f"{name}.weight")


def through_norm(seen: Pass, x: np.ndarray, name: str, dy: np.ndarray, found: Arrays) -> np.ndarray:
    """y = (x - mean) / s * gain + bias: dL/dy -> dL/dx, both (T, C). An "rms" norm has no mean."""
    has_mean = seen.config.norm == "layer"
    centred = x - x.mean(axis=1, keepdims=True) if has_mean else x
    s = np.sqrt((centred**2).mean(axis=1, keepdims=True) + seen.config.norm_epsilon)
    unit = centred / s
    found[f"{name}.weight"] = np.einsum("tc,tc->c", dy, unit)
    if seen.has(f"{name}.bias"):
        found[f"{name}.bias"] = np.einsum("tc->c", dy)
    dunit = dy * seen.weight(f"{name}.weight")
    along = (dunit * unit).mean(axis=1, keepdims=True)
    mean = dunit.mean(axis=1, keepdims=True) if has_mean else 0.0
    return (dunit - mean - unit * along) / s


def through_feed_forward(seen: Pass, layer: int, dy: np.ndarray, found: Arrays) -> np.ndarray:
    """dL/d(what it adds) -> dL/d(what it read), both (T, C)."""
    name, read = f"blocks.{layer}.ff", seen.layer("ff_in", layer)
    kind = seen.config.activation
    dhidden = through_linear(seen, f"{name}.contract", seen.layer("ff_hidden", layer), dy, found)
    expanded = projected(seen, f"{name}.expand", read)  # (T, F)
    if not seen.config.gated:
        return through_linear(seen, f"{name}.expand", read, dhidden * SLOPES[kind](expanded), found)
    gate = projected(seen, f"{name}.gate", read)
    dread = through_linear(seen, f"{name}.expand", read, dhidden * activate(gate, kind), found)
    return dread + through_linear(seen, f"{name}.gate", read, dhidden * expanded * SLOPES[kind](gate), found)


def projected(seen: Pass, name: str, read: np.ndarray) -> np.ndarray:
    """x W^T + b, if there is a bias"""
    bias = seen.weight(f"{name}.bias") if seen.has(f"{name}.bias") else 0.0
    return read @ seen.weight(f"{name}.weight").T + bias


def through_attention(seen: Pass, layer: int, dy: np.ndarray, found: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """dL/d(what it adds) -> dL/d(what it read), both (T, C), and dL/dA (H, T, T)."""
    name, d, groups = f"blocks.{layer}.attention", seen.config.d_head, seen.config.n_groups
    q, k, v, weights, heads = (seen.layer(stage, layer) for stage in ("q", "k", "v", "weights", "heads"))
    djoined = through_linear(seen, f"{name}.out", np.concatenate([*heads], axis=1), dy, found)  # (T, C)
    parts: list[list[np.ndarray]] = [[], [], []]
    on_weights = []
    for h, a in enumerate(weights):
        do = djoined[:, h * d : (h + 1) * d]  # (T, D)
        da = do @ v[h].T  # (T, T)
        ds = a * (da - np.einsum("ts,ts->t", a, da)[:, None]) / d**0.5
        for part, values in zip(parts, (ds @ k[h], ds.T @ q[h], a.T @ do), strict=True):
            part.append(values)
        on_weights.append(da)
    if seen.config.positions == "rotary":  # turning is undone by turning back
        back = -rotary_angles(seen.config, len(dy))
        parts[:2] = [[rotate(values, back) for values in part] for part in parts[:2]]
    shared = [[sum(group) for group in zip(*[iter(part)] * (len(part) // groups), strict=True)] for part in parts[1:]]
    dqkv = np.concatenate([*parts[0], *shared[0], *shared[1]], axis=1)  # (T, (H + 2 groups) D)
    return through_linear(seen, f"{name}.qkv", seen.layer("attention_in", layer), dqkv, found), np.stack(on_weights)


def relu_slope(x: np.ndarray) -> np.ndarray:
    """0 under 0, 1 above."""
    return (x > 0).astype(np.float64)


def gelu_slope(x: np.ndarray) -> np.ndarray:
    """Of x Phi(x): Phi(x) + x phi(x)."""
    cumulative = (1 + torch.erf(torch.from_numpy(x / 2**0.5)).numpy()) / 2  # NumPy has no error function
    return cumulative + x * np.exp(-(x**2) / 2) / (2 * np.pi) ** 0.5


def gelu_tanh_slope(x: np.ndarray) -> np.ndarray:
    """Of x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    root = (2 / np.pi) ** 0.5
    bent = np.tanh(root * (x + 0.044715 * x**3))
    return (1 + bent) / 2 + x * (1 - bent**2) * root * (1 + 3 * 0.044715 * x**2) / 2


def silu_slope(x: np.ndarray) -> np.ndarray:
    """Of x / (1 + exp(-x)), with s = 1 / (1 + exp(-x)): s (1 + x (1 - s))."""
    s = 1 / (1 + np.exp(-x))
    return s * (1 + x * (1 - s))


SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": relu_slope,
    "gelu": gelu_slope,
    "gelu_tanh": gelu_tanh_slope,
    "silu": silu_slope,
}
