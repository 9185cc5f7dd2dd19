"""A model trained in front of a visitor: from a pasted text to the lesson, over a reload, a closed tab and a kill."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gptviz.runs.run import Run, State
from gptviz.training.state import STATE
from tests.app_runs import TEXT, wait_until
from tests.browser.conftest import ROOT, free_port, serving, visiting, wait_until_healthy
from tests.browser.visitor import Visitor

SENTENCE = "One morning Mina went to the mill"


def begin_run(visitor: Visitor) -> None:
    """Paste a text and train a tiny model on it, for longer than any test."""
    visitor.open("train", text=SENTENCE)
    visitor.page.get_by_text("Your own text", exact=True).first.click()
    visitor.page.get_by_role("textbox", name="Your own text").fill(TEXT)
    visitor.page.get_by_label("Steps", exact=True).fill("20000")
    visitor.page.get_by_role("button", name="Start training").click()
    visitor.page.get_by_role("button", name="Stop training").wait_for()


def step_of(visitor: Visitor) -> int:
    """The step that the page says the run is at."""
    said = visitor.page.get_by_text(re.compile(r"^Step [\d,]+ of")).first.inner_text()
    return int(re.match(r"Step ([\d,]+)", said)[1].replace(",", ""))


def curve(visitor: Visitor) -> str:
    """The line of the training loss, as it is drawn."""
    return visitor.page.locator(".curve path.raw").get_attribute("d") or ""


def watch_it_move(visitor: Visitor, after: int = 0) -> int:
    """Wait until the page, untouched, has drawn more of the curve; returns the step it is at."""
    assert visitor.until(lambda: step_of(visitor) > after + 20 and len(curve(visitor)) > 200, seconds=200)
    before = curve(visitor), step_of(visitor)
    assert visitor.until(lambda: curve(visitor) != before[0] and step_of(visitor) > before[1], seconds=200)
    return step_of(visitor)


def test_a_model_is_trained_from_a_pasted_text_to_the_lesson(browser: object, tmp_path: Path) -> None:
    with serving(tmp_path / "log.txt", GPTVIZ_RUNS=str(tmp_path / "runs")) as address:
        with visiting(browser, address) as visitor:
            begin_run(visitor)
            step = watch_it_move(visitor)
            pictures = visitor.page.locator(".wall img")
            pictures.first.wait_for()
            assert visitor.until(lambda: pictures.count() == 2)
            assert visitor.query["run"] == ["run 1"]
            visitor.page.reload()
            visitor.settle()
            step = watch_it_move(visitor, after=step)
            visitor.page.wait_for_timeout(2000)  # all parts of the page have come
            place = visitor.page.locator(".curve").bounding_box()
            step = watch_it_move(visitor, after=step)
            assert visitor.page.locator(".curve").bounding_box() == place
        with visiting(browser, address) as visitor:  # the first one closed her tab
            visitor.open("train", text=SENTENCE)
            watch_it_move(visitor, after=step)
            visitor.page.get_by_role("button", name="Stop training").click()
            visitor.page.get_by_role("button", name="Continue").wait_for()
            visitor.page.get_by_text("Somebody stopped it").wait_for()

            visitor.page.get_by_role("button", name="Replay as time-lapse").click()
            visitor.arrive("Time-lapse")
            assert visitor.until(lambda: visitor.query.get("recording") == ["run:run 1"])
            visitor.page.get_by_role("link", name="Train", exact=True).first.click()
            visitor.arrive("Train")

            visitor.page.get_by_role("button", name="Open in the attention lesson").click()
            visitor.arrive("Attention")
            assert visitor.until(lambda: visitor.query.get("model") == ["run:run 1"])
            assert visitor.query["text"] == [SENTENCE]
            visitor.page.locator(".gptviz-view").wait_for()


@contextlib.contextmanager
def killed_at_the_end(log: Path, port: int, runs: Path) -> Iterator[str]:
    """The app as the head of a group of processes; in the end all of them are killed, without a word before."""
    address = f"http://localhost:{port}"
    with log.open("a", encoding="utf-8") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"],
            cwd=ROOT,
            env={**os.environ, "GPTVIZ_RUNS": str(runs)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_healthy(address, running, log)
            yield address
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are killed in another way here")
def test_a_run_survives_the_death_of_everything(browser: object, tmp_path: Path) -> None:
    log, port, run = tmp_path / "log.txt", free_port(), Run(tmp_path / "runs" / "run 1")
    with killed_at_the_end(log, port, tmp_path / "runs") as address, visiting(browser, address) as visitor:
        begin_run(visitor)
        wait_until(lambda: run.last_step() > 60)
        worker = run.said().process
        visitor.page.goto("about:blank")  # a page that loses its server complains in the console
    wait_until(lambda: not Path(f"/proc/{worker}").exists() if Path("/proc/self").exists() else True)
    assert run.status().state is State.INTERRUPTED
    saved = torch.load(run.folder / STATE, weights_only=True)["step"]
    assert 50 <= saved <= run.last_step() + 1

    with killed_at_the_end(log, port, tmp_path / "runs") as address, visiting(browser, address) as visitor:
        visitor.open("train", text=SENTENCE)
        assert visitor.page.get_by_text("Its process was ended from outside").count() == 1
        visitor.page.get_by_role("button", name="Continue").click()
        visitor.page.get_by_role("button", name="Stop training").wait_for()
        reached = run.last_step()
        assert visitor.until(lambda: step_of(visitor) > max(saved, reached), seconds=200)
        visitor.page.get_by_role("button", name="Stop training").click()
        visitor.page.get_by_role("button", name="Continue").wait_for()
        visitor.page.goto("about:blank")
    steps = [record.step for record in run.curve.read()]
    assert steps == list(range(1, len(steps) + 1))
    assert run.status().state is State.STOPPED and run.has_model()
