"""Where the heads of a layer look, as bars: before the query, at itself, after it.

Takes arrays, returns figures; knows nothing about models or pages. Shapes: H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style

EVEN = "spread evenly"
PARTS = ("earlier", "itself", "later")
COLOURS = (style.CATEGORICAL[0], style.CATEGORICAL[6], style.CATEGORICAL[4])
BAR = 30  # pixels of a bar and the gap below it


def share_bars(
    shares: np.ndarray, distances: np.ndarray, even: Sequence[float], layer: int, chosen: int, title: str
) -> go.Figure:
    """One bar a head of a layer, cut into its three shares, in per cent; below, what an even spread would give.

    Args:
        shares: (3, H) on earlier tokens, on the query itself, on later ones; each head's add up to 1.
        distances: (H,) tokens, on hover.
        even: its three shares and its distance.
        layer: for the names of the heads; chosen: the head whose name is set off.
    """
    heads = shares.shape[1]
    names = [f"head {layer}.{head}" for head in range(heads)]
    whole = np.concatenate([shares, np.array(even[:3])[:, None]], axis=1)  # (3, H + 1)
    hovers = [
        f"{name}: mean distance {value:.2f} tokens"
        for name, value in zip([*names, EVEN], [*distances, even[3]], strict=True)
    ]
    figure = go.Figure([part(name, *row) for name, *row in zip(PARTS, 100 * whole, COLOURS, [hovers] * 3, strict=True)])
    names[chosen] = f"<b>▸ {names[chosen]}</b>"
    figure.update_yaxes(
        tickvals=list(range(heads + 1)),
        ticktext=[*names, f"<i>{EVEN}</i>"],
        range=[heads + 0.6, -0.6],
        showgrid=False,
        zeroline=False,
    )
    figure.update_xaxes(title_text="% of its attention", range=[0, 100], zeroline=False)
    figure.update_layout(barmode="stack", bargap=0.3)
    style.base_layout(figure, height=150 + BAR * (heads + 1), title=title)
    return figure.update_layout(margin={"l": 8, "r": 16, "t": 76, "b": 8}, legend_traceorder="normal")


def part(name: str, values: np.ndarray, colour: str, hovers: Sequence[str]) -> go.Bar:
    """One of the three shares of every bar, (H + 1,) in per cent."""
    return go.Bar(
        name=name,
        orientation="h",
        x=values,
        y=list(range(len(values))),
        marker_color=colour,
        customdata=hovers,
        hovertemplate="%{customdata}<br>" + name + ": <b>%{x:.2f}%</b><extra></extra>",
    )
