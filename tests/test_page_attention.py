"""The attention page as a visitor meets it: what it draws is what the model computed, whatever was typed or linked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gptviz
from gptviz.analysis import heads
from gptviz.view import from_codes, unpack, unpack_codes
from tests.page_helpers import open_page, texts

LONG = "Once upon a time there was a little dog who had fleas and a cat who had none, and they lived by the sea. " * 3


def blobs(at: AppTest) -> dict[str, tuple[dict, memoryview]]:
    """What the attention view was given: kind of blob -> header and payload."""
    sent = [element.proto.bytes for element in at.get("bidi_component")]
    found = [unpack(blob) for blob in sent if blob]
    return {header["kind"]: (header, payload) for header, payload in found}


def overview(at: AppTest) -> tuple[dict, np.ndarray]:
    """Header and codes (N, P, P) of all heads."""
    header, payload = blobs(at)["overview"]
    return header, unpack_codes(header, payload)


def exact(at: AppTest) -> tuple[int, np.ndarray]:
    """The chosen head's number and its exact weights."""
    header, payload = blobs(at)["exact"]
    shape = header["q1"] - header["q0"], header["k1"] - header["k0"]
    return header["i"], np.frombuffer(payload, np.float32).reshape(shape)


def drawn(at: AppTest) -> dict:
    """What the view itself is told: the id of its data and its state."""
    (view,) = (e for e in at.get("bidi_component") if e.proto.component_name.endswith("gptviz_view"))
    return json.loads(view.proto.json)


def levels(at: AppTest) -> list[list[str]]:
    """The words of the low / med / high reading."""
    return json.loads(at.get("plotly_chart")[0].proto.spec)["data"][-1]["text"]


def table(at: AppTest) -> np.ndarray:
    return at.dataframe[0].value.to_numpy()


def trace_of(at: AppTest) -> gptviz.Trace:
    return gptviz.trace(gptviz.load("gpt-stories"), at.session_state["text"])


def fine(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


@pytest.fixture(scope="module")
def plain() -> AppTest:
    return fine(open_page("attention", layer=1, head=3))


def test_the_view_shows_the_models_own_weights(plain: AppTest) -> None:
    weights = trace_of(plain).weights  # (L, H, T, T)
    head, shown = exact(plain)
    n_heads = weights.shape[1]
    assert head == 1 * n_heads + 3
    np.testing.assert_array_equal(shown, weights[1, 3])
    np.testing.assert_array_equal(table(plain), weights[1, 3])
    header, codes = overview(plain)
    np.testing.assert_allclose(from_codes(codes), weights.reshape(codes.shape), atol=1 / 253)
    assert header["names"][head] == "1.3"
    assert header["queries"] == ["My", "·dog", "·has", "·f", "le", "as"]
    state = drawn(plain)["state"]
    assert (state["layer"], state["head"], state["mode"]) == (1, 3, "overview")


def test_masked_is_where_the_scores_say_so(plain: AppTest) -> None:
    _, codes = overview(plain)
    masked = np.isneginf(trace_of(plain).masked)
    np.testing.assert_array_equal(codes == 0, masked.reshape(codes.shape))
    assert masked.any()


@pytest.mark.parametrize("show", ["Heads", "Mean", "Rollout"])
@pytest.mark.parametrize("options", [{}, {"att_words": "true"}, {"att_over": "all layers"}, {"att_first": "true"}])
def test_every_row_on_the_page_sums_to_one(show: str, options: dict) -> None:
    text = "My dog has fleas, and  mine\nhas none. 🐕‍🦺"
    at = fine(open_page("attention", text=text, att_show=show, layer=2, **options))
    hidden = "att_first" in options  # then the first row looked at nothing else, and is empty
    for matrix in (table(at), exact(at)[1]):
        assert np.abs(np.nansum(matrix, axis=1) - 1)[hidden:].max() < 1e-5
    assert not overview(at)[0]["errors"]


def test_max_says_that_its_rows_do_not() -> None:
    at = fine(open_page("attention", att_show="Max", att_over="all layers"))
    np.testing.assert_array_equal(table(at), trace_of(at).weights.max(axis=(0, 1)))
    assert "rows do not sum to 1" in texts(at)
    header, codes = overview(at)
    assert header["names"] == ["Max over all heads"]
    assert not header["errors"] and (codes < 255).all()


def test_rollout_names_its_source_and_its_rule() -> None:
    at = fine(open_page("attention", att_show="Rollout", layer=2))
    np.testing.assert_allclose(table(at), heads.rollout(trace_of(at).weights[:3]))
    assert "Abnar and Zuidema 2020" in texts(at)
    assert "0.5 *A* + 0.5 *I*" in texts(at)
    assert "layers 0 to 2" in texts(at)


def test_the_page_says_which_head_finds_what_came_before() -> None:
    text = "qx vb zt rk pw qx vb zt rk"
    at = fine(open_page("attention", text=text))
    trace = trace_of(at)
    places = {}
    for place, token in enumerate(trace.ids):
        places.setdefault(token, []).append(place)
    pairs = [(later, first + 1) for first, later in (p[-2:] for p in places.values() if len(p) > 1)]
    means = np.mean([trace.weights[:, :, query, key] for query, key in pairs], axis=0)  # (L, H)
    layer, head = np.unravel_index(means.argmax(), means.shape)
    assert f"Here {len(pairs)} tokens come again, and head **{layer}.{head}**" in texts(at)
    assert f"**{means.max():.0%}**" in texts(at)
    assert "induction head" in texts(at)


def test_without_a_repeated_token_the_page_says_where_to_look(plain: AppTest) -> None:
    assert "No token comes again here." in texts(plain)
    assert "“The same letters twice”" in texts(plain)


def test_words_are_joined_and_the_rule_is_on_the_page() -> None:
    at = fine(open_page("attention", att_words="true"))
    header, codes = overview(at)
    assert header["queries"] == ["My", "·dog", "·has", "·fleas"]
    assert header["unit"] == "word"
    groups = heads.word_groups([b"My", b" dog", b" has", b" f", b"le", b"as"])
    expected = heads.join_words(trace_of(at).weights, groups)
    np.testing.assert_allclose(from_codes(codes), expected.reshape(codes.shape), atol=1 / 253)
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
    _, codes = overview(at)
    assert (codes[:, 0] == 0).all() and (codes[:, :, 0] == 0).all()  # drawn as empty, not as a weight of 0


def test_the_lecture_table() -> None:
    at = fine(open_page("attention", att_words="true", att_levels="true"))
    written = levels(at)
    assert len(written) == 4
    assert all(word in ("low", "med", "high") for i, row in enumerate(written) for word in row[: i + 1])
    at.slider(key="att_at_shown").set_value((0.0, 0.0)).run()
    assert all(word == "high" for i, row in enumerate(levels(fine(at))) for word in row[: i + 1])
    assert "**high** from 0:" in texts(at)


def test_thresholds_the_other_way_round_in_a_link_are_put_in_order() -> None:
    at = fine(open_page("attention", att_levels="true", att_at="0.9-0.1"))
    assert "**med** from 0.1, **high** from 0.9" in texts(at)


def test_a_link_opens_the_view_as_it_was() -> None:
    at = fine(open_page("attention", layer=1, head=2, view="sentence~s:sqrt~q:3-4"))
    state = drawn(at)["state"]
    assert (state["mode"], state["scale"], state["queries"]) == ("sentence", "sqrt", [3, 4])


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
    assert overview(at)[0]["names"] == ["Mean over the heads of layer 0"]
    labels = json.loads(at.get("plotly_chart")[0].proto.spec)["layout"]["xaxis"]["labelalias"].values()
    assert not any("<" in label for label in labels)
    said = texts(at)
    for harm in ("<img src=x", "<b>bold", "[a](b)", ":smile:", "$x$"):
        assert harm not in said


def test_one_token_has_one_cell() -> None:
    at = fine(open_page("attention", text="x"))
    assert table(at).tolist() == [[1.0]]
    at = fine(open_page("attention", text="x", att_first="true"))
    assert np.isnan(table(at)).all()


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_without_a_sentence_the_page_asks_for_one(text: str) -> None:
    at = open_page("attention")
    at.text_input(key="text").set_value(text).run()
    fine(at)
    assert "Type a sentence" in texts(at)
    assert not blobs(at)


def test_a_link_with_nonsense_opens_the_default_picture() -> None:
    nonsense = {"layer": 99, "head": "<b>", "att_show": "no", "att_over": "x", "view": "no~q:77~w:9-1", "att_at": "9"}
    at = fine(open_page("attention", **nonsense, att_words="maybe", att_levels="true"))
    state = drawn(at)["state"]
    assert (state["layer"], state["head"], state["mode"], state["queries"]) == (0, 0, "overview", [])


def test_a_shorter_sentence_forgets_tokens_that_are_gone() -> None:
    at = fine(open_page("attention", text="My dog has fleas and my cat has none", view="sentence~q:8"))
    assert drawn(at)["state"]["queries"] == [8]
    at.text_input(key="text").set_value("My dog").run()
    assert drawn(fine(at))["state"]["queries"] == []


def test_a_long_sentence_is_cut_to_the_context_and_drawn() -> None:
    at = fine(open_page("attention", text=LONG * 5))
    assert any("cut at the left" in warning.value for warning in at.warning)
    context = gptviz.load("gpt-stories").gpt.config.context
    assert table(at).shape == (context, context)
    assert np.abs(table(at).sum(axis=1) - 1).max() < 1e-5


def test_the_source_of_the_numbers_is_shown(plain: AppTest) -> None:
    assert not plain.code  # until it is asked for: to colour it takes a browser half a second
    at = open_page("attention")
    at.session_state["code_shown"] = True
    assert any("def rollout" in code.value for code in fine(at.run()).code)


def test_64_tokens_fit_in_a_small_message() -> None:
    """What is sent decides how fast the page answers; times are measured by the benchmark, on a quiet machine."""
    model = gptviz.load("gpt-stories")
    text = model.tokenizer.decode(model.tokenizer.encode(LONG)[:64])
    at = fine(open_page("attention", text=text))
    assert len(overview(at)[0]["queries"]) == 64
    assert sum(len(element.proto.bytes) for element in at.get("bidi_component")) < 100_000
