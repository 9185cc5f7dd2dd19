"""What a notebook keeps of a figure: Plotly's own form, and a picture for where no script runs, such as GitHub."""

from __future__ import annotations

import base64
import warnings
from typing import Any

from plotly.io import renderers
from plotly.io.base_renderers import MimetypeRenderer

NAME = "gptviz"  # of our renderer among Plotly's
WIDTH = 720  # pixels of the picture, as of the one of an attention view


class Still(MimetypeRenderer):
    """A figure as PNG, drawn by `gptviz.export.render`."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
        """The picture by its MIME type; nothing, and a warning, for what only Plotly itself can draw."""
        from gptviz.export import render

        try:
            png = render(fig_dict, "png", width=WIDTH)
        except ValueError as error:
            warnings.warn(f"no picture of this figure is kept in the notebook: {error}", stacklevel=2)
            return {}
        return {"image/png": base64.b64encode(png).decode()}


def register() -> None:
    """What `gptviz.export.keep_pictures` does."""
    renderers[NAME] = Still()
    renderers.default = f"plotly_mimetype+{NAME}"
