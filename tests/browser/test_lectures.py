"""The lectures that come along, scene by scene in a real browser: keys turn them, nothing is cut off."""

from __future__ import annotations

import pytest

from gptviz import lecture
from gptviz.exhibits import EXHIBITS, keys_of
from tests.browser.visitor import Visitor

CUT = """() => [...document.querySelectorAll('.st-key-stage_bar *, .stage *')].filter((e) =>
  e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow !== 'visible').map((e) => e.className)"""


IN_VIEW = """(these) => {  // what a scene shows begins above the middle, and most of it is seen
  const boxes = [...document.querySelectorAll(these)].map((e) => e.getBoundingClientRect()).filter((box) => box.height);
  const [top, bottom] = [Math.min(...boxes.map((b) => b.top)), Math.max(...boxes.map((b) => b.bottom))];
  const seen = (Math.min(bottom, innerHeight) - top) / (bottom - top);
  return boxes.length > 0 && top > 0 && top < 0.4 * innerHeight && seen > 0.6;
}"""


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
        first = ", ".join(f".st-key-{key}" for key in keys_of(scene.page, scene.show))
        assert visitor.until(lambda css=first: visitor.page.evaluate(IN_VIEW, css), 10), f"{number} is out of sight"
        visitor.page.keyboard.press("PageDown" if number % 2 else "ArrowRight")
    visitor.page.keyboard.press("Escape")
    assert visitor.until(lambda: "lecture" not in visitor.query)


SWIPE = """([from, to]) => {
  const touch = (x) => new Touch({ identifier: 1, target: document.body, clientX: x, clientY: 300 });
  const tell = (type, touches, changed) =>
    document.body.dispatchEvent(new TouchEvent(type, { bubbles: true, touches, changedTouches: changed }));
  tell('touchstart', [touch(from)], [touch(from)]);
  tell('touchend', [], [touch(to)]);
}"""


def test_a_swipe_turns_the_scenes_and_the_bar_has_its_looks(visitor: Visitor) -> None:
    page = visitor.page

    def number(n: int) -> None:
        page.locator(".stage .number", has_text=f"{n} / ").wait_for()
        visitor.settle()

    visitor.open(lecture="why-the-mask-exists", scene=1)
    number(1)
    page.evaluate(SWIPE, [600, 300])  # to the left: on
    number(2)
    page.evaluate(SWIPE, [300, 600])
    number(1)
    page.evaluate(SWIPE, [300, 340])  # no swipe
    page.get_by_label("Jump to a scene").select_option("3")
    number(3)
    page.get_by_role("button", name="High contrast").click()
    assert page.evaluate("document.documentElement.hasAttribute('data-gptviz-contrast')")
    page.keyboard.press("ArrowRight")
    number(4)
    assert page.evaluate("document.documentElement.hasAttribute('data-gptviz-contrast')"), "it stays, scene by scene"
    page.locator(".stage").get_by_text("Full screen", exact=True).click()
    assert visitor.until(lambda: page.evaluate("document.fullscreenElement !== null"))
    page.keyboard.press("f")
    assert visitor.until(lambda: page.evaluate("document.fullscreenElement === null"))
    page.keyboard.press("Escape")
    assert visitor.until(lambda: "lecture" not in visitor.query)
    assert not page.evaluate("document.documentElement.hasAttribute('data-gptviz-contrast')")


WITH = {"next-token": {"next_ids": "300.301"}}  # page -> what a link has to say for all its exhibits to be there


@pytest.mark.parametrize("page", [page for page in EXHIBITS if EXHIBITS[page]])
def test_a_page_has_what_a_scene_can_put_first(visitor: Visitor, page: str) -> None:
    visitor.open(page, **WITH.get(page, {}))
    for name, keys in EXHIBITS[page].items():
        here = visitor.page.locator(", ".join(f".st-key-{key}" for key in keys))
        assert visitor.until(lambda these=here: these.count() > 0, 20), f"{page} has no {name}"
