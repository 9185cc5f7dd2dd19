"""Position vectors as pictures: a whole table, all its cosines, and how alike two positions are by their distance.

Takes arrays, returns figures; knows nothing about models or pages. Shapes: P positions, C model width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import assemble, literal

LEARNED, FIXED = style.CATEGORICAL[0], style.CATEGORICAL[1]
BAR = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "xpad": 0,
    "y": 1,
    "yanchor": "bottom",
    "len": 0.6,
    "thickness": 9,
    "outlinewidth": 0,
    "tickfont": {"size": style.SMALL_FONT_SIZE},
}


def vectors_picture(vectors: np.ndarray, title: str) -> go.Figure:
    """A table of position vectors, (P, C), as one picture in the width of its place: a row a position.

    A pattern is to be seen here, not a number; the exact value is on hover. The scale is centred on 0 and ends where
    199 of 200 numbers are inside.
    """
    limit = float(np.quantile(np.abs(vectors), 0.995)) or 1.0
    hover = "position %{y}<br>dimension %{x}<br><b>%{z:+.4f}</b><extra></extra>"
    return picture(vectors, title, limit, hover, ("position", "dimension"), ("≤ −", "≥ "))


def cosines_picture(cosines: np.ndarray, title: str) -> go.Figure:
    """Cosines of every two positions, (P, P), on the scale from -1 to 1."""
    hover = "positions %{y} and %{x}<br>cosine <b>%{z:+.4f}</b><extra></extra>"
    return picture(cosines, title, 1.0, hover, ("position", "position"), ("−", ""))


def picture(
    values: np.ndarray, title: str, limit: float, hover: str, axes: tuple[str, str], ends: tuple[str, str]
) -> go.Figure:
    """A matrix in the width of its place, signed, from -`limit` to `limit`."""
    cells = {
        "type": "heatmap",
        "z": values.astype(np.float32),
        "coloraxis": "coloraxis",
        "hovertemplate": hover,
    }
    bar = {"tickvals": [-limit, 0, limit], "ticktext": [f"{ends[0]}{limit:.2g}", "0", f"{ends[1]}{limit:.2g}"]}
    rows, columns = values.shape
    plain: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": ""}
    return assemble(
        [cells],
        title,
        430,
        coloraxis={
            "colorscale": style.DIVERGING,
            "cmin": -limit,
            "cmid": 0,
            "cmax": limit,
            "colorbar": BAR | bar,
        },
        xaxis=plain | {"title": {"text": axes[1]}, "range": [-0.5, columns - 0.5]},
        yaxis=plain | {"title": {"text": axes[0]}, "range": [rows - 0.5, -0.5]},
        margin={"l": 8, "r": 8, "t": 84, "b": 8},
    )


def distance_lines(learned: tuple[np.ndarray, ...] | None, fixed: tuple[np.ndarray, ...]) -> go.Figure:
    """Cosine of two position vectors by their distance: mean, lowest and highest, (P,) each, for two tables or one."""
    names = [("learned by this model", LEARNED, learned), ("sines and cosines", FIXED, fixed)][learned is None :]
    traces = [
        trace
        for name, colour, (mean, lowest, highest) in names
        for trace in (style.area(range(len(mean)), lowest, highest, colour), line(mean, colour, name))
    ]
    least = min(0.0, *(float(lowest.min()) for _, _, (_, lowest, _) in names))
    return assemble(
        traces,
        "",
        360,
        xaxis={"title": {"text": "distance of two positions"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "cosine"}, "range": [least - 0.03, 1.05]},
        margin={"l": 8, "r": 8, "t": 64, "b": 8},  # a phone shows the chart's buttons above the legend
    )


def line(mean: np.ndarray, colour: str, name: str) -> dict[str, Any]:
    """The mean over all pairs of each distance."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.arange(len(mean)),
        "y": mean,
        "name": name,
        "line": {"color": colour, "width": 2.5},
        "hovertemplate": "%{x} apart<br>" + literal(name) + ": mean cosine <b>%{y:+.4f}</b><extra></extra>",
    }
