"""Models and traces that all visitors share: found, opened once, kept within bounds, never changed."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

import gptviz
from gptviz import folder as folders

if TYPE_CHECKING:
    from gptviz import LanguageModel, Trace, WhatIf

DEFAULT = "gpt-stories"
TRACE_BYTES = 256 * 2**20  # what all kept traces together may take


def names() -> list[str]:
    """The GPTs under checkpoints/, the default one first. Reads nothing but their configs, so it costs little."""
    return sorted(folders.available("gpt"), key=lambda name: name != DEFAULT)


def open_model(name: str) -> LanguageModel:
    """A model by its plain name under checkpoints/, opened once for everybody.

    Raises:
        ValueError: for a name that is not there, or a checkpoint that is damaged: says what to do.
        OSError: for a file that cannot be read.
    """
    folder = folders.find_shipped(name)
    stamps = tuple(sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir()))
    return load_once(folder, stamps)


@st.cache_resource(max_entries=3, show_spinner=False)
def load_once(folder: Path, stamps: tuple) -> LanguageModel:
    """`stamps`, the files' times of change, make a checkpoint that was replaced a new one."""
    return gptviz.load(folder)


class TraceCache:
    """The traces used last, up to a number of bytes. A trace is never changed, so all visitors may share one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.lock = threading.Lock()
        self.traces: OrderedDict[tuple, tuple[Trace, int]] = OrderedDict()

    def get(self, model: LanguageModel, text: str, what_if: WhatIf) -> Trace:
        """The trace of a text, kept or new."""
        ids, dropped = model.encode(text)
        key = (model.fingerprint, tuple(ids), dropped, what_if)
        with self.lock:
            if key in self.traces:
                self.traces.move_to_end(key)
                return self.traces[key][0]
        trace = gptviz.trace(model, text, what_if=what_if)  # outside the lock: others need not wait for it
        with self.lock:
            if key not in self.traces:
                self.traces[key] = trace, size_of(model, len(ids))
                self.used += self.traces[key][1]
            while self.used > self.limit and len(self.traces) > 1:
                _, (_, size) = self.traces.popitem(last=False)
                self.used -= size
        return trace


def size_of(model: LanguageModel, t: int) -> int:
    """Bytes that a trace of `t` tokens takes at most, with every stage also read as an array."""
    from gptviz.trace import keeps_squares  # here, because it brings torch

    c = model.gpt.config
    squares = 4 * c.n_layers * c.n_heads * t * t  # weights; scores, scaled and masked when read
    vectors = 20 * c.d_model + c.d_ff  # of a token in a layer: half of the former as tensors, half when read
    kept = squares if keeps_squares(c.n_layers, c.n_heads, t) else 0
    return 4 * (kept + t * ((c.n_layers + 1) * vectors + c.vocab_size))


TRACES = TraceCache(TRACE_BYTES)


def warm_up() -> None:
    """Do what takes seconds once in a process: import torch, open the default model and run it."""
    for name in names()[:1]:
        with contextlib.suppress(ValueError, OSError):  # the page that opens the model will say what is wrong with it
            gptviz.trace(open_model(name), "warm")
