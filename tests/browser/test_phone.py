"""On a phone: no formula is cut off, no button lies over a number, and what is scrolled says so."""

from __future__ import annotations

import re

import pytest

from tests.browser.visitor import Visitor

CUT_OFF = """() => [...document.querySelectorAll('[data-testid=stMain] .katex-display')].filter(shown => {
  const place = shown.closest('[data-testid=stMarkdownContainer]').getBoundingClientRect();
  return [...shown.querySelectorAll('.base')].some(part => part.getBoundingClientRect().right > place.right + 1);
}).map(shown => shown.querySelector('annotation').textContent)"""


@pytest.mark.parametrize(
    ("page", "query"),
    [("positions", {}), ("inside-head", {"head_stage": "qkv"}), ("inside-block", {}), ("loss-gradient", {})],
)
def test_no_formula_is_cut_off(visitor: Visitor, page: str, query: dict[str, str]) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.open(page, **query)
    visitor.page.locator(".katex-display").first.wait_for()
    assert visitor.page.evaluate(CUT_OFF) == []


def test_no_buttons_of_a_chart_lie_over_its_numbers(visitor: Visitor) -> None:
    buttons = visitor.page.locator(".modebar-container").first
    for width, shown in ((390, "none"), (1280, "block")):
        visitor.page.set_viewport_size({"width": width, "height": 844})
        visitor.open("next-token")
        buttons.wait_for(state="attached")
        assert buttons.evaluate("e => getComputedStyle(e).display") == shown


def test_a_matrix_says_which_part_of_it_is_in_view(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.open("inside-head")
    said = visitor.page.locator(".matrix .across").first
    shown = re.fullmatch(r"dimensions of the model 0 to (\d+) of 256 →: scroll", said.inner_text())
    assert shown and 10 < int(shown[1]) < 40
    visitor.page.locator(".matrix .scroll").first.evaluate("e => { e.scrollLeft = 1e6 }")
    assert visitor.until(lambda: bool(re.search(r" (\d+) to 255 of 256", said.inner_text())))
    visitor.page.set_viewport_size({"width": 4000, "height": 844})
    assert visitor.until(lambda: said.inner_text() == "dimensions of the model →"), "all of it is in view"


def test_the_axis_of_a_chart_that_is_scrolled_stays_in_view(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.open("loss-gradient", text="the little mouse and " * 20)
    place = visitor.page.locator(".st-key-scroll_loss_bars")
    number = place.locator(".yaxislayer-above text").first
    before = number.bounding_box()["x"]
    assert place.evaluate("e => (e.scrollLeft = 600)") == 600
    assert visitor.until(lambda: abs(number.bounding_box()["x"] - before) < 2, seconds=5)
