"""The pieces of Home: all heads of the model on one wall, the models there are, links into the lessons."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import streamlit as st

from gptviz import folder as folders
from gptviz.config import GPTConfig
from gptviz.figures.thumbnail import thumbnail
from gptviz.ui import models
from gptviz.ui.address import kept
from gptviz.ui.component import component
from gptviz.ui.head_words import say_shared
from gptviz.ui.show import escape, literal
from gptviz.view import TraceSource

if TYPE_CHECKING:
    from gptviz.ui.lesson import Reading

LARGEST_WALL = 64  # tokens: more would be less than a pixel a cell, and a slow page
draw_wall = component("gptviz_head_wall", ["wall"], ["wall"])


def head_wall(reading: Reading, page: str) -> None:
    """Every head of every layer, small and on one scale; a click opens it on `page`, the script of a lesson."""
    weights = reading.trace.weights[:, :, -LARGEST_WALL:, -LARGEST_WALL:]  # (L, H, T, T)
    masked = TraceSource(reading.trace).mask()[-LARGEST_WALL:, -LARGEST_WALL:]  # (T, T)
    rows = [[base64.b64encode(thumbnail(head, masked)).decode() for head in layer] for layer in weights]
    picked = draw_wall(key="wall", data={"rows": rows}, on_pick_change=lambda: choose_head(*weights.shape[:2])).pick
    if is_head(picked, *weights.shape[:2]):
        st.switch_page(page, query_params={})
    shown, t = weights.shape[-1], len(reading.tokens)
    if shown < t:
        st.caption(f"Shown: the last {shown} of {t} tokens.")
    if said := say_shared(reading.config):
        st.caption(said)


def is_head(picked: object, n_layers: int, n_heads: int) -> bool:
    """Whether what the browser reports is a layer and a head."""
    pair = picked if isinstance(picked, list) and len(picked) == 2 else (None, None)
    return pair[0] in range(n_layers) and pair[1] in range(n_heads)


def choose_head(n_layers: int, n_heads: int) -> None:
    """Keep the head that was clicked, for all pages."""
    picked = st.session_state["wall"].pick
    if is_head(picked, n_layers, n_heads):
        kept()["layer"], kept()["head"] = picked


def describe_models() -> None:
    """One row a model, from its config alone, and its card behind an expander."""
    for name in (*models.names(), *models.names("transformer")):
        with st.container(border=True):
            try:
                where = folders.find_shipped(name)
                config = folders.shape_of(where)
            except (ValueError, OSError) as error:
                st.error(f"**{escape(name)}** cannot be opened: {literal(str(error))}")
                continue
            st.markdown(f"**{escape(name)}**")
            count = config.n_layers
            shape = (
                f"{folders.expected_sizes(config)[1] / 1e6:.1f} million parameters",
                f"{count} layers" if isinstance(config, GPTConfig) else f"{count} + {count} layers",
                f"{config.n_heads} heads in each",
                f"width {config.d_model}",
                f"knows {config.vocab_size:,} tokens and reads {config.context:,} at once",
            )
            st.caption(" · ".join(shape))
            card = where / folders.CARD
            if card.is_file():
                with st.expander("Model card: data, training, results", icon=":material/description:"):
                    st.markdown(card.read_text(encoding="utf-8"))


def link_lessons(lessons: dict[str, tuple[str, str]]) -> None:
    """A card a lesson: script -> its title and what it answers."""
    with st.grid(2, min_column_width=240):
        for script, (title, question) in lessons.items():
            with st.container(border=True):
                st.page_link(script, label=f"**{title}**", icon=":material/arrow_forward:")
                st.caption(question)
