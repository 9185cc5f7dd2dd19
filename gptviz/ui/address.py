"""What the address keeps: every choice of every lesson, as text under a name, on all pages.

A parameter of a page's own widget is taken out of the address when the page is left, as a step of its own in the
browser's history, so that Back would come to the page without it. Here unseen text boxes of the router own the
parameters; the widgets of pages show and set them (`linked`). What is kept for the session is the truth: an answer of
the browser may still have an owner's old text while a newer choice is on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from gptviz.places import PAGES
from gptviz.ui.component import component
from gptviz.ui.show import literal

OF_A_SENTENCE = {  # kind of model -> names; each sentence that such a model reads has its own
    "gpt": ("next_ids", "next_at", "mask_at", "loss_at", "block_token"),
    "transformer": ("step", "reference", "forced_at", "beam_node"),
}
OTHERS = ("model", "text", "translator", "source", "lecture", "scene", "notes")  # that have owners elsewhere
MOST_IGNORED, LONGEST_IGNORED = 5, 40  # of what a link says for nothing: how many are named, and characters of each
LATE = 5.0  # seconds that a value may take to the browser; a page that ends early has no end of its run
MOST_SENTENCES = 20  # that a session remembers these of
Value = TypeVar("Value")
make_steps = component("gptviz_history", ["history"])
watch_page = component("gptviz_lost", ["lost"])


class Kept(dict[str, str]):
    """Name -> text, "" for what is not in the address."""

    def __setitem__(self, name: str, value: object) -> None:
        """Keep a value as text. Zero and nothing are what every name begins with, and are left out of the address.

        Raises:
            KeyError: for a name that no owner would put into the address.
        """
        if not any(name in names for names in PAGES.values()):
            raise KeyError(f"expected a name from gptviz.places.PAGES, found {name!r}; add it to those of its page")
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
        make_steps(key="history")
        watch_page(key="lost", on_lost_change=lambda: None)  # a run is all that it asks for
        mine = {*PAGES[""], *PAGES.get(page, ())}
        for name in dict.fromkeys(name for names in PAGES.values() for name in names):
            if name in mine or here.get(name) or name in linked_to:
                if name in here:
                    st.session_state[name] = here[name]
                here[name] = st.text_input(name, key=name, bind="query-params")


def put_right(name: str) -> None:
    """Forget what means nothing, and run again; the browser shows it in the address until its control is used."""
    if "opened" not in st.session_state:  # the visitor came by this link
        st.session_state.setdefault("meaningless", {})[name] = kept()[name]
    kept()[name] = ""
    st.rerun()


def ignored() -> dict[str, str]:
    """What the address says for nothing: names that no page has, of another version perhaps, and values without sense.

    The values mean nothing until the first page of a visit has been shown; after that they are forgotten.
    """
    known = {*OTHERS, *(name for names in PAGES.values() for name in names)}
    unknown = {name: text for name, text in st.query_params.to_dict().items() if name not in known}
    return unknown | st.session_state.get("meaningless", {})


def say_ignored() -> None:
    """Name what is ignored, for the router, above the page."""
    found = [f"{name}={text}" for name, text in ignored().items()]
    if not found:
        return
    named = [f"**{literal(each[:LONGEST_IGNORED])}{'…' * (len(each) > LONGEST_IGNORED)}**" for each in found]
    more = f" and {len(found) - MOST_IGNORED:,} more" if len(found) > MOST_IGNORED else ""
    said = ", ".join(named[:MOST_IGNORED])
    st.caption(
        f":material/link_off: This link also says {said}{more}, which means nothing here; it may be of another version."
        " The rest of the link is what you see."
    )


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
    spelt_out: bool = False,
    **options: Any,
) -> Value:
    """A widget whose value is part of the link.

    Args:
        widget: such as `st.slider`; it gets `label`, `given` and `options`, but no value and no on_change.
        key: its name in the address, one of `gptviz.places.PAGES`.
        default: what it shows while the address has nothing.
        read: from the text in the address to the value; raises ValueError for a text that means none, which is then
            forgotten.
        write: from the value to the text.
        spelt_out: a chosen default is in the address, too, as other pages that show this name begin with another one.
    """
    value, shown = default, shown_as(key)
    if text := kept().get(key):
        try:
            value = read(text)
        except ValueError:
            put_right(key)
    drawn = st.session_state.get("kept_page"), repr(given)  # elsewhere it is another widget, which has no value yet
    if st.session_state.get(shown) != value or st.session_state.get(f"{key}_drawn") != drawn:
        send(shown, value)  # setting it anyway would undo a click that is on its way
    st.session_state[f"{key}_drawn"] = drawn
    unsaid = None if spelt_out else default
    return widget(label, *given, key=shown, on_change=keep_shown, args=(key, unsaid, write), **options)


def send(shown: str, value: object) -> None:
    """Let a widget show a value, and note what the browser has instead of it until the run has come to its end."""
    if shown in st.session_state:
        sent = st.session_state.setdefault("sent", {})
        sent[shown] = st.session_state[shown], time.monotonic()
    st.session_state[shown] = value


def arrived() -> None:
    """For the router, at the end of a run: the browser has got what was sent."""
    st.session_state.pop("sent", None)
    st.session_state.pop("meaningless", None)
    st.session_state["opened"] = True


def is_late(shown: str, value: object) -> bool:
    """Whether the browser says of a widget what it had before a value was sent that it has not got yet.

    A run that a quick press interrupts sends nothing more, and the press brings the old values of all widgets along.
    """
    before, when = st.session_state.get("sent", {}).get(shown, (None, -LATE))
    return time.monotonic() - when < LATE and value == before


def keep_shown(name: str, default: Value, write: Callable[[Value], str]) -> None:
    """The visitor chose: keep it, the default as nothing."""
    value = st.session_state[shown_as(name)]
    if is_late(shown_as(name), value):
        return
    kept()[name] = "" if value == default else write(value)


def another_sentence(kind: str, now: tuple[str, str]) -> None:
    """The visitor changed sentence or model: what belongs to the one before is put away, and that of this one found.

    Args:
        kind: of the model, one of `OF_A_SENTENCE`.
        now: the chosen model and the typed text.
    """
    names = OF_A_SENTENCE[kind]
    here, memory = kept(), st.session_state.setdefault("kept_of", {})
    memory[st.session_state.get(f"read_by_{kind}")] = {name: here.get(name, "") for name in names}
    here.update(memory.pop(now, dict.fromkeys(names, "")))
    while len(memory) > MOST_SENTENCES:
        del memory[next(iter(memory))]


def remember_sentence(kind: str, now: tuple[str, str]) -> None:
    """For the router: what belongs to a sentence that such a model reads now belongs to this one."""
    st.session_state[f"read_by_{kind}"] = now
