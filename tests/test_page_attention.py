"""The attention page as a visitor meets it: what it draws is what the model computed, whatever was typed or linked."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.analysis import heads
from tests.page_helpers import open_page, texts

LONG = "Once upon a time there was a little dog who had fleas and a cat who had none, and they lived by the sea. " * 3


def figures(at: AppTest) -> list[dict]:
    """The Plotly figures of the page, as they are sent: the chosen matrix, then all heads."""
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def numbers(z: dict | list) -> np.ndarray:
    """A matrix out of a figure, as the browser decodes it."""
    if isinstance(z, list):
        return np.array(z, dtype=float)
    shape = [int(n) for n in z["shape"].split(",")]
    return np.frombuffer(base64.b64decode(z["bdata"]), dtype=z["dtype"]).reshape(shape)


def cells(figure: dict) -> list[np.ndarray]:
    """Every matrix of weights in a figure, without the grey of the mask."""
    return [numbers(trace["z"]) for trace in figure["data"] if trace.get("coloraxis")]


def table(at: AppTest) -> np.ndarray:
    return at.dataframe[0].value.to_numpy()


def strip(at: AppTest) -> dict:
    """What the clickable sentence is given."""
    return json.loads(at.get("bidi_component")[-1].proto.json)


def trace_of(at: AppTest) -> gptviz.Trace:
    return gptviz.trace(gptviz.load("gpt-stories"), at.session_state["text"])


def fine(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


@pytest.fixture(scope="module")
def plain() -> AppTest:
    return fine(open_page("attention", layer=1, head=3))


def test_the_matrix_is_the_models_own(plain: AppTest) -> None:
    weights = trace_of(plain).weights
    shown, mosaic = figures(plain)
    np.testing.assert_array_equal(np.nan_to_num(cells(shown)[0]), weights[1, 3])
    np.testing.assert_array_equal(table(plain), weights[1, 3])
    np.testing.assert_array_equal(np.nan_to_num(np.stack(cells(mosaic))), weights[1])
    assert shown["layout"]["title"]["text"] == "Head 1.3"
    assert [mark["text"] for mark in mosaic["layout"]["annotations"]][2:4] == ["1.2", "<b>1.3</b>"]
    for figure in (shown, mosaic):
        assert (figure["layout"]["coloraxis"]["cmin"], figure["layout"]["coloraxis"]["cmax"]) == (0, 1)


def test_the_grey_is_where_the_scores_say_masked(plain: AppTest) -> None:
    grey = numbers(figures(plain)[0]["data"][0]["z"])
    np.testing.assert_array_equal(grey == 1, np.isneginf(trace_of(plain).masked[1, 3]))
    assert grey.any()


@pytest.mark.parametrize("show", ["One head", "Mean", "Rollout"])
@pytest.mark.parametrize("options", [{}, {"att_words": "true"}, {"att_over": "all layers"}, {"att_colours": "0 to 1"}])
def test_every_row_on_the_page_sums_to_one(show: str, options: dict) -> None:
    text = "My dog has fleas, and  mine\nhas none. 🐕‍🦺"
    at = fine(open_page("attention", text=text, att_show=show, layer=2, **options))
    shown = [table(at), *(matrix for figure in figures(at) for matrix in cells(figure))]
    assert len(shown) > 3
    for matrix in shown:
        assert np.abs(np.nansum(matrix, axis=1) - 1).max() < 1e-5


def test_max_says_that_its_rows_do_not() -> None:
    at = fine(open_page("attention", att_show="Max", att_over="all layers"))
    np.testing.assert_array_equal(table(at), trace_of(at).weights.max(axis=(0, 1)))
    assert "rows do not sum to 1" in texts(at)
    assert figures(at)[0]["layout"]["title"]["text"] == "Max over all heads"


def test_rollout_names_its_source_and_its_rule() -> None:
    at = fine(open_page("attention", att_show="Rollout", layer=2))
    np.testing.assert_allclose(table(at), heads.rollout(trace_of(at).weights[:3]))
    assert "Abnar and Zuidema 2020" in texts(at)
    assert "0.5 *A* + 0.5 *I*" in texts(at)
    assert "layers 0 to 2" in texts(at)


def test_words_are_joined_and_the_rule_is_on_the_page() -> None:
    at = fine(open_page("attention", att_words="true"))
    assert strip(at)["tokens"] == ["My", "·dog", "·has", "·fleas"]
    assert table(at).shape == (4, 4)
    assert "summed over the keys" in texts(at)
    assert "averaged over its queries" in texts(at)


def test_the_first_token_hidden_is_not_called_the_models(plain: AppTest) -> None:
    assert "Not the model’s row" not in texts(plain)
    at = fine(open_page("attention", att_first="true"))
    assert "Not the model’s row" in texts(at)
    assert np.isnan(table(at)[0]).all()
    assert np.isnan(table(at)[:, 0]).all()
    np.testing.assert_allclose(np.nansum(table(at)[1:], axis=1), 1)


def test_the_lecture_table() -> None:
    at = fine(open_page("attention", att_words="true", att_levels="true"))
    shown = figures(at)[0]
    written = shown["data"][-1]["text"]
    assert len(written) == 4
    assert all(word in ("low", "med", "high") for i, row in enumerate(written) for word in row[: i + 1])
    at.slider(key="att_at").set_value((0.0, 0.0)).run()
    written = figures(fine(at))[0]["data"][-1]["text"]
    assert all(word == "high" for i, row in enumerate(written) for word in row[: i + 1])
    assert "**high** from 0:" in texts(at)


def test_clicked_tokens_colour_the_sentence_in_both_directions() -> None:
    at = fine(open_page("attention", layer=1, head=2, att_token=[3, 4]))
    weights = trace_of(at).weights[1, 2].astype(float)
    assert strip(at)["selected"] == [3, 4]
    np.testing.assert_allclose(strip(at)["values"], (weights[3] + weights[4]) / 2, atol=1e-4)
    assert [float(label) for label in strip(at)["labels"]] == pytest.approx(list(weights[3] + weights[4]), abs=1e-6)
    assert "their rows summed" in texts(at)
    at.segmented_control(key="att_way").set_value("from").run()
    np.testing.assert_allclose(strip(fine(at))["values"], weights[:, 3] + weights[:, 4], atol=1e-4)
    assert "their columns summed" in texts(at)


def test_with_nothing_clicked_the_last_token_speaks(plain: AppTest) -> None:
    assert strip(plain)["selected"] == []
    np.testing.assert_allclose(strip(plain)["values"], trace_of(plain).weights[1, 3, -1], atol=1e-4)
    assert "the last one" in texts(plain)


def test_colours_up_to_the_largest_weight_say_so() -> None:
    at = fine(open_page("attention", text=LONG, layer=1, att_colours="0 to the largest weight"))
    shown, mosaic = figures(at)
    weights = trace_of(at).weights
    assert shown["layout"]["coloraxis"]["cmax"] == pytest.approx(weights[1, 0].max())
    assert mosaic["layout"]["coloraxis"]["cmax"] == pytest.approx(weights[1].max())


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)> <b>bold</b>",
        "$x$ **b** :smile: [a](b) # h",
        "a\u202eb \u200b \u0000 \x1b[31m",
        "שלום עולם",
        "👩‍👩‍👧 👍🏽",
        "x",
        "dog dog dog dog",
        "a" * 3000,
        "\n\n\n a",
    ],
)
@pytest.mark.parametrize("words", ["false", "true"])
def test_whatever_is_typed_is_shown_literally(text: str, words: str) -> None:
    at = fine(open_page("attention", text=text, att_words=words, att_first="true", att_levels="true", att_show="Mean"))
    assert len(figures(at)) == 2
    labels = figures(at)[0]["layout"]["xaxis"]["labelalias"].values()
    assert not any("<" in label for label in labels)
    said = texts(at)
    for harm in ("<img src=x", "<b>bold", "[a](b)", ":smile:", "$x$"):
        assert harm not in said


def test_one_token_has_one_cell() -> None:
    at = fine(open_page("attention", text="x"))
    assert table(at).tolist() == [[1.0]]
    at = fine(open_page("attention", text="x", att_first="true", att_colours="0 to the largest weight"))
    assert np.isnan(table(at)).all()


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_without_a_sentence_the_page_asks_for_one(text: str) -> None:
    at = open_page("attention")
    at.text_input(key="text").set_value(text).run()
    fine(at)
    assert "Type a sentence" in texts(at)
    assert not at.get("plotly_chart")


def test_a_link_with_nonsense_opens_the_default_picture() -> None:
    nonsense = {"layer": 99, "head": "<b>", "att_show": "no", "att_over": "x", "att_token": ["77", "x"], "att_at": "9"}
    at = fine(open_page("attention", **nonsense, att_words="maybe", att_levels="true", att_way="", att_colours="-1"))
    assert figures(at)[0]["layout"]["title"]["text"] == "Head 0.0"
    assert strip(at)["selected"] == []


def test_a_shorter_sentence_forgets_clicks_that_are_gone() -> None:
    at = fine(open_page("attention", text="My dog has fleas and my cat has none", att_token=[8]))
    at.text_input(key="text").set_value("My dog").run()
    assert strip(fine(at))["selected"] == []


def test_a_long_sentence_is_cut_to_the_context_and_drawn() -> None:
    at = fine(open_page("attention", text=LONG * 5))
    assert any("cut at the left" in warning.value for warning in at.warning)
    context = gptviz.load("gpt-stories").gpt.config.context
    assert table(at).shape == (context, context)
    assert np.abs(table(at).sum(axis=1) - 1).max() < 1e-5


def test_the_source_of_the_numbers_is_shown(plain: AppTest) -> None:
    assert any("def rollout" in code.value for code in plain.code)


def test_64_tokens_fit_in_a_small_message() -> None:
    """What is sent decides how fast the page answers; times are measured by the benchmark, on a quiet machine."""
    model = gptviz.load("gpt-stories")
    text = model.tokenizer.decode(model.tokenizer.encode(LONG)[:64])
    at = fine(open_page("attention", text=text))
    assert len(strip(at)["tokens"]) == 64
    assert sum(len(chart.proto.spec) for chart in at.get("plotly_chart")) < 400_000
    assert sum(len(figure["data"]) for figure in figures(at)) <= 2 * (model.gpt.config.n_heads + 1)
