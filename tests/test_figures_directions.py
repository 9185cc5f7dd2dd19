"""Bars of where heads look: what is drawn is what was given, in the order of reading."""

from __future__ import annotations

import numpy as np

from gptviz.figures import directions


def test_each_bar_is_cut_into_its_three_shares_and_the_last_is_the_even_spread() -> None:
    shares = np.array([[0.5, 0.1], [0.25, 0.2], [0.25, 0.7]])
    figure = directions.share_bars(
        shares, np.array([1.5, 2.0]), (0.4, 0.2, 0.4, 1.6), layer=3, chosen=1, title="Encoder"
    )
    assert [bar.name for bar in figure.data] == list(directions.PARTS)
    np.testing.assert_allclose([bar.x for bar in figure.data], [[50, 10, 40], [25, 20, 20], [25, 70, 40]])
    assert list(figure.data[0].y) == [0, 1, 2]
    names = figure.layout.yaxis.ticktext
    assert names[0] == "head 3.0" and "head 3.1" in names[1] and names[1] != "head 3.1" and directions.EVEN in names[2]
    assert list(figure.data[2].customdata) == [
        "head 3.0: mean distance 1.50 tokens", "head 3.1: mean distance 2.00 tokens",
        f"{directions.EVEN}: mean distance 1.60 tokens",
    ]  # fmt: skip
    assert tuple(figure.layout.xaxis.range) == (0, 100)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first head at the top
