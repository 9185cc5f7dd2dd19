"""The controls that pages share. Each keeps its state in the URL, so that a link opens the same picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import streamlit as st

from gptviz import folder as folders
from gptviz.ui import models
from gptviz.ui.show import escape

if TYPE_CHECKING:
    from gptviz import LanguageModel

SENTENCE = "My dog has fleas"
SENTENCES = {
    "My dog has fleas": SENTENCE,
    "Whom does “she” mean?": "Lily gave Tom the red ball because she was too tired to play with it.",
    "A name comes back": "Tom and Lily went to the park. Lily had a kite. Tom and Lily",
    "A list": "She packed a hat, a coat, a book, an apple, a",
    "Somebody speaks": "“Where is my cat?” asked Tim. “I saw it in the tree,” said Sue. “Then",
    "A long sentence": (
        "Once upon a time there was a little mouse who lived under the old tree by the river, and every morning, when "
        "the sun was warm and the birds began to sing, the mouse went out to look for a"
    ),
    "The same letters twice": "qx vb zt rk pw qx vb zt rk",
    "Nonsense": "blorf the wugs dax quickly under seven purple",
}
Option = TypeVar("Option")
LONGEST_LINK = 8000  # characters of the sentence in a URL; servers refuse a request of 64 KiB


def shared_controls() -> None:
    """Model and sentence, for the router, before the page runs."""
    with st.sidebar:
        pick_model()
        keep_layer_and_head(*shape_of(st.session_state["model"]))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        fits = len(quote(st.session_state.get("text", ""), errors="replace")) <= LONGEST_LINK
        st.text_input(
            "Sentence",
            SENTENCE,
            key="text",
            bind="query-params" if fits else None,
            on_change=put_into_url,
            label_visibility="collapsed",
            placeholder="Type a sentence and press Enter",
        )
        st.menu_button("Try another", list(SENTENCES), key="try", on_click=use_sentence, icon=":material/lightbulb:")
    if "\n" in st.session_state["text"]:
        st.caption("This text has line breaks: tokens show them as ⏎, the box cannot. Typing in it joins the lines.")
    if not fits:
        st.info("This text is too long for a link: the address does not carry it, and a reload forgets it.")


def put_into_url() -> None:
    """Set the sentence once more, as from here: after a text too long for a link, the browser would not write it."""
    st.session_state["text"] = st.session_state["text"]


def use_sentence() -> None:
    """Put the chosen sentence into the box."""
    st.session_state["text"] = SENTENCES[st.session_state["try"]]


def pick_model() -> None:
    """The model picker; says so where the URL asks for a model that is not there."""
    found = models.names()
    if not found:
        st.error(
            "Expected at least one model, as a folder in checkpoints/, found none. Get the repository again, complete, "
            "or train a model: `python -m gptviz train`."
        )
        st.stop()
    wanted = st.query_params.get("model")
    if wanted is not None and wanted not in found:
        st.warning(f"There is no model {escape(wanted[:80])} here. Showing {escape(found[0])} instead.")
    st.selectbox("Model", found, key="model", bind="query-params")


def keep_layer_and_head(n_layers: int, n_heads: int) -> None:
    """The chosen layer and head, as owners of their place in the URL on every page, for the router.

    The pickers of pages only show and set them: a parameter that belongs to a page is taken out of the address when
    the page is left, as a step of its own in the browser's history, so that Back came to layer 0.
    """
    with st.expander("Layer and head", icon=":material/grid_on:"):
        for key, count in (("layer", n_layers), ("head", n_heads)):
            if st.session_state.get(key, 0) >= count:  # of a larger model
                st.session_state[key] = 0
            st.number_input(key.capitalize(), 0, max(count - 1, 1), 0, key=key, bind="query-params")


def shape_of(name: str) -> tuple[int, int]:
    """Layers and heads of a model, from its config alone; of one that cannot be read, which the page will say, one."""
    try:
        config, _ = folders.read_config(folders.find_shipped(name))
    except (ValueError, OSError):
        return 1, 1
    return config.n_layers, config.n_heads


def pick_layer(model: LanguageModel) -> int:
    """A layer of the model, from 0."""
    return pick_number("Layer", model.gpt.config.n_layers, "layer")


def pick_head(model: LanguageModel) -> int:
    """A head of the model, from 0."""
    return pick_number("Head", model.gpt.config.n_heads, "head")


def pick_number(label: str, count: int, key: str) -> int:
    """One of `count` numbers from 0: the one that `keep_layer_and_head` keeps, or 0 where the model has no such."""
    kept, shown = st.session_state.get(key, 0), shown_as(key)
    kept = kept if kept < count else 0
    if st.session_state.get(shown) != kept:  # setting it anyway would undo a click that is on its way
        st.session_state[shown] = kept
    return st.segmented_control(label, range(count), required=True, key=shown, on_change=keep_what_is_shown)


def shown_as(key: str) -> str:
    """The key of the picker that shows and sets the layer or head."""
    return f"{key}_shown"


def keep_what_is_shown() -> None:
    """Both: of two quick clicks, the message of the second has the first one's picker right and its owner still old."""
    for key in ("layer", "head"):
        if shown_as(key) in st.session_state:
            st.session_state[key] = st.session_state[shown_as(key)]


def pick_one(label: str, options: dict[Option, str], key: str, help: str | None = None) -> Option:
    """One of a few options, each with its name, side by side; the first unless chosen otherwise. Part of the URL.

    An empty value in a link (`?layer=`) chooses nothing, although `required` rules that out: it is the first, too.
    """
    first = next(iter(options))
    chosen = st.segmented_control(
        label, list(options), default=first, format_func=options.get, required=True, key=key, bind="query-params",
        help=help,
    )  # fmt: skip
    return first if chosen is None else chosen
