"""Vectors as pictures: heat strips, cosines, nearest tokens, and the vocabulary as a map in two or three dimensions.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Shapes: T tokens, C vector width, V vocabulary, K axes of a map (2 or 3), P panels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import label

MOST_ROWS = 48  # tokens in one picture: more could not be told apart
MOST_LABELS = 20  # tokens named on the map; of a longer sentence only the chosen one is
MOST_NUMBERS = 8  # tokens up to which a cosine is written into its cell
ACCENT = "#d55e00"  # the sentence, and what is chosen in it
KINDS = ("#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#7f7f7f")  # not the colour of the sentence
BELOW = 112  # pixels under a picture for its axis and its colour bar
BAR_BELOW = {
    "orientation": "h",
    "yref": "container",
    "y": 0,
    "yanchor": "bottom",
    "ypad": 4,
    "thickness": 10,
    "outlinewidth": 0,
}  # beside the picture it would take a third of a phone's width
EYE = {"x": 1.35, "y": 1.35, "z": 0.9}  # of the camera: near enough to fill the picture, axes inside it
MARGIN = {"l": 8, "r": 8, "t": 12, "b": 8}


def window(count: int, chosen: int, most: int = MOST_ROWS) -> range:
    """Which of `count` tokens to draw: all, or `most` in a row with the chosen one in the middle where possible."""
    start = min(max(0, chosen - most // 2), max(0, count - most))
    return range(start, min(count, start + most))


def strips(names: Sequence[str], vectors: np.ndarray, tokens: Sequence[str], chosen: int = -1) -> go.Figure:
    """Vectors of the same tokens, one panel a name, one row a token, one column a dimension; one scale for all.

    Args:
        names: P titles. vectors: (P, T, C). tokens: T, literal.
        chosen: the row to frame; none if negative.
    The scale is centred on 0 and ends where 199 of 200 numbers are inside; the rest take the colour of its end, and
    their exact value on hover.
    """
    panels, count, width = vectors.shape
    if panels != len(names) or count != len(tokens):
        raise ValueError(f"expected vectors ({len(names)}, {len(tokens)}, C), found {vectors.shape}")
    row_height = min(22.0, max(7.0, 240 / count))  # pixels
    step = count + math.ceil(36 / row_height)  # rows from panel to panel: one pair of axes holds them all
    starts = [panel * step for panel in range(panels)]
    rows, head = starts[-1] + count, 26 / row_height  # of the first panel's name
    places = [start + row for start in starts for row in range(0, count, math.ceil(11 / row_height))]
    down = token_axis(tokens, starts) | {"tickmode": "array", "tickvals": places, "range": [rows - 0.5, -0.5 - head]}
    layout = {
        "coloraxis": diverging(robust_limit(vectors), "value"),
        "xaxis": {"title": {"text": "dimension of the vector"}, "showgrid": False, "range": [-0.5, width - 0.5]},
        "yaxis": down,
        "annotations": [panel_name(name, start) for name, start in zip(names, starts, strict=True)],
        "shapes": [row_frame(start + chosen, width) for start in starts] if 0 <= chosen < count else [],
        "margin": MARGIN | {"b": BELOW},
    }
    drawn = [strip(vectors[panel], starts[panel], name) for panel, name in enumerate(names)]
    return assemble(drawn, layout, height=round((rows + head) * row_height) + BELOW + 24)


def strip(vectors: np.ndarray, start: int, name: str) -> dict[str, Any]:
    """One panel of `strips`, (T, C), its first row at `start`."""
    return {
        "type": "heatmap",
        "z": vectors.astype(np.float32),
        "y0": start,
        "dy": 1,
        "coloraxis": "coloraxis",
        "hovertemplate": "token %{y}<br>dimension %{x}<br><b>%{z:+.4f}</b><extra>" + name + "</extra>",
    }


def panel_name(name: str, start: int) -> dict[str, Any]:
    """The name of a panel, above its first row."""
    place = {"x": 0, "xref": "paper", "xanchor": "left", "y": start - 0.7, "yanchor": "bottom"}
    return {"text": f"<b>{name}</b>", "showarrow": False, **place}


def row_frame(row: int, width: int) -> dict[str, Any]:
    """A frame around one row of a panel."""
    edges = {"x0": -0.5, "x1": width - 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return {"type": "rect", **edges, "line": {"width": 2, "color": ACCENT}}


def robust_limit(values: np.ndarray) -> float:
    """The absolute value that 99.5% of all numbers stay within; a few huge ones must not bleach the rest."""
    limit = float(np.quantile(np.abs(values), 0.995)) if values.size else 0.0
    return limit or 1.0


def diverging(limit: float, unit: str) -> dict[str, Any]:
    """A colour axis from -limit through 0 to limit."""
    ends = [-limit, 0, limit]
    names = [f"≤ −{limit:.2g}", "0", f"≥ {limit:.2g}"]
    return {
        "colorscale": style.DIVERGING,
        "cmin": -limit,
        "cmid": 0,
        "cmax": limit,
        "colorbar": {"title": {"text": unit, "side": "top"}, "tickvals": ends, "ticktext": names, **BAR_BELOW},
    }


def similarity(cosines: np.ndarray, tokens: Sequence[str], title: str = "") -> go.Figure:
    """Cosine of every two tokens, (T, T), always on the scale from -1 to 1."""
    if cosines.shape != (len(tokens), len(tokens)):
        raise ValueError(f"expected cosines ({len(tokens)}, {len(tokens)}), found {cosines.shape}")
    cells = {
        "type": "heatmap",
        "z": cosines.astype(np.float32),
        "coloraxis": "coloraxis",
        "hovertemplate": "%{y}<br>%{x}<br>cosine <b>%{z:+.4f}</b><extra></extra>",
    }
    scale = diverging(1.0, "cosine")
    names = ["−1", "−0.5", "cosine 0", "0.5", "1"]
    scale["colorbar"] |= {"title": None, "tickvals": [-1, -0.5, 0, 0.5, 1], "ticktext": names}
    layout = {
        "coloraxis": scale,
        "xaxis": token_axis(tokens),
        "yaxis": token_axis(tokens, down=True),
        "margin": MARGIN | {"b": BELOW},
    }
    few = len(tokens) <= MOST_NUMBERS
    if few:
        cells |= {"texttemplate": "%{text}", "text": style.cell_texts(cosines, ".2f")}
    return assemble([cells], layout, 440 if few else 560, title)


def neighbours(
    tokens: Sequence[str],
    cosines: np.ndarray,
    marked: Sequence[bool] | None = None,
    title: str = "",
    span: tuple[float, float] = (0.0, 1.0),
) -> go.Figure:
    """Tokens as bars of their cosine, the closest on top, the value beside each.

    Args:
        tokens: literal. cosines: as many, falling.
        marked: which bars stand for the chosen token itself.
        span: the lowest and the highest cosine to make room for.
    """
    own = marked or [False] * len(tokens)
    bars = {
        "type": "bar",
        "x": cosines,
        "y": list(range(len(tokens))),
        "orientation": "h",
        "marker": {"color": [ACCENT if mark else KINDS[1] for mark in own]},
        "text": [style.minus(f"{value:.3f}") for value in cosines],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}<br>cosine <b>%{x:.6f}</b><extra></extra>",
    }
    reach = [min(0.0, span[0]) * 1.15, max(0.1, span[1]) * 1.15]  # room for the numbers beside the bars
    across = {"title": {"text": "cosine with the chosen vector"}, "range": reach}
    layout = {"xaxis": across, "yaxis": token_axis(tokens, down=True), "showlegend": False}
    return assemble([bars], layout, 90 + 30 * max(1, len(tokens)), title)


@dataclass(frozen=True, eq=False)
class Cloud:
    """A whole vocabulary on the axes of a map."""

    points: np.ndarray  # (V, K)
    labels: np.ndarray  # (V,) from `point_labels`
    kinds: np.ndarray  # (V,) index into kind_names
    kind_names: Sequence[str]
    explained: np.ndarray  # (K,) share of the variance on each axis


@dataclass(frozen=True, eq=False)
class Sentence:
    """The sentence on the same axes: where each token was, and where it is."""

    tokens: Sequence[str]  # T, literal
    before: np.ndarray  # (T, K)
    after: np.ndarray  # (T, K)
    names: tuple[str, str]  # what the two are, such as "token vector" and "with its position"
    chosen: int  # the token to name, whatever the length of the sentence


def vocabulary_map(cloud: Cloud, sentence: Sentence, ringed: Sequence[int] = ()) -> go.Figure:
    """The vocabulary as points, the sentence on top of it, in 2 or 3 dimensions by the width of the points.

    Args:
        ringed: ids to circle, such as the nearest neighbours of the chosen token.

    Raises:
        ValueError: if the points have neither 2 nor 3 coordinates.
    """
    axes = cloud.points.shape[1]
    if axes not in (2, 3) or sentence.after.shape != (len(sentence.tokens), axes):
        raise ValueError(f"expected 2 or 3 axes for both, found {cloud.points.shape} and {sentence.after.shape}")
    traces = [vocabulary_points(cloud, kind) for kind in np.unique(cloud.kinds)]
    if len(ringed):
        traces.append(rings(cloud, list(ringed)))
    moved = sentence.names[0] != sentence.names[1]
    traces += [*([steps(sentence)] if moved else []), sentence_points(sentence)]
    what = " of the variance" if axes == 2 else ""  # in space a long title would leave the picture
    titles = [f"axis {i + 1} ({share:.1%}{what})" for i, share in enumerate(cloud.explained)]
    layout = {"legend": {"itemsizing": "constant"}, "hovermode": "closest"}
    return assemble(traces, layout | map_layout(titles, name_points(sentence)), height=640)


def point_labels(tokens: Sequence[str]) -> np.ndarray:
    """What hovering over each point says: (V,). Made once for a vocabulary."""
    return np.array([style.plotly_text(token) for token in tokens], dtype=object)


def map_layout(titles: Sequence[str], notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Axes of a map and names on it: the same unit in every direction, or distances would lie."""
    named = [{"title": {"text": title}} for title in titles]
    if len(titles) == 3:
        axes = {f"{axis}axis": name | {"showspikes": False} for axis, name in zip("xyz", named, strict=True)}
        return {"scene": axes | {"aspectmode": "data", "annotations": notes, "camera": {"eye": EYE}}}
    return {"xaxis": named[0], "yaxis": named[1] | {"scaleanchor": "x"}, "annotations": notes}


def spread(points: np.ndarray) -> dict[str, np.ndarray]:
    """(N, K) as the x, y (and z) of a trace."""
    return dict(zip("xyz", points.astype(np.float32).T, strict=False))


def points_trace(points: np.ndarray, **how: Any) -> dict[str, Any]:
    """A trace of points in space, or in the plane: there by WebGL throughout, which would hide anything that is not."""
    return {"type": "scatter3d" if points.shape[1] == 3 else "scattergl"} | spread(points) | how


def vocabulary_points(cloud: Cloud, kind: int) -> dict[str, Any]:
    """The tokens of one kind."""
    mine = np.flatnonzero(cloud.kinds == kind)
    return points_trace(
        cloud.points[mine],
        mode="markers",
        name=cloud.kind_names[kind],
        text=cloud.labels[mine],
        hovertemplate="%{text}<extra></extra>",
        marker={"size": 2.5 if cloud.points.shape[1] == 3 else 5, "color": KINDS[kind % len(KINDS)], "opacity": 0.45},
    )


def rings(cloud: Cloud, ids: list[int]) -> dict[str, Any]:
    """Circles around some tokens of the vocabulary, with their names."""
    return points_trace(
        cloud.points[ids],
        mode="markers",
        name="nearest to the chosen",
        text=cloud.labels[ids],
        hovertemplate="%{text}<br>one of the nearest to the chosen token<extra></extra>",
        marker={
            "symbol": "circle-open",
            "size": 7 if cloud.points.shape[1] == 3 else 12,
            "color": ACCENT,
            "line": {"width": 2},
        },
    )


def steps(sentence: Sentence) -> dict[str, Any]:
    """A line from where each token was to where it is."""
    gap = np.full_like(sentence.before, np.nan)
    line = np.stack([sentence.before, sentence.after, gap], axis=1).reshape(-1, sentence.before.shape[1])  # (3 T, K)
    name = f"moved from: {sentence.names[0]}"
    return points_trace(line, mode="lines", name=name, hoverinfo="skip", line={"color": ACCENT, "width": 1.5})


def sentence_points(sentence: Sentence) -> dict[str, Any]:
    """The tokens of the sentence where they are now."""
    names = [style.plotly_text(token) for token in sentence.tokens]
    flat = sentence.after.shape[1] == 2
    return points_trace(
        sentence.after,
        mode="markers",
        name=f"sentence: {sentence.names[1]}",
        customdata=list(zip(range(len(names)), names, strict=True)),
        hovertemplate="%{customdata[1]}<br>token %{customdata[0]} of the sentence<extra></extra>",
        marker={
            "color": ACCENT,
            "size": [15 if i == sentence.chosen else 10 for i in range(len(names))] if flat else 6,
            "line": {"width": 1, "color": "white"},
        },
    )


def name_points(sentence: Sentence) -> list[dict[str, Any]]:
    """Annotations that name the tokens of a short sentence, and the chosen one of a long one: on top of all points."""
    few = len(sentence.tokens) <= MOST_LABELS
    named = [i for i in range(len(sentence.tokens)) if few or i == sentence.chosen]
    named.sort(key=lambda i: i == sentence.chosen)  # the chosen one last, over the others
    return [
        dict(zip("xyz", sentence.after[i].tolist(), strict=False))
        | {"text": label(sentence.tokens[i]), "showarrow": False, "yshift": 18, "font": {"size": 13, "color": "white"}}
        | {"bgcolor": ACCENT if i == sentence.chosen else "rgba(60,60,60,0.8)", "borderpad": 2}
        for i in named
    ]


def assemble(traces: list[dict[str, Any]], layout: dict[str, Any], height: int, title: str = "") -> go.Figure:
    """A figure in our looks from plain dictionaries. Plotly's checks took 40 ms of every repaint; tests run them."""
    base = looks(bool(title))
    whole = base | layout | {"height": height}
    for part in ("xaxis", "yaxis", "legend"):
        whole[part] = base[part] | layout.get(part, {})
    if title:
        whole["title"] = base["title"] | {"text": title}
        whole["margin"] = base["margin"] | {"b": whole["margin"]["b"]}
    return go.Figure({"data": traces, "layout": whole}, _validate=False)


@functools.cache
def looks(titled: bool) -> dict[str, Any]:
    """What all our figures share, made once. The template is empty: without one, Streamlit's own would come in."""
    figure = style.base_layout(go.Figure(layout={"xaxis": {}, "yaxis": {}}), title="title" if titled else None)
    return figure.to_dict()["layout"] | {"template": {}}


def token_axis(tokens: Sequence[str], starts: Sequence[int] = (0,), *, down: bool = False) -> dict[str, Any]:
    """Integer positions that read as tokens, so that two equal ones stay apart; token 0 is at each of `starts`."""
    ends = [-0.5, len(tokens) - 0.5]
    names = [label(token) for token in tokens]
    return {
        "range": ends[::-1] if down else ends,
        "labelalias": {str(start + i): name for start in starts for i, name in enumerate(names)},
        "tick0": 0,
        "dtick": 1 if len(tokens) <= 24 else 2,
        "exponentformat": "none",  # positions must be written as the aliases spell them
        "separatethousands": False,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
    }
