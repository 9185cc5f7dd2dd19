"""Two models on one sentence: where their heads look, and which next tokens they expect."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.analysis import alignment
from gptviz.ui import side_by_side as parts

reading = ui.lesson(
    "Two models, one sentence",
    "the same sentence may be cut into other tokens, and the same place in two networks does other work. Set a base "
    "model beside a tuned one, or a small one beside a large one.",
    "head 1.3 of the one has nothing to do with head 1.3 of the other: only models that were trained on from the same "
    "weights can be compared head by head.",
    strip=False,
)
other = parts.pick_other(reading)
heads = parts.pick_heads(reading, other)
st.subheader("Attention", anchor="attention")
parts.show_both(reading, other, heads)
st.subheader("The second − the first", anchor="difference")
parts.show_difference(reading, other, heads, parts.shared_pieces(reading, other))
st.subheader("The next token", anchor="next")
parts.show_next(parts.next_tokens(reading, other))
ui.show_source(alignment.align, alignment.between_pieces, alignment.by_text)
