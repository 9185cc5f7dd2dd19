"""The page "Inside a block", as a visitor uses it: both orders of norm, one token, long texts, links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import checkpoint
from gptviz.analysis import block
from gptviz.figures import block as pictures
from gptviz.tokenizer import Tokenizer
from gptviz.ui import models
from gptviz.ui.controls import SENTENCES
from tests.matrices import matrices
from tests.page_helpers import open_page, texts
from tests.tiny import random_gpt, tiny_ranks

LENGTHS = pictures.Lengths._fields


def visit(**query: object) -> AppTest:
    """The page, by a link."""
    at = open_page("inside-block", **query)
    assert not at.exception, at.exception
    return at


def spec(at: AppTest, key: str) -> dict:
    """A chart as the browser gets it."""
    return next(json.loads(c.proto.spec) for c in at.get("plotly_chart") if c.proto.id.endswith(f"-{key}"))


def shown_lengths(at: AppTest) -> list[str]:
    """What stands at the points of the flow."""
    return next(t["text"] for t in spec(at, "block_flow")["data"] if t.get("mode") == "markers")


@pytest.fixture
def other_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A model that normalises first, with GELU, beside the shipped one."""
    gpt = random_gpt(n_layers=2, n_heads=2, norm_order="pre", activation="gelu", context=32)
    checkpoint.save(tmp_path / "other", gpt, Tokenizer(tiny_ranks()))
    loaded, shipped = checkpoint.load(tmp_path / "other"), gptviz.load("gpt-stories")
    monkeypatch.setattr(models, "names", lambda kind="gpt": ["gpt-stories", "other"])
    monkeypatch.setattr(models, "open_model", lambda name: loaded if name == "other" else shipped)
    yield "other"


def test_the_flow_has_the_lengths_of_the_trace() -> None:
    trace = gptviz.trace(gptviz.load("gpt-stories"), "My dog has fleas")
    at = visit(layer=2)
    expected = np.sqrt((trace.attention_out[1].astype(float) ** 2).sum(-1))
    assert f"added: {expected.mean():.6g}" in shown_lengths(at)[6]
    one = visit(layer=2, block_token="t3")
    assert f"added: {expected[3]:.6g}" in shown_lengths(one)[6]
    assert "In layer **2**" in texts(one)


def test_what_is_said_of_units_is_counted() -> None:
    model = gptviz.load("gpt-stories")
    hidden = gptviz.trace(model, "My dog has fleas").ff_hidden[1]
    said = texts(visit(layer=1))
    assert f"**{(hidden > 0).mean():.1%}** are active" in said
    assert f"**{int((~(hidden > 0).any(0)).sum()):,} of 1,024**" in said
    over = [gptviz.trace(model, text).ff_hidden[1] for text in SENTENCES.values()]
    never = int((~(np.concatenate(over) > 0).any(0)).sum())
    assert f"{sum(map(len, over)):,} tokens in all, **{never:,}** are active at none" in said


def test_a_model_that_normalises_first_says_and_draws_so(other_model: str) -> None:
    at = visit(model=other_model, text="the dog and the cat", layer=1)
    said = texts(at)
    assert "normalises first and adds last" in said and "GELU has no clear border" in said
    assert any(r"\mathrm{attention}(\mathrm{norm}(x))" in latex.value for latex in at.latex)
    lines = [s for s in spec(at, "block_flow")["layout"]["shapes"] if s["type"] == "line"]
    assert len(lines) == 4 and all(s["x0"] > pictures.STREAM for s in lines)
    post = visit()
    assert "adds first and normalises the sum" in texts(post)


@pytest.mark.parametrize("text", ["a", " the the", "Once upon a time there was a dog. " * 60])
def test_one_token_two_and_the_longest_context(text: str) -> None:
    at = visit(text=text, layer=3)
    assert len(at.get("plotly_chart")) == 4
    assert list(matrices(at)) == ["block_lengths", "block_cosines", "block_heads"]


@pytest.mark.parametrize("query", [{"block_token": "t99"}, {"block_token": "x"}, {"block_token": "<b>", "layer": 77}])
def test_nonsense_in_the_link_leaves_the_page_standing(query: dict) -> None:
    at = visit(**query)
    assert at.selectbox(key="block_token_shown").value == -1


def test_hostile_tokens_are_literal() -> None:
    at = visit(text="<img src=x onerror=alert(1)> $x$ **b** :smile:")
    assert "<img" not in json.dumps([spec(at, key) for key in ("block_share", "block_times")])


def test_a_block_in_numbers_is_what_the_table_has() -> None:
    at = visit(layer=1)
    model = gptviz.load("gpt-stories")
    trace = gptviz.trace(model, "My dog has fleas")
    expected = block.token_table(block.vectors(trace, 1), trace.tokens)
    frame = next(f.value for f in at.dataframe if "|stream|" in f.value.columns)
    np.testing.assert_allclose(frame["attention: with_stream"], expected["attention: with_stream"])
