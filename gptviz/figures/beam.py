"""What could follow a beginning, as a picture: the likeliest tokens, and which of them the search kept.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Tokens are drawn literally. Shapes: n candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import assemble, label
from gptviz.figures.predictions import OTHERS, percent

KEPT, DROPPED = style.CATEGORICAL[0], OTHERS


def candidate_bars(
    tokens: Sequence[str], probability: np.ndarray, totals: np.ndarray, kept: Sequence[bool]
) -> go.Figure:
    """The likeliest continuations of a beginning, the likeliest on top, with the totals that the search compares.

    Args:
        tokens: n tokens, literal.
        probability: (n,), of the whole vocabulary.
        totals: (n,) log-probability of the beginning with this token, nats.
        kept: n, whether the beam went on with it.
    """
    rows = zip(probability.tolist(), totals, kept, strict=True)
    notes = [f"{percent(p)}, total {signed(total)}{' ✓' if is_kept else ''}" for p, total, is_kept in rows]
    traces = []
    for name, colour, wanted in (("✓ kept by the beam", KEPT, True), ("not kept", DROPPED, False)):
        places = [i for i, is_kept in enumerate(kept) if is_kept == wanted]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "orientation": "h",
                "x": [float(probability[i]) for i in places],
                "y": places,
                "marker": {"color": colour, "line": {"width": 0}},
                "text": [notes[i] for i in places],
                "textposition": "auto",  # inside where it fits: on a phone there is no room beside a long bar
                "insidetextanchor": "end",
                "insidetextfont": {"color": "#ffffff"},
                "textangle": 0,
                "cliponaxis": False,
                "customdata": [f"{label(tokens[i])}<br>{notes[i]}" for i in places],
                "hovertemplate": "%{customdata}<br>" + name + "<extra></extra>",
            }
        )
    most = float(max(probability, default=0.0)) or 1.0
    return assemble(
        traces,
        "",
        140 + 30 * len(tokens),
        xaxis={"title": {"text": "probability of the next token"}, "tickformat": ".0%", "range": [0, 1.5 * most]},
        yaxis={
            "tickvals": list(range(len(tokens))),
            "ticktext": [label(token) for token in tokens],
            "range": [len(tokens) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        barmode="overlay",
        bargap=0.25,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
    )


def signed(value: float) -> str:
    """A log-probability, with a minus that is as wide as a digit."""
    return style.minus(f"{value:.3f}")
