"""The looks that figures share: tokens written literally, colour scales, labels that can be read, small messages."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.elements.lib.streamlit_plotly_theme import configure_streamlit_plotly_theme

from gptviz.figures import style
from gptviz.figures.heatmap import heatmap
from gptviz.figures.vectors import similarity

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
def test_plotly_text_is_the_token_for_a_reader_of_html(token: str) -> None:
    assert "<" not in style.plotly_text(token)
    assert html.unescape(style.plotly_text(token)) == html.unescape(html.escape(style.visible(token), quote=False))


def test_tokens_that_occur_twice_have_two_places_on_an_axis() -> None:
    axis = style.token_axis([" a", " b", " a"])
    assert axis["tickvals"] == [0, 1, 2]
    assert axis["ticktext"] == ["·a", "·b", "·a"]


# Colours and labels


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


def labels_of(figure: go.Figure) -> list[dict]:
    """What a figure says about the labels at its axes and its colour bar."""
    layout = figure.to_dict()["layout"]
    bar = [layout["coloraxis"]["colorbar"]] if "coloraxis" in layout else []
    return [layout[name] for name in layout if name[1:5] == "axis"] + bar


@pytest.mark.parametrize(
    "figure",
    [
        lambda: style.base_layout(go.Figure(go.Bar(y=[1]), layout={"xaxis": {"title": "x"}, "yaxis2": {"title": "y"}})),
        lambda: heatmap(np.eye(2), [" a", " b"], [" a", " b"]),
        lambda: similarity(np.eye(2), [" a", " b"], "Cosines"),  # its colour bar has no title
    ],
    ids=["bars", "heatmap", "cosines"],
)
def test_labels_are_written_in_ink_and_their_words_and_sizes_are_kept(figure: Callable[[], go.Figure]) -> None:
    before, after = labels_of(figure()), labels_of(style.ink_labels(figure()))
    assert len(before) == len(after) >= 2
    for was, now in zip(before, after, strict=True):
        assert now["tickfont"] == was.get("tickfont", {}) | {"color": style.INK}
        if (was.get("title") or {}).get("text"):
            assert now["title"] == was["title"] | {"font": was["title"].get("font", {}) | {"color": style.INK}}


def test_a_figure_brings_nothing_of_streamlits_placeholder_colours_but_the_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pio.templates, "default", pio.templates.default)  # put back afterwards
    configure_streamlit_plotly_theme()
    assert pio.templates.default == "streamlit"
    spec = style.base_layout(go.Figure(go.Bar(y=[1])), title="Bars").to_json()
    assert set(re.findall(r"#0000\d\d", spec)) == {style.INK}
    assert len(spec) < 2000


def test_numbers_for_people_have_the_true_minus() -> None:
    assert style.minus("-1.5") == "−1.5"
    assert [style.scientific(value) for value in (1.5e-06, 2.1e17, 0)] == ["1.5·10⁻⁶", "2.1·10¹⁷", "0"]
    assert style.cell_texts(np.array([[-0.25, np.nan]]), "+.2f") == [["−0.25", ""]]


def test_larger_letters_are_larger_wherever_they_are() -> None:
    figure = heatmap(np.eye(2), [" a", " b"], [" a", " b"], title="eye")
    before, after = figure.to_plotly_json(), style.enlarged(figure, 1.5).to_plotly_json()
    sizes = re.compile(r"font'?: \{[^{}]*'size': ([\d.]+)")
    was, now = (list(map(float, sizes.findall(str(each)))) for each in (before, after))
    assert len(now) >= len(was) >= 3
    assert Counter(1.5 * size for size in was) <= Counter(now) and min(now) == 1.5 * min(was)
    assert figure.to_plotly_json() == before, "others see the same figure"
    assert np.array_equal(after["data"][0]["z"], before["data"][0]["z"])
