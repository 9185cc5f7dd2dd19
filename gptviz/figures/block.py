"""A stack of blocks as a flow whose widths are measured lengths, and what fires and what the norms do, as bars.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Shapes: L layers, T tokens, F feed-forward units, C dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import assemble
from gptviz.figures.masking import tick_tokens

WIDTH = 340  # pixels: fits a phone
WIDEST = 30  # pixels of the longest vector of the picture
STREAM, BOX, END = 112, 226, 334  # pixels from the left: the middle of the stream, the sides of a sub-layer
ROW = 92  # pixels of a sub-layer
READ, ADD, NORM = 20, 56, 76  # pixels from its top: what is read, what is added, the norm after the add
COLOURS = {"stream": "#0072b2", "attention": "#d55e00", "feed-forward": "#009e73"}
LIGHT = "rgba(0,114,178,0.45)"  # what is read: it does not leave the stream
CHOSEN = "#e69f00"
MOST_TICKS = 12  # of an axis of counts
NORM_LINE = {"color": "#7f7f7f", "width": 3}


class Lengths(NamedTuple):
    """Lengths of the vectors of one sub-layer."""

    before: float  # the stream that comes in
    read: float  # what the sub-layer reads: the stream, or its norm
    added: float
    summed: float
    after: float  # the stream that goes on: the sum, or its norm


def sublayers(lengths: np.ndarray) -> list[tuple[str, Lengths]]:
    """(L, 9), in the order of `analysis.block.Vectors`, -> 2 L sub-layers from the first to the last."""
    return [
        (name, Lengths(*map(float, layer[[*places]])))
        for layer in lengths
        for name, places in (("attention", (0, 1, 2, 3, 4)), ("feed-forward", (4, 5, 6, 7, 8)))
    ]


def flow(lengths: np.ndarray, order: str, chosen: int) -> go.Figure:
    """The stack from top to bottom, 1 pixel across as many units of length everywhere; a point lies on every block.

    Args:
        lengths: (L, 9) of the vectors of `analysis.block.Vectors`, such as the mean over tokens.
        order: "post" draws the norm on the stream, after the add; "pre" on what is read.
        chosen: the layer to frame.
    """
    scale = WIDEST / (float(np.nanmax(lengths, initial=0.0)) or 1.0)
    shapes, texts = [block_frame(chosen)], []
    for row, (name, found) in enumerate(sublayers(lengths)):
        top = row * ROW
        shapes += stream(top, found, scale, order) + branches(top, name, found, scale, order)
        texts += labels(top, name, found)
        if row % 2 == 0:
            texts.append((8, top + 10, f"<b>layer {row // 2}</b>", "right"))
    height = len(lengths) * 2 * ROW
    texts.append((STREAM - 22, height - 6, number(float(lengths[-1, -1])), "left"))
    return assemble(
        [*written(texts), points(lengths, order)],
        "",
        height + 20,
        width=WIDTH,
        margin={"l": 0, "r": 0, "t": 10, "b": 10},
        shapes=shapes,
        showlegend=False,
        xaxis=bare([0, WIDTH]),
        yaxis=bare([height, 0]),
    )


def bare(limits: list[float]) -> dict[str, Any]:
    """An axis of pixels, unseen."""
    return {"range": limits, "visible": False, "fixedrange": True}


def stream(top: float, found: Lengths, scale: float, order: str) -> list[dict[str, Any]]:
    """The residual stream past one sub-layer: before, summed, after."""
    parts = [(0, ADD, found.before), (ADD, NORM, found.summed), (NORM, ROW, found.after)]
    shapes = [
        rectangle(STREAM - scale * length / 2, STREAM + scale * length / 2, top + start, top + end, COLOURS["stream"])
        for start, end, length in parts
    ]
    if order == "post":
        shapes.append(line(STREAM - 24, STREAM + 24, top + NORM, top + NORM))
    return shapes


def branches(top: float, name: str, found: Lengths, scale: float, order: str) -> list[dict[str, Any]]:
    """What one sub-layer reads, its box, and the arrow that is added."""
    edge = STREAM + scale * found.before / 2
    tip = STREAM + scale * found.summed / 2
    half = scale * found.read / 2
    shapes = [rectangle(BOX, END, top + 4, top + NORM, "rgba(0,0,0,0)", {"color": COLOURS[name], "width": 2})]
    if order == "pre":
        middle, whole = (edge + BOX) / 2, scale * found.before / 2
        shapes.append(rectangle(edge, middle, top + READ - whole, top + READ + whole, LIGHT))
        shapes.append(rectangle(middle, BOX, top + READ - half, top + READ + half, LIGHT))
        shapes.append(line(middle, middle, top + READ - 18, top + READ + 18))
    else:
        shapes.append(rectangle(edge, BOX, top + READ - half, top + READ + half, LIGHT))
    thick, y = max(scale * found.added / 2, 0.4), top + ADD
    head = max(8.0, thick)
    path = f"M {BOX} {y - thick} L {tip + head} {y - thick} L {tip + head} {y - thick - 4} L {tip} {y} "
    path += f"L {tip + head} {y + thick + 4} L {tip + head} {y + thick} L {BOX} {y + thick} Z"
    shapes.append({"type": "path", "path": path, "fillcolor": COLOURS[name], "line": {"width": 0}})
    return shapes


def labels(top: float, name: str, found: Lengths) -> list[tuple[float, float, str, str]]:
    """What is written at one sub-layer: x, y, text, on which side of that point."""
    return [
        ((BOX + END) / 2, top + (4 + NORM) / 2, f"{name}<br><b>+ {number(found.added)}</b>", "center"),
        (STREAM - 22, top + READ + 14, number(found.before), "left"),
        (STREAM - 26, top + ADD + 10, number(found.summed), "left"),
    ]


def number(length: float) -> str:
    """Three digits."""
    return f"{length:.3g}"


def rectangle(
    x0: float, x1: float, y0: float, y1: float, fill: str, border: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A filled rectangle in pixels."""
    place = {"x0": x0, "x1": x1, "y0": y0, "y1": y1}
    return {"type": "rect", "fillcolor": fill, "line": border or {"width": 0}} | place


def line(x0: float, x1: float, y0: float, y1: float) -> dict[str, Any]:
    """Where a norm stands."""
    return {"type": "line", "x0": x0, "x1": x1, "y0": y0, "y1": y1, "line": NORM_LINE}


def block_frame(chosen: int) -> dict[str, Any]:
    """A frame around one block."""
    top = chosen * 2 * ROW
    return rectangle(2, WIDTH - 2, top + 1, top + 2 * ROW - 2, "rgba(0,0,0,0)", {"color": CHOSEN, "width": 2.5})


def written(texts: list[tuple[float, float, str, str]]) -> list[dict[str, Any]]:
    """Texts at places, one trace for each side."""
    sides = {"center": "middle center", "left": "middle left", "right": "middle right"}
    traces = []
    for side, place in sides.items():
        x, y, text, _ = zip(*[found for found in texts if found[3] == side], strict=True)
        font = {"size": style.SMALL_FONT_SIZE, "color": style.INK}
        common = {"type": "scatter", "mode": "text", "textposition": place, "textfont": font, "hoverinfo": "skip"}
        traces.append(common | {"x": x, "y": y, "text": text})
    return traces


def points(lengths: np.ndarray, order: str) -> dict[str, Any]:
    """Points to hover and to click: `customdata` is the layer."""
    x, y, text, layer = [], [], [], []
    for row, (name, found) in enumerate(sublayers(lengths)):
        told = [f"layer {row // 2}, {name}"]
        told += [f"{field}: {value:.6g}" for field, value in found._asdict().items()]
        told.append("normalised after the add" if order == "post" else "normalised before it is read")
        for at in (STREAM, (STREAM + BOX) / 2, (BOX + END) / 2):
            x.append(at)
            y.append(row * ROW + (READ + ADD) / 2)
            text.append("<br>".join(told))
            layer.append(row // 2)
    return {
        "type": "scatter", "mode": "markers", "x": x, "y": y, "text": text, "customdata": layer,
        "marker": {"size": 52, "symbol": "square", "opacity": 0}, "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def bars(values: np.ndarray, tokens: Sequence[str], title: str, unit: str) -> go.Figure:
    """One bar a token: values (T,), shares from 0 to 1."""
    names = [style.plotly_text(token) for token in tokens]
    trace = {
        "type": "bar", "x": list(range(len(tokens))), "y": values, "customdata": names,
        "marker": {"color": COLOURS["feed-forward"]},
        "hovertemplate": "%{customdata}<br>" + unit + " <b>%{y:.4f}</b><extra></extra>",
    }  # fmt: skip
    axis = tick_tokens(tokens, most=24)
    return assemble([trace], title, 300, xaxis=axis, yaxis={"title": {"text": unit}, "range": [0, None]})


def times_active(times: np.ndarray, t: int, title: str) -> go.Figure:
    """How many units are active at exactly k of `t` tokens: times (F,) -> bars over k = 0 to t, 0 marked."""
    counts = np.bincount(times, minlength=t + 1)
    colours = [CHOSEN] + [COLOURS["feed-forward"]] * t
    trace = {
        "type": "bar", "x": list(range(t + 1)), "y": counts, "marker": {"color": colours},
        "hovertemplate": "active at %{x} tokens: <b>%{y} units</b><extra></extra>",
    }  # fmt: skip
    across = {"title": {"text": "tokens at which a unit is active"}, "range": [-0.6, t + 0.6]}
    if t <= MOST_TICKS:
        across["dtick"] = 1  # there is no half a token
    return assemble([trace], title, 300, xaxis=across, yaxis={"title": {"text": "units"}})


def gains(found: dict[str, tuple[np.ndarray, np.ndarray | None]], title: str) -> go.Figure:
    """Gain, and bias where there is one, of each norm by dimension: name -> two arrays (C,)."""
    traces = []
    for name, (gain, bias) in found.items():
        for what, values, symbol in (("gain", gain, "circle"), ("bias", bias, "x-thin-open")):
            if values is None:
                continue
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"{what}, {name}",
                    "x": list(range(len(values))),
                    "y": values,
                    "marker": {"size": 5, "symbol": symbol, "color": COLOURS[name]},
                    "hovertemplate": f"{what}, {name}<br>dimension %{{x}}: <b>%{{y:.5f}}</b><extra></extra>",
                }
            )
    return assemble(
        traces,
        title,
        360,
        showlegend=True,
        xaxis={"title": {"text": "dimension"}},
        yaxis={},
        margin={"l": 8, "r": 8, "t": 84, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
    )
