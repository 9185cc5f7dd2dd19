"""A reference translation position by position: what it was given, inside what the model's own choice was given.

Takes arrays and labels, returns figures; knows nothing about models, pages or where the numbers came from.
Tokens are drawn literally. Shapes: T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gptviz.figures import style
from gptviz.figures.heatmap import LONGEST_LABEL, assemble, label
from gptviz.figures.predictions import DRAWN, percent

OWN, REFERENCE = style.CATEGORICAL[0], DRAWN
CHARACTER = 7.2  # pixels of a character under a bar
NARROWEST = 46  # pixels of a position
LEFT, RIGHT = 76, 48  # pixels beside the bars; the last token, the end of text, is the longest


def forced_bars(
    reference: Sequence[str],
    probability: np.ndarray,
    choices: Sequence[str],
    choice_probability: np.ndarray,
    at: int | None = None,
) -> go.Figure:
    """A wide bar for the likeliest token of each place, and in it a narrow one for the reference's.

    What is left of the wide one is what the model would rather have said; where both are one token, the narrow bar
    fills it. As wide as the tokens under the bars need.

    Args:
        reference, choices: T tokens each, literal.
        probability, choice_probability: (T,).
        at: a position to mark.
    """
    rows = zip(reference, probability.tolist(), choices, choice_probability.tolist(), strict=True)
    hover = [hover_text(place, *row) for place, row in enumerate(rows)]
    names = [tick(token, choice) for token, choice in zip(reference, choices, strict=True)]
    across = {
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "tickangle": 0,
        "tickfont": {"size": style.SMALL_FONT_SIZE},
    }
    mark = {
        "type": "rect", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}, "fillcolor": style.GRID,
        "layer": "below",
    }  # fmt: skip
    figure = assemble(
        [
            bars("the model's own choice", OWN, choice_probability, 0.82, hover) | {"opacity": 0.5},
            bars("the reference's token", REFERENCE, probability, 0.4, hover),
        ],
        "",
        360,
        xaxis=across | {"range": [-0.6, len(names) - 0.4]},
        yaxis={"title": {"text": "probability"}, "tickformat": ".0%", "range": [0, 1.02], "automargin": False},
        barmode="overlay",
        margin={"l": LEFT, "r": RIGHT, "t": 40, "b": 56},
        shapes=[] if at is None else [mark | {"x0": at - 0.5, "x1": at + 0.5}],
    )
    figure.layout.width = LEFT + RIGHT + len(names) * place_width([*reference[:-1], *choices[:-1]])
    return figure


def bars(name: str, colour: str, values: np.ndarray, width: float, hover: list[str]) -> dict[str, Any]:
    """One bar a position."""
    return {
        "type": "bar",
        "name": name,
        "x": list(range(len(values))),
        "y": values.tolist(),
        "width": width,
        "marker": {"color": colour, "line": {"width": 0}},
        "customdata": hover,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def hover_text(place: int, token: str, probability: float, choice: str, choice_probability: float) -> str:
    """Both tokens with what they were given."""
    own = "the same" if token == choice else f"{label(choice)} <b>{percent(choice_probability)}</b>"
    return f"position {place}<br>reference: {label(token)} <b>{percent(probability)}</b><br>model's choice: {own}"


def tick(token: str, choice: str) -> str:
    """Under a bar: the reference's token, and below it, in italics, the model's where that is another one."""
    return label(token) if token == choice else f"{label(token)}<br><i>{label(choice)}</i>"


def place_width(tokens: Sequence[str]) -> int:
    """Pixels of a position, so that the tokens under the bars do not touch."""
    longest = max((len(style.visible(token)) for token in tokens), default=1)
    return max(NARROWEST, round(CHARACTER * min(longest, LONGEST_LABEL)) + 10)
