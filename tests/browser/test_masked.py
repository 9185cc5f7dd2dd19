"""Clicks on the pictures of the page on masking, in a real browser: only there does a figure report them."""

from __future__ import annotations

from tests.browser.visitor import Visitor


def click_inside(visitor: Visitor, key: str, across: float, down: float) -> None:
    """Click a figure's plot area at a share of its width and height."""
    area = visitor.page.locator(f".st-key-{key} .nsewdrag").first
    area.wait_for()
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
    visitor.page.mouse.move(x, y)  # Plotly reports a click on what it hovers over
    visitor.page.locator(f".st-key-{key} .hoverlayer .hovertext").first.wait_for(state="attached")
    visitor.page.mouse.click(x, y)


def test_a_click_on_a_head_shows_it_and_a_click_on_a_bar_its_prediction(visitor: Visitor) -> None:
    visitor.open()
    visitor.page.get_by_role("link", name="Masked and unmasked").first.click()
    visitor.arrive("Masked and unmasked")
    click_inside(visitor, "mask_heads", 1.5 / 4, 2.5 / 4)  # 4 heads across, 4 layers down
    visitor.page.get_by_text("The attention of head 2.1").wait_for()
    visitor.settle()
    assert visitor.query == {"layer": ["2"], "head": ["1"]}

    click_inside(visitor, "mask_positions", 1.5 / 6, 0.98)  # 6 tokens
    visitor.page.get_by_text("After token 1, ").wait_for()
    visitor.settle()
    assert visitor.query == {"layer": ["2"], "head": ["1"], "mask_at": ["1"]}

    address = visitor.page.url
    visitor.page.reload()
    visitor.page.get_by_text("After token 1, ").wait_for()
    assert visitor.page.url == address
    assert visitor.page.get_by_text("The attention of head 2.1").is_visible()
