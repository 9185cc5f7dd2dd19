"""Any matrix as a picture in which a cell is a square of one size: rows down, columns across, shape in the title.

The figure has a width and a height of its own, in pixels, and is meant to be scrolled where it is larger than its
place (`ui.plot_matrix`). Takes arrays and labels; knows nothing about models, pages or where the numbers came from.
Shapes: N rows, M columns.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import BARE, MASKED_COLOUR, assemble, label, literal

Frame = tuple[range, range]
"""A rectangle of cells: its rows, its columns."""

FRAME = "#e69f00"  # told from both scales by everybody, on a light and on a dark page
LEAST_CELL, LARGEST_CELL = 12, 44  # pixels
ROOM = 480  # pixels that the longer side takes while its cells are between the two
LEAST_NUMBER = 38  # pixels of a cell that holds its value
CHARACTER = 7.2  # pixels of a character on an axis
MOST_CLICKS = 1600  # cells that get a point to click; more would slow the browser down
TITLE_CHARACTER = 8.6  # of the title
TOP = 66  # pixels for the title and the colour bar


def matrix(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    signed: bool,
    limit: float | None = None,
    marked: Sequence[Frame] | None = None,
    axes: tuple[str, str] = ("", ""),
    room: int = ROOM,
    rows_are_ours: bool = False,
) -> go.Figure:
    """One matrix, its shape behind its title, the exact value on hover.

    Args:
        values: (N, M); -inf is drawn grey, as masked; NaN stays empty.
        rows: N names, such as tokens; columns: M names; literal. See `numbers`.
        title: what it is, such as "q".
        signed: True for a diverging scale centred on 0; False for a sequential one that begins at 0.
        limit: where the scale ends; the largest absolute value if not given. Give pictures that are compared one.
        marked: cells to frame; see `cell`, `row` and `column`.
        axes: what rows and what columns are, in the plural, for the title and on hover.
        room: pixels that the longer side takes, as far as cells can become smaller.
        rows_are_ours: the names of rows are words of the page and no tokens: their spaces stay spaces, none is cut.

    Raises:
        ValueError: if names and values do not fit, or an unsigned matrix has a value under 0.
    """
    shown, grey = checked(values, rows, columns, signed)
    largest = float(np.nanmax(np.abs(shown), initial=0.0)) or 1.0
    size = cell_size(*shown.shape, room)
    row_names = [literal(name) if rows_are_ours else label(name) for name in rows]
    column_names = [label(name) for name in columns]
    edges = margins(row_names, column_names)
    across, down = axis(column_names, size), axis(row_names, size)
    counts = (f"{len(names)} {name}".strip() for names, name in zip((rows, columns), axes, strict=True))
    name = f"{title} ({' × '.join(counts)})"
    return assemble(
        [*([masked(grey)] if grey.any() else []), cells(shown, signed, axes, size)],
        name,
        round(len(rows) * size) + edges["t"] + edges["b"],
        width=max(round(len(columns) * size) + edges["l"] + edges["r"], round(TITLE_CHARACTER * len(name)), 260),
        coloraxis=colours(signed, limit or largest, largest),
        margin=edges,
        shapes=[frame(place) for place in marked or ()],
        xaxis=across | {"constrain": "domain", "constraintoward": "left"},
        yaxis=down | {"range": down["range"][::-1], "scaleanchor": "x", "constrain": "domain"},
    )


def numbers(n: int) -> list[str]:
    """Names for dimensions: 0, 1, ..., n - 1."""
    return [str(i) for i in range(n)]


def cell(row: int, column: int) -> Frame:
    """One cell, to be framed."""
    return range(row, row + 1), range(column, column + 1)


def row(index: int, values: np.ndarray) -> Frame:
    """One row of a matrix, to be framed."""
    return range(index, index + 1), range(values.shape[1])


def column(index: int, values: np.ndarray) -> Frame:
    """One column of a matrix, to be framed."""
    return range(values.shape[0]), range(index, index + 1)


def checked(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], signed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, M) in float32, NaN where they were -inf, and where that was; or a `ValueError`."""
    if np.shape(values) != (len(rows), len(columns)):
        raise ValueError(f"expected values of shape ({len(rows)}, {len(columns)}), found {np.shape(values)}")
    grey = np.isneginf(values)
    shown = np.where(grey, np.nan, values).astype(np.float32)
    if not signed and (shown < 0).any():
        raise ValueError(f"expected no value under 0, found {np.nanmin(shown):g}; draw it with signed=True")
    return shown, grey


def cell_size(rows: int, columns: int, room: int = ROOM) -> float:
    """Pixels of a side of a cell: as large as there is room for, and never so small that it is lost."""
    return min(max(room / max(rows, columns, 1), LEAST_CELL), LARGEST_CELL)


def cells(values: np.ndarray, signed: bool, axes: tuple[str, str], size: float) -> dict[str, Any]:
    """The numbers themselves."""
    sign, (down, across) = "+" if signed else "", (f"{literal(name)} " if name else "" for name in axes)
    return {
        "type": "heatmap",
        "z": values,
        "coloraxis": "coloraxis",
        "hoverongaps": False,
        "hovertemplate": f"{down}%{{y}}<br>{across}%{{x}}<br><b>%{{z:{sign}.6g}}</b><extra></extra>",
        "texttemplate": "%{z:.2f}" if size >= LEAST_NUMBER else None,
    }


def masked(grey: np.ndarray) -> dict[str, Any]:
    """Cells of -inf, in one flat grey."""
    return {
        "type": "heatmap",
        "z": np.where(grey, np.float32(1), np.float32(np.nan)),
        "colorscale": [[0, MASKED_COLOUR], [1, MASKED_COLOUR]],
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": "%{y}<br>%{x}<br>masked<extra></extra>",
    }


def colours(signed: bool, limit: float, largest: float) -> dict[str, Any]:
    """The scale, with a small bar under the title: at the side it would scroll away. It says where values go on."""
    ends = [-limit, 0, limit] if signed else [0, limit]
    beyond = {-limit: "≤ ", limit: "≥ "} if largest > 1.0001 * limit else {}
    return {
        "colorscale": style.DIVERGING if signed else style.SEQUENTIAL,
        "cmin": ends[0],
        "cmax": limit,
        "colorbar": {
            "orientation": "h",
            "lenmode": "pixels",
            "len": 190,
            "thickness": 8,
            "x": 0,
            "xanchor": "left",
            "xpad": 0,
            "y": 1,
            "yanchor": "bottom",
            "ypad": 4,
            "tickvals": ends,
            "ticktext": [beyond.get(end, "") + f"{end:.3g}".replace("-", "−") for end in ends],
            "ticklabelposition": "outside top",
            "tickfont": {"size": style.SMALL_FONT_SIZE},
            "outlinewidth": 0,
        },
    }


def clickable(figure: go.Figure) -> go.Figure:
    """Put an unseen point on every cell of a matrix, in place, and return it: Streamlit reports no click on a cell.

    Its x is the column and its y the row. Larger matrices than `MOST_CLICKS` cells stay as they are.
    """
    shown = figure.data[-1]
    rows, columns = shown.z.shape
    if rows * columns > MOST_CLICKS:
        return figure
    down, across = (index.ravel() for index in np.indices(shown.z.shape))
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": across,
        "y": down,
        "customdata": shown.z.ravel(),
        "marker": {"symbol": "square", "size": math.floor(cell_size(rows, columns)), "opacity": 0},
        "hovertemplate": shown.hovertemplate.replace("%{z", "%{customdata"),
        "showlegend": False,
    }
    return go.Figure({"data": [*figure.data, points], "layout": figure.layout}, _validate=False)


def frame(place: Frame) -> dict[str, Any]:
    """A line around cells."""
    rows, columns = place
    edges = {"x0": columns.start, "x1": columns.stop, "y0": rows.start, "y1": rows.stop}
    return {"type": "rect", "line": {"width": 2.5, "color": FRAME}} | {key: at - 0.5 for key, at in edges.items()}


def axis(names: Sequence[str], size: float) -> dict[str, Any]:
    """Integer positions that read as names, as many of them as fit."""
    least = 15 if any(len(name) > 3 or not name.isdigit() for name in names) else 26  # tokens are turned, numbers not
    return {
        "range": [-0.5, len(names) - 0.5],
        "labelalias": {str(i): name for i, name in enumerate(names)},
        "tick0": 0,
        "dtick": max(1, math.ceil(least / size)),
        "tickfont": {"size": style.SMALL_FONT_SIZE},
        **BARE,
        "automargin": False,
    }


def margins(rows: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    """Pixels around the cells, made for the names: Plotly's own would take them from the cells."""
    left, below = (
        round(14 + CHARACTER * max((len(html.unescape(name)) for name in names), default=0))
        for names in (rows, columns)
    )
    return {"l": left, "r": 14, "t": TOP, "b": below}
