"""The state: there and back as text and JSON, and whatever else a link or a browser may say."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptviz.view.state import DEFAULT, MODES, SCALES, SORTS, WAYS, ViewState

PLACES = st.lists(st.integers(0, 2000), max_size=6).map(lambda found: tuple(sorted(set(found))))
SPANS = st.tuples(st.integers(0, 900), st.integers(1, 900), st.integers(0, 900), st.integers(1, 900))
STATES = st.builds(
    ViewState,
    layer=st.integers(0, 40), head=st.integers(0, 40), mode=st.sampled_from(MODES), queries=PLACES, keys=PLACES,
    pins=st.lists(st.integers(0, 500), max_size=4, unique=True).map(tuple), scale=st.sampled_from(SCALES),
    sort=st.sampled_from(SORTS), way=st.sampled_from(WAYS),
    mass=st.none() | st.integers(1, 1000).map(lambda n: n / 1000),
    window=st.none() | SPANS.map(lambda s: (s[0], s[0] + s[1], s[2], s[2] + s[3])),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SHAPES = st.tuples(*[st.integers(1, 9)] * 4)


@given(STATES)
def test_there_and_back(state: ViewState) -> None:
    assert ViewState.parse(state.to_text(), state.layer, state.head) == state
    assert ViewState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert re.fullmatch(r"[a-z0-9:~.-]*", state.to_text())


def test_the_text_is_short_and_says_what_is_not_default() -> None:
    assert DEFAULT.to_text() == ""
    assert ViewState(layer=3, head=7).to_text() == ""
    state = ViewState(
        mode="lines", scale="sqrt", queries=(3, 5), pins=(7, 12), mass=0.8, window=(0, 64, 0, 64), way="from",
    )  # fmt: skip
    assert state.to_text() == "lines~s:sqrt~q:3-5~p:7-12~m:0.8~d:from~w:0-64-0-64"


@given(st.text() | JSON)
def test_any_text_means_something(text: object) -> None:
    assert isinstance(ViewState.parse(text), ViewState)


@given(st.dictionaries(st.sampled_from(list(DEFAULT.to_json())), JSON) | JSON, SHAPES)
def test_any_json_means_a_state_that_fits(given_: object, shape: tuple) -> None:
    state = ViewState.from_json(given_).fit(shape)
    n_layers, n_heads, t, s = shape
    assert state == state.fit(shape)
    assert 0 <= state.layer < n_layers
    assert 0 <= state.head < n_heads
    assert all(0 <= i < t for i in state.queries)
    assert all(0 <= i < s for i in state.keys)
    assert all(0 <= i < n_layers * n_heads for i in state.pins)
    assert len(state.pins) <= 4
    assert state.mass is None or 0 < state.mass <= 1
    assert n_layers * n_heads > 1 or (state.mode != "overview" and not state.pins)  # one picture has no others
    assert state.mode in MODES
    if state.window:
        q0, q1, k0, k1 = state.window
        assert 0 <= q0 < q1 <= t
        assert 0 <= k0 < k1 <= s
    assert ViewState.parse(state.to_text(), state.layer, state.head) == state


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sentence~nonsense~s:sqrt", ViewState(scale="sqrt")),  # the last word for the mode is none of them
        ("lines~z:3~q:5-3-3~m:7", ViewState(mode="lines", queries=(3, 5))),
        ("w:5-3-0-1~p:1-2-3-4-5-6", ViewState(pins=(1, 2, 3, 4))),
        ("q:3-x~k:1e3~m:nan", ViewState(keys=(1000,))),
        ("m:1e999~o:layer~q:" + "9" * 400, ViewState()),
    ],
)
def test_unknown_parts_are_left_at_their_default(text: str, expected: ViewState) -> None:
    assert ViewState.parse(text) == expected


def test_fit_takes_the_nearest() -> None:
    state = ViewState(layer=9, head=9, queries=(1, 8), keys=(0, 8), pins=(0, 99), window=(2, 99, 3, 99))
    assert state.fit((2, 3, 4, 5)) == ViewState(
        layer=1, head=2, queries=(1,), keys=(0,), pins=(0,), window=(2, 4, 3, 5)
    )
    assert ViewState(window=(0, 99, 0, 99)).fit((1, 1, 4, 5)).window is None  # all of it
    assert ViewState(window=(50, 99, 0, 99)).fit((1, 1, 4, 5)).window is None
