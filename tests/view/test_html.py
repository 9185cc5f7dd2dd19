"""The page of a view: one file, no other host, small, and nothing in it that tokens could turn into code."""

from __future__ import annotations

import base64
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gptviz.view import AttentionView, ViewState, attention_view, script
from gptviz.view.html import MOST_EXACT_BYTES, inside_script
from tests.view.samples import attention, future, read, window

EVIL = "</script><img src=http://stranger.example/x onerror=alert(1)><!--"


class Elements(HTMLParser):
    """Collects the elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts = ""
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts += data

    def handle_endtag(self, tag: str) -> None:
        self.open = ""


def view_of(layers: int, n_heads: int, t: int, **rest: object) -> AttentionView:
    weights = attention(layers, n_heads, t, t, causal=True)
    return attention_view(weights, [f" token{i}" for i in range(t)], masked=future(t), **rest)


def blobs(page: str) -> list[bytes]:
    """The data that a page carries."""
    return [base64.b64decode(text) for text in json.loads(re.search(r"^const blobs = (\[.*\]);$", page, re.M)[1])]


def state(page: str) -> dict:
    """What a page shows at first."""
    return json.loads(re.search(r"state: (\{.*?\}),", page)[1])


def test_a_page_has_every_exact_weight_while_they_are_few() -> None:
    view = view_of(2, 3, 9)
    overview, *exact = blobs(view.html())
    assert overview == view.overview()
    assert [read(blob)[0]["i"] for blob in exact] == list(range(6))
    weights = attention(2, 3, 9, 9, causal=True).reshape(6, 9, 9)
    for i, blob in enumerate(exact):
        np.testing.assert_array_equal(window(blob)[1], weights[i])


def test_a_page_of_twelve_layers_and_heads_takes_less_than_a_megabyte() -> None:
    view = view_of(12, 12, 64)
    page = view.html()
    assert len(page.encode()) <= 1_000_000
    assert blobs(page) == [view.overview()]


def test_a_page_of_a_long_text_has_finer_pictures_of_the_chosen_heads() -> None:
    view = view_of(2, 2, 300)
    assert MOST_EXACT_BYTES < 4 * 300 * 300 * 4
    chosen = ViewState(layer=1, head=1, pins=(0, 3))
    assert blobs(view.html(selection=chosen)) == [view.overview(), view.head(3), view.head(0)]
    few = attention_view(attention(1, 1, 300, 300), list(map(str, range(300))))
    assert window(blobs(few.html())[1])[1].shape == (300, 300)


def test_a_page_opens_at_the_state_that_is_set_or_given() -> None:
    view = view_of(2, 2, 5)
    assert state(view.html()) == ViewState().to_json()
    view.state = ViewState(layer=1, mode="lines")
    assert state(view.html()) == view.state.to_json()
    assert state(view.html(selection=ViewState(layer=9, mode="matrix")))["layer"] == 1
    assert "height: 333," in view.html(height=333)


def test_a_page_asks_no_other_host() -> None:
    page = Elements(view_of(1, 2, 5, title=EVIL).html())
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*", policy)
    tags = [tag for tag, _ in page.elements]
    assert tags == ["html", "head", "meta", "meta", "meta", "meta", "title", "style", "body", "div", "script"]
    assert not any({"src", "href"} & attrs.keys() for _, attrs in page.elements)
    assert not re.search(r"\b(fetch|XMLHttpRequest|importScripts|WebSocket|EventSource)\b|\bimport\(", page.scripts)
    assert "http://" not in page.scripts.replace("http://www.w3.org/", "")


def test_nothing_in_a_page_is_read_as_code() -> None:
    weights = attention(1, 1, 3, 3)
    view = attention_view(weights, [EVIL, "</script>", "<!--"], names=[EVIL], title=EVIL)
    page = view.html()
    assert page.count("</script") == page.count("<script") == 1
    assert EVIL not in page
    assert Elements(page).scripts.rstrip().endswith("mounted.update({ dark: theme.matches }));")
    assert inside_script("a</script>b<!--c") == "a<\\/script>b<\\!--c"


def test_a_notebook_gets_the_page_in_a_frame_that_has_no_part_in_the_notebook() -> None:
    view = view_of(1, 2, 4, title=EVIL)
    view.state = ViewState(mode="matrix")
    [(tag, attrs)] = Elements(view._repr_html_()).elements
    assert tag == "iframe"
    assert attrs["srcdoc"] == view.html()
    assert attrs["sandbox"] == "allow-scripts"
    assert state(attrs["srcdoc"])["mode"] == "matrix"


def test_a_page_is_saved_as_utf8(tmp_path: Path) -> None:
    view = attention_view(attention(1, 1, 2, 2), ["é", "\ud800"], title="ñ")
    view.save(tmp_path / "view.html", height=300)
    assert (tmp_path / "view.html").read_bytes().decode("utf-8") == view.html(height=300)


# The script ----------------------------------------------------------------------------------------------------------


def test_modules_are_joined_without_their_imports_and_exports() -> None:
    text = 'import { a,\n  b } from "./x.js";\nimport "./y.js";\n\nexport const c = 1;\nexport function d() {}\n'
    assert script.join_module(text) == "\nconst c = 1;\nfunction d() {}\n"
    for word in ("async function f() {}", "class G {}", "let h;"):
        assert script.join_module(f"export {word}\n") == f"{word}\n"


def test_every_module_is_in_the_script_and_every_name_once() -> None:
    assert {path.stem for path in script.FOLDER.glob("*.js")} == set(script.ORDER)
    names = re.findall(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", script.joined(), re.M)
    assert len(names) > 100
    assert {name for name in names if names.count(name) > 1} == set()
    assert not re.search(r"^(import|export)\b", script.joined(), re.M)
    assert {"mount", "putBlob"} <= set(names)


@pytest.mark.parametrize("name", script.ORDER)
def test_a_module_imports_only_what_stands_before_it(name: str) -> None:
    text = (script.FOLDER / f"{name}.js").read_text(encoding="utf-8")
    for other in re.findall(r'from "\./(\w+)\.js"', text):
        assert script.ORDER.index(other) < script.ORDER.index(name), f"{name} needs {other}, which comes later"


def test_a_notebook_keeps_a_picture_for_where_no_script_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(1, 2, 4, title=EVIL)
    bundle = view._repr_mimebundle_()
    png = base64.b64decode(bundle["image/png"])
    assert png.startswith(b"\x89PNG")
    (frame, framed), (style, _), (image, shown) = Elements(bundle["text/html"]).elements
    assert (frame, style, image) == ("iframe", "style", "img")
    assert framed["srcdoc"] == view.html()
    assert base64.b64decode(shown["src"].removeprefix("data:image/png;base64,")) == png
    assert "iframe ~ .gptviz-still { display: none }" in bundle["text/html"]  # of the two, one is seen
    assert bundle["text/plain"] == repr(view)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    bare = view_of(1, 2, 4)._repr_mimebundle_()
    assert "image/png" not in bare
    assert [tag for tag, _ in Elements(bare["text/html"]).elements] == ["iframe"]


def test_a_large_view_is_no_picture_in_a_notebook() -> None:
    assert view_of(12, 12, 128)._picture() is None  # it would take seconds
