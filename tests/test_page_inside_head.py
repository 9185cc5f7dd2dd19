"""The page on one head as a visitor meets it: the pass's own numbers at every stage, and one cell that adds up."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import checkpoint
from gptviz.figures.style import visible
from gptviz.trace import WhatIf
from gptviz.ui import models
from gptviz.ui.head_steps import STAGES
from tests.matrices import matrices
from tests.page_helpers import fire, mounted, open_page, texts
from tests.tiny import random_gpt

SENTENCE = "My dog has fleas"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"
LONG = "Once upon a time there was a little dog who had fleas and a cat who had none. " * 15


@cache
def model() -> gptviz.LanguageModel:
    return gptviz.load("gpt-stories")


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Torch and the model are there before the first page, whose run has a time limit."""
    model()


def visit(**query: object) -> AppTest:
    at = open_page("inside-head", **query)
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


def figures(at: AppTest) -> dict[str, dict[str, Any]]:
    """Charts by their keys, as the browser gets them."""
    return {chart.proto.id.rpartition("-")[2]: json.loads(chart.proto.spec) for chart in at.get("plotly_chart")}


def numbers(sent: Any) -> np.ndarray:
    """Plotly's typed arrays, or plain lists, as NumPy."""
    if not isinstance(sent, dict):
        return np.asarray(sent, dtype=float)
    shape = [int(n) for n in str(sent.get("shape", "-1")).split(",")]
    return np.frombuffer(base64.b64decode(sent["bdata"]), dtype=sent["dtype"]).reshape(shape)


def drawn(at: AppTest, key: str) -> np.ndarray:
    """The numbers of a matrix that lie on its colour scale; NaN where it is masked."""
    if key in (found := matrices(at)):
        return np.where(np.isneginf(found[key]["values"]), np.nan, found[key]["values"])
    return numbers(next(trace["z"] for trace in figures(at)[key]["data"] if "coloraxis" in trace))


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The table that has a column of that name."""
    return next(frame.value for frame in at.dataframe if column in frame.value.columns)


def test_every_stage_shows_the_numbers_of_the_pass() -> None:
    trace = gptviz.trace(model(), SENTENCE)
    d = model().gpt.config.d_head
    masked = np.where(np.isinf(trace.masked[2, 1]), np.nan, trace.masked[2, 1])
    joined = trace.heads[2].transpose(1, 0, 2).reshape(len(trace.ids), -1)
    expected = {
        "x": {"head_x": trace.attention_in[2]},
        "qkv": {f"head_{name}": getattr(trace, name)[2, 1] for name in "qkv"},
        "scores": {"head_scores": trace.scores[2, 1]},
        "scale": {"head_scores": trace.scores[2, 1], "head_scaled": trace.scaled[2, 1]},
        "mask": {"head_scaled": trace.scaled[2, 1], "head_masked": masked},
        "softmax": {"head_masked": masked, "head_weights": trace.weights[2, 1]},
        "values": {"head_weights": trace.weights[2, 1], "head_v": trace.v[2, 1], "head_o": trace.heads[2, 1]},
        "join": {"head_joined": joined},
        "project": {"head_joined": joined, "head_out": trace.attention_out[2]},
    }
    for stage, parts in expected.items():
        at = visit(layer=2, head=1, head_stage=stage)
        for key, values in parts.items():
            np.testing.assert_allclose(drawn(at, key), values, rtol=1e-5, atol=1e-5, err_msg=f"{stage} {key}")
    weights = model().gpt.state_dict()["blocks.2.attention.qkv.weight"].float().numpy()
    at = visit(layer=2, head=1, head_stage="weights")
    c = weights.shape[1]
    for part, name in enumerate("qkv"):
        np.testing.assert_array_equal(drawn(at, f"head_W_{name}"), weights[part * c + d : part * c + 2 * d].T)


def test_one_cell_adds_up_and_is_the_models_weight() -> None:
    at = visit(layer=1, head=2, head_query=5, head_key=3)
    trace = gptviz.trace(model(), SENTENCE)
    bars, line = figures(at)["head_products"]["data"]
    q, k = trace.q[1, 2, 5].astype(float), trace.k[1, 2].astype(float)
    np.testing.assert_array_equal(numbers(bars["y"]), q * k[3])
    np.testing.assert_allclose(numbers(line["y"]), np.cumsum(q * k[3]))
    steps = table(at, "step")["value"].to_numpy()
    row = np.exp(k @ q / 8 - (k @ q).max() / 8)
    expected = [k[3] @ q, k[3] @ q / 8, k[3] @ q / 8, (k @ q).max() / 8, row[3], row.sum(), row[3] / row.sum()]
    np.testing.assert_allclose(steps, expected)
    assert steps[-1] == pytest.approx(trace.weights[1, 2, 5, 3], abs=1e-6)


def test_a_masked_cell_has_no_weight_unless_the_mask_is_off() -> None:
    masked = table(visit(head_query=0, head_key=3), "step")["value"].to_numpy()
    assert masked[2] == -np.inf
    assert masked[-1] == 0
    trace = gptviz.trace(model(), SENTENCE, what_if=WhatIf(causal=False))
    free = table(visit(head_query=0, head_key=3, head_unmasked="true"), "step")["value"].to_numpy()
    assert free[-1] == pytest.approx(trace.weights[0, 0, 0, 3], abs=1e-6)


def test_the_switches_are_passes_of_the_model() -> None:
    trace = gptviz.trace(model(), SENTENCE, what_if=WhatIf(causal=False, scaled=False))
    at = visit(layer=2, head_stage="softmax", head_unmasked="true", head_unscaled="true")
    np.testing.assert_allclose(drawn(at, "head_weights"), trace.weights[2, 0], atol=1e-5)
    assert "**Scaling is off:**" in texts(visit(head_stage="scale", head_unscaled="true"))
    assert "**The mask is off:**" in texts(visit(head_stage="mask", head_unmasked="true"))


def test_what_scaling_does_is_measured_by_autograd_too() -> None:
    import torch

    from gptviz.analysis.saturation import directions

    at, trace = visit(layer=1, head=3), gptviz.trace(model(), SENTENCE)
    shown = table(at, "scaling off")
    for name, scale in (("scaled, masked", None), ("scaling off", 1.0)):
        q, k, v = (
            torch.tensor(part[1, 3], dtype=torch.float64, requires_grad=True) for part in (trace.q, trace.k, trace.v)
        )
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
        (torch.from_numpy(directions(tuple(q.shape))) * out).sum().backward()
        assert shown.loc["gradient that reaches a query", name] == pytest.approx(np.median(q.grad.norm(dim=-1)[1:]))
        assert shown.loc["gradient that reaches a key", name] == pytest.approx(np.median(k.grad.norm(dim=-1)))


def test_buttons_step_through_all_stages_and_stop_at_the_ends() -> None:
    at = visit()
    assert at.button(key="head_back").disabled
    for stage in list(STAGES)[1:]:
        at = at.button(key="head_on").click().run()
        assert not at.exception
        assert address_of(at, "head_stage") == stage
    assert at.button(key="head_on").disabled
    at = at.button(key="head_to_scores").click().run()
    assert any(header.value.startswith("4 of 10") for header in at.subheader)
    at = at.button(key="head_back").click().run()
    assert any(header.value.startswith("3 of 10") for header in at.subheader)


def address_of(at: AppTest, name: str) -> str:
    """What the address keeps."""
    return at.session_state["kept"].get(name)


@pytest.mark.parametrize("text", [SENTENCE, LONG])
def test_a_clicked_cell_is_chosen_however_large_the_matrix(text: str) -> None:
    at = visit(text=text, head_stage="softmax")
    t = len(matrices(at)["head_weights"]["rows"])
    for query, key in ((t - 2, 3), (0, t - 1)):
        at = fire(at, clickable(at, "head_weights"), "cell", [query, key])
        assert matrices(at)["head_weights"]["frames"] == [[query, query + 1, key, key + 1]]
        assert f"How much does token {query}," in texts(at)
        assert f"attend to token {key}," in texts(at)


@pytest.mark.parametrize("cell", [[0, 99], [-1, 0], [0], [0, 1, 2], ["0", "1"], [0.5, 1], [True, 0], "01", {"0": 1}, 7])
def test_nonsense_in_place_of_a_cell_is_not_chosen(cell: object) -> None:
    at = visit(head_stage="softmax", head_query=3, head_key=1)
    at = fire(at, clickable(at, "head_weights"), "cell", cell)
    assert not at.exception
    assert matrices(at)["head_weights"]["frames"] == [[3, 4, 1, 2]]


def clickable(at: AppTest, key: str) -> Any:
    """The component of a matrix that takes clicks."""
    found = list(matrices(at))
    assert matrices(at)[key]["clickable"]
    return mounted(at, "gptviz_matrix")[found.index(key)]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("text", ["a", HOSTILE])
def test_one_token_and_hostile_tokens_at_every_stage(text: str, stage: str) -> None:
    at = visit(text=text, head_stage=stage)
    said = texts(at)
    for bad in ("<img", "$x$", "**b**", ":smile:", "](b)"):
        assert bad not in said
        assert bad not in json.dumps(figures(at))
    if text == "a":
        assert any("One token" in info.value for info in at.info)
    assert table(at, "key")["key"].tolist() == [visible(token) for token in gptviz.trace(model(), text).tokens]


def test_the_longest_context_has_cells_that_can_be_seen() -> None:
    for stage in ("scale", "qkv", "weights"):
        found = matrices(visit(text=LONG, head_stage=stage))
        assert found and all(matrix["size"] >= 12 for matrix in found.values())
    assert drawn(visit(text=LONG, head_stage="scores"), "head_scores").shape == (256, 256)


@pytest.mark.parametrize("value", ["99", "-3", "x", "<b>", "1e9", "", "0.5"])
def test_nonsense_in_a_link_falls_back(value: str) -> None:
    names = ("head_stage", "head_query", "head_key", "head_unscaled", "head_unmasked")
    at = visit(**dict.fromkeys(names, value))
    assert any(header.value.startswith("1 of 10") for header in at.subheader)


def test_a_shorter_sentence_moves_a_query_that_is_not_there() -> None:
    at = visit(head_query=5, head_stage="softmax")
    at = at.text_input(key="text").set_value("My dog").run()
    assert not at.exception
    assert len(table(at, "key")) == 2


@pytest.mark.parametrize("text", ["", "   "])
def test_without_text_the_page_asks_for_some(text: str) -> None:
    at = open_page("inside-head").text_input(key="text").set_value(text).run()
    assert not at.exception
    assert not at.get("plotly_chart")
    assert any("Type a sentence" in info.value for info in at.info)


def test_a_stage_that_does_nothing_says_and_writes_so() -> None:
    at = visit(head_stage="scale", head_unscaled="true")
    assert next(header.value for header in at.subheader) == "5 of 10: not divided by √D"
    assert r"\sqrt" not in at.latex[0].value
    at = visit(head_stage="mask", head_unmasked="true")
    assert next(header.value for header in at.subheader) == "6 of 10: nothing is masked"
    assert r"\infty" not in at.latex[0].value


def test_one_head_is_not_spoken_of_as_several(tmp_path, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer) -> None:
    checkpoint.save(tmp_path / "one", random_gpt(n_layers=1, n_heads=1, norm_order="pre"), tiny_tokenizer)
    one = checkpoint.load(tmp_path / "one")
    monkeypatch.setattr(models, "names", lambda kind="gpt": ["one"])
    monkeypatch.setattr(models, "open_model", lambda name: one)
    for stage in STAGES:
        said = texts(visit(model="one", head_stage=stage))
        assert not re.search(r"\b1 heads|[Aa]ll 1\b", said), stage
