"""The tree of a beam search in a real browser: hover, click, arrow keys, scrolling, its file. For any weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.visitor import Visitor

SENTENCE = "Ich habe gestern im Garten ein altes Buch gefunden."
FOCUSED = """() => {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at?.dataset?.place ?? null;
}"""


def chips(visitor: Visitor) -> Any:
    """The tokens of the tree."""
    found = visitor.page.locator(".tree .chip")
    found.first.wait_for()
    return found


def chosen(visitor: Visitor) -> int:
    """The place of the chosen one."""
    return int(visitor.page.locator(".tree .chip[aria-pressed=true]").get_attribute("data-place"))


def test_hover_click_and_keys(visitor: Visitor) -> None:
    visitor.open("beam-search", source=SENTENCE, beam=3)
    assert "log-probability −" in chips(visitor).nth(1).get_attribute("aria-label")
    chips(visitor).nth(2).hover()
    tip = visitor.page.locator(".tree .tip")
    tip.wait_for()
    assert tip.inner_text() == chips(visitor).nth(2).get_attribute("aria-label")

    chips(visitor).nth(2).click()
    visitor.settle()
    assert visitor.until(lambda: chosen(visitor) == 2)
    assert visitor.until(lambda: "beam_node" in visitor.query)
    assert visitor.page.get_by_text("(1 token, total").is_visible()

    visitor.page.keyboard.press("ArrowUp")
    visitor.page.keyboard.press("ArrowRight")
    at = visitor.page.evaluate(FOCUSED)
    assert at is not None and at not in {"1", "2"}
    visitor.page.keyboard.press("Enter")
    visitor.settle()
    assert visitor.until(lambda: chosen(visitor) == int(at))
    assert visitor.page.get_by_text("(2 tokens, total").is_visible()
    assert visitor.page.evaluate(FOCUSED) == at, "the keyboard lost its place"

    address = visitor.page.url
    visitor.page.reload()
    visitor.settle()
    assert visitor.page.url == address
    assert chosen(visitor) == int(at)


def test_a_long_tree_scrolls_and_is_saved_whole(visitor: Visitor, tmp_path: Path) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.open("beam-search", source=SENTENCE, beam=8)
    count = chips(visitor).count()
    scroll = visitor.page.locator(".tree .scroll")
    assert scroll.evaluate("box => box.scrollWidth > box.clientWidth")
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sizes = chips(visitor).evaluate_all("all => all.map(chip => chip.querySelector('.page').getBoundingClientRect())")
    assert min(size["height"] for size in sizes) > 27
    places = {(round(size["x"]), round(size["y"])) for size in sizes}
    assert len(places) == count, "two tokens in one place"

    with visitor.page.expect_download() as saved:
        visitor.page.get_by_role("button", name="Save as SVG").first.click()
    file = tmp_path / "tree.svg"
    saved.value.save_as(file)
    assert saved.value.suggested_filename == "beam_search.svg"
    assert file.read_text(encoding="utf-8").count('class="chip"') == count
