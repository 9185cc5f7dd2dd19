"""Where a matrix stands on a page: in its own size, scrolled where that is more than there is room for."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import streamlit as st

from gptviz.figures.matrix import clickable
from gptviz.figures.style import ink_labels
from gptviz.ui.show import chart_config

TALLEST = 620  # pixels of a page that one matrix may take


def plot_matrix(figure: go.Figure, key: str, choose: Callable[[int, int], None] | None = None) -> None:
    """Show a figure of `figures.matrix` under `key`, to be saved as SVG by that name.

    Args:
        choose: gets row and column of a cell that is clicked, before the page runs.
    Streamlit shrinks what is wider than its place. The rule that forbids it names the very place, as widths differ.
    """
    width, height = int(figure.layout.width), int(figure.layout.height)
    config = chart_config(key)
    place = f".st-key-scroll_{key}"
    st.html(
        f"<style>{place} {{ overflow: auto }}\n"
        f"{place} .st-key-{key}, {place} .st-key-{key} > * {{ max-width: none; width: {width}px !important }}</style>"
    )
    with st.container(height=min(TALLEST, height + 20), border=False, key=f"scroll_{key}"):
        if choose is None:
            st.plotly_chart(ink_labels(figure), key=key, theme="streamlit", width="content", config=config)
            return

        def clicked() -> None:
            points = st.session_state[key]["selection"]["points"]
            if points:
                choose(int(points[0]["y"]), int(points[0]["x"]))

        st.plotly_chart(
            ink_labels(clickable(figure)), key=key, theme="streamlit", width="content", config=config,
            on_select=clicked, selection_mode="points",
        )  # fmt: skip
