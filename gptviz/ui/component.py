"""Components of our own: what is in assets/, joined without a build step and given to Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from gptviz.view.script import join_module

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

ASSETS = Path(__file__).parent / "assets"


def component(name: str, scripts: Sequence[str], styles: Sequence[str] = ()) -> ComponentRenderer:
    """A component of Streamlit's.

    Args:
        name: its own among those of the app.
        scripts: modules in assets/, each after those that it imports; all their names are in one scope.
        styles: sheets in assets/.
    """
    css = "".join(asset(f"{style}.css") for style in styles)
    return st.components.v2.component(name, js=script(*scripts), css=css or None)


def script(*names: str) -> str:
    """Modules in assets/ as the text of one."""
    return "\n".join(join_module(asset(f"{name}.js")) for name in names)


def asset(name: str) -> str:
    """The text of a file in assets/."""
    return (ASSETS / name).read_text(encoding="utf-8")
