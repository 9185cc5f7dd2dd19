"""Open models are shared, bounded by their bytes, and dropped in the order of their last use."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gptviz
from gptviz import checkpoint, folder, memory
from gptviz.tokenizer import Tokenizer
from gptviz.ui.models import MODELS, TRACES, ModelCache, bytes_of, forget
from tests.tiny import random_gpt, tiny_ranks


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for seed, name in enumerate("abc"):
        checkpoint.save(tmp_path / name, random_gpt(seed), Tokenizer(tiny_ranks()))
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    monkeypatch.setattr(memory, "WORKING", 0)
    return tmp_path


def test_the_one_used_longest_ago_goes(shelf: Path) -> None:
    config = folder.shape_of(shelf / "a")
    cache = ModelCache(2 * memory.needed(config))
    first = {name: cache.get(name) for name in "ab"}
    assert cache.get("a") is first["a"]
    cache.get("c")
    assert cache.get("a") is first["a"]
    assert [name for name, *_ in cache.models] == ["c", "a"]
    assert cache.get("b") is not first["b"]


def test_one_model_stays_however_large(shelf: Path) -> None:
    cache = ModelCache(1)
    one = cache.get("a")
    assert cache.get("a") is one
    assert bytes_of(one) > 1
    cache.get("b")
    assert [name for name, *_ in cache.models] == ["b"]


def test_a_replaced_file_is_another_model(shelf: Path) -> None:
    cache = ModelCache()
    before = cache.get("a")
    checkpoint.save(shelf / "a", random_gpt(7), Tokenizer(tiny_ranks()))
    assert cache.get("a").fingerprint != before.fingerprint


def test_a_removed_model_is_forgotten_with_its_traces(shelf: Path) -> None:
    model = MODELS.get("a")
    TRACES.get(model, "My dog", gptviz.WhatIf())
    used, mark, gone = TRACES.used, model.fingerprint, weakref.ref(model.gpt)
    assert any(key[0] == mark for key in TRACES.traces)
    del model
    forget("a")
    assert not any(name == "a" for name, *_ in MODELS.models)
    assert not any(key[0] == mark for key in TRACES.traces)
    assert TRACES.used < used
    assert gone() is None


def test_of_a_replaced_model_one_stays(shelf: Path) -> None:
    cache = ModelCache()
    before = cache.get("a").fingerprint
    other = cache.get("b")
    checkpoint.save(shelf / "a", random_gpt(7), Tokenizer(tiny_ranks()))
    assert cache.get("a").fingerprint != before
    assert sorted(name for name, *_ in cache.models) == ["a", "b"]
    assert cache.get("b") is other


def test_visitors_who_come_together_wait_for_one_opening(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load, start = [], gptviz.load, threading.Barrier(4)

    def slow(name: str) -> object:
        loaded.append(name)
        return load(name)

    monkeypatch.setattr(gptviz, "load", slow)
    cache = ModelCache()

    def visit(_: int) -> object:
        start.wait(timeout=60)
        return cache.get("a")

    with ThreadPoolExecutor(4) as pool:
        assert len({id(model) for model in pool.map(visit, range(4))}) == 1
    assert loaded == ["a"]


def test_what_cannot_be_opened_is_said_each_time(shelf: Path) -> None:
    (shelf / "a" / "model.safetensors").write_bytes(b"nothing")
    cache = ModelCache()
    for _ in range(2):
        with pytest.raises(gptviz.CheckpointError, match=r"model\.safetensors"):
            cache.get("a")
    assert not cache.opening


def test_a_model_that_does_not_fit_is_told_before_memory_is_taken(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda device=None: 1000)
    config = folder.shape_of(shelf / "a")
    with pytest.raises(gptviz.CheckpointError, match="GB of free memory"):
        checkpoint.expect_room(config, "a", checkpoint.pick_device("cpu"))
