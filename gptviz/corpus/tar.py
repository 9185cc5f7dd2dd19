"""A tar archive as a stream of members, read once from front to back. Knows nothing about what is in them.

Written for archives from strangers: a member is a stream of so many bytes, never a path on the disk, and no size that
an archive claims is allocated. Formats: POSIX ustar and pax, and GNU's long names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 512
MAX_NAME = 2**16  # bytes of a long name, or of a pax header
REGULAR = b"0\0" + b"7"
CHUNK = 2**16


class TarError(ValueError):
    """An archive that is damaged or cut short: says what was expected and what was found."""


class Member(io.RawIOBase):
    """The bytes of one member; valid until the next one is asked for."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self.stream, self.left = stream, size

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As many bytes as there are, at most `len(buffer)`; 0 at the end."""
        data = self.stream.read(min(len(buffer), self.left))
        if not data and self.left and len(buffer):
            raise TarError(f"expected {self.left} more bytes of a member, found the end of the archive")
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Read past what nobody wanted."""
        while self.left:
            data = self.stream.read(min(CHUNK, self.left))
            if not data:
                raise TarError(f"expected {self.left} more bytes of a member, found the end of the archive")
            self.left -= len(data)


def is_header(block: bytes) -> bool:
    """Whether a file that begins so is a tar archive: `ustar` at offset 257, a checksum that fits; or the end mark."""
    if not block[: 2 * BLOCK].strip(b"\0"):
        return len(block) >= 2 * BLOCK  # an archive of nothing
    return len(block) >= BLOCK and block[257:262] == b"ustar" and checksum_fits(block[:BLOCK])


def members(stream: BinaryIO) -> Iterator[tuple[str, Member]]:
    """Name and bytes of every regular file, in order; folders and links are passed over.

    Raises:
        TarError: where the archive is damaged; the members before it were whole.
    """
    long_name: str | None = None
    long_size: int | None = None
    while True:
        block = stream.read(BLOCK)
        if not block:
            raise TarError("expected the archive's end mark, found the end of the file; it may be cut short")
        if block.count(0) == len(block) == BLOCK:
            return
        kind, size = read_header(block)
        if kind in (b"L", b"x"):
            text = read_small(stream, size)
            if kind == b"L":
                long_name = text.rstrip(b"\0").decode("utf-8", "replace")
            else:
                records = pax_records(text)
                long_name = records.get("path", long_name)
                long_size = int(records["size"]) if records.get("size", "").isdecimal() else None
            continue
        if kind in REGULAR:
            member = Member(stream, size if long_size is None else long_size)
            pad = -member.left % BLOCK
            yield long_name or header_name(block), member
            member.drain()
            Member(stream, pad).drain()
        else:  # links, devices and folders have no bytes, whatever they claim
            Member(stream, 0 if kind in b"123456" else size + -size % BLOCK).drain()
        if kind not in b"gK":  # what these say about the next member does not end what the others said
            long_name = long_size = None


def read_header(block: bytes) -> tuple[bytes, int]:
    """Kind and size of a member."""
    if len(block) < BLOCK or not checksum_fits(block):
        raise TarError("expected the header of a tar member, found other bytes; the archive is damaged there")
    if block[156:157] == b"S":
        raise TarError("expected a member stored whole, found a sparse one; pack the archive again without --sparse")
    return block[156:157], number(block[124:136])


def checksum_fits(block: bytes) -> bool:
    """The sum of all bytes, those of the sum itself counted as spaces, is the one in the header."""
    try:
        return number(block[148:156]) == sum(block) - sum(block[148:156]) + 8 * ord(" ")
    except TarError:
        return False


def number(field: bytes) -> int:
    """An octal field, or GNU's binary one, whose first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    if not all(digit in b"01234567" for digit in digits):
        raise TarError(f"expected an octal number in a header, found {field!r}")
    return int(digits or b"0", 8)


def read_small(stream: BinaryIO, size: int) -> bytes:
    """A long name or a pax header, which come before the member that they describe."""
    if size > MAX_NAME:
        raise TarError(f"expected a name of at most {MAX_NAME} bytes, found {size}")
    data = stream.read(size + -size % BLOCK)[:size]
    if len(data) < size:
        raise TarError("expected the name of a member, found the end of the archive")
    return data


def pax_records(data: bytes) -> dict[str, str]:
    """`path` and `size` of a pax header: records such as `19 path=a/name.txt` and a newline, the length in front."""
    records = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not (length.isdigit() and len(length) < 7 and 0 < int(length) <= len(data)):
            raise TarError(f"expected a pax record, found {data[:40]!r}")
        key, _, value = data[len(length) + 1 : int(length)].removesuffix(b"\n").partition(b"=")
        if key in (b"path", b"size"):
            records[key.decode()] = value.decode("utf-8", "replace")
        data = data[int(length) :]
    return records


def header_name(block: bytes) -> str:
    """The name in a header, with the prefix that POSIX keeps apart; GNU's own format has no prefix."""
    name, prefix = (field.split(b"\0")[0].decode("utf-8", "replace") for field in (block[:100], block[345:500]))
    return f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name
