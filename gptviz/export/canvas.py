"""A sheet of matplotlib to draw on, and its bytes as PNG, SVG or PDF, provenance inside. Needs no browser, no display.

Text stays text in SVG and PDF, and is never read as mathematics: a token may well be "$". matplotlib's settings belong
to the whole process, so they are changed under a lock and given back.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptviz.figures.style import INK, TRANSPARENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gptviz.provenance import Provenance

KINDS = ("png", "svg", "pdf")
DOTS = 100  # an inch of the sheet: sizes are given in pixels of a screen
SHARPNESS = 2  # pixels of a PNG for one of the sheet
MOST_PIXELS = 16_000  # a side of a sheet
FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Emoji", "Arial Unicode MS")
SETTINGS = {
    "svg.fonttype": "none",  # text, not outlines
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "svg.hashsalt": "gptviz",  # the same picture is the same file
}
POINTS = 72 / DOTS  # of a pixel
LOCK = threading.RLock()


@dataclass(frozen=True)
class Theme:
    """The colours of a page that the figures themselves leave to it."""

    paper: str
    ink: str
    quiet: str  # frames and the foot line


THEMES = {"light": Theme("#ffffff", "#16202b", "#68727d"), "dark": Theme("#0f151c", "#e6edf3", "#9aa5b1")}


@contextlib.contextmanager
def our_settings() -> Iterator[None]:
    """matplotlib with our settings, for one thread at a time."""
    import matplotlib
    from matplotlib import font_manager

    with LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # it is drawn as a box
        there = {entry.name for entry in font_manager.fontManager.ttflist}
        with matplotlib.rc_context(SETTINGS | {"font.family": [name for name in FONTS if name in there]}):
            yield


def sheet(width: int, height: int, theme: Theme) -> Figure:
    """An empty sheet of so many pixels."""
    from matplotlib.figure import Figure

    if not (0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS):
        raise ValueError(f"expected a picture of 1 to {MOST_PIXELS:,} pixels a side, found {width:,} x {height:,}")
    return Figure(figsize=(width / DOTS, height / DOTS), dpi=DOTS, facecolor=theme.paper)


def save(figure: Figure, kind: str, provenance: Provenance | None, width: int) -> bytes:
    """The bytes of a sheet, to be seen at so many pixels.

    Raises:
        ValueError: for a kind that is none of "png", "svg" and "pdf".
    """
    if kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)}, found {kind!r}")
    if not 0 < width <= MOST_PIXELS // SHARPNESS:
        raise ValueError(f"expected a picture of 1 to {MOST_PIXELS // SHARPNESS:,} pixels a side, found {width:,}")
    file = io.BytesIO()
    dots = SHARPNESS * width / figure.get_size_inches()[0] if kind == "png" else DOTS
    figure.savefig(file, format=kind, dpi=dots, facecolor=figure.get_facecolor(), metadata=inside(kind, provenance))
    return file.getvalue()


def inside(kind: str, provenance: Provenance | None) -> dict[str, object]:
    """The provenance as each format keeps it: lines for people and JSON for programs."""
    if provenance is None:
        return {} if kind == "png" else {"Date": None} if kind == "svg" else {"CreationDate": None}
    lines = "\n".join(provenance.lines())
    data = json.dumps(provenance.to_json())
    title = f"gptviz: {provenance.model}"
    if kind == "png":
        return {"Title": title, "Description": lines, "gptviz": data, "Software": "gptviz"}
    if kind == "svg":
        return {"Title": title, "Description": lines, "Source": data, "Creator": "gptviz", "Date": None}
    return {"Title": title, "Subject": lines, "Keywords": data, "Creator": "gptviz", "CreationDate": None}


def plain(text: object) -> str:
    """A text as Plotly would show it: its few tags are looks, which are left out, and entities are signs."""
    broken = re.sub(r"<br ?/?>", "\n", str(text))
    return html.unescape(re.sub(r"</?(?:b|i|em|sub|sup|span)(?: [^>]*)?>", "", broken))


def is_bold(text: object) -> bool:
    """Whether all of a text is to be bold."""
    return bool(re.fullmatch(r"<b>[^<]*</b>", str(text)))


def colour(value: object, theme: Theme) -> tuple[float, float, float, float]:
    """A colour as Plotly writes it, as four numbers from 0 to 1; the ink of our figures is that of the theme."""
    from matplotlib.colors import to_rgba

    if value in (None, INK):
        return to_rgba(theme.ink)
    if value == TRANSPARENT:
        return 0.0, 0.0, 0.0, 0.0
    if found := re.fullmatch(r"rgba?\(([^)]*)\)", str(value).strip()):
        parts = [float(part) for part in found[1].split(",")]
        return parts[0] / 255, parts[1] / 255, parts[2] / 255, parts[3] if len(parts) > 3 else 1.0
    return to_rgba(str(value))


def write_foot(figure: Figure, provenance: Provenance | None, theme: Theme) -> None:
    """One quiet line below the picture: where it comes from."""
    if provenance is not None:
        line = f"{provenance.model} · {provenance.fingerprint[:8]} · gptviz {provenance.versions.get('gptviz', '')}"
        width, height = figure.get_size_inches() * DOTS
        figure.text(1 - 8 / width, 5 / height, line, ha="right", va="bottom", fontsize=10 * POINTS, color=theme.quiet)
