"""Inside a block: what attention and feed-forward add to the residual stream, and what the norms make of it."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import block as parts

reading = ui.lesson(
    "Inside a block",
    "a block reads the stream, adds what attention found, then what the feed-forward makes of it. The wider an arrow, "
    "the longer the vector it stands for.",
    "a long vector need not matter, and a short one may: what counts is the direction that later layers read.",
    stage="middle",
)
from gptviz.analysis import block  # noqa: E402 - after the page has begun: torch takes seconds

with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
    layer, token = ui.pick_layer(reading.config), parts.pick_token(reading)
seen = block.vectors(reading.trace, layer)

st.header("The whole stack", anchor="stack")
left, right = st.columns([9, 11], gap="large")
with left:
    parts.show_flow(reading, layer, token)
with right:
    parts.show_order(reading.model)
    st.markdown(parts.say_block(reading, seen, layer))

st.header(f"Token by token in layer {layer}", anchor="tokens")
parts.show_tokens(reading, seen, layer)

st.header("What each head adds", anchor="heads")
parts.show_heads(reading, seen, layer)

st.header("Which units of the feed-forward fire", anchor="units")
parts.show_firing(reading, layer)

st.header("What the layer norms do", anchor="norms")
st.latex(parts.NORMS[reading.config.norm])
parts.show_norms(reading, seen, layer)

ui.show_source(
    block.vectors, block.directions, block.head_contributions, block.firing, block.firing_over, block.layer_norms
)
