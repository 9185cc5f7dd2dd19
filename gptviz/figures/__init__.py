"""Pictures from arrays and labels. The only room with plotly; knows neither torch nor streamlit.

>>> import gptviz
>>> figure = gptviz.figures.heatmap.heatmap([[1.0, 0.0], [0.25, 0.75]], ["Hello", " world"], ["Hello", " world"])
>>> figure.data[-1].z.shape  # a figure of Plotly, which a notebook shows
(2, 2)

A module is imported when it is first named.
"""

from __future__ import annotations

import importlib
import pkgutil
import types

MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))


def __getattr__(name: str) -> types.ModuleType:
    """Import a module of figures when it is first used."""
    if name not in MODULES:
        raise AttributeError(f"module 'gptviz.figures' has no attribute {name!r}; it has {', '.join(MODULES)}")
    return importlib.import_module(f"gptviz.figures.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *MODULES})
