"""Corpora to batches: documents out of files, tokens into one array, windows out of a mixture.

A batch is a pure function of (seed, step), so that a run resumes at any step with the data it would have seen.
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gptviz.tokenizer import Tokenizer

SHORTEST_PERIOD = 4  # tokens of a random sequence that fills a row


class DataError(ValueError):
    """A corpus that cannot be read: says what was expected, what was found, and the remedy."""


def read_documents(path: Path, split: str | None = None) -> Iterator[str]:
    """Documents of a `.txt` file (one), of `.jsonl` or `.jsonl.xz` (one a line, field `text`), or of a prepared folder.

    Args:
        path: the file, or a folder made by `python -m gptviz prepare`.
        split: keep only the records whose field `split` has this value; of a folder, the side: `train` by default.
    """
    if path.is_dir():
        from gptviz.corpus.shards import Shards

        yield from Shards(path, split or "train").texts()
        return
    if path.suffix == ".txt":
        yield path.read_text(encoding="utf-8")
        return
    if path.name.endswith(".jsonl.xz"):
        lines: Iterable[str] = io.TextIOWrapper(lzma.open(path), encoding="utf-8")
    elif path.suffix == ".jsonl":
        lines = path.open(encoding="utf-8")
    else:
        raise DataError(f"expected a .txt, .jsonl or .jsonl.xz file, found {path.name}")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            text = record["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path.name}, line {number}: expected a JSON object with a field text") from error
        if split is None or record.get("split") == split:
            yield text


def tokenize(documents: Iterable[str], tokenizer: Tokenizer) -> np.ndarray:
    """Ids of all documents, an end-of-text token before each and after the last: (N,) uint16."""
    parts = []
    for document in documents:
        parts.append(np.array([tokenizer.end_of_text, *tokenizer.encode(document.strip())], dtype=np.uint16))
    return np.concatenate([*parts, np.array([tokenizer.end_of_text], dtype=np.uint16)])


class Tokens(Protocol):
    """Tokens of a corpus, end of text before each document: an array (N,), or `gptviz.corpus.shards.Shards` on disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class Source:
    """One corpus of a mixture."""

    name: str
    tokens: Tokens  # (N,)
    share: float  # of the rows of a batch


class Mixture:
    """Random windows of several corpora, and of repeated random sequences.

    Args:
        sources: corpora with their shares of the rows.
        repeats: share of rows that are one random sequence, repeated, as (from step, share) pairs in order; they
            bring out induction heads.
        context: T, length of a row.
        batch: B, rows.
        seed: with the step, all that decides what a batch holds.
        end_of_text: the token that begins a document.
    """

    def __init__(
        self,
        sources: list[Source],
        *,
        repeats: Sequence[tuple[int, float]],
        context: int,
        batch: int,
        seed: int,
        end_of_text: int,
    ) -> None:
        for source in sources:
            if len(source.tokens) <= context + 1:
                raise DataError(f"{source.name}: expected more than {context + 1} tokens, found {len(source.tokens)}")
            if source.tokens[0] != end_of_text:
                raise DataError(f"{source.name}: expected the token {end_of_text} first, found {source.tokens[0]}")
        if any(share for _, share in repeats) and context < 16:
            raise DataError(f"repeated rows need a context of 16 or more, found {context}; set repeats to 0")
        self.sources, self.context, self.batch_size, self.seed = sources, context, batch, seed
        self.end_of_text, self.repeats = end_of_text, repeats

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of one step, each (B, T) int64; targets of -1 do not count."""
        rng = np.random.default_rng([self.seed, step])
        shares = self.shares(step)
        kinds = rng.choice(len(shares), size=self.batch_size, p=shares)
        rows = [self.repeated(rng) if kind == len(self.sources) else self.window(kind, rng) for kind in kinds]
        inputs, targets = zip(*rows, strict=True)
        return np.stack(inputs), np.stack(targets)

    def shares(self, step: int) -> np.ndarray:
        """How likely a row is of each source, or at last a repeated sequence: (sources + 1,), sums to 1."""
        repeats = [share for start, share in self.repeats if start <= step]
        shares = np.array([source.share for source in self.sources] + repeats[-1:], dtype=np.float64)
        return shares / shares.sum()

    def window(self, kind: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random window; every second one begins with its document, if that begins less than a window before.

        Half of all documents would otherwise never be seen at the positions at which a reader's sentence is.
        """
        tokens = self.sources[kind].tokens
        begin = int(rng.integers(0, len(tokens) - self.context))
        if rng.random() < 0.5:
            earliest = max(0, begin - self.context + 1)
            starts = np.flatnonzero(tokens[earliest : begin + 1] == self.end_of_text)
            begin = earliest + int(starts[-1]) if len(starts) else begin
        row = tokens[begin : begin + self.context + 1].astype(np.int64)  # (T + 1,)
        return row[:-1], row[1:]

    def repeated(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sequence over and over; its first time, which nothing could predict, is no target.

        Periods are spread evenly on a logarithmic scale, because short ones are learned first: copying any token that
        was there is right more often.
        """
        period = int(SHORTEST_PERIOD * (self.context / 2 / SHORTEST_PERIOD) ** rng.random())
        once = rng.integers(0, self.end_of_text, size=period)
        row = np.resize(once, self.context + 1).astype(np.int64)  # (T + 1,), tiled
        targets = row[1:].copy()
        targets[:period] = -1
        return row[:-1], targets
