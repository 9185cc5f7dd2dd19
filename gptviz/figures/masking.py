"""Masked and unmasked, side by side: attention maps, the share moved to the future, changed predictions.

Takes arrays and labels, returns figures; knows nothing about models or pages. Shapes: L layers, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import heatmap, label

MASKED, UNMASKED = style.CATEGORICAL[0], style.CATEGORICAL[1]
CHOSEN, OTHERS = style.CATEGORICAL[4], style.CATEGORICAL[6]
BAR_ABOVE = {  # a colour bar at the side would take its width from the cells
    "orientation": "h",
    "thickness": 10,
    "len": 0.96,
    "y": 1.01,
    "yanchor": "bottom",
    "nticks": 5,
    "tickfont": {"size": style.SMALL_FONT_SIZE},
    "outlinewidth": 0,
}


def difference_map(difference: np.ndarray, tokens: Sequence[str]) -> go.Figure:
    """What removing the mask changes in one head: (T, T), on the diverging scale from -1 to 1 whatever the head.

    So a small change looks small.
    """
    return heatmap(difference, tokens, tokens, scale="diverging", span=(-1, 1), unit="change of weight")


def heads_map(moved: np.ndarray, layer: int, head: int) -> go.Figure:
    """Share of attention moved to the future for every head, (L, H), with the chosen one framed.

    In per cent, all heads on one scale from 0 to 100. A point lies on every cell, at (head, layer): Streamlit reports
    no click on a cell itself.
    """
    n_layers, n_heads = moved.shape
    layers, heads = (index.ravel() for index in np.indices(moved.shape))
    cells = go.Heatmap(
        z=100 * moved,
        zmin=0,
        zmax=100,
        colorscale=style.SEQUENTIAL,
        xgap=2,
        ygap=2,
        texttemplate="%{z:.0f}",
        textfont={"size": style.FONT_SIZE if n_heads <= 12 else style.SMALL_FONT_SIZE - 2},
        hoverinfo="skip",
        colorbar=BAR_ABOVE | {"title": {"text": "% of its attention moved to the future", "side": "top"}},
    )
    shares = [f"head {a}.{b}: {moved[a, b]:.2%} moved to the future" for a, b in zip(layers, heads, strict=True)]
    points = go.Scatter(
        x=heads,
        y=layers,
        mode="markers",
        marker={"size": 30, "symbol": "square", "opacity": 0},
        text=shares,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    figure = go.Figure([cells, points])
    figure.update_xaxes(whole_numbers("head", n_heads))
    figure.update_yaxes(whole_numbers("layer", n_layers), autorange="reversed")
    figure.add_shape(
        type="rect", x0=head - 0.5, x1=head + 0.5, y0=layer - 0.5, y1=layer + 0.5, line={"width": 4, "color": CHOSEN}
    )
    style.base_layout(figure, height=180 + 42 * n_layers)
    return figure.update_layout(margin={"l": 8, "r": 8, "t": 84, "b": 72}, xaxis_title_standoff=48)


def whole_numbers(title: str, n: int) -> dict:
    """An axis that counts from 0."""
    return {"title": {"text": title}, "tickvals": list(range(n)), "showgrid": False, "zeroline": False}


def position_bars(divergence: np.ndarray, tokens: Sequence[str], chosen: int) -> go.Figure:
    """How far the prediction after each token changes: bars (T,) of bits, the chosen one in another colour."""
    bars = go.Bar(
        x=list(range(len(tokens))),
        y=divergence,
        marker_color=[CHOSEN if i == chosen else OTHERS for i in range(len(tokens))],
        customdata=hover_tokens(tokens),
        hovertemplate="after %{customdata}<br><b>%{y:.6g}</b> bits<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(tick_tokens(tokens), title_text="the prediction after …")
    figure.update_yaxes(title_text="D(masked ‖ unmasked), bits", rangemode="tozero", exponentformat="e")
    return style.base_layout(figure, height=280)


def change_bars(masked: np.ndarray, unmasked: np.ndarray, tokens: Sequence[str]) -> go.Figure:
    """Probability of n tokens with the mask and without: (n,) twice, first token at the top, the change written out."""
    places = list(range(len(tokens)))
    changes = [change_text(after - before) for before, after in zip(masked, unmasked, strict=True)]
    figure = go.Figure(
        [
            probability_bars("masked, as trained", MASKED, masked, tokens),
            probability_bars("unmasked", UNMASKED, unmasked, tokens, changes),
        ]
    )
    figure.update_yaxes(tickmode="array", tickvals=places, ticktext=[label(token) for token in tokens])
    figure.update_yaxes(range=[len(tokens) - 0.5, -0.5], showgrid=False, zeroline=False)
    top = max([*masked, *unmasked], default=0) or 1.0
    figure.update_xaxes(title_text="probability of the next token", range=[0, 1.18 * top])
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0)
    return style.base_layout(figure, height=110 + 40 * len(tokens))


def change_text(change: float) -> str:
    """A change of probability, three digits after the point unless it is smaller than that."""
    text = f"{change:+.3f}" if abs(change) >= 0.0005 or change == 0 else f"{change:+.1e}"
    return style.minus(text)


def probability_bars(
    name: str, colour: str, values: np.ndarray, tokens: Sequence[str], notes: Sequence[str] | None = None
) -> go.Bar:
    """One pass as horizontal bars, with a note at the end of each."""
    return go.Bar(
        name=name,
        orientation="h",
        x=values,
        y=list(range(len(tokens))),
        marker_color=colour,
        customdata=hover_tokens(tokens),
        hovertemplate="%{customdata}<br>" + name + ": <b>%{x:.6f}</b><extra></extra>",
        text=notes,
        textposition="outside",
        cliponaxis=False,
    )


def surprise_bars(masked: np.ndarray, unmasked: np.ndarray, tokens: Sequence[str]) -> go.Figure:
    """Surprise at the token that really came, (T - 1,) bits in both passes; `tokens` are all T of the sentence."""
    if len(masked) != max(0, len(tokens) - 1) or len(unmasked) != len(masked):
        raise ValueError(
            f"expected one surprise for each of {len(tokens)} tokens but the first, "
            f"found {len(masked)} and {len(unmasked)}"
        )
    came, before = hover_tokens(tokens[1:]), hover_tokens(tokens[:-1])
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=list(range(len(came))),
                y=values,
                marker_color=colour,
                customdata=list(zip(before, came, strict=True)),
                hovertemplate="after %{customdata[0]} came %{customdata[1]}<br>"
                + name
                + ": <b>%{y:.4f}</b> bits<extra></extra>",
            )
            for name, colour, values in (
                ("masked, as trained", MASKED, masked),
                ("unmasked: the answer is in view", UNMASKED, unmasked),
            )
        ]
    )
    figure.update_xaxes(tick_tokens(tokens[1:]), title_text="the token that really came")
    figure.update_yaxes(title_text="surprise, bits", rangemode="tozero")
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0)
    return style.base_layout(figure, height=320)


def tick_tokens(tokens: Sequence[str], most: int = 32) -> dict:
    """An axis with a token at every position, or at every n-th where they would run into each other."""
    places = list(range(0, len(tokens), max(1, -(-len(tokens) // most))))
    return {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [label(tokens[i]) for i in places],
        "range": [-0.5, len(tokens) - 0.5],
        "showgrid": False,
        "zeroline": False,
    }


def hover_tokens(tokens: Sequence[str]) -> list[str]:
    """Tokens for hover texts, literal."""
    return [label(token) for token in tokens]
