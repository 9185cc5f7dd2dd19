"""Pictures of one cell, of growing widths and of positions: what is drawn is what was given, checked by Plotly."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from gptviz.figures import inside_head, positions


def checked(figure: go.Figure) -> go.Figure:
    """The figure; raises ValueError on anything that Plotly does not know."""
    go.Figure(figure.to_dict())
    return figure


def test_products_are_bars_and_their_sum_is_a_line_on_the_same_axis() -> None:
    products = np.array([1.0, -2.0, 0.5])
    figure = checked(inside_head.product_bars(products, products.cumsum()))
    bars, line = figure.data
    np.testing.assert_array_equal(bars.y, products)
    np.testing.assert_array_equal(line.y, [1, -1, -0.5])
    assert bars.yaxis == line.yaxis
    assert len(set(bars.marker.color)) == 2
    assert bars.marker.color[0] == bars.marker.color[2]
    assert figure.layout.annotations[0].text == "attention score −0.5"


def test_one_dimension_is_a_picture_too() -> None:
    checked(inside_head.product_bars(np.ones(1), np.ones(1)))


@pytest.mark.parametrize("logarithmic", [True, False])
def test_widths_show_medians_and_quartiles_of_both(logarithmic: bool) -> None:
    scaled, unscaled = np.array([[1, 2, 3], [4, 5, 6.0]]), np.array([[7, 8, 9], [10, 11, 12.0]])
    figure = inside_head.over_widths((4, 8), scaled, unscaled, "name", logarithmic=logarithmic, own=4)
    area, line, _, other = checked(figure).data
    assert list(area.x) == [4, 8, 8, 4]
    assert list(area.y) == [1, 4, 6, 3]
    assert list(line.y) == [2, 5]
    assert list(other.y) == [8, 11]
    assert (figure.layout.yaxis.type == "log") == logarithmic
    assert figure.layout.shapes[0].x0 == 4


def test_position_pictures_are_signed_and_centred() -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 5))
    figure = checked(positions.vectors_picture(vectors, "learned"))
    np.testing.assert_array_equal(figure.data[0].z, vectors.astype(np.float32))
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    cosines = checked(positions.cosines_picture(np.eye(7), "cosines")).layout
    assert (cosines.coloraxis.cmin, cosines.coloraxis.cmax) == (-1, 1)
    assert cosines.yaxis.range == (6.5, -0.5), "position 0 is on top"
    checked(positions.vectors_picture(np.zeros((1, 1)), "nothing"))


def test_distances_have_a_line_and_an_area_each() -> None:
    mean, low, high = np.array([1, 0.5]), np.array([1, 0.25]), np.array([1, 0.75])
    figure = checked(positions.distance_lines((mean, low, high), (mean, mean, mean)))
    assert [trace.name for trace in figure.data if trace.name] == ["learned by this model", "sines and cosines"]
    assert list(figure.data[0].y) == [1, 0.25, 0.75, 1]
    assert list(figure.data[1].y) == [1, 0.5]
