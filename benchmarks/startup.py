"""From `streamlit run` to the first picture on the screen, over an empty page with one Plotly chart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks import visit
from benchmarks.common import Row, interleave, ratio, seconds_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# what: script, path, first picture. The browser is running already, with nothing in its cache.
VISITS = {
    "start page": ("app.py", "/", f".st-key-wall img, {visit.PICTURE}"),
    "attention page": ("app.py", "/attention", visit.PICTURE),
    "empty page": ("benchmarks/empty_page.py", "/", visit.PICTURE),
}


def run(quick: bool) -> Iterator[Row]:
    """Start page and attention page over the empty page."""
    with visit.browser() as chromium:
        runs = {
            what: lambda visit_of=visit_of: first_picture(chromium, *visit_of) for what, visit_of in VISITS.items()
        }
        times = interleave(runs, rounds=1 if quick else 4)
    for what in ("start page", "attention page"):
        yield Row(
            f"`streamlit run app.py` to the first picture of the {what}: time over an empty page with one chart",
            ratio(times, what, "empty page"),
            ("<=", 1.5),
            detail=f"{seconds_text(times[what])} against {seconds_text(times['empty page'])}",
        )


def first_picture(chromium: Browser, script: str, path: str, picture: str) -> None:
    """Start a server, open a page as soon as it answers, wait for the picture."""
    with visit.serve(script) as server:
        page = visit.new_page(chromium)
        try:
            visit.wait_for_health(server)
            page.goto(server.url + path, wait_until="commit")
            page.wait_for_selector(picture, state="visible")
        finally:
            page.close()
