"""Attention small: one matrix as the bytes of a PNG with a pixel a cell. Needs no plotting library in the browser."""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np

from gptviz.figures.style import SEQUENTIAL

STEPS = 255  # colours of the scale; one more index is left for masked cells, which are transparent
MASKED = 255


def palette() -> np.ndarray:
    """`SEQUENTIAL` as (STEPS, 3) bytes of red, green and blue."""
    stops = np.array([[position, *map(int, re.findall(r"\d+", colour))] for position, colour in SEQUENTIAL])
    at = np.linspace(0, 1, STEPS)
    return np.stack([np.interp(at, stops[:, 0], stops[:, 1 + c]) for c in range(3)], axis=1).round().astype(np.uint8)


def thumbnail(weights: np.ndarray, masked: np.ndarray, largest: float = 1.0) -> bytes:
    """A PNG of (T, S) weights between 0 and `largest`; cells that are `masked` (T, S) and exactly 0 are see-through."""
    share = np.clip(weights / largest, 0, 1)
    index = np.where(masked & (weights == 0), MASKED, np.round(share * (STEPS - 1))).astype(np.uint8)  # (T, S)
    rows = np.pad(index, ((0, 0), (1, 0))).tobytes()  # every row begins with its filter: 0, none
    height, width = index.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, an index into a palette
    colours = palette().tobytes() + bytes(3)
    parts = [
        (b"IHDR", header),
        (b"PLTE", colours),
        (b"tRNS", bytes([255] * STEPS + [0])),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
