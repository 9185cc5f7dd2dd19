"""The lesson on positions: the table of a model beside sines and cosines, and a score split into its four terms."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis.derived import vectors as derived
from gptviz.figures import positions as figures
from gptviz.figures.matrix import LEAST_CELL, ROOM, matrix
from gptviz.ui.controls import pick_head
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.show import letters, offer, plot, show_source, table_with_csv

if TYPE_CHECKING:
    from gptviz.analysis.positions import Positions, Split
    from gptviz.stack import Stack

MOST = 256  # positions in a picture: of a longer table, the first ones are drawn
SINES = (  # formulas of a line each: two in one would be cut off on a phone
    r"\begin{aligned} PE_{p,\,2i} &= \sin\frac{p}{10000^{2i/C}} \\[1ex] "
    r"PE_{p,\,2i+1} &= \cos\frac{p}{10000^{2i/C}} \end{aligned}"
)
HALF = 320  # pixels of the cells of a picture that has another one beside it


def show_lesson(reading: Reading) -> None:
    """The whole page below its title, for a model that has learned a vector for every place."""
    from gptviz.analysis import positions

    learned, fixed = compare(reading)
    st.header("A vector for every place", anchor="vectors")
    st.latex(SINES)
    show_vectors(reading.model.fingerprint, letters(), learned, fixed)

    st.header("Which places are alike", anchor="similarity")
    show_similarity(reading.model.fingerprint, letters(), learned, fixed)
    offer_tables({"learned": learned, "fixed": fixed})

    st.header("What an attention score is made of in layer 0", anchor="split")
    st.latex(formula(reading))
    st.markdown(about_split(reading))
    head = pick_head(reading.config)
    parts = split(reading, head)
    show_spread(reading, parts, head)
    show_split(reading, parts, head)
    show_source(
        positions.split_scores, positions.layer_0_parts, positions.sinusoidal_positions, positions.by_distance,
        positions.spread_in_row,
    )  # fmt: skip


def compare(reading: Reading) -> tuple[Positions, Positions]:
    """The model's position vectors and the sinusoidal ones."""
    both = compared(reading.model.fingerprint, reading.stack)
    shown = {}
    for name, each in zip(("learned", "fixed"), both, strict=True):
        shown |= quantities(name, each)
    reading.claim("positions", shown, derived.tables)
    return both


def quantities(name: str, table: Positions) -> dict[str, np.ndarray]:
    """What is shown of one table, for the badge to check."""
    shown = {f"{name} vectors [position, dimension]": table.vectors}
    shown[f"{name} cosines [position, position]"] = table.cosines
    lines = table.distance._asdict().items()
    return shown | {f"{name}, {measure} cosine [distance]": values for measure, values in lines}


@st.cache_resource(max_entries=4, show_spinner="Comparing all positions …")
def compared(fingerprint: str, _stack: Stack) -> tuple[Positions, Positions]:
    """Once for a model. Shared by all visitors: never change it."""
    from gptviz.analysis.positions import compare_positions

    return compare_positions(_stack)


@st.cache_data(max_entries=4, show_spinner=False)
def show_vectors(fingerprint: str, times: float, _learned: Positions, _fixed: Positions) -> None:
    """Both tables as pictures: of a model, not of a sentence, so that Streamlit shows what it has shown before."""
    learned, fixed = _learned, _fixed
    pairs = (("Learned by this model", learned, "learned"), ("Sines and cosines", fixed, "fixed"))
    for place, (title, table, key) in zip(st.columns(2), pairs, strict=True):
        with place:
            plot(figures.vectors_picture(table.vectors[:MOST], title), key=f"pos_vectors_{key}", times=times)
    st.caption(
        f"One row a position, {learned.vectors.shape[1]} numbers each; each picture has a scale of its own."
        f"{cut(learned)} The formula is that of the sines and cosines (Vaswani et al. 2017, section 3.5). The pattern "
        "of the learned table depends on how it began: a model of this app that adds, then normalises, begins its "
        "training with sines in one half of the dimensions and cosines in the other, and training then changes them "
        "freely."
    )


def offer_tables(tables: dict[str, Positions]) -> None:
    """Their pictures can be saved, although Streamlit shows what it has shown before: they are made anew then."""
    learned = tables.get("learned")
    for key, table in tables.items():
        title = {"learned": "Learned by this model", "fixed": "Sines and cosines"}[key]
        offer(f"pos_vectors_{key}", functools.partial(figures.vectors_picture, table.vectors[:MOST], title))
        offer(f"pos_cosines_{key}", functools.partial(figures.cosines_picture, table.cosines[:MOST, :MOST], title))
    own = learned.distance if learned else None
    offer("pos_distance", functools.partial(figures.distance_lines, own, tables["fixed"].distance))


def cut(table: Positions) -> str:
    """Which positions are drawn, where it is not all of them."""
    total = len(table.vectors)
    return f" The first {MOST} of {total:,} positions are drawn." if total > MOST else ""


@st.cache_data(max_entries=4, show_spinner=False)
def show_similarity(fingerprint: str, times: float, _learned: Positions, _fixed: Positions) -> None:
    """How alike positions are, as two matrices and by distance."""
    learned, fixed = _learned, _fixed
    pairs = (("Learned by this model", learned, "learned"), ("Sines and cosines", fixed, "fixed"))
    for place, (title, table, key) in zip(st.columns(2), pairs, strict=True):
        with place:
            plot(figures.cosines_picture(table.cosines[:MOST, :MOST], title), key=f"pos_cosines_{key}", times=times)
    plot(figures.distance_lines(learned.distance, fixed.distance), key="pos_distance", times=times)
    st.caption(say_similarity(learned, fixed))


def say_similarity(learned: Positions, fixed: Positions) -> str:
    """The lines in words."""
    text = (
        "Lines: mean over all pairs that far apart; areas: from the least to the most alike of them. The cosine of "
        "two sinusoidal positions depends on their distance alone, so they have no area; in a learned table, pairs "
        "of the same distance may differ."
    )
    if len(learned.vectors) < 2:
        return text
    return text + (
        f" Neighbours have a mean cosine of {learned.distance.mean[1]:.3f} here and {fixed.distance.mean[1]:.3f} there."
    )


def read_fixed(reading: Reading) -> Positions:
    """The position vectors of a model that learns none."""
    fixed = fixed_positions(reading.model.fingerprint, reading.stack)
    reading.claim("positions", quantities("fixed", fixed), derived.tables)
    return fixed


@st.cache_resource(max_entries=4, show_spinner=False)
def fixed_positions(fingerprint: str, _stack: Stack) -> Positions:
    """The position vectors of a model that learns none. Shared by all visitors: never change it."""
    from gptviz.analysis.positions import own_positions

    return own_positions(_stack)


@st.cache_data(max_entries=4, show_spinner=False)
def show_fixed_vectors(fingerprint: str, times: float, _fixed: Positions) -> None:
    """The table of a model that learns none, as a picture."""
    fixed = _fixed
    plot(figures.vectors_picture(fixed.vectors[:MOST], "Sines and cosines"), key="pos_vectors_fixed", times=times)
    st.caption(
        f"One row a position, {fixed.vectors.shape[1]} numbers each.{cut(fixed)} Nothing here was learned: the formula "
        "makes these vectors (Vaswani et al. 2017, section 3.5), the same ones for the encoder's tokens and for the "
        "decoder's. From left to right the waves get longer, from 2π places to nearly 10,000 times as many."
    )


@st.cache_data(max_entries=4, show_spinner=False)
def show_fixed_similarity(fingerprint: str, times: float, _fixed: Positions) -> None:
    """How alike the positions of such a model are."""
    fixed = _fixed
    left, right = st.columns(2)
    with left:
        cosines = figures.cosines_picture(fixed.cosines[:MOST, :MOST], "Sines and cosines")
        plot(cosines, key="pos_cosines_fixed", times=times)
    with right:
        plot(figures.distance_lines(None, fixed.distance), key="pos_distance", times=times)
    st.caption(say_fixed_similarity(fixed.distance.mean))


def say_fixed_similarity(mean: np.ndarray) -> str:
    """The line (P,) in words."""
    far = [f"{mean[n]:.3f} at {n} places" for n in (2, 10, 30) if n < len(mean)]
    text = (
        "The cosine of two of these vectors depends on their distance alone: move both by as many places, and every "
        "angle turns by as much for the one as for the other. So each diagonal of the matrix has one colour."
    )
    if len(mean) > 1:
        text += f" Neighbours have a cosine of {mean[1]:.3f}{''.join(', ' + each for each in far)}."
    return text


def split(reading: Reading, head: int) -> Split:
    """The scores of one head of layer 0 as four terms."""
    from gptviz.analysis.positions import split_scores

    return split_scores(reading.stack, reading.trace, head)


def show_split(reading: Reading, parts: Split, head: int) -> None:
    """Four terms, their sum, and the score of the pass, on one scale."""
    from gptviz.analysis.head_stages import head_stages
    from gptviz.analysis.positions import TERMS

    score = head_stages(reading.trace, 0, head).masked
    claimed = {"term [term, query, key]": parts.terms, "sum of the four [query, key]": parts.total}
    reading.claim("terms", claimed | {"score [query, key]": score}, derived.terms, head)
    seen = np.isfinite(score)
    limit = float(np.abs(np.concatenate([parts.terms[:, seen], parts.total[None, seen]])).max()) or 1.0
    sums = ("sum of the four", parts.total), ("attention score of the pass", score)
    shown = [*zip(TERMS, parts.terms, strict=True), *sums]
    few = len(reading.tokens) * LEAST_CELL <= HALF
    places = [place for _ in range(3) for place in st.columns(2)] if few else [st.container() for _ in shown]
    for i, (place, (title, values)) in enumerate(zip(places, shown, strict=True)):
        figure = matrix(
            np.where(seen, values, -np.inf), reading.tokens, reading.tokens, title=title, signed=True, limit=limit,
            axes=("queries", "keys"), room=HALF if few else ROOM,
        )  # fmt: skip
        with place:
            plot_matrix(figure, f"pos_term_{i}")
    off = float(np.abs(parts.total - score)[seen].max())
    st.caption(
        "All six on one scale. The terms are computed in float64 from the model's weights, the score by the model in "
        f"float32; sum and score differ by {off:.1g} at most.{' Grey: masked.' if reading.trace.what_if.causal else ''}"
    )


def about_split(reading: Reading) -> str:
    """Where everything went that is neither token nor position."""
    text = (
        "A query of layer 0 is made of a token vector t and a position vector p, and so is a key: their product is "
        "four products, and the attention score is exactly their sum."
    )
    stack = reading.stack
    if stack.config.bias != "none":
        text += " The biases of q and k do not depend on the position: they are counted with the token."
    if stack.token_scale != 1:
        text += f" The token vector is its row of the table times √{stack.config.d_model} = {stack.token_scale:.4g}."
    if stack.first_norm is None:
        return text
    held = "deviation" if stack.config.norm == "layer" else "root mean square"
    text += (
        f" This model normalises first. The {held} σ of a token at its position is held at the value that it has: "
        "then the norm is a sum, too, and the split stays exact. It does not say what another position would have done "
        "to σ."
    )
    shifted = stack.config.norm == "layer" and stack.config.bias == "all"
    return text + (" The shift of the norm is counted with the token." if shifted else "")


def formula(reading: Reading) -> str:
    """What x is, and how the score splits."""
    config = reading.config
    whole = "x = t + p"
    if config.norm_order == "pre":
        less_t, less_p = (r"(t - \bar t\,)", r"(p - \bar p\,)") if config.norm == "layer" else ("t", "p")
        shift = " + c" if config.norm == "layer" and config.bias == "all" else ""
        whole = rf"x = \frac{{g\,{less_t}}}{{\sigma}}{shift} + \frac{{g\,{less_p}}}{{\sigma}}"
    score = r"\frac{q_i \cdot k_j}{\sqrt{D}} = \frac{(q^t_i + q^p_i) \cdot (k^t_j + k^p_j)}{\sqrt{D}}"
    return rf"\begin{{gathered}} {whole} \\[1ex] {score} \end{{gathered}}"


def show_spread(reading: Reading, parts: Split, head: int) -> None:
    """How much each term tells the keys of a query apart."""
    from gptviz.analysis.positions import TERMS, spread_in_row

    if len(reading.tokens) < 2:
        st.info("One token has only itself to look at: no term can tell keys apart. Type one word more.")
        return
    names = [*TERMS, "sum of the four"]
    causal = reading.trace.what_if.causal
    spread = [spread_in_row(term, causal) for term in (*parts.terms, parts.total)]
    reading.claim("spread of the terms", {"spread [term]": spread}, derived.terms, head)
    widest = int(np.argmax(spread[:4]))
    st.markdown(
        "Softmax sees only what differs between the keys of one query. Measured as standard deviation over the keys "
        f"that a query sees, mean over the queries, the widest term here is **{names[widest]}** with "
        f"{spread[widest]:.2f}; their sum has {spread[4]:.2f}."
    )
    table_with_csv(pd.DataFrame({"term": names, "spread": spread}).set_index("term"), "terms.csv", key="pos_spread")
