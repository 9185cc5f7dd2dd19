"""Lectures on the stage: a link opens its scene, what is missing is said, names are never paths."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.lecture import SHIPPED, read
from gptviz.ui import show, stage
from tests.page_helpers import figure, fire, mounted, open_page, open_sound_page, payload

TALK = """title: A talk
scenes:
- page: attention
  sentence: My dog
  layer: 1
  title: First
  note: say hello
- page: tokens
  model: nobody
  sentence: a cat
  title: Second
- page: attention
  sentence: My dog
  layer: 99
"""


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Path:
    """A lecture as of the command line, where one small model is installed."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    path = tmp_path / "talk.yaml"
    path.write_text(TALK, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["app.py", "--lecture", str(path)])
    return path


def bar(at: AppTest) -> dict:
    """What the bar of the scene was given."""
    assert not at.exception, at.exception
    return payload(mounted(at, "gptviz_stage")[0])


def test_the_lecture_of_the_command_line_opens_at_its_first_scene(talk: Path) -> None:
    at = open_sound_page("home")
    assert (bar(at)["scene"], bar(at)["scenes"][0]) == (1, {"title": "First", "note": "say hello"})
    assert at.session_state["text"] == "My dog"
    assert at.session_state["kept"]["layer"] == "1"


def test_next_opens_the_next_scene_and_says_that_its_model_is_missing(talk: Path) -> None:
    at = open_page("home")
    fire(at, mounted(at, "gptviz_stage")[0], "go", 2)
    assert bar(at)["scene"] == 2
    assert "nobody" in bar(at)["problem"]
    assert at.session_state["text"] == "a cat"
    assert not at.session_state["kept"]["layer"]


def test_a_layer_beyond_the_model_is_named(talk: Path) -> None:
    assert "layer 99" in bar(open_page("home", lecture="talk", scene="3"))["problem"]


def test_leaving_ends_it_and_the_address_does_not_begin_it_again(talk: Path) -> None:
    at = open_page("home", lecture="talk")
    fire(at, mounted(at, "gptviz_stage")[0], "leave", True)
    assert not mounted(at, "gptviz_stage")


@pytest.mark.parametrize("scene", ["0", "x", "9" * 5000, "50"])
def test_a_scene_that_is_not_there_becomes_one_that_is(talk: Path, scene: str) -> None:
    assert bar(open_page("home", lecture="talk", scene=scene))["scene"] in {1, 3}


@pytest.mark.parametrize("name", ["../talk", "/etc/passwd", "nothing", "talk.yaml"])
def test_a_name_is_looked_up_and_never_a_path(talk: Path, name: str) -> None:
    at = open_page("home", lecture=name)
    assert "expected one of" in at.error[0].value
    assert not mounted(at, "gptviz_stage")


def test_a_file_with_mistakes_is_said_and_the_app_goes_on(talk: Path) -> None:
    talk.write_text("title: A talk\nscenes:\n- page: nowhere\n", encoding="utf-8")
    at = open_page("home")
    assert "nowhere" in at.error[0].value
    assert at.title


def test_the_page_lists_what_is_here(talk: Path) -> None:
    at = open_page("lectures", lecture="")
    assert not at.exception
    assert "talk" in stage.names()
    assert all(read(path.read_text(encoding="utf-8"), path.name).scenes for path in SHIPPED.glob("*.yaml"))


def test_a_lecture_becomes_slides_in_the_app() -> None:
    from gptviz import lecture
    from gptviz.ui import lecture_shelf

    talk = lecture.read("scenes:\n- page: next-token\n  title: One\n")
    assert lecture_shelf.slides_of(talk, "pptx").startswith(b"PK")
    assert b"<section>" in lecture_shelf.slides_of(talk, "html")


# Long ones, and their looks -------------------------------------------------------------------------------------------


FIFTY = "title: Long\nscenes:\n" + "".join(
    f"- page: {page}\n  sentence: My dog {n}\n  head: {n % 4}\n  title: Scene {n}\n"
    for n, page in enumerate(["attention", "tokens"] * 25, 1)
)


def test_fifty_scenes_are_all_reached(talk: Path) -> None:
    talk.write_text(FIFTY, encoding="utf-8")
    at = open_page("home")
    assert len(bar(at)["scenes"]) == 50
    for scene in (50, 1, 27, 28, 49):
        fire(at, mounted(at, "gptviz_stage")[0], "go", scene)
        assert (bar(at)["scene"], bar(at)["problem"]) == (scene, "")
        assert at.session_state["text"] == f"My dog {scene}"
        assert (at.session_state["kept"]["head"] or "0") == str(scene % 4)


def test_fifty_scenes_are_edited_saved_and_become_slides(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gptviz.export import deck
    from gptviz.lecture import Lecture, Scene, write
    from gptviz.ui import lecture_shelf

    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    built = read(FIFTY)
    assert read(write(built)) == built
    at = open_sound_page("lectures")
    at.session_state["draft"] = list(built.scenes)
    at.run()
    assert not at.exception and sum(block.label.startswith("50. ") for block in at.expander) == 1
    (up,) = [button for button in at.button if button.key and button.key.startswith("draft_up_") and
             button.key.endswith("_49")]  # fmt: skip
    up.click().run()
    assert [scene.title for scene in at.session_state["draft"][-2:]] == ["Scene 50", "Scene 49"]
    assert lecture_shelf.MOST_SCENES >= 50
    slides = deck.to_html(Lecture("Long", tuple(Scene("", "tiny", title=f"Scene {n}") for n in range(1, 51))))
    assert all(f"Scene {n}" in slides for n in range(1, 51))


LARGE = "title: Large\nscenes:\n" + "".join(
    f"- page: {page}\n  sentence: My dog\n" for page in ("positions", "masked", "inside-block")
)


@pytest.mark.parametrize(
    ("scene", "page", "key"),
    [(1, "positions", "pos_vectors_learned"), (2, "masked", "mask_heads"), (3, "inside-block", "block_flow")],
)
def test_letters_are_larger_on_the_stage_and_nowhere_else(talk: Path, scene: int, page: str, key: str) -> None:
    talk.write_text(LARGE, encoding="utf-8")
    shown = (open_sound_page(page, text="My dog"), open_sound_page(page, lecture="talk", scene=scene))
    shown += (open_sound_page(page, text="My dog"),)  # what was kept for the stage is not shown off it
    sizes = [figure(at, key)["layout"]["font"]["size"] for at in shown]
    assert sizes == [sizes[0], pytest.approx(show.ON_STAGE * sizes[0], abs=0.06), sizes[0]]


def test_the_next_scene_is_worked_out_ahead(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from gptviz.lecture import Scene
    from gptviz.ui import models, translation

    def forbidden(*given: object) -> None:
        raise AssertionError("expected what was worked out ahead, found it made anew")

    text = "Wir haben ein Haus am See."
    scenes = (
        (Scene("beam-search", "transformer-deu-eng", text, {"beam": "3"}), "transformer/beam_search.py"),
        (Scene("masked", "gpt-stories", "A frog and a fox"), "gpt/masked.py"),
        (Scene("attention", "no-such-model"), None),
    )
    for scene, script in scenes:
        thread = threading.Thread(target=stage.prepare, args=(scene, script), name=stage.AHEAD)
        thread.start()
        thread.join()
    assert not caplog.records, "no warning of Streamlit's for want of a visitor"
    model, gpt = models.open_model("transformer-deu-eng"), models.open_model("gpt-stories")
    for owner, name in ((gptviz, "translate"), (gptviz, "force"), (type(gpt.gpt), "trace")):
        monkeypatch.setattr(owner, name, forbidden)
    assert [translation.translated(model.fingerprint, text, beam, model).text for beam in (1, 3)]
    assert translation.as_itself(model.fingerprint, text, model)
    for causal in (True, False):
        assert models.TRACES.get(gpt, "A frog and a fox", gptviz.WhatIf(causal=causal)).what_if.causal is causal


@pytest.mark.parametrize("theme", ["", "contrast"])
def test_a_lecture_can_begin_in_high_contrast(theme: str, talk: Path) -> None:
    talk.write_text(f"theme: {theme}\n{TALK}", encoding="utf-8")
    assert bar(open_page("home"))["contrast"] is bool(theme)
