"""A claim is compared as it should be: right ones agree, any wrong number differs, nothing unknown is called right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gptviz.analysis import passes
from gptviz.analysis.claims import check_claim, look_up_claim
from gptviz.analysis.derived import Bounds
from gptviz.analysis.derived import gradients as of_gradients
from gptviz.analysis.derived import predictions as derived
from gptviz.analysis.passes import MissingStage, Pass, float64_pass
from gptviz.analysis.predictions import read_sentence
from gptviz.analysis.shown import Claim, claim
from gptviz.gpt import GPT
from gptviz.trace import CellEdit, WhatIf
from tests.tiny import random_gpt

IDS = (3, 1, 4, 1, 5, 9)


@pytest.fixture(scope="module")
def gpt() -> GPT:
    """Two small blocks."""
    return random_gpt(n_layers=2, n_heads=2, d_model=16, d_ff=24)


def judged(gpt: GPT, what_if: WhatIf | None = None) -> Claim:
    """What a page shows of a sentence."""
    trace = gpt.trace(IDS, what_if)
    came = read_sentence(trace.logits, IDS).iloc[1:-1]
    shown = {"surprise, bits [position]": came["surprise"], "rank [position]": came["rank"].to_numpy(dtype=np.int64)}
    return claim("sentence", shown, derived.sentence, of=(trace,))


def verdict(gpt: GPT, each: Claim) -> str:
    """What comes out."""
    return check_claim(each, [float64_pass(gpt, trace) for trace in each.traces]).verdict


def with_number(each: Claim, name: str, at: int, value: float) -> Claim:
    """The same claim with one number changed."""
    array = each.shown[name].copy()
    array[at] = value
    return dataclasses.replace(each, shown=dict(each.shown) | {name: array})


def test_right_numbers_agree_and_each_wrong_one_differs(gpt: GPT) -> None:
    right = judged(gpt)
    assert verdict(gpt, right) == "agrees" and right.count == 2 * (len(IDS) - 1)
    for name, values in right.shown.items():
        for at, value in enumerate(values):
            wrong = with_number(right, name, at, value + 3)  # a rank may be off by one among equals
            assert verdict(gpt, wrong) == "differs", (name, at)
            assert wrong.key != right.key
    for value in (np.nan, np.inf):
        assert verdict(gpt, with_number(right, "surprise, bits [position]", 2, value)) == "differs"
    off = with_number(right, "surprise, bits [position]", 2, right.shown["surprise, bits [position]"][2] * 1.001)
    (row,) = [row for row in check_claim(off, [float64_pass(gpt, off.traces[0])]).differences if not row.agrees]
    assert (row.stage, row.at) == ("sentence: surprise, bits [position]", (2,))


def test_the_claim_of_another_pass_differs(gpt: GPT) -> None:
    unmasked = judged(gpt, WhatIf(causal=False))
    assert verdict(gpt, unmasked) == "agrees"
    assert verdict(gpt, dataclasses.replace(unmasked, traces=(gpt.trace(IDS),))) == "differs"
    assert verdict(random_gpt(seed=3, n_layers=2, n_heads=2, d_model=16, d_ff=24), judged(gpt)) == "differs"


def test_what_has_no_number_agrees_with_what_has_none(gpt: GPT) -> None:
    trace = gpt.trace(IDS)

    def made(_: Pass) -> dict:
        return {"a [x]": np.array([1.0, np.nan]), "b": Bounds(np.array(2), np.array(4)), "c": -np.inf}

    for shown, expected in (
        ({"a [x]": [1.0, np.nan], "b": 3, "c": -np.inf}, "agrees"),
        ({"a [x]": [1.0, 0.0]}, "differs"), ({"a [x]": [np.nan, np.nan]}, "differs"), ({"b": 5}, "differs"),
        ({"b": 1}, "differs"), ({"c": 0.0}, "differs"),
    ):  # fmt: skip
        assert verdict(gpt, claim("all", shown, made, of=(trace,))) == expected, shown
    with pytest.raises(KeyError, match=r"found 'd'; let .*made derive it"):
        verdict(gpt, claim("all", {"d": 1}, made, of=(trace,)))
    with pytest.raises(ValueError, match="of shape"):
        verdict(gpt, claim("all", {"a [x]": [1.0]}, made, of=(trace,)))
    assert not claim("all", {"a [x]": []}, made, of=(trace,)).shown


def test_only_rounding_of_this_very_pass_excuses_a_difference(gpt: GPT) -> None:
    def amplified(seen: Pass) -> dict:
        return {"a": 1e7 * (seen.logits_at(-1)[0] - exactly)}

    trace = gpt.trace(IDS)
    exactly = Pass(gpt, IDS, WhatIf()).logits_at(-1)[0]
    near = claim("tiny difference", {"a": 1e7 * (float(trace.logits[-1, 0]) - exactly)}, amplified, of=(trace,))
    assert verdict(gpt, near) == "undecided"
    assert verdict(gpt, dataclasses.replace(near, shown={"a": np.array(1e5)})) == "differs"


def test_edited_weights_are_never_green(gpt: GPT) -> None:
    edited = judged(gpt, WhatIf(edits=(CellEdit(0, 1, 3, 2, 0.5),)))
    done = check_claim(edited, [float64_pass(gpt, edited.traces[0])])
    assert done.verdict == "undecided" and "by hand" in done.missing[0]


def test_a_long_text_is_read_piece_by_piece_and_has_no_gradient(gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Pass(gpt, IDS, WhatIf())
    monkeypatch.setattr(passes, "KEPT_BYTES", 0)
    other = Pass(gpt, IDS, WhatIf())
    for stage in ("weights", "residual"):
        for a, b in zip(seen.layers(stage), other.layers(stage), strict=True):
            np.testing.assert_array_equal(a, b)
    assert other.kept is None and other.size == 0
    np.testing.assert_array_equal(seen.logits_at(-2), other.logits_at(4))
    slope = claim("step", {"slope": 1.0}, of_gradients.step, "sgd", 0.1, of=(gpt.trace(IDS),), slow=True)
    done = check_claim(slope, [other])
    assert done.verdict == "undecided" and "too much memory" in done.missing[0]


def test_one_number_by_three_paths(gpt: GPT) -> None:
    right = judged(gpt)
    found = look_up_claim(gpt, right, "surprise, bits [position]")
    for values in found.values():
        np.testing.assert_allclose(values, right.shown["surprise, bits [position]"], rtol=1e-4)
    assert set(found) == {"float64", "plain", "fused"}

    def top_score(seen: Pass) -> dict:
        return {"largest": seen.layer("scores", 0).max()}

    found = look_up_claim(gpt, claim("scores", {"largest": 1.0}, top_score, of=(gpt.trace(IDS),)), "largest")
    assert found["fused"] is None and found["plain"] == pytest.approx(found["float64"], rel=1e-5)
    gradient = claim("step", {"slope": 1.0}, of_gradients.step, "sgd", 0.1, of=(gpt.trace(IDS),))
    found = look_up_claim(gpt, gradient, "slope")
    assert found["plain"] is None and found["float64"] > 0
    with pytest.raises(MissingStage):
        _ = Pass(gpt, IDS, WhatIf(), make=lambda: iter(())).gradient
