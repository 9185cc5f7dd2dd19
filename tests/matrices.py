"""The matrices of a page as the browser gets them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from gptviz.figures.matrix import Matrix
from tests.page_helpers import mounted


def read(blob: bytes) -> dict[str, Any]:
    """What `Matrix.encode` wrote: the header, and under "values" the numbers, (N, M)."""
    end = 4 + int.from_bytes(blob[:4], "little")
    header = json.loads(blob[4:end])
    shape = len(header["rows"]), len(header["columns"])
    return header | {"values": np.frombuffer(blob[end:], dtype="<f4").reshape(shape)}


def sent(matrix: Matrix, clickable: bool = False) -> dict[str, Any]:
    """A matrix as the browser would get it."""
    return read(matrix.encode("name", clickable))


def matrices(at: AppTest) -> dict[str, dict[str, Any]]:
    """All of a page, by the names of their files, which are their keys."""
    every = [read(element.proto.bytes) for element in mounted(at, "gptviz_matrix")]
    return {matrix["name"]: matrix for matrix in every}
