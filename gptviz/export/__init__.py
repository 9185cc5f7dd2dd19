"""Pictures and numbers to take away: PNG, SVG, PDF, CSV, NPZ and one HTML file, each with its provenance inside.

>>> import gptviz
>>> from gptviz import export
>>> from gptviz.provenance import provenance
>>> model = gptviz.load("gpt-stories")
>>> trace = gptviz.trace(model, "My dog has fleas")
>>> view = gptviz.attention_view(trace.weights, trace.tokens)
>>> svg = export.render(view, "svg", provenance(model, "My dog has fleas"))
>>> svg[:5]
b'<?xml'

No browser is needed: matplotlib draws. It is imported when the first picture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gptviz.export.canvas import KINDS
from gptviz.export.data import csv, npz, table
from gptviz.export.page import html

if TYPE_CHECKING:
    from gptviz.provenance import Provenance

__all__ = ["KINDS", "csv", "html", "keep_pictures", "npz", "render", "table"]


def render(
    picture: Any, kind: str, provenance: Provenance | None = None, *, width: int = 1600, theme: str = "light"
) -> bytes:
    """A picture as the bytes of a file.

    Args:
        picture: an `AttentionView`, drawn as its `state` says, a `Matrix` of `gptviz.figures.matrix`, or a figure of
            `gptviz.figures`.
        kind: "png", twice as sharp as `width`; "svg" or "pdf", in which text is text and cells are paths (pictures of
            more than 40,000 cells hold an image).
        provenance: written into the file, and at its foot.
        width: pixels at which it is seen. Figures are laid out as in the app and enlarged.
        theme: "light" or "dark".

    Raises:
        ValueError: for another kind or theme, or a Plotly trace of a kind that gptviz has not.
    """
    from gptviz.export import canvas
    from gptviz.export.attention import draw_matrix, draw_view
    from gptviz.export.plotly_figures import draw_figure
    from gptviz.figures.matrix import Matrix
    from gptviz.view import AttentionView

    if theme not in canvas.THEMES:
        raise ValueError(f"expected a theme of {', '.join(canvas.THEMES)}, found {theme!r}")
    looks = canvas.THEMES[theme]
    with canvas.our_settings():
        if isinstance(picture, AttentionView):
            drawn = draw_view(picture, width, looks)
        elif isinstance(picture, Matrix):
            drawn = draw_matrix(picture, width, looks)
        else:
            given = picture if isinstance(picture, dict) else picture.to_dict()
            drawn = draw_figure(given, looks)
        canvas.write_foot(drawn, provenance, looks)
        return canvas.save(drawn, kind, provenance, width)


def keep_pictures() -> None:
    """From here on, a notebook keeps a PNG of every Plotly figure that a cell shows, beside the figure itself.

    VS Code shows the figure, JupyterLab turns the picture into it under the pointer, and what runs no scripts, such as
    GitHub or a printer, shows the picture. An `AttentionView` brings its own. No browser is needed, and Plotly's script
    is not written into the notebook. It sets `plotly.io.renderers.default`; a figure with traces that gptviz does not
    draw is kept without a picture, with a warning.
    """
    from gptviz.export import notebook  # Plotly's rendering takes a moment to import, which files have no need of

    notebook.register()
