"""What the benchmarks share: interleaved timing, rows of the table, reasons to skip. Knows nothing of what is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Bound = tuple[Literal["<=", ">="], float]


class Skip(Exception):
    """Something that is needed is not installed; the message is printed in place of the figures."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: what was measured.
        value: the figure that the bound is about.
        bound: what it has to be; None for a figure that is only told.
        unit: of the value; nothing for a ratio.
        detail: the absolute figures behind it, which hold for this machine and this minute.
    """

    name: str
    value: float
    bound: Bound | None
    unit: str = ""
    detail: str = ""

    @property
    def kept(self) -> bool:
        """The value is within its bound."""
        if self.bound is None:
            return True
        relation, limit = self.bound
        return self.value <= limit if relation == "<=" else self.value >= limit


def interleave(runs: dict[str, Callable[[], object]], rounds: int, warmups: int = 1) -> dict[str, list[float]]:
    """Seconds of every run in every round. Each round runs all of them, in an order that moves on by one.

    What else the machine does at the time slows all runs of a round alike, so that ratios within a round survive it.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmups, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            runs[name]()
            took = time.perf_counter() - start
            if number >= 0:
                seconds[name].append(took)
    return seconds


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> float:
    """The median, over the rounds, of `over`'s seconds divided by `under`'s in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))


def milliseconds(seconds: list[float]) -> str:
    """The median, for people."""
    return f"{statistics.median(seconds) * 1000:.0f} ms"


def seconds_text(seconds: list[float]) -> str:
    """The median, for people, where it takes seconds."""
    return f"{statistics.median(seconds):.1f} s"
