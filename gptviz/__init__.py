"""gptviz: see what a real transformer does with a sentence.

>>> import gptviz
>>> model = gptviz.load("gpt-stories")
>>> trace = gptviz.trace(model, "My dog has fleas")
>>> trace.weights.shape  # layers, heads, queries, keys
(4, 4, 6, 6)
>>> print(gptviz.generate(model, "My dog has fleas", max_new_tokens=8))  # doctest: +SKIP

Pictures: `gptviz.attention_view` for attention, `gptviz.figures` from arrays and labels, `gptviz.pictures` those of the
lessons; `gptviz.export` makes files of them. All names are imported when they are first used, as PyTorch takes seconds.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptviz import export as export
    from gptviz import figures as figures
    from gptviz import pictures as pictures
    from gptviz.checkpoint import LanguageModel, TranslationModel, load
    from gptviz.config import ConfigError
    from gptviz.folder import CheckpointError, available
    from gptviz.sampling import Generation, generate
    from gptviz.trace import Trace, WhatIf
    from gptviz.translation import Forced, Translation, TranslationTrace, force, translate
    from gptviz.view import AttentionView, attention_view

__version__ = "0.1.0"

HOME_OF = {
    "AttentionView": "gptviz.view",
    "CheckpointError": "gptviz.folder",
    "ConfigError": "gptviz.config",
    "Forced": "gptviz.translation",
    "Generation": "gptviz.sampling",
    "LanguageModel": "gptviz.checkpoint",
    "Trace": "gptviz.trace",
    "Translation": "gptviz.translation",
    "TranslationModel": "gptviz.checkpoint",
    "TranslationTrace": "gptviz.translation",
    "WhatIf": "gptviz.trace",
    "attention_view": "gptviz.view",
    "available": "gptviz.folder",
    "force": "gptviz.translation",
    "generate": "gptviz.sampling",
    "load": "gptviz.checkpoint",
    "translate": "gptviz.translation",
}
ROOMS = ("export", "figures", "pictures")  # packages that `import gptviz` is enough for

__all__ = [
    "AttentionView",
    "CheckpointError",
    "ConfigError",
    "Forced",
    "Generation",
    "LanguageModel",
    "Trace",
    "Translation",
    "TranslationModel",
    "TranslationTrace",
    "WhatIf",
    "attention_view",
    "available",
    "force",
    "generate",
    "load",
    "trace",
    "translate",
]


def trace(model: LanguageModel, text: str, *, causal: bool = True, what_if: WhatIf | None = None) -> Trace:
    """Everything `model` does with `text`, from one forward pass.

    Args:
        model: from `load`.
        text: cut at the left if it is longer than the context; `Trace.dropped` says by how many tokens.
        causal: False lets every token see the future as well.
        what_if: further changes to this pass.

    Returns:
        A `Trace` of T tokens: `tokens` (T strings), `ids`, and every stage of the pass as a NumPy array, such as
        `weights` (L, H, T, T), `residual` (L + 1, T, C) and `logits` (T, V); `gptviz.trace.STAGES` has all the names.

    Raises:
        ValueError: if `text` is empty, or a change names a layer, head or token that is not there.
        TypeError: for a `causal` or `what_if` of another kind.
    """
    import dataclasses

    from gptviz.checkpoint import expect_model
    from gptviz.trace import WhatIf

    ids, dropped = expect_model(model).encode(text)
    if not ids:
        raise ValueError('expected a text of one token or more, found an empty one; try "My dog has fleas"')
    what_if = WhatIf() if what_if is None else what_if
    if not isinstance(what_if, WhatIf):
        raise TypeError(f"expected what_if=gptviz.WhatIf(...), found {what_if!r}")
    if not isinstance(causal, bool):
        raise TypeError(f"expected causal=True or causal=False, found {causal!r}")
    what_if = dataclasses.replace(what_if, causal=causal and what_if.causal)
    seen = model.gpt.trace(ids, what_if)
    texts_of = model.tokenizer.token_texts
    return dataclasses.replace(seen, tokens=texts_of(ids), texts_of=texts_of, dropped=dropped, arrays={})


def __getattr__(name: str) -> Any:
    """Import a public name from its home, or a package, when it is first used."""
    if name in ROOMS:
        return importlib.import_module(f"gptviz.{name}")
    if name not in HOME_OF:
        raise AttributeError(f"module 'gptviz' has no attribute {name!r}")
    value = getattr(importlib.import_module(HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *ROOMS})


class Package(types.ModuleType):
    """This package, whose `trace` is the function: importing the submodule of that name must not hide it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "trace" or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package
