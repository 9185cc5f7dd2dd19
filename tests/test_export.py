"""Pictures and numbers as files: text stays text, numbers stay exact, and each says where it is from."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zlib
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from plotly.io import renderers

import gptviz
from gptviz import export
from gptviz.checkpoint import LanguageModel
from gptviz.export import canvas, plotly_axes, plotly_figures
from gptviz.figures.heatmap import heatmap
from gptviz.figures.matrix import matrix
from gptviz.figures.predictions import top_bars
from gptviz.provenance import Provenance, provenance
from gptviz.view import ViewState

TOKENS = ["$x_1$", "<b>", "&amp;", " the", "é"]
SOURCE = Provenance("m", "0123456789abcdef", "a $b$ <c> &", {"seed": "1"}, {"gptviz": "1"}, "attention?layer=1")


def view_of(n_layers: int = 2, n_heads: int = 3, state: ViewState | None = None) -> gptviz.AttentionView:
    weights = np.tril(np.random.default_rng(0).random((n_layers, n_heads, 5, 5)))
    view = gptviz.attention_view(
        (weights / weights.sum(-1, keepdims=True)).astype(np.float32), TOKENS, masked=~np.tri(5, dtype=bool)
    )
    view.state = state or ViewState(mode="matrix", layer=1, head=2)
    return view


def texts_of(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


PICTURES = {
    "overview": lambda: view_of(state=ViewState()),
    "matrix": view_of,
    "pins": lambda: view_of(state=ViewState(mode="matrix", pins=(0, 3))),
    "lines": lambda: view_of(state=ViewState(mode="lines")),
    "heatmap": lambda: heatmap(np.eye(5), TOKENS, TOKENS, title="<T> & co"),
    "bars": lambda: top_bars(TOKENS, np.array([0.5, 0.2, 0.1, 0.1, 0.05]), 0.05, 7),
    "of a lesson": lambda: matrix(np.eye(5) - 0.5, TOKENS, TOKENS, title="q", signed=True),
}


@pytest.mark.parametrize("name", PICTURES)
def test_text_in_a_vector_file_is_text_and_literal(name: str) -> None:
    svg = export.render(PICTURES[name](), "svg", SOURCE)
    said = texts_of(svg)
    if name == "overview":
        assert {"layer 0", "layer 1", "head 2"} <= set(said)
    else:
        assert {"$x_1$", "<b>", "&amp;", "é"} <= set(said), said
    assert b"0123456789abcdef" in svg
    assert b"<image" not in svg, "cells and colour bars are paths"


def test_cells_are_paths_with_the_colour_of_their_weights() -> None:
    values = np.array([[0.0, 1.0], [0.25, 0.5]])
    svg = export.render(heatmap(values, ["a", "b"], ["a", "b"]), "svg").decode()
    filled = re.findall(r"fill: (#[0-9a-f]{6})", svg)
    for value in values.ravel():
        r, g, b = (int(255 * c + 0.5) for c in canvas_colour(value))
        assert any(near(f, (r, g, b)) for f in filled), (value, (r, g, b))


def canvas_colour(share: float) -> tuple[float, ...]:
    """The scale of the figures, between its own stops."""
    from gptviz.figures.style import SEQUENTIAL

    stops = [at for at, _ in SEQUENTIAL]
    parts = np.array([[float(n) for n in re.findall(r"\d+", colour)] for _, colour in SEQUENTIAL]) / 255
    return tuple(np.interp(share, stops, parts[:, i]) for i in range(3))


def near(found: str, wanted: tuple[int, int, int]) -> bool:
    return all(abs(int(found[i : i + 2], 16) - w) <= 2 for i, w in zip((1, 3, 5), wanted, strict=True))


def test_a_png_has_the_size_that_was_asked_for_and_its_source_inside() -> None:
    image = Image.open(io.BytesIO(export.render(view_of(), "png", SOURCE, width=800)))
    assert image.width == 1600
    assert json.loads(image.text["gptviz"]) == SOURCE.to_json()
    assert "a $b$ <c> &" in image.text["Description"]


def test_a_pdf_holds_text_and_its_source() -> None:
    pdf = export.render(PICTURES["bars"](), "pdf", SOURCE)
    assert pdf.startswith(b"%PDF") and b"0123456789abcdef" in pdf
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    unpacked = b"".join(zlib.decompress(s) for s in streams if s[:1] == b"x")
    assert b"Tj" in unpacked or b"TJ" in unpacked
    assert b"/Subtype /Type3" not in pdf


def test_a_table_has_the_models_own_numbers(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, "My dog has fleas")
    view = gptviz.attention_view(trace.weights, trace.tokens)
    view.state = ViewState(mode="matrix", layer=1, head=2)
    source = provenance(tiny_model, "My dog has fleas", {"layer": 1})
    lines = export.csv(view, source).decode().splitlines()
    begun = int(lines[0].split()[1])
    assert all(line.startswith("# ") for line in lines[:begun]) and not lines[begun].startswith("#")
    rows = list(csv.DictReader(lines[begun:]))
    assert len(rows) == len(trace.tokens) ** 2
    for row in rows:
        weight = trace.weights[1, 2, int(row["query"]), int(row["key"])]
        assert np.float32(row["weight"]) == weight and row["layer"] == "1"
    view.state = ViewState()
    arrays = np.load(io.BytesIO(export.npz(view, source)), allow_pickle=False)
    assert np.array_equal(arrays["weights"], trace.weights)
    assert json.loads(str(arrays["provenance"]))["fingerprint"] == tiny_model.fingerprint
    assert len(export.table(view)) == trace.weights.size


def test_a_table_that_nobody_can_read_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptviz.export.data.MOST_ROWS", 10)
    with pytest.raises(ValueError, match=r"at most 10 rows, found 150; choose a head"):
        export.table(view_of(state=ViewState()))


@pytest.mark.parametrize("make", [view_of, PICTURES["bars"]])
def test_a_page_asks_no_network_and_shows_where_it_is_from(make: object) -> None:
    page = export.html(make(), SOURCE, caption="<i>caption</i>")
    assert "&lt;i&gt;caption" in page and "a $b$ &lt;c&gt; &amp;" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']?https?:", page)
    data = re.search(r'<script type="application/json" id="provenance">(.*?)</script>', page)[1]
    assert json.loads(data) == SOURCE.to_json()


def test_the_page_of_144_heads_at_64_tokens_is_at_most_a_megabyte() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(64), (12, 12, 64)).astype(np.float32)
    assert len(export.html(gptviz.attention_view(weights, ["token"] * 64), SOURCE).encode()) <= 1_000_000


@pytest.mark.parametrize(
    ("picture", "given", "message"),
    [
        (view_of, {"kind": "gif"}, "expected one of png, svg, pdf, found 'gif'"),
        (view_of, {"kind": "png", "theme": "pink"}, "expected a theme of light, dark, found 'pink'"),
        (lambda: go.Figure(go.Pie(values=[1])), {"kind": "svg"}, "found 'pie'; save it as HTML"),
        (view_of, {"kind": "png", "width": 99_999}, "expected a picture of 1 to 8,000 pixels"),
    ],
)
def test_what_cannot_be_made_says_so(picture: object, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        export.render(picture(), given.pop("kind"), **given)


def test_a_notebook_keeps_a_picture_of_a_figure_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderers, "default", renderers.default)  # given back afterwards
    export.keep_pictures()
    figure = PICTURES["heatmap"]()
    bundle = figure._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "image/png"}  # no HTML: Plotly's script is megabytes
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.width == 2 * export.notebook.WIDTH
    assert len(picture.convert("RGB").getcolors(picture.width * picture.height)) > 10
    with pytest.warns(UserWarning, match="no picture of this figure is kept in the notebook: .* found 'pie'"):
        foreign = go.Figure(go.Pie(values=[1]))._repr_mimebundle_()
    assert set(foreign) == {"application/vnd.plotly.v1+json"}


def test_the_settings_of_matplotlib_are_given_back() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    export.render(view_of(), "svg")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(0.342, ".0%", "34%"), (0.2, ".3~p", "20%"), (-1.5, "+.2f", "−1.50"), (1234.0, ",.0f", "1,234"), (2.0, "", "2")],
)
def test_numbers_are_written_as_in_the_app(value: float, form: str, text: str) -> None:
    assert plotly_axes.written(value, form) == text


def test_a_path_has_its_corners() -> None:
    path = plotly_figures.path_of("M 0,0 L 1e1,0 V 5 H 2 C 1,1 2,2 3,3 Z")
    assert path.vertices[:4].tolist() == [[0, 0], [10, 0], [10, 5], [2, 5]]
    with pytest.raises(ValueError, match="found 'A'"):
        plotly_figures.path_of("M 0,0 A 1 1 0 0 1 2 2")


def test_colours_of_figures_are_understood() -> None:
    theme = canvas.THEMES["dark"]
    assert canvas.colour("rgba(255,0,0,0.5)", theme) == (1, 0, 0, 0.5)
    assert canvas.colour("#000037", theme) == canvas.colour(theme.ink, theme)
    assert canvas.plain("<b>a</b><br>&lt;i&gt;") == "a\n<i>"
