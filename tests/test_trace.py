"""Every stage of a Trace against an independent NumPy forward, and what-ifs against what they must mean."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import gptviz
from gptviz.checkpoint import LanguageModel
from gptviz.gpt import GPT
from gptviz.trace import STAGES, CellEdit, HeadGain, WhatIf
from tests import reference
from tests.tiny import language_model, random_gpt

TEXT = "My dog has fleas and the cat was happy."
TRACE_MODULE = sys.modules[WhatIf.__module__]  # `gptviz.trace` is the function
FLAGS = [(causal, scaled) for causal in (True, False) for scaled in (True, False)]


@pytest.fixture(params=["tiny_model", "tiny_pre_norm"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    """Both orders of normalising."""
    return request.getfixturevalue(request.param)


def close(ours: np.ndarray, expected: np.ndarray, name: str = "") -> None:
    """Equal up to float32 arithmetic over a few layers."""
    np.testing.assert_allclose(ours, expected, rtol=2e-4, atol=2e-4, err_msg=name)


def test_stages_have_the_shapes_that_they_promise(model: LanguageModel) -> None:
    c, trace = model.gpt.config, gptviz.trace(model, TEXT)
    t = len(trace.ids)
    rows, cells = (c.n_layers, t, c.d_model), (c.n_layers, c.n_heads, t, t)
    per_head = (c.n_layers, c.n_heads, t, c.d_head)
    expected = {
        "token_embeddings": (t, c.d_model),
        "position_embeddings": (t, c.d_model),
        "residual": (c.n_layers + 1, t, c.d_model),
        **dict.fromkeys(("attention_in", "attention_out", "middle", "ff_in", "ff_out"), rows),
        **dict.fromkeys(("q", "k", "v", "heads"), per_head),
        **dict.fromkeys(("scores", "scaled", "masked", "weights"), cells),
        "ff_hidden": (c.n_layers, t, c.d_ff),
        "final_vectors": (t, c.d_model),
        "logits": (t, c.vocab_size),
    }
    assert {stage: getattr(trace, stage).shape for stage in STAGES} == expected


@pytest.mark.parametrize(("causal", "scaled"), FLAGS)
def test_every_stage_is_that_of_an_independent_numpy_forward(
    model: LanguageModel, causal: bool, scaled: bool
) -> None:
    trace = gptviz.trace(model, TEXT, causal=causal, what_if=WhatIf(scaled=scaled))
    expected = reference.forward(model.gpt, list(trace.ids), causal, scaled)
    assert set(expected) == set(STAGES)
    for stage in STAGES:
        close(getattr(trace, stage), expected[stage], stage)


def test_stages_fit_together(model: LanguageModel) -> None:
    trace = gptviz.trace(model, TEXT)
    assert np.array_equal(trace.residual[0], trace.token_embeddings + trace.position_embeddings)
    before = trace.residual[:-1] if model.gpt.config.norm_order == "post" else trace.middle - trace.attention_out
    close(before, trace.residual[:-1])
    close(trace.weights @ trace.v, trace.heads)
    close(trace.scores / math.sqrt(model.gpt.config.d_head), trace.scaled)
    with torch.no_grad():
        close(trace.logits, model.gpt(torch.tensor([trace.ids]))[0].numpy())


@pytest.mark.parametrize(("causal", "scaled"), FLAGS)
def test_rows_of_attention_sum_to_one(model: LanguageModel, causal: bool, scaled: bool) -> None:
    weights = gptviz.trace(model, TEXT, what_if=WhatIf(causal, scaled)).weights
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=0, atol=1e-5)


def test_masked_is_minus_infinity_exactly_in_the_future(model: LanguageModel) -> None:
    trace = gptviz.trace(model, TEXT)
    future = np.triu(np.ones_like(trace.masked, dtype=bool), k=1)
    assert np.array_equal(np.isneginf(trace.masked), future)
    assert np.array_equal(trace.masked[~future], trace.scaled[~future])
    assert (trace.weights[future] == 0).all()
    unmasked = gptviz.trace(model, TEXT, causal=False)
    assert np.array_equal(unmasked.masked, unmasked.scaled)
    assert (unmasked.weights[future] > 0).any()


def test_arrays_cannot_be_changed(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, TEXT)
    for stage in STAGES:
        array = getattr(trace, stage)
        assert array.dtype == np.float32, stage
        assert getattr(trace, stage) is array, stage
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace.tokens = ()


def test_a_stage_is_also_there_as_a_tensor(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, TEXT)
    for stage in STAGES:
        assert np.array_equal(trace.tensor(stage).numpy(), getattr(trace, stage)), stage
    with pytest.raises(KeyError, match=r"expected one of token_embeddings, .*, found 'attention'"):
        trace.tensor("attention")


def test_a_trace_carries_its_tokens(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, "My dog has fleas")
    assert trace.tokens == ("My", " dog", " has", " fleas")
    assert trace.ids == tuple(tiny_model.tokenizer.encode("My dog has fleas"))
    assert trace.dropped == 0
    assert trace.what_if == WhatIf()


def test_a_text_longer_than_the_context_is_cut_at_the_left_and_says_so(tiny_model: LanguageModel) -> None:
    context = tiny_model.gpt.config.context
    trace = gptviz.trace(tiny_model, " dog" * 10 + " cat" * (context - 1))
    assert trace.dropped == 9
    assert trace.tokens == (" dog",) + (" cat",) * (context - 1)
    exact = gptviz.trace(tiny_model, " cat" * context)
    assert (exact.dropped, len(exact.tokens)) == (0, context)


def test_an_empty_text_is_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="expected a text of one token or more"):
        gptviz.trace(tiny_model, "")


def test_a_single_token_attends_to_itself(model: LanguageModel) -> None:
    trace = gptviz.trace(model, "a")
    assert trace.weights.shape[-2:] == (1, 1)
    assert (trace.weights == 1).all()


# Long texts: weights that are not kept

MANY_WHAT_IFS = [
    WhatIf(),
    *(WhatIf(causal, scaled) for causal, scaled in FLAGS[1:]),
    WhatIf(gains=(HeadGain(0, 1, 0.0), HeadGain(1, 0, 3.0))),
    WhatIf(edits=(CellEdit(0, 1, 5, 2, 0.75), CellEdit(0, 1, 5, 0, 0.5), CellEdit(1, 0, 1, 1, 0.0))),
    WhatIf(causal=False, edits=(CellEdit(1, 1, 2, 5, 1.0),), gains=(HeadGain(1, 1, 0.5),)),
]


@pytest.mark.parametrize("what_if", MANY_WHAT_IFS)
def test_weights_that_are_not_kept_are_made_again_to_the_bit(
    model: LanguageModel, what_if: WhatIf, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = gptviz.trace(model, TEXT, what_if=what_if)
    monkeypatch.setattr(TRACE_MODULE, "KEPT_BYTES", 0)
    lean = gptviz.trace(model, TEXT, what_if=what_if)
    assert lean.kept_weights is None
    assert all(block.attention.weights is None for block in lean.blocks)
    for stage in STAGES:
        assert np.array_equal(getattr(lean, stage), getattr(kept, stage)), stage
    for layer in range(model.gpt.config.n_layers):
        for trace in (kept, lean):
            again = trace.layer_weights(layer)
            assert again.dtype == np.float32
            assert np.array_equal(again, kept.weights[layer])
            with pytest.raises(ValueError, match="read-only"):
                again[0] = 0


def test_a_long_trace_keeps_nothing_per_pair_of_tokens(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRACE_MODULE, "KEPT_BYTES", 0)
    trace = gptviz.trace(model, TEXT)
    for stage in STAGES:
        getattr(trace, stage)
    trace.layer_weights(1)
    assert {"scores", "scaled", "masked", "weights"} == set(STAGES) - set(trace.arrays)


def test_weights_are_kept_up_to_a_limit(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    c, t = model.gpt.config, len(gptviz.trace(model, TEXT).ids)
    for limit, kept in ((4 * c.n_layers * c.n_heads * t * t, True), (4 * c.n_layers * c.n_heads * t * t - 1, False)):
        monkeypatch.setattr(TRACE_MODULE, "KEPT_BYTES", limit)
        trace = gptviz.trace(model, TEXT)
        assert (trace.kept_weights is not None) == kept
        assert (trace.weights is trace.weights) == kept
        assert trace.weights.shape == (c.n_layers, c.n_heads, t, t)


@pytest.mark.parametrize("layer", [-1, 3])
def test_weights_of_a_layer_that_is_not_there_are_refused(tiny_model: LanguageModel, layer: int) -> None:
    with pytest.raises(ValueError, match=f"expected a layer from 0 to 2, found {layer}"):
        gptviz.trace(tiny_model, TEXT).layer_weights(layer)


class LargestTensor(TorchDispatchMode):
    """Watches how many numbers the largest tensor has that is made."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(made, torch.Tensor):
                self.largest = max(self.largest, made.numel())
        return out


def test_a_long_pass_never_holds_the_weights_of_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    gpt = random_gpt()
    c = gpt.config
    ids, one_layer = [7] * c.context, c.n_heads * c.context**2
    largest = []
    for limit in (0, 2**30):
        monkeypatch.setattr(TRACE_MODULE, "KEPT_BYTES", limit)
        with LargestTensor() as watch:
            gpt.trace(ids).layer_weights(0)
        largest.append(watch.largest)
    assert largest == [one_layer, c.n_layers * one_layer]


def test_a_model_laid_out_for_reading_is_the_same_model(model: LanguageModel) -> None:
    plain, read = GPT(model.gpt.config), GPT(model.gpt.config).for_reading()
    for gpt in (plain, read):
        gpt.load_state_dict(model.gpt.state_dict())
    assert not read.training
    assert not any(value.requires_grad for value in read.parameters())
    assert read.blocks[0].ff.expand.weight.T.is_contiguous()
    assert plain.blocks[0].ff.expand.weight.is_contiguous()
    assert read.unembedding.weight.is_contiguous()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, read.state_dict()[name]), name
    ids = model.tokenizer.encode(TEXT)
    for stage in STAGES:
        close(getattr(read.trace(ids), stage), getattr(plain.trace(ids), stage), stage)


# What-ifs


def same(ours: gptviz.Trace, other: gptviz.Trace) -> None:
    """Every stage of two traces agrees."""
    for stage in STAGES:
        np.testing.assert_allclose(getattr(ours, stage), getattr(other, stage), rtol=0, atol=1e-5, err_msg=stage)


def without_head(gpt: GPT, layer: int, head: int) -> GPT:
    """A copy whose output projection does not read the head: the head is not there."""
    gpt = copy.deepcopy(gpt)
    width = gpt.config.d_head
    gpt.blocks[layer].attention.out.weight.data[:, head * width : (head + 1) * width] = 0
    return gpt


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 1), (1, 0)])
def test_a_gain_of_zero_removes_the_head(model: LanguageModel, layer: int, head: int) -> None:
    trace = gptviz.trace(model, TEXT, what_if=WhatIf(gains=(HeadGain(layer, head, 0.0),)))
    removed = gptviz.trace(language_model("removed", without_head(model.gpt, layer, head)), TEXT)
    close(trace.logits, removed.logits)
    close(trace.residual, removed.residual)
    assert (trace.heads[layer, head] == 0).all()
    assert np.abs(trace.logits - gptviz.trace(model, TEXT).logits).max() > 1e-2


def test_gains_scale_what_a_head_adds_and_multiply(model: LanguageModel) -> None:
    plain = gptviz.trace(model, TEXT)
    same(gptviz.trace(model, TEXT, what_if=WhatIf(gains=(HeadGain(0, 1, 1.0),))), plain)
    twice = gptviz.trace(model, TEXT, what_if=WhatIf(gains=(HeadGain(0, 1, 4.0), HeadGain(0, 1, 0.5))))
    close(twice.heads[0, 1], 2 * plain.heads[0, 1])
    assert np.array_equal(twice.heads[0, 0], plain.heads[0, 0])
    assert np.array_equal(twice.weights[0], plain.weights[0])


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_an_edited_cell_has_its_weight_and_rows_still_sum_to_one(
    tiny_model: LanguageModel, data: st.DataObject
) -> None:
    t, c = len(tiny_model.tokenizer.encode(TEXT)), tiny_model.gpt.config
    causal = data.draw(st.booleans())
    edits = []
    for _ in range(data.draw(st.integers(1, 4))):
        query = data.draw(st.integers(1, t - 1))
        key = data.draw(st.integers(0, query if causal else t - 1))
        layer, head = data.draw(st.integers(0, c.n_layers - 1)), data.draw(st.integers(0, c.n_heads - 1))
        edits.append(CellEdit(layer, head, query, key, data.draw(st.floats(0, 1))))
    trace = gptviz.trace(tiny_model, TEXT, what_if=WhatIf(causal=causal, edits=tuple(edits)))
    last = edits[-1]
    assert trace.weights[last.layer, last.head, last.query, last.key] == pytest.approx(last.weight, abs=1e-5)
    assert trace.weights.min() >= 0
    np.testing.assert_allclose(trace.weights.sum(-1), 1, rtol=0, atol=1e-5)
    close(trace.weights @ trace.v, trace.heads)


def test_an_edit_keeps_the_proportions_of_the_rest(model: LanguageModel) -> None:
    edit = CellEdit(0, 1, query=5, key=2, weight=0.75)
    before = gptviz.trace(model, TEXT).weights[0]
    after = gptviz.trace(model, TEXT, what_if=WhatIf(edits=(edit,))).weights[0]
    others = [0, 1, 3, 4, 5]
    expected = 0.25 * before[1, 5, others] / before[1, 5, others].sum()
    np.testing.assert_allclose(after[1, 5, others], expected, rtol=1e-4, atol=1e-6)
    untouched = np.ones(before.shape[:2], dtype=bool)
    untouched[1, 5] = False
    assert np.array_equal(after[untouched], before[untouched])


def test_an_edit_back_to_its_own_weight_changes_nothing(model: LanguageModel) -> None:
    plain = gptviz.trace(model, TEXT)
    edit = CellEdit(1, 0, 4, 3, float(plain.weights[1, 0, 4, 3]))
    same(gptviz.trace(model, TEXT, what_if=WhatIf(edits=(edit,))), plain)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("causal", [True, False])
def test_a_row_that_was_all_in_one_cell_still_sums_to_one(causal: bool, weight: float) -> None:
    gpt = random_gpt()
    gpt.blocks[0].attention.qkv.weight *= 60  # scores so large that every row is a single 1
    edits = tuple(CellEdit(0, 1, query, 0, weight) for query in range(1, 5))
    weights = gpt.trace([5, 300, 17, 300, 0], WhatIf(causal=causal, edits=edits)).weights
    assert (gpt.trace([5, 300, 17, 300, 0], WhatIf(causal=causal)).weights[0].max(-1) == 1).any()
    np.testing.assert_allclose(weights[0, 1, 1:, 0], weight, atol=1e-6)
    assert not causal or (np.triu(weights, k=1) == 0).all(), "nothing may be moved to the future"
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("what_if", "message"),
    [
        (WhatIf(gains=(HeadGain(3, 0, 0.0),)), r"expected a head from 0\.0 to 2\.3, found 3\.0"),
        (WhatIf(gains=(HeadGain(0, 4, 0.0),)), r"expected a head from 0\.0 to 2\.3, found 0\.4"),
        (WhatIf(gains=(HeadGain(-1, 0, 0.0),)), r"found -1\.0"),
        (WhatIf(gains=(HeadGain(0, 0, math.nan),)), "finite gain.*found nan"),
        (WhatIf(gains=(HeadGain(0, 0, math.inf),)), "finite gain.*found inf"),
        (WhatIf(edits=(CellEdit(0, 9, 0, 0, 0.5),)), r"found 0\.9"),
        (WhatIf(edits=(CellEdit(0, 0, 4, 0, 0.5),)), "query and key from 0 to 3 .* found query 4, key 0"),
        (WhatIf(edits=(CellEdit(0, 0, 0, -1, 0.5),)), "found query 0, key -1"),
        (WhatIf(edits=(CellEdit(0, 0, 1, 0, 1.5),)), r"weight from 0 to 1, .*weight 1\.5"),
        (WhatIf(edits=(CellEdit(0, 0, 1, 0, math.nan),)), "weight nan"),
        (WhatIf(edits=(CellEdit(0, 0, 1, 2, 0.5),)), "key 2 is in the future of query 1: unmask first"),
        (WhatIf(edits=(CellEdit(0, 0, 0, 0, 0.5),)), "query 0 sees only itself"),
    ],
)
def test_a_what_if_that_cannot_be_is_refused(tiny_model: LanguageModel, what_if: WhatIf, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gptviz.trace(tiny_model, "My dog has fleas", what_if=what_if)


def test_the_future_may_be_edited_when_it_is_unmasked(tiny_model: LanguageModel) -> None:
    what_if = WhatIf(causal=False, edits=(CellEdit(0, 0, 1, 2, 0.5),))
    assert gptviz.trace(tiny_model, "My dog has fleas", what_if=what_if).weights[0, 0, 1, 2] == pytest.approx(0.5)


@pytest.mark.parametrize(("argument", "inside"), [(False, True), (True, False), (False, False)])
def test_unmasking_by_either_way_unmasks(tiny_model: LanguageModel, argument: bool, inside: bool) -> None:
    trace = gptviz.trace(tiny_model, TEXT, causal=argument, what_if=WhatIf(causal=inside))
    assert not trace.what_if.causal
    same(trace, gptviz.trace(tiny_model, TEXT, causal=False))


def test_a_what_if_leaves_the_model_as_it_was(model: LanguageModel) -> None:
    before = {name: value.clone() for name, value in model.gpt.state_dict().items()}
    plain = gptviz.trace(model, TEXT)
    for what_if in (
        WhatIf(causal=False, scaled=False),
        WhatIf(gains=(HeadGain(0, 0, 0.0), HeadGain(1, 1, 3.0)), edits=(CellEdit(0, 1, 3, 2, 1.0),)),
    ):
        changed = gptviz.trace(model, TEXT, what_if=what_if)
        assert np.abs(changed.logits - plain.logits).max() > 1e-2
    for name, value in model.gpt.state_dict().items():
        assert torch.equal(value, before[name]), name
    again = gptviz.trace(model, TEXT)
    for stage in STAGES:
        assert np.array_equal(getattr(again, stage), getattr(plain, stage)), stage
