"""Where a matrix stands on a page: in its own size, scrolled where that is more than there is room for.

Drawn by assets/matrix.js: a chart of Streamlit's reports no click on a cell, is drawn anew at each change, and lets its
names scroll away with its cells.
"""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import streamlit as st

from gptviz.figures.matrix import Matrix
from gptviz.figures.style import ink_labels
from gptviz.ui.component import component
from gptviz.ui.show import chart_config, offer

TALLEST = 620  # pixels of a page that one chart may take
draw = component("gptviz_matrix", ["matrix"], ["picture", "matrix"])


def plot_matrix(matrix: Matrix, key: str, choose: Callable[[int, int], None] | None = None) -> None:
    """Show a matrix under `key`, to be saved as SVG by that name.

    Args:
        choose: gets row and column of a cell that is clicked, before the page runs.
    """

    def clicked() -> None:
        place = st.session_state[key].cell
        if choose is not None and is_cell(place, matrix.values.shape):
            choose(*place)

    offer(key, matrix)
    draw(key=key, data=matrix.encode(key, choose is not None), on_cell_change=clicked)


def is_cell(place: object, shape: tuple[int, int]) -> bool:
    """Whether this is [row, column] of a matrix: a browser may send anything."""
    return (
        isinstance(place, list)
        and len(place) == 2
        and all(type(at) is int and 0 <= at < count for at, count in zip(place, shape, strict=True))
    )


def plot_wide(figure: go.Figure, key: str) -> None:
    """Show a chart that has a width of its own under `key`, to be saved as SVG by that name.

    Streamlit shrinks what is wider than its place. The rule that forbids it names the very place, as widths differ. In
    assets/page.css, the vertical axis stays in view while the chart is scrolled.
    """
    offer(key, figure)
    width, height = int(figure.layout.width), int(figure.layout.height)
    place = f".st-key-scroll_{key}"
    st.html(
        f"<style>{place} {{ overflow: auto; scroll-timeline: --gptviz-wide x; container-type: inline-size }}\n"
        f"{place} {{ --gptviz-width: {width}px }}\n"
        f"{place} .st-key-{key}, {place} .st-key-{key} > * {{ max-width: none; width: {width}px !important }}</style>"
    )
    with st.container(height=min(TALLEST, height + 20), border=False, key=f"scroll_{key}"):
        st.plotly_chart(ink_labels(figure), key=key, theme="streamlit", width="content", config=chart_config(key))
