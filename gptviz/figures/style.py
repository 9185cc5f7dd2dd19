"""The looks that all figures share: colour scales, sizes, and tokens written literally. Knows nothing about models."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.view.text import visible

# Zero is the same dark ink in every heatmap, in the light and in the dark theme; brighter is more. Lightness rises
# steadily from end to end (and to both ends of DIVERGING), so that the order survives colour blindness and grey print.
SEQUENTIAL: list[list] = [
    [0.0, "rgb(19,32,54)"],
    [0.125, "rgb(24,54,87)"],
    [0.25, "rgb(24,79,113)"],
    [0.375, "rgb(25,106,130)"],
    [0.5, "rgb(38,133,138)"],
    [0.625, "rgb(74,160,139)"],
    [0.75, "rgb(127,186,138)"],
    [0.875, "rgb(188,210,146)"],
    [1.0, "rgb(250,236,173)"],
]
DIVERGING: list[list] = [
    [0.0, "rgb(166,219,255)"],
    [0.125, "rgb(101,178,230)"],
    [0.25, "rgb(52,128,186)"],
    [0.375, "rgb(30,77,120)"],
    [0.5, "rgb(19,32,54)"],
    [0.625, "rgb(101,55,37)"],
    [0.75, "rgb(173,89,38)"],
    [0.875, "rgb(231,138,66)"],
    [1.0, "rgb(255,203,138)"],
]
# Okabe and Ito's colours, which the colour-blind can tell apart, in an order that keeps neighbours different.
CATEGORICAL: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
LESS, MORE = "#56a0d3", "#e08a3c"  # below and above zero, where a bar has a sign
FONT_SIZE = 14  # labels and tokens
SMALL_FONT_SIZE = 12
GRID = "rgba(128,128,128,0.25)"  # seen on white and on black
TRANSPARENT = "rgba(0,0,0,0)"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Streamlit puts the strongest text colour of its theme, light or dark, in the place of this very colour. Anywhere else
# it is what it says: nearly black.
INK = "#000037"
# Next to nothing: Plotly's own templates take 10 ms and 6 kB a figure. Not none at all: inside Streamlit that would be
# its template of placeholder colours, which are wrong in an exported figure.
TEMPLATE = go.layout.Template(data={"heatmap": [{"colorbar": {"outlinewidth": 0}}]})


def area(x: Sequence[float], lowest: Sequence[float], highest: Sequence[float], colour: str) -> dict:
    """The room between two lines over `x`, as a trace: filled, without a name."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*lowest, *reversed(highest)],
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.18,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def plotly_text(token: str) -> str:
    """A token for labels and hover texts: visible, and none of it read as the little HTML that Plotly knows."""
    return html.escape(visible(token), quote=False)


def minus(text: str) -> str:
    """A number, written by Python, as people read it: with the true minus sign, which is as wide as a plus."""
    return text.replace("-", "−")


def cell_texts(values: np.ndarray, form: str) -> list[list[str]]:
    """What stands in the cells of a small matrix, (N, M); nothing where there is no number. Plotly writes hyphens."""
    return [[minus(f"{v:{form}}") if math.isfinite(v) else "" for v in row] for row in values.tolist()]


def scientific(value: float) -> str:
    """A positive number of any size: 1.5·10⁻⁶; 0 as it is."""
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}·10{str(int(power)).translate(RAISED)}" if value else "0"


def token_axis(tokens: Sequence[str], **changes: object) -> dict:
    """An axis with one tick a token. Positions are numbers: a category axis would merge tokens that occur twice."""
    axis = {
        "tickmode": "array",
        "tickvals": list(range(len(tokens))),
        "ticktext": [plotly_text(token) for token in tokens],
        "tickfont": {"size": FONT_SIZE if len(tokens) <= 40 else SMALL_FONT_SIZE - 2},
        "showgrid": False,
        "zeroline": False,
    }
    return axis | changes


def base_layout(fig: go.Figure, height: int | None = None, title: str | None = None) -> go.Figure:
    """Give a figure our looks, in place, and return it: transparent, so that it suits light and dark; tight margins."""
    layout = fig.layout  # set one by one: `update_layout` takes three times as long
    layout.template = TEMPLATE
    layout.height = height
    layout.title = {"text": title, "font": {"size": FONT_SIZE + 2}} if title else None
    layout.paper_bgcolor = layout.plot_bgcolor = TRANSPARENT
    layout.colorway = CATEGORICAL
    layout.font = layout.hoverlabel.font = {"size": FONT_SIZE, "color": INK}
    layout.margin = {"l": 8, "r": 8, "t": 40 if title else 12, "b": 8}
    layout.legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    for axis in (*fig.select_xaxes(), *fig.select_yaxes()):
        axis.gridcolor = axis.zerolinecolor = GRID
        axis.automargin = True
    return fig


def inked(part: dict) -> dict:
    """An axis or a colour axis, as a dictionary, with its labels in `INK`: for layouts that are dictionaries."""
    if "colorbar" in part:
        return part | {"colorbar": inked(part["colorbar"])}
    ink, title = {"color": INK}, part.get("title") or {}
    named = {"title": title | {"font": title.get("font", {}) | ink}} if title.get("text") else {}
    return part | {"tickfont": part.get("tickfont", {}) | ink} | named


def enlarged(fig: go.Figure, times: float) -> go.Figure:
    """A copy whose letters are `times` as large, whoever set their size; boxes, lines and the height stay."""
    return type(fig)(with_letters(fig.to_plotly_json(), times), skip_invalid=True)


def with_letters(part: Any, times: float) -> Any:
    """A part of a figure with larger letters: the sizes of everything called a font."""
    if isinstance(part, dict):
        return {
            name: value | {"size": round(times * value.get("size", FONT_SIZE), 1)}
            if name.endswith("font") and isinstance(value, dict)
            else with_letters(value, times)
            for name, value in part.items()
        }
    return [with_letters(each, times) for each in part] if isinstance(part, list | tuple) else part


def ink_labels(fig: go.Figure) -> go.Figure:
    """Write what stands at the axes and the colour bar in `INK`, in place, and return the figure.

    For the app: a theme's grey for these labels comes before the colour of the figure's font. A figure whose layout was
    `inked` has it already: asking Plotly for every label takes 6 ms.
    """
    if fig.layout.xaxis.tickfont.color == INK:
        return fig
    bars = (axis.colorbar for axis in fig.select_coloraxes() if axis.colorscale)  # Plotly makes one up where none is
    for labelled in (*fig.select_xaxes(), *fig.select_yaxes(), *bars):
        labelled.tickfont.color = INK
        if labelled.title.text:
            labelled.title.font.color = INK
    return fig
