"""The lectures that come along, scene by scene in a real browser: keys turn them, nothing is cut off."""

from __future__ import annotations

import pytest

from gptviz import lecture
from tests.browser.visitor import Visitor

CUT = """() => [...document.querySelectorAll('.st-key-stage_bar *, .stage *')].filter((e) =>
  e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow !== 'visible').map((e) => e.className)"""


@pytest.mark.parametrize("name", lecture.shipped())
def test_every_scene_of_a_shipped_lecture_is_reached_by_keys(visitor: Visitor, name: str) -> None:
    talk = lecture.read_file(lecture.shipped()[name])
    visitor.open(talk.scenes[0].page, lecture=name, scene=1)
    for number, scene in enumerate(talk.scenes, 1):
        shown = visitor.page.locator(".stage .number", has_text=f"{number} / {len(talk.scenes)}")
        shown.wait_for()
        visitor.page.get_by_text(scene.caption, exact=True).first.wait_for()
        assert visitor.until(lambda page=scene.page: visitor.path == f"/{page}")
        assert visitor.page.evaluate(CUT) == []
        assert not visitor.page.locator("[data-testid=stException]").count()
        visitor.settle()
        visitor.page.keyboard.press("PageDown" if number % 2 else "ArrowRight")
    visitor.page.keyboard.press("Escape")
    assert visitor.until(lambda: "lecture" not in visitor.query)
