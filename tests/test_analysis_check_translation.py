"""The check of a translation's traces: it agrees with what is right, and one wrong cell on any side turns it red."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gptviz
from gptviz.analysis import check as one
from gptviz.analysis import check_translation as checks
from gptviz.analysis import float64_pair
from gptviz.analysis.check import PATHS, SQUARE
from gptviz.analysis.check_translation import ALL, STAGES_OF, check_translation, look_up
from gptviz.checkpoint import TranslationModel
from gptviz.config import TransformerConfig
from gptviz.seq2seq import Transformer
from gptviz.trace import CellEdit, HeadGain, Trace, WhatIf
from gptviz.translation import TranslationTrace, retrace, trace_pair
from tests import reference
from tests.tiny import translator

SOURCE, INPUTS = [40, 41, 42, 43, 44], [300, 50, 51, 50]
CHANGES = {  # a what-if -> the changes of each side; the other reference knows all but the last
    "as trained": {},
    "encoder not scaled": {"encoder": WhatIf(causal=False, scaled=False)},
    "decoder not scaled": {"decoder": WhatIf(scaled=False)},
    "decoder unmasked": {"decoder": WhatIf(causal=False)},
    "cross not scaled": {"cross": WhatIf(causal=False, scaled=False)},
    "weak heads": {
        "encoder": WhatIf(causal=False, gains=(HeadGain(0, 1, 0.5),)),
        "decoder": WhatIf(gains=(HeadGain(1, 0, -2.0),)),
        "cross": WhatIf(causal=False, gains=(HeadGain(2, 3, 0.0),)),
    },
}


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return translator()


def fresh(model: TranslationModel, **changes: WhatIf) -> TranslationTrace:
    """A trace of its own, that a test may poison."""
    trace = trace_pair(model, SOURCE, INPUTS)
    for side, what_if in changes.items():
        trace = retrace(model, trace, side, what_if)
    return trace


def spoil(trace: TranslationTrace, name: str, by: float = 0.01) -> tuple[tuple[int, ...], float]:
    """Change one cell of what is displayed; returns its place and what was there."""
    side, _, stage = name.partition(".")
    seen: Trace = getattr(trace, side)
    if stage == "memory":
        object.__setattr__(seen, "memory", seen.memory.clone())  # it is the encoder's last stream as well
        array = seen.memory.numpy()
    else:
        array = getattr(seen, stage).copy()
        seen.arrays[stage] = array
    place = (len(array) - 1, *[0] * (array.ndim - 1))
    right = float(array[place])
    array[place] += by
    return place, right


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_every_stage_of_every_side_agrees_on_every_path(model: TranslationModel, changes: dict) -> None:
    done = check_translation(model.transformer, fresh(model, **changes))
    assert done.verdict == "agrees", done.worst
    unseen = {(f"{side}.{stage}", "fused") for side in STAGES_OF for stage in ("scores", "scaled", "masked")}
    assert {(row.stage, row.path) for row in done.differences} == set(itertools.product(ALL, PATHS)) - unseen


@pytest.mark.parametrize(
    ("s", "t", "activation"), [(1, 1, "relu"), (1, 5, "gelu"), (7, 1, "gelu_tanh"), (48, 48, "relu")]
)
def test_other_lengths_and_activations_agree(s: int, t: int, activation: str) -> None:
    torch.manual_seed(s)
    base = translator()
    config = TransformerConfig(vocab_size=70, context=48, n_layers=2, n_heads=2, d_model=6, activation=activation)
    other = dataclasses.replace(base, transformer=Transformer(config).for_reading())
    rng = np.random.default_rng(s)
    trace = trace_pair(other, *(rng.integers(0, 70, n).tolist() for n in (s, t)))
    done = check_translation(other.transformer, trace)
    assert done.verdict == "agrees", done.worst


@pytest.mark.parametrize("changes", list(CHANGES.values())[:-1], ids=list(CHANGES)[:-1])
def test_float64_is_what_the_other_reference_says(model: TranslationModel, changes: dict) -> None:
    trace = fresh(model, **changes)
    what_ifs = checks.what_ifs_of(trace)
    rules = {side: {"causal": what_if.causal, "scaled": what_if.scaled} for side, what_if in what_ifs.items()}
    expected = reference.forward_pair(model.transformer, SOURCE, INPUTS, rules)
    expected["cross"]["memory"] = expected["encoder"]["final_vectors"]
    seen = set()
    for piece in checks.float64_of(model.transformer, trace):
        side, _, stage = piece.stage.partition(".")
        here = expected[side][stage] if piece.layer is None else expected[side][stage][piece.layer]
        np.testing.assert_allclose(piece.values, here, rtol=1e-9, atol=1e-9)
        seen.add(piece.stage)
    assert seen == set(ALL)


def test_the_independent_path_imports_nothing_that_makes_traces() -> None:
    tree = ast.parse(Path(float64_pair.__file__).read_text(encoding="utf-8"))
    hidden = [node for block in ast.walk(tree) if isinstance(block, ast.If) for node in ast.walk(block)]
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and n not in hidden]
    names = {getattr(n, "module", None) or n.names[0].name for n in imports}
    assert names == {"__future__", "collections.abc", "typing", "numpy", "gptviz.analysis.float64"}


@pytest.mark.parametrize("name", ALL)
def test_one_wrong_cell_of_any_stage_of_any_side_is_found_and_named(model: TranslationModel, name: str) -> None:
    trace = fresh(model)
    place, right = spoil(trace, name)
    done = check_translation(model.transformer, trace)
    assert done.verdict == "differs"
    worst = done.worst
    assert (worst.stage, worst.path, worst.at) == (name, "displayed", place)
    assert worst.found == pytest.approx(right + 0.01, abs=1e-5) and worst.expected == pytest.approx(right, abs=1e-4)
    assert [row.stage for row in done.differences if not row.agrees] == [name]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", STAGES_OF)
def test_what_is_not_a_number_is_never_green(model: TranslationModel, side: str, value: float) -> None:
    trace = fresh(model)
    spoil(trace, f"{side}.weights", value)
    assert check_translation(model.transformer, trace).verdict == "differs"


@pytest.mark.parametrize(
    "changed", ["encoder.1.attention.out.weight", "decoder.0.cross.qkv.weight", "decoder.2.ff_norm.bias"]
)
def test_weights_that_changed_after_the_trace_turn_it_red(changed: str) -> None:
    model = translator()
    trace = fresh(model)
    assert check_translation(model.transformer, trace).verdict == "agrees"
    with torch.no_grad():
        weight = model.transformer.get_parameter(changed)
        weight[(0,) * weight.ndim] += 0.5
    done = check_translation(model.transformer, trace)
    wrong = {row.stage for row in done.differences if not row.agrees and row.path == "displayed"}
    first = {"encoder.1": "encoder.attention_out", "decoder.0": "cross.q", "decoder.2": "decoder.residual"}[changed[:9]]
    assert done.verdict == "differs" and first in wrong and first.partition(".")[0] + ".logits" in wrong
    assert changed.startswith("encoder") == any(stage.startswith("encoder") for stage in wrong)


@pytest.mark.parametrize(("side", "what_if"), [("decoder", WhatIf()), ("cross", WhatIf(causal=False))])
def test_a_pass_that_was_changed_is_not_the_one_as_trained(model: TranslationModel, side: str, what_if: WhatIf) -> None:
    changed = fresh(model, **{side: dataclasses.replace(what_if, causal=False, scaled=side == "decoder")})
    posing = dataclasses.replace(changed, **{side: dataclasses.replace(getattr(changed, side), what_if=what_if)})
    done = check_translation(model.transformer, posing)
    wrong = {row.stage for row in done.differences if not row.agrees and row.path == "displayed"}
    assert done.verdict == "differs" and f"{side}.weights" in wrong
    assert not any(stage.startswith("encoder") for stage in wrong)


@pytest.mark.parametrize("path", ["plain_kernel", "fused_kernel"])
def test_a_path_that_forgets_the_mask_turns_it_red(
    model: TranslationModel, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(checks, path)
    monkeypatch.setattr(checks, path, lambda what_if: right(dataclasses.replace(what_if, causal=False)))
    done = check_translation(model.transformer, fresh(model))
    assert done.verdict == "differs" and done.worst.path == path.removesuffix("_kernel")
    assert done.worst.stage.startswith("decoder")


@pytest.mark.parametrize("side", STAGES_OF)
def test_edited_weights_are_never_green(model: TranslationModel, side: str) -> None:
    edited = fresh(model, **{side: WhatIf(causal=False, edits=(CellEdit(0, 1, 3, 2, 0.5),))})
    done = check_translation(model.transformer, edited)
    assert done.verdict == "undecided" and "by hand" in done.missing[0]


def test_a_stage_that_was_not_computed_is_never_green(model: TranslationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    right = checks.displayed
    drop = lambda piece: piece._replace(values=None) if piece.stage == "cross.q" else piece  # noqa: E731
    monkeypatch.setattr(checks, "displayed", lambda trace: map(drop, right(trace)))
    done = check_translation(model.transformer, fresh(model))
    assert done.verdict == "undecided" and done.missing == ("cross.q was not computed",)


def test_where_weights_are_not_kept_they_are_checked_layer_by_layer(
    model: TranslationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[Trace.__module__], "KEPT_BYTES", 0)
    trace = fresh(model)
    assert trace.cross.kept_weights is None
    assert check_translation(model.transformer, trace).verdict == "agrees"
    assert not any(set(SQUARE) & set(getattr(trace, side).arrays) for side in STAGES_OF)


def test_where_rounding_alone_moves_a_pass_far_it_is_not_called_wrong() -> None:
    model = translator()
    with torch.no_grad():
        for block in model.transformer.encoder:
            block.attention.qkv.weight *= 60  # scores in the thousands
    trace = trace_pair(model, list(range(40, 80)), INPUTS, checks.what_ifs_of(
        fresh(model, encoder=WhatIf(causal=False, scaled=False))))  # fmt: skip
    assert check_translation(model.transformer, trace).verdict in ("agrees", "undecided")
    spoil(trace, "encoder.token_embeddings", 0.5)
    assert check_translation(model.transformer, trace).verdict == "differs"


def test_one_number_by_every_path(model: TranslationModel) -> None:
    trace = fresh(model)
    expected = reference.forward_pair(
        model.transformer, SOURCE, INPUTS, {side: {"causal": side == "decoder"} for side in STAGES_OF}
    )["cross"]["weights"][1, 0, 3, 2]
    values = look_up(model.transformer, trace, "cross.weights", 1)
    assert values.expected.shape == (4, len(INPUTS), len(SOURCE))
    assert values.expected[0, 3, 2] == pytest.approx(expected, abs=1e-12)
    assert [values.found[path][0, 3, 2] for path in PATHS] == pytest.approx([expected] * 3, abs=1e-6)
    assert look_up(model.transformer, trace, "cross.scores", 1).found["fused"] is None
    memory = look_up(model.transformer, trace, "cross.memory", None)
    np.testing.assert_allclose(memory.found["displayed"], trace.encoder.final_vectors)
    for missing in (("cross.weights", 3), ("weights", 1)):
        with pytest.raises(KeyError, match=r"expected a stage of encoder\."):
            look_up(model.transformer, trace, *missing)


def test_a_translation_and_a_reference_are_checked_alike(model: TranslationModel) -> None:
    for trace in (gptviz.translate(model, "My dog", beam=3).trace, gptviz.force(model, "My dog", "a cat").trace):
        assert check_translation(model.transformer, trace).verdict == "agrees"


def test_the_layer_is_all_there_is_inside() -> None:
    assert checks.ATTENTION + checks.REST == one.INSIDE


def test_the_shared_model_is_left_as_it_was(model: TranslationModel) -> None:
    before = {name: value.clone() for name, value in model.transformer.state_dict().items()}
    check_translation(model.transformer, fresh(model))
    assert all(torch.equal(value, before[name]) for name, value in model.transformer.state_dict().items())
    assert torch.is_grad_enabled()
