"""The command `train`: a progress bar on the terminal, files for everything else. Imports torch only when it is run."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gptviz.progress import bar, duration

if TYPE_CHECKING:
    from gptviz.training.records import StepRecord

REPORT_EVERY = 20  # steps between lines where the output is not a terminal


def train_command(args: argparse.Namespace) -> None:
    """Train by a recipe; a second call with the same run folder goes on where the first one stopped."""
    from gptviz.recipe import load_recipe, run, with_steps
    from gptviz.training.ranks import joined

    recipe = with_steps(load_recipe(args.recipe), args.steps)
    steps = recipe.training.steps
    with joined(args.device, args.fsdp) as ranks, StopSignals() as stop:
        meter, last = Meter(steps), None
        records = run(
            recipe, args.data, args.run, args.device, stop=stop.asked, ranks=ranks, tensorboard=args.tensorboard
        )
        for last in records:
            if ranks.main:
                meter.show(last)
        if ranks.main:
            meter.end()
            if last is not None and last.step < steps:
                print(f"stopped after step {last.step} of {steps}; the same command goes on from there")
            print(f"the checkpoint is in {args.run / 'model'}")


class StopSignals:
    """Ctrl-C and SIGTERM ask the run to finish its step and to save; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> StopSignals:
        self.before = {number: signal.signal(number, self.receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """What a signal does."""
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        with contextlib.suppress(OSError):  # the print of the loop may be under way: past its buffer
            os.write(sys.stderr.fileno(), b"\nfinishing the step and saving; once more to stop at once\n")

    def asked(self) -> bool:
        """A signal has come."""
        return self.received


class Meter:
    """One line on a terminal that is written over; lines at intervals elsewhere; held-out losses always stay."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.before: StepRecord | None = None  # the first record: that step set everything up, and is not our speed
        self.open = False  # the cursor is behind a line that is written over

    def show(self, record: StepRecord) -> None:
        """Print one record, if it is time."""
        if self.before is None:
            self.before, self.started = record, time.monotonic()
        line = self.line(record, time.monotonic() - self.started)
        if record.valid_loss is not None:
            print(f"\r{line}  held-out loss {record.valid_loss:.4f}", flush=True)
            self.open = False
        elif sys.stdout.isatty():
            print(f"\r{line}\x1b[K", end="", flush=True)
            self.open = True
        elif record.step % REPORT_EVERY == 0:
            print(line, flush=True)

    def line(self, record: StepRecord, seconds: float) -> str:
        """The bar, loss, speed, memory and time left."""
        before = self.before or record
        done, here = record.step / self.steps, record.step - before.step
        speed = (record.tokens - before.tokens) / seconds if here else record.tokens_per_second
        line = (
            f"{bar(done)}  step {record.step}/{self.steps}  "
            f"loss {record.loss:.3f}  {speed:,.0f} tokens/s"
        )
        if record.memory is not None:
            line += f"  {record.memory / 2**20:,.0f} MiB"
        return line + (f"  {duration(seconds / here * (self.steps - record.step))} left" if here else "")

    def end(self) -> None:
        """Leave the last line."""
        print("\n" * self.open, end="", flush=True)


def add_train_parser(commands: argparse._SubParsersAction) -> None:
    """Describe `train` to `python -m gptviz`."""
    parser = commands.add_parser(
        "train",
        help="train a model by a recipe, or go on with a run",
        description="The same command again goes on after an interruption. Ctrl-C finishes the step and saves. With "
        "several GPUs or machines: torchrun --nproc_per_node=N -m gptviz train ..., see docs/training.md.",
    )
    parser.add_argument("recipe", type=Path, help="TOML file, see checkpoints/gpt-stories/recipe.toml")
    parser.add_argument("--data", type=Path, required=True, help="folder with the texts that the recipe names")
    # torchrun takes --run for an option of its own, wherever it stands: hence the second name
    parser.add_argument(
        "--run", "--out", type=Path, required=True, help="folder of the run: state, logs, at the end the model"
    )
    parser.add_argument("--steps", type=int, help="other than in the recipe")
    parser.add_argument("--device", help="cuda, mps, cpu or auto")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard events to RUN/tensorboard, too")
    parser.add_argument("--fsdp", action="store_true", help="under torchrun: a part of the model on every device")
    parser.set_defaults(action=train_command)
