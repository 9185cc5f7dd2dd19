"""How a training goes, from its records: its speed, the time left, a smoother curve. Knows nothing about models."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gptviz.training.records import StepRecord

RECENT = 20  # records that the speed is the median of
SMOOTH = 0.8  # of what was before, in a smoothed loss
MOST_POINTS = 800  # of a curve that is sent to a browser
TIMES = ((90, 1, "second"), (5400, 60, "minute"), (float("inf"), 3600, "hour"))  # up to, seconds in one, its name


def speed(records: Sequence[StepRecord]) -> float:
    """Tokens per second: the median of the last `RECENT` records; 0 where there is none."""
    return statistics.median([record.tokens_per_second for record in records[-RECENT:]] or [0.0])


def seconds_left(records: Sequence[StepRecord], steps: int) -> float | None:
    """Until step `steps`, at the speed of the last records and with their tokens a step; None where there is none."""
    recent, rate = records[-RECENT:], speed(records)
    if not recent or rate <= 0:
        return None
    first = records[-RECENT - 1].tokens if len(records) > RECENT else recent[0].tokens * (1 - 1 / recent[0].step)
    per_step = (recent[-1].tokens - first) / len(recent)
    return (steps - recent[-1].step) * per_step / rate


def in_words(seconds: float) -> str:
    """A time as people say it: "about 3 minutes"."""
    for longest, unit, name in TIMES:
        if seconds < longest:
            count = max(1, round(seconds / unit))
            return f"about {count} {name}{'s'[: count > 1]}"
    raise ValueError(f"expected seconds that are a number, found {seconds}")


def smoothed(values: Sequence[float], keep: float = SMOOTH) -> np.ndarray:
    """Exponential mean of (N,) values, without the pull to zero at the beginning: (N,) float64.

    m = keep * m + (1 - keep) * value, divided by 1 - keep^n (Kingma and Ba 2015, section 3).
    """
    means, mean = np.empty(len(values)), 0.0
    for n, value in enumerate(values):
        mean = keep * mean + (1 - keep) * value
        means[n] = mean / (1 - keep ** (n + 1))
    return means


def shown_points(values: Sequence[float], most: int = MOST_POINTS) -> np.ndarray:
    """Which of (N,) values a curve shows, as places in order: all where there are few.

    Else places that lie evenly over the steps, others evenly over their logarithm, and of every stretch the highest.
    """
    count = len(values)
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most // 3).round().astype(int)
    early = np.geomspace(1, count, most // 3).round().astype(int) - 1
    highest = [a + int(np.argmax(values[a : b + 1])) for a, b in pairwise(even)]
    return np.unique(np.concatenate([even, early, highest]))
