"""Gradients, their norms and a step of an optimiser, worked out again from the float64 backward pass by hand.

Shapes: L layers, H heads, T tokens, D head width, G groups of weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Bounds, Derived
from gptviz.analysis.derived.predictions import sentence

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass

MODULES = ("attention.out", "attention_norm", "ff.gate", "ff.expand", "ff.contract", "ff_norm")
CLOSE = 2.0**-14  # nats: two losses that are closer may come in either order
DECAY, EPSILON = 0.1, 1e-8  # of AdamW: decay of the matrices inside the blocks, and what is added to |g|


def square(values: np.ndarray) -> float:
    """Sum of squares."""
    return float(np.einsum("i,i->", values.ravel(), values.ravel()))


def group_norms(config: object, found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Norms of groups (G, L), of each head's query, key and value (3, L, H), and of what is outside the layers."""
    n, h, d = config.n_layers, config.n_heads, config.d_head
    modules = [module for module in MODULES if f"blocks.0.{module}.weight" in found]
    layers, heads = np.zeros((3 + len(modules), n)), np.zeros((3, n, h))
    shared = config.n_groups
    for layer in range(n):
        name = f"blocks.{layer}."
        weight = found[f"{name}attention.qkv.weight"]
        bias = found.get(f"{name}attention.qkv.bias", np.zeros(len(weight)))
        for part, (first, count) in enumerate(((0, h), (h, shared), (h + shared, shared))):
            own = [slice((first + i) * d, (first + i + 1) * d) for i in range(count)]
            sizes = [square(weight[rows]) + square(bias[rows]) for rows in own]
            layers[part, layer] = math.sqrt(sum(sizes))
            heads[part, layer] = [math.sqrt(sizes[head * count // h]) for head in range(h)]
        for group, module in enumerate(modules, start=3):
            parts = (found.get(f"{name}{module}.{part}") for part in ("weight", "bias"))
            layers[group, layer] = math.sqrt(sum(square(part) for part in parts if part is not None))
    outside: dict[str, float] = {}
    for name, values in found.items():
        module = name.rpartition(".")[0]
        if not module.startswith("blocks."):
            outside[module] = math.hypot(outside.get(module, 0.0), math.sqrt(square(values)))
    return layers, heads, outside


def norms(seen: Pass, what: str) -> Derived:
    """Norms of the "gradient", of the "weight" itself, or "relative": of one over the other; NaN over 0."""
    gradient = seen.gradient.parameters
    parts = []
    if what != "weight":
        parts.append(group_norms(seen.config, gradient))
    if what != "gradient":
        parts.append(group_norms(seen.config, {name: seen.weight(name) for name in gradient}))
    (layers, heads, outside), *others = parts
    for each in others:
        with np.errstate(divide="ignore", invalid="ignore"):
            layers, heads = layers / each[0], heads / each[1]
        outside = {name: norm / each[2][name] if each[2][name] else math.nan for name, norm in outside.items()}
    of_qkv = [math.sqrt(square(row)) for row in layers[:3]]
    order = ("token_embedding", "position_embedding", "final_norm", "unembedding")
    return {
        "norm [group, layer]": layers,
        "norm by head [query key value, layer, head]": heads,
        "norm outside [table]": np.array([outside[name] for name in order if name in outside]),
        "norm of all": math.sqrt(square(layers) + square(np.array([*outside.values()]))),
        "norm over all layers [query key value]": np.array(of_qkv),
        "value over the larger of the two": of_qkv[2] / max(of_qkv[:2]) if max(of_qkv[:2]) else math.nan,
    }


def attention(seen: Pass, layer: int, head: int) -> Derived:
    """dL/dA of one head; with the sum of each row kept; and what is left of it before the softmax."""
    on_weights, weights = seen.gradient.attention[layer, head], seen.layer("weights", layer)[head]
    kept = np.array([row - row @ a for row, a in zip(on_weights, weights, strict=True)])
    return {
        "A [query, key]": weights,
        "dL/dA [query, key]": on_weights,
        "dL/dA, row sum kept [query, key]": kept,
        "dL/dscores [query, key]": weights * kept,
        "largest fall for a per cent, nats": -np.tril(kept).min() / 100,
    }


def step(seen: Pass, optimizer: str, rate: float) -> Derived:
    """One step of "sgd" or "adamw" (Loshchilov and Hutter 2019): its slope, and the losses after it."""
    slope, moved = 0.0, {}
    for name, g in seen.gradient.parameters.items():
        own, change = seen.weight(name), g
        if optimizer == "adamw":
            change = g / (np.abs(g) + EPSILON)
            if name.startswith("blocks.") and g.ndim == 2:
                change = change + DECAY * own
        slope += float(np.einsum("i,i->", g.ravel(), change.ravel()))
        moved[name] = own - rate * change
    before, after = (sentence(each) for each in (seen, seen.after(moved)))
    name, change = "nats [position]", after["loss, nats"] - before["loss, nats"]
    lower = [(after[name] + step < before[name]).sum() for step in (CLOSE, -CLOSE)]
    return {
        "slope": slope,
        "nats after [position]": after[name],
        "loss before, nats": before["loss, nats"],
        "loss after, nats": after["loss, nats"],
        "change, measured, nats": change,
        "change, first order, nats": -rate * slope,
        "targets that are likelier": Bounds(*map(np.array, lower)),
    }
