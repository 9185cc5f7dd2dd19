"""Small ways to show things, the same on every page: figures, tables with their CSV file, source code, literal text."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gptviz.figures.style import enlarged, ink_labels, visible
from gptviz.ui.component import ASSETS

ICON, WORDMARK = (str(ASSETS / name) for name in ("icon.svg", "wordmark.svg"))
WORD_JOINER = "\u2060"
ON_STAGE = 1.3
PLACES = 4  # after the point, in tables; their CSV files have all


def escape(token: str) -> str:
    """A token as literal text for Markdown and widget labels: visible, and nothing in it read as a command.

    A backslash alone would not do: Streamlit still turns `--\\>` into an arrow and `:smile:` into a picture.
    """
    return re.sub(r"([!-/:-@\[-`{-~])", rf"\\\1{WORD_JOINER}", visible(token).replace("\xa0", " "))


def literal(text: str) -> str:
    """A text as it is written, with its spaces, for Markdown: of `escape`, a space is a dot."""
    return " ".join(escape(word) for word in text.split())


def plot(fig: go.Figure, key: str, times: float | None = None) -> None:
    """A figure in the width of its place, to be saved under the name `key`; its letters are `times` as large."""
    offer(key, fig)
    st.plotly_chart(readable(fig, times), key=key, theme="streamlit", width="stretch", config=chart_config(key))


def readable(fig: go.Figure, times: float | None = None) -> go.Figure:
    """A figure as the app shows it: labels in ink, letters `times` as large, by default as large as `letters` says."""
    times = times or letters()
    return ink_labels(fig if times == 1 else enlarged(fig, times))


def letters() -> float:
    """How much larger than usual the letters of figures are: on the stage, for a room."""
    return ON_STAGE if st.session_state.get("stage") else 1.0


def offer(key: str, picture: object) -> None:
    """A page shows this picture, or what makes it: it can be saved, see `ui/take.py`."""
    if "pictures" in st.session_state:  # not in an app of somebody else
        st.session_state["pictures"][key] = picture


def chart_config(key: str) -> dict[str, object]:
    """Plotly's buttons: to save as SVG under the name `key`, and to see all again.

    The others are left out, as a drag and a double click do without them. A touch screen, which would show the buttons
    all the time, over numbers, has none: assets/page.css.
    """
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale"],
        "toImageButtonOptions": {"format": "svg", "filename": key, "scale": 2},
    }


def table_with_csv(frame: pd.DataFrame, file_name: str, key: str) -> None:
    """A table, rounded to read, and a button that saves all of it as a CSV file, with every digit."""
    st.dataframe(frame, key=key, width="stretch", column_config=rounded(frame), placeholder="")
    st.download_button(
        "Save as CSV",
        lambda: frame.to_csv().encode(),
        file_name=file_name,
        mime="text/csv",
        key=f"{key}_csv",
        icon=":material/download:",
        on_click="ignore",
    )


def rounded(frame: pd.DataFrame) -> dict[str, object]:
    """How to show the columns of fractions: without this, a weight takes up to 20 places after the point."""
    return dict.fromkeys(frame.select_dtypes("floating"), st.column_config.NumberColumn(format=f"%.{PLACES}f"))


def show_source(*functions: Callable) -> None:
    """The source of the very functions that computed what the page shows, behind an expander."""
    folded = st.expander("The code that computed this", icon=":material/code:", key="code_shown", on_change="rerun")
    if folded.open:
        with folded:
            for function in functions:
                st.caption(escape(f"{function.__module__}.{function.__qualname__}"))
                st.code(source_of(function), language="python")


def see_also(why: str, script: str, title: str) -> None:
    """A link to another lesson, below the sentence, in Markdown, that says what is to be seen there."""
    st.markdown(why)
    st.page_link(script, label=f"**{title}**", icon=":material/arrow_forward:")


@functools.cache
def source_of(function: Callable) -> str:
    """Read once: looking for it took 2 ms a function at every click."""
    return inspect.getsource(function)
