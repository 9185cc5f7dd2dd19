"""`python -m gptviz export`: what it writes is the picture of the page, and whatever stops it is one line."""

from __future__ import annotations

import io
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gptviz
from gptviz import export_command
from gptviz.__main__ import main
from gptviz.export_command import KINDS

SENTENCE = "My dog has fleas"
BEGINS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "csv": b"# ", "npz": b"PK", "html": b"<!doctype html>"}


@pytest.fixture(autouse=True)
def models(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`tiny` is the only model there is, and files are written to a folder of the test."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    monkeypatch.chdir(tmp_path)
    def draw(page, model, text, settings):
        unknown = set(settings) - {"layer", "head"}
        if unknown:
            raise ValueError(f"expected settings of {page}, found {', '.join(unknown)}")
        trace = gptviz.trace(model, text)
        layer, head = (int(settings.get(name, 0)) for name in ("layer", "head"))
        trace.layer_weights(layer)
        view = gptviz.attention_view(trace.weights, trace.tokens)
        view.state = gptviz.view.ViewState(layer=layer, head=head)
        return view

    monkeypatch.setattr(gptviz, "pictures", types.SimpleNamespace(DRAWN=("attention",), draw=draw), raising=False)


def export(*arguments: str) -> int:
    """Run the command for the attention of the sentence."""
    return main(["export", "attention", SENTENCE, "--model", "tiny", *arguments])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_says_where_it_is_from(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert export("--head", "1.2", "--out", f"dog.{kind}", "--width", "400") == 0
    out, err = capsys.readouterr()
    data = Path(f"dog.{kind}").read_bytes()
    assert out == ""
    assert err == f"saved attention of tiny to dog.{kind}, {len(data):,} bytes\n"
    assert data.lower().startswith(BEGINS[kind].lower())
    assert not list(Path().glob("*.part"))
    fingerprint = gptviz.load("tiny").fingerprint
    if kind == "npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as saved:
            said = json.loads(str(saved["provenance"]))
            weights = saved["weights"]
        assert np.array_equal(weights, gptviz.trace(gptviz.load("tiny"), SENTENCE).weights)
        assert (said["fingerprint"], said["settings"]) == (fingerprint, {"layer": "1", "head": "2"})
        assert said["link"] == "attention?model=tiny&text=My+dog+has+fleas&layer=1&head=2"
    elif kind in {"svg", "html", "csv"}:
        assert fingerprint in data.decode()


def test_the_numbers_are_those_of_the_trace() -> None:
    assert export("--out", "dog.csv") == 0
    lines = Path("dog.csv").read_text().splitlines()
    table = pd.read_csv("dog.csv", skiprows=sum(line.startswith("# ") for line in lines))
    weights = gptviz.trace(gptviz.load("tiny"), SENTENCE).weights
    found = weights[tuple(table[name] for name in ("layer", "head", "query", "key"))]
    np.testing.assert_array_equal(table["weight"].to_numpy(dtype=np.float32), found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "dog.gif"], "expected a file that ends in .png, .svg, .pdf, .csv, .npz, .html, found 'dog.gif'"),
        (["--out", "dog"], "expected a file that ends in"),
        (["--out", ".png"], "expected a file that ends in"),
        (["--out", "nowhere/dog.svg"], "expected a folder that is there, found 'nowhere'; make it first"),
        (["--out", "there.svg"], "found 'there.svg' already there; --force replaces it"),
        (["--out", "folder.svg"], "expected a file, found the folder 'folder.svg'"),
        (["--out", "there.svg/dog.svg"], "expected a folder that is there"),
        (["--out", "CON.svg"], "expected a name that every system takes, found 'CON.svg'"),
        (["--out", "lpt1.x.png"], "expected a name that every system takes"),
        (["--out", "why?.png"], "expected a name that every system takes, found 'why?.png'"),
        (["--out", f"{'x' * 300}.png"], "File name too long"),
        (["--out", "dog.svg", "--head", "one"], "expected a head such as 1.3, layer first, found 'one'"),
        (["--out", "dog.svg", "--set", "layer"], "expected --set NAME=VALUE, found 'layer'"),
        (["--out", "dog.svg", "--width", "3"], "expected a width from 100 to 10,000 pixels, found 3"),
        (["--out", "dog.svg", "--model", "nope"], "found 'nope'"),
        (["--out", "dog.svg", "--head", "7.0"], "expected"),
        (["--out", "dog.svg", "--set", "colour=red"], "colour"),
    ],
)
def test_a_mistake_is_one_line_and_no_file(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    Path("there.svg").write_text("mine")
    Path("folder.svg").mkdir()
    assert export(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gptviz: ")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["folder.svg", "there.svg"]
    assert Path("there.svg").read_text() == "mine"


def test_a_page_without_a_picture_names_those_that_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "train", SENTENCE, "--out", "dog.svg"]) == 2
    assert "attention" in (err := capsys.readouterr().err)
    assert "found 'train'" in err


def test_a_file_is_replaced_when_that_is_asked_for() -> None:
    Path("dog.csv").write_text("mine")
    assert export("--out", "dog.csv", "--force") == 0
    assert Path("dog.csv").read_text().startswith("# ")


def test_a_folder_that_cannot_be_written_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # for root, chmod would change nothing
    assert export("--out", "dog.svg") == 2
    assert capsys.readouterr().err == (
        "gptviz: expected a folder that can be written to, found '.'; choose another one\n"
    )


def test_a_disk_that_is_full_leaves_no_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    Path("dog.csv").write_text("mine")
    monkeypatch.setattr(Path, "write_bytes", full)
    assert export("--out", "dog.csv", "--force") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert Path("dog.csv").read_text() == "mine"


def test_without_matplotlib_the_remedy_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert export("--out", "dog.svg") == 2
    err = capsys.readouterr().err
    assert "expected matplotlib for .svg" in err
    assert "or save as csv, npz, html" in err
    assert export("--out", "dog.csv") == 0


def test_a_link_holds_any_text() -> None:
    assert export_command.link_to("translate", "m", 'a&b="\ud800"', {"step": "1"}) == (
        "translate?translator=m&source=a%26b%3D%22%3F%22&step=1"
    )
