"""Runs of the app for tests: small texts, and a process that is none. Knows nothing about pages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gptviz.runs import begin, sample, worker
from gptviz.runs.begin import SIZES, Choice
from gptviz.runs.run import Run

TEXT = " ".join(sample.tales(60))  # 25,000 characters
PATIENCE = 300  # seconds; only a very busy machine needs them


class NoProcess:
    """In place of `subprocess.Popen`: begins nothing."""

    def __init__(self, *given: object, **options: object) -> None:
        self.ended: int | None = 0

    def poll(self) -> int | None:
        """As if it had ended."""
        return self.ended

    def terminate(self) -> None:
        """There is nothing to end."""

    def wait(self, seconds: float | None = None) -> int:
        """It has ended."""
        return 0


def without_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, runs that are begun wait for `work`."""
    monkeypatch.setattr(begin.subprocess, "Popen", NoProcess)


def choice(name: str = "one", **changes: object) -> Choice:
    """A run that takes a second: a tiny model, few rows."""
    return Choice(**({"name": name, "size": SIZES["Tiny"], "text": TEXT, "steps": 12, "rows": 2} | changes))


def work(run: Run) -> Run:
    """What the process of a run does, in this one: until its last step, or until it is asked to stop."""
    worker.main(run.folder, os.getppid())
    return run


def finished_run(root: Path, **changes: object) -> Run:
    """A run that was begun and trained under `root`, in this process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GPTVIZ_RUNS", str(root))
        without_process(monkeypatch)
        return work(begin.begin(choice(**changes)))


def wait_until(told: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return once `told` is true; fail when it takes too long."""
    end = time.monotonic() + seconds
    while not told():
        if time.monotonic() > end:
            pytest.fail("expected something that did not come in time")
        time.sleep(0.05)
