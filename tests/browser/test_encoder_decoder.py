"""Clicks on the page that compares encoder and decoder, in a real browser: bars, a token in the view, and the links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gptviz import checkpoint
from tests.browser.conftest import serving, visiting
from tests.browser.visitor import Visitor
from tests.tiny import language_model, random_gpt, translator


@pytest.fixture
def tiny_visitor(browser: object, tmp_path: Path) -> Iterator[Visitor]:
    """A visitor of a server that has two small random models: a GPT and an encoder-decoder."""
    for name, model in (("gpt", language_model("gpt", random_gpt()).gpt), ("pair", translator().transformer)):
        checkpoint.save(tmp_path / "models" / name, model, translator().tokenizer)
    models = str(tmp_path / "models")
    with serving(tmp_path / "log.txt", GPTVIZ_CHECKPOINTS=models) as address, visiting(browser, address) as person:
        yield person


def click_bar(visitor: Visitor, key: str, number: int) -> None:
    """Click the first part of a bar, in the middle."""
    bar = visitor.page.locator(f".st-key-{key} .barlayer .trace").first.locator(".point").nth(number)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visitor.page.mouse.move(x, y)  # Plotly reports a click on what it hovers over
    visitor.page.locator(f".st-key-{key} .hoverlayer .hovertext").first.wait_for(state="attached")
    visitor.page.mouse.click(x, y)


def test_a_bar_chooses_its_head_and_the_lessons_lead_to_each_other(tiny_visitor: Visitor) -> None:
    visitor = tiny_visitor
    visitor.open("encoder-decoder", source="My dog has fleas", layer=1)
    click_bar(visitor, "side_shares_encoder", 2)
    visitor.page.get_by_text("Self-attention: head 1.2 of both").wait_for()
    visitor.settle()
    assert visitor.until(lambda: visitor.query.get("head") == ["2"])
    click_bar(visitor, "side_shares_decoder", 4)  # what an even spread would give: no head
    visitor.settle()
    assert visitor.query["head"] == ["2"]

    link = visitor.page.locator("[data-testid=stMain] [data-testid=stPageLink-NavLink]")
    link.first.click()
    visitor.arrive("Masked and unmasked")
    assert visitor.path == "/masked" and visitor.query.get("head") == ["2"]
    link.first.click()
    visitor.arrive("Unmasked and masked")
    visitor.page.get_by_text("Self-attention: head 1.2 of both").wait_for()
    assert visitor.path == "/encoder-decoder"
    assert visitor.until(lambda: visitor.query.get("source") == ["My dog has fleas"])


def test_a_token_clicked_in_one_picture_is_chosen_there_alone(tiny_visitor: Visitor) -> None:
    visitor = tiny_visitor
    visitor.open("encoder-decoder", source="My dog has fleas")
    views = visitor.page.locator(".gptviz-view")
    views.nth(2).wait_for()
    views.nth(0).get_by_role("button", name="Sentence").click()
    views.nth(0).locator(".gptviz-sentence .gptviz-token[data-at='1']").first.click()
    visitor.settle()
    assert visitor.until(lambda: visitor.query.get("encoder_view") == ["sentence~q:1"])
    assert "decoder_view" not in visitor.query and "cross_view" not in visitor.query
