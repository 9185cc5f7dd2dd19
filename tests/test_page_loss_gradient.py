"""The lesson on loss and gradient, as a visitor uses it: through the router, with the shipped checkpoint."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import checkpoint, folder
from gptviz.analysis import gradients
from gptviz.ui import gradients as parts
from tests.matrices import matrices
from tests.page_helpers import figure, numbers, open_page, texts
from tests.tiny import random_gpt

SENTENCE = "Tom and Lily went to the park"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"


@pytest.fixture(scope="module")
def model() -> gptviz.LanguageModel:
    """The model that the page opens."""
    return gptviz.load("gpt-stories")


def visit(text: str = SENTENCE, **query: object) -> AppTest:
    """The page, by a link."""
    at = open_page("loss-gradient", text=text, **query)
    assert not at.exception
    return at


def metrics(at: AppTest) -> dict[str, float]:
    """What is shown large, by its label."""
    return {m.label: float(m.value.split()[0].replace("−", "-").replace(",", "")) for m in at.metric}


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The table that has a column of this name."""
    return next(element.value for element in at.dataframe if column in element.value.columns)


def learned(model: gptviz.LanguageModel, text: str) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of a copy, by PyTorch alone."""
    copied = copy.deepcopy(model.gpt).requires_grad_()
    batch = torch.tensor([model.encode(text)[0]])
    loss = copied.loss(batch[:, :-1], batch[:, 1:])
    return loss.item(), list(torch.autograd.grad(loss, list(copied.parameters())))


def test_every_target_has_its_probability_and_the_loss_is_the_models(model: gptviz.LanguageModel) -> None:
    at = visit()
    frame = table(at, "target id")
    ids = model.encode(SENTENCE)[0]
    p = torch.from_numpy(model.gpt.trace(ids).logits.astype(np.float64)).softmax(-1).numpy()
    own = p[np.arange(len(ids) - 1), ids[1:]]
    assert frame["target id"].tolist() == ids[1:]
    np.testing.assert_allclose(frame["probability"], own, rtol=1e-9)
    np.testing.assert_allclose(numbers(figure(at, "loss_bars")["data"][0]["y"]), -np.log(own), rtol=1e-9)
    shown = metrics(at)
    assert shown["Loss: mean cross-entropy"] == pytest.approx(-np.log(own).mean(), abs=1e-4)
    assert shown["The same in bits, / ln 2"] == pytest.approx(-np.log2(own).mean(), abs=1e-4)
    assert shown["Perplexity, exp(loss)"] == pytest.approx(math.exp(-np.log(own).mean()), abs=0.01)
    assert shown["Loss before"] == pytest.approx(learned(model, SENTENCE)[0], abs=1e-4)


def test_the_targets_stand_under_their_inputs() -> None:
    html = next(element.proto.body for element in visit().get("html") if "gptviz-targets" in element.proto.body)
    rows = [row.split("<td")[1:] for row in html.split("<tr>")[2:4]]
    inputs, targets = ([cell.split(">")[1].split("<")[0] for cell in row] for row in rows)
    assert inputs == ["Tom", "·and", "·Lily", "·went", "·to", "·the"]
    assert targets == [*inputs[1:], "·park"]


def test_the_gradient_on_the_logits_of_the_chosen_position(model: gptviz.LanguageModel) -> None:
    at, ids = visit(loss_at=2), model.encode(SENTENCE)[0]
    logits = torch.from_numpy(model.gpt.trace(ids).logits.astype(np.float64))[2].requires_grad_()
    loss = torch.nn.functional.cross_entropy(logits[None], torch.tensor([ids[3]]))
    (expected,) = torch.autograd.grad(loss, logits)
    bars = numbers(figure(at, "loss_logits")["data"][0]["x"])
    np.testing.assert_allclose(bars, sorted(expected.tolist(), key=abs, reverse=True)[: len(bars)], rtol=1e-9)


def test_norms_are_those_of_autograd_on_a_copy(model: gptviz.LanguageModel) -> None:
    at = visit(layer=2, head=1)
    found = learned(model, SENTENCE)[1]
    whole = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in found))
    assert f"norm **{whole:.4g}**" in texts(at)
    frame = table(at, "gradient norm")
    parts_of_it = frame["gradient norm"][~frame.index.str.startswith("head")]
    assert math.sqrt((parts_of_it**2).sum()) == pytest.approx(whole, rel=1e-5)
    by_head = [name for name in frame.index if name.startswith("head 2.") and name.endswith("value")]
    together = math.sqrt((frame["gradient norm"][by_head] ** 2).sum())
    assert frame["gradient norm"]["layer 2: value"] == pytest.approx(together, rel=1e-6)
    maps = figure(at, "loss_heads_value")["data"][0]
    assert numbers(maps["customdata"])[2, 1] == pytest.approx(frame["gradient norm"]["head 2.1: value"])


def test_norms_relative_to_the_weights() -> None:
    at = visit(loss_norms="Gradient / weights")
    frame = table(at, "gradient norm")
    cells = numbers(figure(at, "loss_groups")["data"][0]["customdata"])
    value = frame.loc["layer 1: value"]
    assert cells[2, 1] == pytest.approx(value["gradient norm"] / value["weight norm"])
    assert cells[2, 1] == pytest.approx(value["gradient / weights"])


@pytest.mark.parametrize("on", parts.SHOWN)
def test_the_gradient_on_attention_stands_beside_the_weights(model: gptviz.LanguageModel, on: str) -> None:
    at = visit(layer=3, head=2, loss_on=parts.SHOWN[on])
    found = gradients.backward(model.gpt, model.encode(SENTENCE)[0])
    weights, gradient = found.weights[3, 2], found.attention[3, 2]
    expected = {
        "weights": gradient,
        "kept": gradients.row_kept(gradient, weights),
        "scores": gradients.score_gradient(gradient, weights),
    }[on]
    low = np.tril_indices(len(weights))
    for key, right in (("loss_weights", weights), ("loss_gradient", expected)):
        cells = matrices(at)[key]["values"]
        np.testing.assert_allclose(cells[low], right[low], atol=1e-6)
        assert np.isneginf(cells[np.triu_indices(len(weights), 1)]).all()


@pytest.mark.parametrize("optimizer", parts.OPTIMIZERS)
def test_a_step_is_measured_and_predicted_and_the_model_stays_as_it_is(
    model: gptviz.LanguageModel, optimizer: str
) -> None:
    before = {name: value.detach().clone() for name, value in model.gpt.named_parameters()}
    at = visit(loss_optimizer=parts.OPTIMIZERS[optimizer], loss_rate="0.0001")
    shown = metrics(at)
    loss, found = learned(model, SENTENCE)
    if optimizer == "sgd":
        slope = sum(float(gradient.square().sum()) for gradient in found)
        assert shown["Change, first order"] == pytest.approx(-1e-4 * slope, abs=1e-4)
    assert shown["Loss after"] - shown["Loss before"] == pytest.approx(shown["Change, measured"], abs=2e-4)
    assert shown["Change, measured"] < 0
    assert shown["Loss before"] == pytest.approx(loss, abs=1e-4)
    bars = figure(at, "loss_after")["data"]
    assert numbers(bars[2]["y"]).mean() == pytest.approx(shown["Loss after"], abs=1e-4)
    assert all(torch.equal(before[name], value) for name, value in model.gpt.named_parameters())
    assert not any(value.requires_grad for value in model.gpt.parameters())


def test_the_curve_comes_when_it_is_asked_for_and_says_where_it_overshoots() -> None:
    at = visit()
    assert not [c for c in at.get("plotly_chart") if c.proto.id.endswith("-loss_rates")]
    at.toggle(key="loss_curve_shown").set_value(True).run()
    assert not at.exception
    losses = numbers(figure(at, "loss_rates")["data"][2]["y"])
    assert len(losses) == len(parts.RATES)
    shown = metrics(at)
    assert losses[parts.RATES.index("0.001")] == pytest.approx(shown["Loss after"], abs=1e-4)
    over = parts.RATES[np.flatnonzero(losses > shown["Loss before"])[0]]
    assert f"from **{over}** on it is worse" in texts(at)
    assert f"most at **{parts.RATES[int(losses.argmin())]}**" in texts(at)


def test_one_token_has_no_target_and_two_have_one() -> None:
    at = visit("a")
    assert "One token has no target" in texts(at)
    assert not at.get("plotly_chart")
    assert len(table(visit("the the"), "target id")) == 1


def test_an_empty_sentence_says_what_to_do() -> None:
    assert "Type a sentence" in texts(visit(" "))


def test_a_full_context_keeps_its_cells_visible(model: gptviz.LanguageModel) -> None:
    at = visit("the dog and the cat " * 100)
    context = model.gpt.config.context
    shown = matrices(at)["loss_gradient"]
    assert shown["values"].shape == (context, context)
    assert shown["size"] >= 12


def test_nonsense_in_the_link_leaves_the_defaults() -> None:
    at = visit(
        loss_at="99", loss_norms="?", loss_on="x", loss_optimizer="Lion", loss_rate="7", loss_curve="maybe", layer="77"
    )
    assert at.select_slider(key="loss_rate_shown").value == "0.001"
    assert not at.toggle(key="loss_curve_shown").value


def test_hostile_tokens_are_literal_everywhere() -> None:
    at = visit(HOSTILE, loss_curve="true")
    for group in (at.markdown, at.caption, at.info):
        for element in group:
            assert "<img" not in element.value and "**b**" not in element.value
    for chart in at.get("plotly_chart"):
        assert "<img" not in chart.proto.spec
    assert "<img" not in "".join(element.proto.body for element in at.get("html"))


@pytest.fixture
def small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer) -> list[str]:
    """Models of the other kinds, beside the shipped one."""
    kinds = {
        "untied": {},
        "pre": {"norm_order": "pre", "activation": "gelu"},
        "pre-tied": {"norm_order": "pre", "activation": "gelu_tanh", "tied": True},
    }
    for seed, (name, shape) in enumerate(kinds.items()):
        checkpoint.save(tmp_path / name, random_gpt(seed, n_layers=2, **shape), tiny_tokenizer)
    monkeypatch.setenv(folder.ENVIRONMENT, str(tmp_path))
    return list(kinds)


def test_every_kind_of_model_has_its_norms(small_models: list[str]) -> None:
    for name in small_models:
        at = visit(model=name, loss_rate="0.00003")
        outside = {group for group in table(at, "gradient norm").index if not group.startswith(("layer", "head"))}
        tables = {"token embedding", "unembedding"} if name != "pre-tied" else {"token embedding = unembedding"}
        norm = {"final norm"} if name != "untied" else set()
        assert outside == tables | norm | {"position embedding"}
        assert metrics(at)["Change, measured"] == pytest.approx(metrics(at)["Change, first order"], rel=0.5)


def test_a_large_model_waits_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "UNASKED", 0)
    at = visit()
    assert "takes a while" in texts(at)
    assert not [c for c in at.get("plotly_chart") if c.proto.id.endswith("-loss_groups")]
    at.toggle(key="loss_run_shown").set_value(True).run()
    assert figure(at, "loss_groups")


def test_what_is_too_large_to_keep_is_found_for_the_chosen_layer_alone(
    model: gptviz.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Lily went to the park and Tom was there"
    monkeypatch.setattr(sys.modules["gptviz.trace"], "keeps_squares", lambda *_: False)
    at = visit(text, layer=2)
    found = gradients.backward(model.gpt, model.encode(text)[0])
    low = np.tril_indices(len(found.weights[2, 0]))
    cells = matrices(at)["loss_gradient"]["values"]
    np.testing.assert_allclose(cells[low], found.attention[2, 0][low], rtol=1e-4, atol=1e-5)  # of another kernel
