"""Encoder beside decoder: one side of this model was trained without the mask, the other with it."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.analysis import directions
from gptviz.ui import encoder_decoder as parts

pair = ui.pair_lesson(
    "Unmasked and masked",
    "the upper right triangle: filled in the encoder, which has the whole German sentence before it; empty in the "
    "decoder, which writes English from left to right. This model was **trained** so.",
    "encoder and decoder read two sentences with weights of their own. Their heads of the same number have nothing "
    "else in common.",
)
config = pair.side("encoder").config
with st.container(horizontal=True, gap="large"):
    layer, head = ui.pick_layer(config), ui.pick_head(config)

st.subheader(f"Self-attention: head {layer}.{head} of both", anchor="attention")
parts.show_pair(pair)
parts.future_strip(pair, layer, head)
ui.see_also(
    "Here the future is part of what the model learned from: the encoder never had a mask. A GPT never trained "
    "without one. What becomes of it when its mask is taken away:",
    "gpt/masked.py",
    "Masked and unmasked, of a GPT",
)

st.subheader(f"Where the heads of layer {layer} look", anchor="directions")
st.caption(
    "Shares of a head's attention on tokens earlier than the query, on itself and on later ones, mean over its "
    "queries. In the decoder the first token is left out: it can only look at itself. Click a bar to choose its head."
)
found = parts.measure(pair)
parts.show_shares(found, layer, head)
st.markdown(parts.say_directions(found, layer, head))
with st.expander("The same as a table, all layers"):
    ui.table_with_csv(parts.shares_table(found), "where-heads-look.csv", key="side_table")

st.subheader(f"Cross-attention: head {layer}.{head}", anchor="cross")
st.markdown(
    "The third attention of the model has no triangle at all: rows are the English tokens that the decoder has read, "
    "columns the German ones. Nothing is masked, as the encoder is done before the first English token."
)
parts.show_side(pair, "cross")
ui.show_source(directions.directions, directions.share_of_last, directions.spread_evenly)
