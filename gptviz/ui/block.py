"""What the page "Inside a block" is made of: its choices, its pictures in their places, its numbers in sentences."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from gptviz.analysis.derived import block as derived
from gptviz.analysis.shown import Sentence
from gptviz.figures import block as pictures
from gptviz.figures.matrix import matrix
from gptviz.figures.style import minus, scientific, visible
from gptviz.ui import models
from gptviz.ui.address import kept, linked
from gptviz.ui.controls import SENTENCES, number_in
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.show import escape, offer, plot, readable, table_with_csv

if TYPE_CHECKING:
    from gptviz import LanguageModel
    from gptviz.analysis.block import Normalised, Vectors
    from gptviz.config import GPTConfig

MEAN = -1  # in place of a token: the mean over all
ORDERS = {
    "post": r"\begin{aligned} m &= \mathrm{norm}\big(x + \mathrm{attention}(x)\big) \\ "
    r"x' &= \mathrm{norm}\big(m + FF\big) \end{aligned}",
    "pre": r"\begin{aligned} m &= x + \mathrm{attention}(\mathrm{norm}(x)) \\ "
    r"x' &= m + FF \end{aligned}",
}
STEPS = {
    "post": (":blue-badge[stream] → :orange-badge[attention] → **add** → :gray-badge[normalise] → "
             ":green-badge[{steps}] → **add** → :gray-badge[normalise] → :blue-badge[stream]"),
    "pre": (":blue-badge[stream] → :gray-badge[normalise] → :orange-badge[attention] → **add** → "
            ":gray-badge[normalise] → :green-badge[{steps}] → **add** → :blue-badge[stream]"),
}  # fmt: skip
ABOUT = {
    "post": "This model adds first and normalises the sum (Vaswani et al. 2017). Each norm stands **on the stream**: "
    "it rescales all that came before, so its gains decide how long the stream is, and what was added early is "
    "rescaled again and again.",
    "pre": "This model normalises first and adds last (as GPT-2). Each norm stands **on the branch**, and nothing "
    "rescales the stream: it is the plain sum of the embeddings and all contributions, and usually grows with depth.",
}
ROWS = {
    "stream": "stream in", "attention_out": "attention adds", "attention_sum": "their sum", "middle": "goes on",
    "ff_out": "feed-forward adds", "ff_sum": "their sum", "out": "stream out",
}  # fmt: skip
MEASURES = ("mean", "variance", "mean_after", "variance_after")  # of a layer norm
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "gelu_tanh": "GELU (tanh)", "silu": "SiLU"}
NORMS = {
    "layer": r"\mathrm{norm}(x) = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \odot g + b",
    "rms": r"\mathrm{norm}(x) = \frac{x}{\sqrt{\frac{1}{C} \sum_c x_c^2 + \epsilon}} \odot g",
}


def pick_token(reading: Reading) -> int:
    """Whose lengths the flow shows: a position, or `MEAN`."""
    tokens = reading.tokens

    def name(at: int) -> str:
        return "the mean over all tokens" if at == MEAN else f"{at}: {visible(tokens[at])}"

    return linked(
        st.selectbox, "Lengths of", range(MEAN, len(tokens)), key="block_token", default=MEAN,
        read=lambda text: number_in(0, len(tokens) - 1, int)(text.removeprefix("t")), write=lambda at: f"t{at}",
        format_func=name,
    )  # fmt: skip


def show_flow(reading: Reading, layer: int, at: int) -> None:
    """The whole stack; a click on a block chooses its layer."""
    from gptviz.analysis import block

    lengths = block.flow(reading.trace)  # (L, 9, T)
    shown = lengths.mean(axis=-1) if at == MEAN else lengths[..., at]
    means = {"mean length [layer, vector]": shown} if at == MEAN else {}
    reading.claim("the stack", {"length [layer, vector, token]": lengths} | means, derived.flow)
    figure = pictures.flow(shown, reading.model.gpt.config.norm_order, layer)

    def clicked() -> None:
        found = st.session_state["block_flow"]["selection"]["points"]
        if found:
            kept()["layer"] = int(found[0]["y"]) // (2 * pictures.ROW)

    offer("block_flow", figure)
    with st.container(height=min(800, int(figure.layout.height) + 20), border=False):
        st.plotly_chart(
            readable(figure), key="block_flow", on_select=clicked, selection_mode="points", width="content",
            config={"displaylogo": False, "displayModeBar": False},
        )  # fmt: skip


def show_order(model: LanguageModel) -> None:
    """The order of this model's blocks: as steps, as a formula, in words."""
    config = model.gpt.config
    activation = ACTIVATIONS[config.activation]
    steps = f"Linear, {activation}, Linear"
    if config.gated:
        steps = f"two Linear, {activation} of the first × the second, Linear"
    st.markdown(STEPS[config.norm_order].format(steps=steps))
    st.latex(order_formula(config))
    st.markdown(ABOUT[config.norm_order])
    st.caption(
        "In the picture every band, arrow and bar is as wide as the vector is long; one scale for all layers. Grey "
        "lines are layer norms, numbers are lengths. Click a block to choose its layer."
    )


def order_formula(config: GPTConfig) -> str:
    """A block as two lines: what attention makes of the stream, and what the feed-forward makes of that."""
    read = r"\mathrm{norm}(m)" if config.norm_order == "pre" else "m"
    if config.gated:
        ff = rf"W_3\Big(\mathrm{{act}}\big(W_1\,{read}\big) \odot W_2\,{read}\Big)"
    else:
        biases = ("+ b_1", "+ b_2") if config.bias == "all" else ("", "")
        ff = rf"W_2\,\mathrm{{act}}\big(W_1\,{read} {biases[0]}\big) {biases[1]}"
    return ORDERS[config.norm_order].replace("FF", ff)


def say_block(reading: Reading, seen: Vectors, layer: int) -> str:
    """What the two sub-layers of a block do to the stream, in words."""
    from gptviz.analysis import block

    t = len(reading.tokens)
    text = f"In layer **{layer}**, mean over {t} token{'s'[: t > 1]}: "
    parts, shown = [], {}
    for name, x, added in (("attention", seen.stream, seen.attention_out), ("feed-forward", seen.middle, seen.ff_out)):
        found = block.directions(x, added)
        share, before, after = (float(np.nanmean(values)) if np.isfinite(values).any() else 0.0 for values in found)
        means = zip(derived.MEANS, (share, before, after), strict=True)
        shown |= {f"{what}, {name}": value for what, value in means}
        parts.append(
            f"{name} adds a vector **{share:.2f}** times as long as the stream it is added to, with a cosine of "
            f"**{minus(f'{before:+.2f}')}** to that stream and **{minus(f'{after:+.2f}')}** to the sum"
        )
    reading.claim(f"means of layer {layer}", shown, derived.tokens, layer, ())
    return text + "; ".join(parts) + ". A negative cosine to the stream takes something out of it."


def show_tokens(reading: Reading, seen: Vectors, layer: int) -> None:
    """Lengths and directions, token by token."""
    from gptviz.analysis import block

    tokens = reading.tokens
    post = reading.model.gpt.config.norm_order == "post"
    rows = [name for name in ROWS if post or name not in ("attention_sum", "ff_sum")]  # the same as what goes on
    lengths = np.stack([block.norms(getattr(seen, name)) for name in rows])
    figure = matrix(lengths, [ROWS[name] for name in rows], tokens, title="lengths", signed=False, rows_are_ours=True)
    plot_matrix(figure, "block_lengths")
    attention, ff = block.directions(seen.stream, seen.attention_out), block.directions(seen.middle, seen.ff_out)
    angles = np.stack([attention.with_stream, attention.with_sum, ff.with_stream, ff.with_sum])
    shown = {"length [row, token]": lengths, "cosine [row, token]": angles}
    shown |= {"share, attention [token]": attention.share, "share, feed-forward [token]": ff.share}
    reading.claim(f"layer {layer}", shown, derived.tokens, layer, tuple(rows))
    names = ["attention, stream", "attention, sum", "feed-forward, stream", "feed-forward, sum"]
    figure = matrix(angles, names, tokens, title="cosines", signed=True, limit=1, rows_are_ours=True)
    plot_matrix(figure, "block_cosines")
    with st.expander("The same as a table"):
        table_with_csv(block.token_table(seen, tokens), "block.csv", key="block_table")


def show_heads(reading: Reading, seen: Vectors, layer: int) -> None:
    """What each head adds on its own."""
    from gptviz.analysis import block

    heads, bias = block.head_contributions(reading.model.gpt, reading.trace, layer)  # (H, T, C), (C,)
    t, has_bias = len(reading.tokens), bias is not None
    rest = [np.full((1, t), block.norms(bias))] if has_bias else []
    lengths = np.vstack([block.norms(heads), *rest])  # (H or H + 1, T)
    total, whole = lengths.mean(axis=1).sum(), block.norms(seen.attention_out).mean()
    shown = {"length [head, token]": lengths, "sum of the mean lengths": total, "mean length of the sum": whole}
    reading.claim(f"heads of layer {layer}", shown, derived.heads, layer)
    names = [f"head {layer}.{head}" for head in range(len(heads))] + ["bias"] * has_bias
    figure = matrix(lengths, names, reading.tokens, title="added by each", signed=False, rows_are_ours=True)
    plot_matrix(figure, "block_heads")
    off = np.abs(heads.sum(axis=0) + (bias if has_bias else 0.0) - seen.attention_out).max()
    st.markdown(
        "What attention adds to the stream is a sum of vectors: one of each head"
        f"{', and the bias of the output projection' if has_bias else ''}. Here no number of that sum differs from "
        f"what the model adds by more than {scientific(off)}. The lengths of these vectors add up to {total:.3g}, "
        f"mean over the tokens; the sum itself is only {whole:.3g} long, because vectors that point in "
        "different directions cancel in part."
    )


def show_firing(reading: Reading, layer: int) -> None:
    """Which units of the feed-forward are active, here and over the sentences of "Try another"."""
    from gptviz.analysis import block

    config, tokens = reading.model.gpt.config, reading.tokens
    found = block.firing(block.activity(reading.model.gpt, reading.trace, layer))
    shown = {
        "share of active units [token]": found.share,
        "times active [unit]": found.times,
        "active at no token": found.never,
        "mean share of active units": found.share.mean(),
    }
    reading.claim(f"feed-forward of layer {layer}", shown, derived.firing, layer)
    left, right = st.columns(2, gap="large")
    with left:
        plot(pictures.bars(found.share, tokens, "Active units per token", "share of units"), key="block_share")
    with right:
        title = f"How often the {config.d_ff:,} units are active"
        plot(pictures.times_active(found.times, len(tokens), title), key="block_times")
    name = ACTIVATIONS[config.activation]
    meaning = f"where {name} gives more than 0"
    if config.gated:
        meaning = f"where its gate is open: where {name}, which the other projection is multiplied by, is over 0"
    elif config.activation != "relu":
        meaning += f"; {name} has no clear border, and a unit under it still passes a little"
    st.markdown(
        f"A unit is active {meaning}. In this sentence "
        f"**{found.share.mean():.1%}** are active at a token on the mean, **{found.never:,} of {config.d_ff:,}** at "
        f"none of its {len(tokens)}. {say_silent(reading, layer)}"
    )


def say_silent(reading: Reading, layer: int) -> str:
    """How many units of a layer are active at no token of "Try another", in words; nothing where none can be read."""
    over, ids = sample_firing(reading.model.fingerprint, reading.model)
    if not ids:
        return ""
    never, read = (over == 0).sum(axis=-1), sum(map(len, ids))  # (L,)
    shown = {"active at no token [layer]": never, "tokens": read}
    reading.claim("units over all sentences", shown, derived.silent, of=tuple(map(Sentence, ids)))
    which = "" if len(ids) == len(SENTENCES) else " that it can read"
    return (
        f"Over the {len(ids)} sentences of “Try another”{which}, {read:,} tokens in all, **{never[layer]:,}** are "
        "active at none: few texts, so a unit that is silent here may well have its use."
    )


@st.cache_resource(max_entries=3, show_spinner=False)
def sample_firing(fingerprint: str, _model: LanguageModel) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """At how many tokens of the shipped sentences each unit is active, (L, F), and the ids of these sentences."""
    from gptviz.analysis import block
    from gptviz.trace import WhatIf

    traces = []
    for text in SENTENCES.values():
        with contextlib.suppress(ValueError):  # a model of characters may not know all of them
            traces.append(models.TRACES.get(_model, text, WhatIf()))
    return block.firing_over(_model.gpt, traces) if traces else np.zeros((1, 1)), tuple(trace.ids for trace in traces)


def show_norms(reading: Reading, seen: Vectors, layer: int) -> None:
    """Mean and variance before and after each norm, its gain and its bias."""
    from gptviz.analysis import block

    found = block.layer_norms(reading.model.gpt, seen, layer)
    axes = dict.fromkeys(("gain", "bias"), "dimension")
    shown = {
        f"{field}, {name} [{axes.get(field, 'token')}]": values
        for name, norm in found.items()
        for field, values in norm._asdict().items()
        if values is not None
    }
    for name, norm in found.items():
        values = ((field, getattr(norm, field)) for field in MEASURES)
        shown |= {f"{field}, {name}, over all tokens": each.mean() for field, each in values}
        ends = ((field, getattr(norm, field)) for field in axes if getattr(norm, field) is not None)
        shown |= {f"{field}, {name} [least largest]": [each.min(), each.max()] for field, each in ends}
    reading.claim(f"norms of layer {layer}", shown, derived.layer_norms, layer)
    for name, norm in found.items():
        st.markdown(say_norm(name, norm, reading.model.gpt.config.norm))
    plot(pictures.gains({name: (norm.gain, norm.bias) for name, norm in found.items()}, "Gain and bias"), "block_gains")
    with st.expander("Mean and variance of every token"):
        table_with_csv(block.norm_table(found, reading.tokens), "layer-norms.csv", key="block_norm_table")


def say_norm(name: str, norm: Normalised, kind: str) -> str:
    """What one norm did to this sentence, in words; means over its tokens."""
    text = (
        f"**The norm of {escape(name)}:** {'mean square' if kind == 'rms' else 'variance'} "
        f"{norm.variance.mean():.3g} before and {norm.variance_after.mean():.3g} after"
    )
    if kind == "rms":
        text += " (means over tokens; 1 before the gain, but for the ε). No mean is taken away"
    else:
        text += (
            f", mean {minus(f'{norm.mean.mean():+.2g}')} before and {minus(f'{norm.mean_after.mean():+.2g}')} after "
            "(means over tokens; 1 and 0 before gain and bias, but for the ε)"
        )
    text += f". Gains from {minus(f'{norm.gain.min():.2f}')} to {minus(f'{norm.gain.max():.2f}')}"
    if norm.bias is not None:
        text += f", biases from {minus(f'{norm.bias.min():.2f}')} to {minus(f'{norm.bias.max():.2f}')}"
    return text + "."
