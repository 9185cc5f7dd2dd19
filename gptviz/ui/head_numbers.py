"""The lesson on one head, its numbers: one cell worked out, and what the scaling and the mask are for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis import saturation as soft
from gptviz.figures import inside_head as figures
from gptviz.figures.style import visible
from gptviz.ui import head_claims as claims
from gptviz.ui.head_words import UNMASKED
from gptviz.ui.inside_head import View
from gptviz.ui.show import escape, plot, show_source, table_with_csv

if TYPE_CHECKING:
    from gptviz.analysis.head_stages import Cell

JACOBIAN = (
    r"\begin{gathered} J = \mathrm{diag}(p) - p p^{\top} \\[1ex] "  # a line each: side by side they do not fit a phone
    r"\frac{\partial L}{\partial q_i} = \frac{1}{\sqrt{D}}\, k^{\top} J\, v\, g_i \end{gathered}"
)


def show_below(view: View, purpose: str, *sources: Callable) -> None:
    """The page below its stages: one cell, what the scaling is for, and the code, of which `sources` come first.

    Args:
        purpose: title of what switching off the scaling, and the mask where there is one, does.
    """
    from gptviz.analysis import head_stages

    st.header("One cell, computed", anchor="cell")
    show_cell(view)

    st.header(purpose, anchor="scaling")
    st.latex(JACOBIAN)
    show_consequence(view)

    st.subheader("The same, with wider and wider vectors", anchor="widths")
    st.markdown(say_widths())
    show_widths(view)
    show_source(
        *sources, head_stages.head_stages, head_stages.projections, head_stages.work_out, soft.saturation,
        soft.jacobian_norm, soft.over_widths,
    )  # fmt: skip


def show_cell(view: View) -> None:
    """One attention weight, from two vectors to a share of the row."""
    from gptviz.analysis.head_stages import work_out

    found = work_out(view.stages, view.query, view.key, causal=view.causal, scaled=view.scaled)
    asks, asked = escape(view.reading.tokens[view.query]), escape(view.reading.keys[view.key])
    by, of = (" of the decoder", " of the source") if view.reading.side == "cross" else ("", "")
    st.markdown(
        f"How much does token {view.query}{by}, **{asks}**, attend to token {view.key}{of}, **{asked}**? Below, the "
        "two vectors are multiplied element by element; the line adds the products up, and ends at the attention score."
    )
    claims.claim_cell(view, found)
    plot(figures.product_bars(found.products, found.running), key="head_products")
    steps = cell_steps(view, found)
    st.dataframe(steps, key="head_cell", width="stretch", hide_index=True, column_config=COLUMNS)
    off = abs(found.weight - float(view.stages.weights[view.query, view.key]))
    st.caption(
        "Computed in float64 from the q and k of the pass; the model computes in float32. The two weights differ by "
        f"{off:.1g}. Softmax first subtracts the row's largest attention score, which changes no weight and lets no "
        "exponential overflow."
    )
    with st.expander("The whole row of this query"):
        table_with_csv(row_table(view), "row.csv", key="head_row")


COLUMNS = {"value": st.column_config.NumberColumn(format="%.6g")}


def cell_steps(view: View, found: Cell) -> pd.DataFrame:
    """The computation of one cell, a step a row."""
    d = view.stages.q.shape[1]
    allowed = "there is no mask" if view.reading.side in UNMASKED else "allowed"
    forbidden = "forbidden by the mask: −∞" if view.causal else "seen"
    steps = [
        (f"sum of the {d} products: the attention score", "Σ q_d k_d", found.score),
        ("scaled" if view.scaled else "not scaled", f"÷ √{d}" if view.scaled else "× 1", found.scaled),
        ("masked", allowed if found.seen else forbidden, found.scaled if found.seen else -np.inf),
        ("largest attention score of this row", "max over the keys it sees", found.largest),
        ("exponential", "exp(masked − largest)", found.exponential),
        ("row total", "Σ exp(masked − largest)", found.total),
        ("attention weight", "exponential ÷ row total", found.weight),
    ]
    return pd.DataFrame(steps, columns=["step", "how", "value"])


def row_table(view: View) -> pd.DataFrame:
    """Every key of the chosen query, step by step."""
    from gptviz.analysis.head_stages import work_out

    keys = view.reading.keys
    cells = [work_out(view.stages, view.query, key, causal=view.causal, scaled=view.scaled) for key in range(len(keys))]
    claims.claim_row(view, cells)
    return pd.DataFrame(
        {
            "key": [visible(token) for token in keys],
            "score": [each.score for each in cells],
            "scaled": [each.scaled for each in cells],
            "exponential": [each.exponential for each in cells],
            "weight": [each.weight for each in cells],
        },
        index=pd.RangeIndex(len(cells), name="position"),
    )


RULES = {
    "scaled, masked": (True, True),
    "scaling off": (True, False),
    "mask off": (False, True),
    "both off": (False, False),
}  # (causal, scaled)
WITHOUT_A_MASK = {"scaled": (False, True), "scaling off": (False, False)}


def show_consequence(view: View) -> None:
    """What scaling and mask do to this head's softmax on this sentence, from the same q, k and v."""
    s = view.stages
    rules = WITHOUT_A_MASK if view.reading.side in UNMASKED else RULES
    found = {name: soft.saturation(s.q, s.k, s.v, causal=c, scaled=f) for name, (c, f) in rules.items()}
    columns = {name: soft.medians(each, first=int(rules[name][0])) for name, each in found.items()}
    if len(view.reading.keys) < 2:
        st.info("One token has nothing to choose from: its only weight is 1, and no gradient passes. Type more.")
        return
    claims.claim_medians(view, columns)
    table = pd.DataFrame(columns, index=pd.Index(soft.MEASURES.values(), name="median"))
    numbers_of = st.column_config.NumberColumn(format="%.3g")
    st.dataframe(table, key="head_soft", width="stretch", column_config=dict.fromkeys(rules, numbers_of))
    st.markdown(say_consequence(columns, s.q.shape[1], view))


def say_consequence(columns: dict[str, tuple[float, ...]], d: int, view: View) -> str:
    """The table in words."""
    masked = "scaled, masked" in columns
    scaled, unscaled = columns["scaled, masked" if masked else "scaled"], columns["scaling off"]
    text = (
        f"Without the division by √{d}, the median largest weight of head {view.layer}.{view.head} goes from "
        f"{scaled[1]:.3f} to **{unscaled[1]:.3f}**, and the gradient that reaches a query from {scaled[3]:.2g} to "
        f"**{unscaled[3]:.2g}**. "
    )
    if unscaled[3] > scaled[3]:
        text += (
            f"More arrives here, because the division also makes every gradient √{d} times smaller, and this softmax "
            "still lets some through: try another head, and look at the Jacobian alone. "
        )
    return text + (
        f"{'All four' if masked else 'Both'} columns are from the same q, k and v. The gradient is that of the output "
        "in one random direction g a query, of length 1 and the same in all columns"
        + ("; a first query that sees only itself is left out." if masked else ".")
    )


@functools.cache
def over_widths() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The measures over D, scaled and not: the same for everybody, made once in a process."""
    return soft.over_widths(True), soft.over_widths(False)


def show_widths(view: View) -> None:
    """The same measures for random vectors of growing width."""
    scaled, unscaled = over_widths()
    claims.claim_widths(view, scaled, unscaled)
    d = view.stages.q.shape[1]
    for names in (("entropy", "largest"), ("jacobian", "to_q", "to_k")):
        for place, name in zip(st.columns(len(names)), names, strict=True):
            figure = figures.over_widths(
                soft.WIDTHS, scaled[name], unscaled[name], soft.MEASURES[name], own=d,
                logarithmic=name in ("jacobian", "to_q", "to_k"),
            )  # fmt: skip
            with place:
                plot(figure, key=f"head_over_{name}")
    st.caption(
        f"Random here: q, k and v, every number drawn from the standard normal distribution (seed {soft.SEED}), "
        f"{soft.QUERIES} queries on {soft.KEYS} keys each, no mask. Not random: the functions, which are those of the "
        f"table above. Lines are medians, areas reach from the lower to the upper quartile; the dotted line is D = {d} "
        "of this model."
    )


def say_widths() -> str:
    """The pictures over D in words, from their own numbers."""
    (scaled, unscaled), end = over_widths(), -1
    before, after = scaled["to_q"][end, 1], unscaled["to_q"][end, 1]
    return (
        "An attention score is a sum of D products: for random vectors it grows with √D. Softmax then gives everything "
        "to one key, its Jacobian goes to 0, and with it the gradient: no query learns. At "
        f"D = {soft.WIDTHS[end]}, the median gradient on a query is **{after:.1g}** without the division and "
        f"**{before:.2g}** with it. That is the vanishing gradient that dividing by √D prevents."
    )
