"""One head in a real browser: stages under the arrow keys, cells under the mouse, large matrices that scroll."""

from __future__ import annotations

import re
from xml.etree import ElementTree

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


LONG = "the little dog " * 100  # more than the longest context


def pick_layer_2(visitor: Visitor, by: str) -> None:
    """Choose it as somebody with a mouse does, or without."""
    layers = visitor.page.get_by_role("radiogroup", name="Layer").get_by_role("radio")
    if by == "mouse":
        layers.nth(2).click()
    else:
        layers.nth(0).focus()
        for key in ("ArrowRight", "ArrowRight", "Space"):
            visitor.page.keyboard.press(key)
    assert visitor.until(lambda: visitor.query.get("layer") == ["2"])
    visitor.settle()


def test_keys_go_on_after_a_click_on_a_control(visitor: Visitor) -> None:
    visitor.open("inside-head", head_stage="scale")
    pick_layer_2(visitor, "mouse")
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["mask"], seconds=10)
    visitor.page.get_by_text("Scaling off", exact=True).click()
    assert visitor.until(lambda: visitor.query.get("head_unscaled") == ["true"])
    visitor.settle()
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["softmax"], seconds=10)


def test_who_comes_to_a_control_without_a_mouse_stays_in_it(visitor: Visitor) -> None:
    visitor.open("inside-head", head_stage="scale")
    pick_layer_2(visitor, "keyboard")
    visitor.page.keyboard.press("ArrowRight")
    visitor.page.keyboard.press("Space")
    assert visitor.until(lambda: visitor.query.get("layer") == ["3"])
    assert visitor.query.get("head_stage") == ["scale"]


@pytest.mark.parametrize("text", ["My dog has fleas", LONG])
def test_a_clicked_cell_is_computed_below(visitor: Visitor, text: str) -> None:
    visitor.open("inside-head", head_stage="softmax", text=text)
    cells = visitor.page.locator(".st-key-head_weights svg.cells")
    cells.wait_for()
    size = cells.evaluate("e => e.viewBox.baseVal.width") / len(visitor.tokens())
    for query, key in ((3, 1), (4, 2), (1, 3)):
        cells.click(position={"x": (key + 0.5) * size, "y": (query + 0.5) * size})
        chosen = [str(query)], [str(key)]
        assert visitor.until(lambda c=chosen: (visitor.query.get("head_query"), visitor.query.get("head_key")) == c)
        visitor.settle()
        assert visitor.page.get_by_text(f"How much does token {query}, ").count() == 1
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.until(lambda: visitor.query.get("head_stage") == ["values"]), "a clicked matrix takes no keys"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_large_matrix_scrolls_in_its_place_and_its_names_stay_in_view(visitor: Visitor, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 844})
    visitor.open("inside-head", head_stage="scores", text=LONG)
    place = visitor.page.locator(".st-key-head_scores .scroll")
    place.wait_for()
    wide, high, seen = place.evaluate("e => [e.scrollWidth, e.scrollHeight, e.clientWidth]")
    assert wide > 12 * 256 > seen
    assert high > 12 * 256
    place.evaluate("e => e.scrollTo(1500, 1000)")
    edges = place.evaluate("""e => {
        const box = e.getBoundingClientRect(), of = (name) => e.querySelector(name).getBoundingClientRect();
        return [of(".rows").left - box.left, of(".columns").top - box.top, of(".cells").left - box.left];
    }""")
    assert edges[:2] == [0, 0], "names of rows stay at the left, those of columns on top"
    assert edges[2] < -1000, "the cells went on"
    main = visitor.page.locator("[data-testid=stMain]")
    assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 1


def test_a_cell_that_is_chosen_far_away_comes_into_view_and_a_click_leaves_the_place(visitor: Visitor) -> None:
    visitor.open("inside-head", head_stage="scores", text=LONG)
    place = visitor.page.locator(".st-key-head_scores .scroll")
    place.wait_for()
    place.evaluate("e => e.scrollTo(0, 2000)")
    visitor.page.locator(".st-key-head_scores svg.cells").click(position={"x": 30, "y": 2300})
    assert visitor.until(lambda: visitor.query.get("head_query") == ["191"])
    visitor.settle()
    assert place.evaluate("e => e.scrollTop") == 2000
    visitor.page.get_by_label("Query, by position").fill("10")
    visitor.page.get_by_label("Query, by position").press("Enter")
    assert visitor.until(lambda: visitor.query.get("head_query") == ["10"])
    assert visitor.until(lambda: place.evaluate("e => e.scrollTop") <= 120)


def test_a_matrix_is_saved_whole(visitor: Visitor) -> None:
    visitor.open("inside-head", head_stage="scores", text="<b>My</b> dog")
    count = len(visitor.tokens())
    with visitor.page.expect_download() as download:
        visitor.page.locator(".st-key-head_scores").get_by_role("button", name="Save as SVG").click()
    assert download.value.suggested_filename == "head_scores.svg"
    sheet = ElementTree.parse(download.value.path()).getroot()
    texts = [element.text for element in sheet.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<", "b"} <= set(texts), "names are literal"
    assert len([text for text in texts if re.fullmatch("−?[0-9]+([.][0-9]+)?", text)]) >= count * count
