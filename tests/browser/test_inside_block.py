"""The badge and the flow picture in a browser: it turns green by itself, opens, and a click on a block chooses it."""

from __future__ import annotations

from tests.browser.visitor import Visitor


def test_the_badge_turns_green_by_itself_and_opens(visitor: Visitor) -> None:
    visitor.open("inside-block", text="The cat sat", layer=1)
    badge = visitor.page.locator(".st-key-check button").first
    assert visitor.until(lambda: "Forward pass checked" in badge.inner_text())
    badge.click()
    visitor.page.get_by_text("stages agree, every cell of them").wait_for()
    visitor.page.get_by_label("Stage", exact=True).first.wait_for()
    assert visitor.page.locator("[data-testid=stException]").count() == 0
    visitor.page.keyboard.press("Escape")
    visitor.type("The dog sat")
    assert visitor.until(lambda: "Forward pass checked" in badge.inner_text())


def test_a_click_on_a_block_chooses_its_layer(visitor: Visitor) -> None:
    visitor.open("inside-block", text="The cat sat")
    picture = visitor.page.locator(".st-key-block_flow .nsewdrag").first
    picture.wait_for()
    visitor.page.wait_for_timeout(500)
    picture.click(position={"x": 280, "y": 4 * 92 + 30})
    assert visitor.until(lambda: visitor.query.get("layer") == ["2"])
    visitor.page.get_by_text("Token by token in layer 2").wait_for()
