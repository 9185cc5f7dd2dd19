"""The page of a translation as a visitor meets it: steps, candidates and attentions, whatever was typed."""

from __future__ import annotations

import base64
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import checkpoint
from gptviz.figures.style import minus, visible
from gptviz.ui import translate as parts
from gptviz.ui.lesson import BOXES
from tests.page_helpers import fire, mounted, open_page, payload, texts
from tests.tiny import translator

SENTENCE = "My dog has fleas and a cat"
HOSTILE = ("<img src=x onerror=alert(1)>", "$x$ **b** :smile: [a](b)")
SIDES = ("encoder", "decoder", "cross")
pytestmark = pytest.mark.usefixtures("only_tiny_pair")


@cache
def answer(text: str) -> gptviz.Translation:
    """Without the app."""
    return gptviz.translate(translator(), text)


def visit(text: str = SENTENCE, **query: object) -> AppTest:
    """The page, by a link."""
    at = open_page("translate", source=text, **query)
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


def drawn(at: AppTest) -> dict:
    """What the browser got."""
    (element,) = mounted(at, "gptviz_translate")
    return payload(element)


def matrix(told: dict, side: str) -> np.ndarray:
    """One attention as the browser unpacks it."""
    cells = np.frombuffer(base64.b64decode(told["weights"][side]), "<f4")
    return cells.reshape(-1, len(told["inputs" if side == "decoder" else "source"]))


def greedy(text: str, steps: int) -> np.ndarray:
    """The probabilities of every next token while always the likeliest is taken: whole passes, no cache. (steps, V)"""
    model = translator()
    end = model.tokenizer.end_of_text
    source, inputs, rows = [*model.tokenizer.encode(text), end], [end], []
    for _ in range(steps):
        with torch.no_grad():
            logits = model.transformer(torch.tensor([source]), torch.tensor([inputs]))[0, -1].double()
        rows.append(logits.softmax(-1).numpy())
        inputs.append(int(logits.argmax()))
    return np.array(rows)


def table(at: AppTest) -> pd.DataFrame:
    """The weights as numbers."""
    return at.dataframe[0].value


# What is shown


def test_each_step_has_the_models_own_distribution() -> None:
    told, tokenizer = drawn(visit()), translator().tokenizer
    p = greedy(SENTENCE, 6)
    for step, row in enumerate(p):
        ids = np.argsort(-row)[: parts.MOST_CANDIDATES]
        assert [token for token, _ in told["candidates"][step]] == [visible(tokenizer.token_text(int(i))) for i in ids]
        np.testing.assert_allclose([q for _, q in told["candidates"][step]], row[ids], rtol=1e-4)
        assert told["rest"][step] == pytest.approx(1 - row[ids].sum(), rel=1e-4)
        assert told["chosen"][step] == 0  # greedy
        assert told["probabilities"][step] == pytest.approx(row.max(), rel=1e-4)


@pytest.mark.parametrize("over", ["Mean of all heads", "One head"])
def test_the_three_attentions_are_those_of_the_pass(over: str) -> None:
    told = drawn(visit(translate_view=over, layer=2, head=3))
    trace = answer(SENTENCE).trace
    for side in SIDES:
        own = getattr(trace, side).weights[2]
        expected = own[3] if over == "One head" else own.mean(axis=0)
        np.testing.assert_allclose(matrix(told, side), expected, rtol=1e-5, atol=1e-9)


def test_tokens_and_texts_are_those_of_every_step() -> None:
    told, result = drawn(visit()), answer(SENTENCE)
    assert told["source"] == [visible(token) for token in result.trace.encoder.tokens]
    assert told["inputs"] == [visible(token) for token in result.trace.decoder.tokens]
    assert told["inputs"][1:] == told["written"][:-1]  # shifted right
    assert told["texts"][0] == ""
    assert told["texts"][-1] == result.text
    assert len(told["texts"]) == len(told["written"]) + 1  # it stopped at its limit: no end was written


def test_the_result_and_how_probable_it_is_are_said() -> None:
    result, at = answer(SENTENCE), visit()
    mean = np.exp(np.log(result.probabilities.astype(float)).mean())
    assert f"Mean token probability **{mean:.1%}**" in texts(at)
    assert f"Beam score **{minus(f'{result.score:.2f}')}**" in texts(at)
    assert f"limit of {len(result.ids)} tokens" in texts(at)


def test_a_translation_of_nothing_but_its_end_is_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator(end_bias=-6.0)
    assert gptviz.translate(model, SENTENCE).ids == ()
    checkpoint.save(tmp_path / "short", model.transformer, model.tokenizer)
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    at = visit(step=1)
    told = drawn(at)
    assert (told["written"], told["texts"], told["step"]) == (["<|endoftext|>"], [""], 1)
    assert "stopped at its limit" not in texts(at)
    assert len(table(at)) == len(told["source"]) + 1


# Steps


def test_the_whole_translation_comes_first_and_its_cross_attention_as_numbers() -> None:
    at = visit(layer=1)
    assert drawn(at)["step"] == 0
    np.testing.assert_allclose(table(at), answer(SENTENCE).trace.cross_weights[1].mean(axis=0), rtol=1e-5)
    assert table(at).columns[1] == "1 ·dog"


def test_a_step_of_the_link_is_shown_with_its_numbers() -> None:
    at = visit(step=4, layer=1, head=2, translate_view="One head")
    assert drawn(at)["step"] == 4
    frame, trace = table(at), answer(SENTENCE).trace
    cross, decoder = (frame[frame["attention"] == name] for name in ("cross", "decoder"))
    np.testing.assert_array_equal(cross["shown"], trace.cross_weights[1, 2, 3])
    np.testing.assert_array_equal(decoder["shown"], trace.decoder_weights[1, 2, 3, :4])
    np.testing.assert_array_equal(decoder["head 1.0"], trace.decoder_weights[1, 0, 3, :4])
    assert decoder["shown"].sum() == pytest.approx(1, abs=1e-5)
    assert "Step 4 as numbers" in texts(at)


def test_the_browser_tells_where_the_visitor_stopped_and_the_link_keeps_it() -> None:
    at = visit()
    told = drawn(at)
    for step, kept in ((3, "3"), (0, ""), (len(told["written"]), str(len(told["written"])))):
        fire(at, mounted(at, "gptviz_translate")[0], "step", {"id": told["id"], "step": step})
        assert not at.exception
        assert at.text_input(key="step").value == kept
        assert drawn(at)["step"] == step


@pytest.mark.parametrize("told", [None, 3, [], {}, {"step": 3}, {"id": "another", "step": 3}, "step"])
def test_what_is_no_step_of_this_sentence_is_not_kept(told: object) -> None:
    at = visit(step=2)
    fire(at, mounted(at, "gptviz_translate")[0], "step", told)
    assert not at.exception
    assert at.text_input(key="step").value == "2"


@pytest.mark.parametrize("step", [-1, 99, 1.5, True, "3", None, [3]])
def test_a_step_that_is_not_there_is_not_kept(step: object) -> None:
    at = visit(step=2)
    fire(at, mounted(at, "gptviz_translate")[0], "step", {"id": drawn(at)["id"], "step": step})
    assert not at.exception
    assert at.text_input(key="step").value == "2"


def test_every_sentence_keeps_its_own_step() -> None:
    at = visit(step=3)
    at.text_input(key=BOXES["transformer"].text).set_value("Tom").run()
    assert drawn(at)["step"] == 0
    at.text_input(key=BOXES["transformer"].text).set_value(SENTENCE).run()
    assert drawn(at)["step"] == 3


# Bad input


@pytest.mark.parametrize("nonsense", ["abc", "-1", "999", "1.5", "<b>", "²", "0"])
def test_nonsense_in_the_link_is_forgotten(nonsense: str) -> None:
    at = visit(step=nonsense, layer=nonsense, head=nonsense, translate_view=nonsense)
    assert drawn(at)["step"] == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text: str) -> None:
    at = visit(text, step=1)
    assert "".join(drawn(at)["source"][:-1]) == text.replace(" ", "·")
    assert all(piece not in texts(at) for piece in ("<img", "$x$", "**b**", ":smile:"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("?!.", "no letter in this text"),
        ("\u202e\x07", "no letter in this text"),
        ("Привет, как дела?", "13 of 13 letters are not of the Latin script"),
        ("你好吗", "3 of 3 letters"),
        (SENTENCE, "The model is guessing"),
        (SENTENCE, "This looks like English, and the model translates from German: "),  # to a random model all is alike
    ],
)
def test_what_speaks_against_a_translation_is_said_and_it_is_shown(text: str, said: str) -> None:
    at = visit(text)
    assert said in texts(at)
    assert drawn(at)["texts"][-1] == answer(text).text


def test_an_empty_sentence_says_what_to_do() -> None:
    at = visit(" ")
    assert "Type a sentence" in texts(at)
    assert not mounted(at, "gptviz_translate")


def test_a_sentence_longer_than_the_context_is_named() -> None:
    at = visit("the dog " * 40)
    assert "Expected a sentence of at most 47 tokens, found 80; translate one sentence at a time." in texts(at)
    assert not mounted(at, "gptviz_translate")


def test_the_longest_sentence_fits_a_message() -> None:
    at = visit(" dog" * 47)
    assert len(json.dumps(drawn(at))) < 100_000


def test_the_box_says_that_it_wants_german() -> None:
    box = visit().text_input(key="source")
    assert box.label == "German sentence" and box.proto.label_visibility.value == box.proto.label_visibility.VISIBLE


def test_a_damaged_config_is_named_where_it_leaves_no_model(pair_shelf: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(pair_shelf / "tiny", tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text("{")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    at = open_page("translate")
    assert not at.exception
    assert "found none" in at.error[0].value and "**broken**: " in at.error[0].value
