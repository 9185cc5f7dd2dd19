"""A recorded training in a real browser: playing, keys, pointing, links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gptviz
from gptviz.checkpoint import load_folder
from gptviz.folder import SNAPSHOTS, snapshot_file
from tests.browser.conftest import serving, visiting
from tests.browser.visitor import Visitor
from tests.recorded import STEPS, write_recording

TEXT = "My dog has fleas"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    write_recording(folder)
    return folder


@pytest.fixture(scope="module")
def address(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with one recording and no run."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder / "log.txt", GPTVIZ_CHECKPOINTS=str(shelf), GPTVIZ_RUNS=str(folder / "runs")) as found:
        yield found


@pytest.fixture
def visitor(browser: Any, address: str) -> Iterator[Visitor]:
    with visiting(browser, address) as person:
        yield person


def open_page(visitor: Visitor, text: str = TEXT, **query: object) -> None:
    visitor.open("time-lapse", text=text, **query)
    visitor.page.locator(".lapse .candidate").first.wait_for()


def place(visitor: Visitor) -> str:
    return visitor.page.locator(".lapse .controls output").inner_text()


def at_step(n: int) -> str:
    return f"step {STEPS[n]} ({n + 1} of {len(STEPS)})"


def words(visitor: Visitor) -> str:
    return visitor.page.locator(".lapse .words").inner_text()


def pictures(visitor: Visitor) -> str:
    """All heads, as they are drawn now."""
    return visitor.page.locator(".lapse .heads canvas").evaluate("canvas => canvas.toDataURL()")


def test_keys_step_the_link_follows_and_a_reload_restores_it(visitor: Visitor) -> None:
    open_page(visitor)
    assert place(visitor) == at_step(3)
    last = pictures(visitor)
    bars = visitor.page.locator(".lapse .candidate small").all_inner_texts()
    for _ in range(2):  # quicker than the server answers
        visitor.page.keyboard.press("ArrowLeft")
    assert place(visitor) == at_step(1)
    assert pictures(visitor) != last
    assert visitor.page.locator(".lapse .candidate small").all_inner_texts() != bars
    assert visitor.until(lambda: visitor.query.get("lapse_step") == [str(STEPS[1])])
    visitor.settle()
    assert place(visitor) == at_step(1), "the answer of the server moves nothing"
    before = pictures(visitor)
    visitor.page.reload()
    visitor.settle()
    assert visitor.until(lambda: place(visitor) == at_step(1))
    assert visitor.until(lambda: pictures(visitor) == before)
    for _ in range(5):
        visitor.page.keyboard.press("ArrowLeft")
    assert place(visitor) == at_step(0)
    assert visitor.until(lambda: visitor.query.get("lapse_step") == ["0"])


def test_playing_moves_to_the_end_and_space_pauses(visitor: Visitor) -> None:
    open_page(visitor)
    marker = visitor.page.locator(".lapse .marker").first
    end = marker.bounding_box()["x"]
    visitor.page.get_by_label("Speed").select_option("4×")
    visitor.page.locator("h1").click()  # the keyboard goes back to the page
    visitor.page.keyboard.press("Space")
    assert place(visitor) == at_step(0)
    assert marker.bounding_box()["x"] < end
    visitor.page.keyboard.press("Space")
    paused = place(visitor)
    visitor.page.wait_for_timeout(700)
    assert place(visitor) == paused
    visitor.page.get_by_role("button", name="Play").click()
    assert visitor.until(lambda: place(visitor) == at_step(3))
    assert visitor.until(lambda: visitor.page.get_by_role("button", name="Play").is_visible())
    assert marker.bounding_box()["x"] == pytest.approx(end)


def test_pointing_says_the_models_own_numbers(visitor: Visitor, shelf: Path) -> None:
    open_page(visitor, lapse_step=STEPS[2])
    model = load_folder(shelf / "seen" / SNAPSHOTS, "cpu", snapshot_file(STEPS[2]))
    trace = gptviz.trace(model, TEXT)
    t = len(trace.tokens)
    canvas = visitor.page.locator(".lapse .heads canvas")
    side = min(190, int((canvas.bounding_box()["width"] + 8) / 3) - 8)  # as in lapse_pictures.js
    row, column = t - 1, 1
    x = (side + 8) + (column + 0.5) * side / t  # head 0.1
    canvas.hover(position={"x": x, "y": 17 + (row + 0.5) * side / t})
    assert words(visitor).startswith("head 0.1: ")
    assert words(visitor).endswith(f"{trace.weights[0, 1, row, column]:.6f}")
    canvas.hover(position={"x": x, "y": 17 + 0.5 * side / t})
    assert "masked" in words(visitor)
    visitor.page.locator(".lapse .candidate").first.hover()
    assert "probability 0." in words(visitor)
    visitor.page.locator(".lapse .charts canvas").nth(2).hover()
    assert "induction 0." in words(visitor)


def test_a_step_opens_in_the_attention_lesson(visitor: Visitor) -> None:
    open_page(visitor, lapse_step=STEPS[1])
    visitor.page.get_by_role("button", name=f"Open step {STEPS[1]} in the attention lesson").click()
    assert visitor.until(lambda: "/attention" in visitor.page.url)
    visitor.settle()
    assert visitor.until(lambda: visitor.query.get("model") == [f"seen@{STEPS[1]}"])
    assert not visitor.page.get_by_text("There is no model").count()


def test_hostile_tokens_are_text_and_a_phone_shows_all(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    open_page(visitor, HOSTILE)
    visitor.page.locator(".lapse .heads canvas").hover(position={"x": 3, "y": 20})
    assert "“<" in words(visitor)
    assert not visitor.page.locator(".lapse img").count()
    main = visitor.page.locator("[data-testid=stMain]")
    assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 1
    assert visitor.page.locator(".lapse").evaluate("e => e.scrollWidth - e.clientWidth") <= 1
