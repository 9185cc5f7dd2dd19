"""Files that are there as a whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields the path to write to; when the block is through, the file takes the place of `path` at once.

    An error leaves `path` as it was and nothing beside it: on a full disk that is room. A process that dies before
    leaves a `.part` there, which the next call writes over. What was written is on the disk before it takes the place,
    so that a machine that loses power has one of the two.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
