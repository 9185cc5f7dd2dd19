"""The router: the pages, and the controls that all of them share. Runs for every visitor, before the page."""

from __future__ import annotations

import streamlit as st

from gptviz import ui

st.set_page_config(page_title="gptviz", page_icon=ui.ICON, layout="wide")
st.logo(ui.WORDMARK, icon_image=ui.ICON, size="large")
page = st.navigation(
    {
        "": [st.Page("gpt/home.py", title="Home", icon=":material/home:", default=True)],
        "GPT": [
            st.Page("gpt/tokens.py", title="Tokens and embeddings", icon=":material/segment:", url_path="tokens"),
            st.Page("gpt/positions.py", title="Positions", icon=":material/straighten:", url_path="positions"),
            st.Page("gpt/attention.py", title="Attention", icon=":material/grid_on:", url_path="attention"),
            st.Page("gpt/inside_head.py", title="Inside a head", icon=":material/zoom_in:", url_path="inside-head"),
            st.Page("gpt/inside_block.py", title="Inside a block", icon=":material/layers:", url_path="inside-block"),
            st.Page("gpt/masked.py", title="Masked and unmasked", icon=":material/compare:", url_path="masked"),
            st.Page("gpt/next_token.py", title="The next token", icon=":material/bar_chart:", url_path="next-token"),
            st.Page(
                "gpt/loss_gradient.py", title="From output to loss to gradient", icon=":material/trending_down:",
                url_path="loss-gradient",
            ),
        ],
    }
)
ui.shared_controls(page.url_path)
page.run()
ui.check_numbers()
