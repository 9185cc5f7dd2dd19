"""Models and traces that all visitors share: found, opened once, kept within bounds, never changed."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import gptviz
from gptviz import folder as folders
from gptviz import formats
from gptviz.places import FIRST_MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from gptviz import LanguageModel, Trace, WhatIf
    from gptviz.checkpoint import AnyModel
    from gptviz.config import ModelConfig
    from gptviz.gpt import GPT
    from gptviz.seq2seq import Transformer

TRACE_BYTES = 256 * 2**20  # what all kept traces together may take


def names(kind: str = "gpt") -> list[str]:
    """The models of a kind under checkpoints/, the default one first. Reads nothing but their configs."""
    return sorted(folders.available(kind), key=lambda name: name not in FIRST_MODELS)


def unreadable() -> dict[str, str]:
    """Folders whose kind cannot be told, and why."""
    found = {}
    for name in folders.available():
        try:
            folders.shape_of(folders.find_shipped(name))
        except (ValueError, OSError) as error:
            found[name] = str(error)
    return found


def open_model(name: str) -> AnyModel:
    """A model by its plain name, or NAME@STEP, opened once for everybody. See `gptviz.load`.

    Raises:
        ValueError: for a name that is not there, or a checkpoint that is damaged: says what to do.
        OSError: for a file that cannot be read.
    """
    return MODELS.get(name)


class ModelCache:
    """The models used last, up to a number of bytes of weights; the one in use always stays.

    A model whose files were replaced is another one. What is dropped here goes when nobody reads it any more.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.opening: dict[tuple, threading.Lock] = {}
        self.models: OrderedDict[tuple, tuple[AnyModel, int]] = OrderedDict()

    def get(self, name: str) -> AnyModel:
        """The model, kept or new; who asks for one that is being opened waits for it."""
        folder, weights = folders.find_weights(name)
        key = name, str(folder), stamps_of(folder, weights)
        with self.lock:
            opening = self.opening.setdefault(key, threading.Lock())
        with opening:
            if (model := self.kept(key)) is not None:
                return model
            dtype = self.make_room(folders.shape_of(folder))
            try:
                model = gptviz.load(name, dtype=dtype) if dtype else gptviz.load(name)
            finally:
                with self.lock:
                    self.opening.pop(key, None)
            self.forget(name)  # what its files were before they were replaced
            with self.lock:
                self.models[key] = model, bytes_of(model)
            self.make_room()
            return model

    def kept(self, key: tuple) -> AnyModel | None:
        """The model of a key, now the one that was used last."""
        with self.lock:
            if key not in self.models:
                return None
            self.models.move_to_end(key)
            return self.models[key][0]

    def forget(self, name: str) -> set[str]:
        """Drop a model that was removed or replaced, with its snapshots; returns the fingerprints that it had."""
        with self.lock:
            gone = [key for key in self.models if key[0] == name or key[0].startswith(f"{name}@")]
            return {self.models.pop(key)[0].fingerprint for key in gone}

    def make_room(self, coming: ModelConfig | None = None) -> str | None:
        """Drop what nobody used for longest, until the rest, with the one that comes, is within bounds.

        Returns "half" where the one that comes is within bounds in half precision alone, else None.
        """
        from gptviz import memory  # here, because a page without a model needs none of it

        limit = self.limit or memory.for_models()
        each = 4 if coming is None else memory.bytes_that_fit(coming, limit) or 4
        expected = memory.needed(coming, each) if coming is not None else 0
        dropped = False
        with self.lock:
            while self.models and expected + sum(size for _, size in self.models.values()) > limit:
                if coming is None and len(self.models) == 1:
                    break
                self.models.popitem(last=False)
                dropped = True
        if dropped:
            memory.give_back()
        return "half" if each == 2 and not asked_for() else None


def asked_for() -> str:
    """What whoever started the app wants weights to be kept in, "" where that was left open."""
    from gptviz.half import pick_dtype  # here, because it brings torch

    return "" if (wanted := pick_dtype()) == "auto" else wanted


def kept_in(name: str) -> str:
    """The half precision that an open model is in, by name; "" for float32."""
    from gptviz.half import half_dtype, name_of

    found = [model for (each, *_), (model, _) in list(MODELS.models.items()) if each == name]
    dtypes = [half_dtype(getattr(model, "gpt", None) or model.transformer) for model in found]
    return next((name_of(dtype) for dtype in dtypes if dtype), "")


def say_half(network: GPT | Transformer) -> str:
    """That the weights of a model are in half precision, and why; "" for a model in float32."""
    from gptviz import memory
    from gptviz.half import half_dtype, name_of

    if (dtype := half_dtype(network)) is None:
        return ""
    needed = memory.in_words(memory.needed(network.config))
    why = (
        f"as GPTVIZ_DTYPE asks ({needed} in float32)" if asked_for()
        else f"to fit into memory: in float32 it would take {needed}"
    )  # fmt: skip
    return (
        f"Weights in half precision, {name_of(dtype)}, {why}. Every product is made in float32, and checked against "
        "these same weights; they may be rounded from those of the file."
    )


def stamps_of(folder: Path, weights: str) -> tuple:
    """When and how large the files of a model were written: other files make another model."""
    parts = (folder / file for file in (folders.CONFIG, weights, folders.VOCABULARY))
    files = sorted(folder.iterdir()) if formats.format_of(folder) else [part for part in parts if part.exists()]
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def bytes_of(model: AnyModel) -> int:
    """What the weights of a model take."""
    network = getattr(model, "gpt", None) or model.transformer
    return sum(value.numel() * value.element_size() for value in network.parameters())


MODELS = ModelCache()


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

    def forget(self, marks: set[str]) -> None:
        """Drop the traces of models by their fingerprints: a trace holds the vocabulary's matrix of its model."""
        with self.lock:
            for key in [key for key in self.traces if key[0] in marks]:
                self.used -= self.traces.pop(key)[1]


def size_of(model: LanguageModel, t: int) -> int:
    """Bytes that a trace of `t` tokens takes at most, with every stage also read as an array."""
    from gptviz.trace import keeps_squares  # here, because it brings torch

    c = model.gpt.config
    squares = 4 * c.n_layers * c.n_heads * t * t  # weights; scores, scaled and masked when read
    vectors = 20 * c.d_model + c.d_ff  # of a token in a layer: half of the former as tensors, half when read
    kept = squares if keeps_squares(c.n_layers, c.n_heads, t) else 0
    return 4 * (kept + t * ((c.n_layers + 1) * vectors + c.vocab_size))


TRACES = TraceCache(TRACE_BYTES)


def forget(name: str) -> None:
    """A model was removed, or another one took its name: give back the memory of it and of its traces."""
    from gptviz import memory

    if marks := MODELS.forget(name):
        TRACES.forget(marks)
        memory.give_back()


def warm_up() -> None:
    """Do what takes seconds once in a process: import torch, open the default model and run it."""
    for name in names()[:1]:
        with contextlib.suppress(ValueError, OSError):  # the page that opens the model will say what is wrong with it
            gptviz.trace(open_model(name), "warm")
