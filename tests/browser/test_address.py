"""What was chosen in a lesson stays: over Back, another lesson, a reload, quick presses; in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.visitor import Visitor

MASKED, NEXT = "Masked and unmasked", "The next token"
ATTENTION = {
    "text": "My cat sat on the mat", "layer": "2", "head": "1", "att_words": "true",
    "view": "matrix~s:sqrt~q:1~w:1-4-0-3",
}  # fmt: skip
LESSONS = {
    "attention": ("Attention", ATTENTION),
    "masked": (MASKED, {"layer": "1", "mask_view": "lines~m:0.8", "mask_at": "2"}),
    "next-token": (NEXT, {"next_ids": "300.301", "next_temperature": "0.5", "next_over": "One head", "next_at": "6"}),
    "tokens": ("Tokens and embeddings", {"emb_token": "2", "emb_stage": "3", "emb_dims": "3", "emb_unit": "false"}),
}


def go(visitor: Visitor, title: str) -> None:
    """Open another lesson through the sidebar."""
    visitor.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    visitor.arrive(title)


def has(visitor: Visitor, query: dict[str, str]) -> bool:
    """Whether the address has all of these and nothing else."""
    return visitor.until(lambda: visitor.query == {name: [text] for name, text in query.items()}, seconds=5)


def shows_the_view(visitor: Visitor) -> bool:
    """Whether the attention view is as `ATTENTION` says: head, mode, zoom, the chosen token, words."""
    view = visitor.page.locator(".gptviz-view")
    view.locator(".gptviz-toolbar [aria-pressed=true]").get_by_text("Matrix").wait_for()
    told = [view.get_attribute(f"data-{name}") for name in ("head", "mode")]
    pressed = view.locator(".gptviz-toolbar [aria-pressed=true]").all_inner_texts()
    checked = visitor.page.locator(".st-key-att_words_shown input").is_checked()
    return told == ["2.1", "matrix"] and "√" in pressed and checked


@pytest.mark.parametrize("path", LESSONS)
def test_the_first_back_comes_to_the_lesson_as_it_was_left(visitor: Visitor, path: str) -> None:
    title, query = LESSONS[path]
    visitor.open(path, **query)
    other = NEXT if path != "next-token" else MASKED
    go(visitor, other)
    visitor.page.go_back()
    visitor.arrive(title)
    assert visitor.path == f"/{path}"
    assert has(visitor, query)
    if path == "attention":
        assert visitor.until(lambda: shows_the_view(visitor))


def test_another_lesson_and_back_through_the_sidebar_keeps_all(visitor: Visitor) -> None:
    visitor.open("attention", **ATTENTION)
    go(visitor, MASKED)
    visitor.page.get_by_text("The attention of head 2.1").wait_for()
    assert visitor.page.locator("[data-testid=stException]").count() == 0
    go(visitor, "Attention")
    assert has(visitor, ATTENTION)
    assert visitor.until(lambda: shows_the_view(visitor))


def test_what_is_chosen_by_hand_comes_back_too_and_survives_a_reload(visitor: Visitor) -> None:
    visitor.open("attention", text="My cat sat on the mat", att_words="true")
    view = visitor.page.locator(".gptviz-view")
    view.get_by_role("button", name="Matrix", exact=True).click()
    visitor.page.locator(".st-key-layer_shown").get_by_text("2", exact=True).click()
    view.locator(".gptviz-toolbar").get_by_text("√").click()
    chosen = {"text": "My cat sat on the mat", "att_words": "true", "layer": "2", "view": "matrix~s:sqrt"}
    assert has(visitor, chosen)
    go(visitor, NEXT)
    visitor.page.go_back()
    visitor.arrive("Attention")
    assert has(visitor, chosen)
    assert visitor.until(lambda: view.get_attribute("data-head") == "2.0")
    visitor.page.reload()
    visitor.settle()
    assert has(visitor, chosen)
    assert visitor.until(lambda: [view.get_attribute(f"data-{name}") for name in ("head", "mode")] == ["2.0", "matrix"])


def test_back_steps_through_what_was_chosen_on_a_page(visitor: Visitor) -> None:
    visitor.open("attention")
    for layer in ("1", "3"):
        visitor.page.locator(".st-key-layer_shown").get_by_text(layer, exact=True).click()
        assert has(visitor, {"layer": layer})
        visitor.settle()
    visitor.page.go_back()
    assert has(visitor, {"layer": "1"})
    assert visitor.until(lambda: visitor.page.locator(".gptviz-view").get_attribute("data-head") == "1.0")


SENTENCES = {  # path -> a sentence and what is chosen of it, by their names in the address, and another sentence
    "translate": ({"source": "Der Krankenwagen kam zu spät.", "step": "2"}, "Warum hast du mir das nicht gesagt?"),
    "loss-gradient": ({"text": "My cat sat on the mat", "loss_at": "1"}, "Once upon a time there was"),
}


def shown_of(visitor: Visitor, path: str) -> str:
    """The step or the position that the page shows."""
    if path == "translate":
        return visitor.page.locator("#weights").inner_text().partition(" as ")[0].removeprefix("Step ")
    return visitor.page.locator(".st-key-loss_at_shown").get_by_role("slider").get_attribute("aria-valuenow")


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "as at first"])
@pytest.mark.parametrize("path", SENTENCES)
def test_one_back_comes_to_the_sentence_before_with_what_belongs_to_it(
    visitor: Visitor, path: str, chosen: bool
) -> None:
    """Of the other sentence something else is chosen, or nothing; no step of the history has half of both."""
    link, other = SENTENCES[path]
    name, kept = link
    query = link if chosen else {name: link[name]}
    visitor.open(path, **query)
    at_first = shown_of(visitor, path)
    visitor.type(other)
    assert has(visitor, {name: other})
    if not chosen:
        if path == "translate":
            visitor.page.locator("h1").click()  # out of the box, where the key would move the cursor
        else:
            visitor.page.locator(".st-key-loss_at_shown").get_by_role("slider").focus()
        visitor.page.keyboard.press("ArrowLeft")
        assert visitor.until(lambda: kept in visitor.query)
        visitor.settle()
        visitor.page.go_back()
        assert has(visitor, {name: other})
        visitor.settle()
    visitor.page.go_back()
    assert has(visitor, query)
    assert visitor.until(lambda: visitor.box.input_value() == link[name])  # Back reaches the server when it can
    assert visitor.until(lambda: shown_of(visitor, path) == at_first)
    visitor.settle()
    assert (visitor.box.input_value(), shown_of(visitor, path)) == (link[name], at_first)
    visitor.page.go_forward()
    assert has(visitor, {name: other})


def test_nonsense_in_a_link_is_forgotten(visitor: Visitor) -> None:
    visitor.open("next-token", next_temperature="hot", next_n="9999", layer="77", next_seed="5")
    owners = visitor.page.locator(".st-key-address input")
    assert visitor.until(lambda: [text for text in (o.input_value() for o in owners.all()) if text] == ["5"])
    assert visitor.page.locator("[data-testid=stException]").count() == 0


def test_the_owners_of_the_address_are_not_seen(visitor: Visitor) -> None:
    visitor.open("attention", layer=2)
    owners = visitor.page.locator(".st-key-address input")
    assert owners.count() >= 3
    assert not any(owner.is_visible() for owner in owners.all())


def test_every_quick_press_draws_a_token(visitor: Visitor) -> None:
    visitor.open("next-token", text="Once upon a time", next_seed="3")
    button = visitor.page.get_by_role("button", name="Draw one token")
    button.wait_for()
    for presses in range(5):  # while the page of the last one is being drawn; of several that wait, Streamlit makes one
        assert visitor.until(lambda n=presses: len(drawn(visitor)) >= n)
        button.click()
        visitor.page.wait_for_timeout(150)
    assert visitor.until(lambda: len(drawn(visitor)) == 5)
    one_by_one = drawn(visitor)
    visitor.open("next-token", text="Once upon a time", next_seed="3", next_amount="5")
    visitor.page.get_by_role("button", name="Go on").click()
    assert visitor.until(lambda: drawn(visitor) == one_by_one, seconds=15)


def drawn(visitor: Visitor) -> list[str]:
    """The drawn tokens that are in the address."""
    return [piece for piece in visitor.query.get("next_ids", [""])[0].split(".") if piece]


def test_a_reload_while_it_goes_on_keeps_what_was_drawn(visitor: Visitor) -> None:
    visitor.open("next-token", text="Once upon a time there was", next_amount="200", next_temperature="0.7")
    visitor.page.get_by_role("button", name="Go on").click()
    assert visitor.until(lambda: len(drawn(visitor)) >= 10, seconds=15)
    before = drawn(visitor)
    visitor.page.reload()
    visitor.settle()
    assert drawn(visitor)[: len(before)] == before
    strip = visitor.page.locator(".strip .token")
    strip.first.wait_for()
    assert strip.count() > len(before)
