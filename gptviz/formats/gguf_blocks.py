"""Numbers out of the blocks of a GGUF file: quantised weights to float32, vectorised over all blocks of a tensor.

A block holds some integers of few bits and what to multiply them by and to add; the layouts are those of
https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c (`dequantize_row_*`). Shapes: N blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Blocks = np.ndarray
"""(N, bytes of a block) uint8."""


def half(blocks: Blocks, at: int) -> np.ndarray:
    """The float16 at a byte of each block, (N, 1) float32."""
    return blocks[:, at : at + 2].copy().view("<f2").astype(np.float32)


def nibbles(packed: np.ndarray) -> np.ndarray:
    """(N, k) bytes -> (N, 2 k): the low halves of all, then the high halves."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def bits(packed: np.ndarray) -> np.ndarray:
    """(N, 4) bytes -> (N, 32) 0 or 1, the lowest bit of the first byte first."""
    return np.unpackbits(packed, axis=1, bitorder="little")


def f32(blocks: Blocks) -> np.ndarray:
    """As they are."""
    return blocks.view("<f4")


def f16(blocks: Blocks) -> np.ndarray:
    """Half precision."""
    return blocks.view("<f2").astype(np.float32)


def bf16(blocks: Blocks) -> np.ndarray:
    """The upper half of a float32."""
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


def q8_0(blocks: Blocks) -> np.ndarray:
    """d, 32 x int8: d q"""
    return blocks[:, 2:].view(np.int8) * half(blocks, 0)


def q4_0(blocks: Blocks) -> np.ndarray:
    """d, 32 x 4 bits: d (q - 8)"""
    return (nibbles(blocks[:, 2:]).view(np.int8) - np.int8(8)) * half(blocks, 0)


def q4_1(blocks: Blocks) -> np.ndarray:
    """d, m, 32 x 4 bits: d q + m"""
    found = nibbles(blocks[:, 4:]) * half(blocks, 0)
    found += half(blocks, 2)
    return found


def q5_0(blocks: Blocks) -> np.ndarray:
    """d, 32 fifth bits, 32 x 4 bits: d (q - 16)"""
    q = nibbles(blocks[:, 6:]) | bits(blocks[:, 2:6]) << 4
    return (q.view(np.int8) - np.int8(16)) * half(blocks, 0)


def q5_1(blocks: Blocks) -> np.ndarray:
    """d, m, 32 fifth bits, 32 x 4 bits: d q + m"""
    q = nibbles(blocks[:, 8:]) | bits(blocks[:, 4:8]) << 4
    return q * half(blocks, 0) + half(blocks, 2)


def q4_k(blocks: Blocks) -> np.ndarray:
    """d, dmin, 12 bytes of 6-bit scales and minima for 8 parts of 32, 256 x 4 bits: d scale q - dmin minimum"""
    packed = blocks[:, 4:16]
    low, high, top = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]  # of parts 0 to 3, of the same, of parts 4 to 7
    scales = np.concatenate([low & 63, top & 15 | low >> 6 << 4], axis=1)  # (N, 8)
    minima = np.concatenate([high & 63, top >> 4 | high >> 6 << 4], axis=1)
    pairs = blocks[:, 16:].reshape(-1, 4, 1, 32)  # two parts share 32 bytes: one in the low halves, one in the high
    q = np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)
    scale, minimum = half(blocks, 0) * scales, half(blocks, 2) * minima  # (N, 8)
    return (scale[:, :, None] * q - minimum[:, :, None]).reshape(-1, 256)


def q6_k(blocks: Blocks) -> np.ndarray:
    """256 x low 4 bits, 256 x high 2 bits, 16 x int8 scales of 16 numbers each, d: d scale (q - 32)"""
    low = blocks[:, :128].reshape(-1, 2, 1, 64)  # of each half of the block: 64 bytes hold 128 low parts
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 128)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3  # (N, 2, 4, 32)
    q = (low | high.reshape(-1, 2, 128) << 4).view(np.int8).reshape(-1, 16, 16) - np.int8(32)
    scale = half(blocks, 208) * blocks[:, 192:208].view(np.int8)  # (N, 16)
    return (scale[:, :, None] * q).reshape(-1, 256)


TO_FLOAT: dict[str, Callable[[Blocks], np.ndarray]] = {
    "F32": f32, "F16": f16, "BF16": bf16, "Q8_0": q8_0, "Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1,
    "Q4_K": q4_k, "Q6_K": q6_k,
}  # fmt: skip
"""(N, bytes of a block) uint8 -> (N, numbers of a block) float32, by the name of the type."""
