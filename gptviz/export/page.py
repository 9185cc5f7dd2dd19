"""A picture as one HTML file that needs no network: the attention view, or a Plotly figure with the script it needs."""

from __future__ import annotations

import html as markup
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptviz.provenance import Provenance

FOOT = '<footer style="{looks}">{lines}</footer><script type="application/json" id="provenance">{data}</script></body>'
LOOKS = "font: 12px/1.5 system-ui, sans-serif; opacity: 0.75; margin: 12px 8px; overflow-wrap: anywhere"
INK, PAPER = "#16202b", "#ffffff"


def html(picture: Any, provenance: Provenance | None = None, caption: str = "") -> str:
    """One HTML page that opens by double-click, with the network off; hover works in it.

    Args:
        picture: an `AttentionView` (at most 1 MB for 12 x 12 heads at 64 tokens) or a Plotly figure (5 MB, of which
            nearly all is Plotly's script).
        provenance: at the foot, and as JSON in an element called "provenance".
        caption: above the foot line.

    Raises:
        TypeError: for a `Matrix`, which has no page of its own.
    """
    from gptviz.figures.matrix import Matrix
    from gptviz.view import AttentionView

    if isinstance(picture, Matrix):
        raise TypeError("expected an attention view or a figure, found a matrix; save it as PNG, SVG, PDF, CSV or NPZ")
    page = picture.html() if isinstance(picture, AttentionView) else figure_page(picture)
    head, _, tail = page.rpartition("</body>")
    return head + foot(provenance, caption) + tail


def foot(provenance: Provenance | None, caption: str) -> str:
    """The caption, the lines of the provenance, and the same for programs."""
    lines = ([caption] if caption else []) + (provenance.lines() if provenance else [])
    data = json.dumps(provenance.to_json() if provenance else {}).replace("<", "\\u003c")
    return FOOT.format(looks=LOOKS, lines="<br>".join(map(markup.escape, lines)), data=data)


def figure_page(figure: Any) -> str:
    """A Plotly figure with Plotly's script inside, on white paper whatever page it was made for."""
    import plotly.graph_objects as go
    import plotly.io

    copied = go.Figure(figure, _validate=False) if isinstance(figure, dict) else go.Figure(figure)
    copied.layout.template = None
    copied.layout.paper_bgcolor = copied.layout.plot_bgcolor = PAPER
    written = plotly.io.to_html(copied, include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    return written.replace("#000037", INK)
