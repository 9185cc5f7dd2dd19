"""Heatmaps: what is drawn is what was given, on one scale, with tokens written literally."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from gptviz.figures import style
from gptviz.figures.heatmap import heatmap, reading

HOSTILE = ["<b>x</b>", " $x$", "<img src=x onerror=alert(1)>", " the", " the", "\n", "%{z}", "\\xf0\\x9f"]
FUTURE = np.triu(np.ones((8, 8), dtype=bool), 1)


def rows(n: int = 8, heads: int = 3, seed: int = 0) -> np.ndarray:
    """Causal attention-like matrices (heads, n, n); rows sum to 1."""
    weights = np.tril(np.random.default_rng(seed).random((heads, n, n)) + 0.01)
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def valid(figure: go.Figure) -> dict:
    """The figure as a dictionary, after Plotly has checked every property of it."""
    shown = figure.to_dict()
    go.Figure(shown)
    return shown


def test_one_matrix_is_drawn_as_it_is_given() -> None:
    values = rows()[0]
    figure = heatmap(values, HOSTILE, HOSTILE)
    valid(figure)
    (cells,) = figure.data
    np.testing.assert_array_equal(np.asarray(cells.z), values)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    assert cells.coloraxis == "coloraxis"
    assert list(figure.layout.yaxis.range) == [7.5, -0.5], "the first query must be at the top"


def test_an_invalid_property_would_be_noticed() -> None:
    figure = heatmap(rows()[0], HOSTILE, HOSTILE)
    broken = figure.to_dict()
    broken["layout"]["yaxis"]["rnge"] = [0, 1]
    with pytest.raises(ValueError, match="rnge"):
        go.Figure(broken)


def test_axes_bar_and_title_are_named() -> None:
    figure = heatmap(rows()[0], HOSTILE, HOSTILE, title="head 2.<1>", unit="share")
    assert "query" in figure.layout.yaxis.title.text
    assert "key" in figure.layout.xaxis.title.text
    assert figure.layout.coloraxis.colorbar.title.text == "share"
    assert figure.layout.title.text == "head 2.&lt;1&gt;"


def test_tokens_are_literal_and_equal_tokens_stay_apart() -> None:
    figure = heatmap(rows()[0], HOSTILE, HOSTILE)
    names = figure.layout.xaxis.labelalias
    assert set(names) == {str(i) for i in range(8)}
    assert names["0"] == "&lt;b&gt;x&lt;/b&gt;"
    assert names["3"] == names["4"] == style.visible(" the")
    assert names["5"] == "⏎"
    assert not any("<" in name for name in names.values())
    assert figure.layout.xaxis.type != "category"


def test_a_very_long_token_does_not_push_the_picture_away() -> None:
    figure = heatmap(np.ones((1, 1)), ["a" * 5000], ["&" * 5000])
    assert len(figure.layout.yaxis.labelalias["0"]) <= 16
    assert figure.layout.xaxis.labelalias["0"].endswith("&amp;…")


def test_masked_cells_are_grey_only_where_nothing_is_in_them() -> None:
    values = rows()[0].copy()
    values[2, 6] = 0.25  # a mask that leaks
    below, cells = heatmap(values, HOSTILE, HOSTILE, masked=FUTURE).data
    grey = np.asarray(below.z)
    assert grey[2, 6] == 0
    assert np.asarray(cells.z)[2, 6] == np.float32(0.25)
    assert grey[0, 1] == 1
    assert np.isnan(np.asarray(cells.z)[0, 1])
    assert grey.sum() == FUTURE.sum() - 1
    assert "masked" in below.hovertemplate


def test_an_unmasked_zero_is_a_value_and_not_a_mask() -> None:
    values = np.eye(8)
    figure = heatmap(values, HOSTILE, HOSTILE, masked=FUTURE)
    cells = np.asarray(figure.data[-1].z)
    assert cells[5, 2] == 0
    assert np.isnan(cells[2, 5])


def test_differences_are_centred_on_zero() -> None:
    values = np.zeros((8, 8))
    values[1, 0], values[2, 5] = -0.4, 0.1
    figure = heatmap(values, HOSTILE, HOSTILE, scale="diverging")
    valid(figure)
    axis = figure.layout.coloraxis
    assert (axis.cmin, axis.cmax) == pytest.approx((-0.4, 0.4))
    assert axis.colorscale[0][1] == style.DIVERGING[0][1]
    assert ":+.6f" in figure.data[0].hovertemplate
    still = heatmap(np.zeros((8, 8)), HOSTILE, HOSTILE, scale="diverging").layout.coloraxis
    assert still.cmin < 0 < still.cmax


def test_numbers_are_written_into_few_cells_and_not_into_many() -> None:
    assert heatmap(rows()[0], HOSTILE, HOSTILE).data[0].texttemplate == "%{text}"
    many = [str(i) for i in range(256)]
    figure = heatmap(rows(256, 1)[0], many, many)
    assert figure.data[0].texttemplate is None
    assert 256 / figure.layout.xaxis.dtick <= 32, "labels would run into each other"


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(8, 2\)"):
        heatmap(rows()[0], HOSTILE, HOSTILE[:2])
    with pytest.raises(ValueError, match="mask"):
        heatmap(rows()[0], HOSTILE, HOSTILE, masked=FUTURE[:4])


def test_a_reading_says_low_med_high_and_its_thresholds() -> None:
    levels = np.array([[2, 0], [0, 1]], dtype=np.int8)  # the 0 at the top right is under the mask: no reading
    figure = reading(levels, ["My", " dog"], ["My", " dog"], thresholds=(0.2, 0.55), masked=np.triu(np.ones((2, 2)), 1))
    valid(figure)
    cells = figure.data[-1]
    assert [list(row) for row in cells.text] == [["high", ""], ["low", "med"]]
    assert np.asarray(cells.z)[1].tolist() == [0, 1]
    assert np.isnan(np.asarray(cells.z)[0, 1])
    bar = figure.layout.coloraxis.colorbar
    assert list(bar.tickvals) == [0, 1, 2]
    assert all(number in " ".join(bar.ticktext) for number in ("0.2", "0.55"))
    colours = [stop[1] for stop in figure.layout.coloraxis.colorscale]
    assert colours[0] == colours[1] != colours[2] == colours[3] != colours[4] == colours[5]


def test_figures_do_not_share_state() -> None:
    first = heatmap(rows()[0], HOSTILE, HOSTILE, title="first")
    first.update_layout(title_text="changed", font_size=99)
    second = heatmap(rows()[0], HOSTILE, HOSTILE)
    assert second.layout.title.text is None
    assert second.layout.font.size == style.FONT_SIZE
