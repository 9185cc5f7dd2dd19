"""What lessons make out of a pass, once more: in float64, from a pass in float64, by other code than what is shown.

A page says what it shows as a `Claim` of `gptviz.analysis.shown`; `gptviz.analysis.claims` works it out by a function
of this package, and compares. These functions share no line with the ones that make what is shown, and know nothing
about pages or torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Bounds(NamedTuple):
    """What rounding leaves open: a rank among equals, or a kept token at the very edge. Anything between agrees."""

    low: np.ndarray
    high: np.ndarray


Derived = Mapping[str, np.ndarray | float | Bounds]
"""Quantity -> what it should be. A name says its axes in brackets: "entropy, bits [position]"."""
