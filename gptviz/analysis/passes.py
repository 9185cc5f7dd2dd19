"""Passes whose stages are read as float64, by any path: of a GPT, or of an encoder-decoder with its three attentions.

What `gptviz.analysis.derived` works with. Shapes: L layers, H heads, T tokens, S source tokens, C model width,
V vocabulary.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis import check_translation as of_pairs
from gptviz.analysis.check import fused_kernel, plain_kernel, run
from gptviz.analysis.float64 import Piece, exact, float64_pieces, parameter, rounded
from gptviz.analysis.float64_backward import Gradient, gradient
from gptviz.analysis.float64_pair import float64_tree

if TYPE_CHECKING:
    from gptviz.config import ModelConfig
    from gptviz.gpt import GPT
    from gptviz.seq2seq import Transformer
    from gptviz.trace import Trace, WhatIf
    from gptviz.translation import TranslationTrace

KEPT_BYTES = 96 * 2**20  # of a pass: what is larger is computed again whenever it is read


GRADIENT_BYTES = 2**29  # of a gradient in float64; what is larger is not worked out


class MissingStage(LookupError):
    """A path does not show this stage."""


class Stages:
    """How the stages of a pass are read, piece by piece. What they are pieces of is in its attributes."""

    ids: tuple[int, ...]  # that were read
    config: ModelConfig
    what_if: WhatIf
    side = ""  # which attention of an encoder-decoder; a GPT has but one

    def pieces(self) -> Iterator[Piece]:
        """All pieces, in the order of the computation."""
        raise NotImplementedError

    def of(self, stage: str) -> Iterator[tuple[int | None, int, np.ndarray]]:
        """The pieces of one stage: layer, first row, values."""
        for name, layer, start, values in self.pieces():
            if name == stage:
                if values is None:
                    raise MissingStage(f"{stage} is not shown by this path")
                yield layer, start, values.astype(np.float64, copy=False)

    def layers(self, stage: str) -> Iterator[np.ndarray]:
        """A stage layer by layer."""
        return (values for _, _, values in self.of(stage))

    def layer(self, stage: str, layer: int) -> np.ndarray:
        """A stage in one layer; of "residual", how many blocks are behind it."""
        return next(values for here, _, values in self.of(stage) if here == layer)

    def whole(self, stage: str) -> np.ndarray:
        """A stage without layers, in one piece."""
        return next(values for _, _, values in self.of(stage))

    def logit_rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Logits some rows at a time: the first row, (rows, V)."""
        return ((start, values) for _, start, values in self.of("logits"))

    def logits_at(self, position: int) -> np.ndarray:
        """The logits (V,) of one position, which may count from the end."""
        position %= len(self.ids)
        return next(rows[position - start] for start, rows in self.logit_rows() if start + len(rows) > position)


class Pass(Stages):
    """One pass of a GPT over `ids`: its stages are kept where they are small, else computed when they are read.

    Args:
        gpt: only read.
        ids, what_if: as in a trace.
        make: yields the pieces; by default those of `float64_pieces`, with `keep` and `moved`.
    """

    def __init__(
        self,
        gpt: GPT,
        ids: Sequence[int],
        what_if: WhatIf,
        make: Callable[[], Iterator[Piece]] | None = None,
        keep: Callable[[np.ndarray], np.ndarray] = exact,
        moved: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.gpt, self.ids, self.what_if, self.config = gpt, tuple(ids), what_if, gpt.config
        self.by_float64, self.moved = make is None, moved
        self.make = make or functools.partial(float64_pieces, gpt, self.ids, what_if, keep, moved)
        self.kept: list[Piece] | None = None

    @property
    def is_small(self) -> bool:
        """Whether its stages are kept."""
        return bytes_of(self.config, len(self.ids)) <= KEPT_BYTES

    @property
    def size(self) -> int:
        """Bytes that it takes while they are."""
        return bytes_of(self.config, len(self.ids)) if self.is_small else 0

    def pieces(self) -> Iterator[Piece]:
        """All pieces, in the order of the computation."""
        if self.kept is None and self.is_small:
            self.kept = list(self.make())
        yield from self.make() if self.kept is None else self.kept

    def weight(self, name: str) -> np.ndarray:
        """A parameter, a copy in float64."""
        return parameter(self.gpt, name, self.moved)

    def has(self, name: str) -> bool:
        """Whether the model has such a parameter: not all have biases."""
        module, _, leaf = name.rpartition(".")
        return getattr(self.gpt.get_submodule(module), leaf, None) is not None

    @functools.cached_property
    def gradient(self) -> Gradient:
        """Of the loss of this pass, which is as trained."""
        if not self.by_float64:
            raise MissingStage("gradients are worked out in float64 alone")
        if not self.is_small:
            raise MissingStage(f"a float64 backward pass over {len(self.ids)} tokens takes too much memory")
        if 8 * self.gpt.count_parameters() > GRADIENT_BYTES:
            raise MissingStage("a float64 gradient of so many weights takes too much memory")
        return gradient(self)

    def after(self, moved: Mapping[str, np.ndarray]) -> Pass:
        """The same with other parameters."""
        return Pass(self.gpt, self.ids, self.what_if, moved=moved)

    def with_rounding(self) -> Pass:
        """The same with what each sub-layer reads rounded to float32."""
        return Pass(self.gpt, self.ids, self.what_if, keep=rounded)

    def forget(self) -> None:
        """Let go of what is as large as the model."""
        self.__dict__.pop("gradient", None)


class PairPass:
    """One pass of an encoder-decoder: the sides that it has, each read as `Stages`.

    Args:
        transformer: only read.
        trace: whose ids and what-ifs it has.
        make: yields the pieces, "encoder.q" and so on; by default those of `float64_pair`, with `keep`.
    """

    def __init__(
        self,
        transformer: Transformer,
        trace: TranslationTrace,
        make: Callable[[], Iterator[Piece]] | None = None,
        keep: Callable[[np.ndarray], np.ndarray] = exact,
    ) -> None:
        self.transformer, self.trace, self.keep, self.by_float64 = transformer, trace, keep, make is None
        self.make = make or functools.partial(of_pairs.float64_of, transformer, trace, keep)
        self.what_ifs = of_pairs.what_ifs_of(trace)
        self.kept: list[Piece] | None = None
        self.last_tree: tuple[tuple, np.ndarray] = ((), np.empty(0))

    @property
    def is_small(self) -> bool:
        """Whether its stages are kept."""
        return self.bytes <= KEPT_BYTES

    @property
    def size(self) -> int:
        """Bytes that it takes, while they are."""
        return (self.bytes if self.is_small else 0) + self.last_tree[1].nbytes

    @property
    def bytes(self) -> int:
        """What all stages take in float64; streams that two sides share are counted once."""
        s, t, config = len(self.trace.encoder.ids), len(self.trace.decoder.ids), self.transformer.config
        crossing = 8 * config.n_layers * (4 * config.n_heads * s * t + 6 * config.d_model * (s + t))
        return bytes_of(config, s) + bytes_of(config, t) + crossing

    def pieces(self) -> Iterator[Piece]:
        """All pieces, in the order of the computation."""
        if self.kept is None and self.is_small:
            self.kept = list(self.make())
        yield from self.make() if self.kept is None else self.kept

    def tree(self, parents: tuple[int, ...], tokens: tuple[int, ...]) -> np.ndarray:
        """What could follow at every node of a tree of beginnings, logits (N, V); the last tree is kept."""
        if not self.by_float64:
            raise MissingStage("a tree is worked out in float64 alone")
        which, (kept, logits) = (parents, tokens), self.last_tree  # read once: visitors may share this pass
        if kept != which:
            memory = self.of_side("cross").whole("memory")
            logits = float64_tree(self.transformer, memory, parents, tokens, self.what_ifs, self.keep)
            self.last_tree = which, logits
        return logits

    def of_side(self, side: str) -> SidePass:
        """One attention, with the stream that it belongs to."""
        return SidePass(self, side)

    def with_rounding(self) -> PairPass:
        """The same with what each sub-layer reads rounded to float32."""
        return PairPass(self.transformer, self.trace, keep=rounded)


class SidePass(Stages):
    """One attention of an encoder-decoder's pass, with the names that the pass of a GPT has."""

    def __init__(self, pair: PairPass, side: str) -> None:
        self.pair, self.side, self.config = pair, side, pair.transformer.config
        self.ids = (pair.trace.encoder if side == "encoder" else pair.trace.decoder).ids
        self.what_if = pair.what_ifs[side]

    def pieces(self) -> Iterator[Piece]:
        """Those of this side."""
        start = f"{self.side}."
        return (piece._replace(stage=piece.stage[len(start) :]) for piece in self.pair.pieces()
                if piece.stage.startswith(start))  # fmt: skip

    def weight(self, name: str) -> np.ndarray:
        """A parameter by the name that a GPT has for it, in float64; token vectors as the first layer gets them."""
        if name == "token_embedding.weight":
            return parameter(self.pair.transformer, name) * math.sqrt(self.config.d_model)
        half = "encoder" if self.side == "encoder" else "decoder"
        name = name.replace("blocks.", f"{half}.", 1)
        if self.side == "cross":
            name = name.replace(".attention.", ".cross.", 1)
        return parameter(self.pair.transformer, name)


def bytes_of(config: ModelConfig, t: int) -> int:
    """What all stages of a pass over `t` tokens take in float64."""
    c = config
    return 8 * t * (c.n_layers * (4 * c.n_heads * t + 12 * c.d_model + c.d_ff) + 4 * c.d_model + c.vocab_size)


AnyPass = Pass | PairPass
"""A pass of a GPT, or of an encoder-decoder."""


def is_pair(trace: Trace | TranslationTrace) -> bool:
    """Whether this is a trace of an encoder-decoder."""
    return hasattr(trace, "cross")


def float64_pass(network: GPT | Transformer, trace: Trace | TranslationTrace) -> AnyPass:
    """The pass of a trace in float64."""
    return PairPass(network, trace) if is_pair(trace) else Pass(network, trace.ids, trace.what_if)


def other_passes(
    network: GPT | Transformer, traces: Sequence[Trace | TranslationTrace]
) -> dict[str, tuple[AnyPass, ...]]:
    """The passes of some traces by plain attention and by `scaled_dot_product_attention`."""

    def by(trace: Trace | TranslationTrace, kernel: Callable) -> AnyPass:
        if is_pair(trace):
            return PairPass(network, trace, make=lambda: of_pairs.run(network, trace, kernel))
        return Pass(network, trace.ids, trace.what_if, make=lambda: run(network, trace, kernel(trace.what_if)))

    kernels = {"plain": plain_kernel, "fused": fused_kernel}
    return {path: tuple(by(trace, kernel) for trace in traces) for path, kernel in kernels.items()}
