"""The page on masking, as a visitor uses it: through the router, with the shipped checkpoint, whatever it learned."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.ui import masking as parts
from gptviz.ui.address import kept
from gptviz.view import unpack, unpack_codes
from tests.page_helpers import figure, fire, mounted, numbers, open_page, payload, texts

NAME = "gpt-stories"
SENTENCE = "My dog has fleas"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"


@pytest.fixture(scope="module")
def model() -> gptviz.LanguageModel:
    """The model that the page opens."""
    return gptviz.load(NAME)


def visit(**query: object) -> AppTest:
    """The page, by a link."""
    at = open_page("masked", **query)
    assert not at.exception
    return at


def cells(at: AppTest) -> np.ndarray:
    """The numbers of the difference."""
    return numbers(next(trace["z"] for trace in figure(at, "mask_difference")["data"] if "coloraxis" in trace))


def views(at: AppTest) -> list[dict[str, Any]]:
    """The attention views, masked and unmasked: their state, the overview's header, its codes and the exact weights."""
    blobs = [unpack(e.proto.bytes) for e in at.get("bidi_component") if e.proto.bytes]
    found = []
    for view in mounted(at, "gptviz_view"):
        told = payload(view)
        own = {header["kind"]: (header, data) for header, data in blobs if header["id"] == told["id"]}
        header, data = own["overview"]
        exact, weights = own["exact"]
        shape = exact["q1"] - exact["q0"], exact["k1"] - exact["k0"]
        square = np.frombuffer(weights, np.float32).reshape(shape)
        codes = unpack_codes(header, data)
        found.append({"state": told["state"], "header": header, "codes": codes, "i": exact["i"], "weights": square})
    return found


def both(model: gptviz.LanguageModel, text: str) -> tuple[gptviz.Trace, gptviz.Trace]:
    """The sentence read with the mask and without."""
    return gptviz.trace(model, text), gptviz.trace(model, text, causal=False)


def softmax(trace: gptviz.Trace) -> np.ndarray:
    """Probabilities (T, V) by PyTorch, float64."""
    return torch.from_numpy(trace.logits.copy()).double().softmax(-1).numpy()


def test_the_two_views_are_the_two_passes_and_the_map_is_their_difference(model):
    at = visit(layer=2, head=3)
    traces = both(model, SENTENCE)
    n_heads = traces[0].weights.shape[1]
    for trace, view in zip(traces, views(at), strict=True):
        assert view["i"] == 2 * n_heads + 3
        np.testing.assert_array_equal(np.maximum(view["weights"], 0), trace.weights[2, 3])  # below 0 is a masked cell
        assert (view["state"]["layer"], view["state"]["head"], view["state"]["mode"]) == (2, 3, "matrix")
    masked, unmasked = (trace.weights[2, 3].astype(float) for trace in traces)
    np.testing.assert_allclose(cells(at), unmasked - masked, atol=1e-6)


def test_the_future_is_masked_in_one_view_and_filled_in_the_other_on_one_scale(model):
    masked, unmasked = views(visit())
    future = np.triu_indices(len(model.encode(SENTENCE)[0]), 1)
    assert (masked["codes"][:, *future] == 0).all()
    assert (unmasked["codes"][:, *future] > 0).all()
    assert masked["header"]["largest"] == unmasked["header"]["largest"] == 1
    assert [view["header"]["title"] for view in (masked, unmasked)] == ["Masked, as trained", "Unmasked"]


def test_what_is_chosen_in_one_view_is_chosen_in_the_other_and_in_the_link():
    at = visit()
    first = mounted(at, "gptviz_view")[1]
    state = {"layer": 1, "head": 2, "mode": "lines", "queries": [3]}
    fire(at, first, "state", {"id": payload(first)["id"], "state": state})
    assert not at.exception
    for view in views(at):
        assert {name: view["state"][name] for name in state} == state
    assert any("head 1.2" in header.value for header in at.subheader)
    names = ("layer", "head", "mask_view")
    assert tuple(at.session_state[name] for name in names) == ("1", "2", "lines~q:3")
    for mode, text in (("overview", "overview"), ("matrix", "")):  # a matrix is what the page begins with
        first = mounted(at, "gptviz_view")[0]
        fire(at, first, "state", {"id": payload(first)["id"], "state": {"mode": mode}})
        assert at.session_state["mask_view"] == text
        assert [view["state"]["mode"] for view in views(at)] == [mode, mode]


def test_every_head_shows_the_share_that_moved(model):
    at = visit()
    unmasked = both(model, SENTENCE)[1].weights.astype(float)
    expected = [
        [np.mean([row[i + 1 :].sum() for i, row in enumerate(head[:-1])]) for head in layer] for layer in unmasked
    ]
    np.testing.assert_allclose(numbers(figure(at, "mask_heads")["data"][0]["z"]), 100 * np.array(expected), atol=1e-3)


def test_divergence_and_changes_cover_the_whole_vocabulary(model):
    at = visit(mask_at=2)
    p, q = map(softmax, both(model, SENTENCE))
    shown = numbers(figure(at, "mask_positions")["data"][0]["y"])
    np.testing.assert_allclose(shown, (p * np.log2(p / q)).sum(-1), atol=1e-7)
    assert f"D(masked ‖ unmasked) = {shown[2]:.3g} bits" in texts(at)
    assert f"{50 * np.abs(q[2] - p[2]).sum():.3g}%" in texts(at)
    masked, unmasked = (numbers(trace["x"]) for trace in figure(at, "mask_changes")["data"])
    largest = np.sort(np.abs(q[2] - p[2]))[::-1][:10]
    np.testing.assert_allclose(np.abs(unmasked - masked), largest, atol=1e-9)


def test_surprise_is_that_of_the_token_that_came(model):
    at = visit()
    traces = both(model, SENTENCE)
    for trace, bars in zip(traces, figure(at, "mask_surprise")["data"], strict=True):
        p = softmax(trace)
        expected = [-np.log2(p[i, came]) for i, came in enumerate(trace.ids[1:])]
        np.testing.assert_allclose(numbers(bars["y"]), expected, atol=1e-5)


def test_the_page_says_what_must_not_be_concluded():
    said = texts(visit())
    assert "never saw the future in training" in said
    assert "the answer is visible to the model" in said
    assert "The **last row is the same**" in said
    assert "even the **last row** differs" in texts(visit(layer=1))


@pytest.mark.parametrize("layer", [0, 1])
def test_what_is_said_of_the_last_row_is_so(model, layer):
    masked, unmasked = (trace.weights[layer, :, -1] for trace in both(model, "The cat sat on the mat and slept"))
    same = np.allclose(masked, unmasked, atol=1e-6)
    assert same == (layer == 0)


def test_a_link_opens_the_same_picture():
    at = visit(text="Once upon a time", layer=3, head=2, mask_at=1)
    assert at.text_input(key="text").value == "Once upon a time"
    assert at.slider(key="mask_at_shown").value == 1
    assert any("head 3.2" in header.value for header in at.subheader)


@pytest.mark.parametrize(
    "query",
    [
        {"layer": 99, "head": -1, "mask_at": 12345},
        {"layer": "x", "head": "<b>", "mask_at": "nan"},
        {"layer": ["1", "2"], "head": "", "mask_at": "1e9"},
        {"mask_at": -3, "model": "../../etc", "nonsense": "$x$"},
        {"mask_heads": "1", "mask_strip": "2", "mask_positions": "[]"},
    ],
)
def test_nonsense_in_the_link_leaves_the_page_standing(query):
    at = visit(**query)
    assert cells(at).shape[0] > 1
    assert 0 <= at.slider(key="mask_at_shown").value <= at.slider(key="mask_at_shown").max


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_without_text_the_page_asks_for_some(text):
    at = visit(text=text) if text else open_page("masked").text_input(key="text").set_value("").run()
    assert not at.exception and not at.get("plotly_chart")
    assert any("Type a sentence" in info.value for info in at.info)


def test_one_token_has_no_future_and_no_surprise():
    at = visit(text="a", mask_at=7)
    assert [view["weights"].tolist() for view in views(at)] == [[[1.0]], [[1.0]]] and cells(at).tolist() == [[0.0]]
    assert not at.slider and "has no future" in texts(at)
    assert any("nothing came after it" in info.value for info in at.info)
    assert numbers(figure(at, "mask_positions")["data"][0]["y"]).tolist() == [0.0]


def test_two_tokens():
    at = visit(text=" the the")
    assert cells(at).shape == (2, 2)
    assert len(numbers(figure(at, "mask_surprise")["data"][0]["y"])) == 1
    assert at.slider(key="mask_at_shown").max == 1


def test_from_one_token_to_many_and_back_the_position_follows_the_end():
    at = visit(text="a")
    for text in ("My dog has fleas and so on", "a", "My dog has", "the the the the the the the the"):
        at.text_input(key="text").set_value(text).run()
        assert not at.exception
        if text != "a":
            assert at.slider(key="mask_at_shown").value == at.slider(key="mask_at_shown").max
    at.slider(key="mask_at_shown").set_value(1).run()
    assert at.slider(key="mask_at_shown").value == 1 and "After token 1," in texts(at)


def test_a_click_on_a_head_or_a_position_is_a_choice(monkeypatch):
    monkeypatch.setattr(parts.st, "session_state", {})
    parts.choose_head({"x": 6, "y": 2})
    parts.choose_position({"x": 3.0})
    assert kept() == {"layer": "2", "head": "6", "mask_at": "3"}


@pytest.mark.parametrize("text", [HOSTILE, "😀 é \u0301 שלום", "a\nb\tc  d"])
def test_hostile_tokens_are_literal(text):
    at = visit(text=text)
    for token in ("<img", "<b>", "\u202e"):
        assert token not in texts(at)
    drawn = json.dumps([json.loads(chart.proto.spec) for chart in at.get("plotly_chart")], ensure_ascii=False)
    assert "<img" not in drawn and "\u202e" not in drawn
    for strip in mounted(at, "gptviz_token_strip"):
        assert "\u202e" not in "".join(payload(strip)["tokens"])


def test_each_hostile_token_can_be_the_chosen_one(model):
    t = len(model.encode(HOSTILE)[0])
    at = visit(text=HOSTILE)
    for position in range(0, t, 5):
        at.slider(key="mask_at_shown").set_value(position).run()
        assert not at.exception and f"After token {position}," in texts(at)
        assert "**b**" not in texts(at) and "[a](b)" not in texts(at)


def test_a_text_longer_than_the_context_is_cut_with_a_notice():
    at = visit(text="dog " * 600)
    assert any("cut at the left" in warning.value for warning in at.warning)
    assert len(numbers(figure(at, "mask_positions")["data"][0]["y"])) == gptviz.load(NAME).gpt.config.context
