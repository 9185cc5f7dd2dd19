"""A run of the app as a folder: what it is, how far it is, and what a person can do with it. Knows nothing of torch.

In the folder: `recipe.toml`, how it trains; `data/`, the text; `status.json`, how it is, as its process says;
`process.log`, what that printed; `state.pt`, what it goes on from; `log.jsonl`, a record for every step; `model/`, its
model with the snapshots of the time-lapse; `live/`, the newest weights while it trains.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import threading
import time
import tomllib
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gptviz import folder as folders
from gptviz.files import replaced
from gptviz.folder import MODEL, OF_A_RUN, SNAPSHOTS, snapshot_steps
from gptviz.runs.curve import Curve

RECIPE, STATUS, STOP, LOCK = "recipe.toml", "status.json", "stop", ".training.lock"
DELETED = ".deleted"  # in the folder of all runs: the one that was deleted last, until the next one is
LIVE = "live"
LOOKING = threading.Lock()  # two that look at the lock at once would each see the other as somebody who has it
START_PATIENCE = 60.0  # seconds until a process that does not take the lock counts as ended
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")


INTERRUPTED = "its process was ended from outside; the last saved state is whole"


class RunError(ValueError):
    """Something that a run cannot do now: says what was expected, what was found, and the remedy."""


class State(StrEnum):
    """How a run is."""

    STARTING = "starting"  # its process reads the text
    TRAINING = "training"
    STOPPING = "stopping"  # was asked to, and finishes its step
    STOPPED = "stopped"
    FINISHED = "finished"
    DIVERGED = "diverged"  # its loss was no longer a number
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # its process was ended from outside


ACTIVE = (State.STARTING, State.TRAINING, State.STOPPING)


@dataclass(frozen=True)
class Status:
    """How a run is, and in words why."""

    state: State
    message: str = ""
    process: int | None = None


class Run:
    """One run.

    Args:
        folder: directly under `gptviz.folder.runs_root()`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """As people see it."""
        return self.folder.name

    @property
    def model_name(self) -> str:
        """What its model is called in the picker of the lessons."""
        return OF_A_RUN + self.name

    @property
    def recipe_file(self) -> Path:
        """How it trains."""
        return self.folder / RECIPE

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """How it trains, as plain values: `model`, `training`, `batch`, and for the app `about`."""
        return tomllib.loads(self.recipe_file.read_text(encoding="utf-8"))

    @property
    def data(self) -> Path:
        """Where the recipe's texts are."""
        return Path(self.recipe["about"]["data"]) if "data" in self.recipe["about"] else self.folder / "data"

    @property
    def steps(self) -> int:
        """In all."""
        return self.recipe["training"]["steps"]

    @cached_property
    def curve(self) -> Curve:
        """Its records."""
        return Curve(self.folder / "log.jsonl")

    def last_step(self) -> int:
        """The last step that there is a record of; 0 where there is none."""
        records = self.curve.read()
        return records[-1].step if records else 0

    @property
    def snapshots(self) -> Path:
        """The folder of its time-lapse."""
        return self.folder / MODEL / SNAPSHOTS

    def has_model(self) -> bool:
        """Whether the lessons can open it."""
        return (self.folder / MODEL / folders.CONFIG).is_file()

    # How it is --------------------------------------------------------------------------------------------------------

    def write_status(self, status: Status) -> None:
        """For the process that trains. On a full disk it is written over the last one, where there is room for it."""
        values = {"state": status.state, "message": status.message, "process": status.process}
        text = json.dumps(values)
        try:
            with replaced(self.folder / STATUS) as part:
                part.write_text(text, encoding="utf-8")
        except OSError:
            with (self.folder / STATUS).open("r+", encoding="utf-8") as file:
                file.write(text)
                file.truncate()

    def status(self) -> Status:
        """How it is now: what its process said last, unless that process is no more."""
        said = self.said()
        if said.state not in ACTIVE:
            return said
        # Asked twice, because it may have ended between the two questions.
        if not is_locked(self.folder.parent) and self.said() == said and not self.just_begun(said):
            return Status(State.INTERRUPTED, INTERRUPTED)
        if (self.folder / STOP).exists():
            return Status(State.STOPPING)
        return said

    def just_begun(self, said: Status) -> bool:
        """Whether its process may not have got as far as to take the lock."""
        age = time.time() - (self.folder / STATUS).stat().st_mtime
        return said.state is State.STARTING and age < START_PATIENCE

    def said(self) -> Status:
        """What its process said last."""
        try:
            values = json.loads((self.folder / STATUS).read_text(encoding="utf-8"))
            return Status(State(values["state"]), str(values["message"]), values["process"])
        except FileNotFoundError:
            return Status(State.INTERRUPTED, "it was never begun")
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            return Status(State.FAILED, f"{STATUS} cannot be read ({type(error).__name__}); delete the run")

    # What a person can do ---------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to finish its step and to save."""
        if self.status().state in ACTIVE:
            (self.folder / STOP).touch()

    def rename(self, name: str) -> Run:
        """Give it another name, which is free; returns it under that name."""
        self.refuse_while_active("rename")
        target = new_folder(name)
        os.replace(self.folder, target)
        return Run(target)

    def delete(self) -> None:
        """Put it away; `restore_deleted` brings it back until the next one is deleted."""
        self.refuse_while_active("delete")
        bin_, emptied = self.folder.parent / DELETED, self.folder.parent / f"{DELETED}-before"
        with LOOKING:
            if not self.folder.is_dir():
                raise RunError(f"expected a run called {self.name}, found none; somebody deleted or renamed it")
            shutil.rmtree(emptied, ignore_errors=True)
            if bin_.exists():
                os.replace(bin_, emptied)
            bin_.mkdir()
            os.replace(self.folder, bin_ / self.name)
        shutil.rmtree(emptied, ignore_errors=True)

    def refuse_while_active(self, what: str) -> None:
        """Raise `RunError` while its process writes to the folder."""
        if self.status().state in ACTIVE:
            raise RunError(f"expected a run that is not training, found {self.name} at work; stop it, then {what} it")

    def archive(self) -> bytes:
        """Its model, recipe and log as a zip file."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted((self.folder / MODEL).glob("*")):
                pack(file, path, f"{self.name}/{path.name}")
            for name in (RECIPE, "log.csv"):
                pack(file, self.folder / name, f"{self.name}/{name}")
        return packed.getvalue()


def pack(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    """Put a file into an archive, if it is there, whole, and no link to somewhere else."""
    if path.is_file() and not path.is_symlink() and path.suffix != ".part":
        with contextlib.suppress(FileNotFoundError):  # taken away a moment ago
            archive.write(path, name)


def all_runs() -> list[Run]:
    """Every run, the newest first: a folder whose recipe does not say how it trains is none."""
    root = folders.runs_root()
    found = []
    for name in folders.folders(under=root):
        run = Run(root / name)
        with contextlib.suppress(OSError):  # of a folder that is deleted meanwhile
            if is_recipe(run):
                found.append((run.recipe_file.stat().st_mtime, run))
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]


def is_recipe(run: Run) -> bool:
    """Whether the recipe of a run can be read and has what pages show."""
    try:
        tables = [run.recipe[name] for name in ("about", "model", "training", "batch")]
        steps = run.steps
    except (ValueError, KeyError, TypeError, RecursionError):  # TOML and UTF-8 that are none are ValueErrors
        return False
    return all(isinstance(table, dict) for table in tables) and type(steps) is int and steps >= 1


def find_run(name: str) -> Run | None:
    """The run of a name that came from a URL: compared with what is there, never made into a path."""
    return next((run for run in all_runs() if run.name == name), None)


def active_run() -> Run | None:
    """The one that trains on this machine, if there is one."""
    return next((run for run in all_runs() if run.status().state in ACTIVE), None)


def is_locked(root: Path) -> bool:
    """Whether some process trains a run of this folder: the system gives the lock back with the process."""
    if not (root / LOCK).exists():
        return False
    lock = FileLock(root / LOCK, timeout=0)
    try:
        with LOOKING, lock:
            return False
    except Timeout:
        return True


def new_folder(name: str) -> Path:
    """Where a run of this name would be; raises `RunError` for a name that cannot be, or is taken."""
    if not NAME.fullmatch(name):
        raise RunError(
            f"expected a name of 1 to 40 letters, digits, spaces, _ and -, found {folders.shortened(name)}; change it"
        )
    target = folders.runs_root() / name
    if target.exists():
        raise RunError(f"expected a new name, found a run called {name}; choose another, or delete that run")
    return target


def deleted() -> str | None:
    """The name of the run that `restore_deleted` would bring back."""
    return next(iter(folders.folders(under=folders.runs_root() / DELETED)), None)


def restore_deleted() -> Run:
    """Undo the last `Run.delete`."""
    name = deleted()
    if name is None:
        raise RunError("expected a run that was deleted, found none; it was brought back already, or another one was")
    target = new_folder(name)
    os.replace(folders.runs_root() / DELETED / name, target)
    with contextlib.suppress(OSError):
        (folders.runs_root() / DELETED).rmdir()
    return Run(target)


def live_steps(run: Run) -> list[int]:
    """The steps whose weights are there for those who watch, in order; the last one is the newest."""
    return snapshot_steps(run.folder / LIVE)
