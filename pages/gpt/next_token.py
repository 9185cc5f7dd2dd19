"""Lesson 4: the distribution over the next token, how one is drawn from it, and how a text goes on."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import predictions as parts
from gptviz.ui.continuation import continuation

reading = ui.lesson(
    "The next token",
    "the model gives every token of its vocabulary a probability. Move temperature, top-k and top-p and watch what "
    "the draw can still reach.",
    "the drawn token is not what the model “thinks”: another seed draws another one from the same distribution.",
    strip=False,
    stage="logits",
)
story = continuation(reading)

left, right = st.columns(2, gap="large")
with left:
    st.subheader("The whole distribution", anchor="distribution")
    parts.show_distribution(story)
with right:
    st.subheader("From the model to the draw", anchor="funnel")
    parts.show_funnel(story)
with st.expander("Every stage as a table", icon=":material/table:"):
    ui.table_with_csv(parts.funnel_table(story), "funnel.csv", key="next_stages")

st.subheader("What was drawn", anchor="drawn")
if story.drawn:
    ui.table_with_csv(parts.history_table(story), "drawn.csv", key="next_history")
    st.subheader("What each drawn token attended to", anchor="looked")
    parts.show_attention(story)
else:
    st.info("Nothing yet. Press “Draw one token” above, and see what it attended to.", icon=":material/casino:")

st.subheader("The sentence as typed", anchor="typed")
parts.show_sentence(reading)

ui.show_source(*parts.sources())
