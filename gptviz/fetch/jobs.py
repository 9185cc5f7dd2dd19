"""Downloads that a page began: each a process of its own, which goes on while pages come and go.

The process is `python -m gptviz get NAME --json`; a thread reads what it prints. Knows nothing about pages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from gptviz import folder as folders
from gptviz.fetch import Progress

JOBS: dict[str, Job] = {}  # by what was asked for; of this process
LOCK = threading.Lock()
MOST = 3  # at once
LINE = 10_000  # characters of a record
ENDED = "expected the download to go through, found its process ended; get it again: it goes on from what is there"


class Job:
    """One download.

    Args:
        asked: the name, as for `gptviz.fetch.get`.
    """

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.began = time.monotonic()
        self.progress = Progress(asked, "starting")
        self.error = ""
        self.cancelled = False
        package = str(folders.ROOT.parent)
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            command(asked), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"}, text=True, encoding="utf-8",
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read, name=f"get {asked}", daemon=True)
        self.reader.start()

    def read(self) -> None:
        """Follow what the process says, to its end."""
        while line := self.process.stdout.readline(LINE):
            try:
                said = json.loads(line)
                self.error = str(said.pop("error", ""))
                self.progress = Progress(**said) if said else self.progress
            except (ValueError, TypeError, AttributeError):  # a warning of some library
                continue
        self.process.stdout.close()
        if self.process.wait() and not self.error and not self.cancelled:
            self.error = ENDED

    @property
    def at_work(self) -> bool:
        """Whether it goes on."""
        return self.reader.is_alive()

    @property
    def installed(self) -> bool:
        """Whether it came to its end."""
        return not self.at_work and not self.error and not self.cancelled

    def seconds_left(self) -> float | None:
        """At the speed so far; None while that is not known."""
        fraction, seconds = self.progress.fraction, time.monotonic() - self.began
        return seconds * (1 - fraction) / fraction if fraction > 0 and seconds > 1 else None

    def cancel(self) -> None:
        """End it, and delete what came."""
        from gptviz import installed

        self.cancelled = True
        self.process.terminate()
        self.reader.join(10)
        if self.at_work:
            self.process.kill()
            self.reader.join(10)
        if self.progress.name in [name for name, _ in installed.unfinished()]:
            installed.remove(self.progress.name)


def command(asked: str) -> list[str]:
    """What fetches a model, in a process of its own. `--` because a name may begin with a dash."""
    return [sys.executable, "-m", "gptviz", "get", "--json", "--", asked]


def begin(asked: str) -> Job:
    """Begin a download, or join the one that is at work already.

    Raises:
        InstallError: while as many as may be are at work.
    """
    from gptviz.installed import InstallError

    with LOCK:
        at_work = [job for job in JOBS.values() if job.at_work]
        if (job := JOBS.get(asked)) is not None and job.at_work:
            return job
        if len(at_work) >= MOST:
            raise InstallError(f"expected at most {MOST} downloads at once, found {len(at_work)}; wait for one of them")
        JOBS[asked] = Job(asked)
        return JOBS[asked]


def forget(job: Job) -> None:
    """A visitor has seen how it ended."""
    with LOCK:
        if JOBS.get(job.asked) is job and not job.at_work:
            del JOBS[job.asked]


def stop_all() -> None:
    """For an app that ends: what came so far is kept, and the next `get` goes on with it."""
    for job in list(JOBS.values()):
        if job.at_work:
            job.process.terminate()
