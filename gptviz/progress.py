"""Progress on a terminal, for people: a bar, and a time to wait."""

from __future__ import annotations

BAR = 24  # characters


def bar(fraction: float) -> str:
    """How much is done, as a picture and a share."""
    filled = round(BAR * fraction)
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {fraction:6.1%}"


def duration(seconds: float) -> str:
    """A time to wait."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
