"""Attention to test the view with: random, causal or not, square or not; and how a browser would read the blobs."""

from __future__ import annotations

import json

import numpy as np


def attention(*shape: int, causal: bool = False, seed: int = 0) -> np.ndarray:
    """Random rows that sum to 1: (..., T, S) float32."""
    scores = 3 * np.random.default_rng(seed).standard_normal(shape)
    if causal:
        scores = np.where(np.tri(*shape[-2:], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def future(t: int) -> np.ndarray:
    """What a causal mask hides: (T, T) bool."""
    return ~np.tri(t, dtype=bool)


def read(blob: bytes) -> tuple[dict, bytes]:
    """Header and payload, from the description of the format alone."""
    length = int.from_bytes(blob[:4], "little")
    start = 4 + length
    while start % 4:
        assert blob[start] == 0
        start += 1
    return json.loads(blob[4 : 4 + length].decode("utf-8")), blob[start:]


def pictures(blob: bytes) -> tuple[dict, np.ndarray]:
    """Header and codes of an overview, (L, H, P_t, P_s), or of a head, (P_t, P_s)."""
    header, payload = read(blob)
    lead = (header["L"], header["H"]) if header["kind"] == "overview" else ()
    if header.get("packed") != "lower":
        return header, np.frombuffer(payload, np.uint8).reshape(*lead, *header["P"])
    rows, columns = header["P"]
    assert rows == columns
    codes, place = np.zeros((int(np.prod(lead)), rows, rows), dtype=np.uint8), 0
    for head in codes:
        for row in range(rows):
            head[row, : row + 1] = np.frombuffer(payload, np.uint8, row + 1, place)
            place += row + 1
    assert place == len(payload)
    return header, codes.reshape(*lead, rows, rows)


def window(blob: bytes) -> tuple[dict, np.ndarray]:
    """Header and weights of an exact window."""
    header, payload = read(blob)
    shape = header["q1"] - header["q0"], header["k1"] - header["k0"]
    return header, np.frombuffer(payload, "<f4").reshape(shape)
