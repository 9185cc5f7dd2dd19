"""Records in files and on the terminal: JSON lines, CSV, TensorBoard events, the progress bar."""

from __future__ import annotations

import csv
import json
import os
import re
import struct
import sys
from pathlib import Path

import pytest

from gptviz.files import replaced
from gptviz.training import command
from gptviz.training.command import Meter, StopSignals
from gptviz.training.records import Events, JsonLines, StepRecord, Table, flat, logs, read_records

PARTS = {"embeddings": 0.3, "attention": 0.4}


def record(step: int, **changes: object) -> StepRecord:
    values = {"loss": 4.0 / step, "learning_rate": 0.1, "gradient_norm": 0.5, "tokens_per_second": 2e3} | changes
    return StepRecord(step, 100 * step, gradient_norms=PARTS, memory=3 * 2**20, **values)


def written(log: JsonLines | Table | Events, records: list[StepRecord]) -> None:
    for one in records:
        log.write(one)
    log.close()


# Files


def test_json_lines_come_back_as_the_records_they_were(tmp_path: Path) -> None:
    records = [record(1), record(2, valid_loss=3.25)]
    written(JsonLines(tmp_path / "log.jsonl"), records)
    assert read_records(tmp_path / "log.jsonl") == records


def test_records_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    old = {"step": 3, "tokens": 9, "loss": 1.5, "learning_rate": 0.1, "gradient_norm": 2.0, "tokens_per_second": 8.0}
    (tmp_path / "log.jsonl").write_text(json.dumps(old | {"valid_loss": None}) + "\n")
    assert read_records(tmp_path / "log.jsonl") == [StepRecord(3, 9, 1.5, 0.1, 2.0, 8.0)]


def test_a_table_has_a_column_for_every_number(tmp_path: Path) -> None:
    records = [record(1), record(2, valid_loss=3.25)]
    written(Table(tmp_path / "log.csv"), records)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(cell) for name, cell in row.items() if cell} for row in rows] == [
        {name: value for name, value in flat(one).items() if value is not None} for one in records
    ]
    assert rows[0]["valid_loss"] == ""
    assert rows[1]["gradient_norm.attention"] == "0.4"


@pytest.mark.parametrize("kind", [JsonLines, Table])
def test_a_run_that_goes_on_drops_what_its_state_does_not_know_of(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "log"
    written(kind(path), [record(step) for step in range(1, 6)])
    with path.open("a") as file:
        file.write('{"step": 6, "to' if kind is JsonLines else "6,60")  # killed in the middle of a line
    written(kind(path), [record(step, loss=9.0) for step in range(4, 7)])
    if kind is JsonLines:
        found = [(one.step, one.loss) for one in read_records(path)]
    else:
        with path.open(newline="") as file:
            found = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert found == [(1, 4.0), (2, 2.0), (3, 4 / 3), (4, 9.0), (5, 9.0), (6, 9.0)]


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """(name, step) -> value, out of every file of TensorBoard events, by the format's own rules (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.glob("events.*"), key=lambda path: path.name):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
            at += 12 + length + 4
    return found


def test_events_hold_every_number_of_every_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="TensorBoard events need the development dependency tensorboardX")
    written(Events(tmp_path), [record(1), record(2, valid_loss=3.25)])
    found = scalars(tmp_path)
    assert found["loss", 1] == 4.0
    assert found["loss", 2] == 2.0
    assert found["valid_loss", 2] == 3.25
    assert ("valid_loss", 1) not in found
    assert found["gradient_norm/attention", 2] == pytest.approx(0.4)
    names = {name.replace(".", "/") for name in flat(record(1))} - {"step"}
    assert {name for name, step in found if step == 2} == names


def test_a_run_that_goes_on_tells_tensorboard_where(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="TensorBoard events need the development dependency tensorboardX")
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    written(Events(tmp_path), [record(4)])
    (path,) = tmp_path.glob("events.*")
    data, at, begun = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        begun += [event.step] * (event.session_log.status == SessionLog.START)
        at += 12 + length + 4
    assert begun == [4]  # TensorBoard forgets what it has from this step on


def test_without_the_package_for_events_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert len(logs(tmp_path, tensorboard=False)) == 2
    with pytest.raises(ValueError, match=r"found none; install it with pip install tensorboardX, or leave"):
        logs(tmp_path, tensorboard=True)


def test_a_file_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    for content in (b"old", b"new"):
        with replaced(path) as part:
            part.write_bytes(content)
    with pytest.raises(KeyboardInterrupt), replaced(path) as part:
        part.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"new"


# The terminal


def test_lines_say_how_far_how_fast_and_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
    meter = Meter(80)
    for step in range(21, 61):
        now[0] += 2.0
        meter.show(record(step, valid_loss=3.5 if step == 50 else None))
    meter.end()
    lines = capsys.readouterr().out.replace("\r", "").splitlines()
    assert len(lines) == 3  # steps 40, 50 and 60
    assert lines[0].startswith("[############............]  50.0%  step 40/80  loss 0.100  ")
    assert lines[0].endswith("50 tokens/s  3 MiB  80 s left")  # 19 steps of 100 tokens in 38 s; 40 steps to go
    assert lines[1].endswith("held-out loss 3.5000")
    assert lines[2].startswith("[##################......]  75.0%  step 60/80")


def test_on_a_terminal_one_line_is_written_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    meter = Meter(3)
    for step in (1, 2, 3):
        meter.show(record(step))
    meter.end()
    out = capsys.readouterr().out
    assert out.count("\r") == 3
    assert out.count("\n") == 1
    assert re.search(r"100\.0%  step 3/3 .*\n$", out)


def test_the_first_signal_asks_and_the_second_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as stop:
        assert not stop.asked()
        os.kill(os.getpid(), command.signal.SIGTERM)
        assert stop.asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), command.signal.SIGINT)
    assert command.signal.getsignal(command.signal.SIGTERM) == command.signal.SIG_DFL
