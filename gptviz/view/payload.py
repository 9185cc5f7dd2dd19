"""Attention weights as the bytes that travel to the browser: 8-bit codes for pictures, float32 where a number is read.

A blob is <u32 little-endian length of the header><header, UTF-8 JSON><zero bytes up to a multiple of 4><payload>.
A code is 0 where a cell is masked (its score was -inf and its weight is exactly 0), 255 where it is an error, else
1 + round(253 sqrt(w)), read back as ((code - 1) / 253)**2: the square root spends the codes on small weights, where
the eye and the sentence need them. A weight in a masked place keeps its code: a leak is to be seen. In an exact window
a masked cell is -0, which equals 0 and which no softmax gives.

Shapes: L layers, H heads, T queries, S keys, P_t x P_s cells of a pooled picture.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from gptviz.view.pool import max_pool

MASKED, ERROR = 0, 255
MASKED_WEIGHT = -0.0  # in an exact window
STEPS = 253  # codes 1 to 254 are weights from 0 to 1
TOLERANCE = 1e-3  # how far from 1 a row may sum, and how far over 1 a weight may lie: float16 rounds that much
DECODING_ERROR = 1 / STEPS  # at most, of a decoded weight: half a step of its root, times the sum of two roots


def pack(header: dict, payload: bytes) -> bytes:
    """Header and payload as one blob; the payload starts at a multiple of 4, as a Float32Array needs it."""
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return b"".join((struct.pack("<I", len(text)), text, bytes(-(4 + len(text)) % 4), payload))


def unpack(blob: bytes) -> tuple[dict, memoryview]:
    """The header and the payload of a blob.

    Raises:
        ValueError: if the blob is cut short or its header is no JSON.
    """
    if len(blob) < 4 or len(blob) < 4 + struct.unpack_from("<I", blob)[0]:
        raise ValueError(f"expected a header of a length that stands first, found {len(blob)} bytes; the blob is cut")
    end = 4 + struct.unpack_from("<I", blob)[0]
    return json.loads(blob[4:end]), memoryview(blob)[end + -end % 4 :]


def pack_codes(codes: np.ndarray) -> tuple[dict, bytes]:
    """Codes (..., P_t, P_s) as bytes, and what the header says of them.

    Under a causal mask half of the cells are masked. They do not travel: {"packed": "lower"} means that each picture is
    its lower triangle, row by row, and that all cells above the diagonal are `MASKED`.
    """
    rows, columns = codes.shape[-2:]
    lower = np.tri(rows, columns, dtype=bool)
    if rows == columns and not codes[..., 0, 1:].any() and not codes[..., ~lower].any():
        return {"packed": "lower"}, codes[..., lower].tobytes()
    return {}, codes.tobytes()


def unpack_codes(header: dict, payload: bytes | memoryview) -> np.ndarray:
    """The codes of a blob, (N, P_t, P_s), from its header and payload."""
    p_t, p_s = header["P"]
    if header.get("packed") != "lower":
        return np.frombuffer(payload, np.uint8).reshape(-1, p_t, p_s)
    cells = np.frombuffer(payload, np.uint8).reshape(-1, p_t * (p_t + 1) // 2)
    codes = np.full((len(cells), p_t, p_s), MASKED, dtype=np.uint8)
    codes[:, np.tri(p_t, dtype=bool)] = cells
    return codes


def to_codes(weights: np.ndarray) -> np.ndarray:
    """Weights from 0 to 1 as codes from 1 to 254, any shape; what is NaN or out of range becomes `ERROR`."""
    with np.errstate(invalid="ignore"):
        fits = (weights >= 0) & (weights <= 1 + TOLERANCE)
        roots = np.sqrt(np.clip(weights, 0, 1, dtype=np.float32))
        roots *= STEPS
        roots += 1.5  # the cast cuts off: one for the first code, a half to round
        codes = roots.astype(np.uint8)
    return codes if fits.all() else np.where(fits, codes, np.uint8(ERROR))


def from_codes(codes: np.ndarray) -> np.ndarray:
    """The weights that codes stand for, float64: 0 where masked, NaN where an error."""
    roots = np.maximum(codes.astype(np.float64) - 1, 0) / STEPS
    return np.where(codes == ERROR, np.nan, roots**2)


def wrong_rows(weights: np.ndarray, masked: np.ndarray | None, rows_sum_to_one: bool = True) -> np.ndarray:
    """Rows with a NaN or a number outside 0 to 1, or that do not sum to 1 where they must: (H, T, S) -> (H, T) bool.

    A row that is masked all over, such as a padded one, has nothing to sum, and is right if all of it is 0.
    """
    low, high = weights.min(axis=-1), weights.max(axis=-1)  # (H, T), NaN where a row has one
    wrong = ~((low >= 0) & (high <= 1 + TOLERANCE))
    if rows_sum_to_one:
        with np.errstate(invalid="ignore"):
            wrong |= ~(np.abs(weights.sum(axis=-1) - 1) <= TOLERANCE)
        if masked is not None:
            wrong &= ~(masked.all(axis=-1) & (low == 0) & (high == 0))
    return wrong


def encode_cells(
    weights: np.ndarray, masked: np.ndarray | None = None, rows_sum_to_one: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One layer as codes, cell by cell.

    Args:
        weights: (H, T, S); masked: (1 or H, T, S) bool, True where the score was -inf; None masks nothing.
        rows_sum_to_one: a row that does not is an error in all its cells, those masked and 0 left out.

    Returns:
        Codes (H, T, S) uint8, and which rows are wrong, (H, T) bool.
    """
    codes, wrong = to_codes(weights), wrong_rows(weights, masked, rows_sum_to_one)
    if rows_sum_to_one:
        codes[wrong] = ERROR
    if masked is not None:
        codes[masked & (weights == 0)] = MASKED
    return codes, wrong


def encode_layer(
    weights: np.ndarray, masked: np.ndarray | None = None, rows_sum_to_one: bool = True, factor: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """One layer as codes of max-pooled cells: `encode_cells`, then `max_pool`, in less time for a long text.

    Returns:
        Codes (H, P_t, P_s) uint8, and which rows are wrong, (H, T) bool.
    """
    if factor == 1:
        return encode_cells(weights, masked, rows_sum_to_one)
    # Codes rise with weights, so the largest weight has the largest code: fewer cells are left to encode.
    largest = max_pool(weights, factor)  # (H, P_t, P_s)
    codes, wrong = to_codes(largest), wrong_rows(weights, masked, rows_sum_to_one)
    if masked is not None:
        codes[~max_pool(~masked, factor) & (largest == 0)] = MASKED
    for head in np.flatnonzero(wrong.any(axis=-1)):
        own = None if masked is None else masked[head % len(masked)][None]
        codes[head] = max_pool(encode_cells(weights[head][None], own, rows_sum_to_one)[0][0], factor)
    return codes, wrong


def describe_wrong(weights: np.ndarray, wrong: np.ndarray) -> str:
    """What is wrong with a head, in words, from its first wrong row; weights (T, S), wrong (T,) bool."""
    rows = np.flatnonzero(wrong)
    row = weights[rows[0]]
    outside = np.flatnonzero(~((row >= 0) & (row <= 1 + TOLERANCE)))
    if len(outside):
        value = row[outside[0]]
        what = f"row {rows[0]} has {'NaN' if np.isnan(value) else f'{value:g}'} at key {outside[0]}"
    else:
        what = f"row {rows[0]} sums to {row.sum(dtype=np.float64):.4g}, not 1"
    more = len(rows) - 1
    return what + (f"; {more} more {'row is' if more == 1 else 'rows are'} wrong" if more else "")
