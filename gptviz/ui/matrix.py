"""Where a matrix stands on a page: in its own size, scrolled where that is more than there is room for."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from gptviz.figures.style import ink_labels

TALLEST = 620  # pixels of a page that one matrix may take


def plot_matrix(figure: go.Figure, key: str) -> None:
    """Show a figure of `figures.matrix` under `key`, to be saved as SVG by that name.

    Streamlit shrinks what is wider than its place. The rule that forbids it names the very place, as widths differ.
    """
    width, height = int(figure.layout.width), int(figure.layout.height)
    config = {"displaylogo": False, "toImageButtonOptions": {"format": "svg", "filename": key, "scale": 2}}
    place = f".st-key-scroll_{key}"
    st.html(
        f"<style>{place} {{ overflow: auto }}\n"
        f"{place} .st-key-{key}, {place} .st-key-{key} > * {{ max-width: none; width: {width}px !important }}</style>"
    )
    with st.container(height=min(TALLEST, height + 20), border=False, key=f"scroll_{key}"):
        st.plotly_chart(ink_labels(figure), key=key, theme="streamlit", width="content", config=config)
