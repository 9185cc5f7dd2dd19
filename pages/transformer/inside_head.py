"""Inside a head of the encoder-decoder: the ten stages of a lesson on a GPT, in each of the three attentions."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import head_numbers as about
from gptviz.ui import inside_head as parts

pair = ui.pair_lesson(
    "Inside a head",
    "the same ten stages three times: the encoder's attention sees the whole sentence, the decoder's own only the "
    "past, and in cross-attention the queries are the decoder's, the keys and values the encoder's.",
    "row i of the decoder is a token that it has just read. What it writes next is chosen after it, from all layers.",
)
from gptviz.translation import retrace  # noqa: E402 - after the page has begun: torch takes seconds

with st.container(horizontal=True, gap="small"):
    reading = pair.side(ui.pick_side())
    layer, head = ui.pick_layer(reading.config), ui.pick_head(reading.config)
parts.show_tokens(reading)
view = parts.look(reading, layer, head)
parts.show_stage(view)
about.show_below(view, "What the scaling is for", retrace)
