"""What is said of two models of one recipe, against answers worked out number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import twins
from gptviz.checkpoint import LanguageModel
from gptviz.runs.recording import Losses

TEXT = "My dog has fleas and so on"


def by_hand(logits: np.ndarray, token: int) -> float:
    """Log-probability of one token, from one row of logits."""
    return float(torch.from_numpy(logits.copy()).double().log_softmax(-1)[token])


def test_the_share_on_the_next_token_is_a_mean_over_those_that_have_one(tiny_model: LanguageModel) -> None:
    weights = gptviz.trace(tiny_model, TEXT, causal=False).weights
    t = weights.shape[-1]
    expected = [[np.mean([head[i][i + 1] for i in range(t - 1)]) for head in layer] for layer in weights]
    share = twins.next_share(weights)
    np.testing.assert_allclose(share, expected, atol=1e-7)
    layer, head = twins.largest(share)
    assert (layer, head) == np.unravel_index(np.argmax(expected), share.shape)
    assert not twins.next_share(gptviz.trace(tiny_model, TEXT).weights).any()  # the mask forbids it
    np.testing.assert_allclose(twins.next_share(np.full((1, 1, 5, 5), 1 / 5)), 1 / 5)
    assert twins.next_share(np.ones((2, 3, 1, 1))).tolist() == [[0, 0, 0], [0, 0, 0]]
    table = twins.heads_table(np.zeros_like(share), share)
    assert table.loc[f"{layer}.{head}", "trained without"] == share[layer, head]


def test_the_probability_of_what_came_next(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, TEXT, causal=False)
    expected = [by_hand(trace.logits[i], trace.ids[i + 1]) for i in range(len(trace.ids) - 1)]
    np.testing.assert_allclose(twins.of_the_next(trace.logits, trace.ids), expected, atol=1e-9)


@pytest.mark.parametrize("last", [None, 3, 99])
def test_without_a_future_each_token_is_asked_for_by_what_is_before_it(
    tiny_model: LanguageModel, last: int | None
) -> None:
    ids = tiny_model.encode(TEXT)[0]
    what_if = gptviz.WhatIf(causal=False)
    passes = [tiny_model.gpt.trace(ids[:t], what_if).logits[-1] for t in range(1, len(ids))]
    expected = [by_hand(logits, token) for logits, token in zip(passes, ids[1:], strict=True)]
    found = twins.of_the_next_unseen(tiny_model.gpt, ids, causal=False, last=last)
    np.testing.assert_allclose(found, expected if last is None else expected[-last:], atol=1e-4)
    masked = twins.of_the_next_unseen(tiny_model.gpt, ids, causal=True)
    np.testing.assert_allclose(masked, twins.of_the_next(tiny_model.gpt.trace(ids).logits, ids), atol=1e-4)


def test_the_likeliest_tokens() -> None:
    found = twins.likeliest(np.log([0.1, 0.5, 0.15, 0.25]), n=3)
    assert found.ids.tolist() == [1, 3, 2]
    np.testing.assert_allclose(found.probabilities, [0.5, 0.25, 0.15])
    assert math.isclose(found.rest, 0.1)
    assert math.isclose(found.entropy, -sum(p * math.log2(p) for p in (0.1, 0.5, 0.15, 0.25)))
    assert twins.likeliest(np.array([0.0, -2000.0])).entropy == 0


def test_a_text_is_judged_by_the_pass_over_its_end(tiny_model: LanguageModel) -> None:
    ids = np.random.default_rng(0).integers(0, 300, 70).tolist()  # the context is 64
    logits = tiny_model.gpt.trace(ids[-64:]).logits
    expected = [by_hand(logits[i - 1], ids[-64:][i]) for i in range(54, 64)]
    np.testing.assert_allclose(twins.written_log_probabilities(tiny_model.gpt, ids, 10), expected, atol=1e-6)
    assert len(twins.written_log_probabilities(tiny_model.gpt, ids, 0)) == 0
    with pytest.raises(ValueError, match="fewer written tokens"):
        twins.written_log_probabilities(tiny_model.gpt, ids, 64)


def test_the_loss_after_a_step_is_a_mean_of_what_came_before() -> None:
    losses = Losses(list(range(1, 121)), [9.0] * 50 + [1.0, 3.0] * 25 + [70.0] * 20, [40, 80, 120], [8.0, 2.5, 70.0])
    assert twins.at_step(losses, 100) == (2, 2.5)
    assert twins.at_step(losses, 2) == (9, pytest.approx(math.nan, nan_ok=True))
    assert all(map(math.isnan, twins.at_step(Losses([], [], [], []), 5)))


def test_a_thinned_curve_keeps_early_steps_and_averages_late_ones() -> None:
    losses = np.random.default_rng(1).random(5000)
    steps, means = twins.thinned(range(1, 5001), losses, bins=100)
    assert len(steps) <= 100 and (np.diff(steps) > 0).all()
    assert steps[:3].tolist() == [1, 2, 3] and means[:3].tolist() == losses[:3].tolist()
    edge = math.exp(math.log(5000) * 99 / 100)  # where the last bin begins
    last = [loss for step, loss in zip(range(1, 5001), losses, strict=True) if step >= edge]
    assert math.isclose(means[-1], sum(last) / len(last))
    assert [each.tolist() for each in twins.thinned([7], [2.5])] == [[7], [2.5]]
    assert [len(each) for each in twins.thinned([], [])] == [0, 0]
