"""Where documents come from: files and folders, texts in memory, or Hugging Face by name; each in one fixed order.

A source yields events, each with its place. Places are ordered, so that a run that was interrupted goes on behind one.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from gptviz.corpus.documents import Damage, Item, split_text
from gptviz.corpus.layouts import is_ignored, read_file, reason
from gptviz.corpus.shards import fingerprint, is_prepared
from gptviz.data import DataError
from gptviz.tokenizer import Tokenizer

GPT2 = "84b59edee4ecf62f45033ffc1fbbbba7713caebce83bbc73eabf18d5b9374f17"  # fingerprint of its vocabulary
HUB = {"openwebtext": "Skylion007/openwebtext"}  # names that need no file


class Place(NamedTuple):
    """Where something is in a source; later ones are larger."""

    file: int
    member: int  # of an archive, or a row group
    item: int


START = Place(0, 0, -1)


class Event(NamedTuple):
    """A document, not cleaned yet, or something that was skipped."""

    place: Place
    item: Item


class Source(Protocol):
    """What `prepare` reads.

    Attributes:
        name: for people and the manifest.
        fingerprint: differs where a resumed run would read something else.
        size: bytes; 0 if that is not known.
        position: bytes read so far.
    """

    name: str
    fingerprint: str
    size: int

    @property
    def position(self) -> int:
        """Bytes read so far."""

    def events(self, after: Place = START) -> Iterator[Event]:
        """Everything behind a place, in order."""


class Files:
    """A file, or a folder with all files in it and its folders, in the order of their names.

    Lock files, hidden files and links are passed over. Memory is taken for the names in one folder at a time.

    Args:
        path: the file or folder.
        tokenizer: of the run; if it is GPT-2's, nanoGPT's files of ids are read without fetching that.
    """

    def __init__(self, path: Path, tokenizer: Tokenizer | None = None) -> None:
        if not path.exists():
            raise DataError(
                f"expected a file or folder, or the name {' or '.join(HUB)}, found {str(path)!r}; check the path"
            )
        if path.is_dir() and is_prepared(path):
            raise DataError(f"{path}: expected texts, found a folder that is prepared already; train on it as it is")
        self.path, self.name, self.tokenizer = path, path.name or str(path), tokenizer
        self.size = self.done = 0
        self.raw: BinaryIO | None = None
        digest, count = hashlib.sha256(), 0
        for file in walk(path):
            size = file.stat().st_size
            digest.update(f"{self.relative(file)}\0{size}\n".encode("utf-8", "surrogateescape"))
            self.size, count = self.size + size, count + 1
        if not count:
            raise DataError(f"{path}: expected files with text, found an empty folder")
        self.fingerprint = digest.hexdigest()

    @property
    def position(self) -> int:
        """Bytes of the files that are done, and those read of the one in work."""
        return self.done + (self.raw.tell() if self.raw is not None and not self.raw.closed else 0)

    def relative(self, file: Path) -> str:
        """Name of a file for people: with its folders below the source."""
        return file.name if file == self.path else file.relative_to(self.path).as_posix()

    def vocabulary(self) -> Tokenizer:
        """GPT-2's, which nanoGPT's files of ids need: the run's own if it is that, else out of tiktoken's cache."""
        own = self.tokenizer is not None and fingerprint(self.tokenizer) == GPT2
        return self.tokenizer if own else Tokenizer.gpt2()

    def events(self, after: Place = START) -> Iterator[Event]:
        """Documents and damage of every file, from a place on."""
        self.done = 0
        for number, path in enumerate(walk(self.path)):
            if number >= after.file:
                start = after.member if number == after.file else 0
                counted = number_items(self.read(path, start), number)
                yield from (event for event in counted if event.place > after)
            self.done += path.stat().st_size if path.exists() else 0

    def read(self, path: Path, start: int) -> Iterator[tuple[int, Item]]:
        """One file; one that cannot be opened is damage."""
        name = self.relative(path)
        try:
            self.raw = path.open("rb")
        except OSError as error:
            yield start, Damage(name, reason(error))
            return
        with self.raw:
            yield from read_file(self.raw, name, start, self.vocabulary)
        self.raw = None


def walk(path: Path) -> Iterator[Path]:
    """The files of a folder and of those in it, sorted; `path` itself if it is a file."""
    if not path.is_dir():
        yield path
        return
    with os.scandir(path) as entries:
        kept = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries if is_wanted(e))
    for name, is_folder in kept:
        if is_folder:
            yield from walk(path / name)
        else:
            yield path / name


def is_wanted(entry: os.DirEntry[str]) -> bool:
    """A file or folder that is neither hidden nor a link nor a lock."""
    return not is_ignored(entry.name) and (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))


def number_items(items: Iterable[tuple[int, Item]], file: int) -> Iterator[Event]:
    """Give each item its place: they count from 0 in every member."""
    for member, group in itertools.groupby(items, key=lambda pair: pair[0]):
        for number, (_, item) in enumerate(group):
            yield Event(Place(file, member, number), item)


class Texts:
    """Documents that are in memory already, such as a text pasted in the app."""

    position = 0

    def __init__(self, documents: list[str], name: str = "text") -> None:
        self.documents, self.name = documents, name
        digest = hashlib.sha256()
        for document in documents:
            data = document.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        self.fingerprint, self.size = digest.hexdigest(), 0

    @classmethod
    def pasted(cls, text: str, longest: int = 2000, name: str = "pasted text") -> Texts:
        """One text, cut at paragraphs into documents of at most `longest` characters, so that some can be held out."""
        return cls([piece for piece in split_text(text, longest) if piece.strip()], name)

    def events(self, after: Place = START) -> Iterator[Event]:
        """Every document that is left."""
        for number in range(after.item + 1, len(self.documents)):
            yield Event(Place(0, 0, number), self.documents[number])


class Hub:
    """A corpus by name through Hugging Face's `datasets`, streamed: nothing is stored but the shards.

    Needs a network, and the package `datasets`, which is not in the requirements.
    """

    size = position = 0

    def __init__(self, name: str) -> None:
        self.name = HUB[name]
        self.fingerprint = hashlib.sha256(self.name.encode()).hexdigest()
        remedy = f"pip install datasets, or pass the path of {name} on this machine"
        try:
            import datasets
        except ImportError as error:
            raise DataError(f"expected the package datasets, which streams {name}, found none; {remedy}") from error
        try:
            self.rows: Any = datasets.load_dataset(self.name, split="train", streaming=True)
        except Exception as error:  # it lets every kind of network error through
            raise DataError(
                f"expected {self.name} on the Hugging Face hub, found {type(error).__name__}: {error}; "
                f"check the network, or pass the path of {name} on this machine"
            ) from error

    def events(self, after: Place = START) -> Iterator[Event]:
        """Every row that is left; a record that is too long becomes several documents."""
        for number, text in enumerate(self.texts(after.member), start=after.member):
            for item, document in enumerate(split_text(text)):
                place = Place(0, number, item)
                if place > after:
                    yield Event(place, document)

    def texts(self, start: int) -> Iterator[str]:
        """The column `text` from a row on."""
        try:
            for row in self.rows.skip(start):
                yield row["text"]
        except Exception as error:
            raise DataError(
                f"expected more of {self.name}, found {type(error).__name__}: {error}; "
                "run the same command again, it goes on where the last shard ended"
            ) from error


def open_source(name: str, tokenizer: Tokenizer | None = None) -> Source:
    """A path, or a name in `HUB` if there is no such path; raises `DataError` if it is neither."""
    if name in HUB and not Path(name).exists():
        return Hub(name)
    return Files(Path(name), tokenizer)
