"""One head of the encoder-decoder in a real browser: cells of a rectangle under the mouse, keys, the locked switch."""

from __future__ import annotations

import pytest

import gptviz
from tests.browser.visitor import Visitor
from tests.tiny import translator

SENTENCE = "My dog has fleas"


@pytest.fixture
def visitor(pair_visitor: Visitor) -> Visitor:
    """Who sees a small random model."""
    return pair_visitor


def test_a_cell_of_a_rectangle_is_clicked_and_the_side_changes_below_the_same_stage(visitor: Visitor) -> None:
    trace = gptviz.translate(translator(), SENTENCE).trace
    t, s = trace.cross_weights.shape[2:]
    assert t != s
    visitor.open("transformer-inside-head", source=SENTENCE, side="Cross-attention", head_stage="softmax")
    cells = visitor.page.locator(".st-key-head_weights svg.cells")
    cells.wait_for()
    size = cells.evaluate("e => e.viewBox.baseVal.width") / s
    query, key = 1, s - 1
    cells.click(position={"x": (key + 0.5) * size, "y": (query + 0.5) * size})
    chosen = [str(query)], [str(key)]
    assert visitor.until(lambda: (visitor.query.get("head_query"), visitor.query.get("head_key")) == chosen)
    visitor.settle()
    assert visitor.page.get_by_text(f"How much does token {query} of the decoder").count() == 1

    assert visitor.page.locator(".st-key-head_no_mask input").is_disabled()
    visitor.page.locator(".st-key-side_shown").get_by_text("Decoder", exact=True).click()
    assert visitor.until(lambda: visitor.query.get("side") == ["Decoder"])
    visitor.settle()
    assert visitor.page.locator(".st-key-head_unmasked_shown input").is_enabled()
    assert visitor.page.locator("#stage").inner_text().startswith("7 of 10")
    visitor.page.keyboard.press("ArrowLeft")
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["mask"])
