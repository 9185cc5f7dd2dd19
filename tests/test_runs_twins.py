"""Which runs of the app are a pair: alike in recipe and text, one with the mask and one without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gptviz.folder import SNAPSHOTS, snapshot_file
from gptviz.runs import begin
from gptviz.runs.run import Run
from gptviz.runs.twins import all_twins
from tests.app_runs import TEXT, choice, without_process


@pytest.fixture(autouse=True)
def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shipped model and no run, and no process for those that are begun."""
    monkeypatch.setenv("GPTVIZ_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("GPTVIZ_CHECKPOINTS", str(tmp_path / "checkpoints"))
    without_process(monkeypatch)


def begun(name: str, steps: tuple[int, ...] = (0, 12), **changes: object) -> Run:
    """A run with snapshots that are files and nothing more."""
    run = begin.begin(choice(name, **changes))
    run.write_status(begin.Status(begin.State.FINISHED))
    run.snapshots.mkdir(parents=True)
    for step in steps:
        (run.snapshots / snapshot_file(step)).touch()
    return run


def names() -> list[str]:
    """Of all pairs."""
    return [pair.name for pair in all_twins()]


def test_two_runs_that_differ_in_the_mask_alone_are_a_pair() -> None:
    begun("one", (0, 5, 12))
    begun("two", (0, 7, 12), causal=False)
    (pair,) = all_twins()
    assert (pair.masked.name, pair.unmasked.name) == ("run:one", "run:two")
    assert pair.masked.causal and not pair.unmasked.causal
    assert pair.steps == [0, 12]


@pytest.mark.parametrize(
    "other", [{"causal": True}, {"seed": 1}, {"rows": 3}, {"text": TEXT + " And so on."}, {"text": TEXT[:-1] + "!"}]
)
def test_any_other_difference_makes_them_none(other: dict) -> None:
    begun("one")
    begun("two", **({"causal": False} | other))
    assert names() == []


def test_without_a_common_snapshot_there_is_nothing_to_compare() -> None:
    begun("one", (0, 5))
    begun("two", (3, 7), causal=False)
    assert names() == []


def test_a_run_whose_recipe_is_damaged_is_passed_over() -> None:
    begun("one")
    begun("two", causal=False)
    begun("three").recipe_file.write_text("[training\n", encoding="utf-8")
    begun("four").recipe_file.write_text("training = 1\n", encoding="utf-8")
    assert names() == ["run:one and run:two"]


def test_a_text_that_is_gone_is_compared_with_nothing() -> None:
    begun("one")
    shutil.rmtree(begun("two", causal=False).folder / "data")
    assert names() == []


def test_the_shipped_pair_comes_first(tmp_path: Path) -> None:
    begun("one")
    begun("two", causal=False)
    for name in ("small", "small-unmasked"):
        snapshots = tmp_path / "checkpoints" / name / SNAPSHOTS
        snapshots.mkdir(parents=True)
        for step in (0, 4):
            (snapshots / snapshot_file(step)).touch()
    assert names() == ["small and small-unmasked", "run:one and run:two"]
