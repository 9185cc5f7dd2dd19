"""x W^T + b, by the faster of two kernels where a model is read on a processor.

Same numbers to the last digits of float32, whose order of summing is each kernel's own.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST = 2**18  # numbers of a matrix: below that the call itself takes as long as it saves
ONEDNN = (
    platform.machine() in ("x86_64", "AMD64")  # elsewhere PyTorch has another library, or other kernels in this one
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., C) -> x W^T + b (..., R), for W (R, C), b (R,).

    PyTorch multiplies float32 by MKL. With oneDNN, which it brings for other types, a pass of SmolLM2 135M over 2 to 64
    tokens takes 0.6 to 0.7 of the time (AMD Zen, 2 cores). The conditions: that call keeps nothing for gradients and
    knows no autocast, and for what is compiled the compiler chooses.
    """
    if (
        ONEDNN
        and weight.numel() >= LEAST
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
    ):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """A projection."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., R)"""
        return linear(x, self.weight, self.bias)
