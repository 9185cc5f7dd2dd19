"""What pages make of a translation, worked out again in float64: its tokens, its attention, and the tree of a search.

A `SidePass` of the decoder has logits for each step; `written` are the tokens that came, one for each of these rows.
Shapes: L layers, H heads, T steps, S source tokens, V vocabulary, N nodes of a tree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Bounds, Derived
from gptviz.analysis.derived.predictions import log_p, rank, ranks

if TYPE_CHECKING:
    from gptviz.analysis.passes import PairPass, SidePass

Ids = tuple[int, ...]
MOST = 700.0  # nats: e to more than that is shown as infinite


def log_rows(seen: SidePass) -> list[np.ndarray]:
    """ln softmax of every step, T rows (V,)."""
    return [log_p(row) for _, rows in seen.logit_rows() for row in rows]


def score_of(total: float, tokens: int) -> float:
    """A log-probability over its length penalty (Wu et al. 2016, equation 14; alpha of Vaswani et al. 2017)."""
    return total / math.exp(0.6 * math.log((5 + tokens) / 6))


def times(nats: float) -> float:
    """How many times as probable, from a difference of log-probabilities."""
    return math.exp(nats) if nats < MOST else math.inf


def steps(seen: SidePass, written: Ids, named: tuple[Ids, ...]) -> Derived:
    """What could have been written at each step; `named` are the tokens that are shown there, likeliest first."""
    p = np.exp(log_rows(seen))
    some = np.array([row[list(ids)] for row, ids in zip(p, named, strict=True)])
    return {
        "probability of the tokens named [step, rank]": some,
        "largest probabilities [step, rank]": np.array([np.sort(row)[::-1][: some.shape[1]] for row in p]),
        "all others together [step]": 1 - np.einsum("tn->t", some),
        "probability of the token written [step]": np.array([row[i] for row, i in zip(p, written, strict=True)]),
    }


def judged(seen: SidePass, written: Ids, choices: Ids = ()) -> Derived:
    """A translation token by token and as a whole; `choices` are the tokens that are shown as the likeliest."""
    rows, logits = log_rows(seen), [row for _, rows in seen.logit_rows() for row in rows]
    given = np.array([row[i] for row, i in zip(rows, written, strict=True)])
    places = [rank(row, i) for row, i in zip(logits, written, strict=True)]
    total, n = math.fsum(given), len(written)
    found = {
        "log-probability, nats [position]": given,
        "probability [position]": np.exp(given),
        "rank [position]": ranks(places),
        "largest probability [position]": np.exp([row.max() for row in rows]),
        "first choices": Bounds(*(np.array(sum(place[i] == 1 for place in places)) for i in (1, 0))),
        "log-probability, nats": total,
        "per token, nats": total / n,
        "perplexity": np.exp(-total / n),
        "mean token probability": np.exp(total / n),
        "beam score": score_of(total, n),
    }
    if choices:
        chosen = [row[i] for row, i in zip(rows, choices, strict=True)]
        found["probability of the choice named [position]"] = np.exp(chosen)
    return found


def compared(first: SidePass, second: SidePass, written: Ids, other: Ids) -> Derived:
    """How many times as probable the likelier of two translations is."""
    totals = [judged(seen, ids)["log-probability, nats"] for seen, ids in ((first, written), (second, other))]
    return {"times as probable": times(abs(totals[0] - totals[1]))}


def as_itself(first: SidePass, second: SidePass, written: Ids, text: Ids) -> Derived:
    """How many times less probable, token by token, a text is than its translation; without the text's end."""
    own = judged(first, written)["per token, nats"]
    rows = log_rows(second)
    given = [row[i] for row, i in zip(rows, text, strict=True)][:-1]
    return {"times less probable": times(own - math.fsum(given) / len(given))}


def at_step(seen: SidePass, at: int, ids: Ids) -> Derived:
    """What could be written at one step; `ids` are the tokens named, likeliest first."""
    p = np.exp(log_p(seen.logits_at(at)))
    return {
        "probability of the tokens named [rank]": p[list(ids)],
        "largest probabilities [rank]": np.sort(p)[::-1][: len(ids)],
        "all others together": 1 - p[list(ids)].sum(),
    }


def summed_up(seen: PairPass, side: str, layer: int, head: int | None) -> np.ndarray:
    """One head (T, S) of one side, or the mean over the heads of its layer."""
    weights = seen.of_side(side).layer("weights", layer)
    return weights[head] if head is not None else sum(weights) / len(weights)


def attentions(seen: PairPass, layer: int, head: int | None) -> Derived:
    """The three attentions: of one head, or the mean over the heads of a layer."""
    return {f"{side} [query, key]": summed_up(seen, side, layer, head) for side in ("encoder", "decoder", "cross")}


def attention_at(seen: PairPass, layer: int, head: int | None, at: int) -> Derived:
    """What the query of one step looked at: keys of the source, and those that the decoder had read by then."""
    found = {}
    for side, keys in (("cross", slice(None)), ("decoder", slice(at + 1))):
        found[f"{side} [key]"] = summed_up(seen, side, layer, head)[at, keys]
        found[f"{side} by head [head, key]"] = seen.of_side(side).layer("weights", layer)[:, at, keys]
    return found


NAMES = ("earlier tokens", "itself", "later tokens", "distance")


def looks(row: np.ndarray, i: int) -> tuple[float, float, float, float]:
    """Where query i looks: `NAMES`."""
    return row[:i].sum(), row[i], row[i + 1 :].sum(), row @ np.abs(np.arange(len(row)) - i)


def directions(seen: SidePass) -> Derived:
    """Where every head of a self-attention looks, and where an even one would; the first masked query has no choice."""
    causal, t = seen.what_if.causal, len(seen.ids)
    queries = range(int(causal and t > 1), t)
    every = np.array([
        [np.mean([looks(head[i], i) for i in queries], axis=0) for head in heads] for heads in seen.layers("weights")
    ])  # fmt: skip
    even = [[1 / (i + 1) if causal else 1 / t] * (i + 1 if causal else t) for i in queries]
    alike = np.mean([looks(np.array(row), i) for i, row in zip(queries, even, strict=True)], axis=0)
    last = [[sum(head[:-1, -1]) / t for head in heads] for heads in seen.layers("weights")]
    found = {f"{name} [layer, head]": every[..., i] for i, name in enumerate(NAMES)}
    return found | {
        "spread evenly [share]": alike,
        "earlier tokens, mean of all heads": np.mean(every[..., 0]),
        "later tokens, mean of all heads": np.mean(every[..., 2]),
        "end of text, mean of all heads": np.mean(last),
    }


def ahead(seen: SidePass, layer: int, head: int) -> Derived:
    """The share of each query's attention of one head that goes to what comes after it."""
    weights = seen.layer("weights", layer)[head]
    return {"later tokens [query]": np.array([row[i + 1 :].sum() for i, row in enumerate(weights)])}


def what_follows(seen: PairPass, parents: Ids, tokens: Ids) -> dict[int, np.ndarray]:
    """ln p (V,) of what comes after each node of a tree; after the end of text, which is the root's token, nothing."""
    nodes = [i for i, token in enumerate(tokens) if i == 0 or token != tokens[0]]
    place = {node: i for i, node in enumerate(nodes)}
    logits = seen.tree(tuple(place[parents[node]] for node in nodes), tuple(tokens[node] for node in nodes))
    shifted = logits - logits.max(axis=1, keepdims=True)
    return dict(zip(nodes, shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), strict=True))


def totals_of(seen: PairPass, parents: Ids, tokens: Ids) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """Of each node of a tree: its own log-probability, the total down to it (N,); and what follows it."""
    rows = what_follows(seen, parents, tokens)
    own, totals = np.zeros(len(tokens)), np.zeros(len(tokens))
    for i in range(1, len(tokens)):
        own[i] = rows[parents[i]][tokens[i]]
        totals[i] = totals[parents[i]] + own[i]
    return own, totals, rows


def depths(parents: Ids) -> np.ndarray:
    """How many tokens there are from the root to each node, (N,)."""
    found = [0] * len(parents)
    for i in range(1, len(parents)):
        found[i] = found[parents[i]] + 1
    return np.array(found)


def tree(seen: PairPass, parents: Ids, tokens: Ids, kept: int) -> Derived:
    """The tree of a search, node 0 its root; `kept` nodes are of the beam, in the order it kept them.

    A beam keeps the largest totals of all that can follow its beginnings, each with every token of the vocabulary.
    """
    own, totals, rows = totals_of(seen, parents, tokens)
    step, largest = depths(parents)[:kept], []
    for n in range(1, max(step) + 1):
        here = np.flatnonzero(step == n)
        before = [i for i in np.flatnonzero(step == n - 1) if i in rows]
        following = np.concatenate([totals[i] + rows[i] for i in before])
        largest += sorted(np.partition(following, -len(here))[-len(here) :].tolist(), reverse=True)
    return {
        "log-probability, nats [node]": own,
        "probability [node]": np.exp(own),
        "total, nats [node]": totals,
        "total of the kept, nats [node]": totals[1:kept],
        "largest totals, nats [node]": np.array(largest),
    }


def ended(seen: PairPass, parents: Ids, tokens: Ids, nodes: Ids) -> Derived:
    """Some translations, each by its last node in a tree."""
    _, totals, _ = totals_of(seen, parents, tokens)
    found, lengths = totals[list(nodes)], depths(parents)[list(nodes)]
    scores = np.array([score_of(total, int(n)) for total, n in zip(found, lengths, strict=True)])
    return {
        "log-probability, nats [row]": found,
        "probability [row]": np.exp(found),
        "beam score [row]": scores,
        "tokens [row]": lengths,
        "length penalty [row]": np.divide(found, scores, out=np.ones_like(found), where=scores != 0),
        "times as probable": times(abs(found[0] - found[-1])),
    }


def following(seen: PairPass, parents: Ids, tokens: Ids, kept: int, at: int, ids: Ids, most: int) -> Derived:
    """What could follow at a node; `ids` are the tokens named, the `most` likeliest first."""
    _, totals, rows = totals_of(seen, parents, tokens)
    step = depths(parents)
    after = totals[:kept][step[:kept] == step[at] + 1]
    return {
        "probability of the tokens named [rank]": np.exp(rows[at][list(ids)]),
        "largest probabilities [rank]": np.exp(np.sort(rows[at])[::-1][:most]),
        "total, nats [rank]": totals[at] + rows[at][list(ids)],
        "total down to here, nats": totals[at],
        "lowest total that was kept, nats": after.min() if len(after) else math.nan,
    }
