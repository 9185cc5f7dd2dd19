"""The traces of Plotly that `gptviz.figures` uses, each drawn on matplotlib's axes: bars, lines, points, heatmaps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gptviz.export.attention import MOST_PATHS, colours_of
from gptviz.export.canvas import POINTS, Theme, colour, is_bold, plain
from gptviz.export.plotly_axes import values_of, written
from gptviz.figures.style import FONT_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = {"circle": "o", "triangle-up": "^", "triangle-down": "v", "diamond": "D", "square": "s", "x": "x", "cross": "P",
         "star": "*", "circle-open": "o", "line-ns": "|", "line-ns-open": "|"}  # fmt: skip
DASHES = {"dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (8, 4)), "solid": "-"}
STEPS = {"hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid"}


class Paper(NamedTuple):
    """What a trace needs beside its own numbers."""

    theme: Theme
    layout: dict
    colour: Any  # of this trace, where it has none of its own
    offsets: dict  # of stacked bars: (axis, place) -> where the next one begins
    group: tuple[int, int]  # which bar of how many that stand side by side


def draw_bar(place: Axes, trace: dict, paper: Paper) -> Any:
    """Bars, stacked, side by side or over each other, with their texts and hatching."""
    lying = trace.get("orientation") == "h"
    x, y = values_of(trace["x"]), values_of(trace["y"])
    at, length = (y, x) if lying else (x, y)
    marker = trace.get("marker") or {}
    gap, mode = paper.layout.get("bargap", 0.2), paper.layout.get("barmode", "group")
    width = trace.get("width")
    width = np.full(len(at), 1.0 - gap) if width is None else np.broadcast_to(np.asarray(width, float), at.shape)
    if mode == "group" and paper.group[1] > 1:
        width = width / paper.group[1]
        at = at + width * (paper.group[0] - (paper.group[1] - 1) / 2)
    base = np.array([paper.offsets.get((lying, p, v < 0), 0.0) for p, v in zip(at, length, strict=True)])
    if mode in {"stack", "relative"}:
        for p, v in zip(at, length, strict=True):
            key = (lying, p, v < 0)
            paper.offsets[key] = paper.offsets.get(key, 0.0) + (0 if np.isnan(v) else v)
    else:
        base = np.zeros(len(at))
    shades = each(marker.get("color"), len(at), paper)
    looks = {"color": shades, "linewidth": 0, "alpha": trace.get("opacity")}
    if (marker.get("pattern") or {}).get("shape"):
        hatch_ink = colour(marker["pattern"].get("fgcolor", "rgba(128,128,128,0.7)"), paper.theme)
        looks |= {"hatch": "////", "edgecolor": hatch_ink}
    drawn = (
        place.barh(at, length, width, left=base, **looks)
        if lying
        else place.bar(at, length, width, bottom=base, **looks)
    )
    write_bars(place, trace, paper, zip(drawn.patches, base, length, strict=True), lying)
    return drawn


def each(value: object, n: int, paper: Paper) -> list:
    """A colour for each of n things."""
    if isinstance(value, list | tuple | np.ndarray):
        return [colour(one, paper.theme) for one in value]
    return [colour(value, paper.theme) if value is not None else paper.colour] * n


def write_bars(place: Axes, trace: dict, paper: Paper, bars: Any, lying: bool) -> None:
    """The texts of bars: behind their end, or inside where they fit."""
    texts = trace.get("text")
    if texts is None or isinstance(texts, str):
        return
    outside = trace.get("textposition") == "outside"
    for (patch, base, length), text in zip(bars, texts, strict=False):
        said = plain(text)
        if not said or np.isnan(length):
            continue
        if not outside and fits(place, patch, said, lying) is False:
            continue
        end, middle = base + length, base + length / 2
        across = patch.get_y() + patch.get_height() / 2 if lying else patch.get_x() + patch.get_width() / 2
        along = end if outside else middle
        away = (4 if length >= 0 else -4) if outside else 0
        ink = (trace.get("insidetextfont") or {}).get("color") if not outside else None
        shade = colour(ink, paper.theme) if ink else paper.theme.ink if outside else readable_on(patch.get_facecolor())
        sides = {"ha": ("left" if length >= 0 else "right") if outside and lying else "center", "va": "center"}
        if outside and not lying:
            sides["va"] = "bottom" if length >= 0 else "top"
        place.annotate(
            said, (along, across) if lying else (across, along), (away, 0) if lying else (0, away),
            textcoords="offset points", color=shade, fontsize=(FONT_SIZE - 2) * POINTS, annotation_clip=False, **sides,
        )  # fmt: skip


def fits(place: Axes, patch: Any, text: str, lying: bool) -> bool:
    """Whether a text has room inside a bar that lies; one that stands is wide enough."""
    if not lying:
        return True
    (left, _), (right, _) = place.transData.transform([(patch.get_x(), 0), (patch.get_x() + patch.get_width(), 0)])
    return abs(right - left) > 0.62 * (FONT_SIZE - 2) * len(text)


def readable_on(shade: Any) -> str:
    """Black or white, whichever can be read on a colour."""
    r, g, b = shade[:3]
    return "black" if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.5 else "white"


def draw_scatter(place: Axes, trace: dict, paper: Paper) -> Any:
    """Lines, points, texts and filled areas."""
    x, y = values_of(trace["x"]), values_of(trace["y"])
    mode, line, marker = trace.get("mode", "lines"), trace.get("line") or {}, trace.get("marker") or {}
    shade = colour(line.get("color"), paper.theme) if line.get("color") else paper.colour
    alpha = trace.get("opacity")
    drawn = None
    if trace.get("fill") == "toself":
        drawn = place.fill(x, y, color=colour(trace.get("fillcolor"), paper.theme), alpha=alpha, linewidth=0)[0]
    elif str(trace.get("fill", "")).startswith("tozero"):
        place.fill_between(x, y, color=colour(trace.get("fillcolor") or line.get("color"), paper.theme), linewidth=0)
    if "lines" in mode and line.get("width", 2):
        style = {"drawstyle": STEPS[line["shape"]]} if line.get("shape") in STEPS else {}
        dashes = DASHES.get(line.get("dash", "solid"), "-")
        drawn = place.plot(
            x, y, color=shade, linewidth=line.get("width", 2) * POINTS, linestyle=dashes, alpha=alpha, **style
        )[0]
    if "markers" in mode:
        dots = draw_points(place, x, y, {"color": line.get("color")} | marker, paper, alpha)
        drawn = drawn or dots
    if "text" in mode and trace.get("text") is not None:
        write_points(place, x, y, trace, paper)
    return drawn


def draw_points(place: Axes, x: np.ndarray, y: np.ndarray, marker: dict, paper: Paper, alpha: float | None) -> Any:
    """The points of a scatter trace."""
    sizes = np.broadcast_to(np.asarray(marker.get("size", 6), dtype=float), x.shape)
    shades = marker.get("color")
    given: dict[str, Any] = {"color": each(shades, len(x), paper)}
    several = isinstance(shades, list | tuple | np.ndarray) and len(shades)
    if isinstance(shades, dict) or (several and not isinstance(shades[0], str)):
        scale = marker.get("colorscale")
        given = {"c": values_of(shades), "cmap": colours_of(scale=scale if isinstance(scale, list) else None),
                 "vmin": marker.get("cmin"), "vmax": marker.get("cmax")}  # fmt: skip
    symbol = marker.get("symbol", "circle")
    mark = MARKS.get(symbol if isinstance(symbol, str) else "circle", "o")
    edge = (marker.get("line") or {}).get("width", 0)
    edge = 0.8 if mark in {"x", "|"} else edge if isinstance(edge, int | float) else 0
    if str(symbol).endswith("-open"):
        given = {"facecolors": "none", "edgecolors": each(shades, len(x), paper)}
        edge = 1.5
    opacity = alpha if alpha is not None else marker.get("opacity")
    opacity = opacity if isinstance(opacity, int | float) else None
    return place.scatter(x, y, s=(sizes * POINTS) ** 2, marker=mark, linewidths=edge, alpha=opacity, zorder=3, **given)


def write_points(place: Axes, x: np.ndarray, y: np.ndarray, trace: dict, paper: Paper) -> None:
    """Texts at points, at the side that is asked for."""
    texts, font = trace["text"], trace.get("textfont") or {}
    texts = [texts] * len(x) if isinstance(texts, str) else texts
    places = trace.get("textposition", "middle center")
    places = [places] * len(x) if isinstance(places, str) else places
    sizes = font.get("size", FONT_SIZE - 2)
    sizes = [sizes] * len(x) if isinstance(sizes, int | float) else sizes
    for a, b, text, where, size in zip(x, y, texts, places, sizes, strict=False):
        if plain(text) and np.isfinite([a, b]).all():
            up, side = where.split()
            offset = ({"left": -6, "right": 6}.get(side, 0), {"top": 6, "bottom": -6}.get(up, 0))
            place.annotate(
                plain(text), (a, b), offset, textcoords="offset points", fontsize=float(size) * POINTS,
                ha={"left": "right", "right": "left"}.get(side, "center"),
                va={"top": "bottom", "bottom": "top"}.get(up, "center"),
                weight="bold" if is_bold(text) else "normal", annotation_clip=False,
                color=colour(font.get("color") if isinstance(font.get("color"), str) else None, paper.theme),
            )  # fmt: skip


def draw_heatmap(place: Axes, trace: dict, paper: Paper) -> Any:
    """A matrix of cells, with the texts in them; returns what a colour bar is made for."""
    z = values_of(trace["z"])
    rows, columns = z.shape
    x = edges(trace.get("x"), trace.get("x0", 0), trace.get("dx", 1), columns)
    y = edges(trace.get("y"), trace.get("y0", 0), trace.get("dy", 1), rows)
    shared = paper.layout.get(trace.get("coloraxis") or "", {})
    scale = trace.get("colorscale") or shared.get("colorscale")
    cmap = colours_of(scale=[list(stop) for stop in scale] if scale is not None else None)
    least = trace.get("zmin", shared.get("cmin"))
    most = trace.get("zmax", shared.get("cmax"))
    if (middle := trace.get("zmid", shared.get("cmid"))) is not None and least is None:
        reach = float(np.nanmax(np.abs(z - middle), initial=0)) or 1.0
        least, most = middle - reach, middle + reach
    seen, looks = np.ma.masked_invalid(z), {"cmap": cmap, "vmin": least, "vmax": most}
    if z.size <= MOST_PATHS:
        gap = 1.0 if trace.get("xgap") or trace.get("ygap") else 0.0
        drawn = place.pcolormesh(x, y, seen, linewidth=gap, edgecolors=paper.theme.paper if gap else "none", **looks)
    else:
        edge = (x[0], x[-1], y[-1], y[0])
        drawn = place.imshow(seen, interpolation="nearest", extent=edge, aspect="auto", origin="upper", **looks)
    write_cells(place, trace, z, (x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2, drawn, paper)
    return drawn


def edges(centres: Any, first: float, step: float, n: int) -> np.ndarray:
    """Where n cells begin and end, n + 1 numbers."""
    if centres is None or any(isinstance(c, str) for c in list(centres)):
        return float(first) + float(step) * (np.arange(n + 1) - 0.5)
    at = values_of(centres)
    if len(at) == n + 1:
        return at
    if n == 1:
        return at[0] + np.array([-0.5, 0.5])
    inner = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])


def write_cells(
    place: Axes, trace: dict, z: np.ndarray, x: np.ndarray, y: np.ndarray, drawn: Any, paper: Paper
) -> None:
    """The texts of cells, in black or white, whichever can be read."""
    template, texts = trace.get("texttemplate"), trace.get("text")
    if not template or z.size > 4000:
        return
    font = trace.get("textfont") or {}
    form = re.fullmatch(r"%\{z(?::([^}]*))?\}", template)
    for i, j in np.argwhere(np.isfinite(z)):
        said = written(float(z[i, j]), form[1] or "") if form else plain(texts[i][j] if texts is not None else "")
        if said:
            ink = colour(font["color"], paper.theme) if isinstance(font.get("color"), str) else None
            shade = ink or readable_on(drawn.cmap(drawn.norm(z[i, j])))
            place.text(
                x[j],
                y[i],
                said,
                ha="center",
                va="center",
                color=shade,
                fontsize=font.get("size", FONT_SIZE - 2) * POINTS,
            )


DRAW: dict[str, Callable[[Axes, dict, Paper], Any]] = {
    "bar": draw_bar,
    "scatter": draw_scatter,
    "scattergl": draw_scatter,
    "heatmap": draw_heatmap,
}
