"""A translation step by step, against NumPy written out."""

from __future__ import annotations

import io

import numpy as np
import pytest

import gptviz
from gptviz.analysis import decoding
from gptviz.analysis.doubts import GUESSING, OWN_LANGUAGE, doubts, times_less
from tests.tiny import translator

SURE = np.array([0.9, 0.8, 0.9])
FOREIGN = np.full(4, 1e-4)  # what a German text's tokens get as English


def softmax(logits: np.ndarray) -> np.ndarray:
    """In extended precision."""
    powers = np.exp(logits.astype(np.longdouble) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_one_head_or_the_mean_of_a_layer() -> None:
    weights = gptviz.translate(translator(), "My dog has fleas").trace.cross_weights
    np.testing.assert_array_equal(decoding.of_heads(weights, 2, 1), weights[2, 1])
    mean = sum(head.astype(np.longdouble) for head in weights[1]) / len(weights[1])
    np.testing.assert_allclose(decoding.of_heads(weights, 1), mean.astype(float), rtol=1e-12)
    np.testing.assert_allclose(decoding.of_heads(weights, 1).sum(-1), 1, atol=1e-5)
    for layer, head in ((3, 0), (-1, 0), (0, 4), (0, -1)):
        with pytest.raises(ValueError, match="expected a layer under 3 and a head under 4"):
            decoding.of_heads(weights, layer, head)


@pytest.mark.parametrize("t", [1, 63, 64, 65, 130])  # around a chunk
def test_candidates_are_the_likeliest_of_the_whole_vocabulary(t: int) -> None:
    rng = np.random.default_rng(t)
    logits = (4 * rng.normal(size=(t, 300))).astype(np.float32)
    written = rng.integers(0, 300, t).tolist()
    found = decoding.candidates(logits, written, 5)
    p = softmax(logits)
    order = np.argsort(-p, axis=-1)[:, :5]
    np.testing.assert_array_equal(found.ids, order)
    np.testing.assert_allclose(found.probabilities, np.take_along_axis(p, order, -1).astype(float), rtol=1e-12)
    np.testing.assert_allclose(found.probabilities.sum(-1) + found.rest, 1, rtol=1e-12)
    np.testing.assert_allclose(found.written, p[np.arange(t), written].astype(float), rtol=1e-12)


def test_candidates_of_a_small_vocabulary_leave_no_rest() -> None:
    found = decoding.candidates(np.array([[1.0, 3.0]]), [0], 6)
    assert found.ids.tolist() == [[1, 0]]
    assert found.rest.tolist() == pytest.approx([0.0], abs=1e-15)
    with pytest.raises(ValueError, match="for each of 2 tokens, found 1"):
        decoding.candidates(np.zeros((1, 4)), [0, 1], 2)


def test_a_greedy_translation_is_the_first_candidate_of_every_step() -> None:
    result = gptviz.translate(translator(), "the cat and the red ball")
    found = decoding.candidates(result.trace.decoder.logits, result.ids, 6)
    assert found.ids[:, 0].tolist() == list(result.ids)
    np.testing.assert_allclose(found.written, result.probabilities, rtol=1e-4)


def test_the_mean_probability_is_geometric() -> None:
    assert decoding.mean_probability(np.array([0.5, 0.125])) == pytest.approx(0.25)
    assert decoding.mean_probability(np.array([0.0, 1.0])) < 1e-100
    result = gptviz.translate(translator(), "Tom")
    total = result.search.nodes[result.search.results[0]].total
    assert decoding.mean_probability(result.probabilities) == pytest.approx(np.exp(total / len(result.probabilities)))


def test_a_file_of_arrays_and_tokens_is_read_back_without_pickles() -> None:
    arrays = {"cross_weights": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)}
    with np.load(io.BytesIO(decoding.as_npz(arrays, {"tokens": ["·größe", "\\xd0"]}))) as file:
        np.testing.assert_array_equal(file["cross_weights"], arrays["cross_weights"])
        assert file["cross_weights"].dtype == np.float32
        assert file["tokens"].tolist() == ["·größe", "\\xd0"]


@pytest.mark.parametrize(
    ("text", "translation", "p", "stopped", "said"),
    [
        ("Größe, 7 Äpfel!", "Size, 7 apples!", SURE, "end", []),
        ("Tom?", "tom.", SURE, "end", ["wrote the sentence again"]),
        ("?! 123 🙂", "Why?", SURE, "end", ["no letter"]),
        ("Привет Tom", "Hello Tom", SURE, "end", ["6 of 9 letters"]),
        ("你好", "你好", SURE, "end", ["2 of 2 letters"]),
        ("e\u0301te\u0301", "summer", SURE, "end", []),  # combining marks are no letters of another script
        ("xq zk", "a b", SURE / 10, "end", ["mean probability of 8.7%"]),
        ("Ja.", "Yes.", np.full(4, GUESSING + 0.01), "end", []),
        ("Ja.", "Yes yes yes", SURE, "length", ["limit of 3 tokens"]),
        ("...", "x", SURE / 10, "length", ["no letter", "guessing", "limit"]),
    ],
)
def test_doubts(text: str, translation: str, p: np.ndarray, stopped: str, said: list[str]) -> None:
    found = list(doubts(text, translation, p, stopped, FOREIGN))
    assert len(found) == len(said), found
    for words, sentence in zip(said, found, strict=True):
        assert words in sentence


@pytest.mark.parametrize(
    ("text", "factor", "said"),
    [
        ("My dog has fleas", 50, "only 50.0 times less probable"),
        ("My dog has fleas", OWN_LANGUAGE - 1, "looks like English"),
        ("My dog has fleas", 0.5, "only 0.5 times"),
        ("Mein Hund hat Flöhe", OWN_LANGUAGE + 1, ""),
        ("Hallo Tom", 2, ""),  # two words may well be the same
    ],
)
def test_a_text_that_would_pass_for_its_own_translation_is_doubted(text: str, factor: float, said: str) -> None:
    sure = np.full(3, 0.8)
    as_itself = np.array([*sure / factor, 1e-9])  # whether a text could end there says nothing of its language
    assert times_less(sure, as_itself) == pytest.approx(factor)
    assert said in " ".join(doubts(text, "something else", sure, "end", as_itself))
    assert said or not list(doubts(text, "something else", sure, "end", as_itself))
