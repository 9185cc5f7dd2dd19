"""The check of a trace: it agrees with what is right, for every shape, and one wrong cell anywhere turns it red."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptviz.analysis import check as checks
from gptviz.analysis import float64
from gptviz.analysis.check import PATHS, check, look_up
from gptviz.gpt import GPT
from gptviz.trace import STAGES, CellEdit, HeadGain, Trace, WhatIf
from tests import reference
from tests.tiny import random_gpt

ACTIVATIONS = ("relu", "gelu", "gelu_tanh")


@pytest.fixture(scope="module")
def gpt() -> GPT:
    """Two small blocks."""
    return random_gpt(n_layers=2, n_heads=2, d_model=16, d_ff=24)


def fresh(gpt: GPT, t: int = 6, **what_if: object) -> Trace:
    """A trace of its own, that a test may poison."""
    return gpt.trace(list(range(40, 40 + t)), WhatIf(**what_if))


def last_layer(array: np.ndarray) -> tuple[int, ...]:
    """Its first cell; of a stage without layers, that of the last row."""
    return (len(array) - 1, *[0] * (array.ndim - 1))


def spoil(trace: Trace, stage: str, value: float, at: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Change one cell of what is displayed; returns its place."""
    array = getattr(trace, stage).copy()
    place = at or last_layer(array)
    array[place] = value
    trace.arrays[stage] = array
    return place


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(1, 6), st.integers(1, 33), st.integers(1, 24),
    st.sampled_from(["post", "pre"]), st.sampled_from(ACTIVATIONS), st.booleans(), st.booleans(), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_every_shape_agrees(layers, heads, d, d_ff, t, order, activation, tied, causal, scaled, seed) -> None:
    gpt = random_gpt(
        seed=seed, n_layers=layers, n_heads=heads, d_model=heads * d, d_ff=d_ff, norm_order=order,
        activation=activation, tied=tied,
    )  # fmt: skip
    ids = np.random.default_rng(seed).integers(0, gpt.config.vocab_size, t).tolist()
    done = check(gpt, gpt.trace(ids, WhatIf(causal=causal, scaled=scaled)))
    assert done.verdict == "agrees", done.worst
    compared = {(row.stage, row.path) for row in done.differences}
    unseen = {(stage, "fused") for stage in ("scores", "scaled", "masked")}
    assert compared == {(stage, path) for stage in STAGES for path in PATHS} - unseen


@pytest.mark.parametrize(("order", "activation"), [("post", "relu"), ("pre", "gelu"), ("pre", "gelu_tanh")])
@pytest.mark.parametrize(("causal", "scaled"), [(True, True), (False, True), (True, False)])
def test_float64_is_what_the_other_reference_says(order: str, activation: str, causal: bool, scaled: bool) -> None:
    gpt = random_gpt(n_layers=2, norm_order=order, activation=activation)
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    expected = reference.forward(gpt, ids, causal, scaled)
    seen = set()
    for piece in float64.float64_pieces(gpt, ids, WhatIf(causal=causal, scaled=scaled)):
        here = expected[piece.stage] if piece.layer is None else expected[piece.stage][piece.layer]
        np.testing.assert_allclose(piece.values, here, rtol=1e-9, atol=1e-9)
        seen.add(piece.stage)
    assert seen == set(STAGES)


def test_the_independent_path_imports_nothing_that_makes_traces() -> None:
    tree = ast.parse(Path(float64.__file__).read_text(encoding="utf-8"))
    hidden = [node for block in ast.walk(tree) if isinstance(block, ast.If) for node in ast.walk(block)]
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and n not in hidden]
    names = {getattr(n, "module", None) or n.names[0].name for n in imports}
    assert names == {"__future__", "math", "collections.abc", "typing", "numpy", "torch"}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("order", ["post", "pre"])
def test_one_wrong_cell_of_any_stage_is_found_and_named(stage: str, order: str) -> None:
    gpt = random_gpt(n_layers=2, n_heads=2, d_model=16, d_ff=24, norm_order=order)
    trace = fresh(gpt)
    right = float(
        getattr(trace, stage)[tuple(n - 1 if i == 0 else 0 for i, n in enumerate(getattr(trace, stage).shape))]
    )
    place = spoil(trace, stage, right + 0.01)
    done = check(gpt, trace)
    assert done.verdict == "differs"
    worst = done.worst
    assert (worst.stage, worst.path, worst.at) == (stage, "displayed", place)
    assert worst.found == pytest.approx(right + 0.01) and worst.expected == pytest.approx(right, abs=1e-5)
    assert [row.stage for row in done.differences if not row.agrees] == [stage]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("stage", ["token_embeddings", "scores", "weights", "logits"])
def test_what_is_not_a_number_is_never_green(gpt: GPT, stage: str, value: float) -> None:
    trace = fresh(gpt)
    spoil(trace, stage, value)
    assert check(gpt, trace).verdict == "differs"


def test_a_hidden_cell_that_is_not_masked_and_an_open_one_that_is(gpt: GPT) -> None:
    for place, value in (((0, 0, 0, 1), 0.5), ((0, 0, 1, 0), -np.inf)):
        trace = fresh(gpt)
        spoil(trace, "masked", value, place)
        done = check(gpt, trace)
        assert done.verdict == "differs" and done.worst.at == place


def test_a_pass_without_the_mask_is_not_one_with_it(gpt: GPT) -> None:
    trace = dataclasses.replace(fresh(gpt, causal=False), what_if=WhatIf())
    done = check(gpt, trace)
    assert done.verdict == "differs" and done.worst.path == "displayed"


def test_other_weights_are_not_this_model(gpt: GPT) -> None:
    assert check(gpt, fresh(random_gpt(seed=5, n_layers=2, n_heads=2, d_model=16, d_ff=24))).verdict == "differs"


@pytest.mark.parametrize("path", ["plain_kernel", "fused_kernel"])
def test_a_path_that_forgets_the_mask_turns_it_red(gpt: GPT, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(checks, path)
    monkeypatch.setattr(checks, path, lambda what_if: right(dataclasses.replace(what_if, causal=False)))
    done = check(gpt, fresh(gpt))
    assert done.verdict == "differs" and done.worst.path == path.removesuffix("_kernel")


def test_weak_heads_are_checked_and_edited_weights_are_never_green(gpt: GPT) -> None:
    assert check(gpt, fresh(gpt, gains=(HeadGain(1, 0, 0.5), HeadGain(1, 0, -2.0)))).verdict == "agrees"
    edited = check(gpt, fresh(gpt, edits=(CellEdit(0, 1, 3, 2, 0.5),)))
    assert edited.verdict == "undecided" and "by hand" in edited.missing[0]


def test_a_stage_that_was_not_computed_is_never_green(gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    right = checks.displayed
    drop = lambda piece: piece._replace(values=None) if piece.stage == "ff_hidden" else piece  # noqa: E731
    monkeypatch.setattr(checks, "displayed", lambda trace: map(drop, right(trace)))
    done = check(gpt, fresh(gpt))
    assert done.verdict == "undecided" and done.missing == ("ff_hidden was not computed",)


def test_where_rounding_alone_moves_a_pass_far_it_is_not_called_wrong() -> None:
    gpt = random_gpt(seed=136, n_layers=8, d_model=128, norm_order="pre")
    ids = np.random.default_rng(0).integers(0, 250, 48).tolist()
    trace = gpt.trace(ids, WhatIf(scaled=False))
    done = check(gpt, trace)
    assert done.verdict == "undecided", done.worst
    spoil(trace, "token_embeddings", 0.5)
    assert check(gpt, trace).verdict == "differs"


def test_long_texts_are_checked_layer_by_layer(gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Trace.__module__], "KEPT_BYTES", 0)
    trace = fresh(gpt, 30)
    done = check(gpt, trace)
    assert done.verdict == "agrees" and len({row.stage for row in done.differences}) == len(STAGES)
    assert not set(checks.SQUARE) & set(trace.arrays)


def test_logits_beyond_the_first_rows_are_checked_at_their_place() -> None:
    gpt = random_gpt(n_layers=1, context=80)
    trace = gpt.trace(list(range(70)))
    place = spoil(trace, "logits", 99.0, (68, 7))
    assert check(gpt, trace).worst.at == place
    values = look_up(gpt, trace, "logits", None, 68)
    row = 68 - values.start
    assert values.found["displayed"][row, 7] == 99.0
    assert values.expected[row, 7] == pytest.approx(float(values.found["plain"][row, 7]), abs=1e-4)


def test_one_number_by_every_path(gpt: GPT) -> None:
    trace = fresh(gpt)
    expected = reference.forward(gpt, list(trace.ids))["weights"][1, 0, 3, 2]
    values = look_up(gpt, trace, "weights", 1)
    assert values.expected[0, 3, 2] == pytest.approx(expected, abs=1e-12)
    assert [values.found[path][0, 3, 2] for path in PATHS] == pytest.approx([expected] * 3, abs=1e-6)
    assert look_up(gpt, trace, "scores", 1).found["fused"] is None
    with pytest.raises(KeyError, match="expected a stage"):
        look_up(gpt, trace, "weights", 2)


def test_the_shared_model_is_left_as_it_was(gpt: GPT) -> None:
    before = {name: value.clone() for name, value in gpt.state_dict().items()}
    check(gpt, fresh(gpt))
    assert all(torch.equal(value, before[name]) for name, value in gpt.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in gpt.parameters())
    assert torch.is_grad_enabled()
