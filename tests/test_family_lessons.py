"""Lessons on models of every shape: no page breaks, and every number of it agrees with float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import checkpoint
from gptviz.analysis.vectors import KINDS
from gptviz.attention import turned
from gptviz.tokenizer import Tokenizer
from gptviz.ui import models
from tests.matrices import matrices
from tests.page_helpers import figure, fire, mounted, open_sound_page, payload, texts
from tests.test_family import SHAPES, model_of
from tests.test_ui_check import badge
from tests.test_ui_claims import claims_of, each_wrong_number_differs
from tests.tiny import tiny_ranks

ROTARY = [name for name, shape in SHAPES.items() if shape.get("positions") == "rotary"]
STAGES = ("x", "weights", "qkv", "turn", "project")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of every shape."""
    folder = tmp_path_factory.mktemp("family")
    for name in SHAPES:
        checkpoint.save(folder / name.replace(" ", "-"), model_of(name), Tokenizer(tiny_ranks()))
    return folder


@pytest.fixture(autouse=True)
def _family_alone(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(shelf))


def visit(page: str, shape: str, **query: object) -> AppTest:
    """A page on a model of that shape, whose badge is green."""
    at = open_sound_page(page, model=shape.replace(" ", "-"), **query)
    for wake in mounted(at, "gptviz_wake"):
        fire(at, wake, "check", payload(wake)["ask"])
    assert not at.exception
    assert badge(at) == "agrees"
    return at


@pytest.mark.parametrize("shape", SHAPES)
def test_inside_a_head(shape: str) -> None:
    config = model_of(shape).config
    for stage in STAGES if config.positions == "rotary" else [stage for stage in STAGES if stage != "turn"]:
        at = visit("inside-head", shape, head_stage=stage, layer=1, head=3)
        shown = matrices(at)
        assert ("11 project" in [button.label for button in at.button]) == (config.positions == "rotary")
        if stage == "weights":
            assert ("head_b_q" in shown) == (config.bias != "none")
            assert ("This model adds no bias" in texts(at)) == (config.bias == "none")
            shared = config.n_groups < config.n_heads
            assert ("grouped-query attention" in texts(at)) == shared
            together = f"heads {4 - 4 // config.n_groups} to 3"
            assert shown["head_W_k"]["title"] == f"W_k of {together}" if shared else "W_k"
        if stage == "qkv":
            assert (" + b_q" in "".join(latex.value for latex in at.latex)) == (config.bias != "none")


@pytest.mark.parametrize("shape", ROTARY)
def test_queries_and_keys_are_shown_before_and_after_they_are_turned(shape: str) -> None:
    gpt = model_of(shape)
    at = visit("inside-head", shape, head_stage="turn", layer=1, head=2, head_query=3)
    loaded = models.open_model(shape.replace(" ", "-"))
    trace = gptviz.trace(loaded, "My dog has fleas")
    shown, turn = matrices(at), gpt.turn(0, len(trace.ids))
    for letter in "qk":
        before, after = (shown[f"head_{letter}{which}"]["values"] for which in ("", "_turned"))
        np.testing.assert_allclose(turned(torch.tensor(before), turn), after, atol=1e-5)
        np.testing.assert_allclose(after, getattr(trace, letter)[1, 2], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_positions(shape: str) -> None:
    rotary = model_of(shape).config.positions == "rotary"
    for query in ({"head": 1}, {"head": 3, "layer": 2, "pos_query": 2, "pos_key": 1}):
        at = visit("positions", shape, **query)
        assert ("no vectors for positions" in texts(at)) == rotary
        assert ("pos_term_0" in matrices(at)) != rotary


def test_a_key_after_its_query_has_no_score() -> None:
    at = visit("positions", "llama", pos_query=1, pos_key=2)
    assert "Choose a key before it" in texts(at)


@pytest.mark.parametrize("shape", SHAPES)
def test_tokens(shape: str) -> None:
    rotary = model_of(shape).config.positions == "rotary"
    for stage in (0, 2):
        at = visit("tokens", shape, emb_stage=stage)
        assert ("no strip of positions" in texts(at)) == (rotary and stage == 0)
        near = [key for key in ("before", "after") if has_figure(at, f"emb_near_{key}")]
        assert near == (["before"] if rotary and stage == 0 else ["before", "after"])


def test_of_a_large_vocabulary_the_first_tokens_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptviz.ui.vectors.MOST_POINTS", 100)
    at = visit("tokens", "llama")
    assert "first 100 by their ids" in texts(at)
    drawn = figure(at, "emb_map")["data"]
    kinds = [trace for trace in drawn if trace["name"] in KINDS]
    assert 100 <= sum(len(trace["text"]) for trace in kinds) <= 112


@pytest.mark.parametrize(
    ("page", "query", "about"),
    [
        ("positions", {"layer": 1}, ("angles", "score ")),
        ("inside-head", {"head_stage": "turn"}, ("turned by position ",)),
        ("inside-head", {"head_stage": "qkv"}, ("before the turn",)),
    ],
)
def test_each_wrong_number_is_found(
    page: str, query: dict, about: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = claims_of(page, {"model": "wide-heads", "text": "My dog has"} | query, monkeypatch)
    for start in about:
        assert any(claim.about.startswith(start) for claim in reading.claims)
    each_wrong_number_differs(reading)


def has_figure(at: AppTest, key: str) -> bool:
    """Whether the page has that chart."""
    return any(chart.proto.id.endswith(f"-{key}") for chart in at.get("plotly_chart"))


@pytest.mark.parametrize("shape", SHAPES)
def test_inside_a_block(shape: str) -> None:
    config = model_of(shape).config
    said = texts(visit("inside-block", shape, layer=1))
    assert ("No mean is taken away" in said) == (config.norm == "rms")
    assert ("where its gate is open" in said) == config.gated
    assert ("and the bias of the output projection" in said) == (config.bias == "all")
    assert ("biases from" in said) == (config.bias == "all" and config.norm == "layer")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_every_group(shape: str) -> None:
    config = model_of(shape).config
    at = open_sound_page("loss-gradient", model=shape.replace(" ", "-"), layer=1)
    drawn = str(figure(at, "loss_groups"))
    assert ("feed-forward gate" in drawn) == config.gated
    assert ("position embedding" in drawn) == (config.positions == "learned")
    assert ("share one key and one value" in texts(at)) == (config.n_groups < config.n_heads)


@pytest.mark.parametrize("norms", ["gradient", "relative"])
def test_each_wrong_norm_of_a_model_with_shared_keys_differs(norms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"gradient": "Gradient", "relative": "Gradient / weights"}[norms]
    query = {"model": "wide-heads", "text": "My dog has", "loss_norms": chosen}
    each_wrong_number_differs(claims_of("loss-gradient", query, monkeypatch))


@pytest.mark.parametrize("page", ["home", "attention"])
@pytest.mark.parametrize("shape", SHAPES)
def test_where_heads_share_keys_all_heads_say_which(shape: str, page: str) -> None:
    config = model_of(shape).config
    said = texts(open_sound_page(page, model=shape.replace(" ", "-")))
    assert ("these heads ask the same keys" in said) == (config.n_groups < config.n_heads)
    if config.n_groups < config.n_heads:
        size = config.n_heads // config.n_groups
        assert all(f"heads {first} to {first + size - 1}" in said for first in range(0, config.n_heads, size))
