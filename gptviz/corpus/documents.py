"""What a document is: its text cleaned, the side of the split that it falls on, and the cuts of one that is too long.

Knows nothing about files. All of it depends on the text alone, so that every layout of a corpus gives the same tokens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST = 2**20  # characters of a document; longer ones are cut, so that one file cannot fill the memory
STRIPPED = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\ufeff"  # white space, byte-order mark
BORDERS = ("\n\n", "\n", " ")  # where to cut: best first


class Damage(NamedTuple):
    """What was skipped, and why."""

    name: str
    reason: str


Item = str | Damage


def clean(text: str) -> str:
    """A document as it is tokenised: line ends of one kind, runs of three or more newlines cut to two, stripped.

    Lone surrogates, which JSON can write and UTF-8 cannot, become U+FFFD, as in `Tokenizer.encode`.
    """
    if "\r" in text:
        text = re.sub(r"\r+\n", "\n", text)
    if "\n\n\n" in text:
        text = re.sub(r"\n{3,}", "\n\n", text)
    text = text.strip(STRIPPED)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def is_held_out(text: str, share: float) -> bool:
    """Whether a cleaned document is for validation: its SHA-256, read as a fraction of 1, is below `share`.

    The same text falls on the same side in any order, layout and number of workers, and so do its copies.
    """
    fraction = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
    return fraction < share * 2**64


class Splitter:
    """Text in chunks to documents of at most `longest` characters, cut at paragraphs, lines or words if possible.

    Where it cuts depends on the text and not on the chunks.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest
        self.waiting = ""

    def feed(self, chunk: str) -> Iterator[str]:
        """What can be told apart by now."""
        self.waiting += chunk
        while len(self.waiting) > self.longest:
            cut = border(self.waiting, self.longest)
            yield self.waiting[:cut]
            self.waiting = self.waiting[cut:]

    def finish(self) -> Iterator[str]:
        """The rest; an empty text if there was none at all."""
        yield self.waiting
        self.waiting = ""


def border(text: str, longest: int) -> int:
    """Where to cut the first piece off: behind the last paragraph, line or word in the second half of what fits."""
    for mark in BORDERS:
        at = text.rfind(mark, longest // 2, longest)
        if at >= 0:
            return at + len(mark)
    return longest


def split_text(text: str, longest: int = LONGEST) -> Iterator[str]:
    """One text as documents of at most `longest` characters: for a text that was pasted, or a record of a file."""
    splitter = Splitter(longest)
    yield from splitter.feed(text)
    yield from splitter.finish()
