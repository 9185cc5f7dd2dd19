"""What pages are made of. The only room with streamlit, next to the pages and the app.py that serves them; no torch."""

from __future__ import annotations

from gptviz.ui.address import arrived, kept, linked
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
from gptviz.ui.lesson import Reading, begin, lesson, read
from gptviz.ui.matrix import plot_matrix
from gptviz.ui.overview import describe_models, head_wall, link_lessons
from gptviz.ui.show import ICON, WORDMARK, escape, plot, see_also, show_source, table_with_csv
from gptviz.ui.strip import token_strip
from gptviz.ui.take import begin_page, take_away
from gptviz.ui.translation import PairReading, pair_lesson, pick_side

__all__ = [
    "ICON",
    "WORDMARK",
    "PairReading",
    "Reading",
    "arrived",
    "begin",
    "begin_page",
    "check_numbers",
    "describe_models",
    "escape",
    "head_wall",
    "kept",
    "lesson",
    "link_lessons",
    "linked",
    "number",
    "pair_lesson",
    "pick_head",
    "pick_layer",
    "pick_one",
    "pick_side",
    "plot",
    "plot_matrix",
    "read",
    "see_also",
    "shared_controls",
    "show_source",
    "slide",
    "slide_among",
    "slide_pair",
    "switch",
    "table_with_csv",
    "take_away",
    "token_strip",
]
