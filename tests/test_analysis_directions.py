"""Where heads look: shares and distances by brute force, and what an even spread would give."""

from __future__ import annotations

import numpy as np
import pytest

import gptviz
from gptviz.analysis import directions as analysis
from tests.tiny import translator


def by_hand(weights: np.ndarray, queries: range) -> dict[str, float]:
    """One head (T, T), cell by cell."""
    sums = dict.fromkeys(analysis.Directions._fields, 0.0)
    for i in queries:
        for j, weight in enumerate(weights[i]):
            sums["past" if j < i else "itself" if j == i else "future"] += float(weight) / len(queries)
            sums["distance"] += abs(i - j) * float(weight) / len(queries)
    return sums


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_the_shares_and_the_distance_are_those_of_the_cells(side: str) -> None:
    trace = getattr(gptviz.translate(translator(seed=2), "My dog has fleas and a cat").trace, side)
    causal, t = side == "decoder", len(trace.ids)
    assert t > 3
    found = analysis.directions(trace.weights, causal)
    for (layer, head), _ in np.ndenumerate(found.past):
        expected = by_hand(trace.weights[layer, head], range(1 if causal else 0, t))
        for name, value in found._asdict().items():
            assert value[layer, head] == pytest.approx(expected[name], abs=1e-6), name
    np.testing.assert_allclose(found.past + found.itself + found.future, 1, atol=1e-6)
    assert (found.future == 0).all() == causal


def test_the_first_query_of_a_masked_pass_has_no_choice_and_is_left_out() -> None:
    weights = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]])
    found = analysis.directions(weights, causal=True)
    assert found == pytest.approx((0.375, 0.625, 0, 0.375))
    assert analysis.directions(weights, causal=False).itself == pytest.approx(0.75)


def test_a_single_token_looks_at_itself() -> None:
    for causal in (True, False):
        assert analysis.directions(np.ones((2, 3, 1, 1)), causal).itself.tolist() == [[1.0] * 3] * 2


def test_the_last_token_as_a_later_one() -> None:
    weights = np.array([[[0.5, 0.2, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]])
    assert analysis.share_of_last(weights) == pytest.approx([0.4 / 3])
    assert analysis.directions(weights, causal=False).future == pytest.approx([0.6 / 3])
    assert analysis.share_of_last(np.ones((1, 1))) == 0


@pytest.mark.parametrize("t", [1, 2, 7, 64])
def test_an_even_spread_looks_as_much_back_as_ahead(t: int) -> None:
    found = analysis.spread_evenly(t, causal=False)
    assert found.past == pytest.approx(found.future) == pytest.approx((t - 1) / (2 * t))
    assert found.distance == pytest.approx((t * t - 1) / (3 * t))  # of two tokens drawn at random
    masked = analysis.spread_evenly(t, causal=True)
    assert masked.future == 0
    assert masked.itself == pytest.approx(np.mean([1 / (i + 1) for i in range(1 if t > 1 else 0, t)]))


def test_the_table_has_a_row_for_every_head_of_every_side() -> None:
    rng = np.random.default_rng(0)
    sides = {name: analysis.Directions(*rng.random((4, 2, 3))) for name in ("encoder", "decoder")}
    table = analysis.directions_table(sides)
    assert len(table) == 12
    row = table[(table["side"] == "decoder") & (table["head"] == "1.2")].iloc[0]
    assert row["layer"] == 1
    for name, value in sides["decoder"]._asdict().items():
        assert row[name] == value[1, 2]
