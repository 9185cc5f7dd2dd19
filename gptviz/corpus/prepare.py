"""Text to token shards: read in one thread, cleaned and tokenised in many, written in the order of the source.

The bytes depend on the source and the settings alone, neither on the number of threads nor on interruptions. Threads
are enough: tiktoken and hashing let go of the interpreter, and threads share one vocabulary, so that memory stays small
on many cores.
"""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gptviz.corpus.documents import Damage, clean, is_held_out
from gptviz.corpus.shards import (
    MANIFEST,
    SPLITS,
    Manifest,
    ShardWriter,
    dtype_for,
    fingerprint,
    is_prepared,
    sync_folder,
)
from gptviz.corpus.sources import Event, Files, Place, Source
from gptviz.data import DataError
from gptviz.files import replaced
from gptviz.folder import VOCABULARY
from gptviz.tokenizer import Tokenizer

BATCH = 2**18  # characters that a thread takes at a time
BATCH_EVENTS = 2**12
WAITING = 2  # batches for each thread, in work or finished and not written yet
VALID = 0.0005  # nanoGPT's share of OpenWebText
SHARD = 2**25  # tokens; what an interruption can cost at most


@dataclass(frozen=True)
class Settings:
    """What decides the shards beside the source and the vocabulary.

    Args:
        valid: share of the documents that is held out, by the hash of their text.
        limit: stop after so many documents; None for all.
        shard: tokens after which a shard ends, at the next batch.
    """

    valid: float = VALID
    limit: int | None = None
    shard: int = SHARD

    def __post_init__(self) -> None:
        if not 0 <= self.valid < 1:
            raise DataError(f"expected a share to hold out from 0 to less than 1, found {self.valid}")
        if (self.limit is not None and self.limit < 1) or self.shard < 1:
            raise DataError(f"expected limits of 1 or more, found {self.limit} documents, {self.shard} tokens a shard")


class Progress(NamedTuple):
    """How far the work is; the last one is `finished`."""

    documents: int
    tokens: int
    skipped: int
    fraction: float | None  # of the source; None if its size is not known
    finished: bool


class Encoded(NamedTuple):
    """A batch once tokenised; each document is followed by the end-of-text token."""

    place: Place  # of its last event
    ids: dict[str, np.ndarray]  # of each side: (N,) uint32
    documents: dict[str, int]
    damage: list[Damage]


def prepare(
    source: Source, folder: Path, tokenizer: Tokenizer, settings: Settings | None = None, workers: int | None = None
) -> Iterator[Progress]:
    """Write a source as token shards, from the beginning or from where `folder` stopped.

    Args:
        source: `Files`, `Texts` or another.
        folder: for the shards; made if it is not there.
        tokenizer: its ids are written, and it is saved with them.
        settings: as in a run that is resumed.
        workers: threads that tokenise; one a core by default.

    Yields:
        `Progress`: what was there already, then after every batch.

    Raises:
        DataError: if the folder holds something else, the disk is full, or nothing in the source is a document.
    """
    settings, workers = settings or Settings(), cores() if workers is None else workers
    if workers < 1:
        raise DataError(f"expected 1 worker or more, found {workers}")
    manifest = begin(source, folder, tokenizer, settings)
    yield Progress(count(manifest), sum(manifest.tokens.values()), manifest.skipped, None, False)
    try:
        if not manifest.finished:
            run = Run(folder, manifest, tokenizer, settings)
            yield from run.work(source, workers)
    except OSError as error:
        raise DataError(
            f"expected to write to {folder}, found: {error.strerror or error}; what is in {MANIFEST} is safe: "
            f"make room and run the same command again, it goes on after {count(manifest)} documents"
        ) from error
    if not any(manifest.tokens.values()):
        (folder / MANIFEST).unlink()
        first = "; ".join(f"{damage.name}: {damage.reason}" for damage in manifest.skipped_names[:1])
        raise DataError(f"{source.name}: expected documents, found none" + (f"; {first}" if first else ""))
    yield Progress(count(manifest), sum(manifest.tokens.values()), manifest.skipped, 1.0, True)


def cores() -> int:
    """How many this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin(source: Source, folder: Path, tokenizer: Tokenizer, settings: Settings) -> Manifest:
    """The manifest of a new folder, or of one to go on with; nothing half-written is left in it."""
    wanted = dataclasses.asdict(settings) | {
        "source": source.name,
        "source_fingerprint": source.fingerprint,
        "tokenizer_fingerprint": fingerprint(tokenizer),
        "vocab_size": tokenizer.vocab_size,
        "end_of_text": tokenizer.end_of_text,
    }
    if isinstance(source, Files) and folder.resolve().is_relative_to(source.path.resolve()):
        raise DataError(f"expected a folder outside of {source.path}, whose files are texts, found {folder}")
    if is_prepared(folder):
        manifest = Manifest.load(folder)
        for name, value in wanted.items():
            if manifest.settings.get(name) != value:
                raise DataError(
                    f"{folder}: expected to go on with {name} {manifest.settings.get(name)}, found {value}; "
                    "run the same command as before, or choose another folder"
                )
    else:
        if folder.exists() and (not folder.is_dir() or any(kept for kept in folder.iterdir() if not leftover(kept))):
            raise DataError(f"{folder}: expected an empty folder, or one of an earlier run, found other files in it")
        manifest = Manifest(wanted, dtype_for(tokenizer.vocab_size))
        folder.mkdir(parents=True, exist_ok=True)
        with replaced(folder / VOCABULARY) as part:
            tokenizer.save(part)
        manifest.save(folder)
    known = {shard.file for shard in manifest.shards}
    for file in folder.iterdir():
        if leftover(file) and file.name not in known | {VOCABULARY}:
            file.unlink()
    return manifest


def leftover(path: Path) -> bool:
    """A file that an interrupted run may have left before it was in the manifest."""
    is_shard = path.suffix == ".bin" and path.name.partition("-")[0] in SPLITS
    return is_shard or path.suffix == ".part" or path.name == VOCABULARY


def count(manifest: Manifest) -> int:
    """Documents read so far, empty ones too."""
    return sum(manifest.documents.values())


class Run:
    """The work on one folder: shards being written, and the manifest of those that are finished."""

    def __init__(self, folder: Path, manifest: Manifest, tokenizer: Tokenizer, settings: Settings) -> None:
        self.folder, self.saved, self.tokenizer, self.settings = folder, manifest, tokenizer, settings
        self.now = dataclasses.replace(  # what is written, but not finished, is counted here
            manifest,
            documents=dict(manifest.documents),
            tokens=dict(manifest.tokens),
            skipped_names=list(manifest.skipped_names),
            shards=list(manifest.shards),
        )
        self.writers: dict[str, ShardWriter] = {}

    def work(self, source: Source, workers: int) -> Iterator[Progress]:
        """Read, tokenise, write; a record after every batch."""
        limit = None if self.settings.limit is None else self.settings.limit - count(self.saved)
        batches = in_batches(limited(source.events(Place(*self.saved.place)), limit))
        try:
            self.open_writers()
            for encoded in in_order(batches, self.encode, workers):
                self.write(encoded)
                if self.writers["train"].tokens >= self.settings.shard:
                    self.commit()
                    self.open_writers()
                yield self.progress(source)
            self.now.finished = True
            self.commit()
        finally:
            for writer in self.writers.values():
                writer.discard()

    def encode(self, events: list[Event]) -> Encoded:
        """Clean, split and tokenise; runs in many threads at once."""
        end = np.array([self.tokenizer.end_of_text], dtype=np.uint32)
        parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        damage, empty = [], 0
        for event in events:
            if isinstance(event.item, Damage):
                damage.append(event.item)
            elif text := clean(event.item):
                split = "valid" if is_held_out(text, self.settings.valid) else "train"
                parts[split] += (self.tokenizer.encode_array(text), end)
            else:
                empty += 1
        nothing = np.zeros(0, dtype=np.uint32)
        documents = {split: len(parts[split]) // 2 for split in SPLITS} | {"empty": empty}
        ids = {split: np.concatenate([nothing, *parts[split]]) for split in SPLITS}
        return Encoded(events[-1].place, ids, documents, damage)

    def open_writers(self) -> None:
        """Begin the next shard of each side."""
        for split in SPLITS:
            number = sum(shard.split == split for shard in self.now.shards)
            self.writers[split] = ShardWriter(self.folder, split, number, self.now.dtype)

    def write(self, encoded: Encoded) -> None:
        """Append a batch to the open shards."""
        self.now.place = encoded.place
        for damage in encoded.damage:
            self.now.skip(damage)
        for name, number in encoded.documents.items():
            self.now.documents[name] += number
        for split, ids in encoded.ids.items():
            if len(ids) and not self.now.tokens[split]:  # the very first token of a side begins its first document
                self.writers[split].write(np.array([self.tokenizer.end_of_text]), 0)
                self.now.tokens[split] += 1
            self.writers[split].write(ids, encoded.documents[split])
            self.now.tokens[split] += len(ids)

    def commit(self) -> None:
        """Finish the open shards, then say so in the manifest: until then a resumed run does them again."""
        shards = [self.writers[split].finish() for split in SPLITS]
        self.now.shards += [shard for shard in shards if shard]
        sync_folder(self.folder)
        self.now.save(self.folder)
        for field in dataclasses.fields(Manifest):
            value = getattr(self.now, field.name)
            setattr(self.saved, field.name, value.copy() if isinstance(value, list | dict) else value)

    def progress(self, source: Source) -> Progress:
        """A record of this moment."""
        fractions = [source.position / source.size] if source.size else []
        if self.settings.limit is not None:
            fractions.append(count(self.now) / self.settings.limit)
        fraction = min(max(fractions), 1.0) if fractions else None
        return Progress(count(self.now), sum(self.now.tokens.values()), self.now.skipped, fraction, False)


def limited(events: Iterator[Event], documents: int | None) -> Iterator[Event]:
    """Events up to the last of so many documents; None for all."""
    if documents == 0:
        return
    for event in events:
        yield event
        if documents is not None and not isinstance(event.item, Damage):
            documents -= 1
            if documents == 0:
                return


def in_batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Events in lists of about `BATCH` characters; where a list ends depends on nothing but where it began."""
    batch: list[Event] = []
    characters = 0
    for event in events:
        batch.append(event)
        characters += 0 if isinstance(event.item, Damage) else len(event.item)
        if characters >= BATCH or len(batch) >= BATCH_EVENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def in_order(batches: Iterable[list[Event]], work: Callable[[list[Event]], Encoded], workers: int) -> Iterator[Encoded]:
    """`work` of every batch, by so many threads, in the order of the batches; few wait at a time."""
    waiting: deque[Future[Encoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="tokenize") as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(work, batch))
                if len(waiting) > WAITING * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
