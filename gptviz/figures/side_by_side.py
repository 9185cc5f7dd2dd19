"""Two models on one sentence: their attention on one scale, and the next tokens that each expects.

Takes arrays and labels, returns figures; knows nothing about models or pages. Shapes: P pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import heatmap, label
from gptviz.figures.masking import MASKED, UNMASKED, probability_bars

COLOURS = (MASKED, UNMASKED)


def attention_difference(first: np.ndarray, second: np.ndarray, pieces: Sequence[str]) -> go.Figure:
    """The second's attention minus the first's, (P, P), on the diverging scale from -1 to 1."""
    return heatmap(second - first, pieces, pieces, scale="diverging", span=(-1, 1), unit="change of weight")


def two_next_bars(
    tokens: Sequence[str], first: Sequence[float | None], second: Sequence[float | None], names: tuple[str, str]
) -> go.Figure:
    """What each of two models gives to n tokens, the first at the top; None where a vocabulary has no such token."""
    figure = go.Figure()
    for name, colour, values in zip(names, COLOURS, (first, second), strict=True):
        notes = ["no such token" if value is None else f"{value:.1%}" for value in values]
        figure.add_trace(probability_bars(name, colour, np.array([value or 0.0 for value in values]), tokens, notes))
    places = list(range(len(tokens)))
    figure.update_yaxes(tickmode="array", tickvals=places, ticktext=[label(token) for token in tokens])
    figure.update_yaxes(range=[len(tokens) - 0.5, -0.5], showgrid=False, zeroline=False)
    top = max([value or 0.0 for value in (*first, *second)], default=0) or 1.0
    figure.update_xaxes(title_text="probability of the next token", range=[0, 1.25 * top])
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0)
    return style.base_layout(figure, height=110 + 40 * len(tokens))
