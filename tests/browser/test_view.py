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
        """The colour of the picture there, or dx pixels to the right."""
        script = """place => {
          const {x, y} = view.where(place);
          const canvas = document.querySelector('.gptviz-picture');
          const box = canvas.getBoundingClientRect();
          const ratio = canvas.width / box.width;
          const at = [Math.round((x + (place.dx ?? 0) - box.left) * ratio), Math.round((y - box.top) * ratio)];
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


def test_keys_alone_choose_open_walk_and_go_back(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view())
    shown.press("ArrowRight", "ArrowDown")
    assert shown.data("head") == "1.1"
    shown.press("Enter")
    assert shown.data("mode") == "matrix"
    shown.press("ArrowDown", "ArrowDown", "ArrowRight")
    assert "query 1 “t1”, key 1 “t1”" in shown.status
    shown.press("3")
    assert shown.data("mode") == "lines"
    shown.press("4")
    assert shown.data("mode") == "sentence"
    shown.press("Escape")
    assert shown.data("mode") == "overview"
    shown.press("?")
    assert shown.page.locator(".gptviz-help").is_visible()
    shown.page.keyboard.press("Escape")
    assert not shown.page.locator(".gptviz-help").is_visible()


def test_a_double_click_opens_a_head_and_shows_all_of_the_matrix_again(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view(t=20))
    shown.page.mouse.dblclick(*shown.at(head=5))
    assert (shown.data("mode"), shown.data("head")) == ("matrix", "1.2")
    drag(shown, shown.at(q=8, k=2), shown.at(q=15, k=7))
    assert shown.data("cells") == "8-16-2-8"
    assert shown.told[-1]["window"] == [8, 16, 2, 8]
    shown.page.mouse.dblclick(*shown.at(q=10, k=4))
    assert shown.data("cells") == "0-20-0-20"


def drag(shown: Shown, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
    """Press the mouse at a point and let it go at another."""
    shown.page.mouse.move(*start)
    shown.page.mouse.down()
    shown.page.mouse.move(*end, steps=steps)
    shown.page.mouse.up()


def test_shift_and_drag_moves_and_the_labels_stay_where_they_are(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view(t=40), {"mode": "matrix", "window": [10, 20, 10, 20]})
    corner = shown.at(q=10, k=10)
    shown.page.keyboard.down("Shift")
    drag(shown, shown.at(q=15, k=15), shown.at(q=13, k=12))
    shown.page.keyboard.up("Shift")
    assert shown.data("cells") == "12-22-13-23"
    assert shown.at(q=12, k=13) == corner


def test_ctrl_and_the_wheel_zoom_about_the_cell_under_the_pointer(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view(t=40), {"mode": "matrix"})
    shown.page.mouse.move(*shown.at(q=30, k=10))
    shown.page.mouse.wheel(0, 200)
    assert shown.data("cells") == "0-40-0-40"  # without Ctrl the page scrolls
    shown.page.keyboard.down("Control")
    shown.page.mouse.wheel(0, -200)
    shown.page.keyboard.up("Control")
    q0, q1, k0, k1 = map(int, shown.data("cells").split("-"))
    assert 10 <= q1 - q0 < 40
    assert q0 <= 30 < q1
    assert k0 <= 10 < k1


def test_a_number_is_the_models_own_or_says_that_it_is_not(open_view: Callable[..., Shown]) -> None:
    view = causal_view()
    weight = view.source.layer(1)[2, 4, 3]
    shown = open_view()
    shown.answers = False
    shown.show(view, {"mode": "matrix", "layer": 1, "head": 2})
    shown.page.mouse.click(*shown.at(q=4, k=3))
    assert f": ≈ {weight:.2f}." in shown.status
    shown.put(view.exact(5))
    assert f": {weight:.4f}." in shown.status
    shown.page.mouse.click(*shown.at(q=3, k=4))
    assert ": masked." in shown.status


def test_masked_zero_leaked_and_wrong_cells_look_different(open_view: Callable[..., Shown]) -> None:
    weights, masked = causal(1, 1, 6)
    weights[0, 0, 3] = [1, 0, 0, 0, 0, 0]
    weights[0, 0, 2] = [0.5, 0, 0, 0, 0, 0.5]  # a leak into the future
    weights[0, 0, 5] *= 0.7
    view = attention_view(weights, list("abcdef"), masked=masked)
    shown = open_view()
    shown.answers = False
    shown.show(view, {"mode": "matrix", "scale": "sqrt"})
    [zero, future, leak, half] = [shown.pixel(q=q, k=k) for q, k in [(3, 1), (3, 5), (2, 5), (2, 0)]]
    assert zero == (19, 32, 54, 255)
    assert len(set(future[:3])) <= 2  # grey
    assert future != zero
    assert leak == half
    assert leak not in (zero, future)
    stripes = {shown.pixel(q=5, k=2, dx=dx) for dx in range(12)}
    assert len(stripes) == 2
    assert all(green == 0 for _, green, _, _ in stripes)  # magenta and black are not on the ramp
    assert "row 5 sums to 0.7" in shown.status


def test_equal_weights_have_one_colour_in_all_heads_unless_rows_are_divided(open_view: Callable[..., Shown]) -> None:
    weights = np.zeros((1, 2, 3, 3), np.float32)
    weights[0, 0, :, 1], weights[0, 0, :, 0] = 0.4, 0.6
    weights[0, 1, :, 1], weights[0, 1, :, [0, 2]] = 0.4, 0.3
    shown = open_view().show(attention_view(weights, list("abc")))
    assert shown.pixel(head=0) == shown.pixel(head=1)
    shown.press("s", "s")
    assert shown.pixel(head=0) != shown.pixel(head=1)
    assert "rows are not comparable" in shown.page.locator(".gptviz-legend").inner_text()


def test_pinned_heads_stand_beside_the_chosen_one_and_their_lines_do_not_fade(open_view: Callable[..., Shown]) -> None:
    weights = np.broadcast_to(np.eye(5, dtype=np.float32), (2, 3, 5, 5))
    shown = open_view()
    shown.answers = False  # exact weights would be written over the colours of their cells
    shown.show(attention_view(weights, list("abcde")), {"mode": "lines"})
    count = """colour => {
      const canvas = document.querySelector('.gptviz-picture');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      const opaque = [...colour, 255];
      for (let at = 0; at < data.length; at += 4) n += opaque.every((channel, i) => data[at + i] === channel);
      return n;
    }"""
    alone = shown.page.evaluate(count, [0, 114, 178])
    assert alone > 1000
    shown.page.evaluate("view.update({state: {mode: 'lines', pins: [0, 2, 3, 4]}})")
    for colour in ([0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167]):
        assert shown.page.evaluate(count, colour) > alone / 2  # shorter, as their numbers need room, but as strong
    assert shown.page.locator(".gptviz-legend strong").all_inner_texts() == ["0.0", "0.2", "1.0", "1.1"]
    shown.press("2")
    for head in (0, 2, 3, 4):
        assert shown.pixel(head=head, q=1, k=1)[:3] == (250, 236, 173)


def test_the_sentence_shows_the_rows_and_columns_of_the_chosen_tokens(open_view: Callable[..., Shown]) -> None:
    view = causal_view()
    weights = view.source.layer(0)[1]  # (T, T)
    shown = open_view().show(view, {"mode": "sentence", "head": 1})
    tokens = shown.page.locator(".gptviz-sentence .gptviz-token")
    numbers = shown.page.locator(".gptviz-sentence small")
    shown.page.wait_for_function("document.querySelector('.gptviz-sentence small').textContent.match(/^[0-9]/)")
    assert numbers.all_inner_texts()[:3] == [f"{w:.3f}" for w in weights[5, :3]]  # the last token, as none is chosen
    assert [one.get_attribute("aria-pressed") for one in tokens.all()] == ["false"] * 5 + ["true"]
    tokens.nth(4).click()
    shown.page.wait_for_function("document.querySelector('.gptviz-sentence small').textContent.match(/^[0-9]/)")
    assert numbers.all_inner_texts()[:3] == [f"{w:.3f}" for w in weights[4, :3]]
    tokens.nth(5).click()
    shown.page.wait_for_function("document.querySelector('.gptviz-sentence small').textContent.match(/^[0-9]/)")
    assert numbers.all_inner_texts()[:3] == [f"{w:.3f}" for w in weights[4, :3] + weights[5, :3]]
    assert shown.told[-1]["queries"] == [4, 5]
    shown.page.get_by_role("button", name="Attended by").click()
    tokens.nth(1).click()
    shown.page.wait_for_function("document.querySelectorAll('.gptviz-sentence small')[5].textContent.match(/^[0-9]/)")
    assert numbers.all_inner_texts()[3:] == [f"{w:.3f}" for w in weights[3:, 1]]


HOSTILE = ["<img src=x onerror=alert(1)>", "**bold**", "\n", "a" * 200, b"\xe2", " ", "\u202eevil", "&lt;", "`code`"]


def test_tokens_are_literal_text_in_every_picture(open_view: Callable[..., Shown]) -> None:
    weights, masked = causal(1, 2, len(HOSTILE))
    shown = open_view()
    shown.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    shown.show(attention_view(weights, HOSTILE, masked=masked), {"mode": "sentence"})
    texts = shown.page.locator(".gptviz-sentence bdi").all_text_contents()
    assert texts[0] == "<img·src=x·onerror=alert(1)>"
    assert texts[1:6] == ["**bold**", "⏎", "a" * 200, "\\xe2", "·"]
    assert "\u202e" not in texts[6]
    for key in "1234":
        shown.press(key)
        assert shown.page.locator("#root img").count() == 0
        assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_hosts_state_is_followed_and_a_late_echo_is_not(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view())
    update = "state => view.update({state})"
    shown.page.evaluate(update, {"layer": 1, "head": 0})
    assert shown.data("head") == "1.0"
    assert shown.told == []  # it came from there
    shown.press("ArrowRight")
    shown.press("Enter")
    shown.page.wait_for_function("told.length")
    shown.page.mouse.click(*shown.at(q=2, k=1))
    shown.page.get_by_role("button", name="Lines").click()
    shown.page.evaluate(update, shown.told[0])  # what was told first comes back when more has been told
    assert shown.data("mode") == "lines"
    shown.page.evaluate(update, {"layer": 0, "head": 2, "mode": "sentence"})
    assert (shown.data("mode"), shown.data("head")) == ("sentence", "0.2")


@pytest.mark.parametrize("t", [1, 2])
def test_the_smallest_of_sentences_are_shown(open_view: Callable[..., Shown], t: int) -> None:
    weights, masked = causal(1, 1, t)
    shown = open_view().show(attention_view(weights, ["a", "b"][:t], masked=masked))
    for key in ("Enter", "+", "-", "2", "3", "4"):
        shown.press(key, "ArrowRight", "ArrowDown")
    assert shown.data("mode") == "sentence"


def test_two_token_lists_make_a_rectangle(open_view: Callable[..., Shown]) -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(12), (1, 2, 7)).astype(np.float32)  # (1, 2, 7, 12)
    view = attention_view(weights, [f"q{i}" for i in range(7)], keys=[f"k{i}" for i in range(12)])
    shown = open_view().show(view, {"mode": "matrix"})
    shown.page.mouse.click(*shown.at(q=6, k=11))
    assert "query 6 “q6”, key 11 “k11”" in shown.status
    assert shown.data("cells") == "0-7-0-12"
    shown.press("4")
    assert shown.page.locator(".gptviz-tokens h3").all_inner_texts()[-2:] == [
        "query: choose here", "key: colour and number: how much the chosen token attends to it"
    ]  # fmt: skip


def test_by_touch_on_a_phone_a_thumb_hits_a_head(open_view: Callable[..., Shown]) -> None:
    shown = open_view(390, 844, has_touch=True, device_scale_factor=3).show(causal_view(12, 12, 16))
    (x0, _), (x1, _) = shown.at(head=0), shown.at(head=1)
    assert x1 - x0 >= 64
    shown.page.touchscreen.tap(x1, shown.at(head=1)[1])
    assert shown.data("head") == "0.1"
    assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown.page.get_by_role("button", name="Matrix").tap()
    shown.page.touchscreen.tap(*shown.at(q=9, k=4))
    assert "query 9 “t9”, key 4 “t4”" in shown.status


def test_long_texts_ask_for_the_chosen_head_and_for_exact_windows(open_view: Callable[..., Shown]) -> None:
    weights, masked = causal(1, 2, 300)
    weights[0, 1, 200], weights[0, 1, 200, 150] = 0, 1
    view = attention_view(weights, [f"t{i}" for i in range(300)], masked=masked)
    shown = open_view().show(view, {"head": 1})
    assert view.factor == 3
    shown.press("Enter")
    shown.page.wait_for_function("asked.some((need) => need.head?.includes(1))")
    drag(shown, shown.at(q=190, k=140), shown.at(q=253, k=203))
    shown.page.wait_for_function("asked.some((need) => need.window?.[0] === 1)")
    shown.page.mouse.click(*shown.at(q=200, k=150))
    shown.page.wait_for_function("document.querySelector('.gptviz-status').textContent.includes('1.0000')")
    assert shown.pixel(q=200, k=150)[:3] == (250, 236, 173)
    shown.press("3")
    assert shown.page.evaluate("document.querySelector('.gptviz-scroller').scrollHeight") > 300 * 20
    assert "in sight" in shown.page.locator(".gptviz-legend").inner_text()


def test_another_theme_and_another_size_are_painted_at_once(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view(), {"mode": "matrix"})
    light = shown.pixel(q=0, k=5)
    shown.page.evaluate("view.update({dark: true})")
    assert shown.data("theme") == "dark"
    assert shown.pixel(q=0, k=5) != light
    before = int(shown.data("painted"))
    shown.page.set_viewport_size({"width": 700, "height": 700})
    shown.page.wait_for_function(f"root.dataset.painted > {before}")
    box = shown.page.locator(".gptviz-picture").bounding_box()
    assert box["width"] <= 700


def test_a_view_that_ends_leaves_nothing_behind(open_view: Callable[..., Shown]) -> None:
    view = causal_view()
    shown = open_view().show(view)
    shown.page.evaluate("view.destroy()")
    assert shown.page.locator("#root *").count() == 0
    shown.put(view.exact(0))  # nobody listens any more, and nothing breaks


def test_full_screen_and_back(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view(), height=400)
    shown.page.get_by_role("button", name="Full screen").click()
    shown.page.wait_for_function("document.fullscreenElement === root")
    assert shown.root.bounding_box()["height"] > 600
    shown.page.get_by_role("button", name="Full screen").click()
    shown.page.wait_for_function("!document.fullscreenElement")
    assert shown.root.bounding_box()["height"] == 400


def test_a_wrong_row_has_no_lines_and_no_numbers(open_view: Callable[..., Shown]) -> None:
    weights, masked = causal(1, 1, 6)
    weights[0, 0, 4, 1] = np.nan
    view = attention_view(weights, list("abcdef"), masked=masked)
    shown = open_view().show(view, {"mode": "sentence", "queries": [4]})
    assert shown.page.locator(".gptviz-sentence small").all_inner_texts() == ["error"] * 6
    shown.page.locator(".gptviz-sentence .gptviz-token").nth(4).click()
    shown.page.locator(".gptviz-sentence .gptviz-token").nth(5).click()
    assert "error" not in shown.page.locator(".gptviz-sentence").inner_text()


def test_two_fingers_move_and_zoom_the_matrix(open_view: Callable[..., Shown]) -> None:
    shown = open_view(390, 844, has_touch=True).show(causal_view(t=40), {"mode": "matrix", "window": [10, 30, 10, 30]})
    touch = """moves => {
      const scroller = document.querySelector('.gptviz-scroller');
      scroller.setPointerCapture = () => {};
      for (const [type, pointerId, clientX, clientY] of moves) {
        const given = { bubbles: true, pointerType: 'touch', pointerId, clientX, clientY };
        scroller.dispatchEvent(new PointerEvent(type, given));
      }
    }"""
    x, y = shown.at(q=20, k=20)
    step = shown.at(q=21, k=21)[0] - x
    down = [["pointerdown", 1, x - 50, y], ["pointerdown", 2, x + 50, y]]
    fingers = [(1, x - 50), (2, x + 50)]
    moved = [["pointermove", finger, at, y - up * step] for up in (1, 2, 3, 4) for finger, at in fingers]
    shown.page.evaluate(touch, [*down, *moved])
    assert shown.data("cells") == "14-34-10-30"
    shown.page.evaluate(touch, [["pointermove", 2, x + 200, y - 4 * step]])
    q0, q1, _, _ = map(int, shown.data("cells").split("-"))
    assert q1 - q0 < 20
    shown.page.evaluate(touch, [["pointerup", 1, x, y], ["pointerup", 2, x, y]])
    shown.page.wait_for_function("told.length === 1")  # the host hears of it when the hand rests, once


def test_the_picture_stays_where_it_is_in_every_mode_at_every_width(open_view: Callable[..., Shown]) -> None:
    measure = """() => {
      const bar = document.querySelector('.gptviz-toolbar').getBoundingClientRect();
      const seen = [...document.querySelectorAll('.gptviz-toolbar :is(button, select, input)')]
        .filter((one) => one.offsetParent).map((one) => one.getBoundingClientRect());
      return {
        height: bar.height, top: document.querySelector('.gptviz-body').getBoundingClientRect().top,
        inside: seen.every((one) => one.left >= bar.left && one.right <= bar.right + 1 && one.bottom <= bar.bottom + 1),
        rows: new Set(seen.map((one) => Math.round(one.top + one.height / 2))).size,
      };
    }"""
    for width, most in ((836, 1), (780, 2), (390, 2), (360, 2)):
        shown = open_view(width, 844, has_touch=width < 400).show(causal_view(12, 12, 16), {"layer": 11, "head": 11})
        found = []
        for key in ("1", "2", "3", "4", "1", "s", "s", "p"):
            shown.press(key)
            found.append(shown.page.evaluate(measure))
        assert all(one["inside"] and one["rows"] <= most for one in found), (width, found)
        assert len({(one["height"], one["top"]) for one in found}) == 1, (width, found)


def test_one_picture_alone_has_nothing_to_compare(open_view: Callable[..., Shown]) -> None:
    weights, masked = causal(1, 1, 6)
    view = attention_view(weights, list("abcdef"), masked=masked, names=["Mean over all heads"])
    shown = open_view().show(view, {"mode": "overview", "pins": [0]})
    assert shown.data("mode") == "matrix"
    buttons = shown.page.locator(".gptviz-toolbar button:visible").all_inner_texts()
    assert buttons[:3] == ["Matrix", "Lines", "Sentence"]
    assert not any("Pin" in text or "Overview" in text for text in buttons)
    assert not shown.page.locator(".gptviz-sort").is_visible()
    shown.press("1", "p", "o")
    assert shown.data("mode") == "matrix"
    assert shown.status == "Mean over all heads, matrix."


def test_the_first_escape_only_leaves_full_screen(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view(), {"mode": "matrix"})
    shown.press("f")
    shown.page.wait_for_function("document.fullscreenElement === root")
    shown.page.keyboard.press("Escape")
    shown.page.wait_for_function("!document.fullscreenElement")
    assert shown.data("mode") == "matrix"
    shown.page.wait_for_timeout(500)
    shown.page.keyboard.press("Escape")
    assert shown.data("mode") == "overview"


def test_where_no_element_may_have_the_screen_it_fills_the_window(open_view: Callable[..., Shown]) -> None:
    shown = open_view(390, 844, has_touch=True)
    shown.page.evaluate("delete Element.prototype.requestFullscreen")
    shown.show(causal_view(), {"mode": "matrix"}, height=400)
    button = shown.page.get_by_role("button", name="Full screen")
    button.click()
    box = shown.root.bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 390, 844)
    button.click()
    assert shown.root.bounding_box()["height"] == 400
    shown.press("f", "Escape")
    assert shown.root.bounding_box()["height"] == 400
    assert shown.data("mode") == "matrix"


def test_another_order_is_said(open_view: Callable[..., Shown]) -> None:
    shown = open_view().show(causal_view())
    shown.press("o")
    assert shown.status.startswith("Heads sorted by entropy. Head 0.0, ")
    shown.page.locator(".gptviz-sort select").select_option("kind")
    assert shown.status.startswith("Heads sorted by kind. ")
    shown.press("ArrowRight")
    assert "sorted" not in shown.status


def test_ten_tokens_show_their_numbers_but_not_where_they_are_masked(open_view: Callable[..., Shown]) -> None:
    shown = open_view()
    shown.page.evaluate("""() => {
      globalThis.written = [];
      const write = CanvasRenderingContext2D.prototype.fillText;
      CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        if (this.canvas.className === 'gptviz-picture') written.push(text);
        return write.call(this, text, ...rest);
      };
    }""")
    view = causal_view(t=10)
    shown.show(view, {"mode": "matrix"})
    shown.put(view.exact(0))
    weights = view.source.layer(0)[0][np.tril_indices(10)]
    shown.page.evaluate("written.length = 0; view.update({ dark: true })")
    numbers = [text for text in shown.page.evaluate("written") if text[0] in "01<"]
    assert numbers[-55:] == ["<.01" if w < 0.005 else f"{w:.2f}" for w in weights]


def test_lines_of_many_tokens_are_few_and_counted(open_view: Callable[..., Shown]) -> None:
    def note() -> str:
        return shown.page.locator(".gptviz-note").inner_text()

    weights, masked = causal(1, 2, 80)
    view = attention_view(weights, [f"t{i}" for i in range(80)], masked=masked)
    shown = open_view().show(view, {"mode": "lines"})
    shown.put(view.exact(0))
    rows = np.sort(weights[0, 0], axis=-1)[:, ::-1].astype(np.float64)
    before = rows.cumsum(axis=-1) - rows  # a line is drawn while those before it hold less than half
    drawn = (before < 0.5) & (rows > 0)
    count, share = note().removesuffix(" of the attention: the fewest that hold 50 % of each query").split(" lines, ")
    assert abs(int(count.split(" of ")[0]) - drawn.sum()) <= 1
    assert count.split(" of ")[1] == "3,240"
    assert abs(int(share.rstrip(" %")) - 100 * rows[drawn].sum() / 80) <= 1
    shown.press("]")
    assert "55 % of each query" in note()
    assert shown.told == [] or shown.told[-1]["mass"] == 0.55


def test_what_is_cut_off_is_seen_to_go_on(open_view: Callable[..., Shown]) -> None:
    shown = open_view(390, 844, has_touch=True).show(causal_view(12, 12, 16))
    stage = shown.page.locator(".gptviz-stage")
    assert "has-more" in stage.get_attribute("class")
    shown.page.evaluate("document.querySelector('.gptviz-scroller').scrollTop = 1e6")
    shown.page.wait_for_function("!document.querySelector('.gptviz-stage').classList.contains('has-more')")
    shown.press("2")
    assert "has-more" not in stage.get_attribute("class")


def test_few_heads_use_the_room_that_there_is(open_view: Callable[..., Shown]) -> None:
    shown = open_view(836, 760).show(causal_view(4, 4, 6))
    boxes = [shown.at(head=head) for head in (0, 1, 4, 12)]
    assert boxes[1][0] - boxes[0][0] > 190  # a layer a row, numbers beside each head
    assert boxes[0][0] == boxes[2][0]
    assert boxes[3][1] - boxes[0][1] > 280
    shown = open_view(836, 760).show(causal_view(12, 12, 6))
    first, last, next_layer = (shown.at(head=head) for head in (0, 11, 12))
    assert first[1] == last[1]  # a row holds a layer, also of 12 heads
    assert first[0] == next_layer[0]


def test_beyond_1024_tokens_an_exact_window_says_what_is_masked(open_view: Callable[..., Shown]) -> None:
    t = 1030
    weights, masked = causal(1, 1, t)
    weights[0, 0, 20] = 0
    weights[0, 0, 20, 5] = 1  # weights of 0 that are not masked
    view = attention_view(weights, [f"t{i}" for i in range(t)], masked=masked)
    shown = open_view().show(view, {"mode": "matrix", "window": [10, 30, 0, 40]})
    shown.page.wait_for_function("root.dataset.exact === 'true'")
    masked_cell, next_to_it, zero = shown.pixel(q=20, k=21), shown.pixel(q=21, k=22), shown.pixel(q=20, k=19)
    assert zero == (19, 32, 54, 255)
    for cell in (masked_cell, next_to_it):
        assert len(set(cell[:3])) <= 2  # grey
        assert cell != zero
    shown.page.mouse.click(*shown.at(q=20, k=21))
    assert ": masked." in shown.status
    shown.page.mouse.click(*shown.at(q=20, k=19))
    assert ": 0.0000." in shown.status
