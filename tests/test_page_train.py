"""The page Train: what is refused stays typed, what is shown is what the run wrote, and every button does its work."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.analysis.progress import smoothed
from gptviz.checkpoint import load_folder
from gptviz.figures.thumbnail import palette
from gptviz.folder import snapshot_file, snapshot_steps
from gptviz.runs import begin, run
from gptviz.runs.run import LIVE, STOP, Run, State, Status
from gptviz.ui import training_live as live
from tests.app_runs import TEXT, choice, finished_run, without_process
from tests.page_helpers import fire, mounted, open_page, open_sound_page, payload, texts

SENTENCE = "One morning Mina went to the mill"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has finished. Never change it."""
    return finished_run(tmp_path_factory.mktemp("done"), steps=40).folder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs; one shipped model, called tiny; runs that are begun have no process."""
    shutil.copytree(tiny_folder, tmp_path / "shipped" / "tiny")
    for name in ("CHECKPOINTS", "RUNS", "CORPORA"):
        folder = {"CHECKPOINTS": "shipped", "RUNS": "runs", "CORPORA": "corpora"}[name]
        monkeypatch.setenv(f"GPTVIZ_{name}", str(tmp_path / folder))
    without_process(monkeypatch)
    return tmp_path / "runs"


@pytest.fixture
def one(done: Path, root: Path) -> Run:
    """A finished run, called one."""
    shutil.copytree(done, root / "one")
    return Run(root / "one")


def press(at: AppTest, label: str) -> AppTest:
    """Click a button by what is written on it."""
    (button,) = [each for each in at.button if each.label == label]
    assert not button.disabled, label
    button.click().run()
    assert not at.exception, at.exception
    return at


def labels(at: AppTest) -> list[str]:
    """What is written on the buttons that can be pressed."""
    return [button.label for button in at.button if not button.disabled]


def plain(at: AppTest) -> str:
    """All that the page says, without the signs that keep Markdown out."""
    return texts(at).replace("\\", "").replace("\u2060", "")


def lose(one: Run, state: State, message: str = "") -> None:
    """Let the run have ended in another way."""
    one.write_status(Status(state, message))


# Beginning ------------------------------------------------------------------------------------------------------------


def test_without_a_run_the_form_is_open_and_says_what_sizes_cost() -> None:
    at = open_sound_page("train")
    assert "No run yet" in plain(at)
    assert at.expander[0].proto.expanded
    size = at.radio(key="train_size")
    assert size.options == list(begin.SIZES)
    assert "26,016 parameters" in size.proto.captions[0] and "seconds" in size.proto.captions[0]


def test_a_run_begins_with_what_was_chosen_and_is_shown() -> None:
    at = open_sound_page("train")
    at.segmented_control(key="train_source").set_value("pasted").run()
    at.text_area(key="train_text").set_value(TEXT)
    at.number_input(key="train_steps").set_value(300)
    at.toggle(key="train_mask").set_value(False)
    at.text_input(key="train_name").set_value("mine")
    press(at, "Start training")
    begun = run.find_run("mine")
    training = begun.recipe["training"]
    assert (training["steps"], training["causal"], training["learning_rate"]) == (300, False, 0.004)
    assert at.selectbox(key="run_shown").value == "mine"
    assert "starting" in plain(at) and "Step 0 of 300" in at.get("progress")[0].proto.text
    assert at.text_area(key="train_text").value == TEXT
    assert not at.expander[0].proto.expanded


def test_the_next_name_is_one_that_is_free(root: Path) -> None:
    at = open_sound_page("train")
    assert at.text_input(key="train_name").value == "run 1"
    (root / "run 1").mkdir(parents=True)  # somebody else was quicker
    press(at, "Start training")
    assert run.find_run("run 2") is not None
    assert at.text_input(key="train_name").value == "run 3"


@pytest.mark.parametrize(("text", "name", "why"), [("too short", "x", "found 9"), (TEXT, "../x", "expected a name")])
def test_what_is_refused_is_said_in_a_sentence_and_stays(text: str, name: str, why: str, root: Path) -> None:
    at = open_page("train")
    at.segmented_control(key="train_source").set_value("pasted").run()
    at.text_area(key="train_text").set_value(text)
    at.text_input(key="train_name").set_value(name)
    press(at, "Start training")
    said = at.error[0].value.replace("\\", "").replace("\u2060", "").lower()
    assert why in said and str(root) not in said
    assert at.text_area(key="train_text").value == text
    assert at.text_input(key="train_name").value == name
    assert run.all_runs() == []


def test_a_file_has_to_be_a_text() -> None:
    at = open_page("train")
    at.segmented_control(key="train_source").set_value("file").run()
    press(at, "Start training")
    assert "found none" in at.error[0].value
    at.file_uploader(key="train_file").upload("a.txt", b"\xff\xfe\x00binary" * 500, "text/plain")
    press(at, "Start training")
    assert "UTF-8" in at.error[0].value
    at.file_uploader(key="train_file").upload("b.txt", b"\xef\xbb\xbf" + TEXT.encode(), "text/plain")
    press(at, "Start training")
    begun = run.find_run("run 1")
    first = json.loads((begun.folder / "data" / "text.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert TEXT.startswith(first["text"])


def test_without_a_corpus_the_page_says_how_to_make_one() -> None:
    at = open_page("train")
    at.segmented_control(key="train_source").set_value("corpus").run()
    assert "no prepared corpus" in plain(at)
    assert any("python -m gptviz prepare" in code.value for code in at.code)
    press(at, "Start training")
    assert "Expected a prepared corpus" in at.error[0].value


def test_one_run_trains_at_a_time_and_the_other_one_is_named(one: Run, root: Path) -> None:
    begin.begin(choice("busy"))
    at = open_sound_page("train", run="one")
    assert "busy" in plain(at) and "one run trains at a time" in plain(at)
    assert "Start training" not in labels(at)
    press(at, "Watch it")
    assert at.selectbox(key="run_shown").value == "busy"
    assert "Watch it" not in labels(at)


# Watching -------------------------------------------------------------------------------------------------------------


def test_the_losses_shown_are_those_of_the_log(one: Run) -> None:
    at = open_sound_page("train")
    records = [json.loads(row) for row in (one.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = payload(mounted(at, "gptviz_curve")[0])
    assert curve["steps"] == list(range(1, 41))
    assert curve["train"] == pytest.approx([row["loss"] for row in records], abs=1e-5)
    assert curve["smooth"] == pytest.approx(smoothed(curve["train"]), abs=1e-4)
    held = [(row["step"], row["valid_loss"]) for row in records if row["valid_loss"] is not None]
    assert curve["valid_steps"] == [step for step, _ in held]
    assert curve["valid"] == pytest.approx([loss for _, loss in held], abs=1e-5)
    assert curve["guess"] == pytest.approx(math.log(one.recipe["model"]["vocab_size"]))
    assert f"{held[-1][1]:.3f}" in plain(at)
    assert "Step 40 of 40" in at.get("progress")[0].proto.text
    assert "finished" in plain(at)


def test_the_wall_is_the_attention_of_the_sentence_under_the_runs_own_model(one: Run) -> None:
    at = open_sound_page("train", text=SENTENCE, layer=0, head=1)
    trace = gptviz.trace(gptviz.load("run:one"), SENTENCE)
    wall = payload(mounted(at, "gptviz_head_wall")[0])
    assert wall["chosen"] == [0, 1]
    past = np.tri(len(trace.ids), dtype=bool)
    for head, png in enumerate(wall["rows"][0]):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"))
        assert (pixels[past, :3] == palette()[np.round(trace.weights[0, head] * 254).astype(int)][past]).all()
        assert (pixels[~past, 3] == 0).all()
    assert "After step 40" in plain(at)
    fire(at, mounted(at, "gptviz_head_wall")[0], "pick", [0, 0])
    assert payload(mounted(at, "gptviz_head_wall")[0])["chosen"] == [0, 0]


def test_what_is_drawn_is_checked_on_a_click(one: Run) -> None:
    at = press(open_sound_page("train", text=SENTENCE), "Check these numbers")
    assert "Forward pass checked, after step 40: All 19 stages agree" in plain(at)
    at.text_input(key="text").set_value("Another mill").run()
    assert "Forward pass checked" not in plain(at)


def test_a_wrong_number_that_is_drawn_is_found(one: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = live.watched

    def off(*given: object) -> live.Watched:
        seen = right(*given)
        return seen._replace(weights=seen.weights * np.float32(1.01))

    monkeypatch.setattr(live, "watched", off)
    at = press(open_sound_page("train", text=SENTENCE), "Check these numbers")
    assert "A number is wrong, after step 40: **attention·as·drawn:·weight" in plain(at)


def test_weights_that_were_replaced_are_not_called_wrong(one: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_sound_page("train", text=SENTENCE)
    monkeypatch.setattr(live, "stamped", lambda folder, file, step: live.Weights(folder, file, step, 1))
    press(at, "Check these numbers")
    assert "newer ones took the place of these" in plain(at)


def test_every_sample_is_what_its_snapshot_writes(one: Run) -> None:
    at = open_sound_page("train", text=SENTENCE)
    steps = snapshot_steps(one.snapshots)
    shown = [each.value for each in at.text]
    assert len(shown) == live.SAMPLES
    for step, text in zip(reversed(steps), shown, strict=False):
        model = load_folder(one.snapshots, None, snapshot_file(step))
        expected = gptviz.generate(model, SENTENCE, live.NEW_TOKENS, temperature=0.8, seed=0).text
        assert text.removeprefix("…").replace("⏎", "\n").replace("␍", "\r") == expected
    at.toggle(key="train_all_shown").set_value(True).run()
    assert len(at.text) == len(steps)


def test_without_a_mask_the_page_says_so_and_shows_the_future(root: Path) -> None:
    finished_run(root, name="open", steps=5, causal=False)
    at = open_sound_page("train", text=SENTENCE)
    assert "without the mask" in plain(at) and "mask on" in plain(at)
    png = payload(mounted(at, "gptviz_head_wall")[0])["rows"][0][0]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"))
    assert (pixels[..., 3] == 255).all()


def live_weights(one: Run, *steps: int) -> None:
    """Let the run train, with the weights of these snapshots as live ones."""
    shutil.copytree(one.snapshots, one.folder / LIVE, dirs_exist_ok=True)
    for step in snapshot_steps(one.folder / LIVE):
        if step not in steps:
            (one.folder / LIVE / snapshot_file(step)).unlink()


def test_a_run_at_work_shows_its_newest_weights_also_if_they_vanish(one: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    live_weights(one, 0, 1, 2)
    lose(one, State.STARTING)
    assert "After step 2" in plain(open_sound_page("train"))
    newest, gone = live.newest, live.Weights(one.folder / LIVE, snapshot_file(3), 3, 1)
    looks = []

    def listed(*given: object) -> list[live.Weights]:
        looks.append(1)
        return [gone] if len(looks) == 1 else newest(*given)

    monkeypatch.setattr(live, "newest", listed)
    assert "After step 2" in plain(open_sound_page("train"))
    monkeypatch.setattr(live, "newest", lambda *given: [gone])
    assert "No weights yet" in plain(open_sound_page("train"))


def test_before_the_first_step_there_is_nothing_to_see_and_that_is_said() -> None:
    begin.begin(choice())
    at = open_sound_page("train")
    said = plain(at)
    assert "No step has been taken" in said and "No weights yet" in said and "No snapshot yet" in said
    assert labels(at) == ["Stop training"]


def test_an_empty_sentence_gets_a_word_and_the_losses_stay(one: Run) -> None:
    at = open_sound_page("train", text=" ")
    assert "Type a sentence" in plain(at)
    assert mounted(at, "gptviz_curve") and not mounted(at, "gptviz_head_wall")


@pytest.mark.parametrize("name", ["nobody", "../one", "<img src=x onerror=alert(1)>", "$x$ **b**"])
def test_a_run_that_is_not_there_is_named_and_another_one_shown(one: Run, name: str) -> None:
    at = open_sound_page("train", run=name)
    assert "There is no run called" in at.warning[0].value
    assert at.selectbox(key="run_shown").value == "one"


# How it ended ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words", "button"),
    [
        (State.STOPPED, "stopped", "Continue"),
        (State.INTERRUPTED, "from the last saved state", "Continue"),
        (State.FAILED, "the disk is full", "Continue"),
        (State.DIVERGED, "no longer a number", "Open in the attention lesson"),
    ],
)
def test_every_ending_is_explained(one: Run, state: State, words: str, button: str) -> None:
    lose(one, state, "the disk is full" if state is State.FAILED else "")
    at = open_page("train")
    assert not at.exception
    assert words in plain(at).replace("The disk", "the disk")
    assert button in labels(at)
    assert ("Continue" in labels(at)) == (state is not State.DIVERGED)


def test_stop_asks_and_continue_begins_again(one: Run) -> None:
    lose(one, State.STARTING)
    at = open_sound_page("train")
    press(at, "Stop training")
    assert (one.folder / STOP).exists()
    assert "stopping" in plain(at) and "Stop training" not in labels(at)
    (one.folder / STOP).unlink()
    lose(one, State.STOPPED, "somebody stopped it")
    press(at.run(), "Continue")
    assert one.status().state is State.STARTING


def test_a_refusal_is_said_and_nothing_breaks(one: Run) -> None:
    lose(one, State.STOPPED)
    at = open_sound_page("train")
    begin.begin(choice("busy"))
    press(at, "Continue")
    assert "busy training" in at.error[0].value.replace("\\", "").replace("\u2060", "")
    assert one.status().state is State.STOPPED


# Buttons --------------------------------------------------------------------------------------------------------------


def test_rename_delete_and_undo(one: Run, root: Path) -> None:
    at = open_sound_page("train", model="run:one")
    at.text_input(key="train_new_name_one").set_value("two")
    press(at, "Rename it")
    assert at.selectbox(key="run_shown").value == "two"
    assert at.sidebar.selectbox[0].value == "run:two"
    press(at, "Delete it")
    assert "was deleted" in plain(at) and not (root / "two").exists()
    press(at, "Undo")
    assert at.selectbox(key="run_shown").value == "two"
    assert "was deleted" not in plain(at)


def test_a_name_that_is_taken_is_refused_in_a_sentence(one: Run, done: Path, root: Path) -> None:
    shutil.copytree(done, root / "two")
    at = open_sound_page("train", run="one")
    at.text_input(key="train_new_name_one").set_value("two")
    press(at, "Rename it")
    assert "found a run called two" in at.error[0].value.replace("\\", "").replace("\u2060", "")
    assert at.selectbox(key="run_shown").value == "one"


def test_the_model_opens_in_the_attention_lesson(one: Run) -> None:
    at = press(open_sound_page("train", text=SENTENCE), "Open in the attention lesson")
    assert at.title[0].value == "Attention"
    assert at.sidebar.selectbox[0].value == "run:one"
    assert at.text_input(key="text").value == SENTENCE


def test_the_run_is_replayed_as_a_time_lapse(one: Run) -> None:
    at = press(open_sound_page("train", text=SENTENCE), "Replay as time-lapse")
    assert at.title[0].value.startswith("Time-lapse")
    assert at.session_state["recording"] == "run:one"


def test_all_runs_stand_in_a_table(one: Run, done: Path, root: Path) -> None:
    shutil.copytree(done, root / "two")
    os.utime(root / "two" / "recipe.toml", (1, 1))
    at = open_sound_page("train")
    (frame,) = [table.value for table in at.dataframe]
    assert list(frame.index) == ["one", "two"]
    assert frame.loc["one", "step"] == 40 and frame.loc["one", "parameters"] == 26_016
    assert frame.loc["one", "training loss"] == pytest.approx(one.curve.read()[-1].loss)
