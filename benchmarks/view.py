"""The attention view in a browser: from a click, or a new sentence, to the picture; beside BertViz's pages."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import bertviz, visit
from benchmarks.common import Row

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LAYERS = HEADS = 12
PEERS = {"model_view": (40, 20), "head_view": (40, 4)}  # times fewer bytes, times faster: at least
VIEW = ".gptviz-view"  # in Streamlit inside a shadow root, which selectors enter and page functions do not
PAINTED = f"{VIEW}[data-painted]"
PICTURE = f"{VIEW} .gptviz-scroller"
# Asked of every frame: Playwright's own wait for a selector looks again after half a second, which would be measured.
FOUND = """(wanted) => {
  const find = (root) => {
    for (const one of root.querySelectorAll("*")) {
      const found = one.matches(wanted) || (one.shadowRoot && find(one.shadowRoot));
      if (found) return true;
    }
    return false;
  };
  return find(document);
}"""
# Two frames after the page says so: the picture is on the screen, and the page listens.
SHOWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))))"


def run(quick: bool) -> Iterator[Row]:
    """All rows; a browser and, for the peer, npm are needed."""
    with visit.browser() as chromium:
        yield from beside_bertviz(chromium, quick)
        with visit.serve("benchmarks/view_page.py") as server:
            visit.wait_for_health(server)
            yield from short_text(chromium, server, quick)
            yield from long_text(chromium, server)


def random_attention(t: int, seed: int = 0) -> np.ndarray:
    """Causal attention of random scores, (L, H, T, T)."""
    scores = np.random.default_rng(seed).normal(scale=2, size=(LAYERS, HEADS, t, t)).astype(np.float32)
    scores[..., np.triu(np.ones((t, t), bool), 1)] = -np.inf
    weights = np.exp(scores)
    return weights / weights.sum(axis=-1, keepdims=True)


def beside_bertviz(chromium: Browser, quick: bool) -> Iterator[Row]:
    """Bytes, and seconds from opening a page to having its picture, on the same tensors."""
    from gptviz.view import attention_view

    t, rounds = (16, 1) if quick else (64, 3)
    weights, tokens = random_attention(t), [f"token{i}" for i in range(t)]
    masked = np.triu(np.ones((t, t), bool), 1)
    ours = attention_view(weights, tokens, masked=masked)
    pages = bertviz.pages(weights, tokens) | {"ours": ours.html()}
    libraries = bertviz.libraries()
    with tempfile.TemporaryDirectory() as folder:
        seconds: dict[str, list[float]] = {name: [] for name in pages}
        for _ in range(rounds):
            for name, text in pages.items():
                path = Path(folder, f"{name}.html")
                path.write_text(f"<!doctype html><meta charset=utf-8>{text}" if name != "ours" else text)
                ready = f"document.querySelector('{PAINTED}')" if name == "ours" else bertviz.ready(name, weights.shape)
                seconds[name].append(time_to_show(chromium, path, ready, libraries))
    sent = len(ours.overview())
    for name, (fewer, faster) in PEERS.items():
        yield Row(
            f"{LAYERS} x {HEADS} heads, T={t}: bytes of BertViz's {name} over those of the attention view",
            len(pages[name].encode()) / sent,
            (">=", fewer),
            detail=f"{len(pages[name].encode()) / 1e6:.1f} MB against {sent / 1e6:.2f} MB",
        )
        ratios = [theirs / mine for theirs, mine in zip(seconds[name], seconds["ours"], strict=True)]
        yield Row(
            f"{LAYERS} x {HEADS} heads, T={t}: time to the picture of BertViz's {name} over that of a saved view",
            statistics.median(ratios),
            (">=", faster),
            detail=f"{statistics.median(seconds[name]):.2f} s against {statistics.median(seconds['ours']):.2f} s",
        )


def time_to_show(chromium: Browser, path: Path, ready: str, libraries: dict[str, str]) -> float:
    """Seconds from opening a file to its picture."""
    page = visit.new_page(chromium)
    try:
        bertviz.give_libraries(page, libraries)
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_function(ready)
        page.evaluate(SHOWN)
        return time.perf_counter() - start
    finally:
        page.close()


def open_view(chromium: Browser, server: visit.Server, t: int) -> Page:
    """The page with the view of `t` tokens, painted."""
    page = visit.new_page(chromium)
    page.goto(f"{server.url}/?t={t}")
    page.wait_for_function(FOUND, arg=PAINTED)
    visit.wait_until_done(page)
    return page


def short_text(chromium: Browser, server: visit.Server, quick: bool) -> Iterator[Row]:
    """Another head, and another sentence, at T=128."""
    page, rounds = open_view(chromium, server, 128), 3 if quick else 15
    clicks = [click_head(page, 7 * i % (LAYERS * HEADS)) for i in range(1, rounds + 1)]
    yield in_milliseconds("T=128: from a click on another head to its picture", clicks, 150)
    times = [new_sentence(page, seed) for seed in range(1, rounds + 1)]
    what = "T=128: from Enter to the picture of a new sentence, without the model's own time"
    yield in_milliseconds(what, times, 500)
    page.close()


def long_text(chromium: Browser, server: visit.Server) -> Iterator[Row]:
    """The same shape at T=1024: all heads, one head and a part of it, memory."""
    start = time.perf_counter()
    page = open_view(chromium, server, 1024)
    took = time.perf_counter() - start - model_seconds(page)
    yield Row(
        "12 x 12 heads, T=1024: from opening the page to all heads, without the model's own time",
        took,
        ("<=", 4),
        unit="s",
    )
    zoom = [choose_and_zoom(page, i) for i in (5, 50, 100)]
    yield in_milliseconds("T=1024: from choosing a head to a part of 64 x 64 with exact numbers", zoom, 500)
    yield Row("resident memory of that server", server.resident_bytes() / 1e9, ("<=", 3), unit="GB")
    page.close()


def in_milliseconds(what: str, seconds: list[float], bound: float) -> Row:
    """The median, with the slowest beside it."""
    detail = f"slowest of {len(seconds)}: {max(seconds) * 1000:.0f} ms"
    return Row(f"12 x 12 heads, {what}", statistics.median(seconds) * 1000, ("<=", bound), unit="ms", detail=detail)


def model_seconds(page: Page) -> float:
    """What the page says that the model took."""
    return float(re.search(r"model: ([\d.]+) s", page.locator("[data-testid=stText]").inner_text()).group(1))


def attribute(page: Page, name: str) -> str:
    """What the view says of itself in a data attribute."""
    return page.locator(VIEW).get_attribute(f"data-{name}") or ""


def click_head(page: Page, seed: int) -> float:
    """Seconds from a click on some other head of the overview to its frame on the screen."""
    box = page.locator(PICTURE).bounding_box()
    rng, before = np.random.default_rng(seed), attribute(page, "head")
    while attribute(page, "head") == before:  # a click may hit the chosen head, or the space between
        across, down = rng.random(2)
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        start = time.perf_counter()
        page.mouse.down()
        page.mouse.up()
        page.evaluate(SHOWN)
        took = time.perf_counter() - start
    return took


def new_sentence(page: Page, seed: int) -> float:
    """Seconds from Enter to the picture of a new sentence, less what the model took."""
    before = attribute(page, "id")
    box = page.get_by_role("spinbutton", name="Sentence")
    box.fill(str(seed))
    start = time.perf_counter()
    box.press("Enter")
    page.wait_for_function(FOUND, arg=f"{VIEW}:not([data-id='{before}'])")
    page.evaluate(SHOWN)
    took = time.perf_counter() - start
    visit.wait_until_done(page)
    return took - model_seconds(page)


def choose_and_zoom(page: Page, seed: int) -> float:
    """Seconds from asking for the next head and zooming into a part of it to exact numbers on the screen."""
    picture = page.locator(PICTURE)
    if attribute(page, "mode") != "matrix":
        page.locator(VIEW).get_by_role("button", name="Matrix").click()
    page.keyboard.press("0")
    picture.focus()
    visit.wait_until_done(page)
    start = time.perf_counter()
    page.keyboard.press("PageDown")
    while part_of(page) > 64:
        page.keyboard.press("+")
    page.wait_for_function(FOUND, arg=f"{VIEW}[data-exact=true]")
    page.evaluate(SHOWN)
    return time.perf_counter() - start


def part_of(page: Page) -> int:
    """How many queries of the matrix are seen."""
    first, last = attribute(page, "cells").split("-")[:2]
    return int(last) - int(first)
