"""A real browser on the real app: started once, in processes of their own."""

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
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",  # pages behind the address bar
)  # fmt: skip
PATIENCE = 300  # seconds; only a very busy machine needs them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def find_browser() -> str | None:
    """An installed Chromium or Chrome: $GPTVIZ_BROWSER, on the path, or where it usually is."""
    on_path = [shutil.which(name) for name in (os.environ.get("GPTVIZ_BROWSER", ""), *NAMES) if name]
    return next(filter(None, [*on_path, *(place for place in PLACES if Path(place).exists())]), None)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium, headless. Without one the test is skipped, or fails where GPTVIZ_REQUIRE_BROWSER is 1."""
    path = find_browser()
    if path is None:
        reason = f"expected an installed browser, one of {', '.join(NAMES)}, found none; or set GPTVIZ_BROWSER"
        if os.environ.get("GPTVIZ_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield running
        running.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`streamlit run app.py`, shared by all tests; gives its address."""
    with serving(tmp_path_factory.mktemp("server") / "log.txt") as address:
        yield address


@contextlib.contextmanager
def serving(log: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """`streamlit run app.py` on a free port, with these arguments and variables besides our own; gives its address."""
    address = f"http://localhost:{free_port()}"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    with log.open("w", encoding="utf-8") as out:
        running = subprocess.Popen(
            [*command, "--server.port", address.rpartition(":")[2], *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_healthy(address, running, log)
            yield address
        finally:
            running.terminate()
            running.wait(timeout=30)


def wait_until_healthy(address: str, running: subprocess.Popen, log: Path) -> None:
    """Return once the server answers; fail with its log if it ends or takes too long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and running.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5) as answer:
                if answer.read() == b"ok":
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"expected a healthy server at {address}, found:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def visitor(browser: object, server: str) -> Iterator:
    """A fresh visitor; see `Visitor`. At the end: no error in the console, no request to another host."""
    with visiting(browser, server) as person:
        yield person


@pytest.fixture(scope="session")
def pair_server(pair_shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with a small random encoder-decoder and no other model; gives its address."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with serving(log, GPTVIZ_CHECKPOINTS=str(pair_shelf)) as address:  # the tests that follow see what they always see
        yield address


@pytest.fixture
def pair_visitor(browser: object, pair_server: str) -> Iterator:
    """A fresh visitor of that app."""
    with visiting(browser, pair_server) as person:
        yield person


@pytest.fixture
def first_visitor(browser: object, tmp_path: Path) -> Iterator:
    """The first visitor of a server that nobody has asked for anything."""
    with serving(tmp_path / "log.txt") as address, visiting(browser, address) as person:
        yield person


@contextlib.contextmanager
def visiting(browser: object, address: str) -> Iterator:
    """A visitor with cookies and a history of her own. All have one cache: compiling the script takes a second."""
    from playwright.sync_api import Error

    from tests.browser.visitor import Visitor

    # Without motion: each frame of a placeholder that pulses would be painted by the processor.
    context = browser.contexts[0] if browser.contexts else browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 720})
    person = Visitor(page, address)
    try:
        yield person
    finally:
        context.clear_cookies()
        with contextlib.suppress(Error):  # of a page that is closed, or shows no document of a server
            page.evaluate("localStorage.clear()")
        for opened in context.pages:
            opened.close()
    assert person.errors == []
    assert person.strangers == []
