"""The documents of one file, whatever it is: a text, JSON lines, ids, Parquet, or archives of such, packed or not.

What a file is, is told by its content; its name decides only where the content cannot (`.txt`, `.jsonl`, `.bin`). That
matters: the inner archives of OpenWebText are tar archives under xz, although they are called `.xz`.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from gptviz.corpus import tar
from gptviz.corpus.documents import Damage, Item, Splitter, split_text
from gptviz.corpus.streams import BUFFER, DAMAGE, buffered, head, unpacked
from gptviz.tokenizer import Tokenizer

BOM = b"\xef\xbb\xbf"
PACKED = (".xz", ".zst", ".gz")
LINES = (".jsonl", ".ndjson", ".json")
MAX_LINE = 8 * 2**20  # bytes of a JSON line; what it holds can take twenty times as much while it is parsed
NESTED = 3  # archives in archives
PARQUET_ROWS = 64  # at a time
MAX_SHOWN = 200  # characters of a name from an archive
GPT2_END = 50256
Gpt2 = Callable[[], Tokenizer]  # GPT-2's vocabulary, fetched only if a file of its ids turns up


def is_ignored(name: str) -> bool:
    """Lock files of a download, and hidden files."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.endswith(".lock")


def read_file(file: BinaryIO, name: str, start: int, gpt2: Gpt2) -> Iterator[tuple[int, Item]]:
    """Documents of one file on the disk, each with the number of the member that it is in.

    Args:
        file: opened for reading.
        name: for messages, and where the content does not tell what it is.
        start: members of an archive, or row groups of a Parquet file, to step over.
        gpt2: GPT-2's vocabulary, for nanoGPT's files.

    Yields:
        Member and document, or member and damage: nothing that a file holds ends the run.
    """
    member = start
    try:
        if is_parquet(file):
            for member, item in read_parquet(file, name, start):
                yield member, item
            return
        stream = unpacked(buffered(file))  # type: ignore[arg-type]
        if not tar.is_header(head(stream)):
            for item in read_leaf(stream, name, gpt2):
                yield 0, item
            return
        for member, (inner, data) in enumerate(tar.members(stream)):
            if member >= start and not is_ignored(inner):
                for item in read_stream(buffered(data), f"{name}/{shown(inner)}", gpt2, NESTED):
                    yield member, item
    except DAMAGE as error:
        yield member, Damage(name, reason(error))


def read_stream(stream: io.BufferedReader, name: str, gpt2: Gpt2, nested: int) -> Iterator[Item]:
    """Documents of a member of an archive, which may be an archive itself."""
    try:
        stream = unpacked(stream)
        if not tar.is_header(head(stream)):
            yield from read_leaf(stream, name, gpt2)
        elif not nested:
            yield Damage(name, f"expected at most {NESTED} archives in each other, found more")
        else:
            for inner, data in tar.members(stream):
                if not is_ignored(inner):
                    yield from read_stream(buffered(data), f"{name}/{shown(inner)}", gpt2, nested - 1)
    except DAMAGE as error:
        yield Damage(name, reason(error))


def read_leaf(stream: io.BufferedReader, name: str, gpt2: Gpt2) -> Iterator[Item]:
    """Documents of a file that is neither packed nor an archive."""
    plain = name.lower()
    while plain.endswith(PACKED):
        plain = plain.rpartition(".")[0]
    start = head(stream)
    if plain.endswith(".bin"):
        return read_ids(stream, gpt2)
    if plain.endswith(LINES) or (not plain.endswith(".txt") and is_json_line(start)):
        return read_lines(stream, name)
    return read_text(stream)


def is_json_line(start: bytes) -> bool:
    """Whether a file that begins so holds a record with a text on its first line."""
    line, _, _ = start.removeprefix(BOM).lstrip().partition(b"\n")
    try:
        return line.startswith(b"{") and isinstance(record_text(line), str)
    except (ValueError, RecursionError):
        return False


def read_text(stream: io.BufferedReader) -> Iterator[str]:
    """A UTF-8 file as one document, or more if it is very long."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    splitter = Splitter()
    while chunk := stream.read(BUFFER):
        yield from splitter.feed(decoder.decode(chunk))
    yield from splitter.feed(decoder.decode(b"", final=True))
    yield from splitter.finish()


def read_lines(stream: io.BufferedReader, name: str) -> Iterator[Item]:
    """The text of every JSON line; a line that is none is damage, and the next one is read."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE)):
                pass
            yield Damage(f"{name}, line {number}", f"expected a line of at most {MAX_LINE} bytes, found a longer one")
            continue
        if number == 1:
            line = line.removeprefix(BOM)
        if not line.strip():
            continue
        try:
            yield from split_text(record_text(line))
        except (ValueError, RecursionError) as error:
            yield Damage(f"{name}, line {number}", reason(error))


def record_text(line: bytes) -> str:
    """The text of a record: a string, or the field `text`, a string or a list of strings, joined with blank lines."""
    record = json.loads(line)
    text = record.get("text") if isinstance(record, dict) else record
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        text = "\n\n".join(text)
    if not isinstance(text, str) or isinstance(record, list):
        raise ValueError("expected a JSON object with a field text, or a string")
    return text


def read_ids(stream: io.BufferedReader, gpt2: Gpt2) -> Iterator[str]:
    """nanoGPT's `.bin`: little-endian uint16 ids of GPT-2, 50256 behind each document.

    They are decoded, so that the documents are cleaned, split and tokenised as those of any other layout; with GPT-2's
    own vocabulary the same ids come out.
    """
    tokenizer = gpt2()
    decoder, splitter = codecs.getincrementaldecoder("utf-8")("replace"), Splitter()
    open_document = False
    while chunk := stream.read(BUFFER):
        if len(chunk) % 2:
            raise ValueError("expected two bytes a token, found an odd number; the file is cut short")
        ids = np.frombuffer(chunk, dtype="<u2")
        if ids.max() > GPT2_END:
            raise ValueError(f"expected GPT-2's ids, 0 to {GPT2_END}, in uint16, found {ids.max()}")
        *ended, last = np.split(ids, np.flatnonzero(ids == GPT2_END) + 1)
        for part in ended:
            yield from splitter.feed(decoder.decode(tokenizer.decode_bytes(part[:-1]), final=True))
            yield from splitter.finish()
            decoder.reset()
            open_document = False
        if len(last):
            yield from splitter.feed(decoder.decode(tokenizer.decode_bytes(last)))
            open_document = True
    if open_document:
        yield from splitter.feed(decoder.decode(b"", final=True))
        yield from splitter.finish()


def is_parquet(file: BinaryIO) -> bool:
    """Whether a file on the disk has Parquet's mark at both ends."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(4)
    file.seek(max(0, size - 4))
    end = file.read(4)
    file.seek(0)
    return size >= 12 and start == end == b"PAR1"


def read_parquet(file: BinaryIO, name: str, start: int) -> Iterator[tuple[int, Item]]:
    """The column `text`, few rows at a time; the member is the row group."""
    import pyarrow.parquet

    # Without a buffer of its own, pyarrow would read the whole column of a row group at once.
    table = pyarrow.parquet.ParquetFile(file, buffer_size=2**20, pre_buffer=False)
    columns = [f"{column.name} ({column.type})" for column in table.schema_arrow]
    if not {"text (string)", "text (large_string)"} & set(columns):
        yield 0, Damage(name, f"expected a column text of strings, found {shown(', '.join(columns))}")
        return
    for group in range(start, table.num_row_groups):
        try:
            for batch in table.iter_batches(PARQUET_ROWS, row_groups=[group], columns=["text"]):
                for text in batch.column(0):
                    for document in split_text(text.as_py() or ""):
                        yield group, document
        except DAMAGE as error:
            yield group, Damage(f"{name}, row group {group}", reason(error))


def shown(name: str) -> str:
    """The name of a member, short enough for a message."""
    return name if len(name) <= MAX_SHOWN else name[: MAX_SHOWN - 3] + "..."


def reason(error: BaseException) -> str:
    """Why something was skipped, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"expected UTF-8 text, found the byte {error.object[error.start]:#04x}"
    if isinstance(error, RecursionError):
        return "expected a JSON record, found one nested too deeply"
    return " ".join(str(error).split()) or type(error).__name__
