"""What the page on masking is made of: the comparison of two traces, kept; controls; and its numbers in sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gptviz.analysis import masking
from gptviz.figures.style import ink_labels
from gptviz.ui.address import kept
from gptviz.ui.attention_view import attention_view, view_of_trace
from gptviz.ui.controls import slide
from gptviz.ui.lesson import Reading
from gptviz.ui.show import chart_config, escape
from gptviz.ui.strip import token_strip
from gptviz.view import ViewState

if TYPE_CHECKING:
    from gptviz import Trace

PASSES = {"masked": "Masked, as trained", "unmasked": "Unmasked"}


def compare(reading: Reading) -> tuple[Trace, masking.Comparison]:
    """The unmasked trace of the sentence, and how it differs from the masked one."""
    from gptviz.trace import WhatIf

    unmasked = reading.trace_with(WhatIf(causal=False))
    return unmasked, compared(reading.model.fingerprint, unmasked.ids, reading.trace, unmasked)


@st.cache_resource(max_entries=16, show_spinner=False)
def compared(fingerprint: str, ids: tuple[int, ...], _masked: Trace, _unmasked: Trace) -> masking.Comparison:
    """`masking.compare`, once for a model and a sentence."""
    return masking.compare(_masked, _unmasked)


def show_both(reading: Reading, unmasked: Trace) -> None:
    """Both passes in the attention view, on one scale; what is chosen in one is chosen in the other."""
    traces = {"masked": reading.trace, "unmasked": unmasked}
    for place, (name, trace) in zip(st.columns(2), traces.items(), strict=True):
        view = view_of_trace(trace, title=PASSES[name], largest=1.0)
        view.state = ViewState(mode="matrix")
        with place:
            st.markdown(f"**{PASSES[name]}**")
            attention_view(view, key=f"mask_{name}", state_key="mask_view", owner=kept(), height=520)


def pick_position(tokens: tuple[str, ...], key: str) -> int:
    """After which token: a position, in the link; the last one unless another is chosen."""
    last = len(tokens) - 1
    return slide("After which token (its position)", 0, last, last, 1, key) if last else 0


def plot_to_pick(figure: go.Figure, key: str, choose: Callable[[dict], None]) -> None:
    """A figure whose points can be clicked: `choose` gets the clicked one, its "x" and "y", before the page runs."""

    def clicked() -> None:
        points = st.session_state[key]["selection"]["points"]
        if points:
            choose(points[0])

    ink_labels(figure)
    st.plotly_chart(
        figure, key=key, on_select=clicked, selection_mode="points", width="stretch", config=chart_config(key)
    )


def choose_head(point: dict) -> None:
    """Write the clicked head, across, and its layer, down, into the controls that all pages share."""
    kept()["layer"], kept()["head"] = int(point["y"]), int(point["x"])


def choose_position(point: dict) -> None:
    """Choose the clicked position."""
    kept()["mask_at"] = str(int(point["x"]))


def future_strip(tokens: tuple[str, ...], share: np.ndarray) -> None:
    """The sentence, each token coloured by the share (T,) of its attention that goes to its future."""
    st.caption("Each token as a query: the more colour, the more of its attention went to tokens after it.")
    labels = [f"{x:.2%} on the tokens after it" for x in share]
    token_strip(tokens, "mask_strip", share, labels=labels)


def changes_table(reading: Reading, unmasked: Trace, at: int, n: int = 10) -> pd.DataFrame:
    """The tokens whose probability after position `at` changes most, each with its text."""
    table = masking.largest_changes(reading.trace.logits[at], unmasked.logits[at], n)
    table.insert(0, "token", list(reading.model.tokenizer.token_texts(table["id"].tolist())))
    return table


def surprise_table(comparison: masking.Comparison, tokens: tuple[str, ...]) -> pd.DataFrame:
    """Surprise at each token that came, in both passes."""
    masked, unmasked = comparison.surprise_masked, comparison.surprise_unmasked
    columns = {"after": tokens[:-1], "came": tokens[1:], "masked": masked, "unmasked": unmasked}
    return pd.DataFrame(columns | {"change": unmasked - masked})


def say_moved(comparison: masking.Comparison, layer: int, head: int) -> str:
    """What one head does with the freedom, in words."""
    if comparison.future.shape[-1] == 1:
        return "A sentence of one token has no future: masked and unmasked are the same pass."
    moved, elsewhere = comparison.moved[layer, head], comparison.rearranged[layer, head]
    text = (
        f"Head **{layer}.{head}** moved **{moved:.1%}** of its attention to tokens that come later (mean over the "
        "queries that have a future; the last one has none). Attention spread evenly would put 50% there. "
    )
    if layer == 0:
        return text + (
            "In layer 0 nothing else changes: both passes begin with the same vectors, so each masked row is the "
            "unmasked row with the future cut off and the rest scaled up to 1. The **last row is the same** in both, "
            "since nothing comes after the last token."
        )
    return text + (
        f"Among the tokens of the past, {elsewhere:.1%} of the attention is distributed differently as well: from "
        "layer 1 on the vectors that attention reads have already seen the future. That is why even the **last row** "
        "differs here, although the last token has no future of its own."
    )


def say_divergence(comparison: masking.Comparison, probability_moved: float, token: str, at: int, last: int) -> str:
    """How far the prediction after one token changes, in words."""
    text = (
        f"After token {at}, “{escape(token)}”, removing the mask changes the prediction by "
        f"**D(masked ‖ unmasked) = {comparison.divergence[at]:.3g} bits**: the extra bits it would cost to guess what "
        f"the masked model expects with the odds of the unmasked one. **{100 * probability_moved:.3g}%** of the "
        "probability changed hands. Both are over the whole vocabulary. "
    )
    if at < last:
        return text + "The unmasked pass has the token that comes next in its input: this is not a prediction any more."
    return text + "Nothing comes after this token, so here the change can only come through the vectors of the others."


def say_surprise(masked: np.ndarray, unmasked: np.ndarray) -> str:
    """Mean surprise in both passes, in words; for two tokens or more."""
    change = unmasked.mean() - masked.mean()
    return (
        f"Mean surprise: **{masked.mean():.2f} bits** masked, **{unmasked.mean():.2f} bits** unmasked, "
        f"{abs(change):.2g} {'less' if change < 0 else 'more'}. Unmasked, **the answer is visible to the model**: the "
        "token it is asked for stands in its input, one place to the right. Less surprise there is reading ahead, not "
        "predicting; more surprise there only says that the model was never trained to use what it now sees."
    )
