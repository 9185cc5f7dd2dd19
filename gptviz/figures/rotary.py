"""Rotary positions as pictures: how far each pair has turned by distance, how long a turn takes, a score by distance.

Takes arrays, returns figures; knows nothing about models or pages. Shapes: P pairs of dimensions, N distances.
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import assemble
from gptviz.figures.positions import picture

LINE, HERE = style.CATEGORICAL[0], style.CATEGORICAL[1]


def turns_picture(cosines: np.ndarray) -> go.Figure:
    """Cosine of each pair's angle by distance, (P, N): 1 as at distance 0, −1 half a turn away."""
    hover = "pair %{y}, %{x} apart<br>cosine of the angle <b>%{z:+.4f}</b><extra></extra>"
    return picture(cosines, "Cosine of the angle", 1.0, hover, ("pair of dimensions", "distance in tokens"), ("−", ""))


def period_line(periods: np.ndarray, context: int) -> go.Figure:
    """Tokens that a whole turn of each pair takes, (P,), by pair; the length of the context is marked."""
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": np.arange(len(periods)),
        "y": periods,
        "line": {"color": LINE, "width": 2.5},
        "hovertemplate": "pair %{x}<br>a turn in <b>%{y:,.5g}</b> tokens<extra></extra>",
    }
    reach = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": context, "y1": context}
    reach |= {"line": {"color": HERE, "dash": "dot", "width": 2}}
    return assemble(
        [line],
        "Tokens for a whole turn",
        430,
        xaxis={"title": {"text": "pair of dimensions"}},
        yaxis={"type": "log", "title": {"text": "tokens"}, "exponentformat": "power", "dtick": 1},
        shapes=[reach],
        showlegend=False,
    )


def score_line(scores: np.ndarray, distance: int) -> go.Figure:
    """The score of one query and one key by their distance, (N,), with a mark where they stand."""
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "if they stood so far apart",
        "x": np.arange(len(scores)),
        "y": scores,
        "line": {"color": LINE, "width": 2},
        "hovertemplate": "%{x} apart<br>attention score <b>%{y:+.5g}</b><extra></extra>",
    }
    here = {
        "type": "scatter",
        "mode": "markers",
        "name": "as they stand",
        "x": [distance],
        "y": [float(scores[distance])],
        "marker": {"color": HERE, "size": 12},
        "hovertemplate": "as they stand: %{x} apart<br>attention score <b>%{y:+.5g}</b><extra></extra>",
    }
    return assemble(
        [line, here],
        "",
        360,
        xaxis={"title": {"text": "distance in tokens"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "attention score"}, "zeroline": True},
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
    )


def parts_bars(parts: np.ndarray) -> go.Figure:
    """What each pair gives to a score, (P,)."""
    bars = {
        "type": "bar",
        "x": np.arange(len(parts)),
        "y": parts,
        "marker": {"color": [style.MORE if value > 0 else style.LESS for value in parts.tolist()]},
        "hovertemplate": "pair %{x}<br>gives <b>%{y:+.5g}</b><extra></extra>",
    }
    return assemble(
        [bars],
        "",
        300,
        xaxis={"title": {"text": "pair of dimensions"}, "showgrid": False},
        yaxis={"title": {"text": "part of the score"}, "zeroline": True},
        showlegend=False,
    )
