"""Max pooling: a long picture made small so that a single bright cell never vanishes."""

from __future__ import annotations

import numpy as np


def pool_factor(t: int, s: int, limit: int) -> int:
    """The least whole number of cells a side that go into one, so that (t, s) fits into `limit` a side."""
    return max(1, -(-max(t, s) // limit))


def pooled_shape(t: int, s: int, factor: int) -> tuple[int, int]:
    """(P_t, P_s): the last row and column may stand for fewer cells than the others."""
    return -(-t // factor), -(-s // factor)


def max_pool(cells: np.ndarray, factor: int) -> np.ndarray:
    """The largest of each `factor` x `factor` block: (..., T, S) -> (..., P_t, P_s). NaN wins.

    Codes (see `payload`) pool by the same rule: an error, 255, is the largest of all, and masked, 0, the least.
    """
    if factor == 1:
        return cells
    rows = pool_axis(cells, factor, -2)  # first: whole rows are compared, which is fast
    return pool_axis(rows, factor, -1)


def pool_axis(cells: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """The largest of each `factor` neighbours along one axis, -1 or -2."""
    length = cells.shape[axis]
    whole = length - length % factor
    body = cells[..., :whole, :] if axis == -2 else cells[..., :whole]
    shape = (*body.shape[:axis], whole // factor, factor, *((body.shape[-1],) if axis == -2 else ()))
    parts = [body.reshape(shape).max(axis=axis)] if whole else []
    if whole < length:
        rest = cells[..., whole:, :] if axis == -2 else cells[..., whole:]
        parts.append(rest.max(axis=axis, keepdims=True))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)
