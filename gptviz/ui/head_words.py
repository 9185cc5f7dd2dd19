"""The lesson on one head, its words: formulas, titles and sentences, of a GPT and of the three attentions of a pair.

A side is "" for a GPT, or one of `gptviz.stack.SIDES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptviz.ui import head_turn

if TYPE_CHECKING:
    from gptviz.config import ModelConfig
    from gptviz.ui.inside_head import View

UNMASKED = ("encoder", "cross")  # sides where every query sees every key
NO_MASK = {
    "encoder": "There is no mask to take off: the encoder reads the whole sentence at once.",
    "cross": "There is no mask to take off: the source is all there before the first word is written.",
}
LETTERS = {"": "TT", "encoder": "SS", "decoder": "TT", "cross": "TS"}  # how many queries and how many keys
EVERYWHERE = {  # where a switch works
    "": "in every layer of this pass",
    "encoder": "in every layer of the encoder",
    "decoder": "in the decoder's own attention, in every layer",
    "cross": "in the cross-attention of every layer",
}
THEN = {  # what becomes of what attention adds
    "": "",
    "encoder": " It is added to x, and the sum is normalised: that is what the feed-forward reads.",
    "decoder": " It is added to x, and the sum is normalised: that is what cross-attention asks with.",
    "cross": " It is added to x, and the sum is normalised: that is what the feed-forward reads.",
}
TITLES = {
    "x": "what attention read",
    "weights": "the weights of this head",
    "qkv": "queries, keys and values",
    "turn": "queries and keys are turned by their places",
    "scores": "every query times every key",
    "scale": "divided by √D",
    "mask": "the future is masked",
    "softmax": "softmax over each row",
    "values": "a weighted mean of values",
    "join": "the heads side by side",
    "project": "the output projection",
}


def title_of(view: View) -> str:
    """What the stage is called; where a switch is off, or has nothing to do, that it does nothing."""
    if view.stage == "scale" and not view.scaled:
        return "not divided by √D"
    if view.stage == "mask" and not view.causal:
        return "nothing is masked"
    if view.stage == "x" and view.reading.side == "cross":
        return "what attention read: two streams"
    return TITLES[view.stage]


def formula_of(view: View) -> str:
    """The stage as LaTeX. S counts the tokens of a source; where there is one, the scores are Z."""
    side = view.reading.side
    t, s = LETTERS[side]
    z, m, n = ("Z", "m" if side == "cross" else "x", "n") if side else ("S", "x", "m")
    inputs = rf"x \in \mathbb{{R}}^{{{t} \times C}}"
    if side == "cross":
        inputs += rf" \qquad m \in \mathbb{{R}}^{{{s} \times C}}"
    masked = r" \;\;\text{if}\;\; j \le i, \qquad -\infty \;\;\text{if}\;\; j > i"
    if view.stage == "turn":
        return head_turn.formula_of(view)
    config = view.reading.config
    b_q, b_k, b_v = (f" + b_{letter}" if config.bias != "none" else "" for letter in "qkv")
    qkv = rf"q &= x\, W_q{b_q} \\ k &= {m}\, W_k{b_k} \\ v &= {m}\, W_v{b_v}"
    biases = r" \qquad b_q,\, b_k,\, b_v \in \mathbb{R}^{D}" if config.bias != "none" else ""
    added = " + b_O" if config.bias == "all" else ""
    wide = "C" if config.n_heads * config.d_head == config.d_model else "H D"
    turned = r"q'\, {k'}^{\top}" if config.positions == "rotary" else r"q\, k^{\top}"
    return {
        "x": inputs,
        "weights": r"W_q,\, W_k,\, W_v \in \mathbb{R}^{C \times D}" + biases,
        "qkv": rf"\begin{{aligned}} {qkv} \end{{aligned}}",
        "scores": rf"{z} = {turned} \in \mathbb{{R}}^{{{t} \times {s}}}",
        "scale": rf"{z}' = " + (rf"\frac{{{turned}}}{{\sqrt{{D}}}}" if view.scaled else turned),
        "mask": rf"{z}''_{{ij}} = {z}'_{{ij}}" + (masked if view.causal else ""),
        "softmax": rf"A_{{ij}} = \frac{{e^{{{z}''_{{ij}}}}}}{{\sum_{{{n}}} e^{{{z}''_{{i{n}}}}}}}",
        "values": rf"o = A\, v \in \mathbb{{R}}^{{{t} \times D}}",
        "join": rf"\mathrm{{concat}}(o_0, \ldots, o_{{H-1}}) \in \mathbb{{R}}^{{{t} \times {wide}}}",
        "project": r"\mathrm{out} = \mathrm{concat}(o_0, \ldots, o_{H-1})\, W_O" + added,
    }[view.stage]


def say_stage(view: View) -> str:
    """What happens at this stage, in words and with its own numbers."""
    (t, d), s, c = view.stages.q.shape, len(view.stages.k), view.stages.x.shape[1]
    config, wide = view.reading.config, view.stages.joined.shape[1]
    bias = ", plus one bias" if config.bias == "all" else ""
    if view.stage == "turn":
        return head_turn.say_turn(view)
    h, side, crossing = config.n_heads, view.reading.side, view.reading.side == "cross"
    of_i, of_j = ("the decoder's token i", "token j of the source") if crossing else ("token i", "token j")
    where = EVERYWHERE[side] + (". The other two attentions are as trained." if side else ".")
    heads, row = f"{h} head{'s'[: h > 1]}", view.stages.weights[view.query]
    return {
        "x": say_x(view, heads, c),
        "weights": f"Learned in training, the same for every sentence: {c} × {d} numbers each, one scale for the "
        f"three. {say_groups(config, view.head)}"
        + (" The biases below have a scale of their own." if config.bias != "none" else " This model adds no bias.")
        + (" W_q is for the decoder's stream, W_k and W_v are for the encoder's output." if crossing else ""),
        "qkv": (
            f"Each of {t} tokens of the decoder asks with its query; each of {s} tokens of the source is found by its "
            "key, and gives its value" if crossing else
            "Each token asks with its query, is found by its key, and gives its value"
        ) + f": D = {d} numbers each. The three pictures are on one scale.",
        "scores": f"{t} × {s} products: row i, column j is the query of {of_i} times the key of {of_j}. Click a "
        "cell, or choose it above, and see below how it adds up.",
        "scale": f"√{d} = {d**0.5:.4g}. " + (
            "The same picture, nearer to 0: both are on one scale. What that is for is measured at the end of this "
            "page."
            if view.scaled else f"**Scaling is off:** the scores go on as they are, {where}"
        ),
        "mask": say_mask(view, where),
        "softmax": f"Exponentials, divided by the sum of their row: weights from 0 to 1 that sum to 1. The chosen row "
        f"sums to {row.sum(dtype=np.float64):.6f}; its largest weight is {row.max():.4f}.",
        "values": f"Row i of the result is the mean of the {'source’s ' if crossing else ''}values, weighted with row "
        "i of A. v and o are on one scale.",
        "join": f"{heads} of {d} numbers make {wide}: this head's columns are framed. Nothing is computed here.",
        "project": f"One more matrix mixes what the heads found: {wide} × {c} numbers, of which only the {d} rows "
        f"below read this head. What attention adds to the stream is the sum over the {heads}{bias}.{THEN[side]}",
    }[view.stage]  # fmt: skip


def heads_of(group: range) -> str:
    """Heads in a row by their numbers."""
    return f"head {group[0]}" if len(group) == 1 else f"heads {group[0]} to {group[-1]}"


def groups_of(config: ModelConfig) -> list[range]:
    """The heads that share their keys and values, group by group."""
    together = config.n_heads // config.n_groups
    return [range(first, first + together) for first in range(0, config.n_heads, together)]


def say_shared(config: ModelConfig) -> str:
    """Which heads of every layer share keys and values, in a sentence; "" where each has its own."""
    if config.n_groups == config.n_heads:
        return ""
    return (
        f"In every layer these heads ask the same keys and mix the same values: "
        f"{'; '.join(map(heads_of, groups_of(config)))}. Each has queries of its own, and so weights of its own."
    )


def say_groups(config: ModelConfig, head: int) -> str:
    """Which heads have projections of their own, and which share those of keys and values."""
    if config.n_groups == config.n_heads:
        return "Every head has three of its own."
    groups = groups_of(config)
    own = groups[head // len(groups[0])]
    return (
        f"Every head has a W_q of its own; W_k and W_v are shared: **{heads_of(own)} ask the same keys and mix the "
        f"same values**, each with its own queries. The {config.n_heads} heads have {config.n_groups} "
        f"{'sets' if config.n_groups > 1 else 'set'} of keys and values: {'; '.join(map(heads_of, groups))} (grouped-"
        "query attention, Ainslie et al. 2023)."
    )


def say_x(view: View, heads: str, c: int) -> str:
    """Where the numbers that attention read come from."""
    layer, side = view.layer, view.reading.side
    if side == "cross":
        return (
            f"Two streams meet here, C = {c} numbers a token. **x** has a row for each token that the decoder read: "
            f"its stream in block {layer} after the masked self-attention, added and normalised. Queries are made of "
            "it. **m** has a row for each token of the source: the encoder's output, the same for all layers and "
            "heads. Keys and values are made of it. Both are on one scale; the rows of the chosen query and key are "
            "framed."
        )
    stream = f"the {side}'s stream" if side else "the stream"
    config = view.reading.config
    first = "the token vectors" if config.positions == "rotary" else "the sum of token and position vectors"
    came = first if layer == 0 else f"{stream} after block {layer - 1}"
    if config.norm_order == "pre":
        root = ", divided by the root of their mean square and multiplied by a gain"
        came += f", normalised first{root if config.norm == 'rms' else ''}"
    token = {"": "token", "encoder": "token of the source", "decoder": "token that the decoder read"}[side]
    return (
        f"One row a {token}, C = {c} numbers each: {came}. The {heads} of layer {layer} "
        f"read{'s'[not heads.startswith('1 ') :]} this x. The row of the chosen query is framed."
    )


def say_mask(view: View, where: str) -> str:
    """What the mask does, or that there is none."""
    if view.reading.side == "encoder":
        return (
            "There is no mask here: every token sees the whole sentence, what comes after it, too. The scores go on "
            "as they are."
        )
    if view.reading.side == "cross":
        return (
            "There is no mask here: the source is all there before the first word is written, and every query sees "
            "all of it. The scores go on as they are."
        )
    if view.causal:
        return "Grey is −∞: a query does not see the keys after it. Nothing else changes."
    return f"**The mask is off:** every query sees every key, {where}"
