"""Home: a picture of the whole model at work, what this is, which models there are, and where the lessons begin."""

from __future__ import annotations

import streamlit as st

from gptviz import ui

LESSONS = {  # script -> title, and what it answers
    "gpt/tokens.py": ("Tokens and embeddings", "What does the model get to see of a word?"),
    "gpt/positions.py": ("Positions", "How does it know where a word stands?"),
    "gpt/attention.py": ("Attention", "Which token looks at which, in every head?"),
    "gpt/inside_head.py": ("Inside a head", "How does one attention weight come about, number by number?"),
    "gpt/inside_block.py": ("Inside a block", "What do attention and feed-forward add to a token's vector?"),
    "gpt/masked.py": ("Masked and unmasked", "What changes when it may look into the future?"),
    "gpt/next_token.py": ("The next token", "How does it choose how to go on?"),
    "gpt/loss_gradient.py": ("From output to loss to gradient", "Which weights are to blame, and what does a step do?"),
}

ENCODER_DECODER = {
    "transformer/translate.py": ("Translation", "How does German become English, word by word?"),
    "transformer/encoder_decoder.py": ("Unmasked and masked", "Why does one half see the future, and the other not?"),
    "transformer/teacher_forcing.py": ("Teacher forcing", "How probable is the translation that a person gave?"),
    "transformer/beam_search.py": ("Beam search", "What does looking further ahead than one token find?"),
    "transformer/tokens.py": ("Tokens and embeddings", "What do encoder and decoder get to see of a word?"),
    "transformer/positions.py": ("Positions", "What do sines and cosines say about places?"),
    "transformer/inside_head.py": ("Inside a head", "Encoder, decoder, cross-attention: what is the difference?"),
}

TRAINING = {
    "training/train.py": ("Train", "How do heads and words form, step by step?"),
    "training/time_lapse.py": ("Time-lapse", "When in a training did each head become what it is?"),
    "training/why_mask.py": ("Why the mask exists", "What does a GPT learn when it may look into the future?"),
}

reading = ui.lesson(
    "What a transformer does with your sentence",
    look_for="every head of every layer has read the sentence above, and heads do not look alike: rows are tokens, "
    "bright cells are where they looked. Click one.",
    caution="attention is where a head reads, not what the model thinks.",
)
ui.head_wall(reading, "gpt/attention.py")

st.header("Lessons on a GPT", anchor="lessons")
ui.link_lessons(LESSONS)

st.header("Lessons on what it was cut from: encoder and decoder", anchor="encoder-decoder")
ui.link_lessons(ENCODER_DECODER)

st.header("Training", anchor="training")
ui.link_lessons(TRAINING)

st.header("Models", anchor="models")
st.markdown("Every number here is computed by one of these models, on this machine: nothing is made up or sent away.")
ui.link_lessons({
    "models/models.py": ("Models", "Which models are here, and how do I get another one, or my own?"),
    "models/compare.py": ("Two models", "What do two models do with the same sentence?"),
    "lecture/lectures.py": ("Lectures", "How do I show all this to a room, scene by scene?"),
})
ui.describe_models()
