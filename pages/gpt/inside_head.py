"""Inside a head: every stage from what attention reads to what it adds, each with its own numbers."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import head_numbers as about
from gptviz.ui import inside_head as parts

reading = ui.lesson(
    "Inside a head",
    "ten stages turn what a head reads into what it adds, and every one is a matrix with a shape. Step through them "
    "with the arrow keys, then choose one cell and see it computed.",
    "a weight is a share of one row: a large one may only mean that the other keys fit even less.",
)
from gptviz.analysis import head_stages, saturation  # noqa: E402 - after the page has begun: torch takes seconds

with st.container(horizontal=True, gap="large"):
    layer, head = ui.pick_layer(reading.model), ui.pick_head(reading.model)
view = parts.look(reading, layer, head)
parts.show_stage(view)

st.header("One cell, computed", anchor="cell")
about.show_cell(view)

st.header("What the scaling and the mask are for", anchor="scaling")
st.latex(
    r"J = \mathrm{diag}(p) - p p^{\top} \qquad \frac{\partial L}{\partial q_i} = \frac{1}{\sqrt{D}} k^{\top} J v\, g_i"
)
about.show_consequence(view)

st.subheader("The same, with wider and wider vectors", anchor="widths")
st.markdown(about.say_widths())
about.show_widths(view)

ui.show_source(
    head_stages.head_stages, head_stages.projections, head_stages.work_out, saturation.saturation,
    saturation.jacobian_norm, saturation.over_widths,
)  # fmt: skip
