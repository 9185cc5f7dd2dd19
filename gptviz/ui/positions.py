"""The lesson on positions: the table of a model beside sines and cosines, and a score split into its four terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.figures import positions as figures
from gptviz.figures.matrix import LEAST_CELL, ROOM, matrix
from gptviz.ui.lesson import Reading
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.show import plot, table_with_csv

if TYPE_CHECKING:
    from gptviz.analysis.positions import Positions, Split
    from gptviz.gpt import GPT

MOST = 256  # positions in a picture: of a longer table, the first ones are drawn
HALF = 320  # pixels of the cells of a picture that has another one beside it


def compare(reading: Reading) -> tuple[Positions, Positions]:
    """The model's position vectors and the sinusoidal ones."""
    return compared(reading.model.fingerprint, reading.model.gpt)


@st.cache_resource(max_entries=4, show_spinner="Comparing all positions …")
def compared(fingerprint: str, _gpt: GPT) -> tuple[Positions, Positions]:
    """Once for a model. Shared by all visitors: never change it."""
    from gptviz.analysis.positions import compare_positions

    return compare_positions(_gpt)


@st.cache_data(max_entries=4, show_spinner=False)
def show_vectors(fingerprint: str, _learned: Positions, _fixed: Positions) -> None:
    """Both tables as pictures: of a model, not of a sentence, so that Streamlit shows what it has shown before."""
    learned, fixed = _learned, _fixed
    pairs = (("Learned by this model", learned, "learned"), ("Sines and cosines", fixed, "fixed"))
    for place, (title, table, key) in zip(st.columns(2), pairs, strict=True):
        with place:
            plot(figures.vectors_picture(table.vectors[:MOST], title), key=f"pos_vectors_{key}")
    st.caption(
        f"One row a position, {learned.vectors.shape[1]} numbers each; each picture has a scale of its own."
        f"{cut(learned)} The formula is that of the sines and cosines (Vaswani et al. 2017, section 3.5). The pattern "
        "of the learned table depends on how it began: a model of this app that adds, then normalises, begins its "
        "training with sines in one half of the dimensions and cosines in the other, and training then changes them "
        "freely."
    )


def cut(table: Positions) -> str:
    """Which positions are drawn, where it is not all of them."""
    total = len(table.vectors)
    return f" The first {MOST} of {total:,} positions are drawn." if total > MOST else ""


@st.cache_data(max_entries=4, show_spinner=False)
def show_similarity(fingerprint: str, _learned: Positions, _fixed: Positions) -> None:
    """How alike positions are, as two matrices and by distance."""
    learned, fixed = _learned, _fixed
    pairs = (("Learned by this model", learned, "learned"), ("Sines and cosines", fixed, "fixed"))
    for place, (title, table, key) in zip(st.columns(2), pairs, strict=True):
        with place:
            plot(figures.cosines_picture(table.cosines[:MOST, :MOST], title), key=f"pos_cosines_{key}")
    plot(figures.distance_lines(learned.distance, fixed.distance), key="pos_distance")
    st.caption(say_similarity(learned, fixed))


def say_similarity(learned: Positions, fixed: Positions) -> str:
    """The lines in words."""
    text = (
        "Lines: mean over all pairs that far apart; areas: from the least to the most alike of them. The cosine of "
        "two sinusoidal positions depends on their distance alone, so they have no area; a learned table owes nobody "
        "such a rule."
    )
    if len(learned.vectors) < 2:
        return text
    return text + (
        f" Neighbours have a mean cosine of {learned.distance.mean[1]:.3f} here and {fixed.distance.mean[1]:.3f} there."
    )


def split(reading: Reading, head: int) -> Split:
    """The scores of one head of layer 0 as four terms."""
    from gptviz.analysis.positions import split_scores

    return split_scores(reading.model.gpt, reading.trace, head)


def show_split(reading: Reading, parts: Split, head: int) -> None:
    """Four terms, their sum, and the score of the pass, on one scale."""
    from gptviz.analysis.head_stages import head_stages
    from gptviz.analysis.positions import TERMS

    score = head_stages(reading.trace, 0, head).masked
    seen = np.isfinite(score)
    limit = float(np.abs(np.concatenate([parts.terms[:, seen], parts.total[None, seen]])).max()) or 1.0
    shown = [*zip(TERMS, parts.terms, strict=True), ("sum of the four", parts.total), ("score of the pass", score)]
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
        f"float32; sum and score differ by {off:.1g} at most. Grey: masked."
    )


def about_split(reading: Reading) -> str:
    """Where everything went that is neither token nor position."""
    text = (
        "A query of layer 0 is made of a token vector t and a position vector p, and so is a key: their product is "
        "four products, and the score is exactly their sum. The biases of q and k do not depend on the position: they "
        "are counted with the token."
    )
    if reading.model.gpt.config.norm_order == "post":
        return text
    return text + (
        " This model normalises first. The deviation σ of a token at its position is held at the value that it has: "
        "then the norm is a sum, too, and the split stays exact. It does not say what another position would have done "
        "to σ. The shift of the norm is counted with the token."
    )


def formula(reading: Reading) -> str:
    """What x is, and how the score splits."""
    pre = reading.model.gpt.config.norm_order == "pre"
    whole = r"x = \frac{g\,(t - \bar t\,)}{\sigma} + c + \frac{g\,(p - \bar p\,)}{\sigma}" if pre else "x = t + p"
    return whole + r" \qquad \frac{q_i \cdot k_j}{\sqrt{D}} = \frac{1}{\sqrt{D}}\,(q^t_i + q^p_i) \cdot (k^t_j + k^p_j)"


def show_spread(parts: Split, tokens: int) -> None:
    """How much each term tells the keys of a query apart."""
    from gptviz.analysis.positions import TERMS, spread_in_row

    if tokens < 2:
        st.info("One token has only itself to look at: no term can tell keys apart. Type one word more.")
        return
    names = [*TERMS, "sum of the four"]
    spread = [spread_in_row(term) for term in (*parts.terms, parts.total)]
    widest = int(np.argmax(spread[:4]))
    st.markdown(
        "Softmax sees only what differs between the keys of one query. Measured as standard deviation over the keys "
        f"that a query sees, mean over the queries, the widest term here is **{names[widest]}** with "
        f"{spread[widest]:.2f}; their sum has {spread[4]:.2f}."
    )
    table_with_csv(pd.DataFrame({"term": names, "spread": spread}).set_index("term"), "terms.csv", key="pos_spread")
