"""Pictures of predictions hold the very numbers that they were given, and tokens exactly as they are."""

from __future__ import annotations

import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptviz.figures import predictions as figures

HOSTILE = [
    "<b>bold</b>",
    "<img src=x onerror=alert(1)>",
    '<a href="x">y</a>',
    "&lt;",
    "a<br>b",
    " \n\t\x00",
    "$x$ **b**",
]
TAGS = ("<b>bold", "<img", "<a ", "a<br>", "\n", "\x00")


def texts(fig: go.Figure) -> list[str]:
    """Every piece of text that Plotly would read for tags."""
    found: list[str] = []

    def walk(value: object, name: str = "") -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, key)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, name)
        elif isinstance(value, str) and name in {"text", "ticktext", "customdata", "name"}:
            found.append(value)

    walk(json.loads(fig.to_json()))
    return found


@given(st.floats(0, 1))
def test_per_cent_never_rounds_to_none_or_all(p: float) -> None:
    text = figures.percent(p)
    assert text.endswith("%")
    assert (text == "0%") == (p == 0)
    assert (text == "100%") == (p == 1)
    if 0 < p <= 0.9995:
        assert float(text[:-1]) / 100 == pytest.approx(p, rel=0.06)


def test_bars_are_the_probabilities_and_one_bar_is_the_rest() -> None:
    p = np.array([0.5, 0.2, 0.1])
    bars = figures.top_bars([" a", " a", "<b>"], p, rest=0.2, others=4093, drawn=1).data[0]
    assert list(bars.x) == [0.5, 0.2, 0.1, 0.2]
    assert math.fsum(bars.x) == pytest.approx(1)
    assert list(bars.y) == [0, 1, 2, 3]  # equal tokens keep a bar each
    assert [colour == figures.DRAWN for colour in bars.marker.color] == [False, True, False, False]
    assert "4,093" in bars.customdata[-1]


def test_bars_without_a_rest_have_no_empty_bar() -> None:
    assert len(figures.top_bars(["a"], np.array([1.0]), 0.0, 0).data[0].x) == 1


def test_the_funnel_shows_what_each_stage_keeps_and_takes_away() -> None:
    widths = np.array([[0.6, 0.4], [0.6, 0.1], [0.6 / 0.7, 0.1 / 0.7]])
    counts = np.array([[1, 9], [1, 2], [1, 2]])
    stages = ["softmax", "cut", "drawn from"]
    fig = figures.funnel_bars([" a", None], counts, widths, [0, 0.3, 0], stages, draw=0.95, drawn=1)
    first, others, removed, point = fig.data
    assert list(first.x) == widths[:, 0].tolist()
    assert list(others.text) == ["9 others", "2 others", "2 others"]
    assert list(removed.x) == [0, 0.3, 0]
    assert removed.marker.pattern.shape  # told apart without colour
    np.testing.assert_allclose(np.add(np.add(first.x, others.x), removed.x), 1)
    assert list(point.x) == [0.95, 0.95]
    assert max(point.y) < 2.5 and min(point.y) > 1.5  # on the last bar
    assert others.marker.color == figures.DRAWN
    assert [a.text for a in fig.layout.annotations] == ["softmax", "", "cut", "<b>−30.0%</b>", "drawn from", ""]
    assert fig.layout.xaxis.range == (0, 1)


def test_the_funnel_without_a_draw_has_no_point() -> None:
    fig = figures.funnel_bars(["a"], np.array([[1]]), np.array([[1.0]]), [0], ["softmax"])
    assert all(isinstance(trace, go.Bar) for trace in fig.data)


def test_a_sentence_leaves_gaps_where_nothing_was_predicted() -> None:
    nan = math.nan
    fig = figures.sentence_bars(
        ["My", " dog"],
        np.array([nan, 0.25, nan]),
        [None, 3, None],
        np.array([nan, 2.0, nan]),
        np.array([nan, 5.0, 4.0]),
    )
    probability, surprise, entropy = fig.data
    assert list(probability.y) == [None, 0.25, None]
    assert list(probability.text) == ["", "#3", ""]
    assert list(surprise.y) == [None, 2.0, None]
    assert list(entropy.y) == [None, 5.0, 4.0]
    assert list(fig.layout.xaxis.ticktext) == ["My", "·dog", "<i>next?</i>"]


def test_a_single_token_can_be_drawn() -> None:
    nan = np.array([math.nan] * 2)
    assert figures.sentence_bars(["My"], nan, [None, None], nan, np.array([math.nan, 1.0])).data[2].y[1] == 1.0


def test_a_long_sentence_has_labels_that_do_not_run_into_each_other() -> None:
    t = 256
    ones = np.ones(t + 1)
    fig = figures.sentence_bars(["x"] * t, ones, [1] * (t + 1), ones, ones)
    assert len(fig.layout.xaxis.tickvals) == len(fig.layout.xaxis.ticktext) <= figures.MOST_TICKS
    assert len(fig.data[0].x) == t + 1


def test_tokens_are_literal_in_every_picture() -> None:
    n = len(HOSTILE)
    p = np.full(n, 1 / n)
    rows = np.ones((2, n), dtype=int)
    pictures = [
        figures.top_bars(HOSTILE, p, 0.0, 0),
        figures.funnel_bars(HOSTILE, rows, np.stack([p, p]), [0, 0], ["one", "two"]),
        figures.sentence_bars(HOSTILE, np.append(p, 1), [1] * (n + 1), np.append(p, 1), np.append(p, 1)),
    ]
    for fig in pictures:
        seen = texts(fig)
        assert "&lt;b&gt;bold&lt;/b&gt;" in seen
        assert "&amp;lt;" in seen
        assert not [text for text in seen for tag in TAGS if tag in text]
