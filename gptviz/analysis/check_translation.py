"""Is what the traces of a translation show right? Every stage of all three attentions, as `check` does for a GPT.

The reference is `float64_pair`. Held against it are the three traces as displayed, and the model run once more on plain
attention and on PyTorch's `scaled_dot_product_attention`. A stage is called by its place in a `TranslationTrace`, as
"cross.weights".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gptviz.analysis import check as one
from gptviz.analysis.check import Check, Kernel, Pieces, Values, array, fused_kernel, plain_kernel
from gptviz.analysis.float64 import ROWS, Piece, exact, rounded
from gptviz.analysis.float64_pair import DECODER, ENCODER, after, before, float64_pair, inside
from gptviz.trace import STAGES

if TYPE_CHECKING:
    from gptviz.attention import AttentionTrace
    from gptviz.seq2seq import Transformer
    from gptviz.trace import BlockTrace, WhatIf
    from gptviz.translation import TranslationTrace

STAGES_OF = dict.fromkeys((*ENCODER, *DECODER), STAGES) | {"cross": (*STAGES, "memory")}
"""The stages of each side; `memory` is what the keys and values of cross-attention are made of."""
ALL = tuple(f"{side}.{stage}" for side, stages in STAGES_OF.items() for stage in stages)
REST = ("middle", "ff_in", "ff_hidden", "ff_out")  # of a layer, after its attentions
ATTENTION = tuple(stage for stage in one.INSIDE if stage not in REST)


def check_translation(transformer: Transformer, trace: TranslationTrace, pieces: Pieces | None = None) -> Check:
    """Every stage of the three traces, and of the two other paths, against float64.

    Args:
        transformer: the model that made the trace; only read.
        trace: any pass but one with edited weights, which the other paths do not know.
        pieces: those of `float64_pair`, where they are kept.
    """
    reason = reason_against(trace)
    if reason:
        return Check((), (reason,))
    rows = one.worst_places(together(transformer, trace, pieces), {})
    if not all(row.agrees for row in rows):
        passes = (float64_of(transformer, trace, keep) for keep in (exact, rounded))
        rows = one.worst_places(together(transformer, trace, pieces), one.movements(*passes))
    return Check(rows, one.not_compared(rows, ALL))


def reason_against(trace: TranslationTrace) -> str:
    """Why a pass cannot be checked; empty if it can."""
    return next(filter(None, map(one.reason_against, what_ifs_of(trace).values())), "")


def what_ifs_of(trace: TranslationTrace) -> dict[str, WhatIf]:
    """What was changed in each of the three attentions."""
    return {side: getattr(trace, side).what_if for side in STAGES_OF}


def float64_of(
    transformer: Transformer, trace: TranslationTrace, keep: Callable[[np.ndarray], np.ndarray] = exact
) -> Iterator[Piece]:
    """The pass of a trace in float64."""
    return float64_pair(transformer, trace.encoder.ids, trace.decoder.ids, what_ifs_of(trace), keep)


def together(
    transformer: Transformer, trace: TranslationTrace, pieces: Pieces | None = None
) -> Iterator[tuple[Piece, dict[str, np.ndarray | None]]]:
    """Piece by piece: what float64 says, and what the paths have in the same place."""
    by_float64 = pieces() if pieces else float64_of(transformer, trace)
    runs = (run(transformer, trace, kernel) for kernel in (plain_kernel, fused_kernel))
    return one.side_by_side(by_float64, displayed(trace), *runs)


def look_up(transformer: Transformer, trace: TranslationTrace, stage: str, layer: int | None, row: int = 0) -> Values:
    """The numbers of one stage in one layer by every path; as `check.look_up`, the stage by its name in `ALL`.

    Raises:
        KeyError: for a stage or layer that is not there.
    """
    wanted = stage, layer, row - row % ROWS if stage.endswith(".logits") else 0
    for reference, found in together(transformer, trace):
        if reference[:3] == wanted:
            return Values(*reference, found)
    raise KeyError(f"expected a stage of {', '.join(ALL)} and a layer that is there, found {stage}, layer {layer}")


def displayed(trace: TranslationTrace) -> Iterator[Piece]:
    """The stages as pages read them."""
    for name, layer, start in places(len(trace.encoder.blocks), len(trace.encoder.ids), len(trace.decoder.ids)):
        side, _, stage = name.partition(".")
        if stage == "memory":
            values = trace.cross.memory.float().cpu().numpy()
        else:
            values = one.shown(getattr(trace, side), stage, layer, start)
        yield Piece(name, layer, start, values)


def places(n_layers: int, s: int, t: int) -> Iterator[tuple[str, int | None, int]]:
    """Stage, layer and first row of every piece, in the order of the computation."""
    nothing = np.empty(0)
    for sides, count in ((ENCODER, s), (DECODER, t)):
        if sides is DECODER:
            yield "cross.memory", None, 0
        pieces = [*before(sides, nothing, nothing, nothing)]
        for layer in range(n_layers):
            seen = {side: dict.fromkeys(ATTENTION) for side in sides}
            pieces += inside(layer, seen, dict.fromkeys(REST), nothing)
        pieces += after(sides, np.empty((count, 0)), lambda rows: rows)
        yield from (piece[:3] for piece in pieces)


@torch.no_grad()
def run(transformer: Transformer, trace: TranslationTrace, kernel: Callable[[WhatIf], Kernel]) -> Iterator[Piece]:
    """The model from the ids on with another way to attend, piece by piece."""
    kernels = {side: (kernel(what_if), what_if) for side, what_if in what_ifs_of(trace).items()}
    memory = yield from run_half(transformer, ENCODER, trace.encoder.ids, kernels)
    yield Piece("cross.memory", None, 0, array(memory))
    yield from run_half(transformer, DECODER, trace.decoder.ids, kernels, memory)


def run_half(
    transformer: Transformer,
    sides: tuple[str, ...],
    ids: tuple[int, ...],
    kernels: Mapping[str, tuple[Kernel, WhatIf]],
    memory: Tensor | None = None,
) -> Generator[Piece, None, Tensor]:
    """Encoder or decoder, over `ids`; returns its last stream (1, T, C)."""
    tokens, positions = transformer.embed(torch.tensor([ids], device=transformer.device))
    x = tokens + positions
    yield from before(sides, array(tokens), array(positions[None]), array(x))
    for layer in range(transformer.config.n_layers):
        squares: dict[str, dict[str, Tensor | None]] = {side: {} for side in sides}
        attend = [one.attend_with(*kernels[side], layer, squares[side]) for side in sides]
        if memory is None:
            x, block = transformer.encoder[layer](x, *attend)
            seen = {"encoder": (block.attention, block.attention_in)}
        else:
            x, both = transformer.decoder[layer](x, memory, *attend)
            block = both.own
            seen = {"decoder": (block.attention, block.attention_in), "cross": (both.cross, both.cross_in)}
        attentions = {side: arrays_of(*seen[side], squares[side]) for side in sides}
        yield from inside(layer, attentions, rest_of(block), array(x))
    yield from after(sides, array(x), lambda rows: array(transformer.logits(torch.from_numpy(rows).to(x))[None]))
    return x


def arrays_of(
    seen: AttentionTrace, attention_in: Tensor, squares: dict[str, Tensor | None]
) -> dict[str, np.ndarray | None]:
    """The stages of one attention."""
    stages = seen._asdict() | squares | {"attention_in": attention_in, "attention_out": seen.out}
    return {stage: None if stages[stage] is None else array(stages[stage]) for stage in ATTENTION}


def rest_of(block: BlockTrace) -> dict[str, np.ndarray]:
    """The stages of one layer after its attentions."""
    stages = block._asdict() | {"ff_hidden": block.ff_hidden(block.ff_in)}
    return {stage: array(stages[stage]) for stage in REST}
