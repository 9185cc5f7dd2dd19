"""Sentence pairs to batches: read, split by the target sentence, grouped by length. Knows nothing about models.

Which pairs are held out hangs on a hash of the target sentence alone, so that everyone holds out the same. A batch is
a pure function of (seed, step), so that a run resumes at any step with the data it would have seen.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gptviz.data import DataError
from gptviz.seq2seq import PADDING
from gptviz.tokenizer import Tokenizer

SHARE = 128  # one in so many target sentences is for testing, and another one for validation
LENGTHS = (8, 10, 12, 16, 20, 28)  # tokens of a batch's rows, and the context: few, as each is compiled by itself


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


class Split(NamedTuple):
    """Pairs to train on and held-out pairs; no sentence of the latter, source or target, is in the former."""

    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]


def read_pairs(path: Path, member: str) -> Iterator[Pair]:
    """Pairs of a file in a zip archive, one a line: target, tab, source; what comes after a second tab is left out.

    Raises:
        DataError: for a file that is no such archive, and a line without a tab.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            for number, line in enumerate(io.TextIOWrapper(file, encoding="utf-8"), start=1):
                columns = line.rstrip("\n").split("\t")
                if len(columns) < 2:
                    raise DataError(f"{path.name}, {member}, line {number}: expected two columns, found {line[:40]!r}")
                yield Pair(source=columns[1], target=columns[0])
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: expected a zip archive with {member}, found {error}; copy it again") from error


def normalised(sentence: str) -> str:
    """What makes two sentences the same: letters and digits, whatever their case, spacing and punctuation."""
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split()) or folded


def place(sentence: str) -> int:
    """Where the hash puts a sentence, from 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.sha256(normalised(sentence).encode()).digest()[:8], "big")


def split_pairs(pairs: Iterable[Pair]) -> Split:
    """Hold out by target sentence; a pair to train on with the source of a held-out one is left out.

    So is a pair for validation with a source of the test. Held-out pairs come in the order of their hash, each target
    sentence once: the first 1,000 are a sample.
    """
    parts: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        parts[min(place(pair.target) % SHARE, 2)].append(pair)
    test, valid = distinct(parts[0]), distinct(parts[1])
    tested = {normalised(pair.source) for pair in parts[0]}
    held_out = tested | {normalised(pair.source) for pair in parts[1]}
    return Split(
        train=[pair for pair in parts[2] if normalised(pair.source) not in held_out],
        valid=[pair for pair in valid if normalised(pair.source) not in tested],
        test=test,
    )


def distinct(pairs: Iterable[Pair]) -> list[Pair]:
    """The first pair of every target sentence, in the order of the hash."""
    first: dict[str, Pair] = {}
    for pair in pairs:
        first.setdefault(normalised(pair.target), pair)
    return sorted(first.values(), key=lambda pair: place(pair.target))


class Row(NamedTuple):
    """A pair as ids, without the end-of-text tokens."""

    source: list[int]
    target: list[int]

    @property
    def length(self) -> int:
        """Tokens of the longer side, an end of text included."""
        return max(len(self.source), len(self.target)) + 1


def encode_pairs(pairs: Iterable[Pair], tokenizer: Tokenizer, context: int) -> list[Row]:
    """Ids of the pairs that fit the context."""
    rows = (Row(tokenizer.encode(pair.source), tokenizer.encode(pair.target)) for pair in pairs)
    return [row for row in rows if row.length <= context]


def arrays(rows: Sequence[Row], length: int, end_of_text: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, inputs and targets, each (B, `length`) int64 with `PADDING` at the ends.

    A source and a target end with the end of text; an input begins with it: the target, shifted right.
    """
    batch = np.full((3, len(rows), length), PADDING, dtype=np.int64)
    for i, row in enumerate(rows):
        batch[0, i, : len(row.source) + 1] = [*row.source, end_of_text]
        batch[1, i, : len(row.target) + 1] = [end_of_text, *row.target]
        batch[2, i, : len(row.target) + 1] = [*row.target, end_of_text]
    return batch[0], batch[1], batch[2]


class PairBatches:
    """Batches of pairs of about equal length. In an epoch each pair is seen once, but for what fills no batch.

    Args:
        rows: the pairs.
        context: longest row.
        tokens: slots of a batch on each side, padding included: rows times their length is at most so many.
        seed: with the step, all that decides what a batch holds.
        end_of_text: the token that ends a sentence.
    """

    def __init__(self, rows: Sequence[Row], *, context: int, tokens: int, seed: int, end_of_text: int) -> None:
        if not rows or tokens < context:
            raise DataError(f"expected pairs, and {context} tokens a batch or more; found {len(rows)} and {tokens}")
        self.rows, self.seed, self.end_of_text = rows, seed, end_of_text
        lengths = [*(length for length in LENGTHS if length < context), context]
        place_of = np.searchsorted(lengths, [row.length for row in rows])
        members = [(np.flatnonzero(place_of == i), length) for i, length in enumerate(lengths)]
        self.buckets = [
            (these, length, min(len(these), tokens // length)) for these, length in members if len(these)
        ]
        self.epoch_steps = sum(len(these) // size for these, _, size in self.buckets)
        self.epoch, self.order = -1, [(np.empty(0, dtype=np.int64), 0)]

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, inputs and targets of one step, each (B, T) int64."""
        epoch, place_in_epoch = divmod(step, self.epoch_steps)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self.shuffled(epoch)
        chosen, length = self.order[place_in_epoch]
        return arrays([self.rows[i] for i in chosen], length, self.end_of_text)

    def shuffled(self, epoch: int) -> list[tuple[np.ndarray, int]]:
        """The batches of an epoch in their order: which rows, and how long."""
        rng = np.random.default_rng([self.seed, epoch])
        batches = []
        for these, length, size in self.buckets:
            mixed = rng.permutation(these)
            batches += [(mixed[i * size : (i + 1) * size], length) for i in range(len(these) // size)]
        return [batches[i] for i in rng.permutation(len(batches))]
