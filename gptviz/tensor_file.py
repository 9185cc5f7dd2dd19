"""Safetensors files: what they hold, and their tensors, each read straight into the memory where it stays.

A file is not mapped into memory. A map shows whatever happens to the file: weights that somebody replaces would change
under a model that is open, without a word, and a file that becomes shorter ends the whole process. Read into its own
place a tensor takes as much memory as a map of it once it was used, and no more on the way; a file that ends early is
said by name. The format: 8 bytes, little-endian, the length of the header; the header, JSON; the numbers, without gaps.
Sizes come from a stranger: all are held against the size of the file before memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gptviz.folder import CheckpointError, check_start, parse_json, shortened

MAX_HEADER = 16 * 2**20  # bytes; a tensor takes about 100
AT_ONCE = 2**16  # numbers that are read together where their type has to change
MOST_SIDES, LARGEST = 8, 2**31 - 1
TO_NUMBERS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
    "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
"""Bytes of a number of each type; only those in `TO_NUMBERS` are read as weights."""


class Place(NamedTuple):
    """Where a tensor lies in a file, and as what."""

    kind: str  # a name in `SIZES`
    shape: tuple[int, ...]
    start: int  # byte in the file
    size: int  # bytes


class TensorFile:
    """The tensors of a safetensors file by their names.

    Raises:
        CheckpointError: for a file that is damaged, cut short, or no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.label = path, f"{path.parent.name}/{path.name}"
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8 + 32)
            length = int.from_bytes(start[:8], "little")
            check_start(start, length, size, self.label, MAX_HEADER)
            file.seek(8)
            header = parse_json(file.read(length), f"{self.label}, header")
        header.pop("__metadata__", None)
        self.places = {name: self.place(name, entry, 8 + length) for name, entry in header.items()}
        self.check_order(8 + length, size)

    def place(self, name: str, entry: Any, base: int) -> Place:
        """One entry of the header."""
        entry = entry if isinstance(entry, dict) else {}
        kind, shape, offsets = (entry.get(field) for field in ("dtype", "shape", "data_offsets"))
        if not isinstance(kind, str) or kind not in SIZES:
            raise self.wrong(f"{shortened(name)}, dtype", f"one of {', '.join(SIZES)}", shortened(kind))
        if not is_numbers(shape, LARGEST) or len(shape) > MOST_SIDES:
            raise self.wrong(f"{shortened(name)}, shape", f"at most {MOST_SIDES} sides", shortened(shape))
        if not is_numbers(offsets, 2**63) or len(offsets) != 2:
            raise self.wrong(f"{shortened(name)}, data_offsets", "two places in the file", shortened(offsets))
        size = SIZES[kind] * math.prod(shape)
        if offsets[1] - offsets[0] != size:
            found = f"{offsets[1] - offsets[0]}"
            raise self.wrong(f"{shortened(name)}, data_offsets", f"{size} bytes, as its shape says", found)
        return Place(kind, tuple(shape), base + offsets[0], size)

    def check_order(self, at: int, end: int) -> None:
        """Raise `CheckpointError` unless the tensors fill the file without gaps, none over another."""
        for name, place in sorted(self.places.items(), key=lambda item: (item[1].start, item[1].size)):
            if place.start != at:
                field = f"{shortened(name)}, data_offsets"
                raise self.wrong(field, f"a tensor from byte {at} on", f"one from byte {place.start} on")
            at += place.size
        if at != end:
            problem = "truncated" if end < at else "too long"
            raise self.wrong("size", f"{at} bytes, as the header says", f"{end}: {problem}")

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """A tensor in the type that is wanted, with memory of its own. See `read_into`."""
        whole = torch.empty(self.places[name].shape, dtype=dtype)
        self.read_into(name, whole)
        return whole

    def read_into(self, name: str, whole: Tensor) -> None:
        """A tensor into one of its shape, contiguous, and in the type of that.

        Raises:
            CheckpointError: where the file ends, or the numbers are no weights.
        """
        place, flat = self.places[name], whole.view(-1)
        if place.kind not in TO_NUMBERS:
            raise self.wrong(shortened(name), f"numbers of type {', '.join(TO_NUMBERS)}", place.kind)
        stored = TO_NUMBERS[place.kind]
        with self.path.open("rb", buffering=0) as file:
            file.seek(place.start)
            if stored == whole.dtype:
                self.fill(file, flat, name)
                return
            room = torch.empty(min(AT_ONCE, len(flat)), dtype=stored)
            for part in flat.split(AT_ONCE):
                self.fill(file, room[: len(part)], name)
                part.copy_(room[: len(part)])

    def fill(self, file: BinaryIO, numbers: Tensor, name: str) -> None:
        """Read as many bytes as `numbers` (N,) takes into it."""
        read_whole(file, numbers.view(torch.uint8).numpy(), f"{self.label}, {shortened(name)}")

    def wrong(self, field: str, expected: object, found: object) -> CheckpointError:
        """What to raise."""
        return CheckpointError(f"{self.label}, {field}: expected {expected}, found {found}; get it again")


def read_whole(file: BinaryIO, room: np.ndarray, label: str) -> None:
    """Fill `room`, bytes, from where the file is; `CheckpointError` where it ends before."""
    left = memoryview(room).cast("B") if room.size else b""
    while len(left):
        count = file.readinto(left)
        if not count:
            raise CheckpointError(
                f"{label}: expected {len(left)} bytes more, found the end: the file became shorter; get it again"
            )
        left = left[count:]


def is_numbers(values: Any, largest: int) -> bool:
    """Whether this is a list of whole numbers from 0 to `largest`."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= largest for value in values)


def stamps(files: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """Which files these are, and of when: with others after reading than before, what was read is of two models."""
    return [(file.name, found.st_ino, found.st_size, found.st_mtime_ns) for file in files for found in [file.stat()]]
