"""What the page "Inside a block" is made of: its choices, its pictures in their places, its numbers in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from gptviz.figures import block as pictures
from gptviz.figures.matrix import matrix
from gptviz.figures.style import ink_labels, visible
from gptviz.ui import models
from gptviz.ui.address import kept, linked
from gptviz.ui.controls import SENTENCES, number_in
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.show import escape, plot, table_with_csv

if TYPE_CHECKING:
    from gptviz import LanguageModel
    from gptviz.analysis.block import Vectors

MEAN = -1  # in place of a token: the mean over all
ORDERS = {
    "post": r"\begin{aligned} m &= \mathrm{norm}\big(x + \mathrm{attention}(x)\big) \\ "
    r"x' &= \mathrm{norm}\big(m + W_2\,\mathrm{act}(W_1 m + b_1) + b_2\big) \end{aligned}",
    "pre": r"\begin{aligned} m &= x + \mathrm{attention}(\mathrm{norm}(x)) \\ "
    r"x' &= m + W_2\,\mathrm{act}\big(W_1\,\mathrm{norm}(m) + b_1\big) + b_2 \end{aligned}",
}
STEPS = {
    "post": (":blue-badge[stream] → :orange-badge[attention] → **add** → :gray-badge[normalise] → "
             ":green-badge[Linear, {activation}, Linear] → **add** → :gray-badge[normalise] → :blue-badge[stream]"),
    "pre": (":blue-badge[stream] → :gray-badge[normalise] → :orange-badge[attention] → **add** → "
            ":gray-badge[normalise] → :green-badge[Linear, {activation}, Linear] → **add** → :blue-badge[stream]"),
}  # fmt: skip
ABOUT = {
    "post": "This model adds first and normalises the sum (Vaswani et al. 2017). Each norm stands **on the stream**: "
    "it rescales all that came before, so the stream has nearly the same length everywhere, and what was added early "
    "is scaled down again and again.",
    "pre": "This model normalises first and adds last (as GPT-2). Each norm stands **on the branch**, and nothing "
    "rescales the stream: it is the plain sum of the embeddings and all contributions, and usually grows with depth.",
}
ROWS = {
    "stream": "stream in", "attention_out": "attention adds", "attention_sum": "their sum", "middle": "goes on",
    "ff_out": "feed-forward adds", "ff_sum": "their sum", "out": "stream out",
}  # fmt: skip
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "gelu_tanh": "GELU (tanh)"}


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
    figure = pictures.flow(shown, reading.model.gpt.config.norm_order, layer)

    def clicked() -> None:
        found = st.session_state["block_flow"]["selection"]["points"]
        if found:
            kept()["layer"] = int(found[0]["y"]) // (2 * pictures.ROW)

    with st.container(height=min(800, int(figure.layout.height) + 20), border=False):
        st.plotly_chart(
            ink_labels(figure), key="block_flow", on_select=clicked, selection_mode="points", width="content",
            config={"displaylogo": False, "displayModeBar": False},
        )  # fmt: skip


def show_order(model: LanguageModel) -> None:
    """The order of this model's blocks: as steps, as a formula, in words."""
    config = model.gpt.config
    st.markdown(STEPS[config.norm_order].format(activation=ACTIVATIONS[config.activation]))
    st.latex(ORDERS[config.norm_order])
    st.markdown(ABOUT[config.norm_order])
    st.caption(
        "In the picture every band, arrow and bar is as wide as the vector is long; one scale for all layers. Grey "
        "lines are layer norms, numbers are lengths. Click a block to choose its layer."
    )


def say_block(seen: Vectors, layer: int, tokens: tuple[str, ...]) -> str:
    """What the two sub-layers of a block do to the stream, in words."""
    from gptviz.analysis import block

    text = f"In layer **{layer}**, mean over {len(tokens)} token{'s'[: len(tokens) > 1]}: "
    parts = []
    for name, x, added in (("attention", seen.stream, seen.attention_out), ("feed-forward", seen.middle, seen.ff_out)):
        found = block.directions(x, added)
        share, before, after = (float(np.nanmean(values)) if np.isfinite(values).any() else 0.0 for values in found)
        parts.append(
            f"{name} adds a vector **{share:.2f}** times as long as the stream it is added to, with a cosine of "
            f"**{before:+.2f}** to that stream and **{after:+.2f}** to the sum"
        )
    return text + "; ".join(parts) + ". A negative cosine to the stream takes something out of it."


def show_tokens(reading: Reading, seen: Vectors) -> None:
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
    names = ["attention, stream", "attention, sum", "feed-forward, stream", "feed-forward, sum"]
    figure = matrix(angles, names, tokens, title="cosines", signed=True, limit=1, rows_are_ours=True)
    plot_matrix(figure, "block_cosines")
    with st.expander("The same as a table"):
        table_with_csv(block.token_table(seen, tokens), "block.csv", key="block_table")


def show_heads(reading: Reading, seen: Vectors, layer: int) -> None:
    """What each head adds on its own."""
    from gptviz.analysis import block

    heads, bias = block.head_contributions(reading.model.gpt, reading.trace, layer)  # (H, T, C), (C,)
    t = len(reading.tokens)
    lengths = np.vstack([block.norms(heads), np.full((1, t), block.norms(bias))])  # (H + 1, T)
    names = [f"head {layer}.{head}" for head in range(len(heads))] + ["bias"]
    figure = matrix(lengths, names, reading.tokens, title="added by each", signed=False, rows_are_ours=True)
    plot_matrix(figure, "block_heads")
    off = np.abs(heads.sum(axis=0) + bias - seen.attention_out).max()
    mean = lengths.mean(axis=1)
    st.markdown(
        f"The output projection is a sum over heads, so each head's part can be told apart: all {len(heads)} and the "
        f"bias add up to what attention adds, here to {off:.1e}. Their lengths add up to {mean.sum():.3g} on the mean, "
        f"their sum is only {block.norms(seen.attention_out).mean():.3g} long: the rest points in different directions."
    )


def show_firing(reading: Reading, layer: int) -> None:
    """Which units of the feed-forward are active, here and over the sentences of "Try another"."""
    from gptviz.analysis import block

    config, tokens = reading.model.gpt.config, reading.tokens
    found = block.firing(reading.trace.ff_hidden[layer])
    left, right = st.columns(2, gap="large")
    with left:
        plot(pictures.bars(found.share, tokens, "Active units per token", "share of units"), key="block_share")
    with right:
        title = f"How often the {config.d_ff:,} units are active"
        plot(pictures.times_active(found.times, len(tokens), title), key="block_times")
    over, read = sample_firing(reading.model.fingerprint, reading.model)
    never = int((over[layer] == 0).sum())
    meaning = "gives more than 0" if config.activation == "relu" else (
        "gives more than 0; GELU has no clear border, and a unit under it still passes a little"
    )  # fmt: skip
    st.markdown(
        f"A unit is active where {ACTIVATIONS[config.activation]} {meaning}. In this sentence "
        f"**{found.share.mean():.1%}** are active at a token on the mean, **{found.never:,} of {config.d_ff:,}** at "
        f"none of its {len(tokens)}. Over the {len(SENTENCES)} sentences of “Try another”, {read:,} tokens in all, "
        f"**{never:,}** are active at none: few texts, so a unit that is silent here may well have its use."
    )


@st.cache_resource(max_entries=3, show_spinner=False)
def sample_firing(fingerprint: str, _model: LanguageModel) -> tuple[np.ndarray, int]:
    """At how many tokens of the shipped sentences each unit is active, (L, F), and how many tokens those are."""
    from gptviz.analysis import block
    from gptviz.trace import WhatIf

    traces = [models.TRACES.get(_model, text, WhatIf()) for text in SENTENCES.values()]
    return block.firing_over(traces), sum(len(trace.ids) for trace in traces)


def show_norms(reading: Reading, seen: Vectors, layer: int) -> None:
    """Mean and variance before and after each norm, its gain and its bias."""
    from gptviz.analysis import block

    found = block.layer_norms(reading.model.gpt, seen, layer)
    for name, norm in found.items():
        st.markdown(
            f"**The norm of {escape(name)}:** variance {norm.variance.mean():.3g} before and "
            f"{norm.variance_after.mean():.3g} after, mean {norm.mean.mean():+.2g} before and "
            f"{norm.mean_after.mean():+.2g} after (means over tokens; 1 and 0 before gain and bias, but for the 1e-5). "
            f"Gains from {norm.gain.min():.2f} to {norm.gain.max():.2f}, biases from {norm.bias.min():.2f} to "
            f"{norm.bias.max():.2f}."
        )
    plot(pictures.gains({name: (norm.gain, norm.bias) for name, norm in found.items()}, "Gain and bias"), "block_gains")
    with st.expander("Mean and variance of every token"):
        table_with_csv(block.norm_table(found, reading.tokens), "layer-norms.csv", key="block_norm_table")
