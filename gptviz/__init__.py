"""gptviz: see what a real transformer does with a sentence.

>>> import gptviz
>>> model = gptviz.load("gpt-stories")
>>> trace = gptviz.trace(model, "My dog has fleas")
>>> trace.weights.shape  # layers, heads, queries, keys
(4, 8, 6, 6)
"""

from __future__ import annotations

import dataclasses

from gptviz.checkpoint import LanguageModel, load
from gptviz.trace import Trace, WhatIf

__all__ = ["LanguageModel", "Trace", "WhatIf", "generate", "load", "trace"]


def trace(model: LanguageModel, text: str, *, causal: bool = True, what_if: WhatIf | None = None) -> Trace:
    """Everything `model` does with `text`, from one forward pass.

    Args:
        model: from `load`.
        text: cut at the left if it is longer than the context; `Trace.dropped` says by how many tokens.
        causal: False lets every token see the future as well.
        what_if: further changes to this pass.
    """
    ids, dropped = model.encode(text)
    what_if = dataclasses.replace(what_if or WhatIf(), causal=causal and (what_if is None or what_if.causal))
    seen = model.gpt.trace(ids, what_if)
    return dataclasses.replace(seen, tokens=model.tokenizer.token_texts(ids), dropped=dropped, arrays={})
