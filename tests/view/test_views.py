"""The blobs of a view against the weights they were made of, and what cannot be shown refused with a remedy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gptviz
from gptviz import LanguageModel
from gptviz.view import AttentionView, TraceSource, ViewState, attention_view, from_codes
from gptviz.view.payload import DECODING_ERROR
from tests.view.samples import attention, future, pictures, window

HOSTILE = ["<img src=x onerror=alert(1)>", "**b** $x$ :smile:", "a\nb\t ", "x" * 200, "\ud800", "\u202e", ""]


def view_of(weights: np.ndarray, **rest: object) -> AttentionView:
    """A view whose tokens are numbers."""
    tokens = [str(i) for i in range(weights.shape[-2])]
    return attention_view(weights, tokens, **rest)


def test_the_overview_has_every_head_and_says_what_it_is() -> None:
    weights = attention(3, 4, 9, 9, causal=True)
    view = view_of(weights, masked=future(9), title="A title")
    header, codes = pictures(view.overview())
    assert header["id"] == view.id
    assert (header["kind"], header["v"], header["factor"], header["P"]) == ("overview", 1, 1, [9, 9])
    assert [header[name] for name in "LHTS"] == [3, 4, 9, 9]
    assert header["names"] == [f"{layer}.{head}" for layer in range(3) for head in range(4)]
    assert header["queries"] == [str(i) for i in range(9)]
    assert header["keys"] is None
    assert header["axes"] == ["query", "key"]
    assert header["title"] == "A title"
    assert header["errors"] == {}
    assert header["largest"] == pytest.approx(weights.max(), abs=1e-6)
    assert (codes[..., future(9)] == 0).all()
    assert (codes[..., ~future(9)] > 0).all()
    assert np.abs(from_codes(codes) - weights).max() <= DECODING_ERROR
    for name, values in header["heads"].items():
        assert len(values) == 12, name


def test_exact_windows_are_the_models_own_weights() -> None:
    weights = attention(2, 3, 7, 5)
    view = view_of(weights, keys=list("abcde"))
    for i, (q0, q1, k0, k1) in enumerate([(0, 7, 0, 5), (3, 4, 0, 5), (0, 7, 2, 3), (1, 6, 2, 5)]):
        header, found = window(view.exact(i, q0, q1, k0, k1))
        assert header == {"kind": "exact", "id": view.id, "i": i, "q0": q0, "q1": q1, "k0": k0, "k1": k1}
        np.testing.assert_array_equal(found, weights.reshape(6, 7, 5)[i, q0:q1, k0:k1])
    np.testing.assert_array_equal(window(view.exact(5))[1], weights[1, 2])


@pytest.mark.parametrize("t", [129, 300])
def test_a_long_text_is_pooled_and_its_brightest_cell_stays(t: int) -> None:
    weights = np.full((1, 2, t, t), 1e-4, dtype=np.float32)
    for query in range(t):
        weights[0, 0, query, (7 * query) % t] = 1 - 1e-4 * (t - 1)
        weights[0, 1, query, query] = 1 - 1e-4 * (t - 1)
    view = view_of(weights)
    header, codes = pictures(view.overview())
    factor = math.ceil(t / 128)
    assert header["factor"] == factor
    assert header["P"] == [math.ceil(t / factor)] * 2
    for query in range(t):
        key = (7 * query) % t
        assert codes[0, 0, query // factor, key // factor] == codes.max() > 240
    assert header["heads"]["kind"] == ["spread", "diagonal"]
    head, own = pictures(view.head(1))
    assert (head["kind"], head["id"], head["i"], head["factor"], own.shape) == ("head", view.id, 1, 1, (t, t))
    assert (own.argmax(axis=1) == np.arange(t)).all()


def test_one_head_of_a_very_long_text() -> None:
    weights = np.zeros((1, 1, 2050, 2050), dtype=np.float32)
    weights[..., 0] = 1
    weights[0, 0, 2049, 0], weights[0, 0, 2049, 2049] = 0.5, 0.5
    header, codes = pictures(view_of(weights).head(0))
    assert header["factor"] == 3
    assert codes.shape == (684, 684)
    assert codes[683, 683] == codes[683, 0] == 1 + round(253 * math.sqrt(0.5))


def test_a_long_view_is_the_same_with_a_mask_for_each_head() -> None:
    weights = attention(2, 2, 150, 150, causal=True)
    each = np.broadcast_to(future(150), weights.shape)
    once = view_of(weights, masked=future(150))
    for other in (each, each[0], each[:, :1], each[:1, :1]):
        view = view_of(weights, masked=other)
        assert view.overview() == once.overview()
        assert view.head(3) == once.head(3)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 1, 1), (3, 2, 2), (1, 1, 2, 2), (1, 5, 1, 1), (5, 1, 1, 1)])
def test_the_smallest_texts(shape: tuple) -> None:
    weights = attention(*shape, causal=True)
    view = view_of(weights, masked=future(shape[-1]))
    header, codes = pictures(view.overview())
    assert view.shape == (1,) * (4 - len(shape)) + shape
    assert codes.shape == view.shape
    assert header["errors"] == {}
    np.testing.assert_array_equal(window(view.exact(0))[1], weights.reshape(view.shape)[0, 0])
    assert all(value is None or None not in value for value in header["heads"].values())


def test_cross_attention_has_two_texts_and_no_diagonal() -> None:
    view = attention_view(attention(2, 2, 3, 5), ["a", "b", "c"], keys=["v", "w", "x", "y", "z"])
    header, _ = pictures(view.overview())
    assert header["keys"] == ["v", "w", "x", "y", "z"]
    assert header["heads"]["distance"] is header["heads"]["previous"] is header["heads"]["diagonal"] is None
    assert None not in header["heads"]["entropy"]
    same_length = attention_view(attention(1, 1, 2, 2), ["a", "b"], keys=["x", "y"])
    assert pictures(same_length.overview())[0]["heads"]["distance"] is None


def test_wrong_rows_are_errors_with_a_reason_and_other_heads_are_not() -> None:
    weights = attention(2, 2, 4, 4)
    weights[0, 1, 2] = np.nan
    weights[1, 0, 3] *= 0.7
    header, codes = pictures(view_of(weights).overview())
    assert header["errors"] == {"1": "row 2 has NaN at key 0", "2": "row 3 sums to 0.7, not 1"}
    assert [kind == "error" for kind in header["heads"]["kind"]] == [False, True, True, False]
    assert np.argwhere(codes == 255)[:, :3].tolist() == [[0, 1, 2]] * 4 + [[1, 0, 3]] * 4
    assert math.isfinite(header["largest"])
    assert np.isnan(window(view_of(weights).exact(1, 2, 3))[1]).all()


def test_weights_of_nothing_but_nan_still_make_a_view() -> None:
    header, codes = pictures(view_of(np.full((1, 2, 3, 3), np.nan)).overview())
    assert (codes == 255).all()
    assert header["heads"]["entropy"] == [None, None]
    assert header["largest"] == 0


def test_rows_that_need_not_sum_to_one_are_no_errors() -> None:
    weights = attention(1, 4, 5, 5).max(axis=1)
    assert pictures(view_of(weights).overview())[0]["errors"]
    header, codes = pictures(view_of(weights, rows_sum_to_one=False).overview())
    assert header["errors"] == {}
    assert header["rows_sum_to_one"] is False
    assert codes.max() < 255


def test_the_same_weights_come_in_many_forms() -> None:
    weights = attention(2, 3, 4, 4)
    expected = view_of(weights).overview()
    tensor = torch.tensor(weights, requires_grad=True)
    forms = [
        tensor, weights.astype(np.float64), weights.tolist(), list(tensor), tuple(layer[None] for layer in tensor),
        list(weights),
    ]  # fmt: skip
    for form in forms:
        assert attention_view(form, list("0123")).overview() == expected
    half = attention_view(tensor.bfloat16(), list("0123"), rows_sum_to_one=False)
    assert pictures(half.overview())[0]["largest"] == pytest.approx(weights.max(), rel=0.01)


def test_the_id_is_the_contents() -> None:
    for t in (4, 150):
        weights = attention(2, 2, t, t, causal=True)
        tokens = [str(i) for i in range(t)]
        once = attention_view(weights, tokens)
        assert attention_view(weights.copy(), tokens).id == once.id
        other = weights.copy()
        other[1, 1, 1, 0] += 1e-6  # seen in no code
        assert attention_view(other, tokens).id != once.id
        assert attention_view(weights, [*tokens[:-1], "other"]).id != once.id
        assert attention_view(weights, tokens, masked=future(t)).id != once.id


def test_the_id_of_weights_too_many_to_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptviz.view.views.HASHED_CELLS", 0)
    test_the_id_is_the_contents()


def test_tokens_are_literal_whatever_they_are() -> None:
    weights = attention(1, 1, 7, 7)
    header, _ = pictures(attention_view(weights, HOSTILE, title="<b>\n\ud800", names=["<i>\n"]).overview())
    assert header["queries"] == [
        "<img·src=x·onerror=alert(1)>", "**b**·$x$·:smile:", "a⏎b⇥·", "x" * 200, "\\ud800", "\\u202e", "∅",
    ]  # fmt: skip
    assert header["title"] == "<b>⏎\\ud800"
    assert header["names"] == ["<i>⏎"]
    header, _ = pictures(attention_view(attention(1, 1, 2, 2), [b"\xf0\x9f", "é".encode()]).overview())
    assert header["queries"] == ["\\xf0\\x9f", "é"]


def test_tokens_read_like_everywhere_else() -> None:
    from gptviz.figures import style
    from gptviz.view.text import visible

    for text in [*HOSTILE, "\u0301x", "שלום", "👩‍👩‍👧", "\x00\x7f\xad\u2028", " a"]:
        assert visible(text) == style.visible(text)


@pytest.mark.parametrize(
    ("weights", "rest", "error", "words"),
    [
        (np.zeros(3), {}, ValueError, r"expected weights \(L, H, T, S\), .* found \(3,\); choose one text"),
        (np.zeros((2, 1, 1, 3, 3)), {}, ValueError, "choose one text of a batch"),
        ([np.zeros((2, 1, 3, 3))], {}, ValueError, r"found \(2, 1, 3, 3\); choose one text"),
        ([np.zeros((1, 3, 3)), np.zeros((1, 4, 4))], {}, ValueError, "expected every layer of one shape"),
        (np.zeros((0, 1, 3, 3)), {}, ValueError, "expected at least one layer, head, query and key"),
        (np.zeros((1, 0, 3, 3)), {}, ValueError, "expected at least one layer, head, query and key"),
        ([["a"]], {}, TypeError, "expected weights as numbers"),
        (np.zeros((3, 4)), {}, ValueError, "expected as many keys as queries, found 4 and 3; pass keys="),
        (np.zeros((4, 4)), {}, ValueError, "expected 4 tokens, .* found 3"),
        (np.zeros((3, 4)), {"keys": ["a"]}, ValueError, "expected 4 keys, .* found 1"),
        (np.zeros((3, 3)), {"names": ["a", "b"]}, ValueError, "expected 1 names, one a head, found 2"),
        (np.zeros((3, 3)), {"masked": np.zeros((4, 4), bool)}, ValueError, r"expected a mask .* found \(4, 4\)"),
        (np.zeros((3, 3)), {"masked": np.zeros((2, 3, 3), bool)}, ValueError, r"expected a mask .* found \(2, 3, 3\)"),
        (np.zeros((3, 3)), {"masked": np.zeros((3, 3))}, TypeError, "expected a mask of True and False"),
    ],
)
def test_what_does_not_belong_together_is_refused(weights: object, rest: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        attention_view(weights, ["a", "b", "c"], **rest)


@pytest.mark.parametrize("tokens", ["abc", b"abc", [1, 2, 3]])
def test_tokens_that_are_no_list_of_texts_are_refused(tokens: object) -> None:
    with pytest.raises(TypeError, match="expected"):
        attention_view(np.eye(3), tokens)


@pytest.mark.parametrize("asked", [(-1,), (4,), (0, 0, 0), (0, 2, 1), (0, 0, 200), (0, 0, 1, -1), (0, 0, 129, 0, 2)])
def test_heads_and_windows_that_are_not_there_are_refused(asked: tuple) -> None:
    view = view_of(np.full((1, 4, 150, 150), 1 / 150))
    with pytest.raises(ValueError, match="expected"):
        view.exact(*asked)
    if asked[0] != 0:
        with pytest.raises(ValueError, match="expected a head from 0 to 3"):
            view.head(asked[0])


def test_a_trace_is_its_own_source(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, "My dog has fleas")
    view = attention_view(TraceSource(trace), trace.tokens)
    expected = attention_view(trace.weights, trace.tokens, masked=np.isneginf(trace.masked[0, 0]))
    assert view.overview() == expected.overview()
    assert view.exact(7) == expected.exact(7)
    free = gptviz.trace(tiny_model, "My dog has fleas", causal=False)
    assert not TraceSource(free).mask().any()


def test_a_trace_as_source_holds_two_layers_and_asks_once_for_each() -> None:
    class Attention:
        q = np.zeros((1, 2, 3, 4))
        k = np.zeros((1, 2, 3, 4))

    class Block:
        attention = Attention

    class LongTrace:
        blocks = (Block,) * 3
        asked: list[int] = []  # noqa: RUF012

        def layer_weights(self, layer: int) -> np.ndarray:
            self.asked.append(layer)
            return np.full((2, 3, 3), layer, dtype=np.float32)

    source = TraceSource(LongTrace())
    assert source.shape == (3, 2, 3, 3)
    assert [source.layer(i)[0, 0, 0] for i in (0, 1, 0, 2, 0, 1)] == [0, 1, 0, 2, 0, 1]
    assert LongTrace.asked == [0, 1, 2, 1]
    assert len(source.kept) == 2


def test_a_view_says_what_it_is() -> None:
    view = view_of(attention(2, 3, 4, 4), title="fleas")
    assert repr(view) == "AttentionView('fleas', shape=(2, 3, 4, 4))"
    assert view.state == ViewState()
    assert gptviz.attention_view is attention_view


def test_layers_without_weights_say_how_to_get_them() -> None:
    with pytest.raises(ValueError, match=r"found None; .*output_attentions"):
        attention_view((None, None), ["a"])
