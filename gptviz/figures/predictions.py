"""Distributions over the next token as pictures: bars, the funnel with its draw, and a sentence judged token by token.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Tokens are drawn literally. Shapes: n tokens shown, S stages of the funnel, K segments of a bar, T tokens.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style

OTHERS = "#757575"  # many tokens together: never mistaken for one; white text on it can be read
DRAWN = "#e69f00"
POINT = "#d55e00"
SEGMENTS = ("#0072b2", "#3b8fc4")  # neighbours on one bar, told apart
REMOVED = {
    "color": "rgba(128,128,128,0.06)",
    "pattern": {"shape": "/", "fgcolor": "rgba(128,128,128,0.7)", "size": 6},
    "line": {"width": 0},
}
LONGEST_LABEL = 18  # characters of a token beside a bar; the hover shows all of it
MOST_TICKS = 40  # tokens under a chart: more would run into each other
MOST_RANKS = 24  # tokens up to which the rank is written above its bar


def percent(p: float) -> str:
    """A probability in per cent, with the digits that it has: 34.2%, 0.012%, 3e-07%. Never rounded to 0 or 100."""
    if p in (0, 1):
        return f"{100 * p:.0f}%"
    if p > 0.9995:
        return ">99.9%"
    return f"{100 * p:.1f}%" if p >= 0.0995 else f"{100 * p:.2g}%"


def short(token: str) -> str:
    """A token as a label: literal, cut if very long."""
    seen = style.visible(token)
    return style.plotly_text(seen if len(seen) <= LONGEST_LABEL else seen[: LONGEST_LABEL - 1] + "…")


def top_bars(
    tokens: Sequence[str], probabilities: np.ndarray, rest: float, others: int, *, drawn: int | None = None
) -> go.Figure:
    """The likeliest tokens as bars, the likeliest on top, and one bar for all the others together.

    Args:
        tokens: n tokens, literal.
        probabilities: (n,), of the whole vocabulary.
        rest: probability of the `others` tokens that are not shown; their bar is left out if there are none.
        drawn: index of a bar to mark as the one that was drawn.
    """
    values, labels = [*map(float, probabilities)], [short(token) for token in tokens]
    names = [style.plotly_text(token) for token in tokens]
    colours = [DRAWN if i == drawn else style.CATEGORICAL[0] for i in range(len(values))]
    if others:
        values, colours = [*values, rest], [*colours, OTHERS]
        label = f"{others:,} others"
        labels, names = [*labels, f"<i>{label}</i>"], [*names, f"the {label} together"]
    bars = go.Bar(
        x=values,
        y=list(range(len(values))),
        orientation="h",
        marker={"color": colours, "line": {"width": 0}},
        text=[percent(value) for value in values],
        textposition="outside",
        cliponaxis=False,
        customdata=names,
        hovertemplate="%{customdata}<br>probability <b>%{x:.6g}</b><extra></extra>",
    )
    fig = style.base_layout(go.Figure(bars), height=90 + 30 * len(values))
    ticks = {
        "tickmode": "array",
        "tickvals": list(range(len(values))),
        "ticktext": labels,
        "tickfont_size": style.FONT_SIZE,
    }
    fig.update_yaxes(**ticks, range=[len(values) - 0.5, -0.5], showgrid=False, zeroline=False)
    fig.update_xaxes(title="probability", tickformat=".0%", range=[0, 1.18 * max(values, default=1) or 1])
    return fig.update_layout(bargap=0.25, showlegend=False)


def funnel_names(temperature: float, top_k: int | None, top_p: float | None) -> list[str]:
    """The stages of a funnel, with their settings; None is off."""
    return [
        "Raw: the model's softmax",
        f"Temperature {temperature:g}" + (" (greedy)" if temperature == 0 else ""),
        "Top-k: off" if top_k is None else f"Top-k {top_k}",
        "Top-p: off" if top_p is None else f"Top-p {top_p:g}",
        "Scaled up to 1, and drawn from",
    ]


def funnel_bars(
    tokens: Sequence[str | None],
    counts: np.ndarray,
    widths: np.ndarray,
    removed: Sequence[float],
    stages: Sequence[str],
    *,
    draw: float | None = None,
    drawn: int | None = None,
) -> go.Figure:
    """Each stage as one bar from 0 to 1, tokens in the same order in all; hatched is what a stage takes away.

    Args:
        tokens: K tokens, literal; None for a run of several.
        counts: (S, K), how many tokens a segment stands for.
        widths: (S, K) probability that a segment keeps at each stage.
        removed: S, probability that each stage takes away; what then is missing to 1 went before, and is left empty.
        stages: S names, the first on top.
        draw: a number from 0 to 1, marked on the last bar; drawn: the segment that it falls into.
    """
    widths, rows = np.asarray(widths, dtype=np.float64), list(range(len(stages)))
    fig = go.Figure()
    for segment, token in enumerate(tokens):
        colour = DRAWN if segment == drawn else OTHERS if token is None else SEGMENTS[segment % 2]
        names = [f"{count:,} others" if token is None else short(token) for count in counts[:, segment].tolist()]
        full = [name if token is None else style.plotly_text(token) for name in names]
        fig.add_trace(segment_bar(widths[:, segment], rows, colour, names, full))
    fig.add_trace(removed_bar(removed, rows))
    if draw is not None:
        fig.add_trace(draw_point(draw, rows[-1]))
    style.base_layout(fig, height=100 + 78 * len(rows))
    for row, name, mass in zip(rows, stages, removed, strict=True):  # above the bars, not beside: fits a phone
        write(fig, html.escape(name, quote=False), 0, row, "left")
        write(fig, f"<b>−{percent(mass)}</b>" if mass > 0 else "", 1, row, "right")
    fig.update_yaxes(range=[len(rows) - 0.2, -0.75], visible=False)
    ticks = {"tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".0%", "showgrid": False, "zeroline": False}
    fig.update_xaxes(title="cumulative probability", range=[0, 1], **ticks)
    uniform = {"minsize": style.SMALL_FONT_SIZE, "mode": "hide"}
    margin = {"l": 22, "r": 26, "t": 4, "b": 8}
    return fig.update_layout(barmode="stack", bargap=0.5, showlegend=False, uniformtext=uniform, margin=margin)


def write(fig: go.Figure, text: str, x: float, row: int, side: str) -> None:
    """A line of text just above a bar of the funnel."""
    place = {"x": x, "y": row - 0.26, "xanchor": side, "yanchor": "bottom", "yshift": -2}
    fig.add_annotation(text=text, showarrow=False, font_size=style.FONT_SIZE, **place)


def segment_bar(widths: np.ndarray, rows: list[int], colour: str, names: list[str], full: list[str]) -> go.Bar:
    """One token (or run of tokens) through all stages."""
    return go.Bar(
        x=widths.tolist(),
        y=rows,
        orientation="h",
        marker={"color": colour, "line": {"width": 0}},  # shades tell neighbours apart; a line would glare in the dark
        text=[name if width > 0 else "" for name, width in zip(names, widths, strict=True)],
        textposition="inside",
        insidetextanchor="middle",
        insidetextfont={"color": "black" if colour == DRAWN else "white"},
        textangle=0,
        customdata=full,
        hovertemplate="%{customdata}<br>probability <b>%{x:.6g}</b><extra></extra>",
    )


def removed_bar(removed: Sequence[float], rows: list[int]) -> go.Bar:
    """What each stage takes away, hatched, at the end of its bar."""
    hover = "removed here: <b>%{x:.6g}</b><extra></extra>"
    return go.Bar(x=list(map(float, removed)), y=rows, orientation="h", marker=REMOVED, hovertemplate=hover)


def draw_point(u: float, row: int) -> go.Scatter:
    """The random number, where it falls."""
    return go.Scatter(
        x=[u, u],
        y=[row - 0.25, row + 0.4],
        mode="lines+markers+text",
        line={"color": POINT, "width": 3},
        marker={"size": [0, 16], "symbol": "triangle-up", "color": POINT, "opacity": 1},
        text=["", f"<b>u = {u:.4f}</b>"],
        textposition="middle right" if u < 0.6 else "middle left",
        textfont_size=style.FONT_SIZE,
        cliponaxis=False,
        hovertemplate=f"the draw: u = {u:.6f}<extra></extra>",
    )


def sentence_bars(
    tokens: Sequence[str],
    probability: np.ndarray,
    rank: Sequence[int | None],
    surprise: np.ndarray,
    entropy: np.ndarray,
    *,
    next_label: str = "next?",
) -> go.Figure:
    """Above, how likely each token was that came; below, in bits, how surprising that was and how open the choice.

    Args:
        tokens: T tokens, literal.
        probability, surprise: (T + 1,), NaN where no token was predicted; entropy: (T + 1,), NaN for the first.
        rank: T + 1, None where there is none.
        next_label: under the last place, where no token has come yet.
    """
    x = list(range(len(tokens) + 1))
    names = [*(style.plotly_text(token) for token in tokens), next_label]
    ranks = [f"#{r:,}" if r is not None else "" for r in rank]
    hover = "%{customdata}<br>%{fullData.name} <b>%{y:.4f}</b> bits<extra></extra>"
    came = go.Bar(
        x=x,
        y=clean(probability),
        yaxis="y2",
        name="probability",
        marker={"color": style.CATEGORICAL[0], "line": {"width": 0}},
        customdata=list(zip(names, ranks, strict=True)),
        text=ranks if len(tokens) <= MOST_RANKS else None,
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{customdata[0]}<br>probability <b>%{y:.6g}</b><br>rank %{customdata[1]}<extra></extra>",
    )
    bits = {"x": x, "customdata": names, "hovertemplate": hover}
    surprised = go.Bar(
        y=clean(surprise), name="surprise", marker={"color": style.CATEGORICAL[5], "line": {"width": 0}}, **bits
    )
    line = {"color": style.CATEGORICAL[1], "shape": "hvh", "width": 2}
    open_choice = go.Scatter(y=clean(entropy), name="entropy", mode="lines+markers", line=line, marker_size=8, **bits)
    fig = style.base_layout(go.Figure([came, surprised, open_choice]), height=540)
    step = max(1, math.ceil(len(x) / MOST_TICKS))
    labels = [*map(short, tokens), f"<i>{next_label}</i>"]
    ticks = {"tickmode": "array", "tickvals": x[::step], "ticktext": labels[::step]}
    fig.update_xaxes(**ticks, range=[-0.6, len(tokens) + 0.6], showgrid=False, zeroline=False)
    most = float(np.nanmax(np.append(probability, 0.0))) or 1.0
    upper = {"domain": [0.56, 1], "title": "probability", "tickformat": ".3~p", "range": [0, 1.2 * most]}
    fig.update_layout(
        yaxis={"domain": [0, 0.46], "title": "bits", "rangemode": "tozero"},
        yaxis2={**upper, "gridcolor": style.GRID, "anchor": "x", "automargin": True},
        barmode="overlay",
        bargap=0.3,
    )
    return fig


def clean(values: np.ndarray) -> list[float | None]:
    """NaN as a gap."""
    return [None if math.isnan(value) else float(value) for value in values]
