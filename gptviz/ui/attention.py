"""The controls of the attention page, the sentence coloured by what is clicked, and the words that explain a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from gptviz.analysis.heads import View, attended_by, attending_to, read_levels
from gptviz.figures.heatmap import heatmap, mosaic, reading
from gptviz.ui.controls import pick_head, pick_layer
from gptviz.ui.show import escape, plot
from gptviz.ui.strip import token_strip

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz import LanguageModel

SHOW = {"head": "One head", "mean": "Mean", "max": "Max", "rollout": "Rollout"}
OVER = {False: "this layer", True: "all layers"}
WAYS = {"to": "What it attends to", "from": "What attends to it"}
FULL = {"one": "0 to 1", "largest": "0 to the largest weight"}
NAMED = 4  # selected tokens that the caption still names one by one

RULES = {
    "head": "The weights of one head, as the model computed them: every row sums to 1.",
    "mean": "The mean of {heads}: every row sums to 1. A head that does one thing strongly is thinned out here.",
    "max": "The largest weight among {heads}, cell by cell: **rows do not sum to 1**, no head need look like this.",
    "rollout": (
        "Attention rollout through {layers} (Abnar and Zuidema 2020): per layer the mean over heads *A*, the residual "
        "connection added as 0.5 *A* + 0.5 *I*, rows renormalised, layers multiplied. Rows sum to 1. It knows only "
        "the attention weights, not the values or the feed-forward layers."
    ),
}


@dataclass(frozen=True)
class Choice:
    """Which matrix to show, and how."""

    what: str  # head, mean, max or rollout
    layer: int
    head: int
    whole_model: bool
    words: bool
    hide_first: bool
    thresholds: tuple[float, float] | None  # of a low / med / high reading, if that is wanted
    stretched: bool  # the colour scale ends at the largest weight shown, not at 1

    @property
    def matrix(self) -> dict:
        """The arguments that `analysis.heads.look` takes."""
        names = ("what", "layer", "head", "whole_model", "words", "hide_first")
        return {name: getattr(self, name) for name in names}

    @property
    def title(self) -> str:
        """What is shown, in a few words."""
        if self.what == "head":
            return f"Head {self.layer}.{self.head}"
        if self.what == "rollout":
            return "Rollout through " + ("all layers" if self.whole_model else f"layer {self.layer}")
        return f"{SHOW[self.what]} over " + ("all heads" if self.whole_model else f"the heads of layer {self.layer}")

    def span(self, values: np.ndarray) -> tuple[float, float]:
        """The ends of the colour scale."""
        largest = float(np.nanmax(values, initial=0.0))
        return 0.0, largest if self.stretched and largest > 0 else 1.0


def choose(model: LanguageModel, top: DeltaGenerator, side: DeltaGenerator) -> Choice:
    """All controls of the page, each part of the URL: what to show at the `top`, how at the `side` of the picture."""
    with top.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        layer, head = pick_layer(model), pick_head(model)
        what = pick("Show", SHOW, "att_show")
        over = what != "head" and pick("Over", OVER, "att_over", help="Rollout: through this layer, or through all.")
    with side:
        words = switch("Join tokens into words", "att_words")
        hide_first = switch("Hide the first token", "att_first")
        thresholds = None
        if switch("Read as low, med, high", "att_levels"):
            ends = {"min_value": 0.0, "max_value": 1.0, "value": (0.2, 0.5), "step": 0.01}
            thresholds = st.slider("Med begins at, high begins at", **ends, key="att_at", bind="query-params")
        stretched = pick("Colours", FULL, "att_colours") == "largest"
    return Choice(what, layer, head, over, words, hide_first, thresholds, stretched)


def pick(label: str, options: dict, key: str, help: str | None = None) -> object:
    """One of a few options, the first unless chosen otherwise."""
    return st.segmented_control(
        label, list(options), format_func=options.get, default=next(iter(options)), required=True, key=key,
        bind="query-params", help=help,
    )


def switch(label: str, key: str) -> bool:
    """On or off; off unless chosen otherwise."""
    return st.toggle(label, key=key, bind="query-params")


def explain(choice: Choice) -> None:
    """Say by which rule the matrix was made, and where it is not the model's own."""
    heads = "all heads of all layers" if choice.whole_model else f"the heads of layer {choice.layer}"
    layers = "all layers" if choice.whole_model else f"layers 0 to {choice.layer}" if choice.layer else "layer 0"
    lines = [RULES[choice.what].format(heads=heads, layers=layers)]
    unit = "word" if choice.words else "token"
    if choice.words:
        lines.append(
            "Tokens are joined into words: **summed over the keys** of a word, **averaged over its queries**. A word "
            "begins at a token that begins with white space or follows white space."
        )
    if choice.hide_first:
        lines.append(
            f":orange[**Not the model’s row:**] the first {unit} is then left out and rows divided by what remains. "
            f"A row that looked at nothing else is empty."
        )
    lines.append("Grey cells are masked: their score was −∞ before the softmax.")
    if choice.thresholds:
        low, high = choice.thresholds
        lines.append(f"**low** is under {low:g}, **med** from {low:g}, **high** from {high:g}: chosen by us, above.")
    st.markdown("  \n".join(lines))


def sentence(view: View, choice: Choice) -> None:
    """The tokens to click; the sentence colours by what they attend to, or by what attends to them."""
    way = pick("Click a token", WAYS, "att_way")
    shares = attended_by if way == "to" else attending_to
    last = (len(view.names) - 1,)

    def sums(chosen: tuple[int, ...]) -> np.ndarray:
        return shares(view.weights, chosen or last)

    def colours(chosen: tuple[int, ...]) -> np.ndarray:
        values = sums(chosen)
        full = values.max() if choice.stretched else len(chosen or last) if way == "to" else 1.0
        return values / (full or 1.0)

    def exact(chosen: tuple[int, ...]) -> list[str]:
        return [f"{value:.6f}" for value in sums(chosen)]

    picked = token_strip(view.names, "att_word" if choice.words else "att_token", colours, labels=exact)
    st.caption(strip_caption(view.names, picked or last, way, bool(picked)))


def strip_caption(names: Sequence[str], picked: Sequence[int], way: str, clicked: bool) -> str:
    """What the colours of the strip mean."""
    named = ", ".join(f"“{escape(names[i])}”" for i in picked[:NAMED]) + (" …" if len(picked) > NAMED else "")
    who = f"the {len(picked)} selected tokens, {named}" if len(picked) > 1 else named
    start = f"What {who} attends to" if way == "to" else f"What attends to {who}"
    if len(picked) > 1:
        start = start.replace(" attends to", " attend to") if way == "to" else start
        rule = "their rows" if way == "to" else "their columns"
        start += f": {rule} summed, so that the full colour is {len(picked) if way == 'to' else 1}"
    return start + ("." if clicked else " (the last one; click others, several are summed).")


def matrix(view: View, choice: Choice) -> None:
    """The chosen matrix, as numbers in colour or as low, med and high."""
    same = {"masked": view.masked, "title": choice.title}
    if choice.thresholds:
        levels = read_levels(view.weights, *choice.thresholds)
        fig = reading(levels, view.names, view.names, thresholds=choice.thresholds, **same)
    else:
        fig = heatmap(view.weights, view.names, view.names, span=choice.span(view.weights), **same)
    plot(fig, "attention")


def all_heads(view: View, choice: Choice) -> None:
    """Every head of the layer on one scale, the chosen one framed."""
    names = [f"{choice.layer}.{head}" for head in range(len(view.heads))]
    chosen = choice.head if choice.what == "head" else None
    span = choice.span(view.heads)
    plot(mosaic(view.heads, names, view.names, view.names, masked=view.masked, span=span, chosen=chosen), "heads")
