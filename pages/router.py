"""The router: the pages, and the controls that all of them share. Runs for every visitor, before the page."""

from __future__ import annotations

import streamlit as st

from gptviz import ui
from gptviz.ui import stage

LESSONS = {  # section -> script, title, icon, URL path
    "GPT": (
        ("gpt/tokens.py", "Tokens and embeddings", "segment", "tokens"),
        ("gpt/positions.py", "Positions", "straighten", "positions"),
        ("gpt/attention.py", "Attention", "grid_on", "attention"),
        ("gpt/inside_head.py", "Inside a head", "zoom_in", "inside-head"),
        ("gpt/inside_block.py", "Inside a block", "layers", "inside-block"),
        ("gpt/masked.py", "Masked and unmasked", "compare", "masked"),
        ("gpt/next_token.py", "The next token", "bar_chart", "next-token"),
        ("gpt/loss_gradient.py", "From output to loss to gradient", "trending_down", "loss-gradient"),
    ),
    "Encoder and decoder": (
        ("transformer/translate.py", "Translation", "translate", "translate"),
        ("transformer/encoder_decoder.py", "Unmasked and masked", "compare_arrows", "encoder-decoder"),
        ("transformer/teacher_forcing.py", "Teacher forcing", "school", "teacher-forcing"),
        ("transformer/beam_search.py", "Beam search", "account_tree", "beam-search"),
        ("transformer/tokens.py", "Tokens and embeddings", "segment", "transformer-tokens"),
        ("transformer/positions.py", "Positions", "straighten", "transformer-positions"),
        ("transformer/inside_head.py", "Inside a head", "zoom_in", "transformer-inside-head"),
    ),
    "Training": (
        ("training/train.py", "Train", "model_training", "train"),
        ("training/time_lapse.py", "Time-lapse", "timelapse", "time-lapse"),
        ("training/why_mask.py", "Why the mask exists", "visibility_off", "why-mask"),
    ),
    "Lectures": (("lecture/lectures.py", "Lectures", "slideshow", "lectures"),),
    "Models": (
        ("models/models.py", "Models", "deployed_code", "models"),
        ("models/compare.py", "Two models", "compare", "compare"),
    ),
}

st.set_page_config(page_title="gptviz", page_icon=ui.ICON, layout="wide")
st.logo(ui.WORDMARK, icon_image=ui.ICON, size="large")
pages = {"": [st.Page("gpt/home.py", title="Home", icon=":material/home:", default=True)]}
for section, lessons in LESSONS.items():
    pages[section] = [
        st.Page(script, title=title, icon=f":material/{icon}:", url_path=path) for script, title, icon, path in lessons
    ]
page = st.navigation(pages, expanded=True)
stage.on_stage(page, pages)
ui.shared_controls(page.url_path)
ui.begin_page()
page.run()
ui.check_numbers()
ui.take_away(page.url_path)
ui.arrived()
stage.compute_ahead({path: script for lessons in LESSONS.values() for script, _, _, path in lessons})
