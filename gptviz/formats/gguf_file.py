"""The container of a GGUF file: its metadata and where its tensors lie. Nothing is executed, every length is checked.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian: "GGUF", the
version, how many tensors and how many pairs of metadata; the pairs; for each tensor name, sides, type and offset; then
the tensors, each at a multiple of the alignment. Counts and lengths come from a stranger: before anything is made of
them they are held against what is left of the file.
"""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gptviz.folder import CheckpointError, shortened

MAGIC, VERSIONS = b"GGUF", (2, 3)
NUMBERS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"}
BOOL, STRING, ARRAY = 7, 8, 9
DEEPEST = 4  # arrays in arrays; no file known has two
MOST_SIDES = 4
BEGINNINGS = (2**20, 2**24, 2**27)  # bytes that are read before the tensors: a vocabulary takes some millions
ALIGNMENT = 32  # where the file does not say

TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 12: ("Q4_K", 256, 144), 14: ("Q6_K", 256, 210),
}  # fmt: skip
"""The types of tensors that are read here: their number -> name, numbers in a block, bytes of a block."""
OTHER_TYPES = {
    9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


class TensorPlace(NamedTuple):
    """Where a tensor lies in a file, and as what."""

    kind: str  # a name in `TYPES`
    shape: tuple[int, ...]  # as PyTorch counts sides: the last one is contiguous
    start: int  # byte in the file
    size: int  # bytes


class Container(NamedTuple):
    """What a file holds, before a tensor is read."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorPlace]


def read_container(path: Path) -> Container:
    """The metadata and the places of all tensors of a file.

    Raises:
        CheckpointError: for a file that is damaged, cut short, or of a kind that is not known here.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < 24:
            raise CheckpointError(f"{path.name}: expected a GGUF file, found {size} bytes; copy it again")
        for most in BEGINNINGS:  # not mapped: a map of a file that becomes shorter ends the process
            file.seek(0)
            content = file.read(min(most, size))
            if len(content) < min(most, size):
                raise CheckpointError(f"{path.name}: expected {size} bytes, found it shorter by now; copy it again")
            try:
                return Reader(content, path.name, size).container()
            except TooShort:
                continue
    raise CheckpointError(
        f"{path.name}: expected at most {BEGINNINGS[-1]} bytes before the tensors, found more; copy it again"
    )


class TooShort(Exception):
    """More of the file has to be read."""


class Reader:
    """Reads through a file from its beginning. `at` is the next byte, `size` how long all of the file is."""

    def __init__(self, content: bytes, label: str, size: int | None = None) -> None:
        self.content, self.label, self.at = content, label, 0
        self.end = len(content) if size is None else size

    def container(self) -> Container:
        """All but the tensors themselves."""
        if self.take(4, "magic") != MAGIC:
            raise self.wrong("magic", "GGUF", shortened(self.content[:4]), "it is no GGUF file, or damaged")
        version = self.number("<u4", "version")
        if version not in VERSIONS:
            raise self.wrong("version", "2 or 3, little-endian", version, "convert the model again")
        n_tensors, n_pairs = self.count(24, "tensor count"), self.count(12, "metadata count")
        metadata: dict[str, Any] = {}
        for _ in range(n_pairs):
            key = self.text("metadata key")
            if key in metadata:
                raise self.wrong(shortened(key), "each key once", "it twice")
            metadata[key] = self.value(self.number("<u4", f"{shortened(key)}, type"), shortened(key))
        infos = [self.info() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or isinstance(alignment, bool) or not 1 <= alignment <= 2**20:
            raise self.wrong("general.alignment", "a number from 1 to 1048576", shortened(alignment))
        base = -(-self.at // alignment) * alignment
        return Container(metadata, self.placed(infos, base))

    def info(self) -> tuple[str, str, tuple[int, ...], int]:
        """Name, type, shape and offset of the next tensor."""
        name = self.text("name of a tensor")
        label = shortened(name)
        n_sides = self.number("<u4", f"{label}, sides")
        if not 1 <= n_sides <= MOST_SIDES:
            raise self.wrong(label, f"1 to {MOST_SIDES} sides", n_sides)
        sides = [self.number("<u8", f"{label}, sides") for _ in range(n_sides)]
        if not all(0 < side < 2**31 for side in sides):
            raise self.wrong(label, "sides from 1 to 2147483647", shortened(sides))
        kind = self.number("<u4", f"{label}, type")
        if kind not in TYPES:
            known = ", ".join(each[0] for each in TYPES.values())
            found = OTHER_TYPES.get(kind, f"type {kind}")
            raise self.wrong(label, f"one of {known}", found, "get the model in one of these")
        return name, TYPES[kind][0], tuple(reversed(sides)), self.number("<u8", f"{label}, offset")

    def placed(self, infos: list[tuple[str, str, tuple[int, ...], int]], base: int) -> dict[str, TensorPlace]:
        """Tensors by name, each wholly in the file and none over another."""
        tensors: dict[str, TensorPlace] = {}
        sizes = {name: (block, size) for name, block, size in TYPES.values()}
        for name, kind, shape, offset in infos:
            block, size = sizes[kind]
            if shape[-1] % block:
                raise self.wrong(shortened(name), f"rows of a multiple of {block} numbers, as {kind} has", shape[-1])
            length = math.prod(shape) // block * size
            if offset + length > self.end - base:
                raise self.wrong(
                    shortened(name), f"{length} bytes from {offset} on within {self.end - base}", "the end of the file",
                    "it is cut short; copy it again",
                )  # fmt: skip
            if name in tensors:
                raise self.wrong(shortened(name), "each tensor once", "it twice")
            tensors[name] = TensorPlace(kind, shape, base + offset, length)
        in_order = sorted(tensors.items(), key=lambda item: item[1].start)
        for (_, first), (name, second) in itertools.pairwise(in_order):
            if first.start + first.size > second.start:
                raise self.wrong(shortened(name), "tensors that do not overlap", f"one that begins at {second.start}")
        return tensors

    def value(self, kind: int, label: str, depth: int = 0) -> Any:
        """The next value of the metadata: a number, a truth value, a text, an array of numbers, or a list of texts."""
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], label)
        if kind == BOOL:
            return self.take(1, label) != b"\0"
        if kind == STRING:
            return self.text(label)
        if kind != ARRAY:
            raise self.wrong(label, "a type of value from 0 to 12", kind)
        inner = self.number("<u4", label)
        if inner in NUMBERS or inner == BOOL:
            dtype = np.dtype(NUMBERS.get(inner, "u1"))
            raw = self.take(self.count(dtype.itemsize, label) * dtype.itemsize, label)
            values = np.frombuffer(raw, dtype)
            return values.astype(bool) if inner == BOOL else values
        if inner == STRING:
            return self.texts(self.count(8, label), label)
        if depth == DEEPEST:
            raise self.wrong(label, f"arrays at most {DEEPEST} deep", "a deeper one")
        return [self.value(inner, label, depth + 1) for _ in range(self.count(4, label))]

    def texts(self, count: int, label: str) -> list[str]:
        """The next `count` texts: a vocabulary has 100,000, so that nothing is called for each."""
        content, at, end, unpack = self.content, self.at, self.end, struct.Struct("<Q").unpack_from
        found = []
        try:
            for _ in range(count):
                (length,) = unpack(content, at)
                start, at = at + 8, at + 8 + length
                if at > end:
                    raise self.wrong(label, f"a text of {length} bytes", f"{end - start} left", "copy it again")
                if at > len(content):
                    raise TooShort
                found.append(content[start:at].decode())
        except struct.error as error:
            if len(content) < end:
                raise TooShort from error
            raise self.wrong(label, f"{count} texts", f"{len(found)}, then the end", "copy it again") from error
        except UnicodeDecodeError as error:
            raise self.wrong(label, "texts in UTF-8", f"other bytes in number {len(found)}") from error
        self.at = at
        return found

    def text(self, label: str) -> str:
        """The next text: its length, then UTF-8."""
        raw = self.take(self.count(1, label), label)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.wrong(label, "a text in UTF-8", shortened(raw[:20])) from error

    def number(self, dtype: str, label: str) -> int | float:
        """The next number."""
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(kind.itemsize, label), kind)[0].item()

    def count(self, each: int, label: str) -> int:
        """The next count, of things that take `each` bytes at least."""
        count, most = self.number("<u8", label), (self.end - self.at) // each
        if count > most:
            raise self.wrong(label, f"at most {most}, as the file is long", count, "copy it again")
        return count

    def take(self, size: int, label: str) -> bytes:
        """The next `size` bytes."""
        if size > self.end - self.at:
            raise self.wrong(label, f"{size} bytes more", f"{self.end - self.at}", "it is cut short; copy it again")
        self.at += size
        if self.at > len(self.content):
            raise TooShort
        return self.content[self.at - size : self.at]

    def wrong(self, field: str, expected: object, found: object, remedy: str = "copy it again") -> CheckpointError:
        """What to raise."""
        return CheckpointError(f"{self.label}, {field}: expected {expected}, found {found}; {remedy}")
