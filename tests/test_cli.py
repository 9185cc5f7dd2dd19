"""The command line: what it prints, and that mistakes are one line and not a traceback."""

from __future__ import annotations

import argparse
import csv
import errno
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gptviz
from gptviz.__main__ import main, parser
from gptviz.console import EXIT_CODES, complaint, printable
from gptviz.trace import STAGES
from tests.tales import write_recipe, write_texts

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = "My dog has fleas"


@pytest.fixture(autouse=True)
def models(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny` is the only model there is."""
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tiny_folder.parent))
    return tiny_folder.parent


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """stdout and stderr of a command that goes well."""
    code = main(arguments)
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def test_help_and_version_do_not_import_torch() -> None:
    for argument, said in (("--help", "generate"), ("--version", f"gptviz {gptviz.__version__}")):
        code = (
            "import runpy, sys\n"
            f"sys.argv = ['gptviz', {argument!r}]\n"
            "try: runpy.run_module('gptviz', run_name='__main__')\n"
            "finally: print('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
        assert done.stdout.splitlines()[-1] == "False"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out, _ = capsys.readouterr()
    for command in ("models", "get", "remove", "trace", "generate", "translate", "export", "train", "evaluate"):
        assert f"\n    {command}" in out
    assert EXIT_CODES in " ".join(out.split())


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command by its name."""
    [found] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return found.choices


@pytest.mark.parametrize("command", commands())
def test_the_help_of_a_command_shows_an_example_that_is_understood(command: str) -> None:
    said = commands()[command].format_help()
    examples = [line.strip() for line in said.splitlines() if line.startswith("  python -m gptviz")]
    assert examples
    for example in examples:
        words = shlex.split(example)[3:]
        assert words[0] == command
        parser().parse_args(words)  # ends the test where it does not parse
    assert EXIT_CODES in " ".join(said.split())


def test_a_trace_as_json_is_that_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "trace", SENTENCE, "--model", "tiny", "--head", "1.2", "--json")
    said, model = json.loads(out), gptviz.load("tiny")
    trace = gptviz.trace(model, SENTENCE)
    assert set(said) == {
        "model", "fingerprint", "text", "causal", "dropped", "tokens", "layer", "head", "weights"
    }  # fmt: skip
    assert (said["model"], said["fingerprint"], said["text"], err) == ("tiny", model.fingerprint, SENTENCE, "")
    assert (said["causal"], said["dropped"], said["layer"], said["head"]) == (True, 0, 1, 2)
    assert [(token["position"], token["id"], token["token"]) for token in said["tokens"]] == [
        (i, *pair) for i, pair in enumerate(zip(trace.ids, trace.tokens, strict=True))
    ]
    assert said["tokens"][0]["probability"] is None
    logits = trace.logits[0].astype(np.float64)
    assert said["tokens"][1]["probability"] == pytest.approx(np.exp(logits[trace.ids[1]]) / np.exp(logits).sum())
    assert np.array_equal(np.array(said["weights"], dtype=np.float32), trace.weights[1, 2])
    out, _ = run(capsys, "trace", "\x1b\u202e é", "--model", "tiny", "--json", "--unmasked")
    assert out.isascii()
    assert out.rstrip("\n").isprintable()
    assert json.loads(out)["causal"] is False


def test_a_continuation_and_the_models_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "generate", SENTENCE, "--model", "tiny", "--max-new-tokens", "5", "--seed", "2", "--json")
    said, result = json.loads(out), gptviz.generate(gptviz.load("tiny"), SENTENCE, 5, seed=2)
    assert err == ""
    for name in ("prompt", "text", "stopped", "dropped"):
        assert said[name] == getattr(result, name)
    for name in ("ids", "tokens", "probabilities"):
        assert tuple(said[name]) == getattr(result, name)
    settings = {"temperature": 0.8, "top_k": None, "top_p": None, "seed": 2, "max_new_tokens": 5, "model": "tiny"}
    assert settings.items() <= said.items()
    out, _ = run(capsys, "models", "--json")
    [model] = json.loads(out)
    shape = {"layers": 3, "heads": 4, "width": 32, "context": 64, "kind": "gpt", "problem": None, "name": "tiny"}
    assert shape.items() <= model.items()
    assert model["parameters"] == gptviz.load("tiny").gpt.count_parameters()


def test_a_damaged_model_as_json_says_its_problem(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    [model] = json.loads(run(capsys, "models", "--json")[0])
    assert model["problem"].startswith("bad/config.json: expected")
    assert model["layers"] is model["parameters"] is None


def test_a_translation_as_json(capsys: pytest.CaptureFixture[str], only_tiny_pair: None) -> None:
    out, err = run(capsys, "translate", SENTENCE, "--model", "tiny", "--json")
    said, result = json.loads(out), gptviz.translate(gptviz.load("tiny"), SENTENCE)
    assert err == ""
    assert (said["source"], said["text"], said["score"]) == (SENTENCE, result.text, result.score)
    assert (tuple(said["ids"]), said["stopped"]) == (result.ids, result.stopped)
    assert np.array_equal(np.float32(said["probabilities"]), result.probabilities)
    assert len(said["tokens"]) == len(said["ids"])


def test_an_evaluation_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    texts, recipe = write_texts(tmp_path / "texts"), write_recipe(tmp_path / "recipe.toml")
    arguments = ["evaluate", "tiny", "--data", str(texts), "--recipe", str(recipe), "--device", "cpu"]
    lines, _ = run(capsys, *arguments)
    said = json.loads(run(capsys, *arguments, "--json")[0])
    assert f"bits per byte        {said['bits_per_byte']:.4f}\n" in lines
    assert f"{said['documents']} documents, {said['text_bytes']:,} bytes\n" in lines
    assert np.shape(said["induction"]) == np.shape(said["previous_token"]) == (3, 4)
    assert f"{np.max(said['induction']):.3f}" in lines.splitlines()[-1]


@pytest.mark.parametrize("command", ["trace", "translate"])
def test_an_error_leaves_stdout_empty_for_programs(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "", "--model", "tiny", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_an_interruption_has_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gptviz, "load", interrupt)
    assert main(["trace", SENTENCE]) == 130


def test_a_sentence_is_translated_and_other_models_are_pointed_to_their_command(
    capsys: pytest.CaptureFixture[str], only_tiny_pair: None
) -> None:
    out, err = run(capsys, "translate", SENTENCE, "--model", "tiny", "--beam", "2", "--device", "cpu")
    result = gptviz.translate(gptviz.load("tiny"), SENTENCE, 2)
    assert out == printable(result.text) + "\n"
    mean = result.probabilities.mean()
    assert err == f"{len(result.ids)} tokens, {mean:.1%} of the probability on each, in the mean\n"
    assert main(["generate", SENTENCE, "--model", "tiny"]) == 2
    assert "use python -m gptviz translate" in capsys.readouterr().err


def test_a_gpt_does_not_translate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", SENTENCE, "--model", "tiny"]) == 2
    assert "use python -m gptviz generate" in capsys.readouterr().err


def test_models_are_listed_with_their_shape(capsys: pytest.CaptureFixture[str], models: Path) -> None:
    out, _ = run(capsys, "models")
    parameters = gptviz.load("tiny").gpt.count_parameters()
    assert out.splitlines()[1].split()[:4] == ["tiny", "3", "4", "32"]
    assert out.splitlines()[1].split()[6] == f"{parameters:,}"
    assert out.splitlines()[1].endswith("kB  not known")


def test_a_damaged_model_is_listed_as_such(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    out, _ = run(capsys, "models")
    assert "damaged: bad/config.json: expected" in out


def test_a_model_whose_weights_are_not_all_there_is_listed_as_damaged(
    capsys: pytest.CaptureFixture[str], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(models / "tiny", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    shutil.copytree(models / "tiny", tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    out, _ = run(capsys, "models")
    assert "damaged: cut/model.safetensors: expected" in out
    assert "damaged: bare: expected" in out


def test_a_path_that_cannot_be_used_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["trace", SENTENCE, "--model", "tiny", "--npz", "nowhere/x.npz"]) == 2
    _, err = capsys.readouterr()
    assert re.search(r"^gptviz: expected .* found .*nowhere.*; ", err), err


def test_no_models_is_an_error_with_a_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path))
    assert main(["models"]) == 2
    assert "train one with" in capsys.readouterr().err


def test_tokens_with_their_probabilities(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "trace", SENTENCE, "--model", "tiny", "--csv")
    header, *rows = csv.reader(io.StringIO(out))
    trace = gptviz.trace(gptviz.load("tiny"), SENTENCE)
    assert header == ["position", "id", "token", "probability"]
    assert tuple(int(row[1]) for row in rows) == trace.ids
    assert tuple(row[2] for row in rows) == trace.tokens
    assert rows[0][3] == ""
    for t, row in enumerate(rows[1:], start=1):
        logits = trace.logits[t - 1].astype(np.float64)
        assert float(row[3]) == pytest.approx(np.exp(logits[trace.ids[t]]) / np.exp(logits).sum(), rel=1e-12)


def test_the_weights_of_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    weights = gptviz.trace(gptviz.load("tiny"), SENTENCE, causal=False).weights[1, 2]
    out, _ = run(capsys, "trace", SENTENCE, "--model", "tiny", "--head", "1.2", "--unmasked", "--csv")
    _, *rows = csv.reader(io.StringIO(out))
    assert np.array_equal(np.array([row[1:] for row in rows], dtype=np.float32), weights)
    out, _ = run(capsys, "trace", SENTENCE, "--model", "tiny", "--head", "1.2", "--unmasked")
    assert f"{weights[0, 1]:.3f}" in out.splitlines()[1]
    assert "1 ' dog'" in out.splitlines()[0]


def test_every_stage_is_saved(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "dog.npz"
    run(capsys, "trace", SENTENCE, "--model", "tiny", "--npz", str(file))
    trace = gptviz.trace(gptviz.load("tiny"), SENTENCE)
    with np.load(file, allow_pickle=False) as saved:
        assert set(saved) == {"ids", "tokens", *STAGES}
        assert tuple(saved["tokens"]) == trace.tokens
        for name in STAGES:
            assert np.array_equal(saved[name], getattr(trace, name)), name


def test_generation_is_that_of_the_library(capsys: pytest.CaptureFixture[str], tiny_folder: Path) -> None:
    arguments = ["--max-new-tokens", "9", "--temperature", "0.5", "--top-k", "7", "--top-p", "0.9", "--seed", "3"]
    out, err = run(capsys, "generate", SENTENCE, "--model", str(tiny_folder), "--device", "cpu", *arguments)
    result = gptviz.generate(gptviz.load("tiny"), SENTENCE, 9, temperature=0.5, top_k=7, top_p=0.9, seed=3)
    assert len(result.ids) == 9
    assert out.startswith(SENTENCE)
    assert "9 tokens, stopped by length" in err


def test_a_text_beyond_the_context_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("trace", "generate"):
        _, err = run(capsys, command, " dog" * 100, "--model", "tiny")
        assert "tokens at the left were cut, the context is 64 tokens" in err


def test_nothing_that_is_printed_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "\x1b[2J\x9b31m\u202e\r\x07"
    for arguments in (["trace", nasty], ["trace", nasty, "--head", "0.0"], ["generate", nasty]):
        out, _ = run(capsys, *arguments, "--model", "tiny")
        assert all(c.isprintable() or c in "\n\t" for c in out)
        assert "\\x1b" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace", ""], "found an empty one"),
        (["trace", "x", "--model", "nope"], "expected the name of a model or the path of its folder, found 'nope'"),
        (["trace", "x", "--head", "9.9"], "expected a head from 0.0 to 2.3, layer first, found '9.9'"),
        (["trace", "x", "--head=-1.0"], "expected a head"),
        (["trace", "x", "--head", "two"], "expected a head"),
        (["trace", "x", "--npz", "no/such/folder/x.npz"], "No such file or directory"),
        (["trace", "x", "--device", "tpu"], "expected a device such as cuda"),
        (["generate", "x", "--temperature", "-1"], "temperature must be a number from 0"),
        (["generate", "x", "--temperature", "nan"], "temperature must be"),
        (["generate", "x", "--top-k", "0"], "top_k must be"),
        (["generate", "x", "--max-new-tokens", "-5"], "max_new_tokens must be"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "tiny"]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gptviz: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["nope"], ["trace"], ["generate", "x", "--seed", "one"]])
def test_arguments_that_do_not_parse(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m gptviz" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gptviz", "models"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_said_with_what_to_do() -> None:
    assert complaint(OSError(errno.ENOSPC, "No space left on device")) == (
        "expected room on the disk, found none; make room and run the same command again"
    )
