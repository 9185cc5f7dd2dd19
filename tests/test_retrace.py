"""One attention of an encoder-decoder changed: every stage against float64 NumPy, logits against `nn.Transformer`."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pytest
import torch

import gptviz
from gptviz.checkpoint import TranslationModel
from gptviz.stack import SIDES
from gptviz.trace import STAGES, CellEdit, HeadGain, Trace, WhatIf
from gptviz.translation import AS_TRAINED, TranslationTrace, retrace, trace_pair
from tests.reference import forward_pair
from tests.test_seq2seq import pytorch_twin, twin_logits
from tests.tiny import translator

SOURCE, INPUTS = [77, 300, 12, 45, 301, 9, 260, 5, 404], [404, 31, 280, 7, 266, 90]
CHANGES = [("encoder", WhatIf(causal=False, scaled=False)), ("cross", WhatIf(causal=False, scaled=False))] + [
    ("decoder", WhatIf(causal, scaled)) for causal, scaled in product((True, False), (True, False))
]


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return translator(seed=3)


@pytest.fixture(scope="module")
def plain(model: TranslationModel) -> TranslationTrace:
    return trace_pair(model, SOURCE, INPUTS)


def rules_of(trace: TranslationTrace) -> dict[str, dict]:
    """What each attention of a pass did, for the reference."""
    what_ifs = {side: getattr(trace, side).what_if for side in SIDES}
    return {side: {"causal": what_if.causal, "scaled": what_if.scaled} for side, what_if in what_ifs.items()}


def assert_as_expected(trace: TranslationTrace, expected: dict[str, dict]) -> None:
    for side, stage in product(SIDES, STAGES):
        found, wanted = getattr(getattr(trace, side), stage), expected[side][stage]
        assert found.shape == wanted.shape, (side, stage)
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(np.isfinite(found), finite, err_msg=f"{side} {stage}")
        np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-4, atol=1e-4, err_msg=f"{side} {stage}")


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("side", "what_if"), CHANGES)
def test_every_stage_is_that_of_the_reference(
    model: TranslationModel, side: str, what_if: WhatIf, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(sys.modules[Trace.__module__], "KEPT_BYTES", 0)
    trace = retrace(model, trace_pair(model, SOURCE, INPUTS), side, what_if)
    assert all((getattr(trace, each).kept_weights is not None) == kept for each in SIDES)
    assert getattr(trace, side).what_if == what_if
    assert_as_expected(trace, forward_pair(model.transformer, SOURCE, INPUTS, rules_of(trace)))


@pytest.mark.parametrize("missing", [0, 1])
def test_what_is_kept_of_a_rectangular_attention_is_its_own_size(
    model: TranslationModel, missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = 3 * 4 * len(INPUTS) * len(SOURCE)  # more than the decoder's own, fewer than the encoder's
    monkeypatch.setattr(sys.modules[Trace.__module__], "KEPT_BYTES", 4 * cells - missing)
    trace = trace_pair(model, SOURCE, INPUTS)
    kept = [getattr(trace, side).keeps_squares for side in SIDES]
    assert kept == [False, True, missing == 0]
    assert kept == [getattr(trace, side).kept_weights is not None for side in SIDES]
    assert (trace.cross.scaled is trace.cross.scaled) == (missing == 0)
    np.testing.assert_allclose(trace.cross.layer_weights(1), trace.cross.weights[1])


def test_the_reference_without_a_change_is_the_model_and_with_one_it_is_not(
    model: TranslationModel, plain: TranslationTrace
) -> None:
    assert_as_expected(plain, forward_pair(model.transformer, SOURCE, INPUTS, rules_of(plain)))
    for side, what_if in CHANGES:
        if what_if != AS_TRAINED[side]:
            assert np.abs(retrace(model, plain, side, what_if).decoder.logits - plain.decoder.logits).max() > 0.01


@pytest.mark.parametrize(("side", "what_if"), CHANGES)
def test_logits_are_those_of_pytorchs_transformer(
    model: TranslationModel, plain: TranslationTrace, side: str, what_if: WhatIf
) -> None:
    """PyTorch has no switch for the scaling: with queries sqrt(D) times as long it divides in vain."""
    twin, config = pytorch_twin(model.transformer), model.transformer.config
    name = "multihead_attn" if side == "cross" else "self_attn"
    with torch.no_grad():
        for layer in (twin.encoder if side == "encoder" else twin.decoder).layers:
            if not what_if.scaled:
                attention = getattr(layer, name)
                attention.in_proj_weight[: config.d_model] *= config.d_head**0.5
                attention.in_proj_bias[: config.d_model] *= config.d_head**0.5
        table, ids = model.transformer.token_embedding.weight, (torch.tensor([SOURCE]), torch.tensor([INPUTS]))
        expected = twin_logits(twin, table, *ids, causal=side != "decoder" or what_if.causal)[0]
    found = retrace(model, plain, side, what_if).decoder.logits
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_change_goes_where_the_numbers_go(model: TranslationModel, plain: TranslationTrace) -> None:
    """What is computed before the changed attention is the same to the bit."""
    changed = {side: retrace(model, plain, side, WhatIf(causal=side == "decoder", scaled=False)) for side in SIDES}
    for side in ("decoder", "cross"):
        np.testing.assert_array_equal(changed[side].encoder.logits, plain.encoder.logits)
    np.testing.assert_array_equal(changed["cross"].decoder.weights[0], plain.decoder.weights[0])
    np.testing.assert_array_equal(changed["encoder"].decoder.weights[0], plain.decoder.weights[0])
    for of, seen in (("encoder", "encoder"), ("encoder", "cross"), ("decoder", "cross"), ("cross", "decoder")):
        found, before = getattr(changed[of], seen).weights[-1], getattr(plain, seen).weights[-1]
        assert np.abs(found - before).max() > 1e-3, (of, seen)


def test_changes_of_two_attentions_add_up(model: TranslationModel, plain: TranslationTrace) -> None:
    both = retrace(model, plain, "encoder", WhatIf(causal=False, scaled=False))
    both = retrace(model, both, "decoder", WhatIf(causal=False))
    assert [getattr(both, side).what_if for side in SIDES] == [
        WhatIf(causal=False, scaled=False), WhatIf(causal=False), WhatIf(causal=False),
    ]  # fmt: skip
    assert_as_expected(both, forward_pair(model.transformer, SOURCE, INPUTS, rules_of(both)))
    back = retrace(model, both, "encoder", AS_TRAINED["encoder"])
    back = retrace(model, back, "decoder", AS_TRAINED["decoder"])
    np.testing.assert_array_equal(back.decoder.logits, plain.decoder.logits)


def test_heads_and_cells_of_a_rectangular_attention_can_be_changed(
    model: TranslationModel, plain: TranslationTrace
) -> None:
    edit, gain = CellEdit(1, 2, query=1, key=8, weight=0.75), HeadGain(2, 3, 0.0)
    trace = retrace(model, plain, "cross", WhatIf(causal=False, edits=(edit,), gains=(gain,)))
    row, before = trace.cross.weights[1, 2, 1], plain.cross.weights[1, 2, 1]
    assert row[8] == pytest.approx(0.75)
    np.testing.assert_allclose(row[:8], before[:8] * 0.25 / before[:8].sum(), rtol=1e-5)
    assert (trace.cross.heads[2, 3] == 0).all() and (trace.cross.heads[2, 2] != 0).any()
    np.testing.assert_array_equal(trace.decoder.weights[:2], plain.decoder.weights[:2])


def test_a_trace_of_a_cross_attention_knows_what_keys_and_values_are_of(
    model: TranslationModel, plain: TranslationTrace
) -> None:
    trace = retrace(model, plain, "encoder", WhatIf(causal=False, scaled=False))
    assert plain.encoder.memory is None and plain.decoder.memory is None
    np.testing.assert_array_equal(trace.cross.memory, trace.encoder.final_vectors)
    assert np.abs(trace.cross.memory.numpy() - plain.cross.memory.numpy()).max() > 0.01


def test_nothing_stays_on_the_model(model: TranslationModel, plain: TranslationTrace) -> None:
    before = {name: dict(vars(module)) for name, module in model.transformer.named_modules()}
    weights = {name: value.clone() for name, value in model.transformer.state_dict().items()}
    for side, what_if in CHANGES:
        retrace(model, plain, side, what_if)
    for name, module in model.transformer.named_modules():
        assert vars(module).keys() == before[name].keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.transformer.state_dict().items())
    np.testing.assert_array_equal(trace_pair(model, SOURCE, INPUTS).decoder.logits, plain.decoder.logits)


def test_one_input_and_the_longest_pair(model: TranslationModel) -> None:
    context = model.transformer.config.context
    for source, inputs in ([[5, 404], [404]], [[7] * context, [9] * context], [[7] * context, [404]]):
        trace = retrace(model, trace_pair(model, source, inputs), "cross", WhatIf(causal=False, scaled=False))
        assert trace.cross.weights.shape[2:] == (len(inputs), len(source))
        np.testing.assert_allclose(trace.cross.weights.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("side", ["encoder", "cross"])
def test_a_mask_where_there_is_none_is_refused(model: TranslationModel, plain: TranslationTrace, side: str) -> None:
    for what_if in (WhatIf(), WhatIf(scaled=False)):
        with pytest.raises(ValueError, match=f"expected causal=False for {side} attention, which has no mask"):
            retrace(model, plain, side, what_if)


def test_what_is_not_there_is_refused(model: TranslationModel, plain: TranslationTrace) -> None:
    def edit(query: int, key: int) -> WhatIf:
        return WhatIf(causal=False, edits=(CellEdit(0, 0, query, key, 0.5),))

    with pytest.raises(ValueError, match="expected one of encoder, decoder, cross, found 'left'"):
        retrace(model, plain, "left", WhatIf())
    with pytest.raises(ValueError, match=r"expected a head from 0\.0 to 2\.3, found 3\.0"):
        retrace(model, plain, "cross", WhatIf(causal=False, gains=(HeadGain(3, 0, 0.0),)))
    with pytest.raises(ValueError, match=r"expected a query from 0 to 5, a key to 8 and .* found query 0, key 9"):
        retrace(model, plain, "cross", edit(0, 9))
    with pytest.raises(ValueError, match="found query 6, key 0"):
        retrace(model, plain, "cross", edit(6, 0))
    one = trace_pair(model, [404], INPUTS)
    with pytest.raises(ValueError, match=r"query 2 sees only one key: expected a weight of 1, found 0\.5"):
        retrace(model, one, "cross", edit(2, 0))


def test_a_translation_can_be_retraced(model: TranslationModel) -> None:
    trace = gptviz.translate(model, "My dog has fleas.").trace
    again = retrace(model, trace, "decoder", WhatIf(causal=False))
    assert (again.encoder.tokens, again.cross.ids) == (trace.encoder.tokens, trace.cross.ids)
    assert (again.decoder_weights > 0).all()
