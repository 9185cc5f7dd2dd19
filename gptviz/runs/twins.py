"""Two trainings that differ in nothing but the mask: the shipped pair, and pairs among the runs of the app."""

from __future__ import annotations

import contextlib
import filecmp
from typing import Any, NamedTuple

from gptviz.folder import snapshot_steps
from gptviz.runs.begin import TEXT
from gptviz.runs.recording import Recording, find_recording, recordings
from gptviz.runs.run import Run, all_runs


class Twins(NamedTuple):
    """The same recipe, the same seed and the same text, once with the mask and once without."""

    masked: Recording
    unmasked: Recording

    @property
    def name(self) -> str:
        """As people see it, and as the address has it."""
        return f"{self.masked.name} and {self.unmasked.name}"

    @property
    def steps(self) -> list[int]:
        """After which there are snapshots of both, in order."""
        return sorted(set(self.masked.steps) & set(self.unmasked.steps))


def all_twins() -> list[Twins]:
    """Every pair that has snapshots of the same step: shipped first, then those of the app, the newest first."""
    found = [find_recording(name) for name in recordings()]
    pairs = [Twins(each, twin) for each in found if (twin := each.twin()) is not None]
    runs = [(run, recipe) for run in all_runs() if snapshot_steps(run.snapshots) and (recipe := recipe_of(run))]
    masked, unmasked = (
        [each for each in runs if each[1]["training"].get("causal", True) is kind] for kind in (True, False)
    )
    pairs += [Twins(recording_of(a), recording_of(b)) for a, x in masked for b, y in unmasked if alike(a, x, b, y)]
    return [pair for pair in pairs if pair.steps]


def recording_of(run: Run) -> Recording:
    """The snapshots of a run, even of one that has a single one so far."""
    return Recording(run.model_name, run.snapshots.parent)


def recipe_of(run: Run) -> dict[str, Any] | None:
    """How a run trains; None where that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return run.recipe if isinstance(run.recipe.get("training"), dict) else None
    return None


def alike(a: Run, x: dict[str, Any], b: Run, y: dict[str, Any]) -> bool:
    """Whether two runs, with the recipes `x` and `y`, differ in nothing but the mask: not in their text either."""
    same = without_mask(x) == without_mask(y)
    own = [run.folder / "data" / TEXT for run in (a, b)]  # a text of one's own has no name that tells it from others
    if not same or not any(path.exists() for path in own):
        return same
    try:
        return filecmp.cmp(*own, shallow=False)  # remembers what it compared
    except OSError:
        return False


def without_mask(recipe: dict[str, Any]) -> dict[str, Any]:
    """All of a recipe but whether it trains with the mask."""
    training = {name: value for name, value in recipe["training"].items() if name != "causal"}
    return recipe | {"training": training}
