"""How a training goes, from its records: against sums made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gptviz.analysis.progress import RECENT, in_words, seconds_left, shown_points, smoothed, speed
from gptviz.training.records import StepRecord


def records(speeds: list[float], tokens: int = 100) -> list[StepRecord]:
    """Steps of `tokens` each."""
    return [StepRecord(n + 1, tokens * (n + 1), 1.0, 0.1, 1.0, rate) for n, rate in enumerate(speeds)]


def test_the_speed_is_the_median_of_the_last_records() -> None:
    assert speed([]) == 0
    assert speed(records([100.0, 200.0, 10_000.0])) == 200
    assert speed(records([1.0] * 50 + [500.0] * RECENT)) == 500


@pytest.mark.parametrize("before", [1, 5, RECENT, RECENT + 1, 3 * RECENT])
def test_the_time_left_is_the_tokens_left_over_the_speed(before: int) -> None:
    assert seconds_left(records([50.0] * before), steps=before + 30) == pytest.approx(30 * 100 / 50)


def test_without_a_record_nobody_knows_the_time_left() -> None:
    assert seconds_left([], 100) is None
    assert seconds_left(records([0.0]), 100) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 second"), (40, "about 40 seconds"), (100, "about 2 minutes"), (3600, "about 60 minutes"),
        (7200, "about 2 hours"),
    ],
)  # fmt: skip
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_smoothed_curve_begins_at_the_first_value_and_is_a_weighted_mean() -> None:
    values = [4.0, 2.0, 1.0]
    keep = 0.5
    expected = [4.0, (0.5 * 4 + 1 * 2) / 1.5, (0.25 * 4 + 0.5 * 2 + 1 * 1) / 1.75]
    assert smoothed(values, keep) == pytest.approx(expected)
    assert smoothed([3.0] * 100) == pytest.approx(3.0)
    assert len(smoothed([])) == 0


def test_a_long_curve_keeps_its_ends_its_beginning_and_its_spikes() -> None:
    values = np.sin(np.arange(50_000))
    values[31_234] = 9.0
    places = shown_points(values, most=600)
    assert len(places) <= 620
    assert (np.diff(places) > 0).all()
    assert {0, 1, 2, 3, 4, 31_234, 49_999} <= set(places.tolist())
    assert shown_points(values[:600], most=600).tolist() == list(range(600))
