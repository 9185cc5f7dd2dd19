"""The page on encoder and decoder as a visitor meets it: the pass's own weights on both sides, whatever was typed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from gptviz.figures.style import visible
from gptviz.ui import encoder_decoder as parts
from gptviz.ui.address import kept
from gptviz.view import unpack
from tests.page_helpers import figure, fire, mounted, numbers, open_page, open_sound_page, payload, texts
from tests.tiny import translated

SENTENCE = "My dog has fleas and a cat"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"
PICTURES = ("encoder", "decoder", "cross")
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


def visit(text: str = SENTENCE, **query: object) -> AppTest:
    """The page, by a link."""
    return open_sound_page("encoder-decoder", source=text, **query)


def views(at: AppTest) -> dict[str, dict[str, Any]]:
    """The three attention views: state, header of the overview, and the weights of the chosen head."""
    blobs = [unpack(e.proto.bytes) for e in at.get("bidi_component") if e.proto.bytes]
    found = {}
    for name, view in zip(PICTURES, mounted(at, "gptviz_view"), strict=True):
        told = payload(view)
        own = {header["kind"]: (header, data) for header, data in blobs if header.get("id") == told["id"]}
        exact, weights = own["exact"]
        shape = exact["q1"] - exact["q0"], exact["k1"] - exact["k0"]
        cells = np.frombuffer(weights, np.float32).reshape(shape)
        found[name] = {"state": told["state"], "header": own["overview"][0], "weights": cells, "element": view}
    return found


def test_each_picture_is_the_pass_of_its_side_on_one_scale() -> None:
    for name, view in views(visit(layer=2, head=3)).items():
        own = getattr(translated(SENTENCE), name)
        np.testing.assert_array_equal(np.maximum(view["weights"], 0), own.weights[2, 3])  # below 0 is a masked cell
        assert view["state"]["mode"] == "matrix"
        assert view["header"]["largest"] == 1
        assert view["header"]["title"] == parts.TITLES[name]
        assert view["header"]["queries"] == [visible(token) for token in own.tokens]


def test_the_decoder_is_masked_and_the_encoder_and_cross_attention_are_not() -> None:
    shown = views(visit(layer=1))
    future = {name: view["weights"][np.triu_indices(len(view["weights"]), 1, view["weights"].shape[1])]
              for name, view in shown.items()}  # fmt: skip
    assert np.signbit(future["decoder"]).all() and (future["decoder"] == 0).all()  # -0 is a masked cell
    for name in ("encoder", "cross"):
        assert (shown[name]["weights"] > 0).all()
    assert shown["cross"]["header"]["keys"] == shown["encoder"]["header"]["queries"]


def test_the_bars_are_where_the_heads_look() -> None:
    at, both = visit(layer=1, head=2), translated(SENTENCE)
    for name, first in (("encoder", 0), ("decoder", 1)):  # the decoder's first query has no choice
        weights = getattr(both, name).weights[1][:, first:].astype(float)
        t = weights.shape[-1]
        places = np.arange(t)[None], np.arange(first, t)[:, None]
        for bar, seen in zip(
            figure(at, f"side_shares_{name}")["data"],
            (places[0] < places[1], places[0] == places[1], places[0] > places[1]), strict=True,
        ):  # fmt: skip
            expected = (weights * seen).sum(-1).mean(-1)
            np.testing.assert_allclose(numbers(bar["x"])[:-1], 100 * expected, atol=1e-4)


def test_what_is_said_is_what_the_table_has() -> None:
    at = visit(layer=0, head=1)
    table = next(frame.value for frame in at.dataframe)
    row = table[(table["side"] == "encoder") & (table["head"] == "0.1")].iloc[0]
    assert f"puts **{row['future']:.1%}** of its attention on later tokens, {row['past']:.1%} on earlier" in texts(at)
    decoder = table[table["side"] == "decoder"]
    assert (decoder["future"] == 0).all() and "**0%** on later tokens, which the mask forbids" in texts(at)
    assert len(table) == 2 * 3 * 4
    np.testing.assert_allclose(table[["past", "itself", "future"]].sum(axis=1), 1, atol=1e-6)
    encoder = table[table["side"] == "encoder"].set_index("head")
    assert f"Head **{encoder['future'].idxmax()}** looks ahead most" in texts(at)
    assert f"head **{encoder['past'].idxmax()}** back most" in texts(at)
    last = translated(SENTENCE).encoder.weights[..., -1].astype(float)
    assert f"({last[..., :-1].sum(-1).mean() / last.shape[-1]:.1%} to the end of text alone)" in texts(at)


def test_the_strip_has_each_tokens_share_on_its_future() -> None:
    at = visit(layer=2, head=0)
    (strip,) = mounted(at, "gptviz_token_strip")
    expected = np.triu(translated(SENTENCE).encoder.weights[2, 0].astype(float), 1).sum(-1)
    np.testing.assert_allclose(payload(strip)["values"], expected, atol=1e-4)
    assert payload(strip)["values"][-1] == 0


def test_what_is_clicked_in_a_picture_stays_in_it_and_the_head_is_that_of_all() -> None:
    at = visit()
    first = views(at)["decoder"]["element"]
    state = {"layer": 1, "head": 2, "mode": "lines", "queries": [1]}
    fire(at, first, "state", {"id": payload(first)["id"], "state": state})
    assert not at.exception
    shown = views(at)
    assert {(view["state"]["layer"], view["state"]["head"]) for view in shown.values()} == {(1, 2)}
    assert [view["state"]["mode"] for view in shown.values()] == ["matrix", "lines", "matrix"]
    assert at.session_state["decoder_view"] == "lines~q:1" and at.session_state["encoder_view"] == ""


def test_a_link_opens_the_same_picture() -> None:
    shown = views(visit(layer=1, head=3, encoder_view="sentence~q:2", cross_view="overview"))
    assert [view["state"]["mode"] for view in shown.values()] == ["sentence", "matrix", "overview"]
    assert shown["encoder"]["state"]["queries"] == [2]
    assert {(view["state"]["layer"], view["state"]["head"]) for view in shown.values()} == {(1, 3)}


def test_a_click_on_a_bar_chooses_its_head_and_one_below_the_heads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.st, "session_state", {})
    parts.choose_head(4, {"x": 12.5, "y": 4})
    assert kept() == {}
    parts.choose_head(4, {"x": 12.5, "y": 3})
    assert kept() == {"head": "3"}


def test_both_lessons_link_to_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "masked" in {link.proto.page for link in visit().get("page_link")}
    monkeypatch.delenv("GPTVIZ_CHECKPOINTS")
    there = open_page("masked")
    assert "encoder-decoder" in {link.proto.page for link in there.get("page_link")}
    assert "never trained without the mask" in texts(there)


@pytest.mark.parametrize(
    "query",
    [
        {"layer": 99, "head": -1, "encoder_view": "x~q:999999~w:1-2", "decoder_view": "<b>"},
        {"layer": "x", "head": "<b>", "cross_view": "lines~q:-1~m:nan"},
        {"layer": ["1", "2"], "head": "", "encoder_view": "$x$"},
        {"translator": "../../etc", "nonsense": "$x$", "side_shares_encoder": "[]", "side_strip": "1"},
    ],
)
def test_nonsense_in_the_link_leaves_the_page_standing(query: dict[str, object]) -> None:
    at = visit(**query)
    assert all(view["weights"].size for view in views(at).values())
    assert "<b>" not in texts(at) and "$x$" not in texts(at)


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_without_text_the_page_asks_for_some(text: str) -> None:
    at = open_page("encoder-decoder").text_input(key="source").set_value(text).run()
    assert not at.exception and not at.get("plotly_chart")
    assert any("Type a sentence" in info.value for info in at.info)


def test_a_text_longer_than_the_context_is_refused_in_words() -> None:
    at = visit("dog " * 60)
    assert not at.get("plotly_chart")
    assert any("at most 47 tokens" in warning.value.replace("·", " ") for warning in at.warning)


@pytest.mark.parametrize("text", [HOSTILE, "😀 é \u0301 שלום", "你好", "?!", "a"])
def test_odd_and_hostile_texts_are_literal(text: str) -> None:
    at = visit(text[:40])
    said = texts(at)
    for bad in ("<img", "<b>", "\u202e", "$x$", "**b**", ":smile:", "](b)"):
        assert bad not in said
    drawn = json.dumps([json.loads(chart.proto.spec) for chart in at.get("plotly_chart")], ensure_ascii=False)
    assert "<img" not in drawn and "\u202e" not in drawn
    (strip,) = mounted(at, "gptviz_token_strip")
    assert payload(strip)["tokens"] == [visible(token) for token in translated(text[:40]).encoder.tokens]


def test_of_a_decoder_that_read_one_token_it_is_said() -> None:
    one = np.ones((3, 4, 1, 1))
    measured = parts.Measured(parts.directions(one, True), parts.spread_evenly(1, True), 0.0, 1)
    assert "can only look at itself" in parts.say_decoder(measured, 0, 0)
