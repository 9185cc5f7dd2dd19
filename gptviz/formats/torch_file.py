"""Files of `torch.save`, read with `weights_only=True`: tensors and plain values, and nothing that could run.

Such a file can hold tensors of many kinds, and one that says to have a billion numbers where a single one is stored.
Only plain tables of real numbers are let through; what they say of their size has to be held against the config.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptviz.folder import CheckpointError, shortened

WEIGHTS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_torch(file: Path, label: str, expected: str, remedy: str) -> Any:
    """What a file holds, its tensors mapped into memory.

    Raises:
        CheckpointError: for a file that is damaged, or would run anything.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged pickle may fail in any way
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{label}: expected {expected}, found {shortened(said)}; nothing of it was run. {remedy}"
        ) from error


def plain(value: object, label: str, remedy: str) -> Tensor:
    """A tensor, and no parameter, whose numbers lie in memory as in a table.

    Raises:
        CheckpointError: for what is no tensor, or one of integers, of complex or packed numbers, sparse or nested.
    """
    found = "none" if value is None else type(value).__name__
    if isinstance(value, Tensor):
        kind = "nested" if value.is_nested else f"{value.layout}".removeprefix("torch.")
        if kind == "strided" and value.device.type == "cpu" and value.dtype in WEIGHTS:
            return value.detach()
        found = f"one of {str(value.dtype).removeprefix('torch.')}, {kind}, on {value.device.type}"
    kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in WEIGHTS)
    raise CheckpointError(f"{label}: expected a tensor of {kinds}, found {found}; {remedy}")
