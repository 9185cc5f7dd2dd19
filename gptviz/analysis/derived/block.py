"""The inside of a block, worked out again from a pass in float64: lengths, angles, heads, units, layer norms.

Shapes: L layers, H heads, T tokens, C model width, F feed-forward width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Bounds, Derived

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass

CLOSE = 2.0**-14  # of the largest: an input of a unit this near to 0 may be over or under it


def vectors(seen: Pass, layer: int) -> dict[str, np.ndarray]:
    """The stream through one block, all (T, C), with the two sums."""
    x, out = seen.layer("residual", layer), seen.layer("residual", layer + 1)
    found = {name: seen.layer(name, layer) for name in ("attention_in", "attention_out", "middle", "ff_in", "ff_out")}
    return found | {
        "stream": x,
        "attention_sum": x + found["attention_out"],
        "ff_sum": found["middle"] + found["ff_out"],
        "out": out,
    }


ORDER = ("stream", "attention_in", "attention_out", "attention_sum", "middle", "ff_in", "ff_out", "ff_sum", "out")


def length(x: np.ndarray) -> np.ndarray:
    """(..., C) -> (...)"""
    return np.sqrt(np.einsum("...c,...c->...", x, x))


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(T, C) twice -> (T,); NaN where one has no length."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.einsum("tc,tc->t", a / length(a)[:, None], b / length(b)[:, None])


def flow(seen: Pass) -> Derived:
    """The length of every vector of every block."""
    layers = [vectors(seen, layer) for layer in range(seen.config.n_layers)]
    found = np.array([[length(each[name]) for name in ORDER] for each in layers])
    mean = np.einsum("lvt->lv", found) / len(seen.ids)
    return {"length [layer, vector, token]": found, "mean length [layer, vector]": mean}


def tokens(seen: Pass, layer: int, rows: tuple[str, ...]) -> Derived:
    """Lengths of some vectors of a block, and how what is added lies to the stream."""
    x = vectors(seen, layer)
    parts = {"attention": (x["stream"], x["attention_out"]), "feed-forward": (x["middle"], x["ff_out"])}
    angles = [cosine(added, other) for before, added in parts.values() for other in (before, before + added)]
    found = {
        "length [row, token]": np.array([length(x[name]) for name in rows]),
        "cosine [row, token]": np.array(angles),
    }
    for name, (before, added) in parts.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            share = length(added) / length(before)
        found[f"share, {name} [token]"] = share = np.where(np.isfinite(share), share, np.nan)
        measures = share, cosine(added, before), cosine(added, before + added)
        found |= {f"{what}, {name}": mean_of(each) for what, each in zip(MEANS, measures, strict=True)}
    return found


MEANS = ("mean share", "mean cosine to the stream", "mean cosine to the sum")


def mean_of(values: np.ndarray) -> float:
    """The mean of the tokens that have a number; 0 where none has."""
    some = values[np.isfinite(values)]
    return float(some.sum() / len(some)) if len(some) else 0.0


def heads(seen: Pass, layer: int) -> Derived:
    """The length of what each head adds by its columns of the output projection, and of the bias, last."""
    name = f"blocks.{layer}.attention.out"
    weight, found, d = seen.weight(f"{name}.weight"), seen.layer("heads", layer), seen.config.d_head
    added = [length(head @ weight[:, i * d : (i + 1) * d].T) for i, head in enumerate(found)]
    if seen.has(f"{name}.bias"):
        added.append(np.full(found.shape[1], length(seen.weight(f"{name}.bias"))))
    lengths = np.array(added)
    return {
        "length [head, token]": lengths,
        "sum of the mean lengths": lengths.sum() / len(seen.ids),
        "mean length of the sum": mean_of(length(seen.layer("attention_out", layer))),
    }


def active(seen: Pass, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Whose input, or that of whose gate, is over 0, (T, F) twice: surely, and as far as rounding leaves it open."""
    name = f"blocks.{layer}.ff.{'gate' if seen.config.gated else 'expand'}"
    before = seen.layer("ff_in", layer) @ seen.weight(f"{name}.weight").T  # (T, F)
    if seen.has(f"{name}.bias"):
        before = before + seen.weight(f"{name}.bias")
    close = CLOSE * np.abs(before).max()
    return before > close, before > -close


def firing(seen: Pass, layer: int) -> Derived:
    """Which units are active."""
    surely, maybe = active(seen, layer)
    return {
        "share of active units [token]": Bounds(surely.mean(axis=1), maybe.mean(axis=1)),
        "mean share of active units": Bounds(surely.mean(), maybe.mean()),
        "times active [unit]": Bounds(surely.sum(axis=0), maybe.sum(axis=0)),
        "active at no token": Bounds(*(np.array((~each.any(axis=0)).sum()) for each in (maybe, surely))),
    }


def silent(*seen: Pass) -> Derived:
    """How many units of each layer are active at no token of several texts."""
    found = []
    for layer in range(seen[0].config.n_layers):
        both = zip(*(active(each, layer) for each in seen), strict=True)
        surely, maybe = (np.concatenate(rows).any(axis=0) for rows in both)
        found.append([(~maybe).sum(), (~surely).sum()])
    return {
        "active at no token [layer]": Bounds(*np.array(found).T),
        "tokens": np.array(sum(len(each.ids) for each in seen)),
    }


def layer_norms(seen: Pass, layer: int) -> Derived:
    """Mean and variance of what both norms read and give, their gain and bias."""
    x, name = vectors(seen, layer), f"blocks.{layer}"
    through = {"attention": ("stream", "attention_in"), "feed-forward": ("middle", "ff_in")}
    if seen.config.norm_order == "post":
        through = {"attention": ("attention_sum", "middle"), "feed-forward": ("ff_sum", "out")}
    found: dict[str, np.ndarray] = {}
    for (part, pair), norm in zip(through.items(), ("attention_norm", "ff_norm"), strict=True):
        for each, when in zip(pair, ("", "_after"), strict=True):
            means = np.einsum("tc->t", x[each]) / x[each].shape[1]
            centred = x[each] - means[:, None] if seen.config.norm == "layer" else x[each]
            found[f"mean{when}, {part} [token]"] = means
            found[f"variance{when}, {part} [token]"] = np.einsum("tc,tc->t", centred, centred) / centred.shape[1]
            for what in (f"mean{when}", f"variance{when}"):
                found[f"{what}, {part}, over all tokens"] = mean_of(found[f"{what}, {part} [token]"])
        for what, own in (("gain", "weight"), ("bias", "bias")):
            if not seen.has(f"{name}.{norm}.{own}"):
                continue
            values = seen.weight(f"{name}.{norm}.{own}")
            found[f"{what}, {part} [dimension]"] = values
            found[f"{what}, {part} [least largest]"] = np.sort(values)[[0, -1]]
    return found
