"""Lessons about one training, or two models: all that they show is claimed, and a wrong number turns them red."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import streamlit as st

from gptviz.ui import check as parts
from gptviz.ui import lapse
from gptviz.ui.lesson import Reading
from tests.page_helpers import open_page, texts
from tests.test_ui_check import badge
from tests.test_ui_claims import checked, each_wrong_number_differs, wrong

TEXT = "Lily had a cat. Lily had"
WRITTEN = "what was written"
TWINS = {
    "With the mask": {"attention to the next token", "sentence with the mask", "next token",
                      f"{WRITTEN} with the mask", f"{WRITTEN} without the mask"},
    "Without the mask": {"attention to the next token", "sentence without, the answer in view",
                         "sentence without, nothing after it there", "sentence without, but masked now", "next token"},
}  # fmt: skip
LAPSE = {"gpt-small": {f"{what} after step 46" for what in ("heads", "next token", "scores")}}
BOTH = {"head 1.2", "likeliest", "next token"}
CLAIMS = {  # page: what is chosen, and what it claims of each model
    "why-mask": ({}, TWINS),
    "time-lapse": ({"lapse_step": 46}, LAPSE),
    "compare": ({"other": "gpt-small", "layer": 1, "head": 2, "other_layer": 1, "other_head": 2},
                {"gpt-stories": BOTH, "gpt-small": BOTH}),
}  # fmt: skip
MAKERS = [
    ("gptviz.analysis.twins", "next_share", "why-mask"),
    ("gptviz.analysis.twins", "of_the_next", "why-mask"),
    ("gptviz.analysis.twins", "of_the_next_unseen", "why-mask"),
    ("gptviz.analysis.twins", "likeliest", "why-mask"),
    ("gptviz.analysis.lapse", "top", "time-lapse"),
    ("gptviz.analysis.lapse", "previous_token_score", "time-lapse"),
    ("gptviz.analysis.lapse", "induction_score", "time-lapse"),
    ("gptviz.ui.side_by_side", "between_pieces", "compare"),
    ("gptviz.sampling", "softmax", "compare"),
]


def forget() -> None:
    parts.CHECKS.done.clear()
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    """No check, and nothing that was made by a function of another test."""
    forget()
    yield
    forget()


@pytest.mark.parametrize("page", CLAIMS)
def test_a_page_claims_what_it_shows_of_each_model(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query, about = CLAIMS[page]
    seen: list[tuple[Reading, ...]] = []
    monkeypatch.setattr(parts, "badge", lambda *readings: seen.append(readings))
    assert not open_page(page, text=TEXT, **query).exception
    assert {reading.name.partition("@")[0]: {claim.about for claim in reading.claims} for reading in seen[-1]} == about
    for reading in seen[-1]:
        each_wrong_number_differs(reading)


@pytest.mark.parametrize(("module", "name", "page"), MAKERS, ids=[f"{name}-{page}" for _, name, page in MAKERS])
def test_what_is_made_wrong_turns_the_badge_red(
    module: str, name: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, _ = CLAIMS[page]
    right: Callable = getattr(importlib.import_module(module), name)
    assert badge(checked(open_page(page, text=TEXT, **query))) == "agrees"
    forget()
    monkeypatch.setattr(f"{module}.{name}", lambda *args, **more: wrong(right(*args, **more)))
    assert badge(checked(open_page(page, text=TEXT, **query))) == "differs"


@pytest.mark.parametrize("page", CLAIMS)
def test_any_number_of_either_model_can_be_looked_up(page: str) -> None:
    query, about = CLAIMS[page]
    at = checked(open_page(page, text=TEXT, **query))
    at.session_state["check"] = True
    at.run()
    names = [*about] if len(about) > 1 else [""]
    for name in names:
        if name:
            at.selectbox(key="check_model").set_value(name).run()
        assert not at.exception
        assert "stages agree, every cell of them" in texts(at)
        for option in at.selectbox(key="check_what").options[1:]:
            at.selectbox(key="check_what").set_value(option).run()
            assert not at.exception, option
            found = next(frame.value for frame in at.dataframe if "computed by" in frame.value.columns)
            values = [float(value) for value in found["value"]]
            assert len(values) == 4 and np.allclose(values, values[0], rtol=1e-3, atol=1e-6), option


def test_each_step_of_a_recording_is_checked_on_its_own() -> None:
    at = checked(open_page("time-lapse", text=TEXT, lapse_step=46))
    assert badge(at) == "agrees"
    other = open_page("time-lapse", text=TEXT)
    assert badge(other) == "checking"
    assert badge(checked(other)) == "agrees"


def test_one_wrong_weight_of_a_snapshot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def moments(*given: object) -> object:
        found = right(*given)
        weights = found.weights.copy()
        weights[-1, 0, 0, -1, 0] += 0.01
        return found._replace(weights=weights)

    right = lapse.moments_of
    monkeypatch.setattr(lapse, "moments_of", moments)
    assert badge(checked(open_page("time-lapse", text=TEXT))) == "differs"
