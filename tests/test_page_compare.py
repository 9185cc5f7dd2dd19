"""The page of two models: what it shows of the second is what that model does alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import checkpoint
from gptviz.sampling import softmax
from gptviz.tokenizer import Tokenizer
from gptviz.ui import side_by_side as parts
from gptviz.ui.lesson import Reading
from tests.page_helpers import mounted, open_page, open_sound_page, texts
from tests.tiny import random_gpt, tiny_ranks

TEXT = "My dog has fleas"


def coarse_ranks() -> dict[bytes, int]:
    """Bytes and nothing else: another way to cut every text."""
    return {bytes([byte]): byte for byte in range(256)}


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    checkpoint.save(tmp_path / "first", random_gpt(0), Tokenizer(tiny_ranks()))
    llama = {"norm_order": "pre", "norm": "rms", "positions": "rotary", "bias": "none", "gated": True}
    other = random_gpt(1, vocab_size=257, n_layers=2, n_heads=2, n_kv_heads=1, activation="silu", **llama)
    checkpoint.save(tmp_path / "second", other, Tokenizer(coarse_ranks()))
    checkpoint.save(tmp_path / "third", random_gpt(2), Tokenizer(tiny_ranks()))
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    return tmp_path


def visit(**query: object) -> AppTest:
    return open_sound_page("compare", text=TEXT, model="first", **query)


def test_both_are_shown_with_their_own_tokens_and_heads() -> None:
    at = visit(other="second", layer=2, head=3, other_layer=1, other_head=1)
    said = texts(at)
    assert "head 2.3, 4 tokens" in said
    assert f"head 1.1, {len(TEXT)} tokens" in said
    assert "4 pieces that are whole tokens of both" in said
    assert len(mounted(at, "gptviz_view")) == 2


def test_the_difference_is_that_of_both_models_alone() -> None:
    first, second = gptviz.load("first"), gptviz.load("second")
    a = gptviz.trace(first, TEXT).weights[0, 0].astype(np.float64)
    b = gptviz.trace(second, TEXT).weights[0, 0].astype(np.float64)
    ends = np.cumsum([0, *map(len, gptviz.trace(first, TEXT).tokens)])
    places = list(itertools.pairwise(ends))
    joined = np.array([[b[i:j, k:n].sum(axis=1).mean() for k, n in places] for i, j in places])
    moved = np.abs(joined - a).sum() / 2 / len(a)
    assert f"{moved:.1%}" in texts(visit(other="second"))


def test_next_tokens_are_joined_by_their_text() -> None:
    first, second = gptviz.load("first"), gptviz.load("second")
    reading, other = (Reading(model, TEXT, gptviz.trace(model, TEXT)) for model in (first, second))
    table = parts.next_tokens(reading, other)
    p = [softmax(gptviz.trace(model, TEXT).logits[-1]) for model in (first, second)]
    assert set(table["token"]) >= {first.tokenizer.token_text(int(i)) for i in np.argsort(-p[0])[:10]}
    for row in table.itertuples(index=False):
        (ids,) = {tuple(first.tokenizer.encode(row[0]))} if "\\x" not in row[0] else {()}
        if len(ids) == 1:
            assert row[1] == pytest.approx(p[0][ids[0]])
    assert table["second"].isna().any(), "bytes alone know no whole word"


def test_same_tokens_are_said_to_be_the_same() -> None:
    assert "Both cut the text into the same tokens." in texts(visit(other="third"))


def test_another_name_is_told_and_one_alone_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "There is no other model" in texts(open_page("compare", text=TEXT, model="first", other="../x"))
    checkpoint.save(tmp_path / "alone" / "only", random_gpt(0), Tokenizer(tiny_ranks()))
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path / "alone"))
    assert "nothing to set beside it" in texts(open_page("compare", text=TEXT))
