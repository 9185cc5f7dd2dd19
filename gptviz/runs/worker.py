"""`python -m gptviz.runs.worker FOLDER PARENT`: the process that trains one run of the app.

It ends by itself, with everything saved, when it is asked to (a file `stop`, Ctrl-C, SIGTERM), and when the app that
began it is no more: nobody could see or stop it then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gptviz.folder import MODEL
from gptviz.runs.run import LOCK, STOP, Run, State, Status

LIVE_EVERY = 1.5  # seconds between weights for those who watch
LOCK_PATIENCE = 5.0  # seconds: others take the lock for a moment to see whether somebody has it


def main(folder: Path, parent: int) -> int:
    """Train until the end, or until asked to stop; 0 unless something went wrong, which the run's status says.

    `parent` is the process that began it, as that said itself: it may have ended before this one could ask.
    """
    run = Run(folder)
    try:
        with FileLock(folder.parent / LOCK, timeout=LOCK_PATIENCE):
            run.write_status(Status(State.TRAINING, process=os.getpid()))
            status = train(run, parent)
            run.write_status(status)
    except Timeout:
        run.write_status(Status(State.FAILED, "another run was training; one trains at a time on this machine"))
        return 1
    return int(status.state in (State.FAILED, State.DIVERGED))


def train(run: Run, parent: int) -> Status:
    """Train, and say how it ended."""
    from gptviz.recipe import load_recipe
    from gptviz.train import Diverged
    from gptviz.training.command import StopSignals

    try:
        recipe = load_recipe(run.recipe_file)
        with StopSignals() as signals:
            reasons = Reasons(run.folder / STOP, parent, signals)
            step = last_step(run, recipe, reasons)
    except Diverged:
        log_error()
        return Status(State.DIVERGED, why_diverged(run, recipe.training.learning_rate, keep_last_good(run)))
    except ValueError as error:  # every complaint of ours is one
        return Status(State.FAILED, str(error))
    except OSError as error:  # without the path, which is nobody's business
        log_error()
        return Status(State.FAILED, f"the disk refused: {error.strerror or error}; make room, then continue the run")
    except Exception as error:  # nobody sees the traceback of this process: it is in the run's log, and told here
        log_error()
        return Status(State.FAILED, f"{type(error).__name__}: {error}")
    finally:
        (run.folder / STOP).unlink(missing_ok=True)
    finished = step >= recipe.training.steps
    return Status(State.FINISHED) if finished else Status(State.STOPPED, reasons.words)


def log_error() -> None:
    """Write the error that is being handled into the run's log, unless the disk is full."""
    with contextlib.suppress(OSError):
        traceback.print_exc()
        sys.stderr.flush()


def last_step(run: Run, recipe: object, reasons: Reasons) -> int:
    """Go through the run; the step that it ended at."""
    from gptviz import recipe as recipes

    records: Iterator = recipes.run(recipe, run.data, run.folder, stop=reasons.asked, live_every=LIVE_EVERY)
    step = run.last_step()
    for record in records:
        step = record.step
    return step


def why_diverged(run: Run, learning_rate: float, kept: int | None) -> str:
    """What a person needs to know about a run that diverged; `kept` is the step of the last good state."""
    left = "nothing had been saved before" if kept is None else f"its model is the last good one, of step {kept:,}"
    return (
        f"expected a loss that is a number after step {run.last_step() + 1:,}, found none; {left}; begin a new run "
        f"with a learning rate below {learning_rate:g}"
    )


def keep_last_good(run: Run) -> int | None:
    """Make the last state that was saved the run's model, so that it can be opened; returns its step, if any."""
    import torch

    from gptviz import checkpoint
    from gptviz.recipe import load_recipe
    from gptviz.tokenizer import Tokenizer
    from gptviz.training.state import STATE

    if not (run.folder / STATE).exists():
        return None
    config = load_recipe(run.recipe_file).model
    model = checkpoint.MODELS[type(config)](config)
    state = torch.load(run.folder / STATE, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    try:
        checkpoint.save(run.folder / MODEL, model, Tokenizer.load(run.folder / checkpoint.VOCABULARY))
    except checkpoint.CheckpointError:  # its weights are too large for half precision: it was on its way there
        return None
    return state["step"]


@dataclasses.dataclass
class Reasons:
    """Why a run may have to end before its last step."""

    stop: Path  # a file, made by whoever wants it to stop
    parent: int  # the process that began it
    signals: object  # `StopSignals`
    words: str = ""

    def asked(self) -> bool:
        """Whether there is one; `words` says which."""
        if os.getppid() != self.parent:
            self.words = "the app that began it ended"
        elif self.signals.asked():
            self.words = "the app was ended"
        elif self.stop.exists():
            self.words = "somebody stopped it"
        return bool(self.words)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
