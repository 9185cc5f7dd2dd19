"""Inside a head: every stage from what attention reads to what it adds, each with its own numbers."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import head_numbers as about
from gptviz.ui import inside_head as parts

reading = ui.lesson(
    "Inside a head",
    "stage by stage, what a head reads becomes what it adds, and every stage is a matrix with a shape. Step through "
    "them with the arrow keys, then choose one cell and see it computed.",
    "a weight is a share of one row: a large one may only mean that the other keys fit even less.",
)

with st.container(horizontal=True, gap="large"):
    layer, head = ui.pick_layer(reading.config), ui.pick_head(reading.config)
view = parts.look(reading, layer, head)
parts.show_stage(view)
about.show_below(view, "What the scaling and the mask are for")
