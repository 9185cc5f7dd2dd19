"""Tables of vectors, worked out again in float64: positions, cosines, neighbours, principal axes, the four terms.

Shapes: T tokens, P positions, V vocabulary, C model width, D head width, K axes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Bounds, Derived
from gptviz.analysis.derived.head import before_the_turn, period_of, projections

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass

CLOSE = 2.0**-14  # cosines that are closer may come in either order


def units(x: np.ndarray) -> np.ndarray:
    """Each row of (N, C) at length 1; zeros stay."""
    lengths = np.sqrt(np.einsum("nc,nc->n", x, x))[:, None]
    return np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, C), (M, C) -> (N, M)"""
    return np.einsum("nc,mc->nm", units(a), units(b), optimize=True)


def sines(places: int, width: int) -> np.ndarray:
    """Position vectors (P, C) of sines and cosines (Vaswani et al. 2017, section 3.5), a column at a time."""
    table = np.zeros((places, width))
    for column in range(width):
        angle = np.arange(places) * math.exp(-math.log(10000) * (column // 2 * 2) / width)
        table[:, column] = np.cos(angle) if column % 2 else np.sin(angle)
    return table


def tables(seen: Pass) -> Derived:
    """The position vectors of the model, if it learned some, and those of sines and cosines of the same shape."""
    both = {} if seen.side else {"learned": seen.weight("position_embedding.weight")}
    both["fixed"] = sines(seen.config.context, seen.config.d_model)
    found = {}
    for name, table in both.items():
        alike, places = cosines(table, table), len(table)
        apart = [np.array([alike[i, i + n] for i in range(places - n)]) for n in range(places)]
        found[f"{name} vectors [position, dimension]"] = table
        found[f"{name} cosines [position, position]"] = alike
        for measure, of in (("mean", np.mean), ("lowest", np.min), ("highest", np.max)):
            found[f"{name}, {measure} cosine [distance]"] = np.array([of(each) for each in apart])
    return found


def terms(seen: Pass, head: int) -> Derived:
    """The scores of one head of layer 0 as four products, their sum, the score, and how each tells keys apart."""
    token, place = seen.whole("token_embeddings"), seen.whole("position_embeddings")
    config, t, shift = seen.config, len(token), np.zeros(token.shape[1])
    if config.norm_order == "pre":
        if config.norm == "layer":
            token, place = (part - part.mean(axis=1, keepdims=True) for part in (token, place))
            if config.bias == "all":
                shift = seen.weight("blocks.0.attention_norm.bias")
        s = np.sqrt(((token + place) ** 2).mean(axis=1, keepdims=True) + config.norm_epsilon)
        token, place = (seen.weight("blocks.0.attention_norm.weight") * part / s for part in (token, place))
    own, sides = projections(seen, 0, head), []
    for letter in "qk":
        weight, bias = own[f"W_{letter} [in, out]"], own.get(f"b_{letter} [out]", 0.0)
        sides.append(((token + shift) @ weight + bias, place @ weight))
    factor = config.d_head**-0.5 if seen.what_if.scaled else 1.0
    four = np.array([factor * np.einsum("td,sd->ts", q, k) for q in sides[0] for k in sides[1]])
    total = four[0] + four[1] + four[2] + four[3]
    rows = [range(i + 1 if seen.what_if.causal else t) for i in range(t)]  # the keys that each query sees
    choices = [(i, row) for i, row in enumerate(rows) if len(row) > 1]
    spread = [np.mean([np.std(x[i, row]) for i, row in choices]) if choices else 0.0 for x in (*four, total)]
    return {
        "term [term, query, key]": four,
        "sum of the four [query, key]": total,
        "score [query, key]": seen.layer("masked", 0)[head],
        "spread [term]": np.array(spread),
    }


def angles(seen: Pass, count: int) -> Derived:
    """How long a turn of each pair takes, and how far each has turned at distances 0 to `count` - 1."""
    each = [period_of(seen.config, pair) for pair in range(seen.config.d_head // 2)]
    turned = [[math.cos(2 * math.pi * math.fmod(apart / period, 1)) for apart in range(count)] for period in each]
    return {"period [pair]": np.array(each), "cosine of the angle [pair, distance]": np.array(turned)}


def distances(seen: Pass, layer: int, head: int, query: int, key: int, count: int) -> Derived:
    """The score of one query and one key, not after it, if the key stood 0 to `count` - 1 tokens before the query."""
    q, k = (rows[at] for rows, at in zip(before_the_turn(seen, layer, head), (query, key), strict=True))
    half, factor = len(q) // 2, len(q) ** -0.5 if seen.what_if.scaled else 1.0
    parts = np.zeros((count, half))
    for pair in range(half):
        angle = np.arange(count) * (2 * math.pi / period_of(seen.config, pair))
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # (2, 2, count)
        mine = [pair, pair + half]
        parts[:, pair] = factor * np.einsum("i,ijn,j->n", k[mine], turned, q[mine])
    return {
        "score [distance]": parts.sum(axis=1),
        "part of the score [pair]": parts[query - key],
        "part at distance 0 [pair]": parts[0],
        "turns at this distance [pair]": np.array([(query - key) / period_of(seen.config, i) for i in range(half)]),
        "score where they stand": seen.layer("scaled", layer)[head][query, key],
    }


def strip(seen: Pass, stage: int) -> np.ndarray:
    """What made the stream of a stage, side by side: (parts, T, C)."""
    if stage == 0 and seen.config.positions == "rotary":
        return seen.whole("token_embeddings")[None]
    if stage == 0:
        return np.array([seen.whole("token_embeddings"), seen.whole("position_embeddings"), seen.layer("residual", 0)])
    around = (seen.layer("residual", stage - 1), seen.layer("residual", stage))
    added = [seen.layer(name, stage - 1) for name in ("attention_out", "ff_out")]
    if seen.side == "decoder":
        added.insert(1, seen.pair.of_side("cross").layer("attention_out", stage - 1))
    return np.array([around[0], *added, around[1]])


def strips(seen: Pass, stage: int, first: int, end: int) -> Derived:
    """The parts of a stage, and the cosines between tokens before and after it; of the tokens shown."""
    parts = strip(seen, stage)[:, first:end]
    return {
        "vector [part, token, dimension]": parts,
        "cosine before [token, token]": cosines(parts[0], parts[0]),
        "cosine after [token, token]": cosines(parts[-1], parts[-1]),
    }


def neighbours(seen: Pass, stage: int, token: int, when: int, ids: tuple[int, ...], without: int | None) -> Derived:
    """The entries of the vocabulary nearest to a token, before (0) or after (-1) a stage; `ids` are those shown."""
    near = cosines(strip(seen, stage)[when, token : token + 1], seen.weight("token_embedding.weight"))[0]
    named = near[list(ids)]
    if without is not None:
        near[without] = -np.inf
    return {"cosine of the tokens named [rank]": named, "largest cosines [rank]": np.sort(near)[::-1][: len(ids)]}


def closest(seen: Pass, stage: int, first: int, ids: tuple[int, ...]) -> Derived:
    """For each token from `first` on: its nearest entry, and its own; `ids` are the nearest ones that are shown."""
    rows = seen.layer("residual", stage)[first : first + len(ids)]
    near = cosines(rows, seen.weight("token_embedding.weight"))  # (tokens, V)
    own = near[np.arange(len(rows)), list(seen.ids[first : first + len(ids)])]
    low, high = (1 + (near > (own + step)[:, None]).sum(axis=1) for step in (CLOSE, -CLOSE))
    return {
        "cosine of the nearest [token]": near.max(axis=1),
        "cosine of the one named [token]": near[np.arange(len(rows)), list(ids)],
        "cosine with itself [token]": own,
        "rank of itself [token]": Bounds(low, np.maximum(high - 1, low)),
    }


def map_of(seen: Pass, stage: int, same_length: bool, count: int, drawn: int | None = None) -> Derived:
    """Principal axes of the vocabulary, and where its first entries and the sentence lie on them, around a stage.

    By the singular values of the covariance matrix; the largest component of each axis is positive (Jolliffe 2002).
    """
    scale = units if same_length else np.asarray
    table = scale(seen.weight("token_embedding.weight"))
    middle = table.mean(axis=0)
    directions, variances, _ = np.linalg.svd(np.cov(table, rowvar=False, bias=True))
    axes = directions[:, :count].T
    axes = np.array([axis * np.sign(axis[np.abs(axis).argmax()]) for axis in axes])
    before, after = (scale(strip(seen, stage)[when]) for when in (0, -1))
    return {
        "share of the variance [axis]": (variances / variances.sum())[:count],
        "vocabulary [token id, axis]": (table[:drawn] - middle) @ axes.T,
        "before [token, axis]": (before - middle) @ axes.T,
        "after [token, axis]": (after - middle) @ axes.T,
    }
