"""Where to compute, and in what precision: chosen once, from a flag, the environment or what is there."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

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


def autocast(device: torch.device, bf16: bool | None = None) -> AbstractContextManager:
    """bf16 autocast if `bf16` says so, and without a word where it is faster."""
    wanted = bf16_pays(device) if bf16 is None else bf16
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else contextlib.nullcontext()


def bf16_pays(device: torch.device) -> bool:
    """bf16 is faster: on CUDA, and on CPUs where a measurement says so."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and cpu_bf16_pays()


def memory_used(device: torch.device) -> int | None:
    """Bytes that this process holds: on a GPU of its memory, on a CPU in all; None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:  # pages that are resident, in Linux's own words
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return largest_resident()


def largest_resident() -> int | None:
    """Bytes that this process held at most, where the system has no word on now: macOS."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
