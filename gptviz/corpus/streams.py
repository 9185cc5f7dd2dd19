"""Bytes under whatever was wrapped around them: xz, gzip and Zstandard, told by their first bytes and not by a name.

Written for files from strangers: nothing is unpacked into memory beyond a limit, and a decoder that asks for more than
it may have is refused.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from typing import BinaryIO, Protocol

BUFFER = 2**18  # bytes; also how far `head` can look
LAYERS = 3  # of compression around a text
WHOLE = 8 * 2**20  # unpacked bytes; a file that has no more is checked to its end before any of it is used
XZ_MEMORY = 80 * 2**20  # bytes; xz -9 needs 65 MiB to unpack, and a file can ask for 4 GiB

# What a damaged or unreadable file raises: ours and pyarrow's are ValueErrors, gzip's and Zstandard's OSErrors.
DAMAGE = (ValueError, OSError, EOFError, lzma.LZMAError, zlib.error, NotImplementedError, MemoryError)


class StreamError(ValueError):
    """A file that is not unpacked: says what was expected and what was found."""


class Source(Protocol):
    """What a decoder reads from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Xz(io.RawIOBase):
    """The text under xz: one stream or several behind each other, in bounded memory."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.decoder = self.new_decoder()
        self.waiting = b""

    @staticmethod
    def new_decoder() -> lzma.LZMADecompressor:
        """A decoder that refuses to take more than `XZ_MEMORY`."""
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Some bytes, at most `len(buffer)`; 0 at the end."""
        while True:
            if self.decoder.eof and not self.next_stream():
                return 0
            if self.decoder.needs_input and not self.waiting:
                self.waiting = self.source.read(BUFFER)
                if not self.waiting:
                    raise EOFError("expected more of an xz stream, found the end of the file; it is cut short")
            data = self.decoder.decompress(self.waiting, max_length=min(len(buffer), BUFFER))
            self.waiting = b""
            if data:
                buffer[: len(data)] = data
                return len(data)

    def next_stream(self) -> bool:
        """Go on with the stream behind this one, past the zeros that may lie between; False at the end."""
        rest = self.decoder.unused_data.lstrip(b"\0")
        while not rest:
            more = self.source.read(BUFFER)
            if not more:
                return False
            rest = more.lstrip(b"\0")
        self.decoder, self.waiting = self.new_decoder(), rest
        return True


class Zstandard(io.RawIOBase):
    """The text under Zstandard, by pyarrow, which comes with Streamlit; its window is at most 128 MiB."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        import pyarrow

        self.stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(source, mode="r"), "zstd")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Some bytes, at most `len(buffer)`; 0 at the end."""
        data = self.stream.read(min(len(buffer), BUFFER))
        buffer[: len(data)] = data
        return len(data)


def gunzip(source: BinaryIO) -> io.RawIOBase:
    """The text under gzip."""
    return gzip.GzipFile(fileobj=source)  # type: ignore[return-value]


DECODERS = {b"\xfd7zXZ\0": Xz, b"\x28\xb5\x2f\xfd": Zstandard, b"\x1f\x8b": gunzip}


class Filled(io.RawIOBase):
    """`raw`, but a read gets all the bytes that it asked for, if there are so many: so that `head` sees enough."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self.raw = raw

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As many bytes as fit; fewer only at the end."""
        view, filled = memoryview(buffer), 0
        while filled < len(view):
            got = self.raw.readinto(view[filled:])
            if not got:
                break
            filled += got
        return filled


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    """A reader with a `head`."""
    return io.BufferedReader(Filled(raw), BUFFER)


def head(stream: io.BufferedReader) -> bytes:
    """The next bytes, up to `BUFFER`, without reading past them."""
    return stream.peek(BUFFER)


def unpacked(stream: io.BufferedReader) -> io.BufferedReader:
    """What is under all layers of compression; the stream itself if there are none.

    Raises:
        One of `DAMAGE`, now or when it is read: a file of up to `WHOLE` unpacked bytes is read to its end here, so that
        its checksums are checked before anything of it is used.
    """
    for _ in range(LAYERS + 1):
        decoder = next((d for magic, d in DECODERS.items() if head(stream).startswith(magic)), None)
        if decoder is None:
            return stream
        stream = checked(buffered(decoder(stream)))
    raise StreamError(f"expected at most {LAYERS} layers of compression, found more")


def checked(stream: io.BufferedReader) -> io.BufferedReader:
    """The same bytes, in memory if there are few, so that damage shows before they are used."""
    start = stream.read(WHOLE + 1)
    if len(start) <= WHOLE:
        return buffered(io.BytesIO(start))  # type: ignore[arg-type]
    return buffered(Chained(start, stream))


class Chained(io.RawIOBase):
    """Bytes that were read already, then the rest of their stream."""

    def __init__(self, start: bytes, rest: io.BufferedReader) -> None:
        super().__init__()
        self.start: memoryview | None = memoryview(start)
        self.rest = rest

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Some bytes, at most `len(buffer)`; 0 at the end."""
        if not self.start:
            self.start = None
            return self.rest.readinto(buffer)
        count = min(len(buffer), len(self.start))
        buffer[:count] = self.start[:count]
        self.start = self.start[count:]
        return count
