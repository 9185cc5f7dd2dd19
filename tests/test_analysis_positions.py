"""Positions: sines against the formula of the paper, distances by brute force, four terms against the model's score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import positions as analysis
from gptviz.checkpoint import LanguageModel
from gptviz.stack import gpt_stack, transformer_stack
from gptviz.trace import WhatIf
from tests.tiny import translator

TEXT = "My dog has fleas and the cat has a ball."


@pytest.fixture(params=["tiny_model", "tiny_pre_norm"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


def exact_scores(model: LanguageModel, ids: tuple[int, ...], head: int) -> np.ndarray:
    """q k^T / sqrt(D) of one head of layer 0 in float64, by PyTorch alone."""
    w = {name: value.double() for name, value in model.gpt.state_dict().items()}
    x = w["token_embedding.weight"][list(ids)] + w["position_embedding.weight"][: len(ids)]
    if model.gpt.config.norm_order == "pre":
        norm = (w["blocks.0.attention_norm.weight"], w["blocks.0.attention_norm.bias"])
        x = torch.nn.functional.layer_norm(x, x.shape[-1:], *norm)
    c, d = x.shape[1], model.gpt.config.d_head
    weight, bias = w["blocks.0.attention.qkv.weight"], w["blocks.0.attention.qkv.bias"]
    q, k = ((x @ weight[at : at + d].T + bias[at : at + d]) for at in (head * d, c + head * d))
    return (q @ k.T / math.sqrt(d)).numpy()


@pytest.mark.parametrize("text", [TEXT, "a", "the " * 100])
def test_the_four_terms_sum_to_the_score(model: LanguageModel, text: str) -> None:
    trace = gptviz.trace(model, text)
    for head in range(model.gpt.config.n_heads):
        split = analysis.split_scores(gpt_stack(model.gpt), trace, head)
        assert split.terms.shape == (4, len(trace.ids), len(trace.ids))
        np.testing.assert_allclose(split.terms.sum(axis=0), exact_scores(model, trace.ids, head), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(split.total, trace.scaled[0, head], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_the_four_terms_of_an_encoder_decoder_sum_to_its_score(side: str) -> None:
    model = translator(seed=4)
    stack, trace = transformer_stack(model.transformer, side), getattr(gptviz.translate(model, TEXT).trace, side)
    w = {name: value.double() for name, value in model.transformer.state_dict().items()}
    c = stack.config.d_model
    tokens = w["token_embedding.weight"][list(trace.ids)] * math.sqrt(c)
    places = torch.from_numpy(analysis.sinusoidal_positions(len(trace.ids), c))
    weight, bias = w[f"{side}.0.attention.qkv.weight"], w[f"{side}.0.attention.qkv.bias"]
    d = stack.config.d_head
    for head in range(stack.config.n_heads):
        mine = [slice(start + head * d, start + (head + 1) * d) for start in (0, c)]  # of q, of k
        (q_t, k_t), (q_p, k_p) = ([x @ weight[rows].T for rows in mine] for x in (tokens, places))
        q_t, k_t = q_t + bias[mine[0]], k_t + bias[mine[1]]
        expected = [(q @ k.T / math.sqrt(d)).numpy() for q in (q_t, q_p) for k in (k_t, k_p)]
        split = analysis.split_scores(stack, trace, head)
        np.testing.assert_allclose(split.terms, expected, atol=1e-4)  # the model's positions are float32
        np.testing.assert_allclose(split.total, trace.scaled[0, head], rtol=1e-5, atol=1e-4)


def test_without_scaling_the_terms_sum_to_the_unscaled_score(model: LanguageModel) -> None:
    trace = gptviz.trace(model, TEXT, what_if=WhatIf(scaled=False))
    split = analysis.split_scores(gpt_stack(model.gpt), trace, 1)
    np.testing.assert_allclose(split.total, trace.scores[0, 1], rtol=1e-5, atol=1e-4)


def test_each_term_depends_on_what_it_is_named_after() -> None:
    from tests.tiny import language_model, random_gpt

    model = language_model("terms", random_gpt())
    before = analysis.split_scores(gpt_stack(model.gpt), model.gpt.trace([5, 6, 7]), 0).terms
    other_tokens = analysis.split_scores(gpt_stack(model.gpt), model.gpt.trace([8, 9, 10]), 0).terms
    np.testing.assert_array_equal(before[3], other_tokens[3])
    assert all(not np.allclose(before[i], other_tokens[i]) for i in range(3))
    with torch.no_grad():
        model.gpt.position_embedding.weight.mul_(2)
    moved = analysis.split_scores(gpt_stack(model.gpt), model.gpt.trace([5, 6, 7]), 0).terms
    for i, factor in enumerate((1, 2, 2, 4)):
        np.testing.assert_allclose(moved[i], factor * before[i])


def test_the_sinusoids_are_those_of_the_paper() -> None:
    found = analysis.sinusoidal_positions(9, 6)
    for p in range(9):
        for i in range(3):
            angle = p / 10000 ** (2 * i / 6)
            assert found[p, 2 * i] == pytest.approx(math.sin(angle))
            assert found[p, 2 * i + 1] == pytest.approx(math.cos(angle))
    assert analysis.sinusoidal_positions(4, 5).shape == (4, 5)


def test_cosines_by_distance_are_gathered_from_all_pairs() -> None:
    cosines = np.random.default_rng(0).normal(size=(6, 6))
    found = analysis.by_distance(cosines)
    for distance in range(6):
        pairs = [cosines[i, i + distance] for i in range(6 - distance)]
        assert found.mean[distance] == pytest.approx(np.mean(pairs))
        assert (found.lowest[distance], found.highest[distance]) == (min(pairs), max(pairs))


def test_sinusoids_are_as_alike_at_every_place_and_the_model_has_its_own(model: LanguageModel) -> None:
    learned, fixed = analysis.compare_positions(gpt_stack(model.gpt))
    np.testing.assert_allclose(fixed.distance.lowest, fixed.distance.highest, atol=1e-9)
    np.testing.assert_array_equal(learned.vectors, model.gpt.state_dict()["position_embedding.weight"])
    assert learned.vectors.shape == fixed.vectors.shape
    assert learned.distance.mean[0] == pytest.approx(1)


def test_the_spread_in_a_row_is_what_softmax_can_see() -> None:
    term = np.array([[9.0, 9, 9], [1, 3, 9], [2, 2, 2]])
    assert analysis.spread_in_row(term) == pytest.approx((1 + 0) / 2)
    assert analysis.spread_in_row(term + np.array([[5.0], [6], [7]])) == pytest.approx(0.5), "a row's own constant"
    assert analysis.spread_in_row(np.ones((1, 1))) == 0


def test_without_a_mask_every_query_sees_all_keys() -> None:
    term = np.array([[1.0, 3], [2, 8]])
    assert analysis.spread_in_row(term, causal=False) == pytest.approx((1 + 3) / 2)
    assert analysis.spread_in_row(term) == pytest.approx(3)
    assert analysis.spread_in_row(np.ones((1, 1)), causal=False) == 0


def test_the_positions_of_an_encoder_decoder_are_those_of_the_paper() -> None:
    stack = transformer_stack(translator().transformer, "decoder")
    own = analysis.own_positions(stack)
    np.testing.assert_allclose(own.vectors, analysis.sinusoidal_positions(*own.vectors.shape), atol=1e-5)
    np.testing.assert_allclose(own.distance.lowest, own.distance.highest, atol=1e-5)


def test_a_head_that_is_not_there_is_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="from 0 to 3, found 4"):
        analysis.split_scores(gpt_stack(tiny_model.gpt), gptviz.trace(tiny_model, TEXT), 4)
