"""The attention view and the matrices of the lessons as sheets, with the colours that the app has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptviz.export.canvas import POINTS, Theme, colour, sheet
from gptviz.export.plotly_axes import BAR_STEPS
from gptviz.figures import style
from gptviz.figures.heatmap import MASKED_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gptviz.figures.matrix import Matrix
    from gptviz.view import AttentionView

MOST_PATHS = 40_000  # cells of a picture that are drawn as paths; more would make a file that nobody can open
MOST_NAMES = 64  # tokens at a side; of more, every n-th
LONGEST = 16  # signs of a token at a side
CELL, LEAST_SIDE = 26, 480  # pixels of a cell, if there is room, and of the longer side at least
BAR = 12  # pixels that the colour bar is thick


def draw_view(view: AttentionView, width: int, theme: Theme) -> Figure:
    """All heads, or, where one is looked at, that one with the pinned ones beside it."""
    state = view.state.fit(view.shape)
    largest = view.largest or max(float(np.nanmax(view.source.layer(i))) for i in range(view.shape[0])) or 1.0
    if state.mode == "overview":
        return draw_overview(view, width, theme, largest)
    chosen = list(dict.fromkeys((state.layer * view.shape[1] + state.head, *state.pins)))
    if state.mode == "lines":
        return draw_lines(view, chosen[0], width, theme, state.mass or 0.9)
    return draw_heads(view, chosen, width, theme, largest)


def draw_overview(view: AttentionView, width: int, theme: Theme, largest: float) -> Figure:
    """A layer a row, a head a column, on one scale."""
    n_layers, n_heads, t, s = view.shape
    side = (width - 110) / n_heads
    height = int(side * min(1.0, max(t / s, 0.25)) * n_layers) + 120
    figure = sheet(width, height, theme)
    room = 1 - 46 / height, 60 / height  # top and bottom of the pictures
    step_x, step_y = (1 - 110 / width) / n_heads, (room[0] - room[1]) / n_layers
    paths = n_layers * n_heads * t * s <= MOST_PATHS
    for layer in range(n_layers):
        weights, masked = view.source.layer(layer), view._layer_mask(layer)
        for head in range(n_heads):
            left, bottom = 64 / width + head * step_x, room[0] - (layer + 1) * step_y
            place = figure.add_axes((left, bottom + 0.06 * step_y, 0.92 * step_x, 0.88 * step_y))
            mask = None if masked is None else masked[head % len(masked)]
            paint(place, weights[head], mask, theme, (0.0, largest), paths=paths)
            bare(place, theme)
            if layer == 0:
                place.set_title(f"head {head}", fontsize=13 * POINTS, color=theme.ink)
        middle = room[0] - (layer + 0.5) * step_y
        figure.text(
            56 / width, middle, f"layer {layer}", ha="right", va="center", fontsize=13 * POINTS, color=theme.ink
        )
    add_bar(figure, (0.0, largest), "attention weight", theme)
    return figure


def draw_heads(view: AttentionView, chosen: list[int], width: int, theme: Theme, largest: float) -> Figure:
    """One head or a few, side by side, with tokens at both sides."""
    _, n_heads, t, s = view.shape
    side = min(max(LEAST_SIDE, CELL * max(t, s)), max(LEAST_SIDE, width // len(chosen) - 170))
    figure = sheet(len(chosen) * (side + 170) + 40, int(side * min(1, max(t / s, 0.3))) + 230, theme)
    for place, i in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        layer, head = divmod(i, n_heads)
        masked = view._layer_mask(layer)
        mask = None if masked is None else masked[head % len(masked)]
        paint(place, view.source.layer(layer)[head], mask, theme, (0.0, largest), paths=t * s <= MOST_PATHS)
        bare(place, theme)
        name_ticks(place, view.queries, view.keys or view.queries, theme)
        place.set_title(f"head {view.names[i]}", fontsize=17 * POINTS, color=theme.ink, pad=12)
        place.set_xlabel("key (the token looked at)", color=theme.ink, fontsize=14 * POINTS)
        place.set_ylabel("query (the token that looks)", color=theme.ink, fontsize=14 * POINTS)
        place.set_aspect("equal")
    w, h = figure.get_size_inches() * 100
    figure.subplots_adjust(left=150 / w, right=1 - 30 / w, top=1 - 60 / h, bottom=165 / h, wspace=0.5)
    add_bar(figure, (0.0, largest), "attention weight", theme)
    return figure


def draw_lines(view: AttentionView, i: int, width: int, theme: Theme, mass: float) -> Figure:
    """Queries at the left, keys at the right, a line for each weight of a query's largest that together make `mass`."""
    layer, head = divmod(i, view.shape[1])
    weights = view.source.layer(layer)[head]  # (T, S)
    t, s = weights.shape
    height = max(LEAST_SIDE, CELL * max(t, s)) + 110
    figure = sheet(width, height, theme)
    place = figure.add_axes((0, 44 / height, 1, 1 - 100 / height))
    bare(place, theme)
    place.set_axis_off()
    place.set(xlim=(-0.6, 1.6), ylim=(max(t, s) - 0.5, -0.5))
    for names, x, side in ((view.queries, -0.02, "right"), (view.keys or view.queries, 1.02, "left")):
        for y, name in enumerate(names):
            place.text(x, y, shortened(name), ha=side, va="center", fontsize=14 * POINTS, color=theme.ink)
    for q in range(t):
        order = np.argsort(-weights[q], kind="stable")
        enough = int(np.searchsorted(np.cumsum(weights[q][order]), mass)) + 1
        for k in order[:enough]:
            shade = (*colour(style.CATEGORICAL[0], theme)[:3], float(min(1, 0.08 + weights[q, k])))
            place.plot([0, 1], [q, k], color=shade, linewidth=4 * float(weights[q, k]) * POINTS + 0.3)
    figure.text(0.5, 1 - 26 / height, f"head {view.names[i]}: the largest weights of each query that hold {mass:.0%}",
                ha="center", fontsize=16 * POINTS, color=theme.ink)  # fmt: skip
    return figure


def draw_matrix(matrix: Matrix, width: int, theme: Theme) -> Figure:
    """A matrix of a lesson, with its shape beside its title."""
    rows, columns = matrix.values.shape
    side = min(max(LEAST_SIDE, CELL * max(rows, columns)), width - 230)
    across, down = (side * n / max(rows, columns) for n in (columns, rows))
    figure = sheet(max(int(across) + 230, 640), int(max(down, 60)) + 240, theme)
    w, h = figure.get_size_inches() * 100
    place = figure.add_axes((170 / w, 1 - (60 + max(down, 20)) / h, max(across, 20) / w, max(down, 20) / h))
    masked = np.isneginf(matrix.values)
    span = (-matrix.limit if matrix.signed else 0.0, matrix.limit)
    values = np.where(masked, 0, matrix.values)
    paint(place, values, masked, theme, span, paths=values.size <= MOST_PATHS, signed=matrix.signed)
    bare(place, theme)
    name_ticks(place, matrix.rows, matrix.columns, theme)
    place.set_title(f"{matrix.title}  {rows} × {columns}", fontsize=17 * POINTS, color=theme.ink, pad=12)
    place.set_xlabel(matrix.axes[1], color=theme.ink, fontsize=14 * POINTS)
    place.set_ylabel(matrix.axes[0], color=theme.ink, fontsize=14 * POINTS)
    add_bar(figure, span, "", theme, signed=matrix.signed)
    return figure


def colours_of(signed: bool = False, scale: list[list] | None = None) -> object:
    """A scale of ours as matplotlib has them."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = scale or (style.DIVERGING if signed else style.SEQUENTIAL)
    named = [(float(at), colour(value, None)) for at, value in stops]
    return LinearSegmentedColormap.from_list("gptviz", named, N=1024)


def paint(
    place: Axes, values: np.ndarray, masked: np.ndarray | None, theme: Theme, span: tuple[float, float], *,
    paths: bool, signed: bool = False,
) -> None:  # fmt: skip
    """A matrix, its first row on top. Masked cells that are 0 are grey, as in the app: a mask that leaks is seen."""
    from matplotlib.colors import ListedColormap

    rows, columns = values.shape
    values = np.asarray(values, dtype=np.float32)
    grey = np.zeros(values.shape, bool) if masked is None else np.broadcast_to(masked, values.shape) & (values == 0)
    layers = [(np.where(grey, 1.0, np.nan), ListedColormap([colour(MASKED_COLOUR, theme)]), (0, 1))]
    layers.append((np.where(grey, np.nan, values), colours_of(signed), span))
    for cells, cmap, (least, most) in layers[not grey.any() :]:
        seen = np.ma.masked_invalid(cells)
        if paths:
            edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
            place.pcolormesh(*edges, seen, cmap=cmap, vmin=least, vmax=most, linewidth=0, antialiased=False)
        else:
            edge = (-0.5, columns - 0.5, rows - 0.5, -0.5)
            place.imshow(seen, cmap=cmap, vmin=least, vmax=most, interpolation="nearest", extent=edge, aspect="auto")
    place.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def bare(place: Axes, theme: Theme) -> None:
    """No ticks, a thin frame."""
    place.set_facecolor(theme.paper)
    place.set_xticks([])
    place.set_yticks([])
    for spine in place.spines.values():
        spine.set(color=theme.quiet, linewidth=0.4)


def name_ticks(
    place: Axes, rows: list[str] | tuple[str, ...], columns: list[str] | tuple[str, ...], theme: Theme
) -> None:
    """Names at the left and below, every one or every n-th."""
    for names, axis in ((columns, place.xaxis), (rows, place.yaxis)):
        step = -(-len(names) // MOST_NAMES)
        axis.set_ticks(range(0, len(names), step), [shortened(name) for name in names[::step]])
        axis.set_tick_params(length=0, labelcolor=theme.ink, labelsize=(14 if len(names) <= 32 else 10) * POINTS)
    if len(columns) > 4:
        place.tick_params(axis="x", labelrotation=90 if len(columns) > 12 else 45)


def shortened(name: str) -> str:
    """A token at a side: white space visible, cut if very long."""
    text = style.visible(name)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def add_bar(figure: Figure, span: tuple[float, float], unit: str, theme: Theme, *, signed: bool = False) -> None:
    """The colour scale, at the foot."""
    width, height = figure.get_size_inches() * 100
    place = figure.add_axes((64 / width, 34 / height, min(320 / width, 0.4), BAR / height))
    steps = np.linspace(*span, BAR_STEPS + 1)
    place.pcolormesh(steps, [0, 1], [(steps[1:] + steps[:-1]) / 2], cmap=colours_of(signed), antialiased=False)
    place.set_yticks([])
    place.set_xticks(
        [span[0], sum(span) / 2, span[1]], [style.minus(f"{v:.3g}") for v in (span[0], sum(span) / 2, span[1])]
    )
    place.tick_params(length=0, labelcolor=theme.ink, labelsize=11 * POINTS)
    for spine in place.spines.values():
        spine.set_visible(False)
    right = (64 + min(320, 0.4 * width) + 10) / width
    figure.text(right, (34 + BAR / 2) / height, unit, va="center", fontsize=12 * POINTS, color=theme.ink)
