"""The weights of a run as it goes: kept at steps on a schedule, to be replayed, and the newest for those who watch."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from gptviz import checkpoint
from gptviz.folder import MODEL, SNAPSHOTS, snapshot_file, snapshot_steps
from gptviz.tokenizer import Tokenizer
from gptviz.training.config import TrainConfig
from gptviz.training.ranks import ALONE, Model, Ranks

LIVE = "live"  # in the folder of a run: the newest weights, and those before for whoever is reading them
LIVE_KEPT = 3


class Recorder:
    """Writes snapshots of one run.

    Args:
        folder: of the run.
        tokenizer: the model's.
        config: says when.
        live_every: seconds between the weights for those who watch; None where nobody can.
        ranks: this process among those that train together; the first one writes.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        config: TrainConfig,
        live_every: float | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.folder, self.tokenizer, self.ranks = folder, tokenizer, ranks
        self.due = frozenset(config.snapshot_steps())
        self.live_every, self.shown_at = live_every, -float("inf")

    def see(self, step: int, model: Model) -> None:
        """Look at the model after `step` steps. Every process has to call it, for shards are brought together."""
        if step in self.due:
            whole = self.ranks.whole_model(model)
            if self.ranks.main:
                # The bare folder of a model counts as none before its config is there: at the end of the run.
                self.write(self.folder / MODEL / SNAPSHOTS, step, whole)
        if self.live_every is not None and time.monotonic() - self.shown_at >= self.live_every:
            self.write(self.folder / LIVE, step, model)
            for old in snapshot_steps(self.folder / LIVE)[:-LIVE_KEPT]:
                with contextlib.suppress(OSError):  # on some systems, a file that somebody reads cannot be deleted
                    (self.folder / LIVE / snapshot_file(old)).unlink()
            self.shown_at = time.monotonic()

    def end(self, step: int, model: Model) -> None:
        """The run ends after `step` steps, as planned or not: its time-lapse ends there, too. For every process."""
        if self.due and step not in self.due:
            self.due |= {step}
            self.see(step, model)

    def write(self, folder: Path, step: int, model: Model) -> None:
        """One snapshot. Weights too large for half precision have none: the run itself says that it diverges."""
        with contextlib.suppress(checkpoint.CheckpointError):
            checkpoint.save(folder, model, self.tokenizer, snapshot_file(step))
