"""How much memory a model takes and how much is free: asked before any is taken. Knows nothing about pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gptviz.config import GPTConfig, ModelConfig
from gptviz.folder import expected_sizes

if TYPE_CHECKING:
    import torch

MEMINFO = Path("/proc/meminfo")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))  # of a container
SHARE = 0.5  # of the machine's memory, that all kept models together may take
UNKNOWN = 2 * 2**30  # bytes for them where the system does not tell
WORKING = 200 * 2**20  # bytes that loading and a first pass take beside the weights


def needed(config: ModelConfig, bytes_each: int = 4) -> int:
    """Bytes to load a model and read a sentence: its weights, the largest once more, and `WORKING`.

    `bytes_each` is 2 for matrices in half precision; a table of positions stays in float32 then.
    """
    _, numbers = expected_sizes(config)
    largest = config.vocab_size * config.d_model
    positions = config.context * config.d_model if getattr(config, "positions", "") == "learned" else 0
    return bytes_each * (numbers + largest) + (4 - bytes_each) * positions + WORKING


def bytes_that_fit(config: ModelConfig, room: int | None) -> int | None:
    """Bytes of a number with which a model fits into `room`: 4, or 2 in half precision; None where it does not.

    Where nobody says how much room there is, 4. Only a model that goes on from a text can be kept in half precision.
    """
    choices = (4, 2) if isinstance(config, GPTConfig) else (4,)
    return next((each for each in choices if room is None or needed(config, each) <= room), None)


def in_words(size: int) -> str:
    """Bytes as a complaint says them."""
    return f"{size / 2**30:.1f} GB"


def free(device: torch.device | None = None) -> int | None:
    """Bytes that can be taken on a device, by default the CPU; None where the system does not tell."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    found = [each for each in (of_the_machine(), of_the_container()) if each is not None]
    return min(found) if found else None


def for_models() -> int:
    """Bytes that all models which are kept open may take together."""
    total = of_the_machine("MemTotal")
    try:
        limit = LIMITS[0].read_text(encoding="ascii").strip()
    except OSError:
        limit = ""
    found = [each for each in (total, int(limit) if limit.isdigit() else None) if each is not None]
    return int(SHARE * min(found)) if found else UNKNOWN


def give_back() -> None:
    """Return to the devices what dropped models took of them."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def of_the_machine(line: str = "MemAvailable") -> int | None:
    """A line of what Linux tells; by default what is free, or taken by caches that can go."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None  # another system
    values = dict(each.split(":", 1) for each in lines if ":" in each)
    return 1024 * int(values[line].split()[0]) if line in values else None


def of_the_container() -> int | None:
    """What is left of the limit of a container, if there is one."""
    try:
        limit, used = (path.read_text(encoding="ascii").strip() for path in LIMITS)
    except OSError:
        return None
    return max(0, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else None
