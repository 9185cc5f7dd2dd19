"""What the address keeps: every choice of every lesson, as text under a name, on all pages.

A parameter of a page's own widget is taken out of the address when the page is left, as a step of its own in the
browser's history, so that Back would come to the page without it. Here unseen text boxes of the router own the
parameters; the widgets of pages show and set them (`linked`). What is kept for the session is the truth: an answer of
the browser may still have an owner's old text while a newer choice is on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

PAGES = {  # URL path of a page -> the names that it shows; those of "" are shared by pages
    "": ("layer", "head"),
    "tokens": ("emb_token", "emb_stage", "emb_dims", "emb_unit"),
    "attention": ("view", "summed", "att_show", "att_over", "att_words", "att_first", "att_levels", "att_at"),
    "masked": ("mask_view", "mask_at"),
    "inside-head": ("head_stage", "head_query", "head_key", "head_unscaled", "head_unmasked"),
    "inside-block": ("block_token",),
    "next-token": (
        "next_ids", "next_temperature", "next_top_k", "next_top_p", "next_seed", "next_amount", "next_n", "next_over",
        "next_row", "next_at",
    ),
    "loss-gradient": ("loss_at", "loss_norms", "loss_on", "loss_optimizer", "loss_rate", "loss_curve", "loss_run"),
}  # fmt: skip
OF_A_SENTENCE = ("next_ids", "next_at", "mask_at", "loss_at", "block_token")  # each sentence has its own
MOST_SENTENCES = 20  # that a session remembers these of
Value = TypeVar("Value")


class Kept(dict[str, str]):
    """Name -> text, "" for what is not in the address."""

    def __setitem__(self, name: str, value: object) -> None:
        """Keep a value as text. Zero and nothing are what every name begins with, and are left out of the address.

        Raises:
            KeyError: for a name that no owner would put into the address.
        """
        if not any(name in names for names in PAGES.values()):
            raise KeyError(f"expected a name from PAGES in {__name__}, found {name!r}; add it to those of its page")
        super().__setitem__(name, "" if value in (None, 0) else str(value))


def kept() -> Kept:
    """What the address of this visitor keeps, to be read and set; the next run puts it into the address."""
    return st.session_state.setdefault("kept", Kept())


def own(page: str) -> None:
    """Draw the owners, for the router, before the page: those of this page, and of others what they have."""
    here, linked_to = kept(), set(st.query_params)
    st.session_state["kept_page"] = page
    with st.container(key="address"):
        st.html("<style>.st-key-address { display: none }</style>")
        for path, names in PAGES.items():
            for name in names:
                if path in ("", page) or here.get(name) or name in linked_to:
                    if name in here:
                        st.session_state[name] = here[name]
                    here[name] = st.text_input(name, key=name, bind="query-params")


def put_right(name: str) -> None:
    """Forget what means nothing, and run again; the browser shows it in the address until its control is used."""
    kept()[name] = ""
    st.rerun()


def shown_as(name: str) -> str:
    """The key of the widget that shows a name and sets it."""
    return f"{name}_shown"


def linked(
    widget: Callable[..., Value],
    label: str,
    *given: Any,
    key: str,
    default: Value,
    read: Callable[[str], Value],
    write: Callable[[Value], str] = str,
    **options: Any,
) -> Value:
    """A widget whose value is part of the link.

    Args:
        widget: such as `st.slider`; it gets `label`, `given` and `options`, but no value and no on_change.
        key: its name in the address, one of `PAGES`.
        default: what it shows while the address has nothing.
        read: from the text in the address to the value; raises ValueError for a text that means none, which is then
            forgotten.
        write: from the value to the text.
    """
    value, shown = default, shown_as(key)
    if text := kept().get(key):
        try:
            value = read(text)
        except ValueError:
            put_right(key)
    drawn = st.session_state.get("kept_page"), repr(given)  # elsewhere it is another widget, which has no value yet
    if st.session_state.get(shown) != value or st.session_state.get(f"{key}_drawn") != drawn:
        st.session_state[shown] = value  # setting it anyway would undo a click that is on its way
    st.session_state[f"{key}_drawn"] = drawn
    return widget(label, *given, key=shown, on_change=keep_shown, args=(key, default, write), **options)


def keep_shown(name: str, default: Value, write: Callable[[Value], str]) -> None:
    """The visitor chose: keep it, the default as nothing."""
    value = st.session_state[shown_as(name)]
    kept()[name] = "" if value == default else write(value)


def another_sentence() -> None:
    """The visitor changed sentence or model: what belongs to the one before is put away, and that of this one found."""
    here, memory = kept(), st.session_state.setdefault("kept_of", {})
    memory[st.session_state.get("read")] = {name: here.get(name, "") for name in OF_A_SENTENCE}
    here.update(memory.pop(sentence(), dict.fromkeys(OF_A_SENTENCE, "")))
    while len(memory) > MOST_SENTENCES:
        del memory[next(iter(memory))]


def remember_sentence() -> None:
    """For the router: what belongs to a sentence now belongs to this one."""
    st.session_state["read"] = sentence()


def sentence() -> tuple[str, str]:
    """The chosen model and the typed text."""
    return st.session_state["model"], st.session_state["text"]
