"""Token shards on the disk: written whole or not at all, described by a manifest, read through memory maps.

A prepared folder holds `manifest.json`, `tokenizer.tiktoken` and, for each side of the split, `train-00000.bin` and so
on: little-endian ids, uint16 or uint32 by the size of the vocabulary, an end-of-text token at the very beginning and
behind every document. Laid end to end, the shards of a side are what `gptviz.data.tokenize` makes of its documents.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from gptviz.corpus.documents import Damage
from gptviz.data import DataError
from gptviz.files import replaced
from gptviz.folder import VOCABULARY
from gptviz.tokenizer import Tokenizer

MANIFEST = "manifest.json"
FORMAT = "gptviz-shards-1"
SPLITS = ("train", "valid")
NAMED = 1000  # skipped things that are listed by name; all are counted
MAX_MANIFEST = 64 * 2**20  # bytes; a shard takes about 200


@dataclass(frozen=True)
class Shard:
    """One finished file of a prepared folder."""

    file: str
    split: str
    tokens: int
    documents: int
    sha256: str


@dataclass
class Manifest:
    """What a prepared folder holds and how far the work is; everything that is saved in manifest.json.

    Args:
        settings: what decides the bytes: source, vocabulary, share held out and so on; a resumed run has the same.
        dtype: of the ids, `uint16` or `uint32`.
        finished: nothing is left to do.
        place: file, member and item of the source behind which a resumed run goes on.
        documents: how many there are on each side, and how many were `empty` once cleaned.
        tokens: on each side, end-of-text tokens included.
        skipped: how many damaged things were skipped.
        skipped_names: the first of them, as name and reason.
        shards: the finished files.
    """

    settings: dict[str, Any]
    dtype: str
    finished: bool = False
    place: tuple[int, int, int] = (0, 0, -1)
    documents: dict[str, int] = field(default_factory=lambda: {"train": 0, "valid": 0, "empty": 0})
    tokens: dict[str, int] = field(default_factory=lambda: {"train": 0, "valid": 0})
    skipped: int = 0
    skipped_names: list[Damage] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)

    def skip(self, damage: Damage) -> None:
        """Count one more, and name it if there is room."""
        self.skipped += 1
        if len(self.skipped_names) < NAMED:
            self.skipped_names.append(damage)

    def save(self, folder: Path) -> None:
        """Replace the folder's manifest by this one, in one step."""
        values = {"format": FORMAT} | dataclasses.asdict(self)
        values["skipped_names"] = [damage._asdict() for damage in self.skipped_names]
        with replaced(folder / MANIFEST) as part:
            part.write_text(json.dumps(values, indent=1), encoding="utf-8")
        sync_folder(folder)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a folder's manifest; raises `DataError` if it is none of ours."""
        path = folder / MANIFEST
        try:
            if path.stat().st_size > MAX_MANIFEST:
                raise ValueError(f"more than {MAX_MANIFEST} bytes")
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            manifest = cls(**values)
            manifest.place = tuple(manifest.place)  # type: ignore[assignment]
            manifest.shards = [Shard(**shard) for shard in values["shards"]]
            manifest.skipped_names = [Damage(**damage) for damage in values["skipped_names"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: expected the manifest of a folder made by python -m gptviz prepare, "
                f"found {type(error).__name__}: {error}"
            ) from error
        return manifest


def is_prepared(folder: Path) -> bool:
    """Whether a path is a folder with a manifest."""
    return (folder / MANIFEST).is_file()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last; Windows cannot, and does not need it."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def dtype_for(vocab_size: int) -> str:
    """The smallest type that holds every id."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 of a vocabulary: its pattern, the length of every token, and their bytes."""
    lengths = np.array([len(token) for token in tokenizer.bytes_of], dtype="<u4")
    parts = (tokenizer.pattern.encode(), lengths.tobytes(), b"".join(tokenizer.bytes_of))
    return hashlib.sha256(b"".join(parts)).hexdigest()


class ShardWriter:
    """One shard while it is written: under another name until all of it is on the disk."""

    def __init__(self, folder: Path, split: str, number: int, dtype: str) -> None:
        self.path = folder / f"{split}-{number:05d}.bin"
        self.split, self.dtype = split, np.dtype(dtype).newbyteorder("<")
        self.part = self.path.with_suffix(".part")
        self.file = self.part.open("wb")
        self.digest = hashlib.sha256()
        self.tokens = self.documents = 0

    def write(self, ids: np.ndarray, documents: int) -> None:
        """Append ids, (N,)."""
        data = ids.astype(self.dtype).tobytes()
        self.file.write(data)
        self.digest.update(data)
        self.tokens += len(ids)
        self.documents += documents

    def finish(self) -> Shard | None:
        """Give the file its name; without tokens there is none."""
        if not self.tokens:
            self.discard()
            return None
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.part, self.path)
        return Shard(self.path.name, self.split, self.tokens, self.documents, self.digest.hexdigest())

    def discard(self) -> None:
        """Leave nothing behind; the disk may be full, so that closing the file fails as well."""
        try:
            self.file.close()
        except OSError:
            pass
        finally:
            self.part.unlink(missing_ok=True)


class Shards:
    """The tokens of one side of a prepared folder as one long array, of which only what is looked at is read.

    Takes the place of an array of tokens in `gptviz.data.Source`: it has a length, single tokens and slices.

    Args:
        folder: made by `python -m gptviz prepare`.
        split: `train` or `valid`.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        manifest = Manifest.load(folder)
        self.folder, self.split, self.dtype = folder, split, np.dtype(manifest.dtype).newbyteorder("<")
        if split not in SPLITS:
            raise DataError(f"expected the split train or valid, found {split!r}")
        if not manifest.finished:
            raise DataError(f"{folder}: expected a finished folder, found a part of one; run prepare on it again")
        self.shards = [shard for shard in manifest.shards if shard.split == split]
        if not self.shards:
            raise DataError(
                f"{folder}: expected documents for {split}, found none; prepare it again with another --valid"
            )
        self.documents = manifest.documents[split]
        self.maps = [self.open(shard) for shard in self.shards]
        self.ends = np.cumsum([len(tokens) for tokens in self.maps])  # (shards,), where each one ends

    def open(self, shard: Shard) -> np.ndarray:
        """One shard as a memory map, (N,)."""
        path = self.folder / Path(shard.file).name
        found = path.stat().st_size if path.is_file() else 0
        if found != shard.tokens * self.dtype.itemsize:
            expected = f"{shard.tokens * self.dtype.itemsize} bytes"
            raise DataError(f"{path}: expected {expected}, found {found}; delete {MANIFEST} and prepare it again")
        return np.memmap(path, dtype=self.dtype, mode="r")

    def __len__(self) -> int:
        return int(self.ends[-1])

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> np.ndarray: ...
    def __getitem__(self, index: int | slice) -> int | np.ndarray:
        if not isinstance(index, slice):
            position = range(len(self))[index]
            return int(self[position : position + 1][0])
        begin, end, step = index.indices(len(self))
        if step != 1:
            raise IndexError(f"expected a slice of tokens next to each other, found a step of {step}")
        parts = [np.zeros(0, dtype=self.dtype)]
        number = int(np.searchsorted(self.ends, begin, side="right"))
        while begin < end:
            offset = int(self.ends[number]) - len(self.maps[number])
            part = self.maps[number][begin - offset : end - offset]
            parts.append(part)
            begin += len(part)
            number += 1
        return np.concatenate(parts)

    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the ids."""
        return Tokenizer.load(self.folder / VOCABULARY)

    def texts(self) -> Iterator[str]:
        """The documents, decoded one after the other."""
        tokenizer = self.tokenizer()
        for tokens in self.maps:  # documents do not go on in the next shard
            begin = 0
            for end in np.flatnonzero(tokens == tokenizer.end_of_text).tolist():
                if end > begin:  # the token at the very beginning ends no document
                    yield tokenizer.decode(tokens[begin:end].tolist())
                begin = end + 1

    def verify(self) -> None:
        """Read everything and compare it with the manifest; raises `DataError` with the shard whose SHA-256 differs."""
        for shard in self.shards:
            with (self.folder / Path(shard.file).name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != shard.sha256:
                raise DataError(
                    f"{shard.file}: expected the SHA-256 {shard.sha256[:16]}..., found {found[:16]}...; "
                    f"delete {MANIFEST} and prepare {self.folder} again"
                )
