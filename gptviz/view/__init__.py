"""The attention view: every head at once, in a notebook, a saved page or a Streamlit app. Needs numpy only.

>>> import gptviz
>>> gptviz.attention_view([[[1.0, 0.0], [0.25, 0.75]]], ["Hello", " world"], title="one head")
AttentionView('one head', shape=(1, 1, 2, 2))
"""

from __future__ import annotations

from gptviz.view.payload import encode_cells, encode_layer, from_codes, pack, unpack, unpack_codes
from gptviz.view.sources import MappedSource, Source, TraceSource
from gptviz.view.state import ViewState
from gptviz.view.views import AttentionView, attention_view

__all__ = [
    "AttentionView",
    "MappedSource",
    "Source",
    "TraceSource",
    "ViewState",
    "attention_view",
    "encode_cells",
    "encode_layer",
    "from_codes",
    "pack",
    "unpack",
    "unpack_codes",
]
