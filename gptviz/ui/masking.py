"""What the page on masking is made of: the comparison of two traces, kept; controls; and its numbers in sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gptviz.analysis import masking
from gptviz.analysis.derived import heads as derived_heads
from gptviz.analysis.derived import predictions as derived
from gptviz.figures import masking as figures
from gptviz.ui.address import kept
from gptviz.ui.attention_view import attention_view, view_of_trace
from gptviz.ui.controls import slide
from gptviz.ui.lesson import Reading
from gptviz.ui.show import chart_config, escape, offer, plot, readable, see_also
from gptviz.ui.strip import token_strip
from gptviz.view import ViewState

if TYPE_CHECKING:
    from gptviz import Trace

PASSES = {"masked": "Masked, as trained", "unmasked": "Unmasked"}


def compare(reading: Reading) -> tuple[Trace, masking.Comparison]:
    """The unmasked trace of the sentence, and how it differs from the masked one."""
    from gptviz.trace import WhatIf

    unmasked = reading.trace_with(WhatIf(causal=False))
    found = compared(reading.model.fingerprint, unmasked.ids, reading.trace, unmasked)
    shown = {
        "share on the future [layer, head, query]": found.future,
        "moved to the future [layer, head]": found.moved,
        "rearranged past [layer, head]": found.rearranged,
    }
    reading.claim("heads", shown, derived_heads.unmasked, of=(reading.trace, unmasked))
    shown = {
        "D(masked ‖ unmasked), bits [position]": found.divergence,
        "surprise, masked, bits [position]": found.surprise_masked,
        "surprise, unmasked, bits [position]": found.surprise_unmasked,
    }
    reading.claim("predictions", shown, derived.masked_or_not, of=(reading.trace, unmasked))
    return unmasked, found


def show_difference(reading: Reading, unmasked: Trace, layer: int, head: int) -> None:
    """Unmasked minus masked attention of a head."""
    before, after = reading.trace.layer_weights(layer)[head], unmasked.layer_weights(layer)[head]  # (T, T)
    change, both = masking.difference(before, after), (reading.trace, unmasked)
    reading.claim(
        "difference", {"unmasked − masked [query, key]": change}, derived_heads.difference, layer, head, of=both
    )
    plot(figures.difference_map(change, reading.tokens), key="mask_difference")


def probability_moved(reading: Reading, unmasked: Trace, at: int) -> float:
    """Share of the next-token probability after position `at` that changed hands."""
    moved = masking.probability_moved(reading.trace.logits[at], unmasked.logits[at])
    shown, both = {"probability that changed hands": moved}, (reading.trace, unmasked)
    reading.claim("whole prediction", shown, derived.changed_tokens, at, (), of=both)
    return moved


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

    offer(key, figure)
    st.plotly_chart(
        readable(figure), key=key, on_select=clicked, selection_mode="points", width="stretch",
        config=chart_config(key),
    )  # fmt: skip


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
    shown = {
        "probability, masked [row]": table["masked"],
        "probability, unmasked [row]": table["unmasked"],
        "change [row]": table["change"],
        "largest changes [row]": table["change"].abs(),
        "rank, masked [row]": table["rank_masked"],
        "rank, unmasked [row]": table["rank_unmasked"],
    }
    both, ids = (reading.trace, unmasked), tuple(table["id"].tolist())
    reading.claim("largest changes", shown, derived.changed_tokens, at, ids, of=both)
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


def say_surprise(reading: Reading, other: Trace, masked: np.ndarray, unmasked: np.ndarray) -> str:
    """Mean surprise in both passes, in words; for two tokens or more. `other` is the unmasked pass."""
    means = masked.mean(), unmasked.mean()
    change = means[1] - means[0]
    shown = {"mean surprise, masked, bits": means[0], "mean surprise, unmasked, bits": means[1]}
    reading.claim("mean surprise", shown, derived.masked_or_not, of=(reading.trace, other))
    change_of = {"change of the mean surprise, bits": change}
    reading.claim("change", change_of, derived.masked_or_not, of=(reading.trace, other), nothing=means[0])
    return (
        f"Mean surprise: **{means[0]:.2f} bits** masked, **{means[1]:.2f} bits** unmasked, "
        f"{abs(change):.2g} {'less' if change < 0 else 'more'}. Unmasked, **the answer is visible to the model**: the "
        "token it is asked for stands in its input, one place to the right. Less surprise there is reading ahead, not "
        "predicting; more surprise there only says that the model was never trained to use what it now sees."
    )


def see_encoder() -> None:
    """The way to the same picture pair of a model that was trained so."""
    see_also(
        "This GPT never trained without the mask: what it does with a future in view, nobody taught it. The encoder of "
        "a translation model trained without a mask from the first step:",
        "transformer/encoder_decoder.py",
        "Unmasked and masked, as trained",
    )
