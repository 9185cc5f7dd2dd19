"""The lesson on one head, its stages: what the visitor chose, and each stage as the matrices that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from gptviz.figures.matrix import LEAST_CELL, ROOM, cell, matrix, numbers, row
from gptviz.ui import address, head_claims, head_turn
from gptviz.ui.controls import number, switch
from gptviz.ui.head_steps import pick_stage, stages_of
from gptviz.ui.head_words import NO_MASK, UNMASKED, formula_of, heads_of, say_stage, title_of
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.strip import token_strip

if TYPE_CHECKING:
    from gptviz.analysis.head_stages import HeadStages, Projections

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


def pick_rules(side: str) -> tuple[bool, bool]:
    """Whether the pass is masked, and whether it is scaled."""
    unscaled = switch("Scaling off", key="head_unscaled")
    if side in UNMASKED:
        st.toggle("Mask off", key="head_no_mask", disabled=True, help=NO_MASK[side])
        return False, not unscaled
    unmasked = switch("Mask off", key="head_unmasked")
    return not unmasked, not unscaled


def pick_cell(t: int, s: int) -> tuple[int, int]:
    """One of `t` queries and one of `s` keys, by their positions."""
    with st.container(horizontal=True, gap="medium"):
        query = number("Query, by position", 0, t - 1, t - 1, key="head_query", width=200)
        key = number("Key, by position", 0, s - 1, 0, key="head_key", width=200)
    return query, key


def show_tokens(reading: Reading) -> None:
    """Whose queries and whose keys: the tokens of one attention of an encoder-decoder."""
    read = {"encoder": "The encoder reads", "decoder": "The decoder reads", "cross": "Queries: the decoder reads"}
    st.caption(read[reading.side])
    token_strip(reading.tokens, key="tokens")
    if reading.side == "cross":
        st.caption("Keys and values: the encoder has read")
        token_strip(reading.keys, key="keys")


def choose_cell(query: int, key: int) -> None:
    """A cell was clicked."""
    here = address.kept()
    here["head_query"], here["head_key"] = f"{query}", f"{key}"


def look(reading: Reading, layer: int, head: int) -> View:
    """All choices of the page, and the stages of the head under them."""
    from gptviz.analysis.head_stages import head_stages
    from gptviz.trace import WhatIf

    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        causal, scaled = pick_rules(reading.side)
    trace = reading.trace_with(WhatIf(causal=causal, scaled=scaled))
    stage = pick_stage(reading.config)
    query, key = pick_cell(len(reading.tokens), len(reading.keys))
    view = View(reading, layer, head, stage, query, key, causal, scaled, head_stages(trace, layer, head))
    head_claims.claim_stages(view)
    return view


def largest(*arrays: np.ndarray) -> float:
    """The largest finite absolute value of all: the end of one scale for pictures that are compared."""
    return max(float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in arrays) or 1.0


def show_stage(view: View) -> None:
    """The stage as its matrices, with its formula and what it does, in words."""
    stages = list(stages_of(view.reading.config))
    with st.container(key="head_now"):
        st.subheader(f"{stages.index(view.stage) + 1} of {len(stages)}: {title_of(view)}", anchor="stage")
        st.latex(formula_of(view))
        st.markdown(say_stage(view))
        SHOW[view.stage](view)


def tall(view: View, values: np.ndarray, name: str, limit: float | None = None, marked: tuple = ()) -> None:
    """A matrix with a row for each query and a column for each dimension."""
    rows_of(view.reading.tokens, view, values, name, limit, (*marked, row(view.query, values)))


def tall_of_keys(view: View, values: np.ndarray, name: str, limit: float) -> None:
    """The same with a row for each key."""
    chosen = view.key if view.reading.side == "cross" else view.query  # one token, where there is one sentence
    rows_of(view.reading.keys, view, values, name, limit, (row(chosen, values),))


def rows_of(
    tokens: tuple[str, ...], view: View, values: np.ndarray, name: str, limit: float | None, marked: tuple
) -> None:
    """A matrix with a row for each of `tokens`."""
    across = "dimensions of the model" if values.shape[1] == view.stages.x.shape[1] else "dimensions of the head"
    figure = matrix(
        values, tokens, numbers(values.shape[1]), title=name, signed=True, limit=limit, axes=("tokens", across),
        marked=marked,
    )  # fmt: skip
    plot_matrix(figure, f"head_{name.partition(' ')[0].rstrip(',').replace('′', '_turned')}")


def square(view: View, name: str, title: str, limit: float, room: int) -> None:
    """A matrix with a row for each query and a column for each key; its cells can be clicked."""
    values = getattr(view.stages, name)
    figure = matrix(
        values, view.reading.tokens, view.reading.keys, title=title, signed=name != "weights", limit=limit,
        axes=("queries", "keys"), marked=[cell(view.query, view.key)], room=room,
    )  # fmt: skip
    plot_matrix(figure, f"head_{name}", choose_cell)


def squares(view: View, *pairs: tuple[str, str], limit: float | None = None) -> None:
    """Matrices of queries and keys side by side, on one scale unless one of them is the weights."""
    narrow = len(pairs) > 1 and max(view.stages.weights.shape) * LEAST_CELL <= HALF
    places = st.columns(len(pairs)) if narrow else [st.container() for _ in pairs]
    for place, (name, title) in zip(places, pairs, strict=True):
        with place:
            end = 1.0 if name == "weights" else limit or largest(getattr(view.stages, name))
            square(view, name, title, end, HALF if narrow else ROOM)


def show_x(view: View) -> None:
    """What attention read."""
    if view.reading.side != "cross":
        tall(view, view.stages.x, "x")
        return
    limit = largest(view.stages.x, view.stages.memory)
    tall(view, view.stages.x, "x, the decoder's stream", limit)
    tall_of_keys(view, view.stages.memory, "m, the encoder's output", limit)


def own_weights(view: View) -> Projections:
    """The weights of the chosen head."""
    from gptviz.analysis.head_stages import projections

    own = projections(view.reading.stack.attentions[view.layer], view.head)
    head_claims.claim_weights(view, own)
    return own


def show_weights(view: View) -> None:
    """The three projections, each with its bias, if there is one, as one row below it."""
    own = own_weights(view)
    parts = {"q": (own.query, own.query_bias), "k": (own.key, own.key_bias), "v": (own.value, own.value_bias)}
    limit = largest(*(weight for weight, _ in parts.values()))
    biases = largest(*(bias for _, bias in parts.values() if bias is not None), np.zeros(1))
    read = dict.fromkeys("qkv", "x") | (dict.fromkeys("kv", "m") if view.reading.side == "cross" else {})
    for place, (name, (weight, bias)) in zip(st.columns(3), parts.items(), strict=True):
        whose, (c, d) = whose_weights(view, own, name), weight.shape
        figures_of = {
            f"W_{name}": matrix(
                weight, numbers(c), numbers(d), title=f"W_{name}{whose}", signed=True, limit=limit,
                axes=(f"of {read[name]}", f"of {name}"),
            ),
        }  # fmt: skip
        if bias is not None:
            shown = matrix(bias[None], ["bias"], numbers(d), title=f"b_{name}{whose}", signed=True, limit=biases)
            figures_of[f"b_{name}"] = shown
        with place:
            for key, figure in figures_of.items():
                plot_matrix(figure, f"head_{key}")


def whose_weights(view: View, own: Projections, name: str) -> str:
    """Where heads share keys and values: which heads have these weights."""
    if len(own.group) == 1:
        return ""
    return f" of head {view.head}" if name == "q" else f" of {heads_of(own.group)}"


def show_qkv(view: View) -> None:
    """Query, key and value vectors, on one scale."""
    rotary = view.reading.config.positions == "rotary"
    q, k = head_turn.unturned(view) if rotary else (view.stages.q, view.stages.k)
    if rotary:
        head_claims.claim_unturned(view, q, k)
    tall(view, q, "q", view.limit_qkv)
    tall_of_keys(view, k, "k", view.limit_qkv)
    tall_of_keys(view, view.stages.v, "v", view.limit_qkv)


def show_turn(view: View) -> None:
    """Queries and keys before and after they are turned, on one scale, and by how much."""
    before = head_turn.unturned(view)
    limit = largest(before.q, before.k, view.stages.q, view.stages.k)
    tall(view, before.q, "q, as projected", limit)
    tall(view, view.stages.q, "q′, turned", limit)
    tall_of_keys(view, before.k, "k, as projected", limit)
    tall_of_keys(view, view.stages.k, "k′, turned", limit)
    head_turn.show_angles(view, before)


def show_scores(view: View) -> None:
    """q k^T."""
    squares(view, ("scores", "q kᵀ"))


def show_scale(view: View) -> None:
    """Before and after the division, on one scale."""
    title = "q kᵀ / √D" if view.scaled else "q kᵀ, not divided"
    squares(view, ("scores", "q kᵀ"), ("scaled", title), limit=largest(view.stages.scores, view.stages.scaled))


def show_mask(view: View) -> None:
    """Before and after the mask, on one scale; where there is none, the scores."""
    if view.reading.side in UNMASKED:
        squares(view, ("masked", "no mask: the scores go on"))
        return
    names = ("scaled", "before the mask"), ("masked", "after the mask" if view.causal else "no mask")
    squares(view, *names, limit=largest(view.stages.scaled))


def show_softmax(view: View) -> None:
    """Scores and the weights that they become."""
    title = "scores" if view.reading.side in UNMASKED else "masked scores"
    squares(view, ("masked", title), ("weights", "A, attention weights"))


def show_values(view: View) -> None:
    """Weights, values, and their product."""
    squares(view, ("weights", "A, attention weights"))
    limit = largest(view.stages.v, view.stages.output)
    tall_of_keys(view, view.stages.v, "v", limit)
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


SHOW = {
    "x": show_x,
    "weights": show_weights,
    "qkv": show_qkv,
    "turn": show_turn,
    "scores": show_scores,
    "scale": show_scale,
    "mask": show_mask,
    "softmax": show_softmax,
    "values": show_values,
    "join": show_join,
    "project": show_project,
}
