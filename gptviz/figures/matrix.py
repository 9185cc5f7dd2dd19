"""Any matrix as a picture in which a cell is a square of one size: rows down, columns across, names at the sides.

The picture has a size of its own, in pixels, and is scrolled where it is larger than its place, its names always in
view (`ui.plot_matrix`, `ui/assets/matrix.js`). Here it is only described. Takes arrays and labels; knows nothing about
models, pages or where the numbers came from. Shapes: N rows, M columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptviz.figures import style
from gptviz.figures.heatmap import LONGEST_LABEL

Frame = tuple[range, range]
"""A rectangle of cells: its rows, its columns."""

LEAST_CELL, LARGEST_CELL = 12, 44  # pixels
ROOM = 480  # pixels that the longer side takes while its cells are between the two
LEAST_NUMBER = 38  # pixels of a cell that holds its value
ONE_OF = {"queries": "query", "keys": "key", "tokens": "token"}  # what one row or column is called on hover


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix and how it is to be drawn; see `matrix`, which makes it."""

    values: np.ndarray  # (N, M) float32; -inf is masked, NaN is empty
    rows: tuple[str, ...]  # N names, as they are shown
    columns: tuple[str, ...]  # M names
    title: str
    axes: tuple[str, str]  # what rows and columns are
    signed: bool
    limit: float  # where the colours end
    marked: tuple[Frame, ...]
    size: int  # pixels of a side of a cell

    def encode(self, name: str, clickable: bool) -> bytes:
        """What the browser draws: <u32 little-endian length of the header><header, JSON><values, float32>.

        Args:
            name: of the file that it is saved as; clickable: a click says which cell was meant.
        """
        header = {
            "name": name,
            "clickable": clickable,
            "title": self.title,
            "shape": " × ".join(map(counted, (self.rows, self.columns), self.axes)),
            "rows": self.rows,
            "columns": self.columns,
            "axes": self.axes,
            "one": [ONE_OF.get(axis, "") for axis in self.axes],
            "size": self.size,
            "numbers": self.size >= LEAST_NUMBER,
            "signed": self.signed,
            "frames": [[rows.start, rows.stop, columns.start, columns.stop] for rows, columns in self.marked],
        }
        text = json.dumps(header | self.colours()).encode()
        return len(text).to_bytes(4, "little") + text + self.values.astype("<f4").tobytes()

    def colours(self) -> dict[str, Any]:
        """The scale, its ends, and what is written at them: where values go on beyond an end, it says so."""
        ends = [-self.limit, 0.0, self.limit] if self.signed else [0.0, self.limit]
        found = np.abs(self.values[np.isfinite(self.values)]).max(initial=0)
        beyond = {-self.limit: "≤ ", self.limit: "≥ "} if found > 1.0001 * self.limit else {}
        return {
            "colours": style.DIVERGING if self.signed else style.SEQUENTIAL,
            "ends": [ends[0], ends[-1]],
            "ticks": [[end, beyond.get(end, "") + style.minus(f"{end:.3g}")] for end in ends],
        }


def matrix(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    signed: bool,
    limit: float | None = None,
    marked: Sequence[Frame] | None = None,
    axes: tuple[str, str] = ("", ""),
    room: int = ROOM,
    rows_are_ours: bool = False,
) -> Matrix:
    """One matrix, its shape beside its title, the exact value on hover.

    Args:
        values: (N, M); -inf is drawn grey, as masked; NaN stays empty.
        rows: N names, such as tokens; columns: M names; literal. See `numbers`.
        title: what it is, such as "q".
        signed: True for a diverging scale centred on 0; False for a sequential one that begins at 0.
        limit: where the scale ends; the largest absolute value if not given. Give pictures that are compared one.
        marked: cells to frame; see `cell`, `row` and `column`.
        axes: what rows and what columns are, in the plural, at the sides and on hover.
        room: pixels that the longer side takes, as far as cells can become smaller.
        rows_are_ours: the names of rows are words of the page and no tokens: their spaces stay spaces, none is cut.

    Raises:
        ValueError: if names and values do not fit, or an unsigned matrix has a value under 0.
    """
    if np.shape(values) != (len(rows), len(columns)):
        raise ValueError(f"expected values of shape ({len(rows)}, {len(columns)}), found {np.shape(values)}")
    shown = np.asarray(values, dtype=np.float32)
    finite = shown[np.isfinite(shown)]
    if not signed and (finite < 0).any():
        raise ValueError(f"expected no value under 0, found {finite.min():g}; draw it with signed=True")
    return Matrix(
        shown,
        tuple(rows) if rows_are_ours else tuple(map(label, rows)),
        tuple(map(label, columns)),
        title,
        axes,
        signed,
        float(limit or np.abs(finite).max(initial=0) or 1),
        tuple(marked or ()),
        cell_size(*shown.shape, room),
    )


def counted(names: Sequence[str], axis: str) -> str:
    """How many rows or columns there are, and of what."""
    return f"{len(names)} {ONE_OF.get(axis, axis) if len(names) == 1 else axis}".strip()


def label(token: str) -> str:
    """A token at a side: white space visible, cut if very long."""
    text = style.visible(token)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def numbers(n: int) -> list[str]:
    """Names for dimensions: 0, 1, ..., n - 1."""
    return [str(i) for i in range(n)]


def cell(row: int, column: int) -> Frame:
    """One cell, to be framed."""
    return range(row, row + 1), range(column, column + 1)


def row(index: int, values: np.ndarray) -> Frame:
    """One row of a matrix, to be framed."""
    return range(index, index + 1), range(values.shape[1])


def column(index: int, values: np.ndarray) -> Frame:
    """One column of a matrix, to be framed."""
    return range(values.shape[0]), range(index, index + 1)


def cell_size(rows: int, columns: int, room: int = ROOM) -> int:
    """Pixels of a side of a cell: as large as there is room for, and never so small that it is lost."""
    return min(max(room // max(rows, columns, 1), LEAST_CELL), LARGEST_CELL)
