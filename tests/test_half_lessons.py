"""Lessons on a model in half precision: they say so, every number agrees with float64, and gradients say why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import gptviz
from gptviz import checkpoint, memory, pictures
from gptviz.folder import shape_of
from gptviz.half import half_dtype
from gptviz.tokenizer import Tokenizer
from gptviz.ui import models
from gptviz.ui.models import ModelCache
from tests.page_helpers import fire, mounted, open_page, payload, texts
from tests.test_family import model_of
from tests.test_ui_check import LESSONS, badge
from tests.tiny import tiny_ranks

NAMES = ("gpt2", "llama")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in NAMES:
        checkpoint.save(tmp_path / name, model_of(name), Tokenizer(tiny_ranks()))
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    yield tmp_path
    for name in NAMES:
        models.forget(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", [page for page in LESSONS if page != "loss-gradient"])
def test_every_lesson_says_so_and_its_numbers_agree(
    page: str, name: str, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTVIZ_DTYPE", "bfloat16")
    at = open_page(page, model=name)
    assert not at.exception
    (said,) = [caption.value for caption in at.sidebar.caption if "half precision" in caption.value]
    assert "bfloat16, as GPTVIZ_DTYPE asks" in said
    for wake in mounted(at, "gptviz_wake"):
        fire(at, wake, "check", payload(wake)["ask"])
    assert not at.exception and badge(at) == "agrees"


def test_a_lesson_that_needs_gradients_says_why_not(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_DTYPE", "float16")
    at = open_page("loss-gradient", model="llama")
    assert not at.exception
    assert any("are held in float16. Their gradient" in info.value for info in at.info)
    assert "One step of an optimiser" not in texts(at)


def test_the_code_to_take_along_opens_the_same_weights(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_DTYPE", "bfloat16")
    model = models.open_model("llama")
    assert models.kept_in("llama") == "bfloat16" and models.kept_in("gpt2") == ""
    monkeypatch.delenv("GPTVIZ_DTYPE")
    names: dict = {}
    lines = pictures.code("masked", "llama", "My dog", {}, models.kept_in("llama")).splitlines()
    exec("\n".join(line for line in lines if "draw" not in line), names)
    assert names["model"].fingerprint == model.fingerprint


def test_a_model_in_float32_says_nothing(shelf: Path) -> None:
    at = open_page("attention", model="llama")
    assert not any("half precision" in caption.value for caption in at.sidebar.caption)


def test_memory_decides_and_the_page_says_it(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shape_of(shelf / "llama")
    monkeypatch.setattr(memory, "for_models", lambda: memory.needed(config, 2))
    at = open_page("attention", model="llama")
    (said,) = [caption.value for caption in at.sidebar.caption if "half precision" in caption.value]
    assert "float16, to fit into memory: in float32 it would take 0.2 GB" in said


def test_within_its_bounds_the_shelf_opens_in_float32_else_in_half(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "WORKING", 0)
    config = shape_of(shelf / "gpt2")
    for limit, dtype in ((memory.needed(config), None), (memory.needed(config) - 1, "float16"), (1, None)):
        model = ModelCache(limit).get("gpt2")
        assert str(half_dtype(model.gpt)).removeprefix("torch.") == str(dtype)
    kept = ModelCache(memory.needed(config, 2)).get("gpt2")
    assert models.bytes_of(kept) < 0.6 * models.bytes_of(gptviz.load("gpt2"))
