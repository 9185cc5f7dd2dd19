"""Training in real processes: two that train together, and one that is stopped or killed while it saves."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.optim import _muon

from gptviz import checkpoint
from gptviz.recipe import load_recipe, run, with_steps
from gptviz.training.ranks import joined
from gptviz.training.records import read_records
from tests.tales import write_recipe, write_texts
from tests.two_processes import float32_muon

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300  # seconds
SAME = 1e-5  # relative: one process and several add up in another order, in float32
FIRST = 1e-6  # relative: of the first loss, before Adam divides small differences by small gradients

PAIRS = """
[model]
kind = "transformer"
vocab_size = 290
context = 24
n_layers = 1
n_heads = 2
d_model = 16

[training]
steps = 4
warmup = 2
learning_rate = 5e-3
smoothing = 0.1
optimizer = "muon"
precision = "float32"
save_every = 2

[batch]
tokens = 128

[pairs]
file = "pairs.zip"
member = "pairs.txt"
"""


def environment() -> dict[str, str]:
    """Of a process that is started in the repository: one thread, and nobody else's torchrun."""
    mine = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return mine | {"OMP_NUM_THREADS": "1", "GPTVIZ_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def losses(folder: Path) -> list[float]:
    return [record.loss for record in read_records(folder / "log.jsonl")]


def arguments(recipe: Path, texts: Path, folder: Path, *more: str) -> list[str]:
    return ["train", str(recipe), "--data", str(texts), "--out", str(folder), *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes and texts: `tales.toml` for AdamW, `muon.toml` in two parts, `pairs.toml` for an encoder-decoder."""
    where = tmp_path_factory.mktemp("processes")
    write_texts(where / "texts")
    tales = {"precision": "float32", "steps": 5, "schedule": "constant"}  # which does not depend on the steps in all
    write_recipe(where / "tales.toml", **tales, optimizer="adamw")
    write_recipe(where / "muon.toml", **tales, accumulate=2)
    for name in ("tales", "muon"):
        path = where / f"{name}.toml"
        path.write_text(path.read_text().replace("rows = 3", "rows = 7"))
    (where / "pairs.toml").write_text(PAIRS)
    rows = [f"{a} cat number {n} sleeps\teine {a} Katze {n} schläft" for a in ("big", "red") for n in range(200)]
    with zipfile.ZipFile(where / "texts" / "pairs.zip", "w") as archive:
        archive.writestr("pairs.txt", "\n".join(rows))
    return where


@pytest.fixture(scope="module")
def together(folder: Path) -> Path:
    """The same folder, after two processes have trained: DDP with Muon by the command line, the rest by the library."""
    texts = folder / "texts"
    list(run(with_steps(load_recipe(folder / "tales.toml"), 2), texts, folder / "continued", "cpu"))
    jobs = [
        ("tales", "fsdp", True, None),
        ("tales", "continued", True, 4),
        ("pairs", "pairs", False, None),
    ]
    listed = [[f"{folder}/{recipe}.toml", str(texts), f"{folder}/{name}", *how] for recipe, name, *how in jobs]
    command = ["gptviz", *arguments(folder / "muon.toml", texts, folder / "ddp")]
    started = [torchrun(*command), torchrun("tests.two_processes", json.dumps(listed))]
    try:
        said = [process.communicate(timeout=PATIENCE) for process in started]
    finally:
        for process in started:
            process.terminate()  # torchrun ends the processes that it started
    for process, (_, err) in zip(started, said, strict=True):
        assert process.returncode == 0, err[-3000:]
    assert said[0][0].count("the checkpoint is in") == 1  # printed by the first process only
    return folder


def torchrun(*module: str) -> subprocess.Popen:
    """Two processes of a module with its arguments."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]
    return subprocess.Popen(
        [*launcher, "-m", *module], cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def alone(folder: Path, recipe: str) -> list[float]:
    """The losses of one process by the same recipe, run once: like the two, but for `muon` by the command line."""
    where = folder / f"alone-{recipe}"
    if not (where / "log.jsonl").exists():
        with contextlib.nullcontext() if recipe == "muon" else float32_muon():
            list(run(load_recipe(folder / f"{recipe}.toml"), folder / "texts", where, "cpu"))
    return losses(where)


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 64)])
def test_the_muon_of_the_comparison_is_that_of_torch(shape: tuple[int, int]) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    coefficients, steps, eps = (3.4445, -4.775, 2.0315), 5, 1e-7
    theirs = _muon._zeropower_via_newtonschulz(gradient, coefficients, steps, eps).float()
    with float32_muon():
        ours = _muon._zeropower_via_newtonschulz(gradient, coefficients, steps, eps)
    assert ours.dtype == torch.float32
    assert (ours - theirs).norm() < 0.02 * theirs.norm()  # bfloat16 keeps three digits


@pytest.mark.parametrize(("recipe", "name"), [("muon", "ddp"), ("tales", "fsdp"), ("pairs", "pairs")])
def test_two_processes_go_through_the_losses_of_one(together: Path, recipe: str, name: str) -> None:
    expected = alone(together, recipe)
    assert losses(together / name) == pytest.approx(expected, rel=SAME)
    assert losses(together / name)[0] == pytest.approx(expected[0], rel=FIRST)
    assert len(set(expected)) == len(expected) > 3
    ours, theirs = (read_records(together / where / "log.jsonl") for where in (name, f"alone-{recipe}"))
    assert [r.gradient_norm for r in ours] == pytest.approx([r.gradient_norm for r in theirs], rel=1e-3)
    assert ours[-1].gradient_norms == pytest.approx(theirs[-1].gradient_norms, rel=1e-3)
    assert [r.tokens for r in ours] == [r.tokens for r in theirs]
    assert ours[-1].valid_loss == pytest.approx(theirs[-1].valid_loss, rel=1e-2)  # it may be in bf16


@pytest.mark.parametrize("name", ["ddp", "fsdp", "continued", "pairs"])
def test_what_two_processes_saved_loads_like_anything_else(together: Path, name: str) -> None:
    model = checkpoint.load(together / name / "model", "cpu")
    weights = (model.gpt if name != "pairs" else model.transformer).state_dict()
    state = torch.load(together / name / "state.pt", weights_only=True)
    assert all(type(value) is torch.Tensor for value in state["model"].values())
    for tensor, value in weights.items():
        torch.testing.assert_close(value, state["model"][tensor], rtol=1e-3, atol=1e-4)  # it is in half precision
    with (together / name / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [
            record.step for record in read_records(together / name / "log.jsonl")
        ]


def test_one_process_and_shards_go_on_with_the_runs_of_each_other(together: Path) -> None:
    """Two steps alone, two in shards, then the last one alone: the losses of one process all the way."""
    recipe, texts = load_recipe(together / "tales.toml"), together / "texts"
    assert len(losses(together / "continued")) == 4
    list(run(recipe, texts, together / "continued", "cpu"))
    assert losses(together / "continued") == pytest.approx(alone(together, "tales"), rel=SAME)


def test_shards_without_torchrun_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="expected several processes for FSDP, found one; start it with torchrun"):
        joined(shard=True).__enter__()


# Stopped and killed

SAVES_SLOWLY = """
import sys, time, torch
from gptviz.__main__ import main
whole, saves = torch.save, []
def halfway(state, file):
    whole(state, file)
    saves.append(file.name)
    if len(saves) == 2:
        file.truncate(file.tell() // 2)
        file.flush()
        print("halfway", flush=True)
        time.sleep(600)
torch.save = halfway
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def started(folder: Path) -> Iterator[list[subprocess.Popen]]:
    """Processes that a test starts; those that are left are killed."""
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_killed_while_it_saves_a_run_goes_on_from_the_state_before(
    folder: Path, started: list[subprocess.Popen], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SAVES_SLOWLY, *arguments(folder / "tales.toml", folder / "texts", tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    started.append(process)
    assert any(line == "halfway\n" for line in process.stdout)  # step 4, of which half is on the disk
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2
    rest = list(run(load_recipe(folder / "tales.toml"), folder / "texts", tmp_path, "cpu"))
    assert [record.step for record in rest] == [3, 4, 5]
    assert losses(tmp_path) == pytest.approx(alone(folder, "tales"), rel=SAME)
    assert checkpoint.load(tmp_path / "model").name == "model"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    folder: Path, started: list[subprocess.Popen], tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "gptviz", *arguments(folder / "tales.toml", folder / "texts", tmp_path)]
    process = subprocess.Popen(
        [*command, "--steps", "100000"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    started.append(process)
    process.stdout.readline()  # some steps are done
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "finishing the step and saving" in err
    last = read_records(tmp_path / "log.jsonl")[-1]
    assert f"stopped after step {last.step} of 100000; the same command goes on from there" in out
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == last.step
    assert last.valid_loss is not None
    checkpoint.load(tmp_path / "model")
