"""A sentence as a strip of tokens that can be coloured, and clicked where a page listens. Drawn by assets/strip.js."""

from __future__ import annotations

from collections.abc import Sequence

from gptviz.figures.style import visible
from gptviz.ui.component import component

draw = component("gptviz_token_strip", ["strip"], ["strip"])


def token_strip(
    tokens: Sequence[str], key: str, values: Sequence[float] | None = None, labels: Sequence[str] | None = None,
    given: Sequence[bool] | None = None,
) -> None:  # fmt: skip
    """Show tokens literally, coloured by `values`, to look at.

    Args:
        tokens: T tokens.
        key: the strip's own.
        values: T numbers in [0, 1]; no colour without.
        labels: T texts with the exact values, shown on hover.
        given: whether each token is not the visitor's but the chat template's; left out, all are the visitor's.
    """
    data = {
        "tokens": [visible(token) for token in tokens],
        "values": None if values is None else [round(float(value), 4) for value in values],
        "labels": None if labels is None else list(labels),
        "given": None if given is None else list(given),
        "selected": [],
        "selectable": False,
    }
    draw(key=f"{key}_strip", data=data)
