"""The loss by position, gradients by layer and head, and a step over learning rates, as pictures.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Tokens are drawn literally. Shapes: T tokens, L layers, H heads, G groups, n tokens shown, R learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import assemble, label
from gptviz.figures.masking import tick_tokens
from gptviz.figures.matrix import Matrix, matrix

BEFORE, AFTER, PREDICTED = style.CATEGORICAL[0], style.CATEGORICAL[4], style.CATEGORICAL[1]
LEAST_BAR = 14  # pixels of a position: where a sentence needs more than its place has, it is scrolled
HALF_PAGE = 360  # pixels that the cells of a matrix take, of two that stand side by side
CELL = 40  # pixels of a row of a map
FRAME = "#e69f00"  # told from the scale by everybody, on a light and on a dark page
LEGEND = {  # over the chart, and under the buttons that a phone shows there
    "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
    "margin": {"l": 8, "r": 8, "t": 80, "b": 8},
}
MOST_NUMBERS = 8  # columns of a map whose cells have room for their numbers
FEW_DECADES, MOST_TICKS = 3, 8  # of a loss
DECADES = 1.0  # the least that a scale of norms spans, so that equal ones do not look different
DARKEST = -4.0  # decades under the largest norm that are told apart; what is smaller is the darkest


def loss_bars(
    nats: np.ndarray, inputs: Sequence[str], targets: Sequence[str], after: np.ndarray | None = None
) -> go.Figure:
    """Cross-entropy by position, (T - 1,) nats, with its mean as a line; and, where it is given, after a step.

    As wide as its positions need; see `LEAST_BAR`.

    Args:
        inputs, targets: T - 1 tokens each: what stands at a position, and what it is asked for.
        after: (T - 1,) nats.
    """
    hover = list(zip(map(label, inputs), map(label, targets), range(len(inputs)), strict=True))
    shown = [("cross-entropy", BEFORE, nats)] if after is None else [("before", BEFORE, nats), ("after", AFTER, after)]
    traces = []
    for name, colour, values in shown:
        traces += [position_bars(name, colour, values, hover), mean_line(values, "mean " + name, colour)]
    step = max(1, math.ceil(len(nats) / 32)) if len(nats) * LEAST_BAR < 1000 else 2
    ticks = tick_tokens(targets, most=math.ceil(len(nats) / step))
    figure = assemble(
        traces,
        "",
        330,
        xaxis=ticks | {"title": {"text": "target: the token that came"}},
        yaxis={"title": {"text": "nats"}, "rangemode": "tozero"},
        barmode="group",
        **LEGEND,
        bargap=0.25,
        bargroupgap=0,
    )
    figure.layout.width = 140 + LEAST_BAR * len(nats)
    return figure


def position_bars(name: str, colour: str, values: np.ndarray, hover: list[tuple]) -> dict[str, Any]:
    """One bar a position."""
    return {
        "type": "bar",
        "name": name,
        "x": list(range(len(values))),
        "y": finite(values),
        "marker": {"color": colour, "line": {"width": 0}},
        "customdata": hover,
        "hovertemplate": "position %{customdata[2]}: after %{customdata[0]} came %{customdata[1]}<br>"
        + f"{name} <b>%{{y:.4f}}</b> nats<extra></extra>",
    }


def mean_line(values: np.ndarray, name: str, colour: str) -> dict[str, Any]:
    """The mean over the positions, across all of them; in the ink of the page where bars have its colour."""
    ends = [-0.5, len(values) - 0.5]
    line = {"color": style.INK if colour == BEFORE else colour, "dash": "dash", "width": 2}
    return line_of(ends, np.array([values.mean()] * 2), name, line, f"{name} <b>%{{y:.4f}}</b> nats")


def line_of(x: Sequence[float], y: np.ndarray, name: str, line: dict[str, Any], hover: str) -> dict[str, Any]:
    """A line, interrupted where a value is not finite."""
    shape = {"type": "scatter", "mode": "lines", "name": name, "line": line, "hovertemplate": hover + "<extra></extra>"}
    return shape | {"x": list(x), "y": finite(y)}


def finite(values: np.ndarray) -> list[float | None]:
    """What is not finite as a gap."""
    return [float(value) if math.isfinite(value) else None for value in values]


def logit_bars(tokens: Sequence[str], gradient: np.ndarray, target: int | None) -> go.Figure:
    """p - onehot of n tokens, the first on top: to the right what a step pushes down, to the left what it pulls up.

    Args:
        tokens: n tokens, literal.
        gradient: (n,), each from -1 to 1.
        target: index of the token that came; None where it is not among them.
    """
    places = list(range(len(tokens)))
    names = [f"<b>{label(token)}</b> (target)" if i == target else label(token) for i, token in enumerate(tokens)]
    bars = {
        "type": "bar",
        "x": gradient.tolist(),
        "y": places,
        "orientation": "h",
        "marker": {"color": [style.LESS if value < 0 else style.MORE for value in gradient], "line": {"width": 0}},
        "text": [signed(value) for value in gradient],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [label(token) for token in tokens],
        "hovertemplate": "%{customdata}<br>p − onehot <b>%{x:+.6f}</b><extra></extra>",
    }
    most = float(np.abs(gradient).max(initial=0)) or 1.0
    return assemble(
        [bars],
        "",
        100 + 28 * len(tokens),
        xaxis={"title": {"text": "∂loss / ∂logit = p − onehot"}, "range": [-1.7 * most, 1.7 * most]},
        yaxis=named(names) | {"range": [len(tokens) - 0.5, -0.5]},
        bargap=0.25,
        showlegend=False,
    )


def named(names: Sequence[str]) -> dict[str, Any]:
    """An axis of 0, 1, ... that reads as names."""
    places = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": list(names)}
    return places | {"showgrid": False, "zeroline": False}


def signed(value: float) -> str:
    """With its sign and three digits after the point, unless it is smaller than that."""
    text = f"{value:+.3f}" if abs(value) >= 0.0005 or value == 0 else f"{value:+.1e}"
    return style.minus(text)


def attention_pair(
    weights: np.ndarray, gradient: np.ndarray, tokens: Sequence[str], name: str
) -> tuple[Matrix, Matrix]:
    """One head's weights and a gradient on them, (T, T) twice, cell by cell alike, to stand side by side.

    What lies in the future of a query is drawn as masked. Weights are on a scale from 0 to 1, the gradient on one that
    is centred on 0.
    """
    seen, axes = np.tri(len(tokens), dtype=bool), ("queries", "keys")
    weights, gradient = (np.where(seen, values, -np.inf) for values in (weights, gradient))
    return (
        matrix(weights, tokens, tokens, title="weights A", signed=False, limit=1.0, axes=axes, room=HALF_PAGE),
        matrix(gradient, tokens, tokens, title=name, signed=True, axes=axes, room=HALF_PAGE),
    )


def norm_span(*values: np.ndarray) -> tuple[float, float]:
    """The ends of one logarithmic scale for all of these norms, as powers of ten."""
    logs = [log_norms(np.asarray(norms, dtype=np.float64)) for norms in values]
    every = np.concatenate([norms.ravel() for norms in logs])
    every = every[np.isfinite(every)]
    if not len(every):
        return -DECADES, 0.0
    high = float(every.max())
    low = max(float(every.min()), high + DARKEST)
    return min(low, high - DECADES), high


def log_norms(values: np.ndarray) -> np.ndarray:
    """log10, NaN for 0."""
    return np.log10(values, out=np.full(values.shape, np.nan), where=values > 0)


def with_outside(layers: np.ndarray, outside: Sequence[float]) -> np.ndarray:
    """Norms by group and layer (G, L) and of N tables outside the layers, as one map with gaps: (G + N, L + 1)."""
    groups, n_layers = layers.shape
    every = np.full((groups + len(outside), n_layers + 1), np.nan)
    every[:groups, :n_layers] = layers
    every[groups:, n_layers] = outside
    return every


def norm_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    span: tuple[float, float],
    *,
    axes: tuple[str, str],
    title: str = "",
    unit: str = "norm",
    framed: tuple[int, int] | None = None,
) -> go.Figure:
    """Norms as a map with the numbers in its cells, on a logarithmic scale that other maps may share.

    Args:
        values: (N, M), 0 or more; NaN where there is none.
        rows: N names; columns: M names.
        span: ends of the scale; see `norm_span`.
        axes: what rows and columns are, "" to leave it out.
        unit: the name of a value, on hover.
        framed: a (row, column) to mark.
    """
    values = np.asarray(values, dtype=np.float64)
    cells = {
        "type": "heatmap",
        "z": np.where(values == 0, span[0], log_norms(values)),
        "zmin": span[0],
        "zmax": span[1],
        "colorscale": style.SEQUENTIAL,
        "xgap": 2,
        "ygap": 2,
        "text": [["" if math.isnan(value) else three_digits(value) for value in row] for row in values.tolist()],
        "texttemplate": "%{text}" if len(columns) <= MOST_NUMBERS else None,
        "textfont": {"size": style.SMALL_FONT_SIZE},
        "customdata": values,
        "hoverongaps": False,
        "hovertemplate": f"{axes[0]} %{{y}}<br>{axes[1]} %{{x}}<br>{unit} <b>%{{customdata:.6g}}</b><extra></extra>",
        "showscale": False,
    }
    return assemble(
        [cells],
        title,
        90 + (30 if title else 0) + CELL * len(rows),
        xaxis=named(columns) | {"title": {"text": axes[1]}, "range": [-0.5, len(columns) - 0.5]},
        yaxis=named(rows) | {"title": {"text": axes[0]}, "range": [len(rows) - 0.5, -0.5]},
        shapes=[frame(*framed)] if framed else [],
    )


def frame(row: int, column: int) -> dict[str, Any]:
    """A line around one cell."""
    edges = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return {"type": "rect", "line": {"width": 2.5, "color": FRAME}} | edges


def three_digits(value: float) -> str:
    """A norm in its cell."""
    if value == 0 or 1e-3 <= value < 1e3:
        return f"{value:.3g}"
    return f"{value:.0e}".replace("e-0", "e−").replace("e+0", "e")


def rate_curve(
    rates: Sequence[float], losses: np.ndarray, before: float, slope: float, chosen: float | None = None
) -> go.Figure:
    """The loss after one step over the learning rate, beside what the gradient alone predicts; both axes logarithmic.

    Args:
        rates: R learning rates, rising.
        losses: (R,) mean loss after the step; a gap where it is not finite, or 0.
        before: mean loss without a step, above 0.
        slope: the predicted loss is before - rate * slope; its line ends where that is no longer above 0.
        chosen: a learning rate to mark.
    """
    losses = np.asarray(losses, dtype=np.float64)
    fine = np.geomspace(rates[0], rates[-1], 200)
    straight = before - fine * slope
    lowest = np.nanmin(np.append(losses[np.isfinite(losses)], before))
    straight[straight < lowest / 4] = np.nan
    hover = "learning rate %{x:.3g}<br>%{fullData.name} <b>%{y:.4g}</b> nats"
    unchanged, ends = {"color": BEFORE, "width": 2}, [rates[0], rates[-1]]
    predicted, taken = {"color": PREDICTED, "dash": "dot", "width": 3}, {"color": AFTER, "width": 3}
    points = {"mode": "lines+markers", "marker": {"size": marker_sizes(rates, chosen)}}
    ticks = loss_ticks(np.concatenate([losses, [before], straight]))
    return assemble(
        [
            line_of(ends, np.array([before] * 2), "before", unchanged, hover),
            line_of(fine, straight, "first-order prediction", predicted, hover),
            line_of(rates, np.where(losses > 0, losses, np.nan), "after the step", taken, hover) | points,
        ],
        "",
        380,
        xaxis={"type": "log", "title": {"text": "learning rate"}, "exponentformat": "power", "dtick": 1},
        yaxis={"type": "log", "title": {"text": "loss, nats"}, **ticks},
        **LEGEND,
    )


def loss_ticks(values: np.ndarray) -> dict[str, Any]:
    """Ticks of a logarithmic axis: 1, 2 and 5 over a few decades, powers of ten, and not all of them, over many."""
    values = values[np.isfinite(values) & (values > 0)]
    low, high = (math.floor(math.log10(end)) for end in (values.min(), values.max())) if len(values) else (0, 0)
    digits, step = ((1, 2, 5), 1) if high - low < FEW_DECADES else ((1,), math.ceil((high - low) / MOST_TICKS))
    ticks = [digit * 10.0**power for power in range(low, high + 2, step) for digit in digits]
    return {"tickvals": ticks, "ticktext": [tick_text(tick) for tick in ticks]}


def tick_text(value: float) -> str:
    """A round number at an axis."""
    return f"{value:,g}" if 1e-3 <= value < 1e6 else f"10<sup>{style.minus(f'{math.log10(value):.0f}')}</sup>"


def marker_sizes(rates: Sequence[float], chosen: float | None) -> list[int]:
    """The chosen one is larger."""
    return [16 if chosen is not None and math.isclose(rate, chosen, rel_tol=1e-9) else 9 for rate in rates]
