"""Lesson 1: tokens, their vectors, and what becomes of the vectors from block to block."""

import streamlit as st

from gptviz import ui
from gptviz.ui import vectors as v

reading = ui.lesson(
    "Tokens and embeddings",
    "each token has a number, the number has a vector, its position has another, and their sum is all that the model "
    "gets. Move the stage to see every block rewrite these vectors.",
    "close in direction is not the same in meaning, and a flat map of hundreds of dimensions leaves nearly all of them "
    "out.",
    strip=False,
    stage="residual",
)
from gptviz.analysis import vectors as analysis  # noqa: E402 - after the page has begun: torch takes seconds

view = v.pick_view(reading)

with st.expander("Tokens, ids and bytes", expanded=True, icon=":material/segment:"):
    ui.table_with_csv(v.token_frame(reading.model.tokenizer, reading.trace), "tokens.csv", key="emb_tokens")

st.header("The vectors", anchor="vectors")
shown = v.draw_strips(reading, view)
st.caption(v.about_strips(reading, view, shown))

st.header("Who is close to whom", anchor="similarity")
v.draw_similarity(reading, view)
st.caption(v.about_similarity(reading, view))

st.header("The nearest tokens of the vocabulary", anchor="neighbours")
nearest = v.draw_neighbours(reading, view)
st.caption(v.about_neighbours(reading, view))
with st.expander("The same for every token of the sentence", icon=":material/table:"):
    ui.table_with_csv(v.closest_frame(reading, view), "closest.csv", key="emb_closest")

st.header("A map of the vocabulary", anchor="map")
view = v.pick_map(view)
seen = v.draw_map(reading, view, nearest)
st.caption(v.about_map(view, seen))

ui.show_source(
    analysis.strips, analysis.cosine_matrix, analysis.nearest, analysis.cosines_with, analysis.principal_axes
)
