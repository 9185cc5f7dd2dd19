"""Resident memory of the real server while one visitor types 200 different sentences on the attention page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks import visit
from benchmarks.common import Row
from benchmarks.sentences import new_sentence

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKENS = 64
SENTENCES = 200
FULL = 100  # by then the kept traces have reached their limit: one of 64 tokens counts as 10 MB, all as 256 MiB
MEGABYTE = 1e6


def run(quick: bool) -> Iterator[Row]:
    """Growth once the caches are full, which should be none; and growth in all, which they bound."""
    import gptviz
    from gptviz.ui.models import TRACE_BYTES

    tokenizer = gptviz.load("gpt-stories").tokenizer
    sentences, full = (6, 3) if quick else (SENTENCES, FULL)
    with visit.browser() as chromium, visit.serve("app.py") as server:
        visit.wait_for_health(server)
        page = visit.new_page(chromium)
        page.goto(f"{server.url}/attention", wait_until="commit")
        page.wait_for_selector(visit.PICTURE)
        resident = []
        for seed in range(sentences):
            type_sentence(page, new_sentence(tokenizer, TOKENS, seed))
            resident.append(server.resident_bytes() / MEGABYTE)
    yield Row(
        f"resident memory of the server, growth from sentence {full} to {sentences}, each of {TOKENS} new tokens",
        resident[-1] - resident[full - 1],
        ("<=", 16),
        unit="MB",
        detail=f"{resident[full - 1]:.0f} MB, then {resident[-1]:.0f} MB",
    )
    yield Row(
        f"resident memory of the server, growth from sentence 1 to {sentences}; kept traces are bounded by "
        f"{TRACE_BYTES / MEGABYTE:.0f} MB",
        resident[-1] - resident[0],
        ("<=", TRACE_BYTES / MEGABYTE + 32),
        unit="MB",
        detail=f"{resident[0]:.0f} MB, then {resident[-1]:.0f} MB",
    )


def type_sentence(page: Page, text: str) -> None:
    """Put it into the box, as a visitor does, and wait until the page has been drawn for it."""
    visit.wait_until_done(page)
    box = page.locator(".st-key-text input")
    box.fill(text)
    box.press("Enter")
    end = time.monotonic() + visit.PATIENCE
    while time.monotonic() < end:
        page.wait_for_timeout(20)
        visit.wait_until_done(page)
        if page.evaluate("new URLSearchParams(location.search).get('text')") == text:
            return
    raise TimeoutError(f"expected the sentence in the URL within {visit.PATIENCE} s: {text}")
