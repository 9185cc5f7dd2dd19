"""`python -m gptviz prepare`, and a recipe that names the folder that it made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gptviz import checkpoint
from gptviz.__main__ import main
from gptviz.commands import Meter
from gptviz.corpus.documents import clean
from gptviz.corpus.prepare import Progress, Settings, prepare
from gptviz.corpus.shards import Manifest, Shards
from gptviz.corpus.sources import Texts
from gptviz.data import DataError
from gptviz.progress import duration
from gptviz.recipe import Recipe, run
from gptviz.tokenizer import Tokenizer
from tests.corpora import LAYOUTS, archive, write_files
from tests.tiny import tiny_ranks

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = Tokenizer(tiny_ranks())
TALES = [f"Tom and Lily went to house {i}.\n\nThe dog was {'very ' * (i % 7)}happy." for i in range(60)]


@pytest.fixture(autouse=True)
def _models(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny` is the only model there is."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `prepare`."""
    code = main(["prepare", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "\n    prepare" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    assert "SOURCE" in capsys.readouterr().out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_corpus_becomes_shards_and_a_summary(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.corpora import gpt2_sized

    monkeypatch.setattr("gptviz.tokenizer.Tokenizer.gpt2", staticmethod(gpt2_sized))
    source, out = LAYOUTS[layout](tmp_path, TALES), tmp_path / "out"
    code, said, err = command(capsys, source, "--out", out, "--model", "tiny", "--valid", "0.2", "--workers", "1")
    assert (code, err) == (0, "")
    train, valid = Shards(out), Shards(out, "valid")
    assert sorted([*train.texts(), *valid.texts()]) == sorted(map(clean, TALES))
    assert said.splitlines()[0].split() == ["train", str(train.documents), "documents", f"{len(train):,}", "tokens"]
    assert said.splitlines()[1].split() == ["valid", str(valid.documents), "documents", f"{len(valid):,}", "tokens"]
    assert f"the shards are in {out}" in said


def test_the_vocabulary_is_that_of_the_model_or_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_files(tmp_path / "in", {"a.txt": b"My dog has fleas"})
    ranks = tmp_path / "bytes.tiktoken"
    Tokenizer({bytes([b]): b for b in range(256)}).save(ranks)
    rest = ("--valid", "0")
    assert command(capsys, source, "--out", tmp_path / "a", "--model", "tiny", *rest)[0] == 0
    assert command(capsys, source, "--out", tmp_path / "b", "--tokenizer", ranks, *rest)[0] == 0
    assert Shards(tmp_path / "a")[1:-1].tolist() == TOKENIZER.encode("My dog has fleas")
    assert Shards(tmp_path / "b")[:].tolist() == [256, *b"My dog has fleas", 256]
    with pytest.raises(SystemExit):
        command(capsys, source, "--out", tmp_path / "c", "--model", "tiny", "--tokenizer", ranks)


def test_what_was_skipped_is_named_and_cannot_command_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {f"{i}\x1b[2J.txt": b"\xff" for i in range(12)}
    (tmp_path / "a.tar").write_bytes(archive(members | {"good.txt": b"one"}))
    code, said, _ = command(capsys, tmp_path / "a.tar", "--out", tmp_path / "out", "--model", "tiny")
    assert code == 0
    assert "skipped 12, " in said
    assert "  a.tar/0\\x1b[2J.txt: expected UTF-8 text, found the byte 0xff\n" in said
    assert "\x1b" not in said
    assert said.count("found the byte") == 10  # the rest is in the manifest
    assert len(Manifest.load(tmp_path / "out").skipped_names) == 12


def test_a_limit_and_the_second_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (LAYOUTS["jsonl"](tmp_path, TALES), "--out", tmp_path / "out", "--model", "tiny", "--valid", "0")
    assert command(capsys, *arguments, "--limit", "7")[0] == 0
    assert Shards(tmp_path / "out").documents == 7
    assert command(capsys, *arguments, "--limit", "7")[0] == 0
    code, _, err = command(capsys, *arguments)
    assert code == 2
    assert err.startswith("gptviz: ") and "expected to go on with limit 7, found None" in err


def test_an_empty_side_is_said_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = LAYOUTS["jsonl"](tmp_path, TALES)
    _, out, _ = command(capsys, source, "--out", tmp_path / "a", "--model", "tiny", "--valid", "0")
    assert "nothing to measure the held-out loss on: prepare it again with a larger --valid" in out
    _, out, _ = command(capsys, source, "--out", tmp_path / "b", "--model", "tiny", "--valid", "0.5")
    assert "nothing to" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--out", "out"], "expected a file or folder, or the name openwebtext, found 'nowhere'"),
        (["a.txt", "--out", "out", "--valid", "1"], "expected a share to hold out from 0 to less than 1, found 1.0"),
        (["a.txt", "--out", "out", "--limit", "0"], "expected limits of 1 or more"),
        (["a.txt", "--out", "out", "--workers", "0"], "expected 1 worker or more, found 0"),
        (["a.txt", "--out", "out", "--tokenizer", "nowhere.tiktoken"], "expected a rank file"),
        (["a.txt", "--out", "out", "--model", "nobody"], "there are: tiny"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("My dog has fleas")
    model = [] if {"--model", "--tokenizer"} & set(arguments) else ["--model", "tiny"]
    code, out, err = command(capsys, *arguments, *model)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_preparing_does_without_torch(tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "a.txt").write_text("My dog has fleas")
    arguments = ["prepare", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out"), "--model", "tiny", "--valid", "0"]
    code = f"import sys\nfrom gptviz.__main__ import main\nprint(main({arguments!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


# The progress bar


def test_a_line_of_progress_says_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.0, 110.0])
    monkeypatch.setattr("gptviz.commands.time.monotonic", lambda: next(clock))
    meter = Meter()
    meter.show(Progress(1000, 50_000, 0, None, False))  # what an earlier run had done counts neither for speed
    meter.show(Progress(1000, 50_000, 0, 0.2, False))  # nor for the time left
    line = meter.line(Progress(3000, 250_000, 1, 0.4, False), 10.0)
    assert line == (
        "[##########..............]  40.0%  3,000 documents  200 documents/s  20,000 tokens/s  30 s left  1 skipped"
    )
    assert "%" not in meter.line(Progress(3000, 250_000, 0, None, False), 10.0)


@pytest.mark.parametrize(("seconds", "said"), [(3.4, "3 s"), (200, "3 min"), (7200, "2.0 h")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_terminal_gets_one_line_that_is_written_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    meter = Meter()
    for number in range(5):
        meter.show(Progress(number, number, 0, number / 4, False))
    meter.show(Progress(5, 5, 0, 1.0, True))
    out = capsys.readouterr().out
    assert out.startswith("\r[") and out.count("\n") == 1 and out.endswith("\n")


# Recipes


RECIPE = """
[model]
vocab_size = {vocab_size}
context = 16
n_layers = 1
n_heads = 1
d_model = 8

[training]
steps = 3
warmup = 1
learning_rate = 0.01
eval_every = 3
save_every = 3

[batch]
rows = 4

[[source]]
file = "prepared"
share = 1.0

[valid]
file = "prepared"
split = "valid"
"""


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A data folder with a prepared folder in it."""
    list(prepare(Texts(TALES), tmp_path / "data" / "prepared", TOKENIZER, Settings(valid=0.3, shard=500)))
    return tmp_path / "data"


def recipe(folder: Path, vocab_size: int = TOKENIZER.vocab_size) -> Recipe:
    """A recipe that names the prepared folder."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(vocab_size=vocab_size))
    return Recipe.load(path)


def test_a_recipe_trains_on_a_prepared_folder(prepared: Path, tmp_path: Path) -> None:
    records = list(run(recipe(tmp_path), prepared, tmp_path / "run", "cpu"))
    assert records[-1].step == 3
    assert records[-1].valid_loss == pytest.approx(np.log(TOKENIZER.vocab_size), rel=0.3)
    model = checkpoint.load(tmp_path / "run" / "model")
    assert model.tokenizer.ranks == TOKENIZER.ranks
    assert not list((tmp_path / "run").glob("*.npy"))  # the shards are used where they are


def test_a_recipe_for_another_vocabulary_is_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"expected a vocabulary of 99 tokens, found {TOKENIZER.vocab_size} in"):
        next(run(recipe(tmp_path, 99), prepared, tmp_path / "run", "cpu"))
    (tmp_path / "other").mkdir()
    Tokenizer({bytes([b]): b for b in range(256)}).save(tmp_path / "other" / "tokenizer.tiktoken")
    with pytest.raises(DataError, match="expected one vocabulary in prepared"):
        next(run(recipe(tmp_path), prepared, tmp_path / "other", "cpu"))
