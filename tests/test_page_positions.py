"""The page on positions as a visitor meets it: the model's own table, and four terms that sum to its score."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

import gptviz
from gptviz import checkpoint
from gptviz.ui import models
from tests.matrices import matrices
from tests.page_helpers import open_page, texts
from tests.test_page_inside_head import drawn, figures, table
from tests.tiny import random_gpt

HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"
LONG = "Once upon a time there was a little dog who had fleas and a cat who had none. " * 15


@cache
def model() -> gptviz.LanguageModel:
    return gptviz.load("gpt-stories")


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Torch and the model are there before the first page, whose run has a time limit."""
    model()


def visit(**query: object):
    at = open_page("positions", **query)
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


def terms(at) -> list[np.ndarray]:
    """Four terms, their sum, and the score."""
    return [drawn(at, f"pos_term_{i}") for i in range(6)]


def test_the_four_terms_sum_to_the_score_of_the_pass() -> None:
    at, trace = visit(head=2), gptviz.trace(model(), "My dog has fleas")
    *four, total, score = terms(at)
    expected = np.where(np.isinf(trace.masked[0, 2]), np.nan, trace.masked[0, 2])
    np.testing.assert_allclose(score, expected, atol=1e-6)
    np.testing.assert_allclose(np.sum(four, axis=0), expected, atol=1e-4)
    np.testing.assert_allclose(total, expected, atol=1e-4)
    scales = {tuple(matrices(at)[f"pos_term_{i}"]["ends"]) for i in range(6)}
    assert len(scales) == 1
    low, high = scales.pop()
    assert low == -high


def test_the_pictures_are_the_models_table_and_the_papers() -> None:
    at = visit()
    learned = model().gpt.state_dict()["position_embedding.weight"].float().numpy()
    np.testing.assert_array_equal(drawn(at, "pos_vectors_learned"), learned)
    fixed = drawn(at, "pos_vectors_fixed")
    assert fixed[7, 20] == pytest.approx(np.sin(7 / 10000 ** (20 / 256)), abs=1e-6)
    assert fixed[7, 21] == pytest.approx(np.cos(7 / 10000 ** (20 / 256)), abs=1e-6)
    for name, vectors in (("learned", learned), ("fixed", fixed)):
        unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        np.testing.assert_allclose(drawn(at, f"pos_cosines_{name}"), unit @ unit.T, atol=1e-5)


def test_the_widest_term_is_named() -> None:
    at = visit(head=1)
    spread = table(at, "spread")["spread"]
    assert f"**{spread.iloc[:4].idxmax()}** with {spread.iloc[:4].max():.2f}" in texts(at)


@pytest.mark.parametrize(
    "shape", [{"norm_order": "pre", "activation": "gelu_tanh", "tied": True}, {"tied": False, "context": 300}]
)
def test_other_models_have_their_own_pages(shape: dict, tmp_path, monkeypatch, tiny_tokenizer) -> None:
    gpt = random_gpt(seed=3, **shape)
    checkpoint.save(tmp_path / "other", gpt, tiny_tokenizer)
    loaded = checkpoint.load(tmp_path / "other")
    monkeypatch.setattr(models, "names", lambda kind="gpt": ["gpt-stories", "other"])
    monkeypatch.setattr(models, "open_model", lambda name: loaded if name == "other" else model())
    at = visit(model="other", head=1)
    trace = gptviz.trace(loaded, "My dog has fleas")
    *four, _, score = terms(at)
    np.testing.assert_allclose(np.sum(four, axis=0), score, atol=1e-4)
    np.testing.assert_allclose(score[-1], trace.scaled[0, 1, -1], atol=1e-6)
    assert ("normalises first" in texts(at)) == (shape.get("norm_order") == "pre")
    assert ("The first 256 of 300 positions are drawn" in texts(at)) == ("context" in shape)
    for stage in ("x", "weights", "qkv", "values", "project"):
        assert not open_page("inside-head", model="other", head_stage=stage, layer=1).exception


@pytest.mark.parametrize("text", ["a", HOSTILE, LONG])
def test_one_token_hostile_tokens_and_the_longest_context(text: str) -> None:
    at = visit(text=text)
    t = len(gptviz.trace(model(), text).tokens)
    assert [term.shape for term in terms(at)] == [(t, t)] * 6
    assert matrices(at)["pos_term_0"]["size"] >= 12
    for bad in ("<img", "$x$", "**b**", ":smile:", "](b)"):
        assert bad not in texts(at)
        assert bad not in json.dumps(figures(at))
    assert any("One token" in info.value for info in at.info) == (t == 1)


@pytest.mark.parametrize("text", ["", "   "])
def test_without_text_the_page_asks_for_some(text: str) -> None:
    at = open_page("positions").text_input(key="text").set_value(text).run()
    assert not at.exception
    assert not at.get("plotly_chart")
    assert any("Type a sentence" in info.value for info in at.info)
