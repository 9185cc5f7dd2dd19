"""Numbers and kinds of heads, against loops over cells and against the table of the attention page."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gptviz.analysis.heads import head_table
from gptviz.view.summary import summarise_heads
from tests.view.samples import attention, future


def kinds(weights: np.ndarray, **rest: object) -> list[str]:
    return summarise_heads(np.asarray(weights, dtype=np.float32), **rest)["kind"]


@pytest.mark.parametrize("t", [1, 2, 3, 17])
@pytest.mark.parametrize("causal", [True, False])
def test_the_badges_say_what_the_table_says(t: int, causal: bool) -> None:
    weights = attention(5, t, t, causal=causal)
    seen, table = summarise_heads(weights), head_table(weights, 0)
    for name, column in {"first": "first token", "diagonal": "itself", "distance": "distance"}.items():
        np.testing.assert_allclose(seen[name], table[column], atol=1e-6)
    np.testing.assert_allclose(seen["entropy"], table["entropy"], atol=1e-5)
    if t == 1:
        assert seen["previous"] is None
    else:
        np.testing.assert_allclose(seen["previous"], table["previous token"], atol=1e-6)


def test_many_heads_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = attention(5, 6, 6)
    whole = summarise_heads(weights)
    monkeypatch.setattr("gptviz.view.summary.CACHED", 70)
    parts = summarise_heads(weights)
    for name in ("entropy", "distance", "first"):
        np.testing.assert_array_equal(whole[name], parts[name])


def test_a_rectangle_has_no_distance_and_counts_its_first_row() -> None:
    weights = attention(2, 4, 7)
    seen = summarise_heads(weights, square=False)
    assert seen["distance"] is seen["previous"] is seen["diagonal"] is None
    for head in range(2):
        bits = [-sum(float(w) * math.log2(w) for w in row) for row in weights[head]]
        assert seen["entropy"][head] == pytest.approx(sum(bits) / 4, abs=1e-5)
        assert seen["first"][head] == pytest.approx(weights[head, :, 0].mean(), abs=1e-6)


def test_rows_that_do_not_sum_to_one_are_read_as_shares() -> None:
    weights = attention(2, 5, 5)
    once, thrice = summarise_heads(weights), summarise_heads(3 * weights)
    np.testing.assert_allclose(once["entropy"], thrice["entropy"], atol=1e-5)
    np.testing.assert_allclose(once["distance"], thrice["distance"], atol=1e-5)


def test_wrong_rows_and_rows_masked_all_over_do_not_count() -> None:
    weights = attention(2, 5, 5)
    clean = summarise_heads(weights[:, [0, 1, 3, 4]][:, :, :], square=False)
    wrong = np.zeros((2, 5), dtype=bool)
    wrong[0, 2] = True
    masked = np.zeros((1, 5, 5), dtype=bool)
    masked[0, 2] = True
    spoilt = weights.copy()
    spoilt[0, 2], spoilt[1, 2] = np.nan, 0
    seen = summarise_heads(spoilt, masked, wrong=wrong, square=False)
    np.testing.assert_allclose(seen["entropy"], clean["entropy"], atol=1e-6)
    np.testing.assert_allclose(seen["first"], clean["first"], atol=1e-6)
    assert seen["kind"] == ["error", "spread"]
    everything = summarise_heads(spoilt, wrong=np.ones((2, 5), dtype=bool))
    assert np.isnan(everything["entropy"]).all()
    assert everything["kind"] == ["error", "error"]


def test_kinds_by_example() -> None:
    t = 6
    previous, first = np.eye(t, k=-1), np.zeros((t, t))
    previous[0, 0] = 1
    first[:, 0] = 1
    uniform = np.tri(t) / np.tri(t).sum(axis=1, keepdims=True)
    assert kinds([previous, first, np.eye(t), uniform]) == ["previous token", "first token", "diagonal", "spread"]
    assert kinds([0.6 * previous + 0.4 * np.eye(t)]) == ["previous token"]
    assert kinds([0.4 * previous + 0.3 * first + 0.3 * np.eye(t)]) == ["spread"]
    assert kinds([np.eye(t)], square=False) == ["spread"]


def test_rows_with_one_possible_key_say_nothing() -> None:
    t = 5
    weights = np.zeros((1, t, t))
    weights[0, 2:, 1] = 1  # all but two rows look at token 1
    hidden = ~np.tri(t, dtype=bool)
    hidden[:, 0] = True  # the first token is hidden: row 0 has no key, row 1 only itself
    weights[0, 1, 1] = 1
    seen = summarise_heads(weights.astype(np.float32), hidden[None])
    assert seen["kind"] == ["spread"]
    assert seen["diagonal"][0] == 0  # row 1, on the diagonal, does not count
    np.testing.assert_allclose(seen["distance"], np.mean([1, 2, 3]))
    two = hidden[None, :2, :2]
    seen = summarise_heads(np.array([[[0, 0], [0, 1]]], dtype=np.float32), two)
    assert seen["kind"] == [""]
    assert seen["diagonal"][0] == 1  # the only row there is
    assert kinds(np.ones((1, 1, 1))) == [""]
    assert kinds(np.ones((2, 3, 1)), square=False) == ["", ""]


def test_certain_rows_have_no_entropy_and_even_ones_the_most() -> None:
    seen = summarise_heads(np.stack([np.eye(8), np.full((8, 8), 1 / 8)]).astype(np.float32))
    assert seen["entropy"].tolist() == pytest.approx([0, 3], abs=1e-6)
    assert (seen["entropy"] >= 0).all()
    tri = (np.tri(8) / np.tri(8).sum(axis=1, keepdims=True)).astype(np.float32)[None]
    expected = np.mean([math.log2(n) for n in range(2, 9)])
    assert summarise_heads(tri, future(8)[None])["entropy"][0] == pytest.approx(expected, abs=1e-5)
