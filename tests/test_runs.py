"""Runs that are begun in the app: what is refused, what their processes do, what a person can do with them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

import gptviz
from gptviz.folder import snapshot_steps
from gptviz.recipe import load_recipe
from gptviz.runs import begin, run, sample, worker
from gptviz.runs.begin import SIZES, documents
from gptviz.runs.curve import Curve
from gptviz.runs.recording import find_recording, recordings
from gptviz.runs.run import DELETED, LOCK, STATUS, STOP, Run, RunError, State, Status
from gptviz.training.records import StepRecord, record_dict
from tests.app_runs import TEXT, choice, finished_run, wait_until, without_process, work


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, and none of corpora."""
    monkeypatch.setenv("GPTVIZ_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("GPTVIZ_CORPORA", str(tmp_path / "corpora"))
    return tmp_path / "runs"


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are begun have no process."""
    without_process(monkeypatch)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has finished. Never change it."""
    return finished_run(tmp_path_factory.mktemp("done"), steps=30).folder


@pytest.fixture
def one(done: Path, root: Path) -> Run:
    """A copy of it, called one."""
    shutil.copytree(done, root / "one")
    return Run(root / "one")


# Beginning ------------------------------------------------------------------------------------------------------------


NAMES = ["", " ", "../x", "a/b", "a\\b", ".hidden", "-x", "ä", "x" * 41, "a\nb", "run:x", "a@3"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_could_lead_anywhere_are_refused(name: str, waiting: None, root: Path) -> None:
    with pytest.raises(RunError, match="expected a name"):
        begin.begin(choice(name))
    assert not root.exists() or not any(root.iterdir())


def test_a_name_that_is_taken_is_refused(one: Run, waiting: None) -> None:
    with pytest.raises(RunError, match="found a run called one"):
        begin.begin(choice("one"))
    assert one.status().state is State.FINISHED


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "found 0"), ("too short", "found 9"), ("x" * 5_000_001, "5,000,001"), (" " * 2000, "more text")],
    ids=["empty", "short", "long", "blank"],
)
def test_a_text_that_cannot_be_trained_on_is_refused_and_leaves_nothing(
    text: str, why: str, waiting: None, root: Path
) -> None:
    with pytest.raises(RunError, match=why):
        begin.begin(choice(text=text))
    assert not (root / "one").exists()


def test_a_corpus_that_is_not_there_is_refused(waiting: None, root: Path) -> None:
    with pytest.raises(RunError, match="there are: none"):
        begin.begin(choice(text=None, corpus="../../etc"))
    assert not (root / "one").exists()


def test_a_text_is_cut_between_words_and_its_end_is_held_out() -> None:
    (train,), (valid,) = documents(TEXT)
    assert train + valid == TEXT
    assert valid.startswith(" ")
    assert 0.08 < len(valid) / len(TEXT) < 0.12


def test_of_the_sample_the_last_tales_are_held_out() -> None:
    train, valid = documents(None)
    assert train + valid == list(sample.tales())
    assert len(valid) == round(0.1 * sample.TALES)


def test_equal_seeds_give_equal_tales() -> None:
    assert list(sample.tales(50, seed=3)) == list(sample.tales(50, seed=3))
    assert list(sample.tales(50, seed=3)) != list(sample.tales(50, seed=4))
    assert "{" not in TEXT and "}" not in TEXT


def test_the_recipe_says_what_was_chosen(waiting: None) -> None:
    chosen = choice(steps=70, rows=3, learning_rate=0.002, causal=False, repeats=0.25, seed=7)
    begun = begin.begin(chosen)
    recipe = load_recipe(begun.recipe_file)
    training = recipe.training
    assert (training.steps, training.learning_rate, training.causal, training.seed) == (70, 0.002, False, 7)
    assert (recipe.rows, recipe.repeats, recipe.sources[0].share) == (3, ((0, 0.25),), 0.75)
    shape = recipe.model
    assert (shape.n_layers, shape.n_heads, shape.d_model, shape.context) == SIZES["Tiny"][:4]
    assert begun.steps == 70
    assert begun.status().state is State.STARTING


def test_a_short_text_gets_a_shorter_context(waiting: None) -> None:
    short = load_recipe(begin.begin(choice(size=SIZES["Large"], text=TEXT[:1500])).recipe_file)
    assert 16 <= short.model.context < SIZES["Large"].context


def test_only_one_run_trains_at_a_time(waiting: None) -> None:
    begin.begin(choice("one"))
    with pytest.raises(RunError, match="found one training"):
        begin.begin(choice("two"))


# What a process does --------------------------------------------------------------------------------------------------


def test_a_finished_run_can_be_opened_and_replayed(one: Run) -> None:
    assert one.status().state is State.FINISHED
    assert one.last_step() == 30
    recipe = load_recipe(one.recipe_file)
    assert snapshot_steps(one.snapshots) == list(recipe.training.snapshot_steps())
    assert snapshot_steps(one.snapshots)[0] == 0 and snapshot_steps(one.snapshots)[-1] == 30
    model = gptviz.load("run:one")
    assert gptviz.load("run:one@30").gpt.config == model.gpt.config
    assert recordings()[-1] == "run:one"
    assert find_recording("run:one").losses().steps == list(range(1, 31))
    with pytest.raises(RunError, match="finished"):
        begin.go_on(one)


def test_a_run_that_is_stopped_goes_on_to_the_same_losses(done: Path, root: Path, waiting: None) -> None:
    stopped = begin.begin(choice("two", steps=30))
    (stopped.folder / STOP).touch()
    assert stopped.status().state is State.STOPPING
    work(stopped)
    assert stopped.status() == Status(State.STOPPED, "somebody stopped it")
    assert stopped.last_step() == 1
    assert stopped.has_model()
    assert snapshot_steps(stopped.snapshots)[-1] == 1, "its time-lapse ends where it ended"
    assert not (stopped.folder / STOP).exists()
    begin.go_on(stopped)
    work(stopped)
    assert stopped.status().state is State.FINISHED
    assert [r.loss for r in stopped.curve.read()] == pytest.approx([r.loss for r in Run(done).curve.read()], rel=1e-4)


def test_a_run_ends_when_nobody_could_see_it_any_more(tmp_path: Path) -> None:
    class Signals:
        def asked(self) -> bool:
            return False

    assert not worker.Reasons(tmp_path / STOP, os.getppid(), Signals()).asked()
    orphan = worker.Reasons(tmp_path / STOP, os.getppid() + 1, Signals())
    assert orphan.asked() and "app" in orphan.words


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_model(waiting: None, root: Path) -> None:
    good = begin.begin(choice("two", steps=400))
    (good.folder / STOP).touch()
    work(good)
    recipe = good.recipe_file.read_text(encoding="utf-8")
    good.recipe_file.write_text(recipe.replace("learning_rate = 0.004", "learning_rate = 1e30"), encoding="utf-8")
    begin.go_on(good)
    work(good)
    status = good.status()
    assert status.state is State.DIVERGED
    assert "of step 1;" in status.message and "below 1e+30" in status.message
    assert str(root) not in status.message
    assert gptviz.load("run:two").gpt.config.n_layers == 1


def test_a_run_that_diverges_before_its_first_save_has_no_model(waiting: None) -> None:
    bad = work(begin.begin(choice(learning_rate=1e30, steps=200)))
    assert bad.status().state is State.DIVERGED
    assert "nothing had been saved" in bad.status().message
    assert not bad.has_model()


def test_a_recipe_that_cannot_be_read_is_a_failure_with_words(waiting: None) -> None:
    broken = begin.begin(choice())
    broken.recipe_file.write_text("nonsense", encoding="utf-8")
    work(broken)
    assert broken.status().state is State.FAILED
    assert "expected a recipe" in broken.status().message


FULL = Path("/dev/full")  # whatever is written to it finds no room
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full, a disk without room")


@needs_full
@pytest.mark.parametrize("file", ["state.pt", "text-train.npy", "model/model.safetensors"])
def test_a_full_disk_ends_a_run_with_words_and_it_goes_on_when_there_is_room(
    file: str, done: Path, waiting: None
) -> None:
    begun = begin.begin(choice(steps=30))
    part = begun.folder / f"{file}.part"
    part.parent.mkdir(exist_ok=True)
    part.symlink_to(FULL)
    work(begun)
    assert begun.status().state is State.FAILED
    assert "the disk refused: " in begun.status().message and "make room, then continue" in begun.status().message
    assert not list(begun.folder.rglob("*.part"))  # which is room
    work(begun)
    assert begun.status().state is State.FINISHED
    assert [record.loss for record in begun.curve.read()] == [record.loss for record in Run(done).curve.read()]


@needs_full
def test_how_a_run_ended_is_told_on_a_full_disk_too(one: Run) -> None:
    one.write_status(Status(State.TRAINING, "a message that is longer than the next one" * 3))
    (one.folder / f"{STATUS}.part").symlink_to(FULL)
    one.write_status(Status(State.FAILED, "no room"))
    assert one.status() == Status(State.FAILED, "no room")


def test_a_second_process_does_not_train(waiting: None, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOCK_PATIENCE", 0.1)
    second = begin.begin(choice())
    with FileLock(root / LOCK):
        assert worker.main(second.folder, os.getppid()) == 1
    assert second.status().state is State.FAILED
    assert "another run was training" in second.status().message
    assert second.last_step() == 0


def test_a_real_process_is_killed_and_goes_on_from_what_it_saved(root: Path) -> None:
    killed = begin.begin(choice(steps=4000))
    wait_until(lambda: killed.last_step() > 55)
    assert killed.status().state is State.TRAINING
    assert run.active_run().name == "one"
    for refused in (killed.delete, lambda: killed.rename("two"), lambda: begin.begin(choice("two"))):
        with pytest.raises(RunError, match="one"):
            refused()
    process = begin.PROCESSES[-1]
    os.kill(killed.said().process, signal.SIGKILL)
    process.wait()
    assert killed.status().state is State.INTERRUPTED
    reached = killed.last_step()

    begin.go_on(killed)
    wait_until(lambda: killed.status().state is State.TRAINING and killed.last_step() > reached + 20)
    steps = [record.step for record in killed.curve.read()]
    assert steps == list(range(1, len(steps) + 1))
    killed.stop()
    wait_until(lambda: killed.status().state is State.STOPPED)
    assert gptviz.load("run:one").gpt.config.n_layers == 1


def test_the_app_takes_its_runs_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = subprocess.Popen(["sleep", "1000"])
    monkeypatch.setattr(begin, "PROCESSES", [asleep])
    begin.stop_all()
    assert asleep.poll() is not None


# How it is ------------------------------------------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_is_interrupted_also_while_another_one_trains(one: Run, waiting: None) -> None:
    one.write_status(Status(State.TRAINING, process=1))
    assert one.status().state is State.INTERRUPTED
    two = begin.begin(choice("two"))
    with FileLock(one.folder.parent / LOCK):  # its process has the lock
        two.write_status(Status(State.TRAINING, process=2))
        assert two.status().state is State.TRAINING
        assert one.status().state is State.INTERRUPTED
        assert run.active_run().name == "two"


def test_a_process_that_never_got_anywhere_is_interrupted(one: Run) -> None:
    one.write_status(Status(State.STARTING))
    assert one.status().state is State.STARTING
    long_ago = time.time() - 2 * run.START_PATIENCE
    os.utime(one.folder / STATUS, (long_ago, long_ago))
    assert one.status().state is State.INTERRUPTED


@pytest.mark.parametrize("content", ["", "nonsense", "[]", "{}", '{"state": "x", "message": "", "process": 1}'])
def test_a_status_that_cannot_be_read_is_a_failure(one: Run, content: str) -> None:
    (one.folder / STATUS).write_text(content, encoding="utf-8")
    assert one.status().state is State.FAILED


def test_only_names_that_are_there_are_found(one: Run) -> None:
    assert run.find_run("one").folder == one.folder
    for name in ("", ".", "..", "../runs/one", DELETED, "two"):
        assert run.find_run(name) is None


# What a person can do -------------------------------------------------------------------------------------------------


def test_a_run_gets_another_name(one: Run) -> None:
    moved = one.rename("two words")
    assert [each.name for each in run.all_runs()] == ["two words"]
    assert gptviz.load("run:two words").fingerprint
    with pytest.raises(RunError, match="expected a name"):
        moved.rename("../up")
    with pytest.raises(RunError, match="found a run called two words"):
        moved.rename("two words")


def test_a_run_is_deleted_and_brought_back(one: Run, root: Path) -> None:
    before = (one.folder / "log.jsonl").read_bytes()
    one.delete()
    assert run.all_runs() == [] and run.deleted() == "one"
    assert "run:one" not in gptviz.folder.available()
    back = run.restore_deleted()
    assert (back.folder / "log.jsonl").read_bytes() == before
    assert run.deleted() is None
    with pytest.raises(RunError, match="found none"):
        run.restore_deleted()


def test_only_the_last_one_comes_back_and_not_over_another(one: Run, done: Path, root: Path) -> None:
    shutil.copytree(done, root / "two")
    one.delete()
    Run(root / "two").delete()
    assert run.deleted() == "two"
    shutil.copytree(done, root / "two")
    with pytest.raises(RunError, match="found a run called two"):
        run.restore_deleted()
    assert run.deleted() == "two"


def test_the_archive_has_what_another_machine_needs(one: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(one.archive())) as file:
        assert file.testzip() is None
        file.extractall(tmp_path)
    assert {"recipe.toml", "log.csv", "model.safetensors"} <= {path.name for path in (tmp_path / "one").iterdir()}
    assert gptviz.load(tmp_path / "one").fingerprint == gptviz.load("run:one").fingerprint


# The records ----------------------------------------------------------------------------------------------------------


def line(step: int, loss: float = 1.0) -> str:
    """A record as it stands in a log."""
    return json.dumps(record_dict(StepRecord(step, 10 * step, loss, 0.1, 1.0, 100.0))) + "\n"


def test_a_curve_reads_what_was_added_and_waits_for_an_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    curve = Curve(path)
    assert curve.read() == []
    path.write_text(line(1), encoding="utf-8")
    assert [r.step for r in curve.read()] == [1]
    with path.open("a", encoding="utf-8") as file:
        file.write(line(2) + line(3)[:20])
    assert [r.step for r in curve.read()] == [1, 2]
    with path.open("a", encoding="utf-8") as file:
        file.write(line(3)[20:])
    assert [r.step for r in curve.read()] == [1, 2, 3]


def test_a_curve_begins_again_with_another_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(line(1) + line(2), encoding="utf-8")
    curve = Curve(path)
    curve.read()
    (tmp_path / "new").write_text(line(1, 5.0) + line(2, 6.0) + line(3, 7.0), encoding="utf-8")
    os.replace(tmp_path / "new", path)
    assert [r.loss for r in curve.read()] == [5.0, 6.0, 7.0]
    path.write_text("", encoding="utf-8")
    assert curve.read() == []
    path.unlink()
    assert curve.read() == []


def test_a_line_that_was_lost_with_the_power_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1).encode() + b"\0\0\0\0\n" + b'{"step": 2}\n' + line(3).encode())
    assert [r.step for r in Curve(path).read()] == [1, 3]


def test_a_second_delete_keeps_what_the_first_put_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "start", lambda run: run)
    made = begin.begin(begin.Choice("mine", begin.SIZES["Tiny"]))
    made.delete()
    with pytest.raises(run.RunError, match="somebody deleted or renamed it"):
        made.delete()
    assert run.restore_deleted().recipe["about"]["corpus"] == "sample tales"


@pytest.mark.parametrize("text", ["[model", "", "[training]\nsteps = 0\n", "about = 1\n"])
def test_a_folder_whose_recipe_says_nothing_is_no_run(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "bad"
    folder.mkdir(parents=True)
    (folder / run.RECIPE).write_text(text)
    assert run.all_runs() == []


def test_a_damaged_status_or_record_is_said_or_left_out(tmp_path: Path) -> None:
    (tmp_path / run.STATUS).write_text("[" * 100_000)
    assert run.Run(tmp_path).said().state is run.State.FAILED
    lines = ["[" * 100_000, '{"step": "x", "tokens": 1}', '{"step": 1, "tokens": 1, "loss": null}']
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    assert run.Run(tmp_path).curve.read() == []


def test_an_archive_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (tmp_path / "mine" / "model" / "config.json").symlink_to(tmp_path / "secret")
    (tmp_path / "mine" / run.RECIPE).symlink_to(tmp_path / "secret")
    assert zipfile.ZipFile(io.BytesIO(run.Run(tmp_path / "mine").archive())).namelist() == []


@pytest.mark.parametrize("text", ["abc" * 3000, "7" * 3000, "-" * 3000, "a " * 900 + " " * 2000 + "b"])
def test_a_text_of_one_word_is_refused_at_once(text: str) -> None:
    with pytest.raises(run.RunError, match="expected words"):
        begin.documents(text)
