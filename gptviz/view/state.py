"""What a visitor has chosen to see: as Python, as JSON for the browser, and as a short text for a link."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MODES = ("overview", "matrix", "lines", "sentence")
SCALES = ("linear", "sqrt", "row")
SORTS = ("place", "entropy", "distance", "first", "kind")
WAYS = ("to", "from")
MOST_PINS = 4
LETTERS = {"scale": "s", "sort": "o", "queries": "q", "keys": "k", "pins": "p", "mass": "m", "way": "d", "window": "w"}
CHOICES = {"mode": MODES, "scale": SCALES, "sort": SORTS, "way": WAYS}
LONGEST_LIST = 4096  # positions that a text or JSON from outside may name


@dataclass(frozen=True)
class ViewState:
    """One state of the view. Positions and indices count from 0; what is out of range is put right by `fit`.

    Args:
        layer, head: the chosen head.
        mode: "overview" (all heads), "matrix" (one, large), "lines" (queries and keys joined) or "sentence".
        queries, keys: chosen positions.
        pins: heads to see beside the chosen one, as index layer * H + head; at most 4.
        scale: colour by the weight ("linear"), its root ("sqrt") or its share of the row's largest ("row").
        sort: order of the heads in the overview.
        mass: share of each query's attention that lines keep, over 0 and up to 1; None is 0.9, or 0.5 beyond 64 tokens.
        way: a sentence coloured by what the chosen tokens attend "to", or where attention comes "from".
        window: (q0, q1, k0, k1), the part that is zoomed into, ends left out; None for all.
    """

    layer: int = 0
    head: int = 0
    mode: str = "overview"
    queries: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    pins: tuple[int, ...] = ()
    scale: str = "linear"
    sort: str = "place"
    mass: float | None = None
    way: str = "to"
    window: tuple[int, int, int, int] | None = None

    def to_text(self) -> str:
        """All but layer and head for a link, what is default left out: "lines~s:sqrt~q:3-5~m:0.8"."""
        parts = [] if self.mode == MODES[0] else [self.mode]
        for name, letter in LETTERS.items():
            value = getattr(self, name)
            if value not in (getattr(DEFAULT, name), ()):
                if isinstance(value, tuple):
                    value = "-".join(map(str, value))
                parts.append(f"{letter}:{value:g}" if isinstance(value, float) else f"{letter}:{value}")
        return "~".join(parts)

    @classmethod
    def parse(cls, text: object, layer: int = 0, head: int = 0) -> ViewState:
        """The state that a text from `to_text` means. Never fails: parts that mean nothing stay at their default."""
        found: dict[str, Any] = {"layer": layer, "head": head}
        names = {letter: name for name, letter in LETTERS.items()}
        for part in text.split("~") if isinstance(text, str) else ():
            letter, colon, value = part.partition(":")
            if not colon:
                found["mode"] = part
            elif name := names.get(letter):
                found[name] = value if name in CHOICES else value.split("-") if name != "mass" else value
        return cls.from_json(found)

    def to_json(self) -> dict[str, Any]:
        """As a dict for JSON, with lists for tuples."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, given: object) -> ViewState:
        """The state that a dict from the browser means. Never fails: what fits no field stays at its default."""
        if not isinstance(given, Mapping):
            return DEFAULT
        found = {}
        for field in dataclasses.fields(cls):
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                if field.name in given:
                    found[field.name] = READERS[field.name](given[field.name])
        return cls(**found)

    def fit(self, shape: tuple[int, int, int, int]) -> ViewState:
        """The nearest state that a view of (L, H, T, S) can show. One head alone has no overview and no pins."""
        n_layers, n_heads, t, s = shape
        single = n_layers * n_heads == 1
        window = self.window and fit_window(self.window, t, s)
        return dataclasses.replace(
            self,
            layer=min(max(self.layer, 0), n_layers - 1),
            head=min(max(self.head, 0), n_heads - 1),
            mode="matrix" if single and self.mode == "overview" else self.mode,
            queries=tuple(i for i in self.queries if 0 <= i < t),
            keys=tuple(i for i in self.keys if 0 <= i < s),
            pins=() if single else tuple(i for i in self.pins if 0 <= i < n_layers * n_heads)[:MOST_PINS],
            window=None if window == (0, t, 0, s) else window,
        )


def fit_window(window: tuple[int, int, int, int], t: int, s: int) -> tuple[int, int, int, int] | None:
    """The part of a window that lies in (t, s); None if nothing does."""
    q0, q1, k0, k1 = window
    q0, q1, k0, k1 = max(q0, 0), min(q1, t), max(k0, 0), min(k1, s)
    return (q0, q1, k0, k1) if q0 < q1 and k0 < k1 else None


def whole(value: object) -> int:
    """A whole number, from a number or a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or abs(number := float(value)) > 2**31:
        raise ValueError(f"expected a whole number, found {value!r}")
    if number != int(number):
        raise ValueError(f"expected a whole number, found {value!r}")
    return int(number)


def positions(value: object) -> tuple[int, ...]:
    """Whole numbers, sorted, each once."""
    return tuple(sorted(set(listed(value))))


def listed(value: object) -> list[int]:
    """A list of whole numbers."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, found {type(value).__name__}")
    return [whole(item) for item in value[:LONGEST_LIST]]


def pinned(value: object) -> tuple[int, ...]:
    """Head indices in the order in which they were pinned, each once."""
    return tuple(dict.fromkeys(i for i in listed(value) if i >= 0))[:MOST_PINS]


def window_of(value: object) -> tuple[int, int, int, int] | None:
    """Four numbers, or None."""
    if value is None:
        return None
    q0, q1, k0, k1 = listed(value)
    if not (0 <= q0 < q1 and 0 <= k0 < k1):
        raise ValueError(f"expected q0 < q1 and k0 < k1, found {value!r}")
    return q0, q1, k0, k1


def share_of(value: object) -> float:
    """A share over 0 and up to 1, in thousandths, so that a link stays short."""
    share = float(value)  # type: ignore[arg-type]
    if not (math.isfinite(share) and 0 < share <= 1):
        raise ValueError(f"expected a share over 0 and up to 1, found {value!r}")
    return max(round(share, 3), 0.001)


def one_of(options: tuple[str, ...]) -> Callable[[object], str]:
    """A reader that takes one of `options`."""

    def read(value: object) -> str:
        if value not in options:
            raise ValueError(f"expected one of {', '.join(options)}, found {value!r}")
        return str(value)

    return read


READERS: dict[str, Callable[[Any], Any]] = {
    "layer": lambda value: max(whole(value), 0),
    "head": lambda value: max(whole(value), 0),
    "queries": positions,
    "keys": positions,
    "pins": pinned,
    "mass": share_of,
    "window": window_of,
} | {name: one_of(options) for name, options in CHOICES.items()}
DEFAULT = ViewState()
