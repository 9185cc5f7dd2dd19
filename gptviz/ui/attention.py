"""The controls of the attention page, the view and the matrix that they ask for, and the words that explain them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from gptviz.analysis import heads
from gptviz.analysis.derived import heads as derived
from gptviz.analysis.scores import repeat_score, repeats
from gptviz.figures.heatmap import reading as reading_figure
from gptviz.figures.style import visible
from gptviz.ui.address import kept
from gptviz.ui.attention_view import attention_view, view_of_trace
from gptviz.ui.controls import pick_head, pick_layer, pick_one, slide_pair, switch
from gptviz.ui.head_words import say_shared
from gptviz.ui.show import plot, table_with_csv
from gptviz.view import AttentionView, MappedSource, TraceSource
from gptviz.view import attention_view as make_view

if TYPE_CHECKING:
    from gptviz import LanguageModel
    from gptviz.ui.lesson import Reading

SHOW = {"head": "Heads", "mean": "Mean", "max": "Max", "rollout": "Rollout"}
OVER = {False: "this layer", True: "all layers"}
INDUCTION = "A head that finds the earlier place and reads what came next is called an induction head."
LARGEST_TABLE = 256  # tokens; of a longer text the table alone would take megabytes

RULES = {
    "head": "The weights of every head, as the model computed them: every row sums to 1. Choose one to see it large.",
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
    """Which attention to show, and how."""

    what: str  # head, mean, max or rollout
    layer: int
    head: int
    whole_model: bool
    words: bool
    hide_first: bool
    thresholds: tuple[float, float] | None  # of a low / med / high reading, if that is wanted

    @property
    def is_the_models(self) -> bool:
        """Every head as it was computed, nothing joined, left out or summed up."""
        return self.what == "head" and not self.words and not self.hide_first

    @property
    def unit(self) -> str:
        """What a row is."""
        return "word" if self.words else "token"

    @property
    def title(self) -> str:
        """What is shown, in a few words."""
        if self.what == "head":
            return f"Head {self.layer}.{self.head}"
        if self.what == "rollout":
            return "Rollout through " + ("all layers" if self.whole_model else f"layer {self.layer}")
        return f"{SHOW[self.what]} over " + ("all heads" if self.whole_model else f"the heads of layer {self.layer}")


def choose(model: LanguageModel) -> Choice:
    """All controls of the page, each part of the link."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layer, head = pick_layer(model.gpt.config), pick_head(model.gpt.config)
        what = pick_one("Show", SHOW, "att_show")
        over = what != "head" and pick_one("Over", OVER, "att_over", help="Rollout: through this layer, or all.")
    with st.container(horizontal=True):
        words = switch("Join tokens into words", "att_words")
        hide_first = switch("Hide the first token", "att_first")
        levels = switch("Read as low, med, high", "att_levels")
    thresholds = None
    if levels:
        thresholds = slide_pair("Med begins at, high begins at", 0.0, 1.0, (0.2, 0.5), 0.01, "att_at")
    return Choice(what, layer, head, over, words, hide_first, thresholds)


def look(reading: Reading, choice: Choice) -> heads.View:
    """The chosen matrix. Of a long text no more layers are computed again than it needs."""
    trace, layer = reading.trace, choice.layer
    every = choice.whole_model or choice.what == "rollout"
    weights = trace.weights if every else trace.layer_weights(layer)[None]  # (L or 1, H, T, T)
    view = heads.look(
        weights, TraceSource(trace).mask(), token_bytes(reading), what=choice.what, layer=layer if every else 0,
        head=choice.head, whole_model=choice.whole_model, words=choice.words, hide_first=choice.hide_first,
    )  # fmt: skip
    shown = {"weight [query, key]": view.weights}
    if not choice.is_the_models:
        shown["weight by head [head, query, key]"] = view.heads
    reading.claim(choice.title, shown, derived.look, *recipe(reading, choice))
    return view


def recipe(reading: Reading, choice: Choice) -> tuple:
    """How the matrix is made, for `derived.look`."""
    groups = heads.groups_of(token_bytes(reading), words=True) if choice.words else []
    words = tuple((group.start, group.stop) for group in groups)
    return choice.what, choice.layer, choice.head, choice.whole_model, words, choice.hide_first


def token_bytes(reading: Reading) -> list[bytes]:
    """What each token stands for, which need not be whole characters."""
    return [reading.model.tokenizer.token_bytes(token) for token in reading.trace.ids]


def show(reading: Reading, view: heads.View, choice: Choice) -> None:
    """The attention view: all heads, or the one matrix that sums them up."""
    if choice.what == "head":
        attention_view(every_head(reading, view, choice), key="attention", owner=kept())
        if said := say_shared(reading.config):
            st.caption(said)
        return
    one = make_view(
        np.nan_to_num(view.weights), view.names, masked=view.masked | np.isnan(view.weights), names=[choice.title],
        title=choice.title, rows_sum_to_one=choice.what != "max", unit=choice.unit,
    )  # fmt: skip
    attention_view(one, key="attention_sum", layer_key=None, head_key=None, state_key="summed", owner=kept())


def every_head(reading: Reading, view: heads.View, choice: Choice) -> AttentionView:
    """All heads of all layers, as the model computed them or changed as the page was asked to."""
    if choice.is_the_models:
        return view_of_trace(reading.trace)
    groups = heads.groups_of(token_bytes(reading), choice.words)

    def change(layer: np.ndarray) -> np.ndarray:  # (H, T, T) -> (H, N, N)
        return np.nan_to_num(heads.change(layer, groups, choice.words, choice.hide_first))

    n = len(view.names)
    source = MappedSource(TraceSource(reading.trace), change, (n, n))
    empty = np.isnan(view.heads).all(axis=0)  # the first token's row and column, where they are hidden
    return make_view(source, view.names, masked=view.masked | empty, unit=choice.unit)


def explain(reading: Reading, choice: Choice) -> None:
    """Say by which rule the matrix was made, and where it is not the model's own."""
    heads_of = "all heads of all layers" if choice.whole_model else f"the heads of layer {choice.layer}"
    layers = "all layers" if choice.whole_model else f"layers 0 to {choice.layer}" if choice.layer else "layer 0"
    lines = [RULES[choice.what].format(heads=heads_of, layers=layers)]
    if choice.words:
        lines.append(
            "Tokens are joined into words: **summed over the keys** of a word, **averaged over its queries**. A word "
            "begins at a token that begins with white space or follows white space."
        )
    if choice.hide_first:
        lines.append(
            f":orange[**Not the model’s row:**] the first {choice.unit} is then left out and rows divided by what "
            "remains. A row that looked at nothing else is empty."
        )
    lines.append("Grey cells are masked: their score was −∞ before the softmax.")
    if choice.is_the_models:
        lines.append(say_repeats(reading))
    st.markdown("  \n".join(lines))


def say_repeats(reading: Reading) -> str:
    """Which head does most as an induction head does, on this sentence, in words."""
    found = repeats(reading.trace.ids)
    if not found or len(reading.tokens) > LARGEST_TABLE:  # all layers of a long text would have to be made again
        why = "" if found else "No token comes again here. "
        return f"{why}{INDUCTION} Look for one with “The same letters twice” from “Try another”."
    scores = repeat_score(reading.trace.weights, reading.trace.ids)  # (L, H)
    reading.claim("repeats", {"weight on what followed [layer, head]": scores}, derived.after_repeats)
    layer, head = np.unravel_index(scores.argmax(), scores.shape)
    count = "one token comes" if len(found) == 1 else f"{len(found)} tokens come"
    return (
        f"Here {count} again, and head **{layer}.{head}** looks most at what followed the earlier one: "
        f"**{scores.max():.0%}** of its attention. {INDUCTION} “The same letters twice” from “Try another” "
        "leaves a head nothing else to go by."
    )


def levels(reading: Reading, view: heads.View, choice: Choice) -> None:
    """The matrix read as low, med and high, as lectures write it on the board."""
    low, high = choice.thresholds
    st.subheader(f"{choice.title}, read as low, med, high", anchor="levels")
    st.caption(f"**low** is under {low:g}, **med** from {low:g}, **high** from {high:g}: chosen by us, above.")
    read = heads.read_levels(view.weights, low, high)
    reading.claim("levels", {"level [query, key]": read}, derived.levels, low, high, *recipe(reading, choice))
    names = view.names
    plot(reading_figure(read, names, names, thresholds=(low, high), masked=view.masked, title=choice.title), "levels")


def numbers(reading: Reading, view: heads.View, choice: Choice) -> None:
    """The same as tables, to be saved: the matrix, and what each head of the layer is like."""
    st.subheader(f"{choice.title} in numbers", anchor="numbers")
    if len(view.names) <= LARGEST_TABLE:
        names = [visible(name) for name in view.names]
        table_with_csv(heads.weight_table(view.weights, names, names), "attention.csv", "att_table")
    else:
        st.caption(f"No table beyond {LARGEST_TABLE} tokens. Zoom in above: exact numbers are shown there.")
    st.caption(
        f"What each head of layer {choice.layer} does on this sentence: means over all tokens but the first, which has "
        "no choice."
    )
    frame = heads.head_table(reading.trace.layer_weights(choice.layer), choice.layer)
    habits = {f"{name} [head]": frame[name] for name in derived.HABITS}
    reading.claim(f"heads of layer {choice.layer}", habits, derived.habits, choice.layer)
    table_with_csv(frame.set_index("head"), "heads.csv", "att_heads")
