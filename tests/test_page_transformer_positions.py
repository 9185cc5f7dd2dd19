"""Positions of the encoder-decoder as a visitor meets them: the paper's sines, and four terms of the chosen side."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from gptviz.figures.style import visible
from tests.matrices import matrices
from tests.page_helpers import figure, mounted, numbers, open_page, open_sound_page, payload, texts
from tests.test_page_inside_head import drawn, table
from tests.tiny import translated

SENTENCE = "My dog has fleas and a cat"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"
SIDES = {"encoder": "Encoder", "decoder": "Decoder"}
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


def visit(text: str = SENTENCE, **query: object) -> AppTest:
    """The page, by a link."""
    return open_sound_page("transformer-positions", source=text, **query)


def terms(at: AppTest) -> list[np.ndarray]:
    """Four terms, their sum, and the score."""
    return [drawn(at, f"pos_term_{i}") for i in range(6)]


@pytest.mark.parametrize("side", SIDES)
def test_the_four_terms_sum_to_the_score_of_the_side(side: str) -> None:
    at, seen = visit(side=SIDES[side], head=2), getattr(translated(SENTENCE), side)
    *four, total, score = terms(at)
    expected = seen.scaled[0, 2].astype(float)
    if side == "decoder":
        expected = np.where(np.tri(len(expected), dtype=bool), expected, np.nan)
    np.testing.assert_allclose(score, expected, atol=1e-5)
    np.testing.assert_allclose(np.sum(four, axis=0), expected, atol=1e-4)
    np.testing.assert_allclose(total, expected, atol=1e-4)
    assert ("Grey: masked" in texts(at)) == (side == "decoder")
    assert len({tuple(matrices(at)[f"pos_term_{i}"]["ends"]) for i in range(6)}) == 1
    (strip,) = mounted(at, "gptviz_token_strip")
    assert payload(strip)["tokens"] == [visible(token) for token in seen.tokens]


@pytest.mark.parametrize("side", SIDES)
def test_the_spread_is_over_all_keys_that_a_query_sees(side: str) -> None:
    at = visit(side=SIDES[side], head=1)
    spread = table(at, "spread")["spread"]
    *four, total, _ = terms(at)  # NaN where masked
    expected = [np.mean([np.nanstd(row) for row in term if np.isfinite(row).sum() > 1]) for term in (*four, total)]
    np.testing.assert_allclose(spread, expected, rtol=1e-3, atol=1e-4)
    assert f"**{spread.iloc[:4].idxmax()}** with {spread.iloc[:4].max():.2f}" in texts(at)


def test_the_only_table_is_that_of_the_paper_and_nobody_says_learned_by_this_model() -> None:
    at = visit()
    shown = drawn(at, "pos_vectors_fixed")
    assert shown.shape == (48, 32)
    for place, column in ((0, 0), (7, 20), (7, 21), (47, 3)):
        turn = math.sin if column % 2 == 0 else math.cos
        assert shown[place, column] == pytest.approx(turn(place / 10000 ** ((column - column % 2) / 32)), abs=1e-5)
    unit = shown / np.linalg.norm(shown, axis=1)[:, None]
    np.testing.assert_allclose(drawn(at, "pos_cosines_fixed"), unit @ unit.T, atol=1e-5)
    (line,) = [trace for trace in figure(at, "pos_distance")["data"] if trace.get("name")]
    np.testing.assert_allclose(numbers(line["y"]), (unit @ unit.T)[0], atol=1e-5)
    assert f"Neighbours have a cosine of {(unit @ unit.T)[0, 1]:.3f}" in texts(at)
    assert "Nothing here was learned" in texts(at) and "earned by this model" not in texts(at)
    assert "Learned by this model" not in json.dumps([json.loads(c.proto.spec) for c in at.get("plotly_chart")])
    assert f"times √32 = {math.sqrt(32):.4g}" in texts(at)


def test_head_and_side_are_part_of_the_link() -> None:
    at = visit(side="Decoder", head=3)
    at.segmented_control(key="side_shown").set_value("encoder").run()
    assert not at.exception
    np.testing.assert_allclose(terms(at)[5], translated(SENTENCE).encoder.scaled[0, 3], atol=1e-5)
    assert at.session_state["side"] == "" and at.session_state["head"] == "3"


@pytest.mark.parametrize("key", ["side", "head", "nonsense"])
@pytest.mark.parametrize("value", ["99", "Cross-attention", "<b>", "$x$"])
def test_nonsense_in_a_link_falls_back(key: str, value: str) -> None:
    at = visit(**{key: value})
    np.testing.assert_allclose(terms(at)[5], translated(SENTENCE).encoder.scaled[0, 0], atol=1e-5)
    assert key == "nonsense" or at.session_state[key] == ""


@pytest.mark.parametrize("text", ["", "   "])
def test_without_text_the_page_asks_for_some(text: str) -> None:
    at = open_page("transformer-positions").text_input(key="source").set_value(text).run()
    assert not at.exception and not at.get("plotly_chart")
    assert any("Type a sentence" in info.value for info in at.info)


@pytest.mark.parametrize("text", [HOSTILE[:40], "😀 é \u0301 שלום", "你好", "?!", "a", "dog " * 60])
@pytest.mark.parametrize("side", SIDES)
def test_odd_hostile_and_too_long_texts(text: str, side: str) -> None:
    at = visit(text, side=SIDES[side])
    if text == "dog " * 60:
        assert at.warning and not at.get("plotly_chart")
        return
    t = len(getattr(translated(text), side).ids)
    assert [term.shape for term in terms(at)] == [(t, t)] * 6
    for bad in ("<img", "<b>", "\u202e", "$x$", "**b**", ":smile:", "](b)"):
        assert bad not in texts(at)
