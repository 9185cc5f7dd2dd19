"""Axes, legends and colour bars of a Plotly figure, as the figures of `gptviz.figures` use them, on a sheet."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gptviz.export.canvas import POINTS, Theme, colour, plain
from gptviz.figures.style import FONT_SIZE, GRID, minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = {  # of a number format, as d3 has them -> how Python writes the same; {:.3~s} and its like fall back to "g"
    "%": "%",
    "f": "f",
    "g": "g",
    "e": "e",
    "d": "d",
}


BAR_STEPS = 96  # rectangles that a colour bar is made of


def values_of(data: Any) -> np.ndarray:
    """Plotly's typed arrays, or lists with None where there is no number."""
    import base64

    if isinstance(data, dict):
        shape = [int(n) for n in str(data.get("shape", "-1")).split(",")]
        return np.frombuffer(base64.b64decode(data["bdata"]), dtype=data["dtype"]).reshape(shape).astype(float)
    if isinstance(data, np.ndarray) and data.dtype.kind in "fiub":
        return data.astype(float)
    return np.array(
        [values_of(v) if isinstance(v, list | tuple | np.ndarray) else number(v) for v in data], dtype=float
    )


def number(value: object) -> float:
    """A number, or that there is none."""
    return math.nan if value is None or isinstance(value, str) else float(value)


def dress(place: Axes, x: dict, y: dict, theme: Theme) -> None:
    """Ranges, ticks, titles and grid of both axes."""
    for axis, name, given in ((place.xaxis, "x", x), (place.yaxis, "y", y)):
        if given.get("type") == "log":
            getattr(place, f"set_{name}scale")("log")
        set_range(place, name, given)
        set_ticks(axis, given, theme)
        title = (given.get("title") or {}).get("text") if isinstance(given.get("title"), dict) else given.get("title")
        if title and given.get("visible", True):
            axis.set_label_text(plain(title), color=theme.ink, fontsize=FONT_SIZE * POINTS)
        if given.get("showgrid", True) and given.get("visible", True):
            axis.grid(True, color=colour(given.get("gridcolor", GRID), theme), linewidth=0.6)
        if given.get("visible") is False:
            axis.set_visible(False)
    for spine in place.spines.values():
        spine.set_visible(False)
    if y.get("zeroline", True) and y.get("type") != "log" and y.get("visible", True):
        place.axhline(0, color=colour(GRID, theme), linewidth=1, zorder=0.5)
    place.set_axisbelow(True)
    place.set_facecolor((0, 0, 0, 0))


def set_range(place: Axes, name: str, given: dict) -> None:
    """The given range, of which a logarithmic axis counts powers of ten; else that of the data, from 0 if asked."""
    ends = given.get("range")
    if ends is not None and None not in tuple(ends):
        low, high = (10 ** float(v) if given.get("type") == "log" else float(v) for v in ends)
        getattr(place, f"set_{name}lim")(low, high)
        return
    if given.get("rangemode") == "tozero" and given.get("type") != "log":
        low, high = getattr(place, f"get_{name}lim")()
        getattr(place, f"set_{name}lim")(min(0, low), max(0, high))
    if given.get("autorange") == "reversed":
        getattr(place, f"invert_{name}axis")()


def set_ticks(axis: Any, given: dict, theme: Theme) -> None:
    """Ticks at the places and with the texts that are given."""
    font = given.get("tickfont") or {}
    size = font.get("size", FONT_SIZE - 2) * POINTS
    axis.set_tick_params(length=0, labelsize=size, labelcolor=colour(font.get("color"), theme), which="both")
    low, high = sorted(axis.get_view_interval())
    if given.get("type") == "log":
        write_powers(axis)
    if given.get("tickvals") is not None:
        at = values_of(given["tickvals"])
        texts = given.get("ticktext")
        texts = [written(v, given.get("tickformat", "")) for v in at] if texts is None else list(texts)
        kept = [(v, plain(text)) for v, text in zip(at, texts, strict=False) if low - 1e-9 <= v <= high + 1e-9]
        axis.set_ticks([v for v, _ in kept], [text for _, text in kept])
    elif (given.get("labelalias") or given.get("dtick")) and given.get("type") != "log":
        names, step = given.get("labelalias") or {}, given.get("dtick") or 1
        first = math.ceil((low - given.get("tick0", 0)) / step) * step + given.get("tick0", 0)
        at = np.arange(first, high + 1e-9, step)
        axis.set_ticks(at, [plain(names.get(f"{v:g}", f"{v:g}")) for v in at])
    elif form := given.get("tickformat"):
        axis.set_major_formatter(lambda value, _: written(value, form))
    if given.get("tickangle"):
        axis.set_tick_params(labelrotation=-given["tickangle"])
    elif (axis.axis_name == "x" and given.get("ticktext") is not None) or (
        axis.axis_name == "x" and given.get("labelalias")
    ):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        if sum(len(text) + 2 for text in labels) * size > 0.8 * axis.axes.bbox.width:
            axis.set_tick_params(labelrotation=90)


def write_powers(axis: Any) -> None:
    """Powers of ten as numbers that people read; between them ticks without names."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: minus(f"{value:,g}")))
    axis.set_minor_formatter(NullFormatter())


def written(value: float, form: str) -> str:
    """A number in a format of d3's, as far as our figures use them: ".0%", ".3~p", "+.2f", ".2~s"."""
    found = re.fullmatch(r"([+]?)(,?)(?:\.(\d+))?(~?)([a-z%]?)", form or "")
    if not found:
        return minus(f"{value:g}")
    sign, comma, digits, trimmed, kind = found.groups()
    if kind == "p":
        return minus(f"{100 * value:{sign}.{digits or 3}g}%")
    if kind == "%" and trimmed:
        return minus(f"{100 * value:{sign}.{digits or 0}f}".rstrip("0").rstrip(".") + "%")
    if kind not in LETTERS:
        return minus(f"{value:{sign}.{digits or 6}g}")
    return minus(f"{value:{sign}{comma}{'.' + digits if digits else ''}{LETTERS[kind]}}")


def legend(place: Axes, handles: list, theme: Theme) -> None:
    """The names of the traces that have one, above the picture."""
    if len(handles) > 1:
        place.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=min(len(handles), 5), frameon=False,
            fontsize=(FONT_SIZE - 1) * POINTS, labelcolor=theme.ink, handlelength=1.2, columnspacing=1.2,
            borderaxespad=0.1,
        )  # fmt: skip


def colour_bar(place: Axes, shades: Any, bar: dict, theme: Theme) -> None:
    """The scale of a heatmap, at its right, or on top where Plotly has it there."""
    from matplotlib.cm import ScalarMappable

    lies = bar.get("orientation") == "h"
    shades = ScalarMappable(shades.norm, shades.cmap.resampled(BAR_STEPS))
    drawn = place.figure.colorbar(
        shades, ax=place, orientation="horizontal" if lies else "vertical", location="top" if lies else "right",
        fraction=0.05, pad=0.02, aspect=40,
    )  # fmt: skip
    drawn.outline.set_visible(False)
    drawn.solids.set_rasterized(False)
    drawn.ax.tick_params(length=0, labelcolor=theme.ink, labelsize=(FONT_SIZE - 2) * POINTS)
    if bar.get("tickvals") is not None:
        at = values_of(bar["tickvals"])
        texts = bar.get("ticktext")
        drawn.set_ticks(at, labels=[plain(t) for t in texts] if texts is not None else [f"{v:g}" for v in at])
    if title := (bar.get("title") or {}).get("text"):
        drawn.set_label(plain(title), color=theme.ink, fontsize=(FONT_SIZE - 1) * POINTS)
