"""A training that can be replayed: the snapshots of a model, and the losses in between. Shipped, or of a run."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gptviz import folder as folders
from gptviz.folder import SNAPSHOTS, CheckpointError, snapshot_file, snapshot_steps
from gptviz.runs.curve import Curve
from gptviz.runs.run import RECIPE
from gptviz.training.records import JSON_LINES

if TYPE_CHECKING:
    from gptviz import LanguageModel

SHIPPED_LOG = "training.csv"  # beside a shipped model: among its columns step, train_loss, valid_loss
TWIN = "-unmasked"  # ends the name of a shipped recording: the same recipe trained without the mask


class Losses(NamedTuple):
    """The losses of a training, in nats per token."""

    steps: list[int]
    train: list[float]
    valid_steps: list[int]
    valid: list[float]


@dataclass(frozen=True)
class Recording:
    """The snapshots of one training.

    Args:
        name: of the model, as in the picker: a shipped one, or "run:NAME".
        folder: of the model; its snapshots are in a folder below.
    """

    name: str
    folder: Path

    @cached_property
    def steps(self) -> list[int]:
        """After which there is a snapshot, in order. Of a run under way: those there were at the first look."""
        return snapshot_steps(self.folder / SNAPSHOTS)

    @property
    def recipe_file(self) -> Path:
        """How it was trained: beside the model, or in the folder of its run."""
        own = self.folder / RECIPE
        return own if own.is_file() else self.folder.parent / RECIPE

    @cached_property
    def causal(self) -> bool:
        """Whether it was trained with the mask."""
        training = tomllib.loads(self.recipe_file.read_text(encoding="utf-8")).get("training", {})
        causal = training.get("causal", True) if isinstance(training, dict) else None
        if not isinstance(causal, bool):
            raise CheckpointError(f"{self.recipe_file.name}: expected `causal = true` or `false` under [training]")
        return causal

    def load(self, step: int, device: str | None = None) -> LanguageModel:
        """The model after one of `steps`."""
        from gptviz.checkpoint import load_folder

        return load_folder(self.folder / SNAPSHOTS, device, snapshot_file(step), f"{self.name}@{step}")

    def losses(self) -> Losses:
        """Of every step that was logged; empty where there is no log."""
        if (self.folder / SHIPPED_LOG).is_file():
            with (self.folder / SHIPPED_LOG).open(encoding="utf-8", newline="") as file:
                rows = [(int(row["step"]), row["train_loss"], row["valid_loss"]) for row in csv.DictReader(file)]
        else:
            records = Curve(self.folder.parent / JSON_LINES).read()
            rows = [(record.step, record.loss, record.valid_loss) for record in records]
        train = [(step, float(loss)) for step, loss, _ in rows if loss not in ("", None)]
        valid = [(step, float(loss)) for step, _, loss in rows if loss not in ("", None)]
        return Losses([s for s, _ in train], [v for _, v in train], [s for s, _ in valid], [v for _, v in valid])

    def twin(self) -> Recording | None:
        """The same recipe trained without the mask, where the repository ships it."""
        name = self.name + TWIN
        return find_recording(name) if name in recordings() else None


def recordings() -> list[str]:
    """The names of what can be replayed: shipped first, then the runs of the app, the newest first.

    Not all are models of the picker: what was trained without the mask is shipped as snapshots alone, since the lessons
    would mask it.
    """
    from gptviz.runs.run import all_runs

    shipped = [name for name in folders.folders() if len(snapshot_steps(folders.place(name) / SNAPSHOTS)) > 1]
    return shipped + [run.model_name for run in all_runs() if len(snapshot_steps(run.snapshots)) > 1]


def find_recording(name: str) -> Recording:
    """A recording by a name that came from a URL: compared with what is there, never made into a path.

    Raises:
        CheckpointError: if there is none of this name.
    """
    if name not in recordings():
        there = ", ".join(recordings()) or "none; train a model on the page Train, or with snapshots in a recipe"
        raise CheckpointError(f"expected the name of a recording, found {folders.shortened(name)}; there are: {there}")
    return Recording(name, folders.place(name))
