"""The attention view in a real browser, on a page of its own: what is painted, what a hand and a key do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gptviz.view import AttentionView, attention_view
from gptviz.view.script import joined, style

PAGE = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 8px; }}
{style}</style><div id="root"></div>
<script type="module">
{script}
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
globalThis.put = (text) => putBlob(bytes(text));
globalThis.told = [];
globalThis.asked = [];
const onNeed = (need) => {{
  asked.push(need);
  globalThis.answer?.(JSON.stringify(need)).then((texts) => texts.forEach(globalThis.put));
}};
globalThis.start = (given) => {{
  globalThis.view = mount(root, {{ onState: (state) => told.push(state), onNeed, ...given }});
}};
</script>"""


class Shown:
    """A page with one attention view, and hands to use it with."""

    def __init__(self, page: object) -> None:
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.set_content(PAGE.format(style=style(), script=joined()))
        page.wait_for_function("Boolean(globalThis.start)")
        page.expose_function("answer", self.answer)
        self.root = page.locator("#root")
        self.view: AttentionView | None = None
        self.answers = True

    def answer(self, need: str) -> list[str]:
        """What a host sends when the view asks: blobs as base64."""
        asked = json.loads(need)
        if not self.answers:
            return []
        blobs = [self.view.head(i) for i in asked.get("head", [])]
        if "window" in asked:
            blobs.append(self.view.exact(*asked["window"]))
        return [base64.b64encode(blob).decode() for blob in blobs]

    def show(self, view: AttentionView, state: dict | None = None, **given: object) -> Shown:
        """Show a view, its overview sent first."""
        self.view = view
        self.put(view.overview())
        self.page.evaluate("start", {"id": view.id, "state": state or {}, "dark": False, **given})
        return self

    def put(self, blob: bytes) -> None:
        """Send a blob, as a host does."""
        self.page.evaluate("put", base64.b64encode(blob).decode())

    def at(self, **place: int) -> tuple[float, float]:
        """Where a head's panel or a cell of the matrix is."""
        point = self.page.evaluate("place => view.where(place)", place)
        return point["x"], point["y"]

    def pixel(self, **place: int) -> tuple[int, ...]:
        """The colour of the picture there."""
        script = """place => {
          const {x, y} = view.where(place);
          const canvas = document.querySelector('.gptviz-picture');
          const box = canvas.getBoundingClientRect();
          const ratio = canvas.width / box.width;
          const at = [Math.round((x - box.left) * ratio), Math.round((y - box.top) * ratio)];
          return [...canvas.getContext('2d').getImageData(...at, 1, 1).data];
        }"""
        return tuple(self.page.evaluate(script, place))

    def data(self, name: str) -> str:
        """An attribute data-... of the root."""
        return self.root.get_attribute(f"data-{name}")

    @property
    def status(self) -> str:
        """What a screen reader is told."""
        return self.page.locator(".gptviz-status").inner_text()

    @property
    def told(self) -> list[dict]:
        """The states that the host was told of."""
        return self.page.evaluate("told")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, with the picture in focus."""
        self.page.locator(".gptviz-scroller").focus()
        for key in keys:
            self.page.keyboard.press(key)


def causal(layers: int = 2, heads: int = 3, t: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random causal attention and where it is masked: (L, H, T, T) and (T, T)."""
    masked = np.triu(np.ones((t, t), bool), 1)
    scores = np.random.default_rng(seed).normal(0, 2, (layers, heads, t, t))
    weights = np.exp(np.where(masked, -np.inf, scores))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32), masked


def causal_view(layers: int = 2, heads: int = 3, t: int = 6, seed: int = 0) -> AttentionView:
    """A view of random causal attention over the tokens t0, t1, ..."""
    weights, masked = causal(layers, heads, t, seed)
    return attention_view(weights, [f"t{i}" for i in range(t)], masked=masked)


@pytest.fixture
def open_view(browser: object) -> Iterator[Callable[..., Shown]]:
    """Opens pages with a view. At the end: no error in any console."""
    opened = []

    def open_one(width: int = 1280, height: int = 760, **given: object) -> Shown:
        context = browser.new_context(viewport={"width": width, "height": height}, **given)
        opened.append((context, Shown(context.new_page())))
        return opened[-1][1]

    yield open_one
    for context, shown in opened:
        errors = shown.errors
        context.close()
        assert errors == []


def test_a_click_chooses_a_head_and_is_painted_before_the_click_ends(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view())
    before = int(shown.data("painted"))
    shown.page.mouse.click(*shown.at(head=4))
    assert shown.data("head") == "1.1"
    assert int(shown.data("painted")) > before
    assert [(state["layer"], state["head"]) for state in shown.told] == [(1, 1)]
    assert "Head 1.1" in shown.status
