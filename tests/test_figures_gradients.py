"""Pictures of losses, gradients and steps: the numbers they were given, on shared scales, with literal tokens."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from gptviz.figures import gradients as figures
from gptviz.figures import style
from tests.matrices import sent

TOKENS = ["<b>x</b>", " the", " the", "\n"]
NATS = np.array([0.5, 2.0, 1.0])


def every_figure() -> dict[str, go.Figure]:
    """One of each."""
    square = np.tril(np.full((4, 4), 0.25))
    return {
        "losses": figures.loss_bars(NATS, TOKENS[:-1], TOKENS[1:]),
        "before and after": figures.loss_bars(NATS, TOKENS[:-1], TOKENS[1:], after=NATS / 2),
        "logits": figures.logit_bars(TOKENS, np.array([-0.9, 0.5, 0.3, 0.1]), 0),
        "norms": figures.norm_map(square, TOKENS, TOKENS, (-1.0, 0.0), axes=("layer", "head"), framed=(1, 2)),
        "rates": figures.rate_curve([0.1, 1.0, 10.0], np.array([1.0, 2.0, np.inf]), 1.5, 0.7, chosen=1.0),
    }


@pytest.mark.parametrize("name", every_figure())
def test_plotly_accepts_every_figure_and_labels_are_in_ink_from_the_start(name: str) -> None:
    figure = every_figure()[name]
    go.Figure(figure.to_dict())  # with all of Plotly's checks
    before = figure.to_json()
    assert style.ink_labels(figure).to_json() == before
    assert figure.layout.xaxis.tickfont.color == figure.layout.yaxis.tickfont.color == style.INK


@pytest.mark.parametrize("name", every_figure())
def test_tokens_are_literal(name: str) -> None:
    assert "<b>x" not in every_figure()[name].to_json()


def test_loss_bars_have_every_position_and_the_mean() -> None:
    figure = every_figure()["before and after"]
    before, mean, after, mean_after = figure.data
    assert list(before.y) == NATS.tolist() and list(after.y) == (NATS / 2).tolist()
    assert list(mean.y) == pytest.approx([3.5 / 3] * 2) and list(mean_after.y) == pytest.approx([3.5 / 6] * 2)
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2]
    assert "·the" in before.customdata[0] and before.customdata[2][1] == "⏎"


def test_a_long_sentence_is_wide_and_its_labels_do_not_touch() -> None:
    figure = figures.loss_bars(np.ones(255), ["a"] * 255, ["b"] * 255)
    assert figure.layout.width >= 255 * figures.LEAST_BAR
    assert len(figure.layout.xaxis.tickvals) == 128


def test_what_is_no_number_is_a_gap() -> None:
    figure = figures.loss_bars(NATS, TOKENS[:-1], TOKENS[1:], after=np.array([1.0, np.inf, np.nan]))
    assert list(figure.data[2].y) == [1.0, None, None]
    assert list(figure.data[3].y) == [None, None]
    assert list(every_figure()["rates"].data[2].y) == [1.0, 2.0, None]


def test_the_sign_of_a_logits_gradient_is_its_colour_and_the_target_is_named() -> None:
    figure = every_figure()["logits"]
    assert list(figure.data[0].marker.color) == [style.LESS] + [style.MORE] * 3
    assert list(figure.data[0].x) == [-0.9, 0.5, 0.3, 0.1]
    assert figure.layout.yaxis.ticktext[0].endswith("(target)") and "(target)" not in figure.layout.yaxis.ticktext[1]


def test_masked_cells_are_masked_in_both_pictures_of_a_pair() -> None:
    square = np.tril(np.full((4, 4), 0.25))
    weights, gradient = map(sent, figures.attention_pair(square, square - 0.3, TOKENS, "dL/dA"))
    for shown, scale in ((weights, style.SEQUENTIAL), (gradient, style.DIVERGING)):
        np.testing.assert_array_equal(np.isneginf(shown["values"]), np.triu(np.ones((4, 4), dtype=bool), k=1))
        assert shown["colours"] == scale
    assert weights["ends"] == [0, 1]
    assert gradient["ends"][0] == -gradient["ends"][1] == pytest.approx(-0.05)


@pytest.mark.parametrize("t", [1, 12, 40, 256])
def test_two_matrices_fit_side_by_side_and_cells_stay_visible(t: int) -> None:
    left, right = map(sent, figures.attention_pair(np.eye(t), np.eye(t), ["a"] * t, "g"))
    assert left["size"] == right["size"] >= 12
    assert t > 30 or t * left["size"] <= figures.HALF_PAGE


def test_norms_share_a_logarithmic_scale_and_show_their_numbers() -> None:
    values = np.array([[1.0, 100.0], [0.0, np.nan]])
    span = figures.norm_span(values, np.array([1e-9, 10.0]))
    assert span == (-2.0, 2.0)  # four decades, whatever is smaller
    figure = figures.norm_map(values, ["a", "b"], ["0", "1"], span, axes=("", "layer"))
    cells = np.array(figure.data[0].z, dtype=float)
    assert cells[0].tolist() == [0.0, 2.0]
    assert cells[1][0] == span[0], "no gradient at all is the darkest"
    assert np.isnan(cells[1][1]), "what is not there is a gap"
    assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == ((-0.5, 1.5), (1.5, -0.5))
    assert [list(row) for row in figure.data[0].text] == [["1", "100"], ["0", ""]]
    assert (figure.data[0].zmin, figure.data[0].zmax) == span
    assert figures.norm_span(np.array([3.0, 3.0])) == pytest.approx((np.log10(3) - 1, np.log10(3)))
    assert figures.norm_span(np.zeros(2)) == (-1.0, 0.0)


def test_what_is_outside_the_layers_has_a_column_of_its_own() -> None:
    every = figures.with_outside(np.array([[1.0, 2.0], [3.0, 4.0]]), [5.0, 6.0])
    expected = [[1, 2, np.nan], [3, 4, np.nan], [np.nan, np.nan, 5], [np.nan, np.nan, 6]]
    np.testing.assert_array_equal(every, expected)


def test_the_prediction_is_a_straight_line_and_the_chosen_rate_is_marked() -> None:
    figure = every_figure()["rates"]
    rates, line = np.array(figure.data[1].x), np.array(figure.data[1].y, dtype=float)
    there = ~np.isnan(line)
    np.testing.assert_allclose(line[there], 1.5 - 0.7 * rates[there])
    assert there.any() and not there.all()  # it ends where a logarithm would
    assert list(figure.data[2].marker.size) == [9, 16, 9]
    assert set(figure.data[0].y) == {1.5}


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.05, "0.05"), (12.345, "12.3"), (0.00012, "1e−4"), (123456.0, "1e5")]
)
def test_numbers_in_cells_are_short(value: float, text: str) -> None:
    assert figures.three_digits(value) == text


def test_the_axis_of_a_loss_near_zero_can_be_read() -> None:
    many = figures.loss_ticks(np.array([3e-7, 0.2, 40.0, np.nan, np.inf, 0.0]))
    assert len(many["tickvals"]) <= 10 and many["ticktext"][0] == "10<sup>−7</sup>"
    assert many["tickvals"][0] <= 3e-7 and many["tickvals"][-1] >= 40
    few = figures.loss_ticks(np.array([0.9, 7.0]))
    assert few["ticktext"] == ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50"]


def test_a_loss_of_0_has_no_place_on_a_logarithmic_axis() -> None:
    drawn = figures.rate_curve([0.1, 1.0], np.array([0.5, 0.0]), before=2.0, slope=1.0).data[-1]
    assert list(drawn.y) == [0.5, None]
