"""The JavaScript of the view as one text: modules joined in order, without a build step."""

from __future__ import annotations

import functools
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "js"
ORDER = (
    "payload", "colour", "pool", "layout", "lines", "state", "keys", "words",  # pure
    "pointers", "full_screen", "needs", "canvas", "overview_labels", "overview", "matrix", "matrix_pointer",
    "lines_view", "toolbar", "sentence", "frame", "host", "pictures", "view",  # the page
)  # fmt: skip
IMPORT = re.compile(r"^import\b[^;]*;[ \t]*\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function\b|const\b|let\b|class\b)", re.MULTILINE)


@functools.cache
def joined() -> str:
    """All modules as the text of one, without `import` and `export`: every name at their top level is there once."""
    return "\n".join(join_module((FOLDER / f"{name}.js").read_text(encoding="utf-8")) for name in ORDER)


def join_module(text: str) -> str:
    """A module's text without its imports, and without the word `export`."""
    return EXPORT.sub("", IMPORT.sub("", text))


@functools.cache
def style() -> str:
    """The view's style sheet."""
    return (FOLDER / "view.css").read_text(encoding="utf-8")
