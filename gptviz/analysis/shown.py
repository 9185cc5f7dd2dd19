"""What a page says of the numbers that it shows: a `Claim`, with the function that works them out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from gptviz.analysis.derived import Derived
    from gptviz.trace import Trace, WhatIf
    from gptviz.translation import TranslationTrace

NOTHING = 1e-3
"""What the largest number of a quantity is at least, unless a claim says less: zeros are not held against zero."""


class Sentence(NamedTuple):
    """What a pass of a GPT depends on, for claims about one that no trace is kept of."""

    ids: tuple[int, ...]
    causal: bool = True  # False for a model that was trained without the mask

    @property
    def what_if(self) -> WhatIf:
        """As trained."""
        from gptviz.trace import WhatIf  # here, because it brings torch

        return WhatIf(causal=self.causal)

    @property
    def key(self) -> tuple:
        """As that of a trace."""
        return self.ids, self.what_if


@dataclass(frozen=True, eq=False)
class Claim:
    """Numbers that a page shows, and the function that works them out independently."""

    about: str  # what they are numbers of
    shown: Mapping[str, np.ndarray]  # by quantity
    derive: Callable[..., Derived]  # (a pass in float64 for each trace, *args) -> these quantities, and maybe more
    args: tuple
    traces: tuple[Trace | Sentence | TranslationTrace, ...]
    side: str = ""  # of an encoder-decoder's passes, the attention that `derive` gets; empty for all three
    slow: bool = False  # needs a gradient: worked out when somebody asks for it
    nothing: float = NOTHING
    nodes: int = 0  # of a tree of beginnings, which takes a pass of its own

    @functools.cached_property
    def key(self) -> tuple:
        """What its check depends on, but for the model: the shown numbers themselves are part of it."""
        passes = tuple(trace.key for trace in self.traces)
        shown = tuple((name, values.shape, hash(values.tobytes())) for name, values in self.shown.items())
        return passes, self.about, self.derive.__module__, self.derive.__qualname__, self.side, self.args, shown

    @property
    def count(self) -> int:
        """How many numbers it is about."""
        return sum(values.size for values in self.shown.values())


def claim(
    about: str, shown: Mapping[str, object], derive: Callable[..., Derived], *args: object,
    of: tuple[Trace | Sentence | TranslationTrace, ...], side: str = "", slow: bool = False, nothing: float = NOTHING,
    nodes: int = 0,
) -> Claim:  # fmt: skip
    """A `Claim` about numbers and arrays of any kind, but for those that are empty; `args` are hashable."""
    arrays = {name: np.asarray(values) for name, values in shown.items()}
    filled = {name: each for name, each in arrays.items() if each.size}
    return Claim(about, filled, derive, args, of, side, slow, nothing, nodes)
