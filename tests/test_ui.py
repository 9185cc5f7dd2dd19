"""What pages are made of: literal tokens, the strip, bounded caches, thumbnails, late imports."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading

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
from gptviz.ui import controls, models, show
from gptviz.ui.show import WORD_JOINER, escape
from tests.page_helpers import ROOT, mounted, open_page, payload, texts

HOSTILE = "<img src=x onerror=alert(1)>$x$ **b** :smile: [a](b)"


# Literal tokens


@given(st.text())
def test_escape_hides_every_sign_from_markdown_and_loses_nothing(token: str) -> None:
    escaped = escape(token)
    bare = escaped
    for sign in "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~":
        bare = bare.replace(f"\\{sign}{WORD_JOINER}", sign)
    assert bare.replace(f"\\\\{WORD_JOINER}", "\\") == style.visible(token)


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
    from gptviz import ui

    ui.token_strip(["<b>", " a", "\n", ":smile:"], "pick", values=[0.0, 0.25, 0.5, 1.0], labels=["x"] * 4)


def test_a_strip_is_given_literal_tokens_and_their_values() -> None:
    at = AppTest.from_function(strip_app, default_timeout=60).run()
    (strip,) = mounted(at, "gptviz_token_strip")
    data = payload(strip)
    assert data["tokens"] == ["<b>", "·a", "⏎", ":smile:"]
    assert data["values"] == [0.0, 0.25, 0.5, 1.0]
    assert data["labels"] == ["x"] * 4
    assert not data["selectable"]


# The sentence


@pytest.mark.parametrize(("text", "told"), [("one\ntwo", True), ("one two", False)])
def test_line_breaks_that_the_box_cannot_show_are_told_and_kept(text: str, told: bool) -> None:
    at = open_page(text=text)
    assert ("has line breaks" in texts(at)) == told
    assert at.session_state["text"] == text
    assert ("⏎" in payload(mounted(at, "gptviz_token_strip")[0])["tokens"]) == told


# Tables


def table_app() -> None:
    """A page with nothing but a table."""
    import numpy as np
    import pandas as pd

    from gptviz import ui

    frame = pd.DataFrame({"token": [" a"], "id": [300], "weight": np.float32([1 / 3]), "surprise": [2e-15]})
    ui.table_with_csv(frame.set_index("token"), "weights.csv", key="table")


def test_a_table_shows_fractions_to_four_places_and_saves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[bytes] = []
    monkeypatch.setattr(show.st, "download_button", lambda label, data, **_: saved.append(data()))
    at = AppTest.from_function(table_app, default_timeout=60).run()
    assert not at.exception
    columns = json.loads(at.dataframe[0].proto.columns)
    assert {name: column["type_config"]["format"] for name, column in columns.items()} == {
        "weight": "%.4f",
        "surprise": "%.4f",
    }
    assert saved == [b"token,id,weight,surprise\n a,300,0.33333334,2e-15\n"]


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
