"""The page Time-lapse: what the browser gets is what the snapshots do, and what it says back may be anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.figures.style import visible
from gptviz.ui import lapse
from gptviz.view.payload import unpack
from tests.page_helpers import fire, mounted, open_page, open_sound_page, payload, texts
from tests.recorded import STEPS, write_recording

TEXT = "My dog has fleas"
HOSTILE = "<img src=x onerror=alert(1)> **a** $b$"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    write_recording(folder)
    write_recording(folder, "unmasked", causal=False)
    return folder


@pytest.fixture(autouse=True)
def only_these(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app sees these recordings and no run."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(shelf))
    monkeypatch.setenv("GPTVIZ_RUNS", str(tmp_path / "runs"))


def visit(text: str = TEXT, **query: object) -> AppTest:
    return open_sound_page("time-lapse", text=text, **query)


def sent(at: AppTest) -> dict:
    """The blob as the browser reads it."""
    (element,) = mounted(at, "gptviz_lapse_store")
    header, rest = unpack(element.proto.bytes)
    numbers = np.frombuffer(rest, "<f4")
    ends = np.cumsum([count for _, count in header["parts"]])
    assert ends[-1] == len(numbers)
    for (name, count), end in zip(header["parts"], ends, strict=True):
        header[name] = numbers[end - count : end]
    return header


def told(at: AppTest) -> dict:
    return payload(mounted(at, "gptviz_lapse")[0])


def say(at: AppTest, event: str, value: object) -> AppTest:
    return fire(at, mounted(at, "gptviz_lapse")[0], event, value)


@pytest.mark.parametrize("name", ["seen", "unmasked"])
def test_the_browser_gets_what_every_snapshot_does_alone(name: str) -> None:
    at = visit(recording=name)
    got, causal = sent(at), name == "seen"
    assert (got["steps"], got["causal"]) == (list(STEPS), causal)
    t = got["T"]
    cells = got["weights"].reshape(len(STEPS), 2, 3, -1)
    for n, step in enumerate(STEPS):
        trace = gptviz.trace(gptviz.load(f"{name}@{step}"), TEXT, causal=causal)
        assert got["tokens"] == list(map(visible, trace.tokens))
        expected = trace.weights[..., np.tri(t, dtype=bool)] if causal else trace.weights.reshape(2, 3, -1)
        np.testing.assert_allclose(cells[n], expected, rtol=1e-5)
        logits = trace.logits[-1].astype(np.float64)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        np.testing.assert_allclose(got["probabilities"][10 * n : 10 * n + 10], np.sort(p)[::-1][:10], rtol=1e-5)
        names = [visible(gptviz.load(name).tokenizer.token_text(int(i))) for i in np.argsort(-p)[:10]]
        assert got["next"][n] == names
    assert ("trained without the mask" in texts(at)) is not causal


def test_losses_and_tables() -> None:
    at = visit()
    got = sent(at)
    assert got["train_steps"].tolist() == list(range(1, 41))
    np.testing.assert_allclose(got["train"], [round(6 - s / 10, 3) for s in range(1, 41)], rtol=1e-6)
    assert got["valid_steps"].tolist() == [10, 20, 30, 40]
    scores, tokens = (frame.value for frame in at.dataframe)
    assert len(scores) == len(STEPS) * 6
    np.testing.assert_allclose(scores["induction"], got["induction"], rtol=1e-6)
    np.testing.assert_allclose(scores["previous token"], got["previous"], rtol=1e-6)
    assert len(tokens) == len(STEPS) * 10
    np.testing.assert_allclose(tokens["probability"], got["probabilities"], rtol=1e-6)


def test_the_step_of_a_link_is_shown_and_others_are_forgotten() -> None:
    assert told(visit())["step"] == 40
    assert told(visit(lapse_step=0))["step"] == 0
    assert told(visit(lapse_step=10))["step"] == 10
    for wrong in ("11", "-1", "x", "../10", "1e1"):
        assert told(visit(lapse_step=wrong))["step"] == 40, wrong


def test_what_the_browser_says_is_kept_if_it_is_a_step() -> None:
    at = visit()
    ours = told(at)["id"]
    for value in (None, [], {"id": ours}, {"id": ours, "step": 11}, {"id": ours, "step": True}, {"id": "x", "step": 3},
                  {"id": ours, "step": "3"}, {"id": ours, "step": [3]}):  # fmt: skip
        at = say(at, "step", value)
        assert not at.exception
        assert told(at)["step"] == 40, value
    at = say(at, "step", {"id": ours, "step": 0})
    assert (told(at)["step"], at.session_state["kept"]["lapse_step"]) == (0, "0")
    at = say(at, "step", {"id": ours, "step": 40})
    assert (told(at)["step"], at.session_state["kept"]["lapse_step"]) == (40, "")


def test_a_step_opens_in_the_attention_lesson() -> None:
    at = visit()
    at = say(at, "open", {"id": told(at)["id"], "step": 10})
    assert not at.exception
    assert at.session_state["model"] == "seen@10"
    lesson = open_sound_page("attention", model="seen@10", text=TEXT)
    assert lesson.selectbox(key="model").value == "seen@10"


@pytest.mark.parametrize("name", ["seen@11", "../seen@10", "seen/../seen@10", "seen@", "@10", "seen@10.safetensors"])
def test_a_name_that_is_no_recorded_step_is_refused(name: str) -> None:
    at = open_page("attention", model=name, text=TEXT)
    assert not at.exception
    assert at.selectbox(key="model").value == "seen"
    assert "There is no model" in texts(at)


def test_tokens_are_text_and_only_the_last_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    got = sent(visit(HOSTILE))
    assert "".join(got["tokens"]) == visible(HOSTILE)
    monkeypatch.setattr(lapse, "MOST_TOKENS", 4)
    lapse.moments_of.clear()
    at = visit("My dog has fleas and a cat")
    assert (sent(at)["T"], len(sent(at)["tokens"])) == (4, 4)
    assert "last 4 of" in texts(at)
    lapse.moments_of.clear()
    assert "do not fit the context" in texts(visit("the dog " * 60))


def test_without_a_recording_the_page_says_how_to_get_one(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shelf / "seen", tmp_path / "bare" / "seen", ignore=shutil.ignore_patterns("snapshots"))
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path / "bare"))
    at = open_sound_page("time-lapse")
    assert "Nothing has been recorded" in texts(at)
    assert not mounted(at, "gptviz_lapse")


def test_another_name_is_told_and_an_empty_box_asks() -> None:
    at = open_page("time-lapse", recording="../seen", text=TEXT)
    assert "There is no recording" in texts(at)
    assert at.selectbox(key="recording_shown").value == "seen"
    assert "Type a sentence" in texts(open_sound_page("time-lapse", text=" "))


@pytest.mark.parametrize("damage", ["snapshot", "[training", "training = 5", "[training]\ncausal = 'no'", "losses"])
def test_a_damaged_recording_is_said_and_no_traceback(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_recording(tmp_path / "damaged")
    if damage == "snapshot":
        (folder / "snapshots" / "000003.safetensors").write_bytes(b"nothing")
    elif "training" in damage:
        (folder / "recipe.toml").write_text(damage, encoding="utf-8")
    else:
        (folder / "training.csv").write_text("step,loss\n1,x\n", encoding="utf-8")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path / "damaged"))
    at = open_page("time-lapse", text=TEXT)
    assert not at.exception
    assert "cannot be replayed" in texts(at)


def test_a_second_look_reads_no_snapshot_again(monkeypatch: pytest.MonkeyPatch) -> None:
    visit()
    monkeypatch.setattr("gptviz.runs.recording.Recording.load", None)  # would fail
    visit("the cat said")


def test_snapshots_are_kept_within_bounds(shelf: Path) -> None:
    from gptviz.runs.recording import find_recording

    recording = find_recording("seen")
    size = 4 * recording.load(0).gpt.count_parameters()
    some = lapse.Snapshots(limit=2 * size)
    first = [some.get(recording, step) for step in STEPS]
    assert len(some.models) == 2
    assert some.get(recording, STEPS[-1]) is first[-1]
    assert some.get(recording, STEPS[0]) is not first[0]


def test_a_run_of_the_app_is_called_as_its_owner_called_it() -> None:
    assert lapse.name_of_recording("run:my first") == "my first (trained here)"
    assert lapse.name_of_recording("gpt-small") == "gpt-small"


def test_a_model_of_one_layer_is_promised_no_induction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recording(tmp_path / "shelf", n_layers=1)
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path / "shelf"))
    assert "Induction takes two layers" in texts(visit())
