"""Pictures of vectors: the numbers that were given, one scale, and tokens that stay literal and apart."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptviz.figures import style
from gptviz.figures import vectors as f
from gptviz.figures.heatmap import LONGEST_LABEL

HOSTILE = ("<img src=x onerror=alert(1)>", "<b>b</b>", "&lt;", " dog", " dog", "\n", "$x$", "%{y}")
RNG = np.random.default_rng(0)


def sentence(count: int, axes: int = 2, chosen: int = 0, tokens: tuple[str, ...] = ()) -> f.Sentence:
    """A sentence of made-up points."""
    before, after = RNG.normal(size=(2, count, axes))
    return f.Sentence(tokens or tuple(f"t{i}" for i in range(count)), before, after, ("here", "there"), chosen)


def cloud(axes: int = 2, tokens: tuple[str, ...] = HOSTILE) -> f.Cloud:
    """A vocabulary of made-up points, of two kinds."""
    kinds = np.arange(len(tokens)) % 2
    points = RNG.normal(size=(len(tokens), axes))
    return f.Cloud(points, f.point_labels(tokens), kinds, ("even", "odd", "none"), np.linspace(0.3, 0.1, axes))


@given(st.integers(1, 400), st.data())
def test_the_window_holds_the_chosen_token(count: int, data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, count - 1))
    found = f.window(count, chosen, 48)
    assert chosen in found
    assert len(found) == min(48, count)
    assert 0 <= found.start <= found.stop <= count


def test_strips_show_the_numbers_on_one_scale_centred_on_zero() -> None:
    vectors = RNG.normal(size=(3, 4, 10)).astype(np.float32)
    figure = f.strips(("a", "b", "sum"), vectors, ("x", "y", "x", "z"), chosen=2)
    for trace, expected in zip(figure.data, vectors, strict=True):
        np.testing.assert_array_equal(trace.z, expected)
        assert trace.coloraxis == "coloraxis"
    axis = figure.layout.coloraxis
    assert axis.cmid == 0
    assert axis.cmin == -axis.cmax < 0
    assert [a.text for a in figure.layout.annotations] == ["<b>a</b>", "<b>b</b>", "<b>sum</b>"]
    starts = [trace.y0 for trace in figure.data]
    assert all(later - earlier > 4 for earlier, later in pairwise(starts))
    assert [s.y0 for s in figure.layout.shapes] == [start + 1.5 for start in starts]
    for start in starts:  # each row of each panel reads as its token
        assert [figure.layout.yaxis.labelalias[str(start + i)] for i in range(4)] == ["x", "y", "x", "z"]


def test_a_huge_number_does_not_bleach_the_strips() -> None:
    vectors = np.full((1, 10, 100), 0.5, dtype=np.float32)
    vectors[0, 0, 0] = 1e4
    figure = f.strips(("a",), vectors, ["t"] * 10)
    assert figure.layout.coloraxis.cmax == 0.5
    assert figure.layout.coloraxis.colorbar.ticktext == ("≤ −0.5", "0", "≥ 0.5")
    assert figure.data[0].z[0, 0] == 1e4


def test_strips_of_zeros_have_a_scale() -> None:
    assert f.strips(("a",), np.zeros((1, 2, 3)), ("x", "y")).layout.coloraxis.cmax == 1


@pytest.mark.parametrize("shape", [(2, 4, 10), (3, 5, 10)])
def test_strips_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected vectors"):
        f.strips(("a", "b", "c"), np.zeros(shape), ("x", "y", "z", "w"))


def test_similarity_is_on_the_whole_scale_and_keeps_equal_tokens_apart() -> None:
    cosines = np.eye(len(HOSTILE))
    assert len(HOSTILE) == f.MOST_NUMBERS
    figure = f.similarity(cosines, HOSTILE)
    np.testing.assert_array_equal(figure.data[0].z, cosines.astype(np.float32))
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert len(axis.labelalias) == len(HOSTILE)
        assert axis.labelalias["3"] == axis.labelalias["4"] == "·dog"
    assert figure.data[0].texttemplate
    assert not f.similarity(np.eye(30), ["t"] * 30).data[0].texttemplate
    with pytest.raises(ValueError, match="expected cosines"):
        f.similarity(np.eye(3), HOSTILE)


def test_neighbours_are_bars_with_their_values() -> None:
    figure = f.neighbours(("a", " a", "b"), np.array([0.9, 0.51239, -0.2]), [True, False, False], span=(-0.2, 0.9))
    (bars,) = figure.data
    assert bars.text == ("0.900", "0.512", "−0.200")
    assert bars.marker.color[0] != bars.marker.color[1] == bars.marker.color[2]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert figure.layout.xaxis.range[0] < -0.2 < 0.9 < figure.layout.xaxis.range[1]
    assert f.neighbours((), np.array([])).data[0].x.size == 0


@pytest.mark.parametrize("axes", [2, 3])
def test_the_map_holds_every_token_of_the_vocabulary_once(axes: int) -> None:
    given_cloud, given_sentence = cloud(axes), sentence(4, axes, chosen=2)
    figure = f.vocabulary_map(given_cloud, given_sentence, ringed=[1, 5])
    shown = [t for t in figure.data if t.name in given_cloud.kind_names]
    assert sorted(name for trace in shown for name in trace.text) == sorted(map(style.plotly_text, HOSTILE))
    assert [t.name for t in shown] == ["even", "odd"]
    placed = {(float(x), float(y)) for t in shown for x, y in zip(t.x, t.y, strict=True)}
    assert placed == {(float(x), float(y)) for x, y in given_cloud.points[:, :2].astype(np.float32)}
    by_name = {trace.name: trace for trace in figure.data}
    assert by_name["nearest to the chosen"].text.tolist() == [style.plotly_text(HOSTILE[i]) for i in (1, 5)]
    np.testing.assert_array_equal(by_name["sentence: there"].x, given_sentence.after[:, 0].astype(np.float32))
    line = by_name["moved from: here"]
    np.testing.assert_array_equal(line.y[0::3], given_sentence.before[:, 1].astype(np.float32))
    np.testing.assert_array_equal(line.y[1::3], given_sentence.after[:, 1].astype(np.float32))
    assert np.isnan(line.y[2::3]).all()


def test_the_map_says_how_much_it_shows() -> None:
    flat, deep = (f.vocabulary_map(cloud(axes), sentence(2, axes)) for axes in (2, 3))
    assert flat.layout.xaxis.title.text == "axis 1 (30.0% of the variance)"
    assert flat.layout.yaxis.title.text == "axis 2 (10.0% of the variance)"
    assert flat.layout.yaxis.scaleanchor == "x"
    assert deep.layout.scene.zaxis.title.text == "axis 3 (10.0%)"
    assert deep.layout.scene.aspectmode == "data"


@pytest.mark.parametrize("axes", [2, 3])
def test_a_long_sentence_names_only_the_chosen_token(axes: int) -> None:
    def named(count: int, chosen: int) -> list[str]:
        layout = f.vocabulary_map(cloud(axes), sentence(count, axes, chosen)).layout
        return [note.text for note in (layout.annotations if axes == 2 else layout.scene.annotations)]

    assert named(30, 7) == ["t7"]
    assert named(5, 1) == ["t0", "t2", "t3", "t4", "t1"]  # the chosen one over the others


def test_names_stand_at_their_points() -> None:
    given_sentence = sentence(3, chosen=2)
    notes = f.vocabulary_map(cloud(), given_sentence).layout.annotations
    np.testing.assert_allclose([[note.x, note.y] for note in notes], given_sentence.after)


def test_a_map_needs_two_or_three_axes() -> None:
    with pytest.raises(ValueError, match="expected 2 or 3 axes"):
        f.vocabulary_map(cloud(4), sentence(2, 4))
    with pytest.raises(ValueError, match="expected 2 or 3 axes"):
        f.vocabulary_map(cloud(3), sentence(2, 2))


def test_tokens_are_never_interpreted() -> None:
    count = len(HOSTILE)
    figures = (
        f.strips(("a",), np.ones((1, count, 3)), HOSTILE),
        f.similarity(np.eye(count), HOSTILE),
        f.neighbours(HOSTILE, np.ones(count)),
        f.vocabulary_map(cloud(), sentence(count, tokens=HOSTILE), ringed=range(count)),
    )
    for figure in figures:
        sent = json.dumps(json.loads(figure.to_json()), ensure_ascii=False)
        assert "<img" not in sent
        assert "<b>b" not in sent
        assert "&amp;lt;" in sent


@given(st.text(max_size=40))
def test_a_cut_token_is_short_and_literal(token: str) -> None:
    shown = html.unescape(f.label(token))
    assert len(shown) <= LONGEST_LABEL
    assert "<" not in f.label(token)
    if len(style.visible(token)) <= LONGEST_LABEL:
        assert shown == style.visible(token)


def test_plotly_accepts_every_figure() -> None:
    """The figures are put together without Plotly's checks, so the checks are here."""
    figures = (
        f.strips(("a",), np.ones((1, 3, 4)), ("x", "y", "z"), chosen=1),
        f.similarity(np.eye(3), ("x", "y", "z"), "title"),
        f.neighbours(("x", "y"), np.ones(2), title="title"),
        f.vocabulary_map(cloud(), sentence(3), ringed=[1]),
        f.vocabulary_map(cloud(3), sentence(3, 3), ringed=[1]),
    )
    for figure in figures:
        go.Figure(figure.to_dict())  # raises ValueError on anything that Plotly does not know
        assert figure.layout.paper_bgcolor == style.TRANSPARENT


def test_figures_need_neither_torch_nor_streamlit() -> None:
    code = "import sys, gptviz.figures.vectors; print([m for m in ('torch', 'streamlit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
