"""One attention weight worked out, and what becomes of a softmax as vectors grow wider.

Takes arrays and labels, returns figures; knows nothing about models or pages. Shapes: D head width, W widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import assemble, literal

SCALED, UNSCALED = style.CATEGORICAL[0], style.CATEGORICAL[1]
SUM = style.CATEGORICAL[4]


def product_bars(products: np.ndarray, running: np.ndarray) -> go.Figure:
    """Two vectors multiplied element by element, (D,) as bars, and their sum so far as a line that ends at the score.

    Both have one axis: what the bars add is what the line climbs.
    """
    places = list(range(len(products)))
    bars = {
        "type": "bar",
        "name": "q · k of this dimension",
        "x": places,
        "y": products,
        "marker": {"color": [style.MORE if value > 0 else style.LESS for value in products.tolist()]},
        "hovertemplate": "dimension %{x}<br>product <b>%{y:+.6g}</b><extra></extra>",
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "sum so far",
        "x": places,
        "y": running,
        "line": {"color": SUM, "width": 2.5, "shape": "hv"},
        "hovertemplate": "up to dimension %{x}<br>sum <b>%{y:+.6g}</b><extra></extra>",
    }
    score = {
        "text": style.minus(f"attention score {running[-1]:+.4g}"),
        "x": places[-1],
        "y": float(running[-1]),
        "xanchor": "right",
        "yanchor": "bottom" if running[-1] >= 0 else "top",
        "showarrow": False,
        "font": {"color": style.INK},
    }
    return assemble(
        [bars, line],
        "",
        320,
        xaxis={"title": {"text": "dimension of the head"}, "range": [-0.6, len(products) - 0.4], "showgrid": False},
        yaxis={"title": {"text": "product and sum"}, "zeroline": True},
        annotations=[score],
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
    )


def over_widths(
    widths: Sequence[int],
    scaled: np.ndarray,
    unscaled: np.ndarray,
    name: str,
    *,
    logarithmic: bool = False,
    own: int | None = None,
) -> go.Figure:
    """One measure over the width of a head, with the division by sqrt(D) and without: median and quartiles.

    Args:
        widths: W of them. scaled, unscaled: (W, 3), lower quartile, median, upper quartile.
        name: of the measure, over the picture.
        logarithmic: what falls by powers of ten is seen falling.
        own: the width of the model's heads, marked.
    """
    traces = [
        trace
        for label, colour, rows in (("divided by √D", SCALED, scaled), ("not divided", UNSCALED, unscaled))
        for trace in (style.area(widths, rows[:, 0], rows[:, 2], colour), median(widths, rows, colour, label))
    ]
    mark = [] if own is None else [own_width(own)]
    return assemble(
        traces,
        name,
        300,
        xaxis={"title": {"text": "D, width of a head"}, "type": "log", "tickvals": list(widths)},
        yaxis={"type": "log", "exponentformat": "power", "dtick": 1} if logarithmic else {"rangemode": "tozero"},
        shapes=mark,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
    )


def median(widths: Sequence[int], rows: np.ndarray, colour: str, label: str) -> dict[str, Any]:
    """The median of (W, 3) as a line."""
    return {
        "type": "scatter",
        "x": list(widths),
        "y": rows[:, 1],
        "mode": "lines+markers",
        "name": label,
        "line": {"color": colour, "width": 2.5},
        "hovertemplate": f"D %{{x}}<br>{literal(label)}: median <b>%{{y:.4g}}</b><extra></extra>",
    }


def own_width(width: int) -> dict[str, Any]:
    """A line at the width of the model's own heads."""
    place = {"type": "line", "x0": width, "x1": width, "y0": 0, "y1": 1, "yref": "paper"}
    return place | {"line": {"color": style.CATEGORICAL[6], "dash": "dot", "width": 2}}
