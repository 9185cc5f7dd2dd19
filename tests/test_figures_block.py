"""The flow of a stack is measured: every width is a length times one scale; norms stand where the order has them."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from gptviz.figures import block

LENGTHS = np.arange(1.0, 28.0).reshape(3, 9)


def rectangles(figure: go.Figure, colour: str) -> list:
    """The filled rectangles of one colour."""
    return [s for s in figure.layout.shapes if s.type == "rect" and s.fillcolor == colour]


@pytest.mark.parametrize("order", ["post", "pre"])
def test_every_band_is_as_wide_as_its_vector_is_long(order: str) -> None:
    figure = block.flow(LENGTHS, order, 1)
    go.Figure(figure.to_dict())  # Plotly's own checks, which building it leaves out
    scale = block.WIDEST / 27
    bands = rectangles(figure, block.COLOURS["stream"])
    expected = [v[i] for v in LENGTHS for i in (0, 3, 4, 4, 7, 8)]
    assert [(s.x1 - s.x0) / scale for s in bands] == pytest.approx(expected)
    assert all((s.x0 + s.x1) / 2 == pytest.approx(block.STREAM) for s in bands)
    read = [(s.y1 - s.y0) / scale for s in rectangles(figure, block.LIGHT)]
    inputs = [(v[i], v[j]) for v in LENGTHS for i, j in ((0, 1), (4, 5))]
    assert read == pytest.approx([n for pair in inputs for n in (pair if order == "pre" else pair[1:])])
    arrows = [s for s in figure.layout.shapes if s.type == "path"]
    thick = []
    for arrow in arrows:
        numbers = [float(n) for n in arrow.path.replace("M", " ").replace("L", " ").replace("Z", " ").split()]
        thick.append((numbers[-1] - numbers[1]) / scale)
    assert thick == pytest.approx([v[i] for v in LENGTHS for i in (2, 6)])


@pytest.mark.parametrize(("order", "on_stream"), [("post", True), ("pre", False)])
def test_the_norms_stand_where_the_order_has_them(order: str, on_stream: bool) -> None:
    lines = [s for s in block.flow(LENGTHS, order, 0).layout.shapes if s.type == "line"]
    assert len(lines) == 6
    assert all((s.x0 < block.STREAM < s.x1) == on_stream for s in lines)


def test_a_click_says_the_layer_and_hover_says_every_length() -> None:
    figure = block.flow(LENGTHS, "pre", 2)
    points = next(t for t in figure.data if t.mode == "markers")
    assert [int(y // (2 * block.ROW)) for y in points.y] == list(points.customdata)
    assert set(points.customdata) == {0, 1, 2}
    assert "added: 3<" in points.text[0] and "feed-forward" in points.text[3]
    frame = [s for s in figure.layout.shapes if s.line.color == block.CHOSEN]
    assert len(frame) == 1 and 4 * block.ROW <= frame[0].y0 < frame[0].y1 <= 6 * block.ROW


def test_zeros_have_no_width() -> None:
    figure = block.flow(np.zeros((1, 9)), "post", 0)
    assert all(s.x0 == s.x1 for s in rectangles(figure, block.COLOURS["stream"]))


def test_units_by_how_often_they_are_active() -> None:
    figure = block.times_active(np.array([0, 0, 3, 1, 3]), 3, "title")
    assert list(figure.data[0].y) == [2, 1, 0, 2]
    assert figure.data[0].marker.color[0] == block.CHOSEN != figure.data[0].marker.color[1]
    go.Figure(figure.to_dict())


def test_tokens_and_names_are_literal() -> None:
    figure = block.bars(np.array([0.5, 0.25]), ["<b>", " a"], "title", "share")
    assert list(figure.layout.xaxis.ticktext) == ["&lt;b&gt;", "·a"] and figure.data[0].customdata[0] == "&lt;b&gt;"
    go.Figure(figure.to_dict())
    both = block.gains({"attention": (np.ones(3), np.zeros(3))}, "title")
    assert [list(t.y) for t in both.data] == [[1, 1, 1], [0, 0, 0]]
    go.Figure(both.to_dict())


def test_the_names_of_a_long_sentence_do_not_run_into_each_other() -> None:
    figure = block.bars(np.full(57, 0.5), ["word"] * 57, "Active units per token", "share of units")
    assert len(figure.data[0].x) == 57
    assert len(figure.layout.xaxis.tickvals) <= 24


def test_counts_of_tokens_are_whole() -> None:
    assert block.times_active(np.array([0, 1, 1]), 1, "title").layout.xaxis.dtick == 1
    assert block.times_active(np.array([0, 1, 1]), 57, "title").layout.xaxis.dtick is None


def test_a_legend_has_room_under_its_title() -> None:
    figure = block.gains({"attention": (np.ones(3), np.zeros(3))}, "Gain and bias")
    assert figure.layout.margin.t >= 80
    assert (figure.layout.legend.y, figure.layout.legend.yanchor) == (1.0, "bottom")
