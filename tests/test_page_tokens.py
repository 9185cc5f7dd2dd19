"""The page of tokens and embeddings as a visitor meets it: the model's own numbers, whatever was typed or linked."""

from __future__ import annotations

import base64
import json
from functools import cache

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.figures.style import plotly_text, visible
from tests.page_helpers import fire, mounted, open_page, payload, texts

HOSTILE = "<img src=x onerror=alert(1)> $x$ **b** :smile: [a](b) &lt; \u202e \x00 é日本🙂"
LONG = "Once upon a time there was a little dog who had fleas and a cat who had none, and they lived by the sea. " * 5


@cache
def model() -> gptviz.LanguageModel:
    return gptviz.load("gpt-stories")


def fine(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


def trace_of(at: AppTest) -> gptviz.Trace:
    return gptviz.trace(model(), at.session_state["text"])


def figures(at: AppTest) -> list[dict]:
    """Strips, cosines before and after, neighbours before and after, the map: as they are sent."""
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def numbers(sent: dict | list) -> np.ndarray:
    """An array out of a figure, as the browser decodes it."""
    if isinstance(sent, list):
        return np.array(sent, dtype=float)
    shape = [int(n) for n in str(sent["shape"]).split(",")] if "shape" in sent else [-1]
    return np.frombuffer(base64.b64decode(sent["bdata"]), dtype=sent["dtype"]).reshape(shape)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Every row with every row, in float64, written out on its own."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T


def table() -> np.ndarray:
    return model().gpt.state_dict()["token_embedding.weight"].float().numpy()


def named(figure: dict, name: str) -> dict:
    (trace,) = [trace for trace in figure["data"] if trace.get("name") == name]
    return trace


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Torch and the model are there before the first page, whose run has a time limit."""
    model()


@pytest.fixture(scope="module")
def plain() -> AppTest:
    return fine(open_page("tokens"))


@pytest.fixture(scope="module")
def later() -> AppTest:
    return fine(open_page("tokens", emb_stage=2, emb_token=3))


def test_the_table_has_each_token_with_its_id_and_bytes(plain: AppTest) -> None:
    ids = model().encode("My dog has fleas")[0]
    shown = plain.dataframe[0].value
    assert shown["id"].tolist() == ids
    assert b"".join(bytes.fromhex(piece) for piece in shown["bytes"]) == b"My dog has fleas"
    assert shown["number of bytes"].sum() == 16
    assert "".join(shown["token"]) == "My·dog·has·fleas"


def test_the_strips_are_the_models_vectors(plain: AppTest, later: AppTest) -> None:
    trace = trace_of(plain)
    parts = (trace.token_embeddings, trace.position_embeddings, trace.residual[0])
    for sent, expected in zip(figures(plain)[0]["data"], parts, strict=True):
        np.testing.assert_array_equal(numbers(sent["z"]), expected)
    parts = (trace.residual[1], trace.attention_out[1], trace.ff_out[1], trace.residual[2])
    for sent, expected in zip(figures(later)[0]["data"], parts, strict=True):
        np.testing.assert_array_equal(numbers(sent["z"]), expected)
    axis = figures(later)[0]["layout"]["coloraxis"]
    assert axis["cmin"] == -axis["cmax"]


def test_the_cosines_are_those_of_the_vectors(plain: AppTest, later: AppTest) -> None:
    trace = trace_of(plain)
    for at, before, after in (
        (plain, trace.token_embeddings, trace.residual[0]),
        (later, trace.residual[1], trace.residual[2]),
    ):
        for figure, vectors in zip(figures(at)[1:3], (before, after), strict=True):
            np.testing.assert_allclose(numbers(figure["data"][0]["z"]), cosines(vectors, vectors), atol=1e-6)
            assert (figure["layout"]["coloraxis"]["cmin"], figure["layout"]["coloraxis"]["cmax"]) == (-1, 1)


def test_the_nearest_are_the_nearest_of_the_whole_vocabulary(plain: AppTest, later: AppTest) -> None:
    trace = trace_of(plain)
    own = trace.ids[0]
    row = cosines(trace.token_embeddings[:1], table())[0]
    row[own] = -2  # the token's own vector is left out
    cases = [(figures(plain)[3], row), (figures(plain)[4], cosines(trace.residual[0][:1], table())[0])]
    cases += [(figures(later)[4], cosines(trace.residual[2][3:4], table())[0])]
    for figure, expected in cases:
        (bars,) = figure["data"]
        order = np.argsort(-expected, kind="stable")[:12]
        np.testing.assert_allclose(numbers(bars["x"]), expected[order], atol=1e-6)
        labels = figure["layout"]["yaxis"]["labelalias"]
        assert [labels[str(i)] for i in range(12)] == [plotly_text(model().tokenizer.token_text(i)) for i in order]


def test_the_closest_entry_of_every_token(later: AppTest) -> None:
    trace, shown = trace_of(later), later.dataframe[1].value
    expected = cosines(trace.residual[2], table())
    np.testing.assert_allclose(shown["its cosine"], expected.max(axis=1), atol=1e-6)
    own = expected[range(len(trace.ids)), trace.ids]
    np.testing.assert_allclose(shown["cosine with the token itself"], own, atol=1e-6)
    assert shown["rank of the token itself"].tolist() == [1 + (r > o).sum() for r, o in zip(expected, own, strict=True)]


@pytest.mark.parametrize(("dims", "unit"), [(2, True), (2, False), (3, True), (3, False)])
def test_the_map_is_the_table_on_its_principal_axes(dims: int, unit: bool) -> None:
    query = {"emb_stage": 1} | ({} if unit else {"emb_unit": "false"}) | ({} if dims == 2 else {"emb_dims": 3})
    at = fine(open_page("tokens", **query))
    rows, stream = table().astype(np.float64), trace_of(at).residual[1].astype(np.float64)
    if unit:
        rows, stream = (x / np.linalg.norm(x, axis=1)[:, None] for x in (rows, stream))
    middle = rows.mean(axis=0)
    _, sizes, right = np.linalg.svd(rows - middle, full_matrices=False)
    figure = figures(at)[-1]
    points = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    cloud = [trace for trace in points if trace["name"] not in ("sentence: after block 0", "nearest to the chosen")]
    assert sum(len(trace["text"]) for trace in cloud) == len(rows)
    sentence = named(figure, "sentence: after block 0")
    for axis, direction, size in zip("xyz"[:dims], right, sizes, strict=False):
        sent = np.concatenate([numbers(trace[axis]) for trace in cloud])
        expected = (rows - middle) @ direction  # the sign of an axis is free
        np.testing.assert_allclose(np.sort(np.abs(sent)), np.sort(np.abs(expected)), atol=1e-4)
        np.testing.assert_allclose(np.abs(numbers(sentence[axis])), np.abs((stream - middle) @ direction), atol=1e-3)
        share = f"({size**2 / (sizes**2).sum():.1%}"
        holder = figure["layout"]["scene"] if dims == 3 else figure["layout"]
        assert share in holder[f"{axis}axis"]["title"]["text"]
    assert f"The {dims} directions" in texts(at)
    assert f"{(sizes[:dims] ** 2).sum() / (sizes**2).sum():.1%} of its variance" in texts(at)


def test_a_click_in_the_strip_chooses_and_a_sentence_without_that_token_begins_with_the_first(plain: AppTest) -> None:
    at = fine(open_page("tokens"))
    assert payload(mounted(at, "gptviz_token_strip")[0])["selected"] == [0]
    fine(fire(at, mounted(at, "gptviz_token_strip")[0], "toggle", 4))
    assert at.number_input(key="emb_token_shown").value == 4
    assert at.session_state["emb_token"] == "4"
    assert payload(mounted(at, "gptviz_token_strip")[0])["selected"] == [4]
    fine(at.text_input(key="text").set_value("My dog").run())
    assert payload(mounted(at, "gptviz_token_strip")[0])["selected"] == [0]
    assert at.session_state["emb_token"] == ""


@pytest.mark.parametrize("key", ["emb_token", "emb_stage", "emb_dims", "emb_unit", "nonsense"])
@pytest.mark.parametrize("value", ["99", "-3", "x", "<b>", "1e9", "", "0.5"])
def test_nonsense_in_a_link_falls_back(key: str, value: str) -> None:
    at = fine(open_page("tokens", **{key: value}))
    assert len(figures(at)) == 6
    assert at.number_input(key="emb_token_shown").value == 0
    assert key == "nonsense" or at.session_state[key] == ""  # and so it leaves the address


def test_empty_and_blank_text_ask_for_a_sentence() -> None:
    for text in ("", "   "):
        at = fine(open_page("tokens"))
        fine(at.text_input(key="text").set_value(text).run())
        assert not figures(at)
        assert at.info


def test_hostile_tokens_are_literal_everywhere() -> None:
    at = fine(open_page("tokens", emb_stage=1))
    fine(at.text_input(key="text").set_value(HOSTILE).run())
    tokens = trace_of(at).tokens
    assert at.dataframe[0].value["token"].tolist() == [visible(token) for token in tokens]
    assert payload(mounted(at, "gptviz_token_strip")[0])["tokens"] == [visible(token) for token in tokens]
    for figure in figures(at):
        assert "<img" not in json.dumps(figure)
    assert not any(sign in texts(at) for sign in ("<img", "$x$", ":smile:", "](b)"))


@pytest.mark.parametrize("text", ["a", "\u0301", "🙂", "שלום עולם", "\t\n x"])
@pytest.mark.parametrize("stage", [0, 4])
def test_odd_texts(text: str, stage: int) -> None:
    at = open_page("tokens", emb_stage=stage)
    fine(at.text_input(key="text").set_value(text).run())
    assert len(figures(at)) == 6


def test_a_long_sentence_says_what_it_leaves_out() -> None:
    at = open_page("tokens", emb_stage=1)
    fine(at.text_input(key="text").set_value(LONG).run())
    count = len(trace_of(at).tokens)
    assert count > 128
    assert f"Tokens 0 to 47 of {count} are drawn" in texts(at)
    assert f"128 of {count} tokens around the chosen one" in texts(at)
    fine(at.number_input(key="emb_token_shown").set_value(count - 1).run())
    assert f"Tokens {count - 48} to {count - 1} of {count} are drawn" in texts(at)
    assert at.dataframe[1].value.index[-1] == count - 1


def test_what_is_said_fits_the_model_and_the_stage(plain: AppTest, later: AppTest) -> None:
    assert "The first two add up to the third" in texts(plain)
    assert "no token vector any more" not in texts(plain)
    assert "do not add up to the last" in texts(later)
    assert ("same table to predict" in texts(later)) == model().gpt.config.tied
