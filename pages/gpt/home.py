"""Home: a picture of the whole model at work, what this is, which models there are, and where the lessons begin."""

from __future__ import annotations

import streamlit as st

from gptviz import ui

LESSONS = {
    "gpt/tokens.py": ("Tokens and embeddings", "What does the model get to see of a word?"),
    "gpt/positions.py": ("Positions", "How does it know where a word stands?"),
    "gpt/attention.py": ("Attention", "Which token looks at which, in every head?"),
    "gpt/inside_head.py": ("Inside a head", "How does one attention weight come about, number by number?"),
    "gpt/inside_block.py": ("Inside a block", "What do attention and feed-forward add to a token's vector?"),
    "gpt/masked.py": ("Masked and unmasked", "What changes when it may look into the future?"),
    "gpt/next_token.py": ("The next token", "How does it choose how to go on?"),
    "gpt/loss_gradient.py": ("From output to loss to gradient", "Which weights are to blame, and what does a step do?"),
}

reading = ui.lesson(
    "What a transformer does with your sentence",
    look_for="every head of every layer has read the sentence above, and heads do not look alike: rows are tokens, "
    "bright cells are where they looked. Click one.",
    caution="attention is where a head reads, not what the model thinks.",
)
ui.head_wall(reading, "gpt/attention.py")

st.header("Lessons", anchor="lessons")
ui.link_lessons(LESSONS)

st.header("Models", anchor="models")
st.markdown(
    "Every number and picture here is computed by one of these models, on the sentence in the box, on this machine: "
    "nothing is sent anywhere, and nothing is made up."
)
ui.describe_models()
