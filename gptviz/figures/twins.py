"""Two trainings side by side: their losses, and what each gives to the tokens of a sentence.

Takes arrays and labels, returns figures; knows nothing about models or pages. Shapes: T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.masking import MASKED, UNMASKED, hover_tokens, tick_tokens

UNSEEN, REMASKED = style.CATEGORICAL[2], style.CATEGORICAL[3]
COLOURS = (MASKED, UNMASKED, UNSEEN, REMASKED)
HELD_OUT_DASH = "dot"


class Curves(NamedTuple):
    """The losses of one training, (n,) steps and nats, to train on and held out."""

    steps: np.ndarray
    train: np.ndarray
    valid_steps: np.ndarray
    valid: np.ndarray


def loss_curves(curves: Mapping[str, Curves], step: int | None = None) -> go.Figure:
    """Both trainings on the same axes, steps on a logarithmic one; held-out losses are dotted; `step` is marked."""
    figure = go.Figure()
    for (name, each), colour in zip(curves.items(), COLOURS, strict=False):
        for x, y, kind, dash, width in (
            (each.steps, each.train, "trained on", "solid", 2),
            (each.valid_steps, each.valid, "held out", HELD_OUT_DASH, 3),
        ):
            figure.add_scatter(
                x=x, y=y, name=f"{name}, {kind}", mode="lines", line={"color": colour, "dash": dash, "width": width},
                hovertemplate=f"{name}, {kind}<br>step %{{x:.0f}}: <b>%{{y:.4f}}</b> nats<extra></extra>",
            )  # fmt: skip
    if step:  # step 0 has no place on a logarithmic axis
        figure.add_vline(x=step, line={"color": style.GRID.replace("0.25", "0.9"), "width": 2})
    figure.update_xaxes(type="log", title_text="step of training", dtick=1)
    figure.update_yaxes(title_text="loss, nats per token", rangemode="tozero")
    style.base_layout(figure, height=400)
    return figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})


def next_bars(probabilities: Mapping[str, np.ndarray], tokens: Sequence[str]) -> go.Figure:
    """The probability of each token that really came, once for each way to read: (T - 1,) of the T tokens.

    Raises:
        ValueError: if there is not one number for each token but the first.
    """
    came, before = hover_tokens(tokens[1:]), hover_tokens(tokens[:-1])
    figure = go.Figure()
    for (name, values), colour in zip(probabilities.items(), COLOURS, strict=False):
        if len(values) != len(came):
            raise ValueError(
                f"expected one probability for each of {len(tokens)} tokens but the first, found {len(values)}"
            )
        figure.add_bar(
            name=name, x=list(range(len(came))), y=values, marker_color=colour,
            customdata=list(zip(before, came, strict=True)),
            hovertemplate="after %{customdata[0]} came %{customdata[1]}<br>" + name
            + ": probability <b>%{y:.4g}</b><extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(tick_tokens(tokens[1:]), title_text="the token that really came")
    figure.update_yaxes(title_text="its probability", range=[0, 1], tickformat=".0%")
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0)
    return style.base_layout(figure, height=360)
