"""The router: the pages, and the controls that all of them share."""

from __future__ import annotations

import streamlit as st

from gptviz import ui

st.set_page_config(page_title="gptviz", page_icon=ui.ICON, layout="wide")
st.logo(ui.WORDMARK, icon_image=ui.ICON, size="large")
ui.warm_up()
GPT = "lessons/gpt"
page = st.navigation(
    {
        "": [st.Page(f"{GPT}/home.py", title="Home", icon=":material/home:", default=True)],
        "GPT": [
            st.Page(f"{GPT}/tokens.py", title="Tokens and embeddings", icon=":material/segment:", url_path="tokens"),
            st.Page(f"{GPT}/attention.py", title="Attention", icon=":material/grid_on:", url_path="attention"),
            st.Page(f"{GPT}/masked.py", title="Masked and unmasked", icon=":material/compare:", url_path="masked"),
            st.Page(f"{GPT}/next_token.py", title="The next token", icon=":material/bar_chart:", url_path="next-token"),
        ],
    }
)
ui.shared_controls()
page.run()
