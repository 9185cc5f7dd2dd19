"""Bits per byte against a token-by-token count, the n-gram baseline against a dictionary, scores against loops."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gptviz
from gptviz.analysis.scores import induction_score, previous_token_score, repeat_score, repeats
from gptviz.evaluate import ByteNGram, bits_per_byte, evaluate, induction_scores
from tests.chatty import write_chatty
from tests.test_formats_nanogpt import write as write_nanogpt

STORIES = [
    "The fox dug a hole. The hole was deep, and the fox was glad.",
    "Mia had a red kite. She ran up the hill and let it go. It flew over the barn!",
    "One night the moon fell into the lake. A frog pushed it out again.",
]


def test_previous_token_score_counts_the_diagonal_below():
    weights = np.zeros((1, 2, 3, 3))
    weights[0, 0] = [[1, 0, 0], [1, 0, 0], [0, 1, 0]]  # always the token before
    weights[0, 1] = np.eye(3)  # always itself
    assert previous_token_score(weights).tolist() == [[1.0, 0.0]]


def test_repeats_are_the_places_after_the_last_earlier_occurrence():
    assert repeats([1, 2, 3, 1, 2]) == [(3, 1), (4, 2)]
    assert repeats([1, 2, 1, 3, 1]) == [(2, 1), (4, 3)]
    assert repeats([1, 1, 1, 2]) == []  # the token after the earlier one is the query itself
    assert repeats([]) == repeats([1, 2, 3]) == []


def test_repeat_score_is_the_induction_score_on_a_sequence_that_repeats_itself():
    weights = np.random.default_rng(0).random((2, 3, 14, 14)).astype(np.float32)
    expected = induction_score(weights, 7)
    np.testing.assert_allclose(repeat_score(weights, [5, 1, 2, 9, 4, 3, 8] * 2), expected, rtol=1e-6)
    assert np.isnan(repeat_score(weights, range(14))).all()


def test_induction_score_looks_one_after_the_earlier_occurrence():
    weights = np.zeros((1, 2, 6, 6))  # a b c a b c
    weights[0, 0, [3, 4, 5], [1, 2, 3]] = 1.0  # a looks at b, b at c, c at the second a
    weights[0, 1, [3, 4, 5], [0, 1, 2]] = 1.0  # each at its own earlier occurrence: no induction
    assert induction_score(weights, 3).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("period", [0, 1, 6, 7])
def test_induction_score_refuses_a_period_that_cannot_repeat(period):
    with pytest.raises(ValueError, match="expected a period from 2 to 5"):
        induction_score(np.zeros((1, 1, 6, 6)), period)


def test_previous_token_score_needs_two_tokens():
    with pytest.raises(ValueError, match="at least 2"):
        previous_token_score(np.ones((1, 1, 1, 1)))


def slow_bits_per_byte(model, documents: list[str]) -> float:
    """One forward per token, with as much context as the windows promise or more."""
    context = model.gpt.config.context
    bits = 0.0
    for text in documents:
        row = [model.tokenizer.end_of_text, *model.tokenizer.encode(text)]
        for i in range(1, len(row)):
            logits = model.gpt(torch.tensor([row[max(0, i - context) : i]]))[0, -1].double()
            bits -= float(logits.log_softmax(-1)[row[i]]) / math.log(2)
    return bits / sum(len(text.encode()) for text in documents)


def test_bits_per_byte_of_documents_within_the_context(tiny_model):
    documents = [text[: tiny_model.gpt.config.context // 2] for text in STORIES]
    assert bits_per_byte(tiny_model, documents) == pytest.approx(slow_bits_per_byte(tiny_model, documents), rel=1e-5)


def test_bits_per_byte_counts_every_token_of_a_long_document_once(tiny_model, monkeypatch):
    """With a model that gives every token the same chance, the windows must add up to exactly that."""
    text = " ".join(STORIES * 6)
    assert len(tiny_model.tokenizer.encode(text)) > 3 * tiny_model.gpt.config.context
    vocabulary = tiny_model.gpt.config.vocab_size
    monkeypatch.setattr(tiny_model.gpt, "forward", lambda ids: torch.zeros(*ids.shape, vocabulary))
    expected = len(tiny_model.tokenizer.encode(text)) * math.log2(vocabulary) / len(text.encode())
    assert bits_per_byte(tiny_model, [text]) == pytest.approx(expected, rel=1e-6)


def test_a_model_with_a_token_before_every_text_is_measured_behind_it(tmp_path):
    """In Llama's files the end of text is no place to begin from, and the token that begins is not part of the text."""
    model = gptviz.load(write_chatty(tmp_path / "chatty.gguf"), "cpu")
    documents = ["the dog runs over the hill", "a cat"]
    model.tokenizer.begin = (1,)
    bits = 0.0
    for text in documents:
        row = model.tokenizer.encode(text)
        assert row[0] == 1
        logits = model.gpt(torch.tensor([row[:-1]]))[0].double().log_softmax(-1)
        bits -= float(logits[range(len(row) - 1), row[1:]].sum()) / math.log(2)
    assert bits_per_byte(model, documents) == pytest.approx(bits / sum(map(len, documents)), rel=1e-5)


def test_induction_is_measured_on_ids_that_texts_are_made_of(tmp_path, monkeypatch):
    """The end of text is id 2 there: drawn below it, a random sequence would be of two special tokens."""
    model, seen = gptviz.load(write_chatty(tmp_path / "chatty.gguf"), "cpu"), set()
    trace = model.gpt.trace
    monkeypatch.setattr(type(model.gpt), "trace", lambda self, ids: seen.update(ids.tolist()) or trace(ids))
    assert np.isfinite(induction_scores(model)).all()
    assert len(seen) > 100 and not any(model.tokenizer.is_special(i) for i in seen)


def test_a_model_of_characters_is_measured_from_its_second_character(tmp_path):
    model = gptviz.load(write_nanogpt(tmp_path / "model"), "cpu")
    ids = model.tokenizer.encode("a bad hi!")
    logits = model.gpt(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)
    bits = -float(logits[range(len(ids) - 1), ids[1:]].sum()) / math.log(2)
    assert bits_per_byte(model, ["a bad hi!"]) == pytest.approx(bits / 8, rel=1e-5)
    assert np.isfinite(induction_scores(model)).all()


def slow_ngram_bits(training: bytes, text: bytes, order: int) -> float:
    """Witten-Bell with dictionaries, one byte at a time."""
    counts: dict[bytes, Counter[int]] = defaultdict(Counter)
    for n in range(1, order + 1):
        for i in range(len(training) - n + 1):
            counts[training[i : i + n - 1]][training[i + n - 1]] += 1
    bits = 0.0
    for i, byte in enumerate(text):
        p = 1 / 256
        for n in range(1, min(order, i + 1) + 1):
            followers = counts.get(text[i - n + 1 : i])
            if followers:
                p = (followers[byte] + len(followers) * p) / (followers.total() + len(followers))
        bits -= math.log2(p)
    return bits / len(text)


@given(st.binary(min_size=9, max_size=60), st.binary(min_size=6, max_size=40), st.integers(1, 5))
def test_ngram_equals_the_dictionary(training, text, order):
    training = bytes(byte % 5 for byte in training)  # few symbols, so that contexts come again
    text = bytes(byte % 6 for byte in text)
    expected = slow_ngram_bits(training, text, order)
    assert ByteNGram(training, order).bits_per_byte(text) == pytest.approx(expected, rel=1e-9)


def test_report_names_the_best_heads(tiny_model):
    report = evaluate(tiny_model, STORIES, STORIES)
    assert report.documents == 3
    assert report.bits_per_byte > 0 < report.xz_bits_per_byte
    config = tiny_model.gpt.config
    assert report.induction.shape == report.previous_token.shape == (config.n_layers, config.n_heads)
    text = "\n".join(report.lines())
    layer, head = np.unravel_index(report.induction.argmax(), report.induction.shape)
    assert f"{layer}.{head} at {report.induction.max():.3f}" in text


def test_induction_scores_are_reproducible(tiny_model):
    assert np.array_equal(induction_scores(tiny_model), induction_scores(tiny_model))
