"""Pictures of masked against unmasked: what is drawn is what was given, on fixed scales, with literal tokens."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from gptviz.figures import masking, style

HOSTILE = ["<b>x</b>", "&lt;", "<a href='#'>", " ", "\n", "$x$", "same", "same"]


def attention(t: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A masked and an unmasked matrix (t, t) of one set of scores."""
    odds = np.exp(np.random.default_rng(seed).normal(size=(t, t)))
    return np.tril(odds) / np.tril(odds).sum(-1, keepdims=True), odds / odds.sum(-1, keepdims=True)


def change(t: int) -> go.Figure:
    masked, unmasked = attention(t)
    return masking.difference_map(unmasked - masked, [f"t{i}" for i in range(t)])


def numbers(figure: go.Figure) -> np.ndarray:
    """The cells that lie on the colour scale; masked ones are another layer."""
    return next(trace.z for trace in figure.data if trace.coloraxis)


@pytest.mark.parametrize("t", [1, 2, 6, 7, 40])
def test_the_difference_is_what_was_given_on_a_scale_that_does_not_depend_on_it(t):
    masked, unmasked = attention(t)
    figure = change(t)
    np.testing.assert_allclose(numbers(figure), unmasked - masked, atol=1e-6)
    axis = figure.layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-1, 1)
    middle = [colour for place, colour in axis.colorscale if place == 0.5]
    assert middle == [dict(map(tuple, style.DIVERGING))[0.5]]


def test_heads_map_frames_the_chosen_head_and_carries_every_head():
    moved = np.arange(6).reshape(2, 3) / 10
    figure = masking.heads_map(moved, layer=1, head=2)
    cells, points = figure.data
    np.testing.assert_allclose(cells.z, 100 * moved)
    assert (cells.zmin, cells.zmax) == (0, 100)
    assert list(zip(points.y, points.x, strict=True)) == [(layer, head) for layer in range(2) for head in range(3)]
    assert points.text[5] == "head 1.2: 50.00% moved to the future"
    frame = figure.layout.shapes[0]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (1.5, 2.5, 0.5, 1.5)


def test_position_bars_mark_the_chosen_position():
    figure = masking.position_bars(np.array([0.0, 1.5, 0.25]), ["a", "b", "c"], chosen=1)
    bars = figure.data[0]
    assert list(bars.y) == [0.0, 1.5, 0.25]
    assert [colour == masking.CHOSEN for colour in bars.marker.color] == [False, True, False]
    assert "masked ‖ unmasked" in figure.layout.yaxis.title.text and "bits" in figure.layout.yaxis.title.text


def test_change_bars_keep_the_order_and_write_the_change():
    figure = masking.change_bars(np.array([0.5, 0.125]), np.array([0.25, 0.375]), [" a", " b"])
    masked, unmasked = figure.data
    assert list(masked.x) == [0.5, 0.125] and list(unmasked.x) == [0.25, 0.375]
    assert list(unmasked.text) == ["−0.250", "+0.250"]
    assert figure.layout.yaxis.range == (1.5, -0.5)  # the first token on top
    assert list(figure.layout.yaxis.ticktext) == ["·a", "·b"]
    assert masked.marker.color != unmasked.marker.color


@pytest.mark.parametrize(
    ("change", "text"),
    [(0.25, "+0.250"), (-0.0099, "−0.010"), (2.5e-7, "+2.5e−07"), (-1e-9, "−1.0e−09"), (0.0, "+0.000")],
)
def test_small_changes_do_not_read_as_none(change, text):
    assert masking.change_text(change) == text


def test_surprise_bars_name_the_token_that_came():
    figure = masking.surprise_bars(np.array([1.0, 2.0]), np.array([0.5, 3.0]), ["My", " dog", " has"])
    masked, unmasked = figure.data
    assert list(masked.y) == [1.0, 2.0] and list(unmasked.y) == [0.5, 3.0]
    assert [tuple(pair) for pair in masked.customdata] == [("My", "·dog"), ("·dog", "·has")]
    assert list(figure.layout.xaxis.ticktext) == ["·dog", "·has"]
    assert "answer" in unmasked.name


def test_surprise_bars_refuse_another_length():
    with pytest.raises(ValueError, match="one surprise for each of 3 tokens but the first"):
        masking.surprise_bars(np.zeros(3), np.zeros(3), ["a", "b", "c"])


def test_one_token_gives_empty_surprise():
    assert len(masking.surprise_bars(np.zeros(0), np.zeros(0), ["a"]).data[0].y) == 0


def test_ticks_thin_out_but_bars_do_not():
    tokens = [f"t{i}" for i in range(200)]
    figure = masking.position_bars(np.ones(200), tokens, 0)
    assert len(figure.data[0].y) == 200
    assert len(figure.layout.xaxis.ticktext) <= 32
    assert figure.layout.xaxis.ticktext[1] == f"t{figure.layout.xaxis.tickvals[1]}"


def test_tokens_are_literal_everywhere_and_equal_ones_stay_apart():
    t = len(HOSTILE)
    masked, unmasked = attention(t)
    figures = [
        masking.difference_map(unmasked - masked, HOSTILE),
        masking.position_bars(np.ones(t), HOSTILE, 0),
        masking.change_bars(np.ones(t), np.ones(t), HOSTILE),
        masking.surprise_bars(np.ones(t - 1), np.ones(t - 1), HOSTILE),
    ]
    for figure in figures:
        written = json.dumps(figure.to_plotly_json(), default=str)
        assert "<b>x" not in written and "<a " not in written and "\\n" not in written
        assert "&lt;b&gt;x" in written or figure is figures[-1]
        assert figure.layout.xaxis.type != "category" and figure.layout.yaxis.type != "category"
    assert list(figures[2].data[0].y) == list(range(t))


def test_every_figure_suits_light_and_dark():
    bars = masking.position_bars(np.ones(2), ["a", "b"], 0)
    for figure in (change(3), masking.heads_map(np.zeros((2, 2)), 0, 0), bars):
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == style.TRANSPARENT
