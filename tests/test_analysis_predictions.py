"""The numbers of the next-token page, against plain loops in NumPy and Python's own fractions of a logarithm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gptviz import sampling
from gptviz.analysis import predictions
from gptviz.checkpoint import LanguageModel

LOGITS = arrays(np.float32, st.integers(1, 40), elements=st.floats(-60, 60, width=32))


def slow_softmax(logits: np.ndarray) -> list[float]:
    """One row, one number at a time, in Python's floats."""
    largest = max(float(x) for x in logits)
    parts = [math.exp(float(x) - largest) for x in logits]
    return [part / math.fsum(parts) for part in parts]


@given(LOGITS)
def test_probabilities_are_the_softmax_of_all_logits_in_float64(logits: np.ndarray) -> None:
    p = predictions.probabilities(logits)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p, slow_softmax(logits), rtol=1e-12)
    assert abs(math.fsum(p) - 1) < 1e-12


def test_probabilities_survive_logits_that_would_overflow() -> None:
    p = predictions.probabilities(np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(p, [[0.5, 0.5, 0.0], [1 / 3] * 3], rtol=1e-12)


@given(LOGITS)
def test_entropy_lies_between_sure_and_all_alike(logits: np.ndarray) -> None:
    p = predictions.probabilities(logits)
    expected = -math.fsum(x * math.log2(x) for x in p if x > 0)
    assert predictions.entropy_bits(p) == pytest.approx(expected, abs=1e-9)
    assert 0 <= predictions.entropy_bits(p) <= math.log2(len(p)) + 1e-9


def test_entropy_of_known_distributions() -> None:
    p = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.5, 0.25, 0.125, 0.125]])
    np.testing.assert_allclose(predictions.entropy_bits(p), [0, 1, 2, 1.75], atol=1e-15)


@given(LOGITS, st.data())
def test_rank_is_one_more_than_the_number_of_larger_values(logits: np.ndarray, data: st.DataObject) -> None:
    token = data.draw(st.integers(0, len(logits) - 1))
    assert predictions.ranks(logits[None], [token])[0] == 1 + sum(x > logits[token] for x in logits)


@given(LOGITS, st.integers(0, 50))
def test_top_and_rest_are_the_whole_distribution(logits: np.ndarray, n: int) -> None:
    p = predictions.probabilities(logits)
    top = predictions.top(p, n)
    by_hand = sorted(range(len(p)), key=lambda i: (-p[i], i))[:n]
    assert top.ids.tolist() == by_hand
    np.testing.assert_array_equal(top.probabilities, p[by_hand])
    assert len(top.ids) + top.others == len(p)
    assert top.probabilities.sum() + top.rest == pytest.approx(1, abs=1e-12)


def test_reading_a_sentence_equals_a_plain_loop(tiny_model: LanguageModel) -> None:
    ids, _ = tiny_model.encode("My dog has fleas and the cat said it was a happy day. " * 2)
    logits = tiny_model.gpt.trace(ids[:64]).logits  # more rows than one chunk would hold if chunks were small
    frame = predictions.read_sentence(logits, ids[:64])
    assert len(frame) == len(logits) + 1
    for t in range(1, len(logits)):
        p = slow_softmax(logits[t - 1])
        own = p[ids[t]]
        row = frame.iloc[t]
        assert row["id"] == ids[t]
        assert row["probability"] == pytest.approx(own, rel=1e-9)
        assert row["rank"] == 1 + sum(x > own for x in p)
        assert row["surprise"] == pytest.approx(-math.log2(own), rel=1e-9)
        assert row["entropy"] == pytest.approx(-math.fsum(x * math.log2(x) for x in p), rel=1e-9)


@settings(max_examples=20)
@given(st.integers(1, 9))
def test_chunks_do_not_show(chunk: int) -> None:
    rng = np.random.default_rng(3)
    logits, ids = rng.normal(size=(20, 11)), rng.integers(0, 11, size=20).tolist()
    whole = predictions.read_sentence(logits, ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "CHUNK", chunk)
        assert whole.equals(predictions.read_sentence(logits, ids))


def test_the_ends_of_a_sentence_have_no_invented_numbers() -> None:
    frame = predictions.read_sentence(np.zeros((1, 4)), [2])
    first, last = frame.iloc[0], frame.iloc[1]
    assert first["id"] == 2
    assert first[["probability", "rank", "surprise", "entropy"]].isna().all()
    assert last[["id", "probability", "rank", "surprise"]].isna().all()
    assert last["entropy"] == pytest.approx(2)


@pytest.mark.parametrize("ids", [[], [1], [1, 2, 3]])
def test_logits_that_are_not_of_this_sentence_are_refused(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="found 2 rows"):
        predictions.read_sentence(np.zeros((2, 4)), ids)


def test_chosen_rows_pick_the_position_before_or_the_token_itself(tiny_model: LanguageModel) -> None:
    ids, _ = tiny_model.encode("My dog has fleas")
    weights = tiny_model.gpt.trace(ids).weights  # (L, H, T, T)
    start = 2
    before = predictions.chosen_rows(weights, start, layer=1, head=3)
    np.testing.assert_array_equal(before, weights[1, 3, start - 1 : -1].astype(np.float64))
    own = predictions.chosen_rows(weights, start, layer=1, head=3, own=True)
    np.testing.assert_array_equal(own, weights[1, 3, start:].astype(np.float64))
    assert len(before) == len(own) == len(ids) - start
    # what a token was drawn from cannot have looked at it
    assert all(row[start + i] == 0 for i, row in enumerate(before))


@pytest.mark.parametrize("own", [False, True])
def test_chosen_rows_of_means_still_sum_to_1(tiny_model: LanguageModel, own: bool) -> None:
    weights = tiny_model.gpt.trace(tiny_model.encode("My dog has fleas")[0]).weights
    layer = predictions.chosen_rows(weights, 1, layer=2, own=own)
    everything = predictions.chosen_rows(weights, 1, own=own)
    rows = slice(1, None) if own else slice(0, -1)
    np.testing.assert_allclose(layer, sum(weights[2, h, rows].astype(np.float64) for h in range(4)) / 4, rtol=1e-12)
    np.testing.assert_allclose(everything, weights.astype(np.float64).reshape(-1, *layer.shape[1:2] * 2).mean(0)[rows])
    np.testing.assert_allclose(layer.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(everything.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("start", [0, -1, 4])
def test_a_first_token_was_drawn_from_nothing(start: int) -> None:
    with pytest.raises(ValueError, match="first position from 1 to 3"):
        predictions.chosen_rows(np.full((1, 1, 3, 3), 1 / 3), start)


def test_nothing_drawn_gives_no_rows() -> None:
    assert predictions.chosen_rows(np.full((2, 2, 3, 3), 1 / 3), 3).shape == (0, 3)
    assert predictions.chosen_rows(np.full((2, 2, 3, 3), 1 / 3), 3, own=True).shape == (0, 3)


@given(
    st.integers(1, 30).flatmap(
        lambda v: st.tuples(
            arrays(np.float64, v, elements=st.floats(-20, 20)), st.integers(0, v + 2), st.integers(0, v - 1)
        )
    )
)
def test_a_stack_cuts_every_stage_at_the_same_tokens(case: tuple[np.ndarray, int, int]) -> None:
    logits, n, drawn = case
    raw = predictions.probabilities(logits)
    half = np.where(raw >= np.median(raw), raw, 0)  # a stage that removes tokens
    cut = predictions.stack([raw, half], n, drawn)
    np.testing.assert_allclose(cut.widths.sum(axis=1), [raw.sum(), half.sum()], rtol=1e-12)
    np.testing.assert_array_equal(cut.counts.sum(axis=1), [len(raw), np.count_nonzero(half)])
    order = sorted(range(len(raw)), key=lambda i: (-raw[i], i))
    named = [i for i in cut.ids.tolist() if i >= 0]
    assert named == [i for place, i in enumerate(order) if place < n or i == drawn]
    for segment, token in enumerate(cut.ids.tolist()):
        if token >= 0:
            assert cut.widths[0, segment] == raw[token]
            before = order[: order.index(token)]
            assert cut.start(segment, stage=1) == pytest.approx(math.fsum(half[before]), abs=1e-12)


@settings(max_examples=50)
@given(
    arrays(np.float32, 25, elements=st.floats(-8, 8, width=32), unique=True),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.1, 3),
    st.one_of(st.none(), st.integers(1, 25)),
    st.one_of(st.none(), st.floats(0.05, 1)),
)
def test_the_drawn_token_lies_where_the_number_falls_on_the_last_bar(
    logits: np.ndarray, u: float, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    stages = sampling.funnel(logits, temperature, top_k, top_p)
    drawn = sampling.draw(stages.final, u)
    cut = predictions.stack([stages.raw, stages.tempered, stages.top_k, stages.top_p, stages.final], 4, drawn)
    segment = cut.ids.tolist().index(drawn)
    begin = cut.start(segment)
    assert begin - 1e-12 <= u <= begin + cut.widths[-1, segment] + 1e-12
    removed = [0, 0, stages.removed_top_k, stages.removed_top_k + stages.removed_top_p, 0]
    np.testing.assert_allclose(cut.widths.sum(axis=1) + removed, 1, atol=1e-12)
