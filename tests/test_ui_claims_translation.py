"""What pages about the encoder-decoder make of its passes is claimed and checked, on every side: as for a GPT."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import streamlit as st

from gptviz.ui import check as parts
from tests.page_helpers import open_sound_page, texts
from tests.test_ui_check import badge
from tests.test_ui_check_translation import REFERENCE, SENTENCE
from tests.test_ui_claims import checked, claims_of, each_wrong_number_differs, wrong

CROSS = {"side": "Cross-attention", "head_query": 9}
HEAD = {"stages", "medians", "random vectors"}
TOKENS = {"tokens shown", "cosines before", "cosines after", "neighbours before", "neighbours after", "nearest", "map"}
BEAM = {"tree", "what could follow", "the step after it", "translations that ended"}
OTHER = {"source": "big red ball", "beam": 4}  # a sentence of which the beam finds another translation
LOOKS = {"where heads of the encoder look", "where heads of the decoder look"}
PAGES = [  # page and what is chosen on it: what it claims
    ("translate", {}, {"attention", "candidates", "translation", "whole cross-attention"}),
    ("translate", {"step": 3, "translate_view": "One head"}, {"attention", "candidates", "translation", "step 3"}),
    ("teacher-forcing", {"forced_at": 1}, {"reference", "running free", "both", "position 1"}),
    ("beam-search", {"beam": 1, "beam_node": "start"}, BEAM),
    ("beam-search", OTHER, BEAM | {"both"}),
    ("encoder-decoder", {"layer": 1, "head": 2}, LOOKS | {"future of head 1.2"}),
    ("transformer-tokens", {}, TOKENS),
    ("transformer-tokens", {"emb_stage": 2, "emb_unit": "false"}, TOKENS),
    ("transformer-tokens", {"emb_stage": 2, "side": "Decoder", "emb_token": 2}, TOKENS),
    ("transformer-positions", {"head": 2}, {"positions", "terms", "spread of the terms"}),
    ("transformer-positions", {"side": "Decoder"}, {"positions", "terms", "spread of the terms"}),
    (
        "transformer-inside-head",
        {"layer": 1, "head_stage": "weights"},
        HEAD | {"weights of the head", "cell 4, 0", "row 4"},
    ),
    ("transformer-inside-head", {"side": "Decoder", "head_query": 2}, HEAD | {"cell 2, 0", "row 2"}),
    ("transformer-inside-head", CROSS | {"head_query": 9, "head_key": 3}, HEAD | {"cell 9, 3", "row 9"}),
    ("transformer-inside-head", CROSS | {"head_unscaled": "true"}, HEAD | {"cell 9, 0", "row 9"}),
]

MAKERS = [  # a function that makes what is shown, where a page shows it, and what is chosen there
    ("gptviz.analysis.decoding", "of_heads", "translate", {}),
    ("gptviz.analysis.decoding", "candidates", "translate", {}),
    ("gptviz.analysis.decoding", "mean_probability", "translate", {}),
    ("gptviz.ui.translation", "mean_probability", "encoder-decoder", {}),
    ("gptviz.ui.translation", "times_less", "encoder-decoder", {}),
    ("gptviz.translation", "normalised_score", "translate", {}),
    ("gptviz.analysis.forcing", "judge", "teacher-forcing", {}),
    ("gptviz.analysis.forcing", "odds", "teacher-forcing", {}),
    ("gptviz.analysis.predictions", "top", "teacher-forcing", {}),
    ("gptviz.translation", "next_log_probabilities", "beam-search", {}),
    ("gptviz.translation", "normalised_score", "beam-search", {}),
    ("gptviz.analysis.beam", "what_follows", "beam-search", {}),
    ("gptviz.analysis.beam", "last_kept", "beam-search", {}),
    ("gptviz.ui.beam", "odds", "beam-search", OTHER),
    ("gptviz.ui.encoder_decoder", "directions", "encoder-decoder", {}),
    ("gptviz.ui.encoder_decoder", "spread_evenly", "encoder-decoder", {}),
    ("gptviz.ui.encoder_decoder", "share_of_last", "encoder-decoder", {}),
    ("gptviz.ui.encoder_decoder", "future_share", "encoder-decoder", {}),
    ("gptviz.analysis.vectors", "strips", "transformer-tokens", {"side": "Decoder", "emb_stage": 1}),
    ("gptviz.analysis.vectors", "nearest", "transformer-tokens", {}),
    ("gptviz.analysis.vectors", "principal_axes", "transformer-tokens", {"emb_unit": "false"}),
    ("gptviz.analysis.positions", "own_positions", "transformer-positions", {}),
    ("gptviz.analysis.positions", "split_scores", "transformer-positions", {}),
    ("gptviz.analysis.positions", "spread_in_row", "transformer-positions", {}),
    ("gptviz.analysis.head_stages", "attention_stages", "transformer-inside-head", CROSS),
    ("gptviz.analysis.head_stages", "projections", "transformer-inside-head", CROSS | {"head_stage": "project"}),
    ("gptviz.analysis.head_stages", "work_out", "transformer-inside-head", CROSS),
    ("gptviz.analysis.saturation", "saturation", "transformer-inside-head", {}),
]


@pytest.fixture(autouse=True)
def shelf(only_tiny_pair: None) -> Iterator[None]:
    """The app sees one encoder-decoder; no check, and nothing that was made by a function of another test."""
    for forget in (parts.CHECKS.done.clear, parts.PASSES.passes.clear, st.cache_resource.clear, st.cache_data.clear):
        forget()
    yield
    for forget in (parts.CHECKS.done.clear, parts.PASSES.passes.clear, st.cache_resource.clear, st.cache_data.clear):
        forget()


def linked(page: str, query: dict) -> dict:
    """What stands in the link of a page."""
    return {"source": SENTENCE} | ({"reference": REFERENCE} if page == "teacher-forcing" else {}) | query


@pytest.mark.parametrize(("page", "query", "about"), PAGES)
def test_a_page_claims_what_it_shows_and_each_wrong_number_differs(
    page: str, query: dict, about: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = claims_of(page, linked(page, query), monkeypatch)
    doubted = {"notice", "text as its own translation"}  # a random model is always guessing, and tells nothing apart
    assert {claim.about for claim in reading.claims} == about | doubted
    each_wrong_number_differs(reading)


@pytest.mark.parametrize(
    ("module", "name", "page", "query"), MAKERS, ids=[f"{name}-{page}" for _, name, page, _ in MAKERS]
)
def test_what_is_made_wrong_turns_the_badge_red(
    module: str, name: str, page: str, query: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Callable = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(f"{module}.{name}", lambda *args, **more: wrong(right(*args, **more)))
    assert badge(checked(open_sound_page(page, **linked(page, query)))) == "differs"


@pytest.mark.parametrize("page", dict.fromkeys(page for page, _, _ in PAGES))
def test_any_result_can_be_looked_up(page: str) -> None:
    at = checked(open_sound_page(page, **linked(page, {})))
    assert badge(at) == "agrees"
    at.session_state["check"] = True
    at.run()
    assert "What this page makes of it" in texts(at)
    for option in at.selectbox(key="check_what").options[1:]:
        at.selectbox(key="check_what").set_value(option).run()
        assert not at.exception, option
        found = next(frame.value for frame in at.dataframe if "computed by" in frame.value.columns)
        values = [float(value) for value in found["value"] if value != "not shown by it"]
        assert len(values) >= 2 and np.allclose(values, values[0], rtol=1e-3, atol=1e-6), option
