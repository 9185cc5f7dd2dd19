"""Lectures: choose, upload or build one, and present it."""

from __future__ import annotations

from gptviz import ui
from gptviz.ui import lecture_shelf

ui.begin(
    "Lectures",
    look_for="lessons as scenes for a room: large type, a caption for each, and arrow keys or a presenter's remote to "
    "turn them. A sentence from the audience can be typed into any scene.",
    caution="what you upload or build here ends with this visit. Save it as a file.",
)
lecture_shelf.shelf()
