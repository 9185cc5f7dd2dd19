"""Where to compute, and in what precision: chosen once, from a flag, the environment or what is there."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from contextlib import AbstractContextManager

import torch

ENVIRONMENT = "GPTVIZ_DEVICE"


def pick_device(name: str | None = None) -> torch.device:
    """The device `name`, else $GPTVIZ_DEVICE, else CUDA, then MPS, then the CPU.

    Raises:
        ValueError: for a device that this machine or this PyTorch does not have.
    """
    wanted = name or os.environ.get(ENVIRONMENT) or "auto"
    if wanted == "auto":
        wanted = "cuda" if has_cuda() else "mps" if has_mps() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f"expected a device such as cuda, cuda:1, mps, cpu or auto, found {wanted!r}") from error
    there = {"cuda": has_cuda, "mps": has_mps, "cpu": lambda: True, "meta": lambda: True}
    if not there.get(device.type, lambda: False)():
        raise ValueError(f"expected a device that this machine has, found {wanted!r}; leave it out, or use cpu")
    return device


def has_cuda() -> bool:
    """A CUDA device is usable."""
    return torch.cuda.is_available()


def has_mps() -> bool:
    """Apple's GPU is usable."""
    return torch.backends.mps.is_available()


def autocast(device: torch.device) -> AbstractContextManager:
    """bf16 autocast where it is faster: on CUDA, and on CPUs where a measurement says so."""
    pays = torch.cuda.is_bf16_supported() if device.type == "cuda" else device.type == "cpu" and cpu_bf16_pays()
    return torch.autocast(device.type, dtype=torch.bfloat16) if pays else contextlib.nullcontext()


@functools.cache
def cpu_bf16_pays() -> bool:
    """A bf16 matrix product is at least 1.2 times as fast as an fp32 one here: measured once, in about 20 ms."""
    return 1.2 * product_time(torch.bfloat16) < product_time(torch.float32)


def product_time(dtype: torch.dtype, size: int = 512, repeats: int = 5) -> float:
    """Seconds for one product of two square matrices on the CPU, best of `repeats`."""
    a = torch.ones(size, size, dtype=dtype)
    times = []
    for _ in range(repeats + 1):  # the first one also sets the kernel up
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return min(times[1:])
