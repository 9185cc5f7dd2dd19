"""The lesson on one head, its stages: what the visitor chose, and each stage as the matrices that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from gptviz.figures.matrix import LEAST_CELL, ROOM, cell, matrix, numbers, row
from gptviz.ui import address
from gptviz.ui.controls import number, switch
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix

if TYPE_CHECKING:
    from gptviz.analysis.head_stages import HeadStages, Projections

STAGES = {  # name in the address: what its button says
    "x": "x",
    "weights": "W",
    "qkv": "q, k, v",
    "scores": "q kᵀ",
    "scale": "÷ √D",
    "mask": "mask",
    "softmax": "softmax",
    "values": "× v",
    "join": "join",
    "project": "project",
}
FORMULAS = {
    "x": r"x \in \mathbb{R}^{T \times C}",
    "weights": r"W_q,\, W_k,\, W_v \in \mathbb{R}^{C \times D} \qquad b_q,\, b_k,\, b_v \in \mathbb{R}^{D}",
    "qkv": r"q = x\, W_q + b_q \qquad k = x\, W_k + b_k \qquad v = x\, W_v + b_v",
    "scores": r"S = q\, k^{\top} \in \mathbb{R}^{T \times T}",
    "scale": r"S' = \frac{q\, k^{\top}}{\sqrt{D}}",
    "mask": r"S''_{ij} = S'_{ij} \;\;\text{if}\;\; j \le i, \qquad -\infty \;\;\text{if}\;\; j > i",
    "softmax": r"A_{ij} = \frac{e^{S''_{ij}}}{\sum_{m} e^{S''_{im}}}",
    "values": r"o = A\, v \in \mathbb{R}^{T \times D}",
    "join": r"\mathrm{concat}(o_0, \ldots, o_{H-1}) \in \mathbb{R}^{T \times C}",
    "project": r"\mathrm{out} = \mathrm{concat}(o_0, \ldots, o_{H-1})\, W_O + b_O",
}
HALF = 320  # pixels of the cells of a picture that has another one beside it


class View(NamedTuple):
    """What the visitor chose, and the numbers that belong to it."""

    reading: Reading
    layer: int
    head: int
    stage: str
    query: int
    key: int
    causal: bool
    scaled: bool
    stages: HeadStages

    @property
    def limit_qkv(self) -> float:
        """The end of the one scale of q, k and v."""
        return largest(self.stages.q, self.stages.k, self.stages.v)


def pick_rules() -> tuple[bool, bool]:
    """Whether the pass is masked, and whether it is scaled."""
    unscaled = switch("Scaling off", key="head_unscaled")
    unmasked = switch("Mask off", key="head_unmasked")
    return not unmasked, not unscaled


def pick_stage() -> str:
    """The stage to show: a button each, and back and on, with the arrow keys, too."""
    names = list(STAGES)
    stage = address.kept().get("head_stage") or names[0]
    if stage not in names:
        address.put_right("head_stage")
    at = names.index(stage)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button("Back", on_click=walk, args=(-1,), shortcut="Left", disabled=at == 0, key="head_back")
        st.button("Next", on_click=walk, args=(1,), shortcut="Right", disabled=at == len(names) - 1, key="head_on")
        for i, name in enumerate(names):
            kind = "primary" if i == at else "secondary"
            st.button(f"{i + 1} {STAGES[name]}", on_click=go_to, args=(name,), type=kind, key=f"head_to_{name}")
    return stage


def go_to(stage: str) -> None:
    """Show a stage; the first one is what an address without a word shows."""
    address.kept()["head_stage"] = "" if stage == next(iter(STAGES)) else stage


def walk(steps: int) -> None:
    """On or back from the stage of this moment: two quick presses are two steps."""
    names = list(STAGES)
    at = names.index(address.kept().get("head_stage") or names[0])
    go_to(names[min(max(at + steps, 0), len(names) - 1)])


def pick_cell(t: int) -> tuple[int, int]:
    """A query and a key, by their positions."""
    with st.container(horizontal=True, gap="medium"):
        query = number("Query, by position", 0, t - 1, t - 1, key="head_query", width=200)
        key = number("Key, by position", 0, t - 1, 0, key="head_key", width=200)
    return query, key


def choose_cell(query: int, key: int) -> None:
    """A cell was clicked."""
    here = address.kept()
    here["head_query"], here["head_key"] = f"{query}", f"{key}"


def look(reading: Reading, layer: int, head: int) -> View:
    """All choices of the page, and the stages of the head under them."""
    from gptviz.analysis.head_stages import head_stages
    from gptviz.trace import WhatIf

    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        causal, scaled = pick_rules()
    trace = reading.trace_with(WhatIf(causal=causal, scaled=scaled))
    stage = pick_stage()
    query, key = pick_cell(len(reading.tokens))
    return View(reading, layer, head, stage, query, key, causal, scaled, head_stages(trace, layer, head))


def largest(*arrays: np.ndarray) -> float:
    """The largest finite absolute value of all: the end of one scale for pictures that are compared."""
    return max(float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in arrays) or 1.0


def show_stage(view: View) -> None:
    """The stage as its matrices, with its formula and what it does, in words."""
    place = list(STAGES).index(view.stage) + 1
    st.subheader(f"{place} of {len(STAGES)}: {TITLES[view.stage]}", anchor="stage")
    st.latex(FORMULAS[view.stage])
    st.markdown(say_stage(view))
    SHOW[view.stage](view)


def tall(view: View, values: np.ndarray, name: str, limit: float | None = None, marked: tuple = ()) -> None:
    """A matrix with a row for each token and a column for each dimension."""
    tokens = view.reading.tokens
    across = "dimensions of the model" if values.shape[1] == view.stages.x.shape[1] else "dimensions of the head"
    figure = matrix(
        values, tokens, numbers(values.shape[1]), title=name, signed=True, limit=limit, axes=("tokens", across),
        marked=[*marked, row(view.query, values)],
    )  # fmt: skip
    plot_matrix(figure, f"head_{name.partition(' ')[0]}")


def square(view: View, name: str, title: str, limit: float, room: int) -> None:
    """A matrix with a row for each query and a column for each key; its cells can be clicked."""
    tokens, values = view.reading.tokens, getattr(view.stages, name)
    figure = matrix(
        values, tokens, tokens, title=title, signed=name != "weights", limit=limit, axes=("queries", "keys"),
        marked=[cell(view.query, view.key)], room=room,
    )  # fmt: skip
    plot_matrix(figure, f"head_{name}", choose_cell)


def squares(view: View, *pairs: tuple[str, str], limit: float | None = None) -> None:
    """Matrices of queries and keys side by side, on one scale unless one of them is the weights."""
    narrow = len(pairs) > 1 and len(view.reading.tokens) * LEAST_CELL <= HALF
    places = st.columns(len(pairs)) if narrow else [st.container() for _ in pairs]
    for place, (name, title) in zip(places, pairs, strict=True):
        with place:
            end = 1.0 if name == "weights" else limit or largest(getattr(view.stages, name))
            square(view, name, title, end, HALF if narrow else ROOM)


def show_x(view: View) -> None:
    """What attention read."""
    tall(view, view.stages.x, "x")


def own_weights(view: View) -> Projections:
    """The weights of the chosen head."""
    from gptviz.analysis.head_stages import projections

    return projections(view.reading.model.gpt, view.layer, view.head)


def show_weights(view: View) -> None:
    """The three projections, each with its bias as one row below it."""
    own = own_weights(view)
    parts = {"q": (own.query, own.query_bias), "k": (own.key, own.key_bias), "v": (own.value, own.value_bias)}
    limit = largest(*(weight for weight, _ in parts.values()))
    biases = largest(*(bias for _, bias in parts.values()))
    for place, (name, (weight, bias)) in zip(st.columns(3), parts.items(), strict=True):
        c, d = weight.shape
        figures_of = {
            f"W_{name}": matrix(weight, numbers(c), numbers(d), title=f"W_{name}", signed=True, limit=limit),
            f"b_{name}": matrix(bias[None], ["bias"], numbers(d), title=f"b_{name}", signed=True, limit=biases),
        }  # fmt: skip
        with place:
            for key, figure in figures_of.items():
                plot_matrix(figure, f"head_{key}")


def show_qkv(view: View) -> None:
    """Query, key and value vectors, on one scale."""
    tall(view, view.stages.q, "q", view.limit_qkv)
    tall(view, view.stages.k, "k", view.limit_qkv)
    tall(view, view.stages.v, "v", view.limit_qkv)


def show_scores(view: View) -> None:
    """q k^T."""
    squares(view, ("scores", "q kᵀ"))


def show_scale(view: View) -> None:
    """Before and after the division, on one scale."""
    title = "q kᵀ / √D" if view.scaled else "q kᵀ, not divided"
    squares(view, ("scores", "q kᵀ"), ("scaled", title), limit=largest(view.stages.scores, view.stages.scaled))


def show_mask(view: View) -> None:
    """Before and after the mask, on one scale."""
    names = ("scaled", "before the mask"), ("masked", "after the mask" if view.causal else "no mask")
    squares(view, *names, limit=largest(view.stages.scaled))


def show_softmax(view: View) -> None:
    """Scores and the weights that they become."""
    squares(view, ("masked", "masked scores"), ("weights", "A, attention weights"))


def show_values(view: View) -> None:
    """Weights, values, and their product."""
    squares(view, ("weights", "A, attention weights"))
    limit = largest(view.stages.v, view.stages.output)
    tall(view, view.stages.v, "v", limit)
    tall(view, view.stages.output, "o = A v", limit)


def own_columns(view: View) -> tuple[range, range]:
    """Where this head stands among the joined ones."""
    d = view.stages.q.shape[1]
    return range(len(view.reading.tokens)), range(view.head * d, (view.head + 1) * d)


def show_join(view: View) -> None:
    """All heads side by side, this one framed."""
    tall(view, view.stages.joined, "joined heads", marked=(own_columns(view),))


def show_project(view: View) -> None:
    """Joined heads, this head's rows of the output projection, and what attention adds."""
    own = own_weights(view)
    d, c = own.output.shape
    first = view.head * d
    tall(view, view.stages.joined, "joined heads", marked=(own_columns(view),))
    rows = [str(first + i) for i in range(d)]
    title = f"rows {first} to {first + d - 1} of W_O"
    plot_matrix(
        matrix(own.output, rows, numbers(c), title=title, signed=True, axes=("of this head", "of the model")),
        "head_W_O",
    )
    tall(view, view.stages.out, "out")


TITLES = {
    "x": "what attention read",
    "weights": "the weights of this head",
    "qkv": "queries, keys and values",
    "scores": "every query times every key",
    "scale": "divided by √D",
    "mask": "the future is masked",
    "softmax": "softmax over each row",
    "values": "a weighted mean of values",
    "join": "the heads side by side",
    "project": "the output projection",
}
SHOW = {
    "x": show_x,
    "weights": show_weights,
    "qkv": show_qkv,
    "scores": show_scores,
    "scale": show_scale,
    "mask": show_mask,
    "softmax": show_softmax,
    "values": show_values,
    "join": show_join,
    "project": show_project,
}


def say_stage(view: View) -> str:
    """What happens at this stage, in words and with its own numbers."""
    (t, d), c = view.stages.q.shape, view.stages.x.shape[1]
    h, config = c // d, view.reading.model.gpt.config
    came = "the sum of token and position vectors" if view.layer == 0 else f"the stream after block {view.layer - 1}"
    came = came if config.norm_order == "post" else f"{came}, normalised first"
    return {
        "x": f"One row a token, C = {c} numbers each: {came}. All {h} heads of layer {view.layer} read the same x. "
        "The row of the chosen query is framed.",
        "weights": f"Learned in training, the same for every sentence: {c} × {d} numbers each, one scale for the "
        "three. Every head has three of its own. The biases below have a scale of their own.",
        "qkv": f"Each token asks with its query, is found by its key, and gives its value: D = {d} numbers each. "
        "The three pictures are on one scale.",
        "scores": f"{t} × {t} products: row i, column j is the query of token i times the key of token j. Click a "
        "cell, or choose it above, and see below how it adds up.",
        "scale": f"√{d} = {d**0.5:.4g}. " + (
            "The same picture, paler: both are on one scale. What that is for is measured at the end of this page."
            if view.scaled else "**Scaling is off:** the scores go on as they are, in every layer of this pass."
        ),
        "mask": "Grey is −∞: a query does not see the keys after it. Nothing else changes." if view.causal else
        "**The mask is off:** every query sees every key, in every layer of this pass.",
        "softmax": f"Exponentials, divided by the sum of their row: positive weights that sum to 1. The chosen row "
        f"sums to {view.stages.weights[view.query].sum(dtype=np.float64):.6f}; its largest weight is "
        f"{view.stages.weights[view.query].max():.4f}.",
        "values": "Row i of the result is the mean of the values, weighted with row i of A. v and o are on one scale.",
        "join": f"{h} heads of {d} numbers make {c}: this head's columns are framed. Nothing is computed here.",
        "project": f"One more matrix mixes the heads: {c} × {c} numbers, of which only the {d} rows below read this "
        f"head. What attention adds to the stream is the sum over all {h} heads, plus one bias.",
    }[view.stage]  # fmt: skip
