"""Tables of traces: the number in a row is the array's at the places that the row names; what a notebook shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptviz
from gptviz import LanguageModel, frames
from gptviz.stack import SIDES
from gptviz.trace import AXES, STAGES, CellEdit, HeadGain, WhatIf
from tests.tiny import language_model, random_gpt, translated

SENTENCE = "My dog has fleas"
LLAMA = {"norm_order": "pre", "norm": "rms", "bias": "none", "positions": "rotary", "gated": True, "activation": "silu"}
HOSTILE = ["<script>alert(1)</script>", "$x$ & <b>", "\x1b[2J\u202e", "שלום 👩‍👩‍👧", "```"]


@pytest.fixture(scope="module")
def traces(tiny_model: LanguageModel, tiny_pre_norm: LanguageModel) -> dict[str, gptviz.Trace]:
    """Of three models and with changes: what every stage of each says is checked."""
    llama = language_model("llama", random_gpt(seed=3, n_kv_heads=2, **LLAMA))
    change = WhatIf(causal=False, gains=(HeadGain(1, 2, 0.5),), edits=(CellEdit(1, 1, 2, 0, 0.7),))
    return {
        "lesson": gptviz.trace(tiny_model, SENTENCE),
        "changed": gptviz.trace(tiny_model, SENTENCE, what_if=change),
        "gpt2": gptviz.trace(tiny_pre_norm, SENTENCE + " and the cat"),
        "llama": gptviz.trace(llama, SENTENCE),
    }


def same(frame: object, names: tuple[str, ...], array: np.ndarray) -> None:
    """Every row's number is the array's at the row's places, and every place has its row."""
    value = frame.columns[-1]
    places = tuple(frame[name].to_numpy() for name in names)
    assert len(frame) == array.size == len(set(zip(*places, strict=True)))
    np.testing.assert_array_equal(frame[value].to_numpy(), array[places])


@pytest.mark.parametrize("which", ["lesson", "changed", "gpt2", "llama"])
def test_axes_are_the_arrays_own(traces: dict[str, gptviz.Trace], which: str) -> None:
    assert tuple(AXES) == STAGES
    for stage in STAGES:
        sizes = traces[which].axes(stage)
        assert tuple(sizes) == AXES[stage]
        assert tuple(sizes.values()) == getattr(traces[which], stage).shape, stage


@settings(max_examples=40)
@given(data=st.data())
def test_a_row_holds_the_number_at_its_places(traces: dict[str, gptviz.Trace], data: st.DataObject) -> None:
    trace = traces[data.draw(st.sampled_from(sorted(traces)))]
    stage = data.draw(st.sampled_from(STAGES))
    sizes = trace.axes(stage)
    chosen = {
        name: data.draw(st.none() | st.integers(0, sizes[name] - 1)) for name in ("layer", "head") if name in sizes
    }
    frame = trace.to_frame(stage, **chosen)
    array = getattr(trace, stage)
    for axis, name in enumerate(AXES[stage]):
        if chosen.get(name) is not None:
            array = np.take(array, [chosen[name]], axis=axis)
            assert set(frame[name]) == {chosen[name]}
    np.testing.assert_array_equal(frame.iloc[:, -1].to_numpy(), array.reshape(-1))  # rows in the array's own order


def test_rows_name_their_places(traces: dict[str, gptviz.Trace]) -> None:
    for trace in traces.values():
        for stage in STAGES:
            same(trace.to_frame(stage), AXES[stage], getattr(trace, stage))


def test_rows_name_their_tokens(traces: dict[str, gptviz.Trace]) -> None:
    trace = traces["lesson"]
    frame = trace.to_frame(layer=1, head=3)
    assert list(frame.columns) == ["layer", "head", "query", "key", "query_token", "key_token", "weight"]
    assert [trace.tokens[i] for i in frame["query"]] == list(frame["query_token"])
    assert [trace.tokens[i] for i in frame["key"]] == list(frame["key_token"])
    assert frame.groupby("query")["weight"].sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert list(trace.to_frame("ff_out", layer=0).columns) == ["layer", "token", "dimension", "text", "value"]
    bare = dataclasses.replace(trace, tokens=(), arrays={})
    assert list(bare.to_frame().columns) == ["layer", "head", "query", "key", "weight"]


def test_cross_attention_names_the_tokens_of_the_source() -> None:
    trace = translated("the cat and the dog")
    assert len(trace.encoder.tokens) != len(trace.decoder.tokens)
    for side in SIDES:
        one = getattr(trace, side)
        frame = trace.to_frame(side=side)
        same(frame, AXES["weights"], one.weights)
        keys = trace.encoder.tokens if side == "cross" else one.tokens
        assert [keys[i] for i in frame["key"]] == list(frame["key_token"])
        assert [one.tokens[i] for i in frame["query"]] == list(frame["query_token"])
        for stage in STAGES:
            assert tuple(one.axes(stage).values()) == getattr(one, stage).shape, (side, stage)
    assert "key_token" not in trace.cross.to_frame().columns  # it does not know them
    with pytest.raises(ValueError, match="expected one of encoder, decoder, cross, found 'middle'"):
        trace.to_frame(side="middle")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"stage": "nope"}, "expected one of token_embeddings, .* found 'nope'"),
        ({"layer": 3}, "expected a layer from 0 to 2 for weights, found 3"),
        ({"layer": -1}, "expected a layer from 0 to 2"),
        ({"head": 4}, "expected a head from 0 to 3"),
        ({"stage": "residual", "layer": 4}, "expected a layer from 0 to 3 for residual, found 4"),
        ({"stage": "residual", "head": 0}, "expected no head for residual, whose axes are layer, token, dimension"),
        ({"stage": "logits", "layer": 0}, "expected no layer for logits"),
    ],
)
def test_what_is_not_there_is_refused(traces: dict[str, gptviz.Trace], arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        traces["lesson"].to_frame(**arguments)


def test_a_table_beyond_all_measure_is_refused_with_its_size_before_it_is_made(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = gptviz.trace(tiny_model, " dog" * 64)  # 3 x 4 x 64 x 64 = 49,152 rows
    monkeypatch.setattr(frames, "MOST_ROWS", 40_000)
    for stage in ("weights", "scores"):
        trace.arrays.clear()
        with pytest.raises(ValueError, match=r"at most 40,000 rows, found 49,152 in .*3 layers x 4 heads x 64 queries"):
            trace.to_frame(stage)
        assert not trace.arrays
        with pytest.raises(ValueError, match="layer=0 and head=0"):
            trace.to_frame(stage)
        assert len(trace.to_frame(stage, layer=1)) == 4 * 64 * 64
        assert not trace.arrays or stage == "weights"  # the other layers' scores were not made
    with pytest.raises(ValueError, match=r"the array has no such bound: trace\.logits"):
        monkeypatch.setattr(frames, "MOST_ROWS", 100)
        trace.to_frame("logits")


def test_a_notebook_shows_tokens_next_tokens_and_shapes(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, SENTENCE)
    shown = trace._repr_html_()
    best = int(trace.logits[-1].argmax())
    p = np.exp(trace.logits[-1].astype(np.float64))
    assert f"{p.max() / p.sum():.4f}" in shown
    assert "<code>·dog</code>" in shown
    assert tiny_model.tokenizer.token_texts([best])[0].strip() in shown
    assert f"3 layers x 4 heads x {len(trace.ids)} queries x {len(trace.ids)} keys" in shown
    assert "every token sees the future" in gptviz.trace(tiny_model, SENTENCE, causal=False)._repr_html_()
    assert "more at the left were cut" in gptviz.trace(tiny_model, " dog" * 100)._repr_html_()
    assert "source: " in translated("the cat and the dog")._repr_html_()


@pytest.mark.parametrize("text", HOSTILE)
def test_tokens_are_literal_text_in_a_notebook(tiny_model: LanguageModel, text: str) -> None:
    whole = dataclasses.replace(gptviz.trace(tiny_model, "dog"), tokens=(text,), arrays={})
    shown = whole._repr_html_()
    assert "<script" not in shown
    assert "<b>" not in shown
    assert all(c.isprintable() for c in shown)
    assert list(whole.to_frame()["query_token"][:1]) == [text]


def test_a_model_says_what_it_is(tiny_model: LanguageModel) -> None:
    said = repr(tiny_model)
    assert said.startswith("LanguageModel('tiny': 3 layers of 4 heads, width 32, ")
    assert f"{tiny_model.gpt.count_parameters():,} parameters on cpu" in said
    assert "Linear" not in said
    assert len(said) < 250
