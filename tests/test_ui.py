"""What pages are made of: literal tokens, the strip and its selection, bounded caches, thumbnails, late imports."""

from __future__ import annotations

import html
import io
import subprocess
import sys
import threading
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz import WhatIf
from gptviz.checkpoint import LanguageModel
from gptviz.figures import style
from gptviz.figures.thumbnail import palette, thumbnail
from gptviz.trace import STAGES
from gptviz.ui import controls, models
from gptviz.ui.show import WORD_JOINER, escape
from tests.page_helpers import ROOT, fire, mounted, payload

HOSTILE = "<img src=x onerror=alert(1)>$x$ **b** :smile: [a](b)"


# Literal tokens


@given(st.text())
def test_a_visible_token_has_no_character_that_only_steers(token: str) -> None:
    shown = style.visible(token)
    assert shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
    assert not unicodedata.category(shown[0]).startswith("M")


@pytest.mark.parametrize(
    ("token", "shown"),
    {
        " dog": "·dog",
        "\n\n": "⏎⏎",
        "\t": "⇥",
        "\x00": "\\x00",
        "\xa0": "\\xa0",
        "\u202e": "\\u202e",
        "\U000e0001": "\\U000e0001",
        "\u0301": "◌\u0301",
        "": "∅",
        "é日本🙂": "é日本🙂",
    }.items(),
)
def test_visible(token: str, shown: str) -> None:
    assert style.visible(token) == shown


@given(st.text())
def test_escape_hides_every_sign_from_markdown_and_loses_nothing(token: str) -> None:
    escaped = escape(token)
    bare = escaped
    for sign in "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~":
        bare = bare.replace(f"\\{sign}{WORD_JOINER}", sign)
    assert bare.replace(f"\\\\{WORD_JOINER}", "\\") == style.visible(token)


@given(st.text())
def test_plotly_text_is_the_token_for_a_reader_of_html(token: str) -> None:
    assert "<" not in style.plotly_text(token)
    assert html.unescape(style.plotly_text(token)) == html.unescape(html.escape(style.visible(token), quote=False))


def test_tokens_that_occur_twice_have_two_places_on_an_axis() -> None:
    axis = style.token_axis([" a", " b", " a"])
    assert axis["tickvals"] == [0, 1, 2]
    assert axis["ticktext"] == ["·a", "·b", "·a"]


# Colours


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2) of (N, 3) bytes."""
    linear = np.where(colours <= 10, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def stops(scale: list[list]) -> np.ndarray:
    """The colours of a scale, (N, 3)."""
    return np.array([[int(n) for n in colour[4:-1].split(",")] for _, colour in scale])


def test_brighter_is_more_along_both_scales() -> None:
    assert (np.diff(luminance(stops(style.SEQUENTIAL))) > 0).all()
    away = luminance(stops(style.DIVERGING))
    middle = len(away) // 2
    assert (np.diff(away[middle:]) > 0).all() and (np.diff(away[: middle + 1]) < 0).all()
    assert style.DIVERGING[middle][0] == 0.5


# Thumbnails, against Pillow


def test_a_thumbnail_has_the_colour_of_every_weight(tiny_model: LanguageModel) -> None:
    weights = gptviz.trace(tiny_model, "My dog has fleas and the cat").weights[1, 2]
    masked = ~np.tri(len(weights), dtype=bool)
    image = Image.open(io.BytesIO(thumbnail(weights, masked))).convert("RGBA")
    pixels = np.asarray(image)
    assert pixels.shape == (*weights.shape, 4)
    assert (pixels[..., 3] == np.where(masked, 0, 255)).all()
    expected = palette()[np.round(weights * 254).astype(int)]
    assert (pixels[~masked, :3] == expected[~masked]).all()
    assert len(np.unique(pixels[~masked], axis=0)) > 3


def test_a_mask_that_leaks_is_seen() -> None:
    weights = np.array([[0.9, 0.1], [0.5, 0.5]])
    pixels = np.asarray(Image.open(io.BytesIO(thumbnail(weights, ~np.tri(2, dtype=bool)))).convert("RGBA"))
    assert pixels[0, 1, 3] == 255


# Caches


def test_a_kept_trace_is_the_same_object_and_a_what_if_is_another(tiny_model: LanguageModel) -> None:
    cache = models.TraceCache(2**30)
    plain = cache.get(tiny_model, "the dog", WhatIf())
    assert cache.get(tiny_model, "the dog", WhatIf()) is plain
    open_ended = cache.get(tiny_model, "the dog", WhatIf(causal=False))
    assert not np.allclose(open_ended.weights, plain.weights)
    np.testing.assert_allclose(open_ended.weights, gptviz.trace(tiny_model, "the dog", causal=False).weights)


def test_texts_that_differ_only_in_what_was_cut_are_told_apart(tiny_model: LanguageModel) -> None:
    cache = models.TraceCache(2**30)
    assert cache.get(tiny_model, "a" * 70, WhatIf()).dropped == 6
    assert cache.get(tiny_model, "a" * 80, WhatIf()).dropped == 16


def test_the_cache_forgets_the_oldest_and_never_grows_beyond_its_limit(tiny_model: LanguageModel) -> None:
    size = models.size_of(tiny_model, 10)
    cache = models.TraceCache(3 * size)
    for start in "qwertyuiop":
        cache.get(tiny_model, start + "z" * 9, WhatIf())
        assert cache.used == size * len(cache.traces) <= cache.limit
    newest = cache.get(tiny_model, "p" + "z" * 9, WhatIf())
    assert len(cache.traces) == 3
    assert [trace for trace, _ in cache.traces.values()][-1] is newest


def test_the_size_of_a_trace_is_no_guess_from_below(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, "the dog has a ball and the cat has a house")
    for name in STAGES:
        getattr(trace, name)
    arrays = sum(array.nbytes for array in trace.arrays.values())
    assert models.size_of(tiny_model, len(trace.ids)) >= arrays


def test_eight_threads_share_a_cache(tiny_model: LanguageModel) -> None:
    cache = models.TraceCache(4 * models.size_of(tiny_model, 8))
    wrong: list[str] = []

    def visit(letter: str) -> None:
        for n in range(1, 9):
            trace = cache.get(tiny_model, letter * n, WhatIf())
            if trace.ids != tuple(tiny_model.tokenizer.encode(letter * n)):
                wrong.append(letter)

    threads = [threading.Thread(target=visit, args=(letter,)) for letter in "qwxzjkvb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.used == sum(size for _, size in cache.traces.values()) <= cache.limit


# The token strip


def strip_app() -> None:
    """A page with nothing but a strip."""
    import streamlit as st

    from gptviz import ui

    tokens = st.session_state.get("given", ["<b>", " a", "\n", ":smile:"])
    chosen = ui.token_strip(tokens, "pick", values=[0.0, 0.25, 0.5, 1.0][: len(tokens)], labels=["x"] * len(tokens))
    st.session_state["chosen"] = chosen


def test_a_strip_is_given_literal_tokens_and_their_values() -> None:
    at = AppTest.from_function(strip_app, default_timeout=60).run()
    (strip,) = mounted(at, "gptviz_token_strip")
    data = payload(strip)
    assert data["tokens"] == ["<b>", "·a", "⏎", ":smile:"]
    assert data["values"] == [0.0, 0.25, 0.5, 1.0]
    assert data["labels"] == ["x"] * 4
    assert data["selected"] == []


def test_a_click_selects_and_another_one_no_longer() -> None:
    at = AppTest.from_function(strip_app, default_timeout=60).run()
    for clicks, expected in ((3, [3]), (1, [1, 3]), (3, [1])):
        fire(at, mounted(at, "gptviz_token_strip")[0], "toggle", clicks)
        assert at.multiselect(key="pick").value == expected
        assert at.session_state["chosen"] == tuple(expected)
        assert payload(mounted(at, "gptviz_token_strip")[0])["selected"] == expected
    assert not at.exception


@pytest.mark.parametrize("nonsense", ["99", "-1", "x", "1.5", "", HOSTILE])
def test_a_selection_in_the_url_that_is_nonsense_is_left_out(nonsense: str) -> None:
    at = AppTest.from_function(strip_app, default_timeout=60)
    at.query_params["pick"] = ["1", nonsense]
    at.run()
    assert not at.exception
    assert set(at.session_state["chosen"]) <= {1}


def test_a_selection_survives_a_shorter_sentence() -> None:
    at = AppTest.from_function(strip_app, default_timeout=60).run()
    at.multiselect(key="pick").set_value([0, 3]).run()
    at.session_state["given"] = ["one", " two"]
    at.run()
    assert not at.exception
    assert set(at.session_state["chosen"]) <= {0, 1}


def test_nonsense_from_the_browser_changes_nothing() -> None:
    at = AppTest.from_function(strip_app, default_timeout=60).run()
    for nonsense in (99, -1, "x", None, {"a": 1}):
        fire(at, mounted(at, "gptviz_token_strip")[0], "toggle", nonsense)
        assert not at.exception
        assert at.session_state["chosen"] == ()


# Layers and heads


def pick_app() -> None:
    """A page with nothing but the two pickers, for a model of 3 layers with 4 heads."""
    from types import SimpleNamespace

    import streamlit as st

    from gptviz import ui

    config = st.session_state.get("config", SimpleNamespace(n_layers=3, n_heads=4))
    model = SimpleNamespace(gpt=SimpleNamespace(config=config))
    st.session_state["picked"] = ui.pick_layer(model), ui.pick_head(model)


def test_layer_and_head_come_from_the_url() -> None:
    at = AppTest.from_function(pick_app, default_timeout=60)
    at.query_params["layer"], at.query_params["head"] = "2", "3"
    at.run()
    assert at.session_state["picked"] == (2, 3)


@pytest.mark.parametrize("nonsense", ["3", "-1", "one", "0.5", "", "../x", "9" * 50, HOSTILE])
def test_a_layer_that_is_not_there_is_the_first(nonsense: str) -> None:
    at = AppTest.from_function(pick_app, default_timeout=60)
    at.query_params["layer"], at.query_params["head"] = nonsense, "1"
    at.run()
    assert not at.exception
    assert at.session_state["picked"] == (0, 1)


def test_a_smaller_model_has_no_layer_of_the_larger_one() -> None:
    from types import SimpleNamespace

    at = AppTest.from_function(pick_app, default_timeout=60)
    at.query_params["layer"], at.query_params["head"] = "2", "3"
    at.run()
    at.session_state["config"] = SimpleNamespace(n_layers=2, n_heads=2)
    at.run()
    assert not at.exception
    layer, head = at.session_state["picked"]
    assert layer in range(2) and head in range(2)


# Late imports


def test_the_ui_and_its_parts_import_no_torch() -> None:
    names = [f"gptviz.ui.{path.stem}" for path in (ROOT / "gptviz" / "ui").glob("*.py") if path.stem != "__init__"]
    code = f"import importlib, sys\nfor n in {names!r}: importlib.import_module(n)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_sentences_worth_trying_are_different_and_fit_a_link() -> None:
    sentences = list(controls.SENTENCES.values())
    assert controls.SENTENCE in sentences
    assert len(set(sentences)) == len(sentences) >= 6
    assert max(map(len, sentences)) < controls.LONGEST_LINK
