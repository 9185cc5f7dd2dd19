"""Matrices of attention as pictures: one head with its tokens on both axes, as numbers or as low, med and high.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Shapes: T queries, S keys.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style

Scale = Literal["sequential", "diverging"]

QUERY_AXIS, KEY_AXIS = "query (the token that looks)", "key (the token looked at)"
MASKED_COLOUR = "rgba(128,128,128,0.22)"  # reads as "not there" on a light and on a dark page
MOST_TICKS = 32  # labels an axis: more would run into each other on a phone
MOST_NUMBERS = 10  # tokens up to which the value is written into its cell
LONGEST_LABEL = 16  # characters of a token on an axis; the token strip shows all of it
LEVELS = ("low", "med", "high")


def heatmap(
    values: np.ndarray,
    queries: Sequence[str],
    keys: Sequence[str],
    *,
    masked: np.ndarray | None = None,
    scale: Scale = "sequential",
    span: tuple[float, float] | None = None,
    title: str = "",
    unit: str = "attention weight",
    axes: tuple[str, str] = (QUERY_AXIS, KEY_AXIS),
) -> go.Figure:
    """One matrix, queries down and keys across, the exact value on hover.

    Args:
        values: (T, S); NaN cells stay empty.
        queries: T tokens, literal; keys: S tokens, literal.
        masked: (T, S), True where the score was -inf. Such a cell is drawn grey only if its value is exactly 0:
            a mask that leaks is seen.
        scale: "sequential" from 0, or "diverging" and centred on 0, for differences.
        span: the values at the ends of the colour scale; (0, 1), or the largest absolute difference, if not given.
        title: above the picture; unit: the name of a value, on the colour bar and on hover.
        axes: what rows and columns are called.

    Raises:
        ValueError: if the shapes do not fit.
    """
    values, masked = checked(values, queries, keys, masked)
    shown, grey = split_masked(values, masked)
    sign = "" if scale == "sequential" else "+"
    below = [mask_layer(grey)] if grey.any() else []
    traces = [*below, layer(shown, hover(unit, sign + ".6f"))]
    if max(values.shape) <= MOST_NUMBERS:
        traces[-1] |= {"texttemplate": "%{text}", "text": style.cell_texts(shown, sign + ".2f")}
    return assemble(
        traces,
        title,
        frame_height(len(queries)),
        coloraxis=colour_axis(scale, span or default_span(values, scale), unit),
        xaxis=axis_of(keys, axes[1]),
        yaxis=axis_of(queries, axes[0], down=True),
    )


def reading(
    levels: np.ndarray,
    queries: Sequence[str],
    keys: Sequence[str],
    *,
    thresholds: tuple[float, float],
    masked: np.ndarray | None = None,
    title: str = "",
) -> go.Figure:
    """A matrix read as low, med and high: the table that lectures on self-attention draw by hand.

    Args:
        levels: (T, S), 0 low, 1 med, 2 high, -1 for no reading.
        thresholds: the weights at which med and high begin; they are written on the colour bar.
    """
    low, high = thresholds
    values = np.where(levels < 0, np.nan, levels.astype(np.float32))
    figure = heatmap(values, queries, keys, masked=masked, span=(-0.5, 2.5), title=title, unit="reading")
    cells = figure.data[-1]
    read = np.where(np.isnan(cells.z), -1, levels)  # a masked cell is not low: it has no reading
    cells.text = [[LEVELS[level] if level >= 0 else "" for level in row] for row in read.tolist()]
    cells.hovertemplate = "query %{y}<br>key %{x}<br><b>%{text}</b><extra></extra>"
    cells.texttemplate = "%{text}" if max(levels.shape) <= 2 * MOST_NUMBERS else None
    names = [f"low: under {low:g}", f"med: {low:g} and more", f"high: {high:g} and more"]
    figure.layout.coloraxis.colorscale = three_colours()
    figure.layout.coloraxis.colorbar.update(tickvals=[0, 1, 2], ticktext=names, title=None)
    return figure


def assemble(traces: list[dict[str, Any]], title: str, height: int, **layout: Any) -> go.Figure:
    """A figure from plain dictionaries. Plotly's checks took 40 ms of every repaint; the tests run them instead."""
    base = dict(base_layout(bool(title)))
    for axis in ("xaxis", "yaxis"):
        layout[axis] = base[axis] | layout[axis]
    layout |= {name: style.inked(layout[name]) for name in ("xaxis", "yaxis", "coloraxis") if name in layout}
    if title:
        layout["title"] = base["title"] | {"text": literal(title)}
    return go.Figure({"data": traces, "layout": base | layout | {"height": height}}, _validate=False)


@functools.cache
def base_layout(titled: bool) -> dict[str, Any]:
    """Our looks as a dictionary, made once; without the 7 kB of Plotly's template, of which a heatmap uses nothing."""
    figure = go.Figure(layout={"xaxis": {}, "yaxis": {}})
    layout = style.base_layout(figure, title="title" if titled else None).to_dict()["layout"]
    return layout | {"template": {}}  # an empty one, or Streamlit's own with its placeholder colours would come in


def three_colours() -> list[list[Any]]:
    """Three flat steps of the sequential scale, each a third of the bar."""
    scale = style.SEQUENTIAL
    colours = [colour for _, colour in scale]
    picked = [colours[round(place * (len(colours) - 1))] for place in (0.04, 0.5, 0.92)]
    return [[edge / 3, colour] for i, colour in enumerate(picked) for edge in (i, i + 1)]


def checked(
    values: np.ndarray, queries: Sequence[str], keys: Sequence[str], masked: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """float32 values and a mask of one shape, (T, S), or a `ValueError` that says what does not fit."""
    expected = (len(queries), len(keys))
    mask = np.zeros(expected, dtype=bool) if masked is None else np.asarray(masked, dtype=bool)
    if np.shape(values) != expected or mask.shape != expected:
        raise ValueError(
            f"expected values and mask of shape {expected}, one row a query and one column a key; "
            f"found {np.shape(values)} and {mask.shape}"
        )
    return np.asarray(values, dtype=np.float32), mask


def split_masked(values: np.ndarray, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values with NaN where a cell is drawn as masked, and those cells: masked, and nothing in them."""
    grey = masked & ((values == 0) | np.isnan(values))
    return np.where(grey, np.float32(np.nan), values), grey


def layer(values: np.ndarray, template: str, *, x0: float = 0, y0: float = 0, extra: str = "") -> dict[str, Any]:
    """One matrix with its first cell at (x0, y0), on the shared colour axis."""
    return {
        "type": "heatmap",
        "z": values,
        "x0": x0,
        "y0": y0,
        "coloraxis": "coloraxis",
        "hoverongaps": False,
        "hovertemplate": f"{template}<extra>{literal(extra)}</extra>",
    }


def mask_layer(grey: np.ndarray, *, x0: float = 0, y0: float = 0) -> dict[str, Any]:
    """The masked cells of one matrix, in one flat grey, under the matrix: only where that is empty are they seen."""
    return {
        "type": "heatmap",
        "z": grey.astype(np.uint8),
        "x0": x0,
        "y0": y0,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, style.TRANSPARENT], [1, MASKED_COLOUR]],
        "showscale": False,
        "hovertemplate": "query %{y}<br>key %{x}<br>masked: the score is −∞<extra></extra>",
    }


def hover(unit: str, number: str) -> str:
    """What a cell says: both tokens and the value. Axes give the tokens, so that no text is sent per cell."""
    return "query %{y}<br>key %{x}<br>" + literal(unit) + " <b>%{z:" + number + "}</b>"


def colour_axis(scale: Scale, span: tuple[float, float], unit: str) -> dict[str, Any]:
    """The one scale of a figure, with its bar."""
    return {
        "colorscale": style.SEQUENTIAL if scale == "sequential" else style.DIVERGING,
        "cmin": span[0],
        "cmax": span[1],
        "colorbar": {"title": {"text": literal(unit), "side": "right"}, "thickness": 14, "len": 1, "outlinewidth": 0},
    }


BAR_ON_TOP = {  # beside many matrices it would take the width of one, on a phone of three
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1,
    "yanchor": "bottom",
    "len": 0.5,
    "thickness": 10,
}


def default_span(values: np.ndarray, scale: Scale) -> tuple[float, float]:
    """0 to 1 for weights; for differences, the same distance on both sides of 0."""
    if scale == "sequential":
        return 0.0, 1.0
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    return -(largest or 1.0), largest or 1.0


def aliases(tokens: Sequence[str]) -> dict[str, str]:
    """Axis position, as Plotly writes it -> token. Positions keep two equal tokens apart."""
    return {str(i): label(token) for i, token in enumerate(tokens)}


def axis_of(tokens: Sequence[str], title: str, *, down: bool = False) -> dict[str, Any]:
    """Integer positions that read as tokens, every one or every n-th."""
    ends = [-0.5, len(tokens) - 0.5]
    return {
        "title": {"text": literal(title)},
        "range": ends[::-1] if down else ends,
        "labelalias": aliases(tokens),
        "tick0": 0,
        "tickfont": {"size": style.FONT_SIZE if len(tokens) <= MOST_TICKS // 2 else style.SMALL_FONT_SIZE - 1},
        "dtick": max(1, math.ceil(len(tokens) / MOST_TICKS)),
        **BARE,
    }


BARE = {
    "showgrid": False,
    "zeroline": False,
    "ticks": "",
    "exponentformat": "none",  # positions must be written as the aliases spell them
    "separatethousands": False,
    "automargin": True,
}


def label(token: str) -> str:
    """A token on an axis: white space visible, cut if very long, never interpreted."""
    text = style.visible(token)
    return literal(text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…")


def literal(text: str) -> str:
    """Text that Plotly shows as it is: its few tags and entities are not read."""
    return html.escape(text, quote=False)


def frame_height(rows: int) -> int:
    """Pixels: rows stay readable up to a screenful."""
    return 150 + min(max(26 * rows, 230), 460)
