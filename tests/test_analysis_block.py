"""What a block adds, against brute force in float64: contributions sum, norms are the model's, units are counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gptviz.analysis import block
from gptviz.gpt import GPT
from tests import reference
from tests.tiny import random_gpt

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


@pytest.fixture(scope="module", params=["post relu", "pre relu", "pre gelu", "post gelu_tanh"])
def gpt(request: pytest.FixtureRequest) -> GPT:
    """Small blocks of both orders."""
    order, activation = request.param.split()
    return random_gpt(n_layers=3, n_heads=4, d_model=32, d_ff=48, norm_order=order, activation=activation)


def test_contributions_sum_to_the_stream(gpt: GPT) -> None:
    trace = gpt.trace(IDS)
    total = (trace.token_embeddings + trace.position_embeddings).astype(float)
    for layer in range(3):
        seen, exact = block.vectors(trace, layer), reference.forward(gpt, IDS)
        p = {k.removeprefix(f"blocks.{layer}."): v for k, v in reference.weights_of(gpt).items()}
        if gpt.config.norm_order == "pre":
            total = total + seen.attention_out + seen.ff_out
            np.testing.assert_allclose(total, exact["residual"][layer + 1], atol=1e-5, rtol=1e-5)
            np.testing.assert_allclose(seen.attention_sum, seen.middle, atol=1e-5)
            np.testing.assert_allclose(seen.ff_sum, seen.out, atol=1e-5)
        else:
            middle = reference.normalise(seen.attention_sum, p, "attention_norm")
            np.testing.assert_allclose(middle, exact["middle"][layer], atol=1e-5)
            out = reference.normalise(seen.ff_sum, p, "ff_norm")
            np.testing.assert_allclose(out, exact["residual"][layer + 1], atol=1e-5)


def test_heads_and_bias_sum_to_what_attention_adds(gpt: GPT) -> None:
    trace, exact = gpt.trace(IDS), reference.forward(gpt, IDS)
    for layer in range(3):
        heads, bias = block.head_contributions(gpt, trace, layer)
        assert heads.shape == (4, len(IDS), 32)
        np.testing.assert_allclose(heads.sum(axis=0) + bias, exact["attention_out"][layer], atol=1e-5)
        weight = reference.weights_of(gpt)[f"blocks.{layer}.attention.out.weight"]
        alone = np.zeros((len(IDS), 32))
        alone[:, 8:16] = exact["heads"][layer, 1]  # the others silent
        np.testing.assert_allclose(heads[1], alone @ weight.T, atol=1e-5)


def test_lengths_and_directions_by_hand(gpt: GPT) -> None:
    trace = gpt.trace(IDS)
    seen = block.vectors(trace, 1)
    found = block.directions(seen.stream, seen.attention_out)
    for t in range(len(IDS)):
        a, x = seen.attention_out[t], seen.stream[t]
        length_a, length_x = (math.sqrt(sum(n * n for n in v)) for v in (a, x))
        assert found.share[t] == pytest.approx(length_a / length_x)
        assert found.with_stream[t] == pytest.approx(sum(a * x) / length_a / length_x)
        assert found.with_sum[t] == pytest.approx(sum(a * (a + x)) / length_a / math.sqrt(sum((a + x) ** 2)))
    lengths = block.flow(trace)
    assert lengths.shape == (3, 9, len(IDS))
    np.testing.assert_allclose(lengths[1, 2], [math.sqrt(sum(v * v)) for v in seen.attention_out])
    assert block.token_table(seen, ["a"] * 8)["|out|"].tolist() == pytest.approx(lengths[1, 8].tolist())


def test_a_vector_of_zeros_has_no_direction() -> None:
    found = block.directions(np.zeros((1, 3)), np.ones((1, 3)))
    assert np.isnan(found.share[0]) and np.isnan(found.with_stream[0]) and found.with_sum[0] == pytest.approx(1)


def test_means_and_variances_are_what_the_norm_reads_and_gives(gpt: GPT) -> None:
    trace, exact = gpt.trace(IDS), reference.forward(gpt, IDS)
    found = block.layer_norms(gpt, block.vectors(trace, 2), 2)
    post = gpt.config.norm_order == "post"
    read = {
        "attention": exact["residual"][2] + (exact["attention_out"][2] if post else 0),
        "feed-forward": exact["middle"][2] + (exact["ff_out"][2] if post else 0),
    }
    for name, norm in found.items():
        own = gpt.blocks[2].attention_norm if name == "attention" else gpt.blocks[2].ff_norm
        np.testing.assert_allclose(norm.mean, read[name].mean(-1), atol=1e-5)
        np.testing.assert_allclose(norm.variance, read[name].var(-1), atol=1e-4)
        given = F.layer_norm(torch.from_numpy(read[name]), (32,), own.weight.double(), own.bias.double()).numpy()
        np.testing.assert_allclose(norm.mean_after, given.mean(-1), atol=1e-5)
        np.testing.assert_allclose(norm.variance_after, given.var(-1), atol=1e-5)
        np.testing.assert_array_equal(norm.gain, own.weight.numpy())
    table = block.norm_table(found, ["a"] * 8)
    assert table.shape == (8, 9) and table["attention: variance"].tolist() == found["attention"].variance.tolist()


def test_units_that_fire_are_counted_one_by_one(gpt: GPT) -> None:
    traces = [gpt.trace(IDS), gpt.trace([7, 7, 300])]
    hidden = reference.forward(gpt, IDS)["ff_hidden"][1]
    found = block.firing(traces[0].ff_hidden[1])
    counted = [sum(hidden[t, unit] > 0 for t in range(len(IDS))) for unit in range(48)]
    assert found.times.tolist() == counted
    assert found.never == counted.count(0)
    assert found.share.tolist() == pytest.approx([sum(row > 0) / 48 for row in hidden])
    over = block.firing_over(gpt, traces)
    assert over.shape == (3, 48)
    assert (over[1] - found.times == (traces[1].ff_hidden[1] > 0).sum(axis=0)).all()


def test_one_token(gpt: GPT) -> None:
    trace = gpt.trace([5])
    assert block.flow(trace).shape == (3, 9, 1)
    assert set(block.firing(trace.ff_hidden[0]).times) <= {0, 1}
