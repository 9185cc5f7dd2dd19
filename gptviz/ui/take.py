"""What a visitor can take along from a page: its link, the code that makes its numbers, and its pictures as files.

One popover for all pictures of a page, beside the sentence: it costs nothing until it is open, and moves nothing.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import streamlit as st

from gptviz import pictures as of_pages
from gptviz.figures.matrix import Matrix
from gptviz.places import CHAT_PAGES, PAGES, TRANSFORMER_PAGES
from gptviz.ui import models
from gptviz.ui.address import kept
from gptviz.ui.show import escape
from gptviz.view import AttentionView

if TYPE_CHECKING:
    from gptviz.provenance import Provenance

FORMATS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf", "csv": "text/csv",
           "npz": "application/octet-stream", "html": "text/html"}  # fmt: skip
DRAWN = ("png", "svg", "pdf")
SAY = {
    "png": "For slides: 3,200 pixels wide.",
    "svg": "For slides and the web: every line and letter stays sharp.",
    "pdf": "For papers: every line and letter stays sharp.",
    "csv": "Every number with all its digits; the first lines say where they are from.",
    "npz": "NumPy arrays, for `numpy.load`.",
    "html": "One file that opens by double-click, with the network off.",
}


def begin_page() -> None:
    """For the router: nothing has been shown yet."""
    st.session_state["pictures"] = {}


def share_button(page: str) -> None:
    """For the router, beside the sentence: the popover, which `take_away` fills. Pages without numbers have none."""
    st.session_state.pop("take_place", None)
    if page and page in PAGES:
        place = st.popover(
            "Share", key="take", icon=":material/ios_share:", on_change="rerun",
            help="A link to exactly this, the code behind it, and every picture of this page as a file",
        )  # fmt: skip
        hint = place.empty()
        if place.open:  # a page that ends early leaves it at that
            hint.caption("There is nothing to take along yet: the page below says why.")
        st.session_state["take_place"] = place, hint


def take_away(page: str) -> None:
    """What is in the popover, for the router, once the page has shown everything."""
    pictures = st.session_state.get("pictures") or {}
    place, hint = st.session_state.get("take_place") or (None, None)
    if place is None or not place.open:
        return
    hint.empty()
    with place:
        model, text = chosen(page)
        query = query_of(page)
        show_link(page, query)
        st.caption("The same in Python, in a notebook:")
        lines = of_pages.code(page, model, text, query, models.kept_in(model))
        st.code(lines, language="python", wrap_lines=True)
        add_to_lecture(page, query)
        if pictures:
            save_one(page, pictures)
        else:
            st.caption("This page has no picture to save.")


def chosen(page: str) -> tuple[str, str]:
    """Model and sentence of a page."""
    names = ("translator", "source") if page in TRANSFORMER_PAGES else ("model", "text")
    return tuple(str(st.session_state.get(name, "")) for name in names)


def query_of(page: str) -> dict[str, str]:
    """What the link to this page says, besides model and sentence."""
    names = dict.fromkeys((*PAGES[""], *PAGES[page]))
    return {name: kept()[name] for name in names if kept().get(name) and (name != "chat" or page in CHAT_PAGES)}


def link_of(page: str, query: dict[str, str]) -> str:
    """The part of the address behind the host. Model and sentence are in it even where they are what comes up first."""
    names = ("translator", "source") if page in TRANSFORMER_PAGES else ("model", "text")
    return f"{page}?{urlencode(dict(zip(names, chosen(page), strict=True)) | query, errors='replace')}"


def show_link(page: str, query: dict[str, str]) -> None:
    """The whole address, with a button that copies it."""
    here = re.sub(r"[?#].*$", "", st.context.url or "")
    root = here.removesuffix("/").removesuffix(f"/{page}")
    st.caption("A link to exactly this:")
    st.code(f"{root}/{link_of(page, query)}", language=None, wrap_lines=True)


def add_to_lecture(page: str, query: dict[str, str]) -> None:
    """A button that makes this view a scene of the visitor's lecture."""
    names = ("translator", "source") if page in TRANSFORMER_PAGES else ("model", "text")
    whole = dict(zip(names, chosen(page), strict=True)) | query
    st.button(
        "Add this view as a scene", key="take_scene", icon=":material/add_to_queue:", width="stretch",
        on_click=added, args=(page, whole), help="Of a lecture, to be presented or saved on the page Lectures",
    )  # fmt: skip


def added(page: str, query: dict[str, str]) -> None:
    """The visitor wants this view in a lecture."""
    from gptviz.ui.lecture_shelf import add_scene

    add_scene(page, query)
    st.toast("Added. The page Lectures has it.", icon=":material/co_present:")


def save_one(page: str, pictures: dict[str, object]) -> None:
    """Which picture, in which format, and the button that makes the file."""
    st.caption("Its pictures as files, each with model, sentence and versions inside:")
    titles = {key: escape(title_of(key, picture)) for key, picture in pictures.items()}
    key = st.selectbox("Picture", list(pictures), format_func=titles.__getitem__, key="take_which")
    picture = pictures[key]() if callable(pictures[key]) else pictures[key]
    formats = [kind for kind in FORMATS if kind != "html" or not isinstance(picture, Matrix)]
    kind = st.segmented_control("Format", formats, default="png", key="take_kind", required=True, format_func=str.upper)
    dark = kind in DRAWN and st.toggle("On dark paper", key="take_dark")
    st.caption(SAY[kind])
    st.download_button(
        f"Save as {kind.upper()}",
        functools.partial(make, picture, kind, about(page), "dark" if dark else "light"),
        file_name=f"{page}-{key}.{kind}",
        mime=FORMATS[kind],
        key="take_file",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )


def title_of(key: str, picture: Any) -> str:
    """What a picture is called: its own title, or its name on the page."""
    if isinstance(picture, AttentionView | Matrix):
        own = picture.title
    else:
        own = (picture.layout.title.text or "") if hasattr(picture, "layout") else ""
    return re.sub(r"<[^>]*>", "", own) or key.replace("_", " ")


def about(page: str) -> Provenance:
    """Where the pictures of this page come from."""
    from gptviz.provenance import provenance

    name, text = chosen(page)
    query = query_of(page)
    return provenance(models.open_model(name), text, query, link_of(page, query))


def make(picture: Any, kind: str, source: Provenance, theme: str) -> bytes:
    """The bytes of a file, made when the button is pressed."""
    from gptviz import export

    if kind in DRAWN:
        return export.render(picture, kind, source, theme=theme)
    if kind == "html":
        return export.html(picture, source).encode()
    return export.csv(picture, source) if kind == "csv" else export.npz(picture, source)
