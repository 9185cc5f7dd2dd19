"""Corpora to batches: what a document is, what a row may hold, and that a batch is a function of (seed, step)."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptviz.data import DataError, Mixture, Source, read_documents, tokenize
from gptviz.tokenizer import Tokenizer

END = 9999  # the end-of-text token of these tests; ordinary ids are below it
CONTEXT = 32


def corpus(first: int, documents: int, length: int) -> np.ndarray:
    """Documents whose ids count on, so that a row tells where it comes from."""
    ids = np.arange(first, first + documents * length, dtype=np.uint16).reshape(documents, length)
    ends = np.full((documents, 1), END, dtype=np.uint16)
    return np.append(np.hstack([ends, ids]).ravel(), np.uint16(END))


def mixture(sources: list[Source] | None = None, **changes: object) -> Mixture:
    """Two corpora of ids that do not meet, 0 to 1999 and 3000 to 4999, unless told otherwise."""
    sources = sources or [Source("a", corpus(0, 50, 40), 0.75), Source("b", corpus(3000, 20, 100), 0.25)]
    rules = {"repeats": [(0, 0.0)], "context": CONTEXT, "batch": 16, "seed": 3, "end_of_text": END}
    return Mixture(sources, **(rules | changes))


# Batches


def test_a_batch_depends_on_seed_and_step_only() -> None:
    first = mixture(repeats=[(0, 0.2)])
    expected = {step: first.batch(step) for step in range(5)}
    again = mixture(repeats=[(0, 0.2)])
    for step in (4, 0, 2, 4, 1, 3):
        np.random.seed(step)  # the global generator must not matter
        for ours, right in zip(again.batch(step), expected[step], strict=True):
            assert np.array_equal(ours, right)


def test_other_steps_and_seeds_give_other_batches() -> None:
    batches = [mixture(seed=seed).batch(step)[0].tobytes() for seed in range(4) for step in range(8)]
    assert len(set(batches)) == len(batches)


def test_a_batch_has_the_shape_it_promises() -> None:
    for array in mixture(repeats=[(0, 0.3)]).batch(0):
        assert array.shape == (16, CONTEXT)
        assert array.dtype == np.int64


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2**31))
def test_rows_are_pieces_of_one_corpus_and_targets_are_the_next_tokens(step: int, seed: int) -> None:
    m = mixture(seed=seed)
    texts = [source.tokens.tobytes() for source in m.sources]
    for inputs, targets in zip(*m.batch(step), strict=True):
        assert np.array_equal(inputs[1:], targets[:-1])
        row = np.append(inputs, targets[-1]).astype(np.uint16).tobytes()
        assert sum(row in text for text in texts) == 1


def test_sources_and_repeats_get_their_shares() -> None:
    m = mixture(repeats=[(0, 1.0)], batch=400)  # shares 0.75, 0.25 and 1: three eighths, one eighth, a half
    kinds = []
    for step in range(5):
        for inputs, targets in zip(*m.batch(step), strict=True):
            ids = inputs[inputs != END]
            kinds.append(2 if targets[0] == -1 else int(ids.min() >= 3000))
    shares = np.bincount(kinds, minlength=3) / len(kinds)
    np.testing.assert_allclose(shares, [0.375, 0.125, 0.5], atol=0.04)


def test_many_rows_begin_with_their_document() -> None:
    # Of 101 places in a document, 32 are near enough to its beginning; half of these rows go back to it, and 1 of
    # 101 begins there anyway.
    expected = 0.5 * 32 / 101 + 0.5 / 101
    m = mixture([Source("b", corpus(0, 50, 100), 1.0)], batch=500)
    begins = np.concatenate([m.batch(step)[0][:, 0] == END for step in range(8)])
    assert begins.mean() == pytest.approx(expected, abs=0.02)


def test_every_place_of_a_corpus_is_reached() -> None:
    m = mixture([Source("a", corpus(0, 5, 20), 1.0)], batch=200)
    seen = {int(i) for step in range(20) for i in m.batch(step)[0][:, 0]}
    assert seen >= set(range(5 * 20 + 2 - CONTEXT))


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([16, 17, 32, 50]))
def test_a_repeated_row_repeats_and_only_the_repetition_is_a_target(seed: int, context: int) -> None:
    m = mixture([Source("a", corpus(0, 50, 40), 0.0)], repeats=[(0, 1.0)], context=context, seed=seed)
    for inputs, targets in zip(*m.batch(0), strict=True):
        row = np.append(inputs, targets[-1])
        periods = [p for p in range(4, context // 2 + 1) if np.array_equal(row[p:], row[:-p])]
        assert periods, "no period from 4 to half the context fits this row"
        period = periods[0]
        assert row.min() >= 0
        assert row.max() < END
        assert (targets[:period] == -1).all()  # where the sequence begins again cannot be known either
        assert np.array_equal(targets[period:], row[period + 1 :])
        assert len(set(row[:period].tolist())) > period // 2


def test_a_corpus_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="tales: expected more than 33 tokens, found 33"):
        mixture([Source("tales", np.full(33, END, dtype=np.uint16), 1.0)])


def test_the_shortest_corpus_that_is_accepted_gives_batches() -> None:
    m = mixture([Source("tales", np.full(34, END, dtype=np.uint16), 1.0)])
    for step in range(50):
        assert m.batch(step)[0].shape == (16, CONTEXT)


def test_a_corpus_that_does_not_begin_with_a_document_is_refused() -> None:
    with pytest.raises(DataError, match="tales: expected the token 9999 first, found 0"):
        mixture([Source("tales", np.arange(100, dtype=np.uint16), 1.0)])


def test_a_context_too_short_to_repeat_anything_is_refused() -> None:
    with pytest.raises(DataError, match="need a context of 16 or more, found 8"):
        mixture(context=8, repeats=[(0, 0.1)])
    assert mixture(context=8).batch(0)[0].shape == (16, 8)


# Documents


RECORDS = [
    {"text": "My dog has fleas", "split": "train"},
    {"text": "好的 \N{SNOWMAN}\nsecond line", "split": "valid"},
    {"text": "no split at all"},
]


@pytest.mark.parametrize("name", ["tales.jsonl", "tales.jsonl.xz"])
def test_records_are_read_and_chosen_by_split(tmp_path: Path, name: str) -> None:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()
    path = tmp_path / name
    path.write_bytes(lzma.compress(lines) if name.endswith("xz") else lines)
    assert list(read_documents(path)) == [record["text"] for record in RECORDS]
    assert list(read_documents(path, "valid")) == [RECORDS[1]["text"]]
    assert list(read_documents(path, "test")) == []


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "tales.txt"
    path.write_text("one\n\ntwo\n", encoding="utf-8")
    assert list(read_documents(path)) == ["one\n\ntwo\n"]


@pytest.mark.parametrize("line", ["{", "[]", '"text"', "{}", '{"story": "x"}', "null", "7"])
def test_a_damaged_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tales.jsonl"
    path.write_text(json.dumps(RECORDS[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"tales\.jsonl, line 2: expected a JSON object with a field text"):
        list(read_documents(path))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a \.txt, \.jsonl or \.jsonl\.xz file, found tales\.csv"):
        list(read_documents(tmp_path / "tales.csv"))


def test_documents_are_framed_by_end_of_text(tiny_tokenizer: Tokenizer) -> None:
    end, encode = tiny_tokenizer.end_of_text, tiny_tokenizer.encode
    tokens = tokenize(["My dog", "  has fleas\n", ""], tiny_tokenizer)
    assert tokens.dtype == np.uint16
    assert tokens.tolist() == [end, *encode("My dog"), end, *encode("has fleas"), end, end]
    assert tokenize([], tiny_tokenizer).tolist() == [end]


def test_a_document_that_names_the_end_of_text_does_not_end(tiny_tokenizer: Tokenizer) -> None:
    tokens = tokenize(["a <|endoftext|> b"], tiny_tokenizer)
    assert (tokens == tiny_tokenizer.end_of_text).sum() == 2


def test_the_share_of_repeats_changes_from_the_named_step_on() -> None:
    m = mixture(repeats=[(0, 0.0), (5, 1.0)])
    assert m.shares(4)[-1] == 0.0
    assert m.shares(5)[-1] == pytest.approx(0.5)  # the sources have 1 in all
