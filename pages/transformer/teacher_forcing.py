"""Teacher forcing beside free running: what the model gives a reference, and what it would have said itself."""

from __future__ import annotations

import streamlit as st

import gptviz
from gptviz import ui
from gptviz.analysis import forcing as analysis
from gptviz.ui import forcing as parts

reading = ui.pair_lesson(
    "Teacher forcing",
    "the probability that the model gives a reference, token by token, beside what it would have said itself.",
    "a good translation may be improbable here: the model compares tokens, not meanings.",
)
pair = parts.read_reference(reading, parts.ask_reference(reading))

parts.show_totals(pair)

st.subheader("The reference, token by token", anchor="tokens")
st.caption("The more colour, the more probable after the German sentence and the reference so far. Click a token.")
at = parts.pick_position(pair)
parts.show_bars(pair, at)

st.subheader(f"What the model would have said at position {at}", anchor="candidates")
parts.show_candidates(pair, at)

st.subheader("Forced and free, side by side", anchor="parting")
parts.show_rows(pair)
st.markdown(parts.EXPOSURE)

st.subheader("Cross-attention in both runs", anchor="attention")
with st.container(horizontal=True, gap="large"):
    config = reading.model.transformer.config
    layer, head = ui.pick_layer(config, first=config.n_layers - 1), ui.pick_head(config)
parts.show_attention(pair, layer, head)

with st.expander("Every position as a table", icon=":material/table:"):
    parts.show_table(pair)
ui.show_source(gptviz.force, analysis.judge, analysis.parting)
