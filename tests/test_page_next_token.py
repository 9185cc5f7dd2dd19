"""The page of the next token, as a visitor uses it: through the router, with the checkpoint that is shipped."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import sampling
from gptviz.ui import continuation
from tests.page_helpers import open_page, texts

NAME = "gpt-stories"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b)"


@pytest.fixture(scope="module")
def model() -> gptviz.LanguageModel:
    """The model that the page opens."""
    return gptviz.load(NAME)


def visit(**query: object) -> AppTest:
    """The page, by a link."""
    at = open_page("next-token", **query)
    assert not at.exception
    return at


def click(at: AppTest, key: str) -> AppTest:
    """Press a button."""
    at.button(key=key).click().run()
    assert not at.exception
    return at


def drawn(at: AppTest) -> list[int]:
    """The ids that the page holds."""
    value = at.text_input(key="next_ids").value
    return [int(piece) for piece in value.split(".")] if value else []


def figure(at: AppTest, key: str) -> dict[str, Any]:
    """A chart as the browser gets it."""
    charts = [c for c in at.get("plotly_chart") if c.proto.id.endswith(f"-{key}")]
    assert len(charts) == 1, key
    return json.loads(charts[0].proto.spec)


def numbers(values: Any) -> np.ndarray:
    """Plotly's typed arrays, or plain lists, as NumPy."""
    if isinstance(values, dict):
        import base64

        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).astype(float)
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The table that has a column of this name."""
    return next(element.value for element in at.dataframe if column in element.value.columns)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Written out again, in float64."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    return powers / powers.sum()


def test_bars_show_the_softmax_over_the_whole_vocabulary_and_the_rest(model: gptviz.LanguageModel) -> None:
    at = visit(text="My dog has fleas", next_n="7")
    p = softmax(gptviz.trace(model, "My dog has fleas").logits[-1])
    bars = numbers(figure(at, "next_bars")["data"][0]["x"])
    assert len(bars) == 8
    np.testing.assert_allclose(bars[:7], np.sort(p)[::-1][:7], rtol=1e-9)
    assert bars.sum() == pytest.approx(1, abs=1e-12)
    assert f"{-(p * np.log2(p)).sum():.2f} bits" in texts(at)


def test_the_funnel_follows_its_settings_and_every_bar_adds_up(model: gptviz.LanguageModel) -> None:
    at = visit(text="My dog has fleas", next_temperature="1.5", next_top_k="5", next_top_p="0.7", next_seed="3")
    data = figure(at, "next_funnel")["data"]
    widths = np.array([numbers(trace["x"]) for trace in data if trace["type"] == "bar"])  # (K + 1, 5)
    sums = widths.sum(axis=0)
    stages = sampling.funnel(gptviz.trace(model, "My dog has fleas").logits[-1], 1.5, 5, 0.7)
    np.testing.assert_allclose(sums, [1, 1, 1, 1 - stages.removed_top_k, 1], atol=1e-9)
    point = data[-1]["x"]
    assert point[0] == pytest.approx(np.random.default_rng(3).random())
    frame = table(at, "drawn from")
    assert (frame["drawn from"] > 0).sum() == stages.kept
    np.testing.assert_allclose(frame["raw"], stages.raw[frame["id"]], rtol=1e-9)


def test_drawing_one_by_one_going_on_and_the_library_agree(model: gptviz.LanguageModel) -> None:
    query = {
        "text": "My dog has",
        "next_temperature": "0.9",
        "next_top_k": "50",
        "next_top_p": "1.0",
        "next_seed": "11",
    }
    single = visit(**query)
    for _ in range(3):
        click(single, "next_one")
    several = click(visit(**query, next_amount="3"), "next_more")
    expected = gptviz.generate(model, "My dog has", 3, temperature=0.9, top_k=50, top_p=None, seed=11).ids
    assert drawn(single) == drawn(several) == list(expected)
    assert single.session_state["text"] == "My dog has"  # what was typed is still there


def test_the_history_says_how_each_token_was_drawn(model: gptviz.LanguageModel) -> None:
    at = click(visit(text="My dog has", next_seed="5"), "next_one")
    at.slider(key="next_temperature_shown").set_value(1.4).run()
    click(at, "next_one")
    history = table(at, "u")
    ids = drawn(at)
    assert history["id"].tolist() == ids
    np.testing.assert_allclose(history["u"], np.random.default_rng(5).random(2))
    assert history["temperature"].tolist() == [0.8, 1.4]
    prompt = model.encode("My dog has")[0]
    logits = model.gpt.trace([*prompt, *ids]).logits
    for place, token in enumerate(ids):
        p = softmax(logits[len(prompt) + place - 1])
        assert history["probability (raw)"].iloc[place] == pytest.approx(p[token], rel=1e-6)
        assert history["rank"].iloc[place] == 1 + (p > p[token]).sum()


def test_undo_start_over_and_drawing_again() -> None:
    at = click(visit(text="My dog has", next_amount="4"), "next_more")
    first = drawn(at)
    assert 1 <= len(first) <= 4  # the text may have ended before
    click(at, "next_undo")
    assert drawn(at) == first[:-1]
    click(at, "next_one")
    assert drawn(at) == first  # the same seed at the same place
    click(at, "next_reset")
    assert drawn(at) == []
    assert at.button(key="next_undo").disabled


def test_every_sentence_keeps_its_own_continuation() -> None:
    at = click(visit(text="My dog has"), "next_one")
    first = drawn(at)
    at.text_input(key="text").set_value("Once upon a time").run()
    assert drawn(at) == []
    at.text_input(key="text").set_value("My dog has").run()
    assert drawn(at) == first


def test_the_text_can_become_the_sentence(model: gptviz.LanguageModel) -> None:
    at = click(visit(text="My dog has", next_ids="300.301.302"), "next_adopt")
    assert at.session_state["text"] == "My dog has" + model.tokenizer.decode([300, 301, 302])
    assert drawn(at) == []


def test_what_drawn_tokens_attended_to_is_the_models_attention(model: gptviz.LanguageModel) -> None:
    query = {"text": "My dog has fleas", "next_ids": "300.301.302", "next_over": "One head", "layer": "1", "head": "2"}
    at = visit(**query)
    prompt = model.encode("My dog has fleas")[0]
    weights = model.gpt.trace([*prompt, 300, 301, 302]).weights
    shown = attention(at, 3)
    for place in range(3):
        seen = len(prompt) + place  # before this token there were so many
        np.testing.assert_allclose(shown[place, :seen], weights[1, 2, seen - 1, :seen], rtol=1e-5)
        assert not np.nan_to_num(shown[place, seen:]).any()
    at.segmented_control(key="next_row_shown").set_value(True).run()
    np.testing.assert_allclose(attention(at, 3)[2], weights[1, 2, -1], rtol=1e-5)


def attention(at: AppTest, rows: int) -> np.ndarray:
    """The heatmap's numbers, (rows, T)."""
    cells = next(trace for trace in figure(at, "next_attention")["data"] if trace.get("coloraxis"))
    return numbers(cells["z"]).reshape(rows, -1)


def test_the_sentence_as_typed_is_judged_token_by_token(model: gptviz.LanguageModel) -> None:
    at = visit(text="My dog has fleas", next_ids="300")
    trace = gptviz.trace(model, "My dog has fleas")
    frame = table(at, "surprise, bits")
    assert len(frame) == len(trace.tokens) + 1  # drawn tokens are not part of it
    for t in range(1, len(trace.ids)):
        p = softmax(trace.logits[t - 1])
        row = frame.iloc[t]
        assert row["probability"] == pytest.approx(p[trace.ids[t]], rel=1e-9)
        assert row["rank"] == 1 + (p > p[trace.ids[t]]).sum()
        assert row["entropy, bits"] == pytest.approx(-(p * np.log2(p)).sum(), rel=1e-9)


def test_one_token_has_nothing_to_be_judged_by() -> None:
    at = visit(text="a")
    assert "One token" in texts(at)


def test_an_empty_sentence_says_what_to_do() -> None:
    at = visit(text=" ")
    assert "Type a sentence" in texts(at)
    assert not at.get("plotly_chart")


@pytest.mark.parametrize("ids", ["abc", "-5", "99999999", "1.2.x.4", "..", "1e3", "²", "300.99999999999999999"])
def test_nonsense_in_the_link_is_named_and_left_out(ids: str) -> None:
    at = visit(text="My dog has", next_ids=ids)
    assert "Expected token ids from 0 to" in texts(at)
    assert drawn_count(at) == {"1.2.x.4": 2, "300.99999999999999999": 1}.get(ids, 0)
    click(at, "next_one")
    assert "Expected token ids" not in texts(at)


def drawn_count(at: AppTest) -> int:
    """How many tokens the page took for drawn: each has a row in the history."""
    frames = [element.value for element in at.dataframe if "u" in element.value.columns]
    return len(frames[0]) if frames else 0


def test_nonsense_settings_in_the_link_leave_the_defaults() -> None:
    at = visit(
        text="My dog has", next_temperature="hot", next_top_k="-3", next_top_p="7", next_seed="1.5", next_n="9999",
        next_amount="0", next_over="all of it", next_row="?", next_at="-1", layer="77", head="x", next_ids="300",
    )  # fmt: skip
    assert at.slider(key="next_temperature_shown").value == 0.8
    assert at.select_slider(key="next_top_k_shown").value == "40"
    assert drawn_count(at) == 1


def test_hostile_tokens_are_literal_everywhere(model: gptviz.LanguageModel) -> None:
    ids = model.tokenizer.encode(HOSTILE + "\n\t\x00 \u202e")
    at = visit(text=HOSTILE, next_ids=".".join(map(str, ids)), next_temperature="0.0")
    for group in (at.markdown, at.caption, at.warning, at.info):
        for element in group:
            assert "<img" not in element.value
            assert "**b**" not in element.value
    for chart in at.get("plotly_chart"):
        assert "<img" not in chart.proto.spec
        assert "\\u0000" not in chart.proto.spec
    assert at.session_state["text"] == HOSTILE


def test_a_full_context_is_announced_and_stops_the_drawing(model: gptviz.LanguageModel) -> None:
    context = model.gpt.config.context
    typed = len(model.encode("My dog has")[0])
    nearly = ".".join(["300"] * (context - typed - 1))
    at = visit(text="My dog has", next_ids=nearly, next_amount="20")
    assert "context is full" not in texts(at)
    click(at, "next_more")
    assert len(drawn(at)) == context - typed
    assert "context is full" in texts(at)
    assert at.button(key="next_one").disabled and at.button(key="next_more").disabled
    assert drawn_count(at) == context - typed  # and what comes next is still shown
    assert numbers(figure(at, "next_bars")["data"][0]["x"]).sum() == pytest.approx(1, abs=1e-12)


def test_a_link_with_too_many_tokens_keeps_what_fits(model: gptviz.LanguageModel) -> None:
    context = model.gpt.config.context
    at = visit(text="My dog has", next_ids=".".join(["300"] * (context + 9)))
    assert "the last are left out" in texts(at)
    assert drawn_count(at) == context - len(model.encode("My dog has")[0])


def test_a_sentence_longer_than_the_context_still_has_a_next_token() -> None:
    at = visit(text="the dog and the cat " * 200)
    assert "were cut at the left" in texts(at)
    assert "context is full" in texts(at)
    assert numbers(figure(at, "next_bars")["data"][0]["x"]).sum() == pytest.approx(1, abs=1e-12)


def test_the_end_of_the_text_stops_the_drawing(model: gptviz.LanguageModel) -> None:
    at = visit(text="My dog has", next_ids=f"300.{model.tokenizer.end_of_text}")
    assert "ended the text" in texts(at)
    assert at.button(key="next_one").disabled
    click(at, "next_undo")
    assert not at.button(key="next_one").disabled


def test_temperature_0_takes_the_likeliest(model: gptviz.LanguageModel) -> None:
    at = click(visit(text="My dog has", next_temperature="0.0"), "next_one")
    assert drawn(at) == [int(gptviz.trace(model, "My dog has").logits[-1].argmax())]


def test_what_a_session_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {}
    monkeypatch.setattr(continuation.st, "session_state", state)
    draw = continuation.Draw(continuation.Settings(1, None, None, 0), 0.5, 0.5)
    for number in range(continuation.MOST_DRAWS + 5):
        continuation.put(("model", (number,)), (1,), draw)
    assert len(state[continuation.DRAWS]) == continuation.MOST_DRAWS
