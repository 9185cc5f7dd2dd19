"""The records of a run that is being written, read a little at a time: for pages that look every second."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

from gptviz.training.records import StepRecord


class Curve:
    """All records of a `log.jsonl`, kept; each call reads only what has been added. Shared by threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.begin_again()

    def begin_again(self) -> None:
        """Forget everything: the file is another one now, as a run that goes on writes it anew."""
        self.records: list[StepRecord] = []
        self.read_to = 0  # bytes
        self.identity: int | None = None

    def read(self) -> list[StepRecord]:
        """Every record so far, in order of steps; none where the run has not begun. A last line may be unfinished."""
        with self.lock:
            try:
                with self.path.open("rb") as file:
                    found = self.path.stat()
                    if found.st_ino != self.identity or found.st_size < self.read_to:
                        self.begin_again()
                        self.identity = found.st_ino
                    file.seek(self.read_to)
                    added = file.read()
            except FileNotFoundError:
                self.begin_again()
                return []
            whole = added[: added.rfind(b"\n") + 1]
            self.read_to += len(whole)
            self.records.extend(filter(None, map(record_of, whole.splitlines())))
            return list(self.records)


def record_of(line: bytes) -> StepRecord | None:
    """The record in a line; None where a machine that lost power left something else there."""
    try:
        record = StepRecord(**json.loads(line))
        numbers = [record.step, record.tokens, record.loss, record.learning_rate, record.gradient_norm]
        numbers += [record.tokens_per_second, 0 if record.valid_loss is None else record.valid_loss]
        usable = all(type(n) in (int, float) and 0 <= n < math.inf for n in numbers)
    except (ValueError, TypeError, RecursionError):
        return None
    return record if usable else None
