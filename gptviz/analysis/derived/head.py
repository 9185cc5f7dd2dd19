"""One head from the inside, worked out again from a pass in float64: stages, weights, one cell, saturation.

Shapes: T tokens, D head width, C model width; rows of attention are queries, columns are keys.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Derived

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass
    from gptviz.config import GPTConfig, ModelConfig

RULES = {
    "scaled, masked": (True, True),
    "scaling off": (True, False),
    "mask off": (False, True),
    "both off": (False, False),
}  # (causal, scaled)
WITHOUT_A_MASK = {"scaled": (False, True), "scaling off": (False, False)}  # where there is none to take off
WIDTHS = tuple(2**power for power in range(2, 11))  # of the random vectors
SENTENCES, KEYS = 16, 16  # of random vectors, each
SEED = 0  # of every random direction and vector


def stages(seen: Pass, layer: int, head: int) -> Derived:
    """Every stage of one head, from what it reads to what all heads add."""
    own = {name: seen.layer(name, layer)[head] for name in ("q", "k", "v")}
    out = seen.layer("weights", layer)[head] @ own["v"]
    squares = {name: seen.layer(name, layer)[head] for name in ("scores", "scaled", "masked", "weights")}
    heads = seen.layer("heads", layer)
    wide = {"x": seen.layer("attention_in", layer), "joined": np.concatenate([*heads], axis=1)}
    wide |= own | {"output": out, "out": seen.layer("attention_out", layer)}
    if seen.side == "cross":
        wide["memory"] = seen.whole("memory")
    found = {f"{name} [token, dimension]": values for name, values in wide.items()}
    return found | {f"{name} [query, key]": values for name, values in squares.items()}


def projections(seen: Pass, layer: int, head: int) -> Derived:
    """The weights that belong to one head, as they multiply a row from the right."""
    name, found, config = f"blocks.{layer}.attention", {}, seen.config
    weight, output = seen.weight(f"{name}.qkv.weight"), seen.weight(f"{name}.out.weight")
    d = output.shape[1] // config.n_heads
    for letter, row in zip("qkv", rows_of(config, head), strict=True):
        found[f"W_{letter} [in, out]"] = weight[row : row + d].T
        if config.bias != "none":
            found[f"b_{letter} [out]"] = seen.weight(f"{name}.qkv.bias")[row : row + d]
    return found | {"W_O [in, out]": output[:, head * d : (head + 1) * d].T}


def rows_of(config: ModelConfig, head: int) -> tuple[int, int, int]:
    """Where q, k and v of a head begin among the rows of their one matrix; heads may share keys and values."""
    pairs = config.n_heads * config.d_head, config.n_groups * config.d_head  # rows of q; of k, and of v
    shared = head // (config.n_heads // config.n_groups) * config.d_head
    return head * config.d_head, pairs[0] + shared, sum(pairs) + shared


def before_the_turn(seen: Pass, layer: int, head: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys (T, D) as the projection makes them."""
    found = projections(seen, layer, head)
    q, k = (
        np.einsum("tc,cd->td", seen.layer("attention_in", layer), found[f"W_{letter} [in, out]"], optimize=True)
        + found.get(f"b_{letter} [out]", 0.0)
        for letter in "qk"
    )
    return q, k


def turning(seen: Pass, layer: int, head: int, token: int) -> Derived:
    """Queries and keys before they are turned, and what one token's position turns each pair of dimensions by."""
    q, k = before_the_turn(seen, layer, head)
    periods = [period_of(seen.config, pair) for pair in range(seen.config.d_head // 2)]
    return {
        "q before the turn [token, dimension]": q,
        "k before the turn [token, dimension]": k,
        "turns [pair]": np.array([token / period for period in periods]),
        "period [pair]": np.array(periods),
    }


def period_of(config: GPTConfig, pair: int) -> float:
    """How many tokens a whole turn of a pair takes (Su et al. 2021, section 3.2.2)."""
    factor = config.rotary_factors[pair] if config.rotary_factors else 1.0
    return 2 * math.pi * factor * math.exp(math.log(config.rotary_base) * 2 * pair / config.d_head)


def cell(seen: Pass, layer: int, head: int, query: int, key: int) -> Derived:
    """One attention weight, step by step, and the whole row of its query."""
    q, keys = seen.layer("q", layer)[head][query], seen.layer("k", layer)[head]
    causal, factor = seen.what_if.causal, len(q) ** -0.5 if seen.what_if.scaled else 1.0
    products = [a * b for a, b in zip(q, keys[key], strict=True)]
    scores = np.einsum("d,sd->s", q, keys)
    seen_keys = np.arange(len(keys)) <= query if causal else np.ones(len(keys), dtype=bool)
    largest = (factor * scores)[seen_keys].max()
    raised = np.where(seen_keys, np.exp(np.minimum(factor * scores - largest, 0)), 0.0)
    total = raised.sum()
    steps = {
        "score": scores[key],
        "scaled": factor * scores[key],
        "largest of the row": largest,
        "exponential": raised[key],
        "row total": total,
        "weight": raised[key] / total,
    }
    row = {"score": scores, "scaled": factor * scores, "exponential": raised, "weight": raised / total}
    sums = {"products [dimension]": np.array(products), "running sum [dimension]": np.cumsum(products)}
    return sums | steps | {f"{name} of the row [key]": values for name, values in row.items()}


def directions(shape: tuple[int, ...]) -> np.ndarray:
    """The random directions (..., D) that gradients are measured in."""
    drawn = np.random.default_rng(SEED).standard_normal(shape)
    return drawn / np.sqrt(np.einsum("...d,...d->...", drawn, drawn))[..., None]


def softness(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray, causal: bool, scaled: bool
) -> dict[str, np.ndarray]:
    """How sharp each row of softmax is and what gradient passes through its Jacobian, written out, row by row."""
    factor = q.shape[1] ** -0.5 if scaled else 1.0
    found: dict[str, list[float]] = {name: [] for name in ("entropy", "largest", "jacobian", "to_q")}
    to_k = np.zeros_like(k)
    for i, query in enumerate(q):
        keys = k[: i + 1] if causal else k
        scores = factor * (keys @ query)
        p = np.exp(scores - scores.max())
        p /= p.sum()
        jacobian = np.diag(p) - np.outer(p, p)
        ds = jacobian @ (v[: len(keys)] @ g[i])
        some = p[p > 0]
        found["entropy"].append(-float(some @ np.log(some)) / math.log(2))
        found["largest"].append(float(p.max()))
        found["jacobian"].append(math.sqrt(np.einsum("ij,ij->", jacobian, jacobian)))
        found["to_q"].append(math.sqrt(np.square(factor * (ds @ keys)).sum()))
        to_k[: len(keys)] += factor * np.outer(ds, query)
    arrays = {name: np.array(values) for name, values in found.items()}
    return arrays | {"to_k": np.sqrt(np.square(to_k).sum(axis=1))}


def saturation(seen: Pass, layer: int, head: int) -> Derived:
    """Medians over the rows of a head, with and without scaling and mask; a first row that sees only itself is out."""
    q, k, v = (seen.layer(name, layer)[head] for name in ("q", "k", "v"))
    found = {}
    rules = WITHOUT_A_MASK if seen.side in ("encoder", "cross") else RULES
    for rule, (causal, scaled) in rules.items():
        for name, values in softness(q, k, v, directions(q.shape), causal, scaled).items():
            kept = values if name == "to_k" else values[int(causal) :]
            found[f"{name}, {rule}"] = np.median(kept) if len(kept) else math.nan
    return found


@functools.cache
def quartiles(scaled: bool) -> dict[str, np.ndarray]:
    """`softness` of random vectors of growing width, unmasked: name -> (len(WIDTHS), 3), quartiles over rows."""
    found: dict[str, list[np.ndarray]] = {}
    for width in WIDTHS:
        q, k, v = np.random.default_rng((SEED, width)).standard_normal((3, SENTENCES, KEYS, width))
        g = directions(q.shape)
        each = [softness(*rows, causal=False, scaled=scaled) for rows in zip(q, k, v, g, strict=True)]
        for name in each[0]:
            rows = np.concatenate([one[name] for one in each])
            found.setdefault(name, []).append(np.percentile(rows, [25, 50, 75]))
    return {name: np.stack(rows) for name, rows in found.items()}


def widths(_: Pass) -> Derived:
    """What the division by sqrt(D) does for random vectors; the same for every model and sentence."""
    both = {"scaled": quartiles(True), "not scaled": quartiles(False)}
    return {
        f"{name}, {rule} [width, quartile]": values for rule, found in both.items() for name, values in found.items()
    }
