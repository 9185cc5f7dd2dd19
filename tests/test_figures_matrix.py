"""Matrices in their own size: what is drawn is what was given, nothing is shrunk away, names are literal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gptviz.figures.matrix import LEAST_CELL, cell, column, matrix, numbers, row
from tests.matrices import sent

TOKENS = ["<b>x</b>", " the", " the", "\n"]


def draw(
    values: np.ndarray, rows: list[str] | None = None, columns: list[str] | None = None, **how: object
) -> dict[str, Any]:
    """A matrix with numbers for names, as the browser gets it."""
    n, m = values.shape
    how = {"title": "q", "signed": True} | how
    return sent(matrix(values, rows or numbers(n), columns or numbers(m), **how))


def test_what_is_drawn_is_what_was_given() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    shown = draw(values)
    np.testing.assert_array_equal(shown["values"], values.astype(np.float32))
    low, high = shown["ends"]
    assert low == -high
    assert high == pytest.approx(np.abs(values).max())
    assert (shown["title"], shown["shape"]) == ("q", "4 × 6")
    assert shown["rows"] == ["0", "1", "2", "3"]


def test_it_says_what_rows_and_columns_are() -> None:
    assert draw(np.ones((1, 1)), axes=("queries", "keys"))["shape"] == "1 query × 1 key"
    shown = draw(np.ones((2, 3)), axes=("queries", "dimensions of the head"))
    assert shown["shape"] == "2 queries × 3 dimensions of the head"
    assert shown["axes"] == ["queries", "dimensions of the head"]


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (16, 64), (256, 64), (256, 256)])
@pytest.mark.parametrize("room", [320, 480])
def test_cells_are_never_dust(shape: tuple[int, int], room: int) -> None:
    shown = draw(np.ones(shape), room=room)
    assert shown["size"] >= LEAST_CELL
    assert shown["size"] * max(shape) <= max(room, LEAST_CELL * max(shape))


def test_a_cell_that_has_room_holds_its_value() -> None:
    assert draw(np.ones((6, 6)))["numbers"]
    assert not draw(np.ones((6, 64)))["numbers"]


def test_minus_infinity_is_masked_and_does_not_stretch_the_colours() -> None:
    shown = draw(np.array([[1.0, -np.inf], [0.0, np.nan]]))
    np.testing.assert_array_equal(shown["values"], np.array([[1, -np.inf], [0, np.nan]], dtype=np.float32))
    assert shown["ends"] == [-1, 1]


def test_one_limit_for_pictures_that_are_compared_and_a_word_where_values_go_beyond() -> None:
    within, beyond = draw(np.full((2, 2), 0.5), limit=2.0), draw(np.full((2, 2), 3.0), limit=2.0)
    assert within["ends"] == beyond["ends"] == [-2, 2]
    assert within["ticks"] == [[-2, "−2"], [0, "0"], [2, "2"]]
    assert beyond["ticks"] == [[-2, "≤ −2"], [0, "0"], [2, "≥ 2"]]


def test_an_unsigned_matrix_begins_at_zero_and_refuses_less() -> None:
    assert draw(np.eye(2), signed=False)["ends"] == [0, 1]
    assert draw(np.array([[0.5, -np.inf]]), signed=False)["ends"] == [0, 0.5]
    with pytest.raises(ValueError, match="signed=True"):
        draw(-np.eye(2), signed=False)


def test_nothing_but_zeros_has_a_scale_nevertheless() -> None:
    assert draw(np.zeros((2, 2)))["ends"] == [-1, 1]


def test_frames_are_around_the_cells_that_were_named() -> None:
    values = np.ones((4, 6))
    shown = draw(values, marked=[cell(2, 3), row(1, values), column(5, values)])
    assert shown["frames"] == [[2, 3, 3, 4], [1, 2, 0, 6], [0, 4, 5, 6]]


def test_white_space_is_seen_and_equal_names_stay_apart() -> None:
    shown = draw(np.ones((4, 4)), TOKENS, TOKENS)
    assert shown["rows"] == shown["columns"] == ["<b>x</b>", "·the", "·the", "⏎"]
    assert draw(np.ones((1, 1)), ["a" * 17], ["b" * 16])["rows"] == ["a" * 15 + "…"]
    assert draw(np.ones((1, 1)), ["a word of ours, a long one"], rows_are_ours=True)["rows"][0].endswith("long one")


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected values of shape \(3, 2\), found \(2, 2\)"):
        matrix(np.ones((2, 2)), numbers(3), numbers(2), title="q", signed=True)
