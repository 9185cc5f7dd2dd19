"""The attention view in Streamlit: what the browser is sent, and what becomes of what it says."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import LanguageModel
from gptviz.ui import attention_view as ui
from gptviz.view import ViewState
from tests.page_helpers import fire, mounted, payload
from tests.view.samples import attention, pictures, read, window


def app(t: int, natives: bool) -> None:
    """A small app of somebody else's: native controls or none, the component, and what it returns."""
    import streamlit as st

    import gptviz
    from gptviz.ui.attention_view import attention_view
    from tests.view.samples import attention, future

    if natives:
        st.selectbox("Layer", range(3), key="layer", bind="query-params")
        st.selectbox("Head", range(4), key="head", bind="query-params")
    weights = attention(3, 4, t, t, causal=True)
    view = gptviz.attention_view(weights, [f"<b>{i}" for i in range(t)], masked=future(t))
    st.session_state["returned"] = attention_view(view, key="att", height=500)


def run(t: int = 6, natives: bool = True, **query: str) -> AppTest:
    at = AppTest.from_function(app, kwargs={"t": t, "natives": natives}, default_timeout=60)
    for key, value in query.items():
        at.query_params[key] = value
    return fine(at.run())


def fine(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at


def stores(at: AppTest) -> list[tuple[dict, bytes]]:
    """Header and blob of everything that is sent."""
    return [(read(el.proto.bytes)[0], el.proto.bytes) for el in mounted(at, "gptviz_view_store")]


def sent(at: AppTest, kind: str) -> list[dict]:
    """Headers of one kind of blob."""
    return [header for header, _ in stores(at) if header["kind"] == kind]


def drawn(at: AppTest) -> dict:
    """What the view itself is given."""
    [view] = mounted(at, "gptviz_view")
    return payload(view)


def say(at: AppTest, event: str, **value: object) -> AppTest:
    """A message of the browser, about the view that it shows."""
    [view] = mounted(at, "gptviz_view")
    return fine(fire(at, view, event, {"id": drawn(at)["id"]} | value))


def test_a_short_text_comes_with_all_weights_of_the_chosen_head() -> None:
    at = run(layer="2", head="1")
    (overview, blob), (exact, weights) = stores(at)
    assert overview["kind"] == "overview"
    assert pictures(blob)[1].shape == (3, 4, 6, 6)
    assert overview["queries"][0] == "<b>0"
    assert exact["i"] == 9
    np.testing.assert_array_equal(window(weights)[1], attention(3, 4, 6, 6, causal=True)[2, 1])
    assert drawn(at) == {"id": overview["id"], "state": ViewState(layer=2, head=1).to_json(), "height": 500}
    assert at.session_state["returned"] == ViewState(layer=2, head=1)


def test_the_script_travels_once_and_not_with_what_is_chosen() -> None:
    at = run()
    [engine] = mounted(at, "gptviz_view_engine")
    assert len(engine.proto.js_content) > 50_000
    before = engine.proto.SerializeToString()
    at = say(at, "state", state={"mode": "lines"})
    [engine] = mounted(at, "gptviz_view_engine")
    assert engine.proto.SerializeToString() == before  # the browser has it: only its hash is sent
    for name in ("gptviz_view", "gptviz_view_store"):
        for element in mounted(at, name):
            assert len(element.proto.js_content) < 6000


def test_a_link_opens_the_same_picture() -> None:
    text = "lines~s:sqrt~q:1-3~p:7-0~m:0.8"
    at = run(layer="1", view=text)
    expected = ViewState(layer=1, mode="lines", scale="sqrt", queries=(1, 3), pins=(7, 0), mass=0.8)
    assert at.session_state["returned"] == expected
    assert drawn(at)["state"] == expected.to_json()
    assert [header["i"] for header in sent(at, "exact")] == [4, 7, 0]


@pytest.mark.parametrize("text", ["nonsense", "w:0-999-5-9~q:77~p:99", "~~~:::", "m:nan", "<script>", "q:" + "9" * 500])
def test_a_link_that_means_nothing_shows_what_it_can(text: str) -> None:
    at = run(view=text)
    state = at.session_state["returned"]
    assert state == state.fit((3, 4, 6, 6))
    assert drawn(at)["state"] == state.to_json()


def test_what_the_browser_chooses_reaches_the_controls_and_the_link_and_back() -> None:
    at = run()
    state = ViewState(layer=2, head=3, mode="matrix", pins=(1,), window=(0, 3, 0, 2), keys=(4,))
    at = say(at, "state", state=state.to_json())
    assert (at.selectbox(key="layer").value, at.selectbox(key="head").value) == (2, 3)
    assert at.text_input(key="view").value == state.to_text() == "matrix~k:4~p:1~w:0-3-0-2"
    assert at.session_state["returned"] == state
    assert drawn(at)["state"] == state.to_json()
    assert [header["i"] for header in sent(at, "exact")] == [11, 1]


def test_what_the_controls_choose_reaches_the_browser() -> None:
    at = say(run(), "state", state={"mode": "sentence", "head": 2})
    at = fine(at.selectbox(key="layer").set_value(1).run())
    assert drawn(at)["state"] == ViewState(layer=1, head=2, mode="sentence").to_json()
    at = fine(at.run())
    assert drawn(at)["state"]["mode"] == "sentence"


def test_what_was_not_chosen_in_the_component_does_not_undo_a_choice_in_the_controls() -> None:
    """The component speaks of the head that it last heard of; that may be old."""
    at = run()
    before = drawn(at)["state"]
    at = fine(at.selectbox(key="layer").set_value(2).run())
    at = say(at, "state", state=before | {"scale": "sqrt", "mode": "matrix"}, **{"from": before})
    assert at.session_state["returned"] == ViewState(layer=2, mode="matrix", scale="sqrt")
    at = say(at, "state", state=before | {"head": 1}, **{"from": before})
    assert at.session_state["returned"] == ViewState(layer=2, head=1, mode="matrix", scale="sqrt")


def test_it_works_without_controls_of_the_pages_own() -> None:
    at = run(natives=False)
    at = say(at, "state", state={"layer": 1, "head": 1, "mode": "matrix"})
    assert at.session_state["returned"] == ViewState(layer=1, head=1, mode="matrix")
    assert drawn(at)["state"]["head"] == 1


HOSTILE = [None, 3, "x", [], {}, {"layer": "x"}, {"layer": 1e99, "pins": [{}], "window": [1]}, {"mode": ["lines"]}]


@pytest.mark.parametrize("told", HOSTILE)
def test_the_browser_may_say_anything(told: object) -> None:
    at = say(run(), "state", state=told)
    state = at.session_state["returned"]
    assert state == state.fit((3, 4, 6, 6))
    at = say(at, "need", needs=told)
    at = say(at, "need", needs=[told])
    [view] = mounted(at, "gptviz_view")
    at = fine(fire(at, view, "state", told))
    fine(fire(at, mounted(at, "gptviz_view")[0], "need", told))


def test_a_message_about_another_text_is_not_heard() -> None:
    at = run()
    [view] = mounted(at, "gptviz_view")
    at = fine(fire(at, view, "state", {"id": "another", "state": {"mode": "lines"}}))
    assert at.session_state["returned"] == ViewState()
    at = fine(fire(at, mounted(at, "gptviz_view")[0], "need", {"id": "another", "needs": [{"head": [2]}]}))
    assert len(stores(at)) == 2


def test_a_long_text_brings_a_finer_picture_of_what_is_looked_at() -> None:
    at = run(t=150, head="1", view="p:7")
    assert [header["factor"] for header in sent(at, "overview")] == [2]
    assert [(header["i"], header["factor"]) for header in sent(at, "head")] == [(1, 1), (7, 1)]
    assert sent(at, "exact") == []
    at = say(at, "state", state=ViewState(head=1, pins=(7,), window=(20, 84, 0, 64)).to_json())
    parts = [(h["i"], h["q0"], h["q1"], h["k0"], h["k1"]) for h in sent(at, "exact")]
    assert parts == [(1, 20, 84, 0, 64), (7, 20, 84, 0, 64)]
    at = say(at, "state", state=ViewState(head=1, window=(0, 140, 0, 140)).to_json())
    assert sent(at, "exact") == []


def test_what_the_browser_needs_is_sent_and_stays_for_the_runs_that_follow() -> None:
    at = run(t=150)
    at = say(at, "need", needs=[{"head": [5, 6]}, {"window": [3, 149, 150, 0, 150]}, {"window": [3, 0, 150, 0, 150]}])
    for _ in range(2):
        assert [header["i"] for header in sent(at, "head")] == [0, 5, 6]
        [(header, blob)] = [(h, b) for h, b in stores(at) if h["kind"] == "exact"]  # the window too large is left out
        assert (header["i"], header["q0"]) == (3, 149)
        weights = attention(3, 4, 150, 150, causal=True)
        np.testing.assert_array_equal(window(blob)[1][0], weights[0, 3, 149])
        at = fine(at.run())


def test_the_last_answers_are_kept_each_under_a_name_of_its_own() -> None:
    at = run(t=150)
    for query in range(11):
        at = say(at, "need", needs=[{"window": [0, query, query + 1, 0, 150]}])
    assert [header["q0"] for header in sent(at, "exact")] == list(range(3, 11))
    names = [el.proto.id for el in mounted(at, "gptviz_view_store")]
    assert len(set(names)) == len(names)
    at = say(at, "need", needs=[{"window": [0, 9, 10, 0, 150]}])  # once more: the browser may have dropped it
    assert mounted(at, "gptviz_view_store")[-1].proto.id not in names


def test_answers_about_another_text_are_not_sent_again() -> None:
    at = say(run(t=150), "need", needs=[{"head": [5]}])
    number, _, blob = at.session_state["att_answers"][0]
    at.session_state["att_answers"] = [(number, "another", blob)]
    assert [header["i"] for header in sent(fine(at.run()), "head")] == [0]


def test_blobs_are_made_once_for_the_same_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    original = ui.AttentionView.head

    def head(self: ui.AttentionView, i: int) -> bytes:
        made.append(i)
        return original(self, i)

    monkeypatch.setattr(ui.AttentionView, "head", head)
    at = run(t=150)
    at = fine(at.run())
    at = say(at, "state", state={"mode": "matrix"})
    assert made == [0]
    say(at, "state", state={"mode": "matrix", "head": 1})
    assert made == [0, 1]


def test_a_trace_is_encoded_once_for_all_and_forgotten_with_it(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = gptviz.trace(tiny_model, "My dog has fleas")
    first, titled = ui.view_of_trace(trace), ui.view_of_trace(trace, title="fleas")
    assert read(titled.overview())[0]["title"] == "fleas"
    monkeypatch.setattr(ui.AttentionView, "_encode", None)  # a second time would fail
    assert ui.view_of_trace(trace).overview() is first.overview()
    kept = len(ui.ENCODED)
    del trace, first, titled
    gc.collect()
    assert len(ui.ENCODED) < kept


@pytest.mark.parametrize("key", ["att", "a.b c", "ä_1-2"])
def test_class_names_of_keys_are_those_of_streamlit(key: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert set(ui.css_name(key)) <= allowed
    assert len(ui.css_name(key)) == len(key)


@pytest.mark.parametrize("key", ["layer", "head", "view"])
def test_a_key_that_a_control_has_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="of the component's own"):
        ui.attention_view(gptviz.attention_view(np.ones((1, 1, 1, 1)), ["a"]), key=key)
