"""What pages are made of. The only room with streamlit, next to the pages and the app.py that serves them; no torch."""

from __future__ import annotations

from gptviz.ui.address import kept, linked
from gptviz.ui.check import check_numbers
from gptviz.ui.controls import (
    number,
    pick_head,
    pick_layer,
    pick_one,
    shared_controls,
    slide,
    slide_among,
    slide_pair,
    switch,
)
from gptviz.ui.lesson import Reading, lesson, read
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.overview import describe_models, head_wall, link_lessons
from gptviz.ui.show import ICON, WORDMARK, escape, plot, show_source, table_with_csv
from gptviz.ui.strip import token_strip

__all__ = [
    "ICON",
    "WORDMARK",
    "Reading",
    "check_numbers",
    "describe_models",
    "escape",
    "head_wall",
    "kept",
    "lesson",
    "link_lessons",
    "linked",
    "number",
    "pick_head",
    "pick_layer",
    "pick_one",
    "plot",
    "plot_matrix",
    "read",
    "shared_controls",
    "show_source",
    "slide",
    "slide_among",
    "slide_pair",
    "switch",
    "table_with_csv",
    "token_strip",
]
