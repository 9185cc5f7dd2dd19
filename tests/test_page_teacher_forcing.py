"""The page on teacher forcing, through the router, with a small random model: every number from the library itself."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.checkpoint import TranslationModel
from gptviz.ui import forcing as parts
from gptviz.ui.controls import GERMAN, REFERENCES
from tests.page_helpers import figure, fire, mounted, numbers, open_page, payload, texts
from tests.tiny import translator

SOURCE, REFERENCE = "My dog has fleas.", "the little dog and the cat."
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile:"
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return translator()


@pytest.fixture(scope="module")
def seen(model: TranslationModel) -> gptviz.translation.Forced:
    """What the library says about the sentence and the reference."""
    return gptviz.force(model, SOURCE, REFERENCE)


def visit(source: str = SOURCE, reference: str | None = REFERENCE, **query: object) -> AppTest:
    given = {} if reference is None else {"reference": reference}
    at = open_page("teacher-forcing", source=source, **given, **query)
    assert not at.exception
    return at


def table(at: AppTest) -> pd.DataFrame:
    return next(element.value for element in at.dataframe if "log-probability, nats" in element.value.columns)


def strip(at: AppTest) -> object:
    """The strip that can be clicked."""
    return next(element for element in mounted(at, "gptviz_token_strip") if payload(element)["selectable"])


def box(at: AppTest) -> object:
    return at.text_input(key="reference_shown")


def metrics(at: AppTest) -> list[float]:
    return [float(m.value.replace("−", "-").replace(",", "")) for m in at.metric]


def test_every_number_is_that_of_the_library(model: TranslationModel, seen: gptviz.translation.Forced) -> None:
    at = visit()
    frame, free = table(at), gptviz.translate(model, SOURCE)
    assert frame["id"].tolist() == list(seen.ids)
    np.testing.assert_allclose(frame["probability"], seen.probabilities, rtol=1e-5)
    np.testing.assert_allclose(frame["its probability"], seen.choice_probabilities, rtol=1e-5)
    logs = np.log(seen.probabilities.astype(float)), np.log(free.probabilities.astype(float))
    expected = [value for log in logs for value in (log.sum(), log.mean(), math.exp(-log.mean()))]
    np.testing.assert_allclose(metrics(at), expected, rtol=1e-3)
    own, reference = figure(at, "forced_bars")["data"]
    np.testing.assert_allclose(numbers(own["y"]), seen.choice_probabilities, rtol=1e-5)
    np.testing.assert_allclose(numbers(reference["y"]), seen.probabilities, rtol=1e-5)
    np.testing.assert_allclose(payload(strip(at))["values"], seen.probabilities, atol=1e-4)


def test_the_rows_are_aligned_and_say_where_the_runs_part(
    model: TranslationModel, seen: gptviz.translation.Forced
) -> None:
    at = visit()
    html = next(element.proto.body for element in at.get("html") if "gptviz-forced" in element.proto.body)
    rows = [[cell.split(">")[1].split("<")[0] for cell in row.split("<td")[1:]] for row in html.split("<tr>")[1:]]
    free = gptviz.translate(model, SOURCE)
    width = len(free.ids)
    shown = [
        text.replace(" ", "·").replace("<", "&lt;").replace(">", "&gt;")
        for text in model.tokenizer.token_texts(seen.ids)
    ]
    assert [len(row) for row in rows] == [width] * 8
    assert rows[2][: len(shown)] == shown and rows[2][len(shown) :] == [""] * (width - len(shown))
    assert rows[1][1 : len(shown)] == shown[:-1]  # shifted right
    place = next(i for i, (one, other) in enumerate(zip(seen.ids, free.ids, strict=False)) if one != other)
    assert f"**position {place}**" in texts(at)
    agreed = sum(one == other for one, other in zip(seen.ids, seen.choices, strict=True))
    assert f"**{agreed} of {len(seen.ids)}**" in texts(at)


def test_a_click_on_a_token_shows_what_the_model_would_have_said(seen: gptviz.translation.Forced) -> None:
    at = visit()
    fire(at, strip(at), "toggle", 2)
    assert not at.exception
    assert at.number_input(key="forced_at_shown").value == 2
    logits = seen.trace.decoder.logits[2].astype(float)
    p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(numbers(figure(at, "forced_top")["data"][0]["x"])[:10], np.sort(p)[::-1][:10], rtol=1e-5)
    for nonsense in (-1, 99, "x", None, True, [1]):
        fire(at, strip(at), "toggle", nonsense)
        assert not at.exception
        assert at.number_input(key="forced_at_shown").value == 2


def test_the_models_own_translation_is_no_surprise_to_it(model: TranslationModel) -> None:
    text = "Привет 🙂"
    at = visit(text, None)
    assert "There is no reference translation yet" in texts(at)
    assert not at.metric
    at.button(key="reference_own").click().run()
    assert not at.exception
    assert box(at).value == " ".join(gptviz.translate(model, text).text.split())
    assert len(at.metric) == 6


def test_a_sentence_of_ours_has_a_reference_and_an_emptied_box_stays_empty() -> None:
    assert set(REFERENCES) == set(GERMAN.values())
    at = visit("Ich habe Hunger.", None)
    assert box(at).value == REFERENCES["Ich habe Hunger."]
    assert len(at.metric) == 6
    box(at).set_value("").run()
    assert "There is no reference translation yet" in texts(at)
    box(at).set_value("the cat").run()
    assert len(at.metric) == 6
    box(at).set_value(REFERENCES["Ich habe Hunger."]).run()
    assert at.text_input(key="reference").value == ""  # what is there at first is not in the address


def test_each_sentence_keeps_its_own_reference() -> None:
    at = visit("Tom", "the dog")
    at.text_input(key="source").set_value("Lily").run()
    assert box(at).value == ""
    at.text_input(key="source").set_value("Tom").run()
    assert box(at).value == "the dog"


@pytest.mark.parametrize(
    ("source", "reference", "said"),
    [
        (" ", "a cat", "Type a sentence"),
        (SOURCE, "the cat " * 100, "Expected a reference of at most 47 tokens"),
        ("the dog " * 100, "a cat", "at most 47 tokens"),
        (SOURCE, "   ", "There is no reference translation yet"),
    ],
)
def test_what_cannot_be_read_is_said(source: str, reference: str, said: str) -> None:
    at = visit(source, reference)
    assert said in texts(at).replace("\u2060", "").replace("\\", "").replace("·", " ")
    assert not at.metric


@pytest.mark.parametrize("reference", ["...", "世界", "🙂", "a\nb", "\x07\u202e", "x" * 30])
def test_any_other_reference_is_read(reference: str) -> None:
    assert len(visit(reference=reference).metric) == 6


def test_hostile_text_is_literal() -> None:
    at = visit(HOSTILE, HOSTILE[:40])
    for group in (at.markdown, at.caption, at.info, at.warning):
        for element in group:
            assert "<img" not in element.value and "**b**" not in element.value and "$x$" not in element.value
    for chart in at.get("plotly_chart"):
        assert "<img" not in chart.proto.spec and "<x" not in chart.proto.spec
    for element in at.get("html"):
        assert "<img" not in element.proto.body


def test_nonsense_in_the_link_leaves_the_defaults() -> None:
    default = visit().number_input(key="forced_at_shown").value
    for nonsense in ("99", "-1", "x", HOSTILE, "1e9"):
        at = visit(forced_at=nonsense, layer="77", head=HOSTILE)
        assert at.number_input(key="forced_at_shown").value == default


@pytest.mark.parametrize(
    ("times", "text"),
    [(1.0, "1.0"), (2300, "2,300.0"), (2.09e17, "2.1·10¹⁷"), (1e6, "1.0·10⁶"), (math.inf, "more than 10³⁰⁰")],
)
def test_factors_are_written_to_be_read(times: float, text: str) -> None:
    assert parts.written(times) == text


def test_cross_attention_is_that_of_the_forced_pass(seen: gptviz.translation.Forced) -> None:
    at = visit(layer=2, head=1)
    cells = numbers(figure(at, "forced_cross_0")["data"][-1]["z"])
    np.testing.assert_allclose(cells, seen.trace.cross_weights[2, 1], atol=1e-6)


def test_a_reference_too_long_for_the_box_says_that_it_was_cut() -> None:
    at = visit(reference="the dog " * 251)
    assert any("a reference of 2,008 characters: only the first 2,000" in warning.value for warning in at.warning)
    assert not visit().warning
