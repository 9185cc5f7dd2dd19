"""Positions: how a model knows where a token stands, and what it does with it in the first layer."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import positions as parts

reading = ui.lesson(
    "Positions",
    "without a vector for its place, a token would read the same wherever it stands. Neighbouring places have similar "
    "vectors; see below whether a head of layer 0 looks by place or by token.",
    "a cosine says that two places look alike to a product of vectors, not that the model treats them alike.",
)
from gptviz.analysis import positions  # noqa: E402 - after the page has begun: torch takes seconds

learned, fixed = parts.compare(reading)

st.header("A vector for every place", anchor="vectors")
st.latex(r"PE_{p,\,2i} = \sin\frac{p}{10000^{2i/C}} \qquad PE_{p,\,2i+1} = \cos\frac{p}{10000^{2i/C}}")
parts.show_vectors(reading.model.fingerprint, learned, fixed)

st.header("Which places are alike", anchor="similarity")
parts.show_similarity(reading.model.fingerprint, learned, fixed)

st.header("What a score is made of in layer 0", anchor="split")
st.latex(parts.formula(reading))
st.markdown(parts.about_split(reading))
head = ui.pick_head(reading.model)
split = parts.split(reading, head)
parts.show_spread(split, len(reading.tokens))
parts.show_split(reading, split, head)

ui.show_source(
    positions.split_scores, positions.layer_0_parts, positions.sinusoidal_positions, positions.by_distance,
    positions.spread_in_row,
)  # fmt: skip
