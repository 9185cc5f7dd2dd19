"""The page on why the mask exists, as a visitor uses it, with a real pair of tiny runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.analysis import twins
from gptviz.runs import begin
from gptviz.runs.recording import Losses, find_recording
from gptviz.runs.run import find_run
from gptviz.runs.twins import alike
from gptviz.ui import twins as pairs
from gptviz.ui import why_mask as parts
from tests.app_runs import finished_run, without_process
from tests.page_helpers import figure, fire, mounted, numbers, open_page, open_sound_page, payload, texts

SENTENCE = "One morning Mina went to the mill"
HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) \u202e\x07 <b>"
STEPS = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a few steps that differ in the mask alone."""
    root = tmp_path_factory.mktemp("runs")
    finished_run(root, name="one", steps=STEPS)
    finished_run(root, name="two", steps=STEPS, causal=False)
    return root


@pytest.fixture(autouse=True)
def app_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app sees them."""
    monkeypatch.setenv("GPTVIZ_RUNS", str(runs))


def visit(**query: object) -> AppTest:
    """The page about that pair."""
    return open_sound_page("why-mask", **({"pair": "run:one and run:two", "text": SENTENCE} | query))


def models(step: int = STEPS) -> tuple[gptviz.LanguageModel, gptviz.LanguageModel]:
    """With the mask, and without."""
    return find_recording("run:one").load(step), find_recording("run:two").load(step)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """By PyTorch, float64."""
    return torch.from_numpy(logits.copy()).double().log_softmax(-1).numpy()


def test_the_losses_are_those_of_both_logs() -> None:
    drawn = figure(visit(), "twins_loss")["data"]
    for name, (train, valid) in {"run:one": drawn[:2], "run:two": drawn[2:4]}.items():
        losses = find_recording(name).losses()
        np.testing.assert_allclose(numbers(train["y"]), losses.train)
        np.testing.assert_allclose(numbers(train["x"]), losses.steps)
        np.testing.assert_allclose(numbers(valid["y"]), losses.valid)
    assert f"{np.mean(find_recording('run:two').losses().train):.2g} nats" in texts(visit())


@pytest.mark.parametrize(("unmasked", "said"), [(0.04, "far better"), (1.9, "has not found the answer")])
def test_what_is_said_of_the_losses_depends_on_them(unmasked: float, said: str) -> None:
    with_mask, without = (Losses([1, 2], [loss, loss], [2], [loss]) for loss in (2.0, unmasked))
    words = parts.say_losses(with_mask, without, 32)
    assert said in words and f"**{unmasked:.2g} nats** per token without" in words and "**2.00 nats** with" in words
    assert "held-out" not in parts.say_losses(with_mask._replace(valid_steps=[], valid=[]), without, 32)


@pytest.mark.parametrize("step", [0, STEPS])
def test_each_is_read_as_it_was_trained(step: int) -> None:
    at = visit(pair_step=step, head=1)
    for key, model, causal in zip(("twins_head_on", "twins_head_off"), models(step), (True, False), strict=True):
        weights = gptviz.trace(model, SENTENCE, causal=causal).weights
        cells = numbers(next(trace["z"] for trace in figure(at, key)["data"] if "coloraxis" in trace))
        np.testing.assert_allclose(np.nan_to_num(cells), weights[0, 1], atol=1e-6)
        share = np.mean([weights[0, 1, i, i + 1] for i in range(weights.shape[-1] - 1)])
        assert f"head 0.1: {share:.1%} on the next token" in texts(at)


def test_a_head_picked_in_one_wall_is_shown_in_both() -> None:
    at = visit()
    walls = mounted(at, "gptviz_head_wall")
    assert [payload(wall)["chosen"] for wall in walls] == [[0, 0], [0, 0]]
    fire(at, walls[1], "pick", [0, 1])
    assert [payload(wall)["chosen"] for wall in mounted(at, "gptviz_head_wall")] == [[0, 1], [0, 1]]
    assert texts(at).count("head 0.1: ") == 2 and at.session_state["head"] == "1"
    fire(at, mounted(at, "gptviz_head_wall")[0], "pick", ["x", 99])
    assert not at.exception and at.session_state["head"] == "1"


def test_the_four_ways_to_ask_for_the_next_token() -> None:
    at = visit()
    with_mask, without = models()
    ids = with_mask.encode(SENTENCE)[0]
    came = np.arange(len(ids) - 1), ids[1:]
    traced = [gptviz.trace(model, SENTENCE, causal=c) for model, c in ((with_mask, True), (without, False))]
    seen, in_view = (log_softmax(trace.logits[:-1])[came] for trace in traced)
    what_if = gptviz.WhatIf(causal=False)
    unseen = [log_softmax(without.gpt.trace(ids[:t], what_if).logits[-1])[ids[t]] for t in range(1, len(ids))]
    put_on = log_softmax(gptviz.trace(without, SENTENCE).logits[:-1])[came]
    for bars, expected in zip(figure(at, "twins_next")["data"], (seen, in_view, unseen, put_on), strict=True):
        np.testing.assert_allclose(numbers(bars["y"]), np.exp(expected), atol=1e-5)
    said = texts(at)
    assert f"**{-np.mean(seen):.2f} nats** with the mask" in said and f"has **{-np.mean(unseen):.2f} nats**" in said
    assert f"it has **{-put_on.mean():.2f} nats**" in said


def test_after_the_last_token_neither_has_an_answer_in_view() -> None:
    at = visit()
    for key, model, causal in zip(("twins_last_on", "twins_last_off"), models(), (True, False), strict=True):
        p = np.exp(log_softmax(gptviz.trace(model, SENTENCE, causal=causal).logits[-1]))
        shown = numbers(figure(at, key)["data"][0]["x"])
        np.testing.assert_allclose(shown, [*np.sort(p)[::-1][:5], 1 - np.sort(p)[-5:].sum()], atol=1e-6)
        assert f"entropy {-(p * np.log2(p)).sum():.2f} bits" in texts(at)


def test_both_write_with_the_chosen_seed_and_temperature() -> None:
    at = visit(pair_temperature=0.5, pair_seed=3)
    strips = [payload(strip) for strip in mounted(at, "gptviz_token_strip")]
    judge = models()[0]
    for strip, model, causal in zip(strips, models(), (True, False), strict=True):
        said = gptviz.generate(model, SENTENCE, 30, temperature=0.5, seed=3, causal=causal)
        prompt = model.encode(SENTENCE)[0]
        assert [token.replace("·", " ") for token in strip["tokens"][len(prompt) :]] == list(said.tokens)
        window = [*prompt, *said.ids][-32:]
        logs = log_softmax(judge.gpt.trace(window).logits)
        last = logs[len(window) - 2, window[-1]]
        assert strip["labels"][-1].startswith(f"log-probability {last:.3f}")


@pytest.mark.parametrize("text", ["a", HOSTILE, "😀 é שלום", "dog " * 200])
def test_any_text_leaves_the_page_standing(text: str) -> None:
    at = visit(text=text)
    drawn = json.dumps([json.loads(chart.proto.spec) for chart in at.get("plotly_chart")], ensure_ascii=False)
    assert "<img" not in texts(at) + drawn and "\u202e" not in texts(at) + drawn
    assert any(parts.ONE_TOKEN in info.value for info in at.info) == (text == "a")
    assert any("cut at the left" in warning.value for warning in at.warning) == text.startswith(("<img", "dog"))


@pytest.mark.parametrize(
    "query", [{"pair": "../../etc"}, {"pair_step": "7.5"}, {"pair_seed": "x", "pair_temperature": 99}, {"layer": 9}]
)
def test_nonsense_in_the_link_leaves_the_page_standing(query: dict) -> None:
    assert visit(**query).get("plotly_chart")


def test_without_text_the_page_asks_for_some() -> None:
    at = visit().text_input(key="text").set_value("").run()
    assert not at.exception and any("Type a sentence" in info.value for info in at.info)


def test_where_there_is_no_pair_both_can_be_trained_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTVIZ_RUNS", str(tmp_path / "none"))
    monkeypatch.setattr("gptviz.ui.twins.all_twins", list)
    without_process(monkeypatch)
    at = open_sound_page("why-mask")
    assert any("There is no pair" in info.value for info in at.info)
    assert at.button(key="twins_begin_off").disabled
    at.button(key="twins_begin_on").click().run()
    assert not at.exception and at.button(key="twins_begin_on").disabled  # while it trains
    first = find_run("mask on 1")
    assert first.recipe["training"]["causal"] and first.steps == pairs.LIVE_STEPS
    first.write_status(begin.Status(begin.State.FINISHED))
    open_page("why-mask").button(key="twins_begin_off").click().run()
    second = find_run("mask off 1")
    assert not second.recipe["training"]["causal"]
    assert alike(first, first.recipe, second, second.recipe)
    second.write_status(begin.Status(begin.State.FINISHED))
    assert pairs.what_is_next() == (2, None)


def test_the_head_that_the_words_name_is_shown_until_another_is_chosen() -> None:
    _, unmasked = models()
    share = twins.next_share(gptviz.trace(unmasked, SENTENCE, causal=False).weights)
    layer, head = twins.largest(share)
    assert f"head {layer}.{head}: {share[layer, head]:.1%} on the next token" in texts(visit())
    assert "head 0.1: " in texts(visit(layer=0, head=1))
