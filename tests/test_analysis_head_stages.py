"""One head from the inside: stages against NumPy in float64 and against the model's own output; cells by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import head_stages as analysis
from gptviz.checkpoint import LanguageModel
from gptviz.stack import SIDES, transformer_stack
from gptviz.trace import WhatIf
from gptviz.translation import retrace, trace_pair
from tests.tiny import translator

TEXT = "My dog has fleas and the cat has a ball."
RULES = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture(params=["tiny_model", "tiny_pre_norm"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


def double(model: LanguageModel, name: str) -> np.ndarray:
    return model.gpt.state_dict()[name].double().numpy()


@pytest.mark.parametrize(("causal", "scaled"), RULES)
def test_every_stage_follows_from_the_one_before(model: LanguageModel, causal: bool, scaled: bool) -> None:
    trace = gptviz.trace(model, TEXT, what_if=WhatIf(causal, scaled))
    heads, layers = model.gpt.config.n_heads, model.gpt.config.n_layers
    d, t = model.gpt.config.d_head, len(trace.ids)
    for layer, head in ((0, 0), (layers - 1, heads - 1)):
        s = analysis.head_stages(trace, layer, head)
        x = s.x.astype(float)
        weight, bias = (double(model, f"blocks.{layer}.attention.qkv.{name}") for name in ("weight", "bias"))
        c = weight.shape[1]
        for part, found in enumerate((s.q, s.k, s.v)):
            mine = slice(part * c + head * d, part * c + (head + 1) * d)
            np.testing.assert_allclose(found, x @ weight[mine].T + bias[mine], rtol=1e-5, atol=1e-5)
        q, k, v = (part.astype(float) for part in (s.q, s.k, s.v))
        np.testing.assert_allclose(s.scores, q @ k.T, rtol=1e-5, atol=1e-5)
        expected = q @ k.T / (math.sqrt(d) if scaled else 1)
        np.testing.assert_allclose(s.scaled, expected, rtol=1e-5, atol=1e-5)
        if causal:
            expected[np.triu_indices(t, 1)] = -np.inf
        np.testing.assert_allclose(s.masked, expected, rtol=1e-5, atol=1e-5)
        weights = np.exp(expected - expected.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        np.testing.assert_allclose(s.weights, weights, atol=1e-5)
        np.testing.assert_allclose(s.output, weights @ v, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(s.joined[:, head * d : (head + 1) * d], s.output)
        weight, bias = (double(model, f"blocks.{layer}.attention.out.{name}") for name in ("weight", "bias"))
        np.testing.assert_allclose(s.out, s.joined.astype(float) @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_the_stages_are_those_of_the_trace(model: LanguageModel) -> None:
    trace = gptviz.trace(model, TEXT)
    s = analysis.head_stages(trace, 1, 1)
    for name in ("q", "k", "v", "scores", "scaled", "masked", "weights"):
        np.testing.assert_allclose(getattr(s, name), getattr(trace, name)[1, 1], rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(s.output, trace.heads[1, 1])
    np.testing.assert_array_equal(s.out, trace.attention_out[1])
    np.testing.assert_array_equal(s.x, trace.attention_in[1])


def test_the_projections_make_q_k_v_and_the_outputs_of_all_heads_make_the_output(model: LanguageModel) -> None:
    trace = gptviz.trace(model, TEXT)
    total = np.zeros(trace.attention_out[1].shape)
    for head in range(model.gpt.config.n_heads):
        own, s = analysis.projections(model.gpt.blocks[1].attention, head), analysis.head_stages(trace, 1, head)
        np.testing.assert_allclose(s.x @ own.query + own.query_bias, s.q, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(s.x @ own.key + own.key_bias, s.k, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(s.x @ own.value + own.value_bias, s.v, rtol=1e-4, atol=1e-5)
        total += s.output.astype(float) @ own.output
    np.testing.assert_allclose(total + own.output_bias, trace.attention_out[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("causal", "scaled"), RULES)
def test_a_cell_adds_up_to_its_score_and_to_its_weight(model: LanguageModel, causal: bool, scaled: bool) -> None:
    trace = gptviz.trace(model, TEXT, what_if=WhatIf(causal, scaled))
    s = analysis.head_stages(trace, 1, 0)
    t = len(trace.ids)
    for query, key in ((0, 0), (t - 1, 0), (t - 1, t - 1), (2, 5)):
        cell = analysis.work_out(s, query, key, causal=causal, scaled=scaled)
        assert cell.score == math.fsum(cell.products) or cell.score == pytest.approx(math.fsum(cell.products), 1e-14)
        assert cell.running[-1] == pytest.approx(cell.score, rel=1e-12, abs=1e-12)
        np.testing.assert_array_equal(cell.products, s.q[query].astype(float) * s.k[key])
        assert cell.score == pytest.approx(s.scores[query, key], rel=1e-5, abs=1e-5)
        assert cell.scaled == pytest.approx(s.scaled[query, key], rel=1e-5, abs=1e-5)
        assert cell.seen == np.isfinite(s.masked[query, key])
        row = [analysis.work_out(s, query, other, causal=causal, scaled=scaled) for other in range(t)]
        assert sum(each.exponential for each in row) == pytest.approx(cell.total, rel=1e-12)
        assert sum(each.weight for each in row) == pytest.approx(1, rel=1e-12)
        assert cell.weight == pytest.approx(s.weights[query, key], abs=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_the_projections_of_an_encoder_decoder_make_q_of_one_stream_and_k_and_v_of_another(side: str) -> None:
    model = translator(seed=1)
    trace, stack = gptviz.translate(model, TEXT).trace, transformer_stack(model.transformer, side)
    seen = getattr(trace, side)
    read = trace.encoder.final_vectors if side == "cross" else seen.attention_in[1]  # by keys and values
    total = np.zeros(seen.attention_out[1].shape)
    for head in range(stack.config.n_heads):
        own = analysis.projections(stack.attentions[1], head)
        np.testing.assert_allclose(seen.attention_in[1] @ own.query + own.query_bias, seen.q[1, head], atol=1e-4)
        np.testing.assert_allclose(read @ own.key + own.key_bias, seen.k[1, head], atol=1e-4)
        np.testing.assert_allclose(read @ own.value + own.value_bias, seen.v[1, head], atol=1e-4)
        total += seen.heads[1, head].astype(float) @ own.output
    np.testing.assert_allclose(total + own.output_bias, seen.attention_out[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("scaled", [True, False])
def test_the_stages_of_an_encoder_decoder_are_rectangular_where_its_attention_is(side: str, scaled: bool) -> None:
    model, what_if = translator(seed=1), WhatIf(causal=side == "decoder", scaled=scaled)
    pair = retrace(model, trace_pair(model, [7, 301, 40, 9, 260, 404], [404, 12, 33, 270]), side, what_if)
    trace = getattr(pair, side)
    t, s = {"encoder": (6, 6), "decoder": (4, 4), "cross": (4, 6)}[side]
    found = analysis.head_stages(trace, 2, 3)
    read = pair.encoder.final_vectors if side == "cross" else trace.attention_in[2]
    np.testing.assert_array_equal(found.x, trace.attention_in[2])
    np.testing.assert_array_equal(found.memory, read)
    for name in ("q", "k", "v", "scores", "scaled", "masked", "weights"):
        np.testing.assert_allclose(getattr(found, name), getattr(trace, name)[2, 3], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.weights @ found.v, found.output, atol=1e-5)
    assert found.weights.shape == (t, s) and found.memory.shape == (s, 32) and found.out.shape == (t, 32)
    for query, key in ((0, 0), (t - 1, s - 1), (0, s - 1), (t - 1, 1)):
        cell = analysis.work_out(found, query, key, causal=what_if.causal, scaled=scaled)
        assert cell.seen == (side != "decoder" or key <= query)
        assert cell.score == pytest.approx(found.scores[query, key], rel=1e-5, abs=1e-5)
        assert cell.weight == pytest.approx(found.weights[query, key], abs=1e-6)
        assert cell.largest == pytest.approx(found.masked[query].max(), rel=1e-5, abs=1e-5)
    with pytest.raises(
        ValueError, match=f"query from 0 to {t - 1} and a key from 0 to {s - 1}, found query 0, key 6"
    ):
        analysis.work_out(found, 0, 6, causal=what_if.causal)


def test_huge_scores_do_not_overflow() -> None:
    big = np.full((2, 4), 1e3, dtype=np.float32)
    big[1] *= 2
    nothing = np.zeros((2, 2), dtype=np.float32)
    s = analysis.HeadStages(big, big, big, big, big, nothing, nothing, nothing, nothing, big, big, big)
    assert analysis.work_out(s, 1, 1, scaled=False).weight == 1
    assert analysis.work_out(s, 1, 0, scaled=False).weight == 0


def test_one_token_and_the_longest_text(model: LanguageModel) -> None:
    context = model.gpt.config.context
    for ids in ([3], list(range(context))):
        s = analysis.head_stages(model.gpt.trace(ids), 0, 0)
        assert s.weights.shape == (len(ids), len(ids))
        np.testing.assert_allclose(s.weights.sum(-1), 1, atol=1e-5)


def test_the_model_is_not_touched(model: LanguageModel) -> None:
    before = {name: value.clone() for name, value in model.gpt.state_dict().items()}
    trace = model.gpt.trace([1, 2, 3], WhatIf(scaled=False))
    own, s = analysis.projections(model.gpt.blocks[0].attention, 0), analysis.head_stages(trace, 0, 0)
    for array in (own.query, own.output_bias, s.q, s.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert all(torch.equal(value, before[name]) for name, value in model.gpt.state_dict().items())


def test_what_is_not_there_is_refused(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, TEXT)
    with pytest.raises(ValueError, match=r"from 0\.0 to 2\.3, found 2\.4"):
        analysis.head_stages(trace, 2, 4)
    with pytest.raises(ValueError, match="from 0 to 3, found 4"):
        analysis.projections(tiny_model.gpt.blocks[0].attention, 4)
    with pytest.raises(ValueError, match="found query 99, key 0"):
        analysis.work_out(analysis.head_stages(trace, 0, 0), 99, 0)
