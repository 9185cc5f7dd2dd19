"""Plain data out of a pickle, without running anything of it: whatever would import or call is refused.

nanoGPT keeps the characters of its models in such a file. Pickle is a little language whose words may name any function
of the machine; here a reader that knows no function at all reads it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from gptviz.folder import CheckpointError

MOST_BYTES = 2**20
FORBIDDEN = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1", "EXT2", "EXT4",
             "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"}  # fmt: skip
"""The words that import, call, or ask the reader for something of its own."""


class PlainUnpickler(pickle.Unpickler):
    """Knows no class and no function: a second lock on the same door."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse whatever is asked for."""
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_plain(path: Path) -> Any:
    """Dictionaries, lists, texts and numbers of a pickle of at most 1 MiB.

    Raises:
        CheckpointError: for a file that is larger, damaged, or would do anything; nothing of it was run.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise CheckpointError(f"{path.name}: expected at most {MOST_BYTES} bytes, found {size}")
    content = path.read_bytes()
    try:
        words = {word.name for word, _, _ in pickletools.genops(content)}
        if words & FORBIDDEN:
            raise pickle.UnpicklingError(f"it would run code ({', '.join(sorted(words & FORBIDDEN))})")
        return PlainUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle may fail in any way
        raise CheckpointError(
            f"{path.name}: expected plain data, found: {str(error)[:100]}; nothing of it was run"
        ) from error
