"""A translation in a real browser: steps by key and button, playing, and what pointing at a token colours."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

import gptviz
from gptviz.ui.translate import RAMP
from tests.browser.visitor import Visitor
from tests.tiny import translator

SENTENCE = "My dog has fleas"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def visitor(pair_visitor: Visitor) -> Visitor:
    """Who sees a small random model."""
    return pair_visitor


@pytest.fixture(scope="module")
def result() -> gptviz.Translation:
    """Without the app."""
    return gptviz.translate(translator(), SENTENCE)


def open_page(visitor: Visitor, source: str = SENTENCE, **query: object) -> None:
    visitor.open("translate", source=source, layer=1, **query)
    visitor.page.locator(".translate .strip .token").first.wait_for()


def chip(visitor: Visitor, side: str, at: int) -> Any:
    """A token of one of the strips."""
    return visitor.page.locator(f".strip.{side} .token").nth(at)


def numbers(visitor: Visitor, side: str) -> list[str]:
    """The weights that stand under the tokens of a strip."""
    return visitor.page.locator(f".strip.{side} .token:not(.later) small").all_inner_texts()


def place(visitor: Visitor) -> str:
    """Where the visitor is."""
    return visitor.page.locator(".translate output").inner_text()


def written(visitor: Visitor) -> int:
    """How many tokens of the output can be seen."""
    tokens = visitor.page.locator(".strip.output .token")
    return sum(tokens.nth(i).is_visible() for i in range(tokens.count()))


def heights(visitor: Visitor) -> list[list[float]]:
    """Where all parts are, from top to bottom, below the first: the check of the numbers may wake above them."""
    parts = ".translate .bar, .translate .line, .translate .strips, .translate canvas, .translate .panel, .legend"
    return visitor.page.locator(parts).evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).map((r, _, [first]) => [r.y - first.y, r.width, r.height])"
    )  # and no x: a long strip scrolls to the token that is being written


def settled_heights(visitor: Visitor) -> list[list[float]]:
    """`heights`, once all that the page draws above has its place."""
    seen: list[list[list[float]]] = []

    def is_still() -> bool:
        seen.append(heights(visitor))
        return len(seen) > 5 and all(found == seen[-1] for found in seen[-5:])

    assert visitor.until(is_still)
    return seen[-1]


def test_pointing_at_a_token_colours_the_other_side_by_its_weights(
    visitor: Visitor, result: gptviz.Translation
) -> None:
    open_page(visitor)
    cross = result.trace.cross_weights[1].mean(axis=0)  # (T, S)
    chip(visitor, "source", 2).hover()
    assert numbers(visitor, "output") == [f"{weight:.2f}" for weight in cross[:, 2]]
    assert f"{cross[0, 2]:.6f}" in chip(visitor, "output", 0).get_attribute("title")
    assert chip(visitor, "output", 0).evaluate("e => e.style.background")
    chip(visitor, "output", 1).hover()
    assert numbers(visitor, "source") == [f"{weight:.2f}" for weight in cross[1]]
    assert f"Step 2: to write “{visible(chip(visitor, 'output', 1))}”" in words(visitor)
    visitor.page.mouse.move(5, 5)
    assert words(visitor).startswith("Point at a token")
    chip(visitor, "source", 3).click()  # a click stays, as a tap does
    visitor.page.mouse.move(5, 5)
    assert numbers(visitor, "output") == [f"{weight:.2f}" for weight in cross[:, 3]]
    visitor.page.keyboard.press("Escape")
    assert words(visitor).startswith("Point at a token")


def visible(token: Any) -> str:
    """A token's text without its number."""
    return token.locator("bdi").inner_text()


def words(visitor: Visitor) -> str:
    """What is said of it."""
    return visitor.page.locator(".translate .words").inner_text()


def test_tokens_are_reached_by_keyboard(visitor: Visitor, result: gptviz.Translation) -> None:
    open_page(visitor, step=5)
    chip(visitor, "source", 0).focus()
    visitor.page.keyboard.press("ArrowRight")
    cross = result.trace.cross_weights[1].mean(axis=0)
    assert numbers(visitor, "output") == [f"{weight:.2f}" for weight in cross[:5, 1]]
    assert place(visitor) == f"step 5 of {len(result.ids)}", "arrow keys in a strip do not step"
    visitor.page.locator("figure.cross canvas").focus()
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("ArrowRight")
    assert words(visitor).endswith(f"{cross[0, 1]:.6f}")


def test_keys_and_buttons_step_and_the_address_follows_and_nothing_jumps(
    visitor: Visitor, result: gptviz.Translation
) -> None:
    count = len(result.ids)
    open_page(visitor)
    visitor.page.get_by_text("Forward pass checked").first.wait_for()  # the last thing that the page draws
    before = settled_heights(visitor)
    assert (place(visitor), written(visitor)) == (f"whole: {count} steps", count)
    for _ in range(3):  # quicker than the server answers
        visitor.page.keyboard.press("ArrowLeft")
    assert (place(visitor), written(visitor)) == (f"step {count - 2} of {count}", count - 2)
    assert heights(visitor) == before
    assert visitor.until(lambda: visitor.query.get("step") == [str(count - 2)])
    visitor.settle()
    assert place(visitor) == f"step {count - 2} of {count}"
    visitor.page.get_by_role("button", name="Next →").click()
    visitor.page.keyboard.press("ArrowRight")
    assert place(visitor) == f"step {count} of {count}"
    visitor.page.get_by_role("button", name="Whole").click()
    assert visitor.until(lambda: "step" not in visitor.query)
    visitor.page.get_by_role("radiogroup", name="Layer").get_by_role("radio").nth(2).click()
    visitor.settle()
    visitor.page.keyboard.press("ArrowLeft")
    assert place(visitor) == f"step {count} of {count}", "keys go on after a click on a control"


def test_a_step_survives_another_layer_and_a_reload(visitor: Visitor, result: gptviz.Translation) -> None:
    open_page(visitor, step=3)
    visitor.page.locator(".translate input[type=range]").fill("4")
    visitor.page.get_by_role("radiogroup", name="Layer").get_by_role("radio").nth(2).click()
    assert visitor.until(lambda: visitor.query.get("layer") == ["2"] and visitor.query.get("step") == ["4"])
    visitor.settle()
    assert (place(visitor), written(visitor)) == (f"step 4 of {len(result.ids)}", 4)
    cross = result.trace.cross_weights[2].mean(axis=0)
    assert numbers(visitor, "source") == [f"{weight:.2f}" for weight in cross[3]]
    visitor.page.reload()
    visitor.settle()
    assert visitor.until(lambda: place(visitor) == f"step 4 of {len(result.ids)}")


def test_playing_writes_token_by_token_until_it_is_stopped(visitor: Visitor, result: gptviz.Translation) -> None:
    open_page(visitor)
    visitor.page.get_by_role("button", name="Play").click()
    assert place(visitor).startswith("step 1 ")
    assert visitor.until(lambda: place(visitor).startswith("step 3 "))
    visitor.page.get_by_role("button", name="Stop").click()
    stopped = place(visitor)
    visitor.page.wait_for_timeout(1500)
    assert place(visitor) == stopped
    assert visitor.until(lambda: visitor.query.get("step") == [stopped.split()[1]])
    text = visitor.page.locator(".translate .text span").first.inner_text()
    assert text and result.text.startswith(text) and text != result.text
    visitor.page.locator(".translate input[type=range]").fill(str(len(result.ids)))
    visitor.page.get_by_role("button", name="Play").click()  # from the start: all is written
    assert place(visitor).startswith("step 1 ")


def test_the_matrices_have_the_colours_of_their_weights(visitor: Visitor, result: gptviz.Translation) -> None:
    open_page(visitor)
    canvas = visitor.page.locator("figure.cross canvas")
    canvas.scroll_into_view_if_needed()
    pixels = canvas.evaluate(""" canvas => {
        const last = canvas.width - 12 * devicePixelRatio; // inside the last column
        const { data } = canvas.getContext("2d").getImageData(last, 0, 1, canvas.height);
        return btoa(String.fromCharCode(...data));
    }""")
    column = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(-1, 4)[:, :3].astype(float)
    for weight in result.trace.cross_weights[1].mean(axis=0)[:, -1]:  # on the last German token
        place_on_ramp = np.sqrt(weight) * (len(RAMP) - 1)
        colour = [np.interp(place_on_ramp, range(len(RAMP)), channel) for channel in zip(*RAMP, strict=True)]
        assert np.abs(column - colour).max(axis=1).min() < 1.01, (weight, colour)


def test_hostile_tokens_are_text_and_a_phone_shows_all(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.open("translate", source=HOSTILE, step=2)
    tokens = visitor.page.locator(".strip.source .token bdi")
    tokens.first.wait_for()
    assert "".join(tokens.all_text_contents()).startswith(HOSTILE.replace(" ", "·"))
    assert not visitor.page.locator(".translate img").count()
    main = visitor.page.locator("[data-testid=stMain]")
    assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 1
    assert visitor.page.locator(".translate").evaluate("e => e.scrollWidth - e.clientWidth") <= 1


@pytest.mark.parametrize("width", [1280, 390])
def test_no_row_of_probabilities_is_cut_off(visitor: Visitor, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 844})
    open_page(visitor, source="My dog has fleas and a cat and the red ball, said Lily!")
    for step in ("whole", "1"):
        if step != "whole":
            visitor.page.locator(".translate input[type=range]").fill(step)
        hidden = visitor.page.locator(".translate .bars").evaluate("list => list.scrollHeight - list.clientHeight")
        assert hidden <= 0, (width, step)
