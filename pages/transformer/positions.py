"""Positions of the encoder-decoder: sines and cosines, and what they do in the first layer of either side."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import positions as parts

pair = ui.pair_lesson(
    "Positions",
    "sines and cosines give every place a vector of its own, the same for German and for English, and none of it is "
    "learned. See below whether a head of layer 0 looks by place or by token.",
    "a cosine says that two places look alike to a product of vectors, not that the model treats them alike.",
)
from gptviz.analysis import positions  # noqa: E402 - after the page has begun: torch takes seconds

fixed = parts.read_fixed(pair.side("encoder"))

st.header("A vector for every place", anchor="vectors")
st.latex(parts.SINES)
parts.show_fixed_vectors(pair.model.fingerprint, parts.letters(), fixed)

st.header("Which places are alike", anchor="similarity")
parts.show_fixed_similarity(pair.model.fingerprint, parts.letters(), fixed)
parts.offer_tables({"fixed": fixed})

st.header("What an attention score is made of in layer 0", anchor="split")
with st.container(horizontal=True, gap="large"):
    reading = pair.side(ui.pick_side("encoder", "decoder"))
    head = ui.pick_head(reading.config)
ui.token_strip(reading.tokens, key="tokens")
st.latex(parts.formula(reading))
st.markdown(parts.about_split(reading))
split = parts.split(reading, head)
parts.show_spread(reading, split, head)
parts.show_split(reading, split, head)

ui.show_source(
    positions.split_scores, positions.layer_0_parts, positions.own_positions, positions.by_distance,
    positions.spread_in_row,
)  # fmt: skip
