"""The attention view in somebody else's Streamlit app, in a real browser: picture, controls and address agree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import ROOT, free_port, visiting, wait_until_healthy
from tests.browser.visitor import Visitor

APP = """
import sys
sys.path.insert(0, {root!r})
import streamlit as st
import gptviz
from gptviz.ui.attention_view import attention_view
from tests.view.samples import attention, future

st.title("An app")
t = st.number_input("T", 1, 300, 24, key="T", bind="query-params")
st.segmented_control("Layer", range(3), default=0, required=True, key="layer", bind="query-params")
st.segmented_control("Head", range(4), default=0, required=True, key="head", bind="query-params")
weights = attention(3, 4, t, t, causal=True)
view = gptviz.attention_view(weights, [f"<b>{{i}}" for i in range(t)], masked=future(t))
st.code(attention_view(view, key="att").to_text() or "-")
"""
KNOWN = """() => [...globalThis.__gptvizViews.values()].map((d) =>
  [d.header.T, [...d.heads.keys()], d.exact.map((w) => [w.i, w.q0, w.q1, w.k0, w.k1])])"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the app above."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "demo_app.py").write_text(APP.format(root=str(ROOT)), encoding="utf-8")
    address, log = f"http://localhost:{free_port()}", folder / "log.txt"
    command = [sys.executable, "-m", "streamlit", "run", str(folder / "demo_app.py"), "--server.headless", "true"]
    with log.open("w", encoding="utf-8") as out:
        running = subprocess.Popen(
            [*command, "--server.port", address.rpartition(":")[2]], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            wait_until_healthy(address, running, Path(log))
            yield address
        finally:
            running.terminate()
            running.wait(timeout=30)


@pytest.fixture
def person(browser: object, address: str) -> Iterator[Visitor]:
    with visiting(browser, address) as visitor:
        yield visitor


def watch(person: Visitor, **query: object) -> None:
    """Open the app and wait for the picture."""
    person.open(**query)
    person.page.locator(".gptviz-view[data-painted]").wait_for()
    person.page.locator(".gptviz-scroller").focus()


def shows(person: Visitor, head: str, mode: str = "overview") -> bool:
    """Whether picture, controls and address all have this head, and the picture this mode."""
    layer, number = head.split(".")
    root = person.page.locator(".gptviz-view")
    controls = [
        person.page.locator(f".st-key-{key} [aria-checked=true]").inner_text() for key in ("layer", "head")
    ]  # fmt: skip
    address = [person.query.get(key, ["0"]) for key in ("layer", "head")]
    told = root.get_attribute("data-head"), root.get_attribute("data-mode")
    return told == (head, mode) and controls == [layer, number] and address == [[layer], [number]]


def test_a_link_opens_the_same_picture_and_a_reload_keeps_it(person: Visitor) -> None:
    watch(person, layer=2, head=1, view="lines~q:3~m:0.8")
    assert person.until(lambda: shows(person, "2.1", "lines"))
    person.page.reload()
    assert person.until(lambda: shows(person, "2.1", "lines"))
    assert person.query["view"] == ["lines~q:3~m:0.8"]


def test_picture_and_controls_follow_each_other(person: Visitor) -> None:
    watch(person)
    person.page.keyboard.press("ArrowRight")
    assert person.until(lambda: shows(person, "0.1"))
    person.page.locator(".st-key-layer button").nth(2).click()
    assert person.until(lambda: shows(person, "2.1"))
    person.page.locator(".gptviz-scroller").focus()
    person.page.keyboard.press("Enter")
    assert person.until(lambda: shows(person, "2.1", "matrix") and person.query.get("view") == ["matrix"])


@pytest.mark.parametrize("pause", [20, 120, 250])
def test_rapid_keys_leave_the_right_address(person: Visitor, pause: int) -> None:
    watch(person, layer=0, head=2)
    for key in ("p", "ArrowRight", "p", "ArrowRight", "s", "ArrowRight"):  # 0.2, 0.3, 1.0, 1.1
        person.page.keyboard.press(key)
        person.page.wait_for_timeout(pause)
    person.page.wait_for_timeout(1000)
    assert person.until(lambda: shows(person, "1.1"))
    assert person.query["view"] == ["s:sqrt~p:2-3"]


def test_a_short_text_has_its_exact_weights_and_asks_for_nothing(person: Visitor) -> None:
    asked: list[str] = []
    person.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(str(frame))))
    watch(person, view="matrix")
    person.page.locator(".st-key-head button").nth(3).click()
    assert person.until(lambda: person.page.evaluate(KNOWN) == [[24, [], [[3, 0, 24, 0, 24], [0, 0, 24, 0, 24]]]])
    person.page.wait_for_timeout(500)
    assert not any("needs" in frame for frame in asked)
    assert len(asked) == 2  # the first run, and the control


def test_a_long_text_is_asked_for_where_it_is_looked_at(person: Visitor) -> None:
    watch(person, T=200, head=1, view="matrix")
    assert person.until(lambda: person.page.evaluate(KNOWN)[0][1] == [1])
    box = person.page.locator(".gptviz-picture").bounding_box()
    person.page.mouse.move(box["x"] + 200, box["y"] + 200)
    person.page.mouse.move(box["x"] + 201, box["y"] + 200)

    def rows() -> list:
        return [w for w in person.page.evaluate(KNOWN)[0][2] if w[2] - w[1] == 1 and w[3:] == [0, 200]]

    assert person.until(lambda: len(rows()) == 1)
    watch(person, T=200, head=1, view="matrix~w:100-160-20-80")
    assert person.until(lambda: [1, 100, 160, 20, 80] in person.page.evaluate(KNOWN)[0][2])


def test_the_theme_changes_under_it(person: Visitor) -> None:
    watch(person, layer=1)
    root = person.page.locator(".gptviz-view")
    for scheme in ("dark", "light"):
        person.page.emulate_media(color_scheme=scheme)
        assert person.until(lambda scheme=scheme: root.get_attribute("data-theme") == scheme)
    assert shows(person, "1.0")
