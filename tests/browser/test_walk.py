"""The walk of a visitor through the whole app, in a real browser. Order does not matter; the server is shared."""

from __future__ import annotations

import pytest

from gptviz import folder
from tests.browser.visitor import Visitor

LESSONS = {
    "tokens": "Tokens and embeddings",
    "positions": "Positions",
    "attention": "Attention",
    "inside-head": "Inside a head",
    "inside-block": "Inside a block",
    "masked": "Masked and unmasked",
    "next-token": "The next token",
    "loss-gradient": "From output to loss to gradient",
}
FORMULAS = {
    "inside-head": 2,
    "positions": 2,
    "inside-block": 2,
    "loss-gradient": 3,
}  # page -> what it sets in KaTeX of its own
HOME = "What a transformer does with your sentence"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) ![i](http://example.com/i.png)"


def literal(text: str) -> str:
    """A sentence as the strip shows it, put together again."""
    return text.replace(" ", "·")


def test_home_shows_a_picture_of_every_head(visitor: Visitor) -> None:
    visitor.open()
    pictures = visitor.page.locator(".wall img")
    pictures.first.wait_for()
    config, _ = folder.read_config(folder.find_shipped("gpt-stories"))
    assert pictures.count() == config.n_layers * config.n_heads
    assert pictures.first.evaluate("image => image.complete && image.naturalWidth") == len(visitor.tokens())


def test_the_walk(visitor: Visitor) -> None:
    visitor.open()
    visitor.type("Lily saw Tom. Tom saw Lily")
    assert "".join(visitor.tokens()) == literal("Lily saw Tom. Tom saw Lily")
    assert visitor.until(lambda: visitor.query == {"text": ["Lily saw Tom. Tom saw Lily"]})

    visitor.page.get_by_role("link", name="Attention").first.click()
    visitor.arrive("Attention")
    assert visitor.path == "/attention"
    assert visitor.until(lambda: visitor.query.get("text") == ["Lily saw Tom. Tom saw Lily"])

    visitor.page.locator(".gptviz-view").get_by_role("button", name="Sentence").click()
    before = visitor.token(0).evaluate("chip => chip.style.background")
    visitor.token(1).click()
    visitor.settle()
    assert visitor.token(1).get_attribute("aria-pressed") == "true"
    assert visitor.until(lambda: visitor.query.get("view") == ["sentence~q:1"])
    assert visitor.token(0).evaluate("chip => chip.style.background") != before

    visitor.page.locator(".st-key-layer_shown").get_by_text("2", exact=True).click()
    visitor.settle()
    assert visitor.until(lambda: visitor.query.get("layer") == ["2"])

    address = visitor.page.url
    visitor.page.reload()
    visitor.settle()
    assert visitor.page.url == address
    assert "".join(visitor.tokens()) == literal("Lily saw Tom. Tom saw Lily")
    assert visitor.token(1).get_attribute("aria-pressed") == "true"

    visitor.page.get_by_role("link", name="Home").first.click()
    visitor.arrive(HOME)
    assert visitor.path == "/"
    visitor.page.go_back()
    visitor.arrive("Attention")
    assert visitor.path == "/attention"
    assert visitor.until(lambda: visitor.query.get("text") == ["Lily saw Tom. Tom saw Lily"])


def test_of_quick_clicks_none_is_lost(visitor: Visitor) -> None:
    visitor.open("attention", text="Lily gave Tom the red ball")
    for key, number in (("layer", 1), ("head", 2), ("layer", 3), ("head", 1)):
        visitor.page.locator(f".st-key-{key}_shown").get_by_text(str(number), exact=True).click()
    visitor.settle()
    assert visitor.until(lambda: (visitor.query.get("layer"), visitor.query.get("head")) == (["3"], ["1"]), seconds=10)
    assert visitor.until(lambda: visitor.page.locator(".gptviz-view").get_attribute("data-head") == "3.1", seconds=10)


def test_the_wheel_scrolls_the_page_over_a_view_that_has_nothing_to_scroll(visitor: Visitor) -> None:
    visitor.open("attention")
    box = visitor.page.locator(".gptviz-scroller").bounding_box()
    visitor.page.mouse.move(box["x"] + 200, box["y"] + 60)
    visitor.page.mouse.wheel(0, 200)
    main = visitor.page.locator("[data-testid=stMain]")
    assert visitor.until(lambda: main.evaluate("main => main.scrollTop") > 100, seconds=5)


def test_back_comes_to_the_layer_that_was_left(visitor: Visitor) -> None:
    visitor.open("attention", layer=2)
    visitor.page.get_by_role("link", name="Home").first.click()
    visitor.arrive(HOME)
    visitor.page.go_back()
    visitor.arrive("Attention")
    assert visitor.until(lambda: visitor.query.get("layer") == ["2"], seconds=3)


def test_a_head_on_the_wall_opens_in_its_lesson_and_back_returns(visitor: Visitor) -> None:
    visitor.open(text="The cat said meow")
    steps = visitor.page.evaluate("history.length")
    visitor.page.get_by_role("button", name="Attention of head 1.3").click()
    visitor.arrive("Attention")
    assert visitor.until(lambda: visitor.query == {"text": ["The cat said meow"], "layer": ["1"], "head": ["3"]})
    assert visitor.page.evaluate("history.length") == steps + 1, "one click, one step, whoever writes the address"
    visitor.page.go_back()
    visitor.arrive(HOME)
    assert "".join(visitor.tokens()) == "The·cat·said·meow"


def test_the_first_link_to_a_fresh_server_opens_without_a_complaint(first_visitor: Visitor) -> None:
    first_visitor.open("next-token", text="My cat sat")
    assert first_visitor.title() == LESSONS["next-token"]
    first_visitor.page.wait_for_timeout(1000)
    assert first_visitor.page.get_by_role("dialog").count() == 0


@pytest.mark.parametrize("path", ["", *LESSONS])
def test_a_deep_link_with_hostile_tokens_opens_its_page_which_fits_a_phone(visitor: Visitor, path: str) -> None:
    chosen = {"layer": 1, "head": 2} if path else {}
    visitor.open(path, text=HOSTILE, **chosen, **({"view": "sentence"} if path == "attention" else {}))
    assert visitor.title() == LESSONS.get(path, HOME)
    assert visitor.until(lambda: visitor.box.input_value() == HOSTILE)
    assert visitor.page.get_by_role("dialog").count() == 0
    if path in {"", "attention", "masked"}:
        assert "".join(visitor.tokens()) == literal(HOSTILE)
    main = visitor.page.locator("[data-testid=stMain]")
    assert main.locator("img[src='x'], img[src*='example.com']").count() == 0
    assert main.locator(".katex").count() == FORMULAS.get(path, 0)
    assert main.locator("a[href$='b']").count() == 0
    assert "😄" not in main.inner_text()
    assert visitor.page.locator("[data-testid=stException]").count() == 0
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.settle()
    assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 1


def test_tokens_are_chosen_with_the_keyboard(visitor: Visitor) -> None:
    visitor.open("attention", view="sentence")
    visitor.tokens()
    visitor.page.locator(".gptviz-scroller").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
        visitor.page.keyboard.press(key)
    visitor.settle()
    assert visitor.until(lambda: visitor.query.get("view") == ["sentence~q:2"])
    assert visitor.token(2).get_attribute("aria-pressed") == "true"


CONTRAST = """elements => {
  const part = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const rgba = s => { const [r, g, b, a = 1] = s.match(/[0-9.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, below) => below.map((c, i) => top[3] * top[i] + (1 - top[3]) * c);
  const parent = e => e.parentElement ?? e.getRootNode().host;
  const behind = e => e ? over(rgba(getComputedStyle(e).backgroundColor), behind(parent(e))) : [255, 255, 255];
  const seen = elements.filter(e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }));
  return seen.map(e => {
    const style = getComputedStyle(e), ink = e.ownerSVGElement ? style.fill : style.color, ground = behind(e);
    const [a, b] = [light(over(rgba(ink), ground)), light(ground)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}"""
PRESSED = "[data-testid=stMain] button:enabled p"
LABELS = ":is(.xtick, .ytick, .xtitle, .ytitle, .cbaxis, .cbtitle) :is(text, tspan):not(:empty)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_coloured_token_can_be_read_in_both_themes(visitor: Visitor, theme: str) -> None:
    visitor.page.emulate_media(color_scheme=theme)
    visitor.open("attention", text="Once upon a time there was a little dog", view="sentence~q:3-8", layer=1)
    visitor.tokens()
    contrasts = visitor.page.locator(".gptviz-sentence .gptviz-token").evaluate_all(CONTRAST)
    assert len(contrasts) >= 2
    assert min(contrasts) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_buttons_choices_and_labels_can_be_read_in_both_themes(visitor: Visitor, theme: str) -> None:
    visitor.page.emulate_media(color_scheme=theme)
    visitor.open("next-token", text="My dog", next_ids="300.301", next_over="One head")
    visitor.page.locator(".st-key-next_sentence .ytitle").first.wait_for()
    buttons = visitor.page.locator(PRESSED).evaluate_all(CONTRAST)
    assert len(buttons) >= 10
    assert min(buttons) >= 4.5
    labels = visitor.page.locator(LABELS).evaluate_all(CONTRAST)
    assert len(labels) >= 20
    assert min(labels) >= 7


def test_a_text_too_long_for_a_link_survives_and_the_next_one_is_in_the_link(visitor: Visitor) -> None:
    visitor.open()
    visitor.type("word " * 20_000)
    assert visitor.page.get_by_text("cut at the left").is_visible()
    assert visitor.until(lambda: "text" not in visitor.query)
    assert len(visitor.box.input_value()) == 100_000
    visitor.type("short again")
    assert visitor.until(lambda: visitor.query == {"text": ["short again"]})
