"""Matrices in their own size: what is drawn is what was given, nothing is shrunk away, names are literal."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from gptviz.figures.matrix import LEAST_CELL, cell, column, matrix, numbers, row

TOKENS = ["<b>x</b>", " the", " the", "\n"]


def draw(
    values: np.ndarray, rows: list[str] | None = None, columns: list[str] | None = None, **how: object
) -> go.Figure:
    """A matrix with numbers for names, checked by Plotly."""
    n, m = values.shape
    how = {"title": "q", "signed": True} | how
    figure = matrix(values, rows or numbers(n), columns or numbers(m), **how)
    go.Figure(figure.to_dict())  # raises ValueError on anything that Plotly does not know
    return figure


def test_what_is_drawn_is_what_was_given() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    figure = draw(values)
    np.testing.assert_array_equal(figure.data[0].z, values.astype(np.float32))
    scale = figure.layout.coloraxis
    assert scale.cmin == -scale.cmax
    assert scale.cmax == pytest.approx(np.abs(values).max())
    assert figure.layout.title.text == "q (4 × 6)"
    assert figure.layout.yaxis.range == (3.5, -0.5), "the first row is on top"


def test_the_title_says_what_rows_and_columns_are() -> None:
    assert draw(np.ones((2, 3)), axes=("queries", "keys")).layout.title.text == "q (2 queries × 3 keys)"


def test_cells_are_squares_and_never_dust() -> None:
    for shape in ((1, 1), (4, 4), (16, 64), (256, 64), (256, 256)):
        figure = draw(np.ones(shape))
        edges = figure.layout.margin
        high = (figure.layout.height - edges.t - edges.b) / shape[0]
        wide = (figure.layout.width - edges.l - edges.r) / shape[1]
        assert high >= LEAST_CELL - 0.5
        assert wide >= high - 1, "a title may ask for more width, nothing for less"
        assert figure.layout.yaxis.scaleanchor == "x"


def test_minus_infinity_is_masked_and_nothing_else_is() -> None:
    values = np.array([[1.0, -np.inf], [0.0, np.nan]])
    grey, shown = draw(values).data
    np.testing.assert_array_equal(np.isnan(shown.z), [[False, True], [False, True]])
    np.testing.assert_array_equal(grey.z == 1, [[False, True], [False, False]])
    assert "masked" in grey.hovertemplate
    assert len(draw(np.zeros((2, 2))).data) == 1


def test_one_limit_for_pictures_that_are_compared_and_a_word_where_values_go_beyond() -> None:
    within, beyond = draw(np.full((2, 2), 0.5), limit=2.0), draw(np.full((2, 2), 3.0), limit=2.0)
    assert within.layout.coloraxis.cmax == beyond.layout.coloraxis.cmax == 2
    assert within.layout.coloraxis.colorbar.ticktext == ("−2", "0", "2")
    assert beyond.layout.coloraxis.colorbar.ticktext == ("≤ −2", "0", "≥ 2")


def test_an_unsigned_matrix_begins_at_zero_and_refuses_less() -> None:
    assert draw(np.eye(2), signed=False).layout.coloraxis.cmin == 0
    with pytest.raises(ValueError, match="signed=True"):
        draw(-np.eye(2), signed=False)


def test_frames_are_around_the_cells_that_were_named() -> None:
    values = np.ones((4, 6))
    figure = draw(values, marked=[cell(2, 3), row(1, values), column(5, values)])
    edges = [(shape.y0, shape.y1, shape.x0, shape.x1) for shape in figure.layout.shapes]
    assert edges == [(1.5, 2.5, 2.5, 3.5), (0.5, 1.5, -0.5, 5.5), (-0.5, 3.5, 4.5, 5.5)]


def test_names_are_literal_and_equal_ones_stay_apart() -> None:
    figure = draw(np.ones((4, 4)), TOKENS, TOKENS)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert axis.labelalias == {"0": "&lt;b&gt;x&lt;/b&gt;", "1": "·the", "2": "·the", "3": "⏎"}


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected values of shape \(3, 2\), found \(2, 2\)"):
        matrix(np.ones((2, 2)), numbers(3), numbers(2), title="q", signed=True)
