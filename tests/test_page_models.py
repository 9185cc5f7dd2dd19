"""The page Models: what is installed, a download that goes on by itself, uploads, removing; no network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from gptviz import installed, memory
from gptviz.fetch import jobs
from gptviz.folder import available
from gptviz.formats import archive
from tests.page_helpers import open_page, open_sound_page, texts
from tests.test_installed import packed


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One model that comes with gptviz, called tiny, and one that was uploaded, called sent; no downloads."""
    root = tmp_path / "models"
    shutil.copytree(tiny_folder, root / "tiny")
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(root))
    monkeypatch.setattr(jobs, "JOBS", {})
    archive.install(zip_of(root / "tiny"), "sent")
    return root


def zip_of(folder: Path) -> object:
    """A model's folder, packed."""
    return packed({path.name: path.read_bytes() for path in folder.iterdir()})


def plain(at: AppTest) -> str:
    """All that the page says, without the signs that keep Markdown out."""
    return (texts(at) + "\n".join(str(each.value) for each in at.success)).replace("\\", "").replace("\u2060", "")


def press(at: AppTest, label: str) -> AppTest:
    """Click a button by what is written on it."""
    (button,) = [each for each in at.button if each.label == label]
    button.click().run()
    assert not at.exception, at.exception
    return at


def pretend(monkeypatch: pytest.MonkeyPatch, *said: dict, seconds: float = 0, code: int = 0) -> None:
    """From now on a download is a process that says this, and ends after some time."""
    lines = "\n".join(map(json.dumps, said))
    script = f"print({lines!r}, flush=True); import time, sys; time.sleep({seconds}); sys.exit({code})"
    monkeypatch.setattr(jobs, "command", lambda asked: [sys.executable, "-c", script])


def test_every_model_has_its_row() -> None:
    at = open_sound_page("models")
    frame = at.dataframe[0].value
    assert list(frame.index) == ["sent", "tiny"]
    row = frame.loc["sent"]
    (sent, tiny) = installed.installed()
    assert row["on the disk"] == installed.in_words(sent.bytes)
    assert row["memory to open"] == installed.in_words(memory.needed(tiny.config))
    assert row["parameters"] == f"{sent.parameters:,}"
    assert (row["context"], row["licence"], row["source"]) == ("64 tokens", archive.LICENCE, "uploaded")
    assert "of memory and" in plain(at)


def test_a_damaged_model_is_said_to_be_one(shelf: Path) -> None:
    weights = shelf / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    at = open_page("models")
    at.selectbox(key="models_chosen").set_value("tiny").run()
    assert at.dataframe[0].value.loc["tiny", "kind"] == "cannot be opened"
    assert "truncated" in plain(at)
    assert "Open in a lesson" not in [button.label for button in at.button]


def test_a_model_that_does_not_fit_is_said_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda device=None: 1_000_000)
    at = open_sound_page("models")
    assert "of memory, and 1.0 MB is free" in plain(at)


def test_a_model_is_opened_in_a_lesson() -> None:
    at = open_sound_page("models")
    at.selectbox(key="models_chosen").set_value("tiny").run()
    press(at, "Open in a lesson")
    assert at.title[0].value == "Attention"
    assert at.sidebar.selectbox(key="model").value == "tiny"


def test_removing_asks_first_and_the_lessons_go_to_another_model() -> None:
    at = open_sound_page("models", model="sent")
    assert at.sidebar.selectbox(key="model").value == "sent"
    press(at, "Remove it")
    assert available() == ["tiny"]
    assert not at.error, at.error
    assert at.sidebar.selectbox(key="model").value == "tiny"
    assert "Remove it" not in [button.label for button in at.button]
    assert "Only what was fetched or uploaded" in plain(at)


def test_a_download_shows_how_far_it_is_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"name": "new", "doing": "downloading", "done": 30_000_000, "total": 120_000_000, "note": "needs 1 GB"}
    pretend(monkeypatch, record, seconds=600)
    at = open_sound_page("models")
    at.text_input(key="models_name").set_value("someone/new")
    press(at, "Get it")
    job = jobs.JOBS["someone/new"]
    while job.progress.doing != "downloading":
        assert job.at_work
    at.run()
    bar = at.get("progress")[0].proto
    assert bar.value == 25
    assert "30.0 MB of 120 MB" in bar.text and "needs 1 GB" in bar.text.replace("\u2060", "")
    another = open_sound_page("models")  # another visitor, or the same one later
    assert len(another.get("progress")) == 1
    press(at, "Cancel")
    assert not job.at_work and jobs.JOBS == {}
    at.run()
    assert not at.get("progress") and not at.error


@pytest.mark.parametrize("error", ["expected a network, found [none](http://example.com); connect", ""])
def test_how_a_download_ended_is_said_until_it_is_hidden(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        {"error": error} if error else {"name": "new", "doing": "installed", "done": 1, "total": 1, "note": "needs x"}
    )
    pretend(monkeypatch, said, code=2 if error else 0)
    at = open_page("models")
    press(at, "Get it")
    jobs.JOBS["smollm2-135m"].reader.join(60)
    at.run()
    if error:
        assert "Expected a network, found [none](http://example.com); connect." in plain(at)
        assert "\\[" in at.error[0].value  # no link
        assert "Try again" in [button.label for button in at.button]
    else:
        assert "new** is installed. It needs x." in plain(at)
    press(at, "Hide")
    at.run()
    assert jobs.JOBS == {} and not at.error and not at.success


def test_a_known_name_is_put_into_the_box() -> None:
    at = open_sound_page("models")
    (menu,) = [each for each in at.get("menu_button") if "Known names" in each.proto.label]
    assert any(option.startswith("gpt2: ") for option in menu.proto.options)


def test_what_an_interruption_left_is_named_and_deleted(shelf: Path) -> None:
    part = shelf / installed.INCOMING / "half" / "half"
    part.mkdir(parents=True)
    (part / "model.gguf").write_bytes(bytes(5_000_000))
    at = open_sound_page("models")
    assert "5.0 MB of **half** are here" in plain(at)
    press(at, "Delete them")
    assert installed.unfinished() == []
    assert "are here" not in plain(at)


def test_an_upload_is_installed_under_its_name(shelf: Path) -> None:
    at = open_sound_page("models")
    at.get("file_uploader")[0].upload("my (own).zip", zip_of(shelf / "tiny").read(), "application/zip").run()
    (name,) = [box for box in at.text_input if box.label == "Name of the model"]
    assert name.value == "my -own"
    name.set_value("mine")
    press(at, "Install it")
    assert "mine" in available()
    assert "mine** is installed" in plain(at)
    assert at.selectbox(key="models_chosen").value == "mine"
    assert not [box for box in at.text_input if box.label == "Name of the model"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.zip", packed({"../evil.gguf": b"x"}).getvalue(), "leads out"),
        ("x.zip", b"PK\x03\x04", "expected a sound zip file"),
        ("x.gguf", b"GGUF" + bytes(50), "model.gguf"),
        ("tiny.zip", packed({"config.json": b"{}"}).getvalue(), "Expected a new name, found tiny installed"),
    ],
)
def test_an_upload_that_is_no_model_is_refused_in_a_sentence(name: str, content: bytes, said: str) -> None:
    at = open_sound_page("models")
    at.get("file_uploader")[0].upload(name, content, "application/octet-stream").run()
    press(at, "Install it")
    assert said.lower() in plain(at).lower()
    assert available() == ["sent", "tiny"]
    assert installed.unfinished() == []
