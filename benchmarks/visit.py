"""A Streamlit server of its own and a headless browser that visits it. Knows nothing about what is measured."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import Skip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60  # seconds: a busy machine is slow, and what never comes must be told in time
PICTURE = "canvas, .js-plotly-plot .main-svg"  # what a page draws: a view of its own, or a chart


def find_browser() -> str:
    """The executable of an installed Chromium or Chrome: $GPTVIZ_BROWSER, or the first on the path."""
    for name in filter(None, (os.environ.get("GPTVIZ_BROWSER"), *NAMES)):
        if found := shutil.which(name):
            return found
    raise Skip(f"expected an installed Chromium or Chrome, found none of {', '.join(NAMES)}; or set GPTVIZ_BROWSER")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser; raises `Skip` where Playwright or a browser is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Skip(f"{error}; pip install -r requirements-dev.txt") from error
    executable = find_browser()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def new_page(chromium: Browser) -> Page:
    """A tab of a projector's size, with nothing in its cache."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE * 1000)
    return page


@dataclass(frozen=True)
class Server:
    """A running server: its process and where it listens."""

    pid: int
    url: str

    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM now."""
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True)
        return int(told.stdout) * 1024


@contextlib.contextmanager
def serve(script: str) -> Iterator[Server]:
    """`streamlit run SCRIPT` on a free port, from the moment it is started; stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", script, *options]
    environment = os.environ | {"STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Server(process.pid, f"http://localhost:{port}")
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_health(server: Server) -> None:
    """Until the server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1).read() == b"ok":
                return
        time.sleep(0.02)
    raise TimeoutError(f"expected {server.url} to answer within {PATIENCE} s")


def wait_until_done(page: Page) -> None:
    """Until the script has run to its end and the page is connected."""
    page.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'
    )
