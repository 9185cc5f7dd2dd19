"""Matrices that are kept in half precision and used in float32: for models that are too large otherwise.

Each product makes float32 numbers of a few rows at a time, which is exact: of a bfloat16 or float16 number nothing is
lost. So the weights are all that is rounded, once, when a model is opened; every stage of a pass is a float32 number
like that of any other model, and is checked to the same tolerance. Products in half precision itself would round
what goes in and what comes out to 3 digits, in every layer.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from gptviz.folder import CheckpointError, shortened
from gptviz.linear import Linear, linear

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""What matrices can be kept in, by name."""
ENVIRONMENT = "GPTVIZ_DTYPE"
CHOICES = ("auto", "float32", "float16", "bfloat16", "half")
AT_ONCE = 2**20  # numbers that are made float32 together on a CPU: they nearly stay in its cache
AT_ONCE_ELSEWHERE = 2**24  # and on a GPU, where each start of a product takes its time


def pick_dtype(name: str | None = None) -> str:
    """The choice `name`, else $GPTVIZ_DTYPE, else auto; see `gptviz.load`.

    Raises:
        ValueError: for what is none of `CHOICES`.
    """
    wanted = name or os.environ.get(ENVIRONMENT) or "auto"
    if wanted not in CHOICES:
        raise ValueError(f"expected a dtype of {', '.join(CHOICES)}, found {shortened(wanted)}; leave it out")
    return wanted


def kept_in(dtype: torch.dtype, name: str, sides: int) -> torch.dtype:
    """What a parameter is kept in, in a model whose matrices are in `dtype`: norms, biases and positions in float32."""
    return dtype if sides == 2 and not name.startswith("position_embedding") else torch.float32


def check_finite(value: Tensor, label: str, remedy: str, within: str = "") -> None:
    """Raise `CheckpointError` where a weight is NaN or infinite, or became so in half precision."""
    flat = value.reshape(-1)
    sound = sum(int(part.isfinite().sum()) for part in flat.split(2**17))  # it makes copies: of a part at a time
    if wrong := len(flat) - sound:
        raise CheckpointError(
            f"{label}: expected finite weights, found {wrong} of {value.numel()}{within} that are not; {remedy}"
        )


def remedy_for(dtype: torch.dtype, usual: str) -> str:
    """What to do where a weight that was read as `dtype` is not finite: float16 ends at 65504."""
    return f'{usual}, or take dtype="bfloat16"' if dtype == torch.float16 else usual


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., C) -> x W^T + b (..., R) in the type of x, where W (R, C) may be kept in half precision."""
    if weight.dtype == x.dtype:
        return linear(x, weight, bias)
    at_once = AT_ONCE if x.device.type == "cpu" else AT_ONCE_ELSEWHERE
    rows = max(1, at_once // weight.size(1))
    out = x.new_empty((*x.shape[:-1], weight.size(0)))
    for start in range(0, weight.size(0), rows):
        part = slice(start, start + rows)
        out[..., part] = linear(x, weight[part].to(x.dtype), None if bias is None else bias[part])
    return out


class HalfLinear(nn.Linear):
    """A projection whose matrix is kept in half precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., R) float32"""
        return product(x, self.weight, self.bias)


class HalfEmbedding(nn.Embedding):
    """A table that is kept in half precision."""

    def forward(self, ids: Tensor) -> Tensor:
        """ids (...) -> their rows (..., C) float32"""
        return super().forward(ids).float()


def keep_in_half(gpt: nn.Module) -> None:
    """Make the projections and the token table of a model without weights such that half precision can be assigned."""
    for module in gpt.modules():  # the parameters stay as they are: only how they are used is another
        if type(module) is Linear:
            module.__class__ = HalfLinear
    gpt.token_embedding.__class__ = HalfEmbedding


def half_dtype(network: nn.Module) -> torch.dtype | None:
    """What the matrices of a model are kept in, None where that is not half precision."""
    table = network.token_embedding
    return table.weight.dtype if isinstance(table, HalfEmbedding) else None


def name_of(dtype: torch.dtype) -> str:
    """Such as "bfloat16"."""
    return str(dtype).removeprefix("torch.")
