"""Masked against unmasked: the numbers, checked against loops, NumPy written out, PyTorch and properties."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gptviz
from gptviz.analysis import masking

SENTENCES = ["My dog has fleas", "a", "Tom", "the cat", "<img src=x> $x$ **b** \n\t :smile:", "once upon a time " * 20]


def both(model, text):
    """The causal trace and the unmasked one."""
    return gptviz.trace(model, text), gptviz.trace(model, text, causal=False)


def rows(t: int, heads: int = 1):
    """Attention-like arrays (heads, t, t): positive, rows sum to 1."""
    cell = st.floats(0.001, 1.0)
    return hnp.arrays(np.float64, (heads, t, t), elements=cell).map(lambda a: a / a.sum(-1, keepdims=True))


square = st.integers(1, 9).flatmap(rows)
scores = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 30)), elements=st.floats(-60, 60))


@settings(deadline=None)
@given(square)
def test_future_share_is_the_sum_right_of_the_diagonal(weights):
    t = weights.shape[-1]
    expected = [[sum(weights[h, i, j] for j in range(t) if j > i) for i in range(t)] for h in range(len(weights))]
    np.testing.assert_allclose(masking.future_share(weights), expected, atol=1e-12)
    assert (masking.future_share(weights)[:, -1] == 0).all()
    assert (masking.future_share(np.tril(weights)) == 0).all()


@pytest.mark.parametrize("t", [2, 3, 10, 257])
def test_even_attention_puts_exactly_half_on_the_future(t):
    even = np.full((2, 3, t, t), 1 / t)
    np.testing.assert_allclose(masking.mean_over_queries(masking.future_share(even)), np.full((2, 3), 0.5), atol=1e-12)


def test_a_single_token_has_no_future_to_move_to():
    moved = masking.mean_over_queries(masking.future_share(np.ones((2, 3, 1, 1))))
    assert moved.shape == (2, 3) and (moved == 0).all()


def test_the_last_query_does_not_dilute_the_mean():
    weights = np.array([[0.0, 1.0], [0.5, 0.5]])
    assert masking.mean_over_queries(masking.future_share(weights)) == 1.0


@settings(deadline=None)
@given(square, st.data())
def test_difference_adds_up_to_nothing_and_is_exact(weights, data):
    other = data.draw(rows(weights.shape[-1]))
    change = masking.difference(weights.astype(np.float32), other.astype(np.float32))
    assert change.dtype == np.float64
    np.testing.assert_allclose(change.sum(-1), 0, atol=1e-5)
    np.testing.assert_allclose(weights + change, other, atol=1e-6)


@settings(deadline=None)
@given(square)
def test_only_past_is_a_causal_distribution_in_the_same_proportions(weights):
    past = masking.only_past(weights)
    np.testing.assert_allclose(past.sum(-1), 1, atol=1e-9)
    assert (np.triu(past, 1) == 0).all()
    for i in range(weights.shape[-1]):
        np.testing.assert_allclose(past[0, i, : i + 1] * weights[0, i, 0], weights[0, i, : i + 1] * past[0, i, 0])


def test_only_past_leaves_a_row_without_any_past_at_zero():
    assert masking.only_past(np.array([[0.0, 1.0], [0.25, 0.75]])).tolist() == [[0, 0], [0.25, 0.75]]


@settings(deadline=None)
@given(square)
def test_rearranged_is_zero_for_masked_softmax_of_the_same_scores(scores_like):
    odds = np.exp(3 * scores_like)
    unmasked = odds / odds.sum(-1, keepdims=True)
    masked = np.tril(odds) / np.tril(odds).sum(-1, keepdims=True)
    np.testing.assert_allclose(masking.rearranged(masked, unmasked), 0, atol=1e-12)


def test_rearranged_by_hand():
    masked = np.array([[1.0, 0.0, 0.0], [0.2, 0.8, 0.0], [0.1, 0.2, 0.7]])
    unmasked = np.array([[0.1, 0.9, 0.0], [0.3, 0.3, 0.4], [0.7, 0.2, 0.1]])
    np.testing.assert_allclose(masking.rearranged(masked, unmasked), [0, 0.3, 0.6])


@settings(deadline=None)
@given(scores)
def test_log_probabilities_agree_with_torch_in_float64(logits):
    expected = torch.log_softmax(torch.from_numpy(logits), dim=-1).numpy()
    np.testing.assert_allclose(masking.log_probabilities(logits), expected, atol=1e-9)


def test_log_probabilities_are_float64_and_survive_huge_logits():
    found = masking.log_probabilities(np.array([1e30, -1e30, 0.0], dtype=np.float32))
    assert found.dtype == np.float64 and found[0] == 0 and np.isfinite(found).all()


@settings(deadline=None)
@given(scores, st.data())
def test_divergence_agrees_with_a_loop_and_is_never_negative(logits, data):
    other = data.draw(hnp.arrays(np.float64, logits.shape, elements=st.floats(-60, 60)))
    log_p, log_q = masking.log_probabilities(logits), masking.log_probabilities(other)
    found = masking.divergence_bits(log_p, log_q)
    for row in range(len(logits)):
        p, q = np.exp(log_p[row]), np.exp(log_q[row])
        by_hand = math.fsum(a * (math.log2(a) - math.log2(b)) for a, b in zip(p, q, strict=True))
        assert found[row] == pytest.approx(max(by_hand, 0), abs=1e-9, rel=1e-9)
    assert (found >= 0).all()
    np.testing.assert_array_equal(masking.divergence_bits(log_p, log_p), 0)


def test_divergence_has_a_direction():
    sure, even = np.log([0.999, 0.001]), np.log([0.5, 0.5])
    assert masking.divergence_bits(sure, even) == pytest.approx(1 - 0.011408, abs=1e-5)  # 1 bit less the entropy
    assert masking.divergence_bits(even, sure) > 2 * masking.divergence_bits(sure, even)


def test_divergence_where_a_probability_underflows():
    log_p = masking.log_probabilities(np.array([0.0, -2000.0]))
    assert masking.divergence_bits(log_p, np.log([0.5, 0.5])) == pytest.approx(1.0)


@pytest.mark.parametrize("t", [1, 2, masking.CHUNK, masking.CHUNK + 1, 3 * masking.CHUNK - 1])
def test_predictions_in_chunks_are_those_of_one_piece(t):
    rng = np.random.default_rng(t)
    masked, unmasked = rng.normal(0, 3, (2, t, 17)).astype(np.float32)
    ids = tuple(rng.integers(0, 17, t).tolist())
    divergence, *surprises = masking.compare_predictions(masked, unmasked, ids)
    assert divergence.shape == (t,) and [len(s) for s in surprises] == [t - 1, t - 1]
    p, q = (torch.from_numpy(a).double().log_softmax(-1) for a in (masked, unmasked))
    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1) / math.log(2)
    np.testing.assert_allclose(divergence, expected, atol=1e-9)
    for logits, found in zip((p, q), surprises, strict=True):
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:], dtype=torch.long), reduction="none")
        np.testing.assert_allclose(found, loss / math.log(2), atol=1e-9)


@settings(deadline=None)
@given(hnp.arrays(np.float64, (2, 23), elements=st.floats(-20, 20)), st.integers(1, 30))
def test_largest_changes_against_a_sorted_list(logits, n):
    p, q = (np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in logits)
    table = masking.largest_changes(*logits, n)
    assert len(table) == min(n, 23)
    assert table["id"].is_unique
    np.testing.assert_allclose(table["change"].abs(), sorted(np.abs(q - p), reverse=True)[:n], atol=1e-12)
    for row in table.itertuples():
        assert row.masked == pytest.approx(p[row.id]) and row.unmasked == pytest.approx(q[row.id])
        assert row.change == pytest.approx(row.unmasked - row.masked)
        assert 1 <= row.rank_masked <= 23 and 1 <= row.rank_unmasked <= 23
    whole = masking.largest_changes(*logits, 23)
    assert whole["masked"].sum() == pytest.approx(1) and whole["change"].sum() == pytest.approx(0, abs=1e-12)
    assert masking.probability_moved(*logits) == pytest.approx(whole["change"].clip(lower=0).sum())


def test_ranks_count_the_likelier_tokens():
    table = masking.largest_changes(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0]), 3).set_index("id")
    assert table["rank_masked"].to_dict() == {0: 1, 1: 2, 2: 3}
    assert table["rank_unmasked"].to_dict() == {0: 3, 1: 2, 2: 1}


@pytest.mark.parametrize("text", SENTENCES)
def test_layer_zero_only_loses_a_share_to_the_future(tiny_model, tiny_pre_norm, text):
    """Both passes begin with the same vectors, so the masked row is the unmasked one cut off and rescaled."""
    for model in (tiny_model, tiny_pre_norm):
        masked, unmasked = both(model, text)
        np.testing.assert_allclose(masking.only_past(unmasked.weights[0]), masked.weights[0], atol=1e-5)
        np.testing.assert_allclose(masked.weights[0, :, -1], unmasked.weights[0, :, -1], atol=1e-6)
        np.testing.assert_allclose(masked.residual[1, -1], unmasked.residual[1, -1], atol=1e-4)


def test_the_last_row_differs_from_layer_one_on(tiny_model):
    masked, unmasked = both(tiny_model, "My dog has fleas")
    assert np.abs(masked.weights[1, :, -1] - unmasked.weights[1, :, -1]).max() > 1e-3
    assert np.abs(masked.logits[-1] - unmasked.logits[-1]).max() > 1e-2


@pytest.mark.parametrize("text", SENTENCES)
def test_compare_against_an_independent_computation(tiny_model, text):
    masked, unmasked = both(tiny_model, text)
    found = masking.compare(masked, unmasked)
    t = len(masked.ids)
    assert found.moved.shape == (3, 4) and found.future.shape == (3, 4, t)
    assert found.divergence.shape == (t,) and found.surprise_masked.shape == found.surprise_unmasked.shape == (t - 1,)
    assert ((found.future >= 0) & (found.future <= 1 + 1e-6)).all()
    p, q = (torch.from_numpy(trace.logits.copy()).double().softmax(-1).numpy() for trace in (masked, unmasked))
    np.testing.assert_allclose(found.divergence, (p * np.log2(p / q)).sum(-1), atol=1e-6)
    for position in range(t - 1):
        came = masked.ids[position + 1]
        assert found.surprise_masked[position] == pytest.approx(-math.log2(p[position, came]), abs=1e-6)
        assert found.surprise_unmasked[position] == pytest.approx(-math.log2(q[position, came]), abs=1e-6)


def test_masked_surprise_is_the_training_loss(tiny_model):
    masked, unmasked = both(tiny_model, "Tom and Lily went to the big red house .")
    ids = torch.tensor([masked.ids])
    loss = float(tiny_model.gpt.loss(ids[:, :-1], ids[:, 1:]))  # nats, by the fast path
    found = masking.compare(masked, unmasked).surprise_masked.mean() * math.log(2)
    assert found == pytest.approx(loss, abs=1e-4)


def test_one_token_is_the_same_with_and_without_a_mask(tiny_model):
    found = masking.compare(*both(tiny_model, "a"))
    assert (found.moved == 0).all() and (found.divergence == 0).all() and len(found.surprise_masked) == 0
    assert (found.rearranged == 0).all()


def moved_in_the_past(masked, unmasked, layer, head):
    """Mean over the queries of half the difference between the rows, the unmasked one without its future."""
    total = 0.0
    for i, (before, after) in enumerate(zip(masked.weights[layer, head], unmasked.weights[layer, head], strict=True)):
        past = after[: i + 1].astype(float)
        total += abs(past / past.sum() - before[: i + 1]).sum() / 2
    return total / len(masked.ids)


def test_heads_table_names_every_head_and_its_strongest_query(tiny_model):
    masked, unmasked = both(tiny_model, "My dog has fleas")
    table = masking.heads_table(masking.compare(masked, unmasked))
    assert table["head"].tolist() == [f"{layer}.{head}" for layer in range(3) for head in range(4)]
    for line, (layer, head) in zip(table.itertuples(), np.ndindex(3, 4), strict=True):
        share = [row[i + 1 :].sum() for i, row in enumerate(unmasked.weights[layer, head])]
        assert line.layer == layer and line.moved == pytest.approx(np.mean(share[:-1]), abs=1e-6)
        assert line.rearranged == pytest.approx(moved_in_the_past(masked, unmasked, layer, head), abs=1e-6)
        assert line.most == pytest.approx(max(share), abs=1e-6) == pytest.approx(share[line.at], abs=1e-6)
    assert (table["rearranged"][:4] < 1e-5).all() and (table["rearranged"][4:] > 1e-3).all()


def test_compare_refuses_what_it_cannot_compare(tiny_model):
    masked, unmasked = both(tiny_model, "My dog")
    with pytest.raises(ValueError, match="expected a causal trace"):
        masking.compare(unmasked, masked)
    with pytest.raises(ValueError, match="expected a causal trace"):
        masking.compare(masked, masked)
    with pytest.raises(ValueError, match="two traces of one sentence"):
        masking.compare(masked, gptviz.trace(tiny_model, "My dogs and cats", causal=False))


def test_a_comparison_is_frozen_and_keeps_no_attention(tiny_model):
    """It is kept for every sentence: what grows with the square of the length must not be in it."""
    found = masking.compare(*both(tiny_model, "My dog has fleas"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.moved = None
    assert all(value.ndim <= 3 for value in vars(found).values())
