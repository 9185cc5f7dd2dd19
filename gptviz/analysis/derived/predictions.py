"""Probabilities, losses, divergences and draws, worked out again from logits in float64, row by row.

Shapes: T tokens, V vocabulary. "[position]" is the position that the logits stand at.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Bounds, Derived

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass

CLOSE = 2.0**-16  # of the largest logit: two that are closer may come in either order
EDGE = 1e-6  # of the mass: a token this near to the edge of top-p may be in or out


def log_p(logits: np.ndarray) -> np.ndarray:
    """ln softmax of one row (V,)."""
    return logits - np.logaddexp.reduce(logits)


def rank(logits: np.ndarray, token: int) -> tuple[int, int]:
    """The best and the worst place of a token in one row, 1 for the largest, that rounding leaves open."""
    close = CLOSE * np.abs(logits).max()
    return 1 + int((logits > logits[token] + close).sum()), int((logits >= logits[token] - close).sum())


def ranks(places: list[tuple[int, int]]) -> Bounds:
    """`rank` of several."""
    low, high = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return Bounds(low, high)


def next_token(seen: Pass, ids: tuple[int, ...]) -> Derived:
    """The distribution after the last token; `ids` are the tokens that are named, likeliest first."""
    logs = log_p(seen.logits_at(-1))
    p = np.exp(logs)
    return {
        "probability [token id]": p,
        "probability of the tokens named [rank]": p[list(ids)],
        "largest probabilities [rank]": np.sort(p)[::-1][: len(ids)],
        "the rest": 1 - p[list(ids)].sum(),
        "entropy, bits": -float(p @ logs) / math.log(2),
        "equally likely tokens": math.exp(-float(p @ logs)),
    }


def limited(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None, kept: int | None = None
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """logits (V,) -> tempered, after top-k, after top-p, drawn from, each (V,); fewest and most tokens that are left.

    `kept` says how many are shown to be left: taken as the answer where rounding allows it.
    """
    order = np.lexsort((np.arange(len(logits)), -logits))
    if temperature == 0:
        tempered = np.eye(1, len(logits), int(order[0]))[0]
    else:
        tempered = np.exp(log_p(logits / temperature))
    after_k = tempered.copy()
    after_k[order[top_k:] if top_k else []] = 0
    fewest = most = int((after_k > 0).sum())
    if top_p is not None and top_p < 1:
        bar = after_k[order].cumsum()
        fewest, most = (1 + int((bar < (top_p + step) * bar[-1]).sum()) for step in (-EDGE, EDGE))
        fewest, most = (min(n, int((after_k > 0).sum())) for n in (fewest, most))
    n = fewest if kept is None else min(max(kept, fewest), most)
    after_p = after_k.copy()
    after_p[order[n:]] = 0
    return [tempered, after_k, after_p, after_p / after_p.sum()], (fewest, most)


def draw(
    seen: Pass, temperature: float, top_k: int | None, top_p: float | None, kept: int, u: float, chosen: int
) -> Derived:
    """The funnel after the last token, and where the drawn one lies on the bar, the likeliest first."""
    (tempered, after_k, after_p, final), bounds = limited(seen.logits_at(-1), temperature, top_k, top_p, kept)
    begins = float(final[final > final[chosen]].sum())
    return {
        "with temperature [token id]": tempered,
        "after top-k [token id]": after_k,
        "after top-p [token id]": after_p,
        "drawn from [token id]": final,
        "removed by top-k": (tempered - after_k).sum(),
        "removed by top-p": (after_k - after_p).sum(),
        "tokens kept": Bounds(*map(np.array, bounds)),
        "u, the draw": Bounds(np.array(begins), np.array(begins + final[chosen])) if final[chosen] > 0 else math.nan,
        "the token begins at": begins,
        "and ends at": begins + final[chosen],
    }


def sentence(seen: Pass) -> Derived:
    """What the model gave each token that came, in bits and nats; and how open each choice was."""
    given, places, entropies = [], [], []
    for start, rows in seen.logit_rows():
        for position, row in enumerate(rows, start):
            logs = log_p(row)
            entropies.append(-float(np.exp(logs) @ logs) / math.log(2))
            if position + 1 < len(seen.ids):
                came = seen.ids[position + 1]
                given.append(logs[came])
                places.append(rank(row, came))
    nats = -np.array(given)
    mean = nats.mean() if given else math.nan
    expected = np.array(entropies[: len(given)])
    return {
        "probability [position]": np.exp(-nats),
        "rank [position]": ranks(places),
        "surprise, bits [position]": nats / math.log(2),
        "entropy, bits [position]": np.array(entropies),
        "nats [position]": nats,
        "loss, nats": mean,
        "loss, bits": mean / math.log(2),
        "perplexity": np.exp(mean),
        "surprise of all, bits": math.fsum(nats) / math.log(2),
        "mean entropy, bits": expected.sum() / len(given) if given else math.nan,
    }


def drawn(seen: Pass, start: int, how: tuple[tuple[float, int | None, int | None] | None, ...]) -> Derived:
    """The tokens from position `start` on, drawn one by one; `how` gives temperature, top-k and top-p where known."""
    found = sentence(seen)
    low, high = found["rank [position]"]
    final = [
        math.nan if each is None else limited(seen.logits_at(at - 1), *each)[0][-1][seen.ids[at]]
        for at, each in enumerate(how, start)
    ]
    return {
        "probability [token]": found["probability [position]"][start - 1 :],
        "rank [token]": Bounds(low[start - 1 :], high[start - 1 :]),
        "entropy, bits [token]": found["entropy, bits [position]"][start - 1 : -1],
        "probability when drawn [token]": np.array(final),
    }


def masked_or_not(masked: Pass, unmasked: Pass) -> Derived:
    """What the mask changes about what is expected: divergence D(masked || unmasked) and surprise, in bits."""
    divergence = []
    for (_, rows), (_, others) in zip(masked.logit_rows(), unmasked.logit_rows(), strict=True):
        for p, q in zip(map(log_p, rows), map(log_p, others), strict=True):
            divergence.append(float(np.exp(p) @ (p - q)) / math.log(2))
    surprise = [sentence(each)["surprise, bits [position]"] for each in (masked, unmasked)]
    means = [values.mean() if len(values) else math.nan for values in surprise]
    return {
        "mean surprise, masked, bits": means[0],
        "mean surprise, unmasked, bits": means[1],
        "change of the mean surprise, bits": means[1] - means[0],
        "D(masked ‖ unmasked), bits [position]": np.array(divergence),
        "surprise, masked, bits [position]": surprise[0],
        "surprise, unmasked, bits [position]": surprise[1],
    }


def changed_tokens(masked: Pass, unmasked: Pass, at: int, ids: tuple[int, ...]) -> Derived:
    """How the distribution after one position changes; `ids` are the tokens named, the largest change first."""
    rows = masked.logits_at(at), unmasked.logits_at(at)
    p, q = (np.exp(log_p(row)) for row in rows)
    named = list(ids)
    return {
        "probability, masked [row]": p[named],
        "probability, unmasked [row]": q[named],
        "change [row]": (q - p)[named],
        "largest changes [row]": np.sort(np.abs(q - p))[::-1][: len(ids)],
        "rank, masked [row]": ranks([rank(rows[0], i) for i in ids]),
        "rank, unmasked [row]": ranks([rank(rows[1], i) for i in ids]),
        "probability that changed hands": np.maximum(q - p, 0).sum(),
    }


def logit_gradient(seen: Pass, at: int, ids: tuple[int, ...]) -> Derived:
    """p - onehot at one position; `ids` are the tokens named, the hardest pushed first."""
    push = np.exp(log_p(seen.logits_at(at)))
    push[seen.ids[at + 1]] -= 1
    sizes = np.abs(push)
    return {
        "gradient [token id]": push,
        "gradient of the tokens named [row]": push[list(ids)],
        "largest gradients [row]": np.sort(sizes)[::-1][: len(ids)],
        "share of those named": sizes[list(ids)].sum() / sizes.sum(),
        "pull on the token that came": -push[seen.ids[at + 1]],
    }
