"""Tokens and embeddings of the encoder-decoder as a visitor meets them: the numbers of the side that is chosen."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from gptviz.figures.style import visible
from tests.page_helpers import fire, mounted, numbers, open_page, open_sound_page, payload, texts
from tests.tiny import translated, translator

SENTENCE = "My dog has fleas and a cat"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"
SIDES = {"encoder": "Encoder", "decoder": "Decoder"}
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


@cache
def table() -> np.ndarray:
    """The token vectors as both sides get them, float64."""
    raw = translator().transformer.state_dict()["token_embedding.weight"].double().numpy()
    return raw * math.sqrt(raw.shape[1])


def visit(text: str = SENTENCE, **query: object) -> AppTest:
    """The page, by a link."""
    return open_sound_page("transformer-tokens", source=text, **query)


def figures(at: AppTest) -> list[dict]:
    """Strips, cosines before and after, neighbours before and after, the map: as they are sent."""
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Every row with every row, in float64, written out on its own."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T


@pytest.mark.parametrize("side", SIDES)
def test_the_tokens_and_the_strips_are_those_of_the_side(side: str) -> None:
    at, seen = visit(side=SIDES[side]), getattr(translated(SENTENCE), side)
    assert at.dataframe[0].value["id"].tolist() == list(seen.ids)
    assert at.dataframe[0].value["token"].tolist() == [visible(token) for token in seen.tokens]
    assert payload(mounted(at, "gptviz_token_strip")[0])["tokens"] == [visible(token) for token in seen.tokens]
    parts = (table()[list(seen.ids)], seen.position_embeddings, seen.residual[0])
    for sent, expected in zip(figures(at)[0]["data"], parts, strict=True):
        np.testing.assert_allclose(numbers(sent["z"]), expected, atol=1e-5)
    width = table().shape[1]
    assert f"times √{width} = {math.sqrt(width):.4g}" in texts(at) and "is not learned" in texts(at)


def test_a_block_of_the_decoder_adds_three_times_and_one_of_the_encoder_twice() -> None:
    both = translated(SENTENCE)
    seen, crossed = both.decoder, both.cross
    decoder = visit(side="Decoder", emb_stage=2)
    parts = (seen.residual[1], seen.attention_out[1], crossed.attention_out[1], seen.ff_out[1], seen.residual[2])
    for sent, expected in zip(figures(decoder)[0]["data"], parts, strict=True):
        np.testing.assert_array_equal(numbers(sent["z"]), expected)
    assert "The first four do not add up to the last" in texts(decoder) and "three additions" in texts(decoder)
    encoder = visit(emb_stage=2)
    assert len(figures(encoder)[0]["data"]) == 4
    assert "The first three do not add up to the last" in texts(encoder) and "two additions" in texts(encoder)


@pytest.mark.parametrize("side", SIDES)
def test_the_nearest_are_the_nearest_of_the_whole_vocabulary(side: str) -> None:
    at, seen = visit(side=SIDES[side], emb_stage=3, emb_token=2), getattr(translated(SENTENCE), side)
    for chart, stream in zip(figures(at)[3:5], seen.residual[2:4], strict=True):
        expected = np.sort(cosines(stream[2:3], table())[0])[::-1][:12]
        np.testing.assert_allclose(numbers(chart["data"][0]["x"]), expected, atol=1e-6)
    shown, expected = at.dataframe[1].value, cosines(seen.residual[3], table())
    np.testing.assert_allclose(shown["its cosine"], expected.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(
        shown["cosine with the token itself"], expected[range(len(seen.ids)), seen.ids], atol=1e-6
    )


def test_only_the_decoder_is_said_to_predict() -> None:
    encoder, decoder = (texts(visit(side=side, emb_stage=3)) for side in SIDES.values())
    assert "The encoder predicts nothing" in encoder and "may come next" not in encoder
    assert "tokens that may come next" in decoder and "predicts nothing" not in decoder
    assert "lengths count there" in decoder
    assert "lengths count there" not in texts(visit(side="Decoder", emb_stage=2))


def test_the_map_has_the_whole_vocabulary_and_the_sentence_of_the_side() -> None:
    at, seen = visit(side="Decoder"), translated(SENTENCE).decoder
    drawn = figures(at)[5]["data"]
    assert sum(len(cloud["x"]) if isinstance(cloud["x"], list) else len(numbers(cloud["x"])) for cloud in drawn
               if "nearest" not in cloud["name"] and ":" not in cloud["name"]) == len(table())  # fmt: skip
    (sentence,) = [cloud for cloud in drawn if cloud["name"].startswith("sentence: ")]
    assert len(numbers(sentence["x"])) == len(seen.ids)


def test_the_side_is_part_of_the_link_and_a_token_that_the_other_has_not_is_forgotten() -> None:
    at = visit(side="Decoder", emb_token=2)
    fire(at, mounted(at, "gptviz_token_strip")[0], "toggle", 5)
    assert at.session_state["emb_token"] == "5"
    at = visit("a dog", side="Decoder", emb_token=9)
    longest = len(translated("a dog").encoder.ids)
    assert longest <= 9 < len(translated("a dog").decoder.ids)
    assert at.number_input(key="emb_token_shown").value == 9
    at.segmented_control(key="side_shown").set_value("encoder").run()
    assert not at.exception
    assert at.number_input(key="emb_token_shown").value == 0 and at.session_state["emb_token"] == ""
    assert at.session_state["side"] == ""  # what it begins with


@pytest.mark.parametrize("key", ["side", "emb_token", "emb_stage", "emb_dims", "emb_unit", "nonsense"])
@pytest.mark.parametrize("value", ["99", "Cross-attention", "<b>", "$x$"])
def test_nonsense_in_a_link_falls_back(key: str, value: str) -> None:
    at = visit(**{key: value})
    assert at.dataframe[0].value["id"].tolist() == list(translated(SENTENCE).encoder.ids)
    assert key == "nonsense" or at.session_state[key] == ""  # and so it leaves the address


@pytest.mark.parametrize("text", ["", "   "])
def test_without_text_the_page_asks_for_some(text: str) -> None:
    at = open_page("transformer-tokens").text_input(key="source").set_value(text).run()
    assert not at.exception and not at.get("plotly_chart")
    assert any("Type a sentence" in info.value for info in at.info)


@pytest.mark.parametrize("text", [HOSTILE[:40], "😀 é \u0301 שלום", "你好", "?!", "a", "dog " * 60])
@pytest.mark.parametrize("side", SIDES)
def test_odd_hostile_and_too_long_texts(text: str, side: str) -> None:
    at = visit(text, side=SIDES[side], emb_stage=1)
    assert len(figures(at)) == (0 if text == "dog " * 60 else 6)
    for bad in ("<img", "<b>", "\u202e", "$x$", "**b**", ":smile:", "](b)"):
        assert bad not in texts(at)
    assert "<img" not in json.dumps(figures(at)) and "\\u202e" not in json.dumps(figures(at))
