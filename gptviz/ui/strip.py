"""A sentence as a strip of tokens that can be coloured and clicked. Drawn by assets/strip.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from gptviz.figures.style import visible

ASSETS = Path(__file__).parent / "assets"
draw = st.components.v2.component(
    "gptviz_token_strip",
    css=(ASSETS / "strip.css").read_text(encoding="utf-8"),
    js=(ASSETS / "strip.js").read_text(encoding="utf-8"),
)


def token_strip(
    tokens: Sequence[str],
    key: str,
    values: Sequence[float] | Callable[[tuple[int, ...]], Sequence[float]] | None = None,
    selected: Sequence[int] = (),
    diverging: bool = False,
    labels: Sequence[str] | Callable[[tuple[int, ...]], Sequence[str]] | None = None,
    selectable: bool = True,
) -> tuple[int, ...]:
    """Show tokens literally, coloured by `values`; returns the positions that are selected.

    Args:
        tokens: T tokens.
        key: of the widget that owns the selection; also its name in the URL.
        values: T numbers in [0, 1], or in [-1, 1] where `diverging`; no colour without. Like `labels`, these may be
            a function of the selection, for colours that depend on what is selected.
        selected: positions selected at first.
        diverging: colour below and above zero differently.
        labels: T texts with the exact values, shown on hover.
        selectable: False for a strip to look at only.
    """
    with st.container(horizontal=True, gap="small"):
        place = st.container()  # the strip stands first, and has to know what is selected
        chosen = choose(len(tokens), key, selected) if selectable else tuple(selected)
    values, labels = (given(chosen) if callable(given) else given for given in (values, labels))
    data = {
        "tokens": [visible(token) for token in tokens],
        "values": None if values is None else [round(float(value), 4) for value in values],
        "labels": None if labels is None else list(labels),
        "selected": list(chosen),
        "diverging": diverging,
        "selectable": selectable,
    }
    with place:
        draw(key=f"{key}_strip", data=data, on_toggle_change=lambda: toggle(key, len(tokens)))
    return chosen


def choose(t: int, key: str, selected: Sequence[int]) -> tuple[int, ...]:
    """The native widget that owns the selection, and keeps it in the URL: positions, which survive a new sentence."""
    with st.popover("Choose", icon=":material/checklist:", help="Select tokens by their position, from 0"):
        return tuple(
            st.multiselect(
                "Selected tokens",
                range(t),
                default=[i for i in selected if i < t],
                format_func=str,
                key=key,
                bind="query-params",
            )
        )


def toggle(key: str, t: int) -> None:
    """Select the token that was clicked, or no longer: the native widget is the only owner of the selection."""
    position = st.session_state[f"{key}_strip"].toggle
    if position in range(t):  # it comes from the browser, so it may be anything
        st.session_state[key] = sorted(set(st.session_state.get(key, ())) ^ {position})
