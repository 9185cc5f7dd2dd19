"""What a step did, as a record; records as files: JSON lines, CSV, TensorBoard events. Knows nothing about models."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from gptviz.files import replaced
from gptviz.training.config import TrainConfig

JSON_LINES, TABLE, EVENTS = "log.jsonl", "log.csv", "tensorboard"  # in the folder of a run
SUMMARY = "training.json"  # beside a checkpoint


@dataclass(frozen=True)
class StepRecord:
    """What one optimiser step did."""

    step: int  # counted from 1
    tokens: int  # seen since the beginning of the run
    loss: float  # nats per token
    learning_rate: float
    gradient_norm: float  # before clipping
    tokens_per_second: float
    valid_loss: float | None = None  # where an evaluation was due
    gradient_norms: dict[str, float] = field(default_factory=dict)  # of the parts of the model, before clipping
    memory: int | None = None  # bytes that the process holds: on the device, or where it is the CPU in all


def record_dict(record: StepRecord) -> dict[str, Any]:
    """A record as plain JSON values."""
    return dataclasses.asdict(record)


def flat(record: StepRecord) -> dict[str, float | int | None]:
    """A record as one row of a table: the norm of a part is called gradient_norm.PART."""
    values = record_dict(record)
    norms = values.pop("gradient_norms")
    return values | {f"gradient_norm.{part}": norm for part, norm in norms.items()}


class Log(Protocol):
    """Somewhere that records go, one after another."""

    def write(self, record: StepRecord) -> None:
        """Append one record."""

    def close(self) -> None:
        """Nothing comes after it."""


class JsonLines:
    """The records of a run as JSON lines. A resumed run drops what the saved state does not know of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: TextIO | None = None

    def write(self, record: StepRecord) -> None:
        """Append one record."""
        if self.file is None:
            kept = [line for line in whole_lines(self.path) if json.loads(line)["step"] < record.step]
            self.file = begun_with(self.path, kept)
        self.file.write(json.dumps(record_dict(record)) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Nothing comes after it."""
        if self.file is not None:
            self.file.close()


class Table:
    """The records of a run as CSV, with the names of the columns in the first line. Resumes as `JsonLines`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: TextIO | None = None

    def write(self, record: StepRecord) -> None:
        """Append one record."""
        row = flat(record)
        if self.file is None:
            kept = [old for old in csv.DictReader(whole_lines(self.path)) if int(old["step"]) < record.step]
            self.file = begun_with(self.path, [])
            self.writer = csv.DictWriter(self.file, list(row), extrasaction="ignore", lineterminator="\n")
            self.writer.writeheader()
            self.writer.writerows(kept)
        self.writer.writerow(row)
        self.file.flush()

    def close(self) -> None:
        """Nothing comes after it."""
        if self.file is not None:
            self.file.close()


class Events:
    """The records of a run as TensorBoard events, every number a scalar of its own.

    Raises:
        ValueError: where the package that writes them is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboardX
        except ImportError as error:
            raise ValueError(
                "expected the package tensorboardX, which writes TensorBoard events, found none; "
                "install it with pip install tensorboardX, or leave --tensorboard out: the same numbers are in "
                f"{TABLE} and {JSON_LINES}"
            ) from error
        self.new, self.folder = tensorboardX.SummaryWriter, folder
        self.writer: Any = None

    def write(self, record: StepRecord) -> None:
        """Append one record; a resumed run tells TensorBoard to forget what the saved state does not know of."""
        if self.writer is None:
            self.writer = self.new(str(self.folder), purge_step=record.step)
        for name, value in flat(record).items():
            if value is not None and name != "step":
                self.writer.add_scalar(name.replace(".", "/"), value, record.step)

    def close(self) -> None:
        """Nothing comes after it."""
        if self.writer is not None:
            self.writer.close()


def logs(folder: Path, tensorboard: bool) -> list[Log]:
    """All files that the records of a run go to."""
    files: list[Log] = [JsonLines(folder / JSON_LINES), Table(folder / TABLE)]
    return files + ([Events(folder / EVENTS)] if tensorboard else [])


def write_summary(folder: Path, config: TrainConfig, last: StepRecord) -> None:
    """How a checkpoint was trained, beside it: the whole `TrainConfig`, and the record of the last step."""
    values = {"training": dataclasses.asdict(config), "last": record_dict(last)}
    with replaced(folder / SUMMARY) as part:
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_summary(folder: Path) -> tuple[TrainConfig, StepRecord] | None:
    """What `write_summary` wrote beside a checkpoint, such as `causal`; None where there is nothing of the kind."""
    path = folder / SUMMARY
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return TrainConfig(**values["training"]), StepRecord(**values["last"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected how the model was trained, found {type(error).__name__}: {error}; delete the file"
        ) from error


def whole_lines(path: Path) -> list[str]:
    """The lines of a file but for a last one that was not finished; none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [line for line in file if line.endswith("\n")]


def begun_with(path: Path, lines: Iterable[str]) -> TextIO:
    """A file that holds `lines`, open to go on."""
    with replaced(path) as part:
        part.write_text("".join(lines), encoding="utf-8")
    return path.open("a", encoding="utf-8")


def read_records(path: Path) -> Sequence[StepRecord]:
    """The records of a `log.jsonl`, one that an earlier version wrote as well."""
    return [StepRecord(**json.loads(line)) for line in whole_lines(path)]
