"""A Plotly figure of `gptviz.figures` as a sheet: the same numbers, texts and colours, without a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gptviz.export.canvas import POINTS, Theme, colour, plain, sheet
from gptviz.export.plotly_axes import colour_bar, dress, legend
from gptviz.export.plotly_traces import DRAW, Paper
from gptviz.figures.style import CATEGORICAL, FONT_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 450  # pixels, Plotly's own, where a figure names none
NATURAL = 800  # pixels of width that a figure is laid out for, where it names none


def draw_figure(given: dict[str, Any], theme: Theme) -> Figure:
    """A figure as a dictionary, drawn.

    Raises:
        ValueError: for a trace of a kind that our figures do not have.
    """
    traces, layout = given.get("data", []), given.get("layout", {})
    for trace in traces:
        if trace.get("type", "scatter") not in DRAW:
            raise ValueError(f"expected traces of {', '.join(DRAW)}, found {trace.get('type')!r}; save it as HTML")
    figure = sheet(int(layout.get("width") or NATURAL), int(layout.get("height") or HEIGHT), theme)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    pairs = list(dict.fromkeys((t.get("xaxis", "x"), t.get("yaxis", "y")) for t in traces)) or [("x", "y")]
    pairs.sort(key=lambda pair: -domain(layout, pair[1])[1])
    heights = [domain(layout, y)[1] - domain(layout, y)[0] for _, y in pairs]
    places = figure.subplots(len(pairs), 1, squeeze=False, height_ratios=heights)[:, 0]
    for place, pair in zip(places, pairs, strict=True):
        draw_axes(place, [t for t in traces if (t.get("xaxis", "x"), t.get("yaxis", "y")) == pair], pair, layout, theme)
    if title := (layout.get("title") or {}).get("text"):
        figure.suptitle(plain(title), x=0.01, ha="left", color=theme.ink, fontsize=(FONT_SIZE + 2) * POINTS)
    return figure


def domain(layout: dict, axis: str) -> tuple[float, float]:
    """The part of the height that an axis has."""
    low, high = named(layout, axis).get("domain") or (0, 1)
    return float(low), float(high)


def named(layout: dict, axis: str) -> dict:
    """The axis that a trace calls "x", "y2"."""
    return layout.get(f"{axis[0]}axis{axis[1:]}") or {}


def draw_axes(place: Axes, traces: list[dict], pair: tuple[str, str], layout: dict, theme: Theme) -> None:
    """One pair of axes with all that is drawn on it."""
    handles, shades, offsets = [], None, {}
    colours = list(layout.get("colorway") or CATEGORICAL)
    shown = [trace for trace in traces if trace.get("visible", True) is True]
    bars = [trace for trace in shown if trace.get("type") == "bar"]
    x, y = named(layout, pair[0]), named(layout, pair[1])
    first = {"range": x.get("range"), "type": x.get("type")}
    if first["range"] is not None and first["type"] != "log":
        place.set_xlim(*map(float, first["range"]))  # texts in bars ask how wide these are
    for number, trace in enumerate(shown):
        group = next((i for i, bar in enumerate(bars) if bar is trace), 0), len(bars)
        own = colour(colours[number % len(colours)], theme)
        kind = trace.get("type", "scatter")
        drawn = DRAW[kind](place, trace, Paper(theme, layout, own, offsets, group))
        if kind == "heatmap" and trace.get("showscale", True) is not False:
            shades = drawn, layout.get(trace.get("coloraxis") or "", trace)
        if trace.get("name") and trace.get("showlegend", True) and drawn is not None and kind != "heatmap":
            drawn.set_label(plain(trace["name"]))
            handles.append(drawn)
    dress(place, x, y, theme)
    for shape in layout.get("shapes") or ():
        draw_shape(place, shape, theme)
    for note in layout.get("annotations") or ():
        if note.get("yref", "y") in {pair[1], "paper"} or len(pair[1]) == 1:
            write_note(place, note, theme)
    if layout.get("showlegend", True):
        legend(place, handles, theme)
    if shades and shades[1].get("colorbar") is not None and shades[1].get("showscale", True):
        colour_bar(place, shades[0], shades[1]["colorbar"], theme)


def transform(place: Axes, shape: dict) -> Any:
    """From the coordinates of a shape or note to the sheet: data, or a share of the axes."""
    from matplotlib.transforms import blended_transform_factory

    across, up = (
        place.transData if str(shape.get(f"{name}ref") or name) in {name, f"{name}2"} else place.transAxes
        for name in "xy"
    )  # fmt: skip
    return blended_transform_factory(across, up)


def draw_shape(place: Axes, shape: dict, theme: Theme) -> None:
    """A rectangle, a line or a path."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import PathPatch, Rectangle

    line = shape.get("line") or {}
    edge = colour(line.get("color"), theme) if line.get("width", 2) else (0, 0, 0, 0)
    order = 0.4 if shape.get("layer") == "below" else 2.5
    looks = {"linewidth": line.get("width", 2) * POINTS, "transform": transform(place, shape), "zorder": order}
    looks["linestyle"] = {"dash": "--", "dot": ":", "dashdot": "-."}.get(line.get("dash", ""), "-")
    if shape.get("type") == "line":
        x, y = [shape["x0"], shape["x1"]], [shape["y0"], shape["y1"]]
        place.add_line(Line2D(x, y, color=edge, alpha=shape.get("opacity"), **looks))
        return
    fill = colour(shape["fillcolor"], theme) if shape.get("fillcolor") else (0, 0, 0, 0)
    looks |= {"facecolor": fill, "edgecolor": edge, "alpha": shape.get("opacity")}
    if shape.get("type") == "path":
        place.add_patch(PathPatch(path_of(shape["path"]), **looks))
        return
    corner = min(shape["x0"], shape["x1"]), min(shape["y0"], shape["y1"])
    place.add_patch(Rectangle(corner, abs(shape["x1"] - shape["x0"]), abs(shape["y1"] - shape["y0"]), **looks))


def path_of(text: str) -> Any:
    """An SVG path of absolute M, L, H, V, C, Q and Z, in data coordinates."""
    from matplotlib.path import Path

    points, codes, at = [], [], np.zeros(2)
    takes = {"M": 2, "L": 2, "C": 6, "Q": 4, "H": 1, "V": 1}
    for letter, rest in re.findall(r"([A-DF-Za-df-z])([^A-DF-Za-df-z]*)", text):  # E and e are part of a number
        found = [float(n) for n in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", rest)]
        if letter == "Z":
            points.append(at)
            codes.append(Path.CLOSEPOLY)
            continue
        if letter not in takes:
            raise ValueError(f"expected a path of M, L, H, V, C, Q and Z, found {letter!r}")
        for begin in range(0, len(found), takes[letter]):
            numbers = found[begin : begin + takes[letter]]
            if letter in "HV":
                numbers = [numbers[0], at[1]] if letter == "H" else [at[0], numbers[0]]
            new = np.array(numbers).reshape(-1, 2)
            points += list(new)
            codes += [{"M": Path.MOVETO, "C": Path.CURVE4, "Q": Path.CURVE3}.get(letter, Path.LINETO)] * len(new)
            at = new[-1]
    return Path(points, codes)


def write_note(place: Axes, note: dict, theme: Theme) -> None:
    """An annotation of text."""
    font = note.get("font") or {}
    box = (
        {"boxstyle": "square,pad=0.2", "facecolor": colour(note["bgcolor"], theme), "linewidth": 0}
        if note.get("bgcolor")
        else None
    )
    shift = float(note.get("xshift") or 0) * POINTS, float(note.get("yshift") or 0) * POINTS
    up = {"top": "top", "bottom": "bottom"}.get(note.get("yanchor", "middle"), "center")
    side = note.get("xanchor", "center")
    place.annotate(
        plain(note.get("text", "")), (note["x"], note["y"]), shift, xycoords=transform(place, note),
        textcoords="offset points", ha="center" if side == "auto" else side, va=up, bbox=box, zorder=4,
        fontsize=font.get("size", FONT_SIZE) * POINTS, color=colour(font.get("color"), theme), annotation_clip=False,
        weight="bold" if "<b>" in str(note.get("text")) else "normal",
    )  # fmt: skip
