"""One head in a real browser: stages under the arrow keys, cells under the mouse, large matrices that scroll."""

from __future__ import annotations

import pytest

from tests.browser.visitor import Visitor


def stage(visitor: Visitor) -> str:
    """The heading of the stage that is shown."""
    return visitor.page.locator("#stage").inner_text()


def test_the_arrow_keys_step_through_the_stages_and_the_address_follows(visitor: Visitor) -> None:
    visitor.open("inside-head", head_stage="mask")
    for key, name, number in (("ArrowRight", "softmax", 7), ("ArrowRight", "values", 8), ("ArrowLeft", "softmax", 7)):
        visitor.page.keyboard.press(key)
        assert visitor.until(lambda name=name: visitor.query.get("head_stage") == [name])
        visitor.settle()
        assert stage(visitor).startswith(f"{number} of 10")
    visitor.page.keyboard.press("ArrowLeft")
    visitor.page.keyboard.press("ArrowLeft")
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["scale"]), "of two quick presses none is lost"


def test_keys_go_on_after_a_click_on_a_stage(visitor: Visitor) -> None:
    visitor.open("inside-head")
    visitor.page.get_by_role("button", name="6 mask").click()
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["mask"])
    visitor.settle()
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["softmax"])


def test_a_clicked_cell_is_computed_below(visitor: Visitor) -> None:
    visitor.open("inside-head", head_stage="softmax", text="My dog has fleas")
    count = len(visitor.tokens())
    plot = visitor.page.locator(".st-key-head_weights .nsewdrag").first
    for query, key in ((3, 1), (4, 2), (1, 3)):
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        x, y = (box[at] + box[side] * (place + 0.5) / count for at, side, place in
                (("x", "width", key), ("y", "height", query)))  # fmt: skip
        visitor.page.mouse.move(x, y)
        visitor.page.wait_for_timeout(200)
        visitor.page.mouse.click(x, y)
        chosen = [str(query)], [str(key)]
        assert visitor.until(lambda c=chosen: (visitor.query.get("head_query"), visitor.query.get("head_key")) == c)
        visitor.settle()
        assert visitor.page.get_by_text(f"How much does token {query}, ").count() == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_a_large_matrix_scrolls_in_its_place_and_keeps_its_size(visitor: Visitor, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 844})
    visitor.open("inside-head", head_stage="scores", text="the little dog " * 60)
    place = visitor.page.locator(".st-key-scroll_head_scores")
    place.locator(".nsewdrag").first.wait_for()
    wide, high, seen = place.evaluate("e => [e.scrollWidth, e.scrollHeight, e.clientWidth]")
    assert wide > 12 * 180 > seen
    assert high > 12 * 180
    main = visitor.page.locator("[data-testid=stMain]")
    assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 1
