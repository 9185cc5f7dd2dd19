"""Attention: which token looks at which, in every head, and in one picture for all of them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from gptviz import ui
from gptviz.analysis import heads
from gptviz.figures.style import visible
from gptviz.ui import attention

reading = ui.lesson(
    "Attention",
    "each row is one token deciding where to read: bright cells are where it looked, and heads differ. Try the head "
    "that follows the previous token, and the one that keeps returning to the first.",
    "a bright cell says where a head read, not what it read or whether it mattered for the next token.",
    strip=False,
)
top, line = st.container(), st.container()
picture, side = st.columns([3, 2])
choice = attention.choose(reading.model, top, side)
trace = reading.trace
masked = np.isneginf(trace.masked).all(axis=(0, 1))  # (T, T), from the scores themselves
tokens = [reading.model.tokenizer.token_bytes(token) for token in trace.ids]
view = heads.look(trace.weights, masked, tokens, **choice.matrix)

with line:
    attention.sentence(view, choice)
with picture:
    attention.matrix(view, choice)
with side:
    attention.explain(choice)
    names = [visible(name) for name in view.names]
    ui.table_with_csv(heads.weight_table(view.weights, names, names), "attention.csv", "att_table")

st.subheader(f"All heads of layer {choice.layer}")
attention.all_heads(view, choice)
st.caption("What each head does on this sentence: means over all tokens but the first, which has no choice.")
ui.table_with_csv(heads.head_table(trace.weights, choice.layer).set_index("head"), "heads.csv", "att_heads")

ui.show_source(heads.look, heads.summarise, heads.rollout, heads.join_words, heads.without_first)
