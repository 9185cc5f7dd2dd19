"""The controls that pages share. Each keeps its state in the address, so that a link opens the same picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import streamlit as st

from gptviz.ui import address, models
from gptviz.ui.address import linked
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
Number = TypeVar("Number", int, float)
LONGEST_LINK = 8000  # characters of the sentence in a URL; servers refuse a request of 64 KiB


def shared_controls(page: str) -> None:
    """Model, sentence and what the address keeps, for the router, before the page at the URL path `page` runs."""
    with st.sidebar:
        pick_model()
        address.own(page)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        fits = len(quote(st.session_state.get("text", ""), errors="replace")) <= LONGEST_LINK
        st.text_input(
            "Sentence",
            SENTENCE,
            key="text",
            bind="query-params" if fits else None,
            on_change=typed,
            label_visibility="collapsed",
            placeholder="Type a sentence and press Enter",
        )
        st.menu_button("Try another", list(SENTENCES), key="try", on_click=use_chosen, icon=":material/lightbulb:")
    address.remember_sentence()
    if "\n" in st.session_state["text"]:
        st.caption("This text has line breaks: tokens show them as ⏎, the box cannot. Typing in it joins the lines.")
    if not fits:
        st.info("This text is too long for a link: the address does not carry it, and a reload forgets it.")


def typed() -> None:
    """Set the sentence once more, as from here: after a text too long for a link, the browser would not write it."""
    use_sentence(st.session_state["text"])


def use_chosen() -> None:
    """Put the chosen sentence into the box."""
    use_sentence(SENTENCES[st.session_state["try"]])


def use_sentence(text: str) -> None:
    """Put a sentence into the box, in a callback."""
    st.session_state["text"] = text
    address.another_sentence()


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
    st.selectbox("Model", found, key="model", bind="query-params", on_change=address.another_sentence)


def pick_layer(model: LanguageModel) -> int:
    """A layer of the model, from 0."""
    return pick_number("Layer", model.gpt.config.n_layers, "layer")


def pick_head(model: LanguageModel) -> int:
    """A head of the model, from 0."""
    return pick_number("Head", model.gpt.config.n_heads, "head")


def pick_number(label: str, count: int, key: str) -> int:
    """One of `count` numbers from 0, side by side."""
    read = number_in(0, count - 1, int)
    return linked(st.segmented_control, label, range(count), key=key, default=0, read=read, required=True)


def check_layer_and_head(model: LanguageModel) -> None:
    """Forget a layer and a head that the model does not have, on pages without pickers, too."""
    for name, count in (("layer", model.gpt.config.n_layers), ("head", model.gpt.config.n_heads)):
        try:
            number_in(0, count - 1, int)(address.kept().get(name) or "0")
        except ValueError:
            address.put_right(name)


def pick_one(label: str, options: dict[Option, str], key: str, help: str | None = None) -> Option:
    """One of a few options, each with its name, side by side; the first unless chosen otherwise. Part of the link."""
    return linked(
        st.segmented_control, label, list(options), key=key, default=next(iter(options)), read=among(options),
        write=options.__getitem__, format_func=options.get, required=True, help=help,
    )  # fmt: skip


def switch(label: str, key: str, default: bool = False) -> bool:
    """On or off. Part of the link."""
    names = {True: "true", False: "false"}
    return linked(st.toggle, label, key=key, default=default, read=among(names), write=names.__getitem__)


def slide(label: str, low: Number, high: Number, default: Number, step: Number, key: str, **options: Any) -> Number:
    """A number on a slider. Part of the link."""
    read = number_in(low, high, type(default))
    return linked(st.slider, label, low, high, None, step, key=key, default=default, read=read, **options)


def slide_pair(label: str, low: float, high: float, default: tuple[float, float], step: float, key: str) -> tuple:
    """Two numbers on a slider, the smaller one first. Part of the link, as "0.2-0.5"."""
    number = number_in(low, high, float)

    def read(text: str) -> tuple[float, ...]:
        first, _, second = text.partition("-")
        return tuple(sorted((number(first), number(second))))

    def write(pair: tuple[float, float]) -> str:
        return "-".join(map(str, pair))

    return linked(st.slider, label, low, high, None, step, key=key, default=default, read=read, write=write)


def slide_among(label: str, options: Sequence[str], default: str, key: str, **more: Any) -> str:
    """One of many texts, in order, on a slider. Part of the link."""
    read = among({text: text for text in options})
    return linked(st.select_slider, label, options, key=key, default=default, read=read, **more)


def number(label: str, low: int, high: int, default: int, key: str, **options: Any) -> int:
    """A whole number to be typed. Part of the link."""
    read = number_in(low, high, int)
    return linked(st.number_input, label, low, high, key=key, default=default, read=read, step=1, **options)


def number_in(low: Number, high: Number, kind: type[Number]) -> Callable[[str], Number]:
    """A reader of numbers from `low` to `high`."""

    def read(text: str) -> Number:
        value = kind(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"expected a number from {low} to {high}, found {text!r}")
        return value

    return read


def among(options: dict[Option, str]) -> Callable[[str], Option]:
    """A reader of options by their names."""

    def read(text: str) -> Option:
        for option, name in options.items():
            if name == text:
                return option
        raise ValueError(f"expected one of {', '.join(options.values())}, found {text!r}")

    return read
