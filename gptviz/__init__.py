"""gptviz: see what a real transformer does with a sentence.

>>> import gptviz
>>> model = gptviz.load("gpt-stories")
>>> trace = gptviz.trace(model, "My dog has fleas")
>>> trace.weights.shape  # layers, heads, queries, keys
(4, 8, 6, 6)
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptviz.checkpoint import LanguageModel, load
    from gptviz.trace import Trace, WhatIf

__all__ = ["LanguageModel", "Trace", "WhatIf", "generate", "load", "trace"]

# Public name -> module that has it. Each is imported when first asked for: `import gptviz` alone must not cost the
# seconds that torch takes, because the app shows its first page while torch is still on its way.
HOMES = {"LanguageModel": "checkpoint", "load": "checkpoint", "Trace": "trace", "WhatIf": "trace"}


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'gptviz' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"gptviz.{HOMES[name]}"), name)


class Package(ModuleType):
    """Keeps `gptviz.trace` the function: importing the submodule of that name would put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "trace" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package


def trace(model: LanguageModel, text: str, *, causal: bool = True, what_if: WhatIf | None = None) -> Trace:
    """Everything `model` does with `text`, from one forward pass.

    Args:
        model: from `load`.
        text: cut at the left if it is longer than the context; `Trace.dropped` says by how many tokens.
        causal: False lets every token see the future as well.
        what_if: further changes to this pass.
    """
    from gptviz.trace import WhatIf

    ids, dropped = model.encode(text)
    what_if = dataclasses.replace(what_if or WhatIf(), causal=causal and (what_if is None or what_if.causal))
    seen = model.gpt.trace(ids, what_if)
    return dataclasses.replace(seen, tokens=model.tokenizer.token_texts(ids), dropped=dropped, arrays={})
