"""What pages make of a pass is claimed and checked: a wrong value of any kind turns the badge red."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from gptviz.analysis.claims import check_claim
from gptviz.analysis.shown import Claim
from gptviz.ui import check as parts
from gptviz.ui.lesson import Reading
from gptviz.ui.translation import PairReading
from tests.page_helpers import fire, mounted, open_page, payload, texts
from tests.test_ui_check import badge

BLOCK = {"the stack", "layer 1", "means of layer 1", "heads of layer 1", "feed-forward of layer 1", "norms of layer 1"}
PAGES = {  # page and what is chosen on it: what it claims
    "next-token": (
        {"next_ids": "300.301"},
        {"next token", "draw", "drawn tokens", "attention", "sentence as typed", "sentence as a whole"},
    ),
    "masked": (
        {},
        {"heads", "predictions", "difference", "whole prediction", "largest changes", "mean surprise", "change"},
    ),
    "loss-gradient": (
        {"loss_norms": "Gradient / weights", "loss_on": "dL/dscores", "loss_optimizer": "AdamW"},
        {"targets", "logits", "norms, gradient", "norms, weight", "norms, relative", "norms over all layers",
         "head 0.0", "what would have helped", "one step", "change of the loss"},
    ),
    "attention": (
        {"text": "abcabcabc", "att_levels": "true"}, {"Head 0.0", "heads of layer 0", "repeats", "levels"}
    ),
    "inside-head": (
        {"head_stage": "project"},
        {"stages", "weights of the head", "cell 5, 0", "row 5", "medians", "random vectors"},
    ),
    "inside-block": (
        {"layer": 1},
        BLOCK | {"units over all sentences"},
    ),
    "positions": ({}, {"positions", "terms", "spread of the terms"}),
    "tokens": (
        {"emb_stage": 2},
        {"tokens shown", "cosines before", "cosines after", "neighbours before", "neighbours after", "nearest", "map"},
    ),
}  # fmt: skip
MAKERS = [  # a function that makes what is shown, where a page shows it, and what is chosen there
    ("gptviz.analysis.predictions", "entropy_bits", "next-token", {}),
    ("gptviz.analysis.predictions", "top", "next-token", {}),
    ("gptviz.analysis.predictions", "chosen_rows", "next-token", {"next_ids": "300"}),
    ("gptviz.analysis.predictions", "read_sentence", "next-token", {}),
    ("gptviz.sampling", "funnel", "next-token", {}),
    ("gptviz.sampling", "with_temperature", "next-token", {}),
    ("gptviz.analysis.masking", "future_share", "masked", {}),
    ("gptviz.analysis.masking", "rearranged", "masked", {}),
    ("gptviz.analysis.masking", "divergence_bits", "masked", {}),
    ("gptviz.analysis.masking", "difference", "masked", {}),
    ("gptviz.analysis.masking", "probability_moved", "masked", {}),
    ("gptviz.analysis.masking", "largest_changes", "masked", {}),
    ("gptviz.analysis.losses", "target_losses", "loss-gradient", {}),
    ("gptviz.analysis.losses", "logit_gradient", "loss-gradient", {}),
    ("gptviz.analysis.gradients", "norms", "loss-gradient", {}),
    ("gptviz.analysis.gradients", "row_kept", "loss-gradient", {}),
    ("gptviz.analysis.one_step", "slope", "loss-gradient", {}),
    ("gptviz.analysis.one_step", "losses_after", "loss-gradient", {}),
    ("gptviz.analysis.heads", "head_table", "attention", {}),
    ("gptviz.analysis.heads", "rollout", "attention", {"att_show": "Rollout"}),
    ("gptviz.analysis.heads", "join_words", "attention", {"att_words": "true"}),
    ("gptviz.analysis.heads", "without_first", "attention", {"att_first": "true"}),
    ("gptviz.analysis.heads", "mean_attention", "attention", {"att_show": "Mean"}),
    ("gptviz.ui.attention", "repeat_score", "attention", {"text": "abcabcabc"}),
    ("gptviz.analysis.head_stages", "attention_stages", "inside-head", {}),
    ("gptviz.analysis.head_stages", "projections", "inside-head", {"head_stage": "weights"}),
    ("gptviz.analysis.head_stages", "work_out", "inside-head", {}),
    ("gptviz.analysis.saturation", "saturation", "inside-head", {}),
    ("gptviz.analysis.block", "norms", "inside-block", {}),
    ("gptviz.analysis.block", "cosines", "inside-block", {}),
    ("gptviz.analysis.block", "head_contributions", "inside-block", {}),
    ("gptviz.analysis.block", "firing", "inside-block", {}),
    ("gptviz.analysis.block", "layer_norms", "inside-block", {}),
    ("gptviz.analysis.block", "directions", "inside-block", {}),
    ("gptviz.analysis.positions", "cosine_matrix", "positions", {}),
    ("gptviz.analysis.positions", "sinusoidal_positions", "positions", {}),
    ("gptviz.analysis.positions", "by_distance", "positions", {}),
    ("gptviz.analysis.positions", "split_scores", "positions", {}),
    ("gptviz.analysis.positions", "spread_in_row", "positions", {}),
    ("gptviz.analysis.vectors", "strips", "tokens", {}),
    ("gptviz.analysis.vectors", "cosine_matrix", "tokens", {}),
    ("gptviz.analysis.vectors", "nearest", "tokens", {}),
    ("gptviz.analysis.vectors", "closest", "tokens", {}),
    ("gptviz.analysis.vectors", "principal_axes", "tokens", {}),
]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No check and nothing that was made by a function of another test."""
    parts.CHECKS.done.clear()
    yield
    parts.CHECKS.done.clear()


@pytest.fixture
def _remake() -> Iterator[None]:
    """What pages keep is made anew, and not kept for others."""
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


def checked(at: AppTest) -> AppTest:
    """The badge once everything is checked that the browser and a click ask for."""
    (wake,) = mounted(at, "gptviz_wake")
    fire(at, wake, "check", payload(wake)["ask"])
    assert not at.exception
    if any(button.key == "check_later" for button in at.button):
        at.button(key="check_later").click().run()
    assert not at.exception
    return at


def wrong(value: Any) -> Any:
    """The same, every number in it 1 % too large, but for counts."""
    if isinstance(value, pd.DataFrame):
        return value.assign(**{name: wrong(column.to_numpy()) for name, column in value.select_dtypes("float").items()})
    if isinstance(value, np.ndarray):
        return value * np.asarray(1.01, dtype=value.dtype) if value.dtype.kind == "f" else value
    if isinstance(value, float):
        return value * 1.01
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(
            value, **{field.name: wrong(getattr(value, field.name)) for field in dataclasses.fields(value)}
        )
    if hasattr(value, "mul_"):
        return value * 1.01
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(wrong, value))
    if isinstance(value, tuple):
        return tuple(map(wrong, value))
    return {name: wrong(each) for name, each in value.items()} if isinstance(value, dict) else value


def claims_of(page: str, query: dict, monkeypatch: pytest.MonkeyPatch) -> Reading | PairReading:
    """The reading of a page with all that it claims."""
    seen: list[Reading | PairReading] = []
    monkeypatch.setattr(parts, "badge", seen.append)
    at = open_page(page, **query)
    assert not at.exception
    return seen[-1]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_claims_what_it_shows_and_each_wrong_number_differs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query, about = PAGES[page]
    reading = claims_of(page, query, monkeypatch)
    assert {claim.about for claim in reading.claims} == about
    each_wrong_number_differs(reading)


def each_wrong_number_differs(reading: Reading | PairReading) -> None:
    """All that a page claims agrees; with any one number of it changed, that quantity alone does not."""
    rng = np.random.default_rng(0)
    for claim in reading.claims:
        passes = [parts.PASSES.get(reading.model, trace) for trace in claim.traces]
        assert check_claim(claim, passes).verdict == "agrees", claim.about
        for name in claim.shown:
            done = check_claim(with_a_wrong_number(claim, name, rng), passes)
            (row,) = [row for row in done.differences if not row.agrees]
            assert done.verdict == "differs" and row.stage == f"{claim.about}: {name}"


def with_a_wrong_number(claim: Claim, name: str, rng: np.random.Generator) -> Claim:
    """One cell of one quantity off by 1 % of the largest number, or a count by far."""
    array = np.array(claim.shown[name])
    place = tuple(int(rng.integers(n)) for n in array.shape)
    if np.isnan(array[place]):
        array[place] = 0.5
    elif array.dtype.kind in "iu":
        array[place] += 40 if array.dtype.itemsize > 1 else 3
    else:
        finite = np.abs(array[np.isfinite(array)]).max(initial=claim.nothing)
        array[place] = 7.0 if np.isinf(array[place]) else array[place] - np.sign(array[place] or 1) * 0.01 * finite
    if name == "u, the draw":
        array = np.array(1.5)
    return dataclasses.replace(claim, shown=dict(claim.shown) | {name: array})


@pytest.mark.usefixtures("_remake")
@pytest.mark.parametrize(
    ("module", "name", "page", "query"), MAKERS, ids=[f"{name}-{page}" for _, name, page, _ in MAKERS]
)
def test_what_is_made_wrong_turns_the_badge_red(
    module: str, name: str, page: str, query: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Callable = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(f"{module}.{name}", lambda *args, **more: wrong(right(*args, **more)))
    at = checked(open_page(page, **query))
    assert badge(at) == "differs"


def test_gradients_wait_for_a_click_and_say_so() -> None:
    at = open_page("loss-gradient")
    assert badge(at) == "checking" and not any(button.key == "check_later" for button in at.button)
    (wake,) = mounted(at, "gptviz_wake")
    fire(at, wake, "check", payload(wake)["ask"])
    assert badge(at) == "partly"
    at.button(key="check_later").click().run()
    assert badge(at) == "agrees"
    at.run()
    assert badge(at) == "agrees" and not any(button.key == "check_later" for button in at.button)


def test_any_result_can_be_looked_up() -> None:
    at = checked(open_page("masked"))
    label = next(block.proto.popover.label for block in at.get("popover") if "checked" in block.proto.popover.label)
    assert label.endswith(", and 17 results")
    at.session_state["check"] = True
    at.run()
    assert "What this page makes of it: 17 results" in texts(at)
    box = at.selectbox(key="check_what")
    for option in box.options[1:]:
        at.selectbox(key="check_what").set_value(option).run()
        assert not at.exception, option
        found = next(frame.value for frame in at.dataframe if "computed by" in frame.value.columns)
        values = [float(value) for value in found["value"]]
        assert len(values) == 4 and np.allclose(values, values[0], rtol=1e-3, atol=1e-6), option


def test_another_choice_is_checked_anew_and_the_same_one_is_not() -> None:
    at = checked(open_page("masked"))
    fields = {field.label: field for field in at.number_input}
    before = len(parts.CHECKS.done)
    at.session_state["check"] = False
    at.run()
    assert badge(at) == "agrees" and len(parts.CHECKS.done) == before, fields
    other = open_page("masked", head=2)
    assert badge(other) == "checking"
    assert badge(checked(other)) == "agrees"
