"""A visitor: a browser's page on the app, who waits for answers and takes note of errors and of strangers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

READY = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  return app && app.dataset.testConnectionState === 'CONNECTED' && app.dataset.testScriptState === 'notRunning'
    && document.querySelector('h1') && !document.querySelector('[data-stale=true], [data-testid=stSkeleton]');
}"""
PROBES = ("/_stcore/health", "/_stcore/host-config")  # a deep link asks for them below its own path, too, in vain


class Visitor:
    """Wraps a Playwright page."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self.watch)
        page.on("dialog", self.refuse)

    def hear(self, message: Any) -> None:
        """Keep the errors of the console."""
        if message.type == "error" and not message.location.get("url", "").endswith(PROBES):
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def watch(self, request: Any) -> None:
        """Keep the addresses of other hosts that the page asks."""
        if urlsplit(request.url).scheme in {"http", "https", "ws", "wss"} and not request.url.startswith(self.address):
            self.strangers.append(request.url)

    def refuse(self, dialog: Any) -> None:
        """A dialog is an alert() that somebody smuggled in."""
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str = "", **query: object) -> None:
        """Follow a link."""
        self.page.goto(f"{self.address}/{path}" + (f"?{urlencode(query, doseq=True)}" if query else ""))
        self.settle()

    def settle(self) -> None:
        """Wait until the app has answered and drawn; the pause lets a click reach the server first."""
        self.page.wait_for_timeout(400)
        self.page.wait_for_function(READY, polling=100)  # not by frames: a hidden window has none
        self.page.wait_for_timeout(200)

    def until(self, told: Callable[[], bool], seconds: float = 30) -> bool:
        """Whether `told` becomes true in time: the browser writes addresses and boxes a moment after the answer."""
        for _ in range(int(10 * seconds)):
            if told():
                return True
            self.page.wait_for_timeout(100)
        return False

    @property
    def box(self) -> Any:
        """Where sentences are typed."""
        return self.page.get_by_role("textbox", name=re.compile("^(Sentence|German sentence)$"))

    def type(self, text: str) -> None:
        """Put a sentence into the box and press Enter."""
        self.box.fill(text)
        self.box.press("Enter")
        self.settle()

    def arrive(self, title: str) -> None:
        """Wait for the page with this heading."""
        self.page.locator("h1", has_text=title).wait_for()
        self.settle()

    def token(self, position: int) -> Any:
        """A token of the attention view's sentence, which can be clicked."""
        return self.page.locator(f".gptviz-sentence .gptviz-token[data-at='{position}']").first

    def tokens(self) -> list[str]:
        """What stands in the first strip, or in the attention view's sentence, without the numbers below."""
        tokens = self.page.locator(".strip .token, .gptviz-sentence .gptviz-token")
        tokens.first.wait_for()
        strip = tokens.first.locator("..").locator("> *:not(h3)")
        return strip.evaluate_all("all => all.map(e => e.firstChild.textContent)")

    @property
    def path(self) -> str:
        """Of the address in the browser."""
        return urlsplit(self.page.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        """Of the address in the browser."""
        return parse_qs(urlsplit(self.page.url).query, keep_blank_values=True)

    def title(self) -> str:
        """The page's heading."""
        return self.page.locator("h1").first.inner_text()
