"""Is what a trace shows right? Every stage against float64 and two more paths, with the largest difference of each.

The reference is `float64`: NumPy, from the raw weights, sharing no line with what made the trace. Held against it are
the trace as displayed, the model run once more on plain attention, and once more on PyTorch's
`scaled_dot_product_attention`. Everything goes layer by layer: a long text needs no more memory than one layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gptviz.analysis.float64 import ROWS, Piece, exact, float64_pieces, rounded
from gptviz.attention import Attend, Turn, attention_stages, fast_attention
from gptviz.trace import STAGES

if TYPE_CHECKING:
    from gptviz.gpt import GPT
    from gptviz.trace import Trace, WhatIf

PATHS = ("displayed", "plain", "fused")
"""What is held against float64: the trace, plain attention, and `scaled_dot_product_attention`."""
SQUARE = ("scores", "scaled", "masked", "weights")
WHOLE = ("token_embeddings", "position_embeddings", "final_vectors", "logits")  # no layers
INSIDE = tuple(stage for stage in STAGES if stage not in (*WHOLE, "residual"))  # one for each layer

# A float32 is right to 2^-24 of itself, and a stage is made of sums of some hundred products of the stage before. Of
# the largest number of a stage in a layer, 512 times that spacing; gpt-stories stays under an eighth of it at all
# lengths. A pass with scores in the hundreds has no such peace: an error in a score comes back in the weight, times
# the weight. There, and only there, what rounding alone does to that very pass is measured, in float64 (`margins`).
TOLERANCE = 2.0**-14
ROUNDINGS = 128  # of one rounding of the stream, q, k, v and the scores, where that alone moves a stage that far
UNDECIDED = 0.01  # of the largest number: where rounding alone may do more, agreement means nothing
SMALLEST = 1e-3  # what "largest number" is at least: a stage of zeros is not held against zero

Kernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, dict[str, Tensor | None]]]
"""q, k, v (1, H, T, D) -> head outputs (1, H, T, D), and the `SQUARE` stages (1, H, T, T), None where it has none."""

Pieces = Callable[[], Iterator[Piece]]
"""All pieces of a pass, as often as they are asked for."""


class Difference(NamedTuple):
    """Where one path of one stage is furthest from float64, measured by what is tolerated there."""

    stage: str
    path: str  # one of PATHS
    absolute: float
    relative: float  # to the largest absolute value of the stage in that layer
    tolerance: float  # relative
    at: tuple[int, ...]  # place in the stage's array
    found: float
    expected: float  # by float64

    @property
    def agrees(self) -> bool:
        """Within what rounding explains. NaN agrees with nothing."""
        return self.relative <= self.tolerance


class Check(NamedTuple):
    """What came out for one trace: a row for every stage and path that has numbers for it."""

    differences: tuple[Difference, ...]
    missing: tuple[str, ...] = ()  # stages of the displayed trace that were not compared, and why

    @property
    def verdict(self) -> str:
        """ "agrees", "differs", or "undecided": not everything was compared, or rounding alone may move it that far."""
        if not all(row.agrees for row in self.differences):
            return "differs"
        if self.missing or any(row.tolerance > UNDECIDED for row in self.differences):
            return "undecided"
        return "agrees"

    @property
    def worst(self) -> Difference:
        """The first stage that is wrong, the displayed one before the others; without one, the furthest off."""
        wrong = [row for row in self.differences if not row.agrees]
        if wrong:
            return min(wrong, key=lambda row: PATHS.index(row.path))  # rows are in the order of the computation
        return max(self.differences, key=lambda row: row.relative / row.tolerance)


def check(gpt: GPT, trace: Trace, pieces: Pieces | None = None) -> Check:
    """Every stage of a trace, and of the two other paths, against float64.

    Args:
        gpt: the model that made the trace; only read.
        trace: any pass but one with edited weights, which the other paths do not know (`reason_against`).
        pieces: those of `float64_pieces`, where they are kept.
    """
    reason = reason_against(trace.what_if)
    if reason:
        return Check((), (reason,))
    rows = worst_places(together(gpt, trace, pieces), {})
    if not all(row.agrees for row in rows):
        rows = worst_places(together(gpt, trace, pieces), margins(gpt, trace))
    return Check(rows, not_compared(rows, STAGES))


def not_compared(rows: Iterable[Difference], stages: Iterable[str]) -> tuple[str, ...]:
    """Which stages the displayed trace has no numbers for."""
    compared = {row.stage for row in rows if row.path == "displayed"}
    return tuple(f"{stage} was not computed" for stage in stages if stage not in compared)


def reason_against(what_if: WhatIf) -> str:
    """Why a pass cannot be checked; empty if it can."""
    return "attention weights were set by hand, which no other path can do" if what_if.edits else ""


def worst_places(
    pairs: Iterable[tuple[Piece, dict[str, np.ndarray | None]]], tolerances: dict[tuple, float]
) -> tuple[Difference, ...]:
    """The worst place of every stage and path; `tolerances` by (stage, layer, start), `TOLERANCE` where not given."""
    worst: dict[tuple[str, str], Difference] = {}
    for reference, found in pairs:
        tolerance, scale = tolerances.get(reference[:3], TOLERANCE), largest(reference.values)
        for path, values in found.items():
            if values is None:
                continue
            row = furthest(reference, path, values, tolerance, scale)
            key = reference.stage, path
            if key not in worst or excess(row) > excess(worst[key]):
                worst[key] = row
    return tuple(worst.values())


def excess(row: Difference) -> float:
    """How much of its tolerance a difference uses up."""
    return row.relative / row.tolerance


def together(
    gpt: GPT, trace: Trace, pieces: Pieces | None = None
) -> Iterator[tuple[Piece, dict[str, np.ndarray | None]]]:
    """Piece by piece: what float64 says, and what the paths have in the same place."""
    ids, what_if = trace.ids, trace.what_if
    by_float64 = pieces() if pieces else float64_pieces(gpt, ids, what_if)
    return side_by_side(
        by_float64, displayed(trace), run(gpt, trace, plain_kernel(what_if)), run(gpt, trace, fused_kernel(what_if))
    )


def side_by_side(
    by_float64: Iterable[Piece], *others: Iterable[Piece]
) -> Iterator[tuple[Piece, dict[str, np.ndarray | None]]]:
    """Piece by piece, with one iterable for each of `PATHS`, all in the same order."""
    for reference, *found in zip(by_float64, *others, strict=True):
        if any(piece[:3] != reference[:3] for piece in found):
            raise RuntimeError(f"expected {reference[:3]} from every path, found {[piece[:3] for piece in found]}")
        yield reference, {path: piece.values for path, piece in zip(PATHS, found, strict=True)}


def furthest(
    reference: Piece, path: str, values: np.ndarray, tolerance: float, scale: float | None = None
) -> Difference:
    """The cell of `values` that is furthest from the reference; -inf agrees with -inf alone, NaN with nothing.

    `scale` is the `largest` value of the reference, where it is known.
    """
    expected = reference.values
    if values.shape != expected.shape:
        raise ValueError(f"expected {reference.stage} of shape {expected.shape}, found {values.shape}")
    with np.errstate(invalid="ignore"):
        off = np.subtract(values, expected)
    np.abs(off, out=off)
    if not math.isfinite(off.max()):
        off[values == expected] = 0.0  # -inf in both
        off[np.isnan(off)] = np.inf
    place = np.unravel_index(int(off.argmax()), off.shape)
    absolute = float(off[place])
    layer = () if reference.layer is None else (reference.layer,)
    at = (*layer, *(int(i) for i in place))
    if reference.start:
        at = (at[0] + reference.start, *at[1:])
    relative = absolute / (largest(expected) if scale is None else scale)
    return Difference(
        reference.stage, path, absolute, relative, tolerance, at, float(values[place]), float(expected[place])
    )


def largest(values: np.ndarray) -> float:
    """The largest absolute value that is finite, and `SMALLEST` at least."""
    return float(np.abs(values).max(initial=SMALLEST, where=np.isfinite(values)))


def margins(gpt: GPT, trace: Trace) -> dict[tuple, float]:
    """How far each piece may be off by rounding, relative to its largest number: by (stage, layer, start).

    The float64 pass once more, with what each sub-layer reads rounded to float32: `ROUNDINGS` times what that moves,
    `TOLERANCE` at least. Depends on the model and the sentence alone, never on what the trace shows.
    """
    return movements(*(float64_pieces(gpt, trace.ids, trace.what_if, keep) for keep in (exact, rounded)))


def movements(by_float64: Iterable[Piece], with_rounding: Iterable[Piece]) -> dict[tuple, float]:
    """What `margins` says, of two passes in the same order."""
    found = {}
    for reference, moved in zip(by_float64, with_rounding, strict=True):
        movement = furthest(reference, "rounded", moved.values, 1.0).relative
        found[reference[:3]] = max(TOLERANCE, ROUNDINGS * movement)
    return found


class Values(NamedTuple):
    """One piece of one stage, by every path."""

    stage: str
    layer: int | None
    start: int
    expected: np.ndarray  # by float64
    found: dict[str, np.ndarray | None]  # by PATHS


def look_up(gpt: GPT, trace: Trace, stage: str, layer: int | None, row: int = 0) -> Values:
    """The numbers of one stage in one layer by every path, computed from the ids up to there.

    Args:
        stage: one of `STAGES`.
        layer: of a stage that has layers; for "residual", how many blocks are behind it.
        row: a row that must be in it: logits come `ROWS` at a time.

    Raises:
        KeyError: for a stage or layer that is not there.
    """
    wanted = stage, layer, row - row % ROWS if stage == "logits" else 0
    for reference, found in together(gpt, trace):
        if reference[:3] == wanted:
            return Values(*reference, found)
    raise KeyError(f"expected a stage of {', '.join(STAGES)} and a layer that is there, found {stage}, layer {layer}")


def displayed(trace: Trace) -> Iterator[Piece]:
    """The stages as pages read them."""
    for stage, layer, start in places(len(trace.blocks), len(trace.final)):
        yield Piece(stage, layer, start, shown(trace, stage, layer, start))


def shown(trace: Trace, stage: str, layer: int | None, start: int) -> np.ndarray:
    """One of the `places` of a trace."""
    if stage in SQUARE and not trace.keeps_squares:
        return square(trace, stage, layer)
    values = getattr(trace, stage)
    return values[start : start + ROWS] if stage == "logits" else values if layer is None else values[layer]


def places(n_layers: int, t: int) -> Iterator[tuple[str, int | None, int]]:
    """Stage, layer and first row of every piece, in the order of the computation."""
    yield from [("token_embeddings", None, 0), ("position_embeddings", None, 0), ("residual", 0, 0)]
    for layer in range(n_layers):
        yield from ((stage, layer, 0) for stage in INSIDE)
        yield "residual", layer + 1, 0
    yield "final_vectors", None, 0
    yield from (("logits", None, start) for start in range(0, t, ROWS))


@torch.no_grad()
def square(trace: Trace, stage: str, layer: int) -> np.ndarray:
    """One layer of a stage with a number for every pair of tokens, (H, T, T), where a trace does not keep them."""
    if stage == "weights":
        return trace.layer_weights(layer)
    seen, what_if = trace.blocks[layer].attention, trace.what_if
    stages = attention_stages(seen.q, seen.k, seen.v, causal=what_if.causal, scaled=what_if.scaled)
    return array(getattr(stages, stage))


def plain_kernel(what_if: WhatIf) -> Kernel:
    """Attention written out, every stage of it kept."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
        stages = attention_stages(q, k, v, causal=what_if.causal, scaled=what_if.scaled)
        return stages.heads, {name: getattr(stages, name) for name in SQUARE}

    return attend


def fused_kernel(what_if: WhatIf) -> Kernel:
    """PyTorch's fused attention. It shows no scores; its weights come out where the values are unit vectors."""
    attend = fast_attention(what_if.causal, what_if.scaled)

    def attend_twice(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
        units = torch.eye(k.size(2), dtype=v.dtype, device=v.device).expand(1, k.size(1), -1, -1)  # (1, H, T, T)
        return attend(q, k, v)[0], dict.fromkeys(SQUARE) | {"weights": attend(q, k, units.contiguous())[0]}

    return attend_twice


@torch.no_grad()
def run(gpt: GPT, trace: Trace, kernel: Kernel) -> Iterator[Piece]:
    """The model from the ids on with another way to attend, piece by piece."""
    tokens, positions = gpt.embed(torch.tensor([trace.ids], device=gpt.device))
    x, turn = tokens + positions, gpt.turn(0, len(trace.ids))
    yield Piece("token_embeddings", None, 0, array(tokens))
    yield Piece("position_embeddings", None, 0, array(positions[None]))
    yield Piece("residual", 0, 0, array(x))
    for layer in range(gpt.config.n_layers):
        x, stages = run_block(gpt, trace, layer, x, kernel, turn)
        yield from (Piece(stage, layer, 0, stages[stage]) for stage in INSIDE)
        yield Piece("residual", layer + 1, 0, array(x))
    final = gpt.final_norm(x)  # (1, T, C)
    yield Piece("final_vectors", None, 0, array(final))
    for start in range(0, final.size(1), ROWS):
        yield Piece("logits", None, start, array(gpt.unembedding(final[:, start : start + ROWS])))


def run_block(
    gpt: GPT, trace: Trace, layer: int, x: Tensor, kernel: Kernel, turn: Turn | None
) -> tuple[Tensor, dict[str, np.ndarray | None]]:
    """x (1, T, C) through one block -> x (1, T, C), and its stages as arrays."""
    squares: dict[str, Tensor | None] = {}
    out, seen = gpt.blocks[layer](x, attend_with(kernel, trace.what_if, layer, squares), turn=turn)
    stages = seen.attention._asdict() | squares | {"attention_out": seen.attention.out} | seen._asdict()
    stages["ff_hidden"] = seen.ff_hidden(seen.ff_in)
    return out, {stage: None if stages[stage] is None else array(stages[stage]) for stage in INSIDE}


def attend_with(kernel: Kernel, what_if: WhatIf, layer: int, squares: dict[str, Tensor | None]) -> Attend:
    """How one layer attends by a kernel, its heads as weak as `what_if` has them; what it shows goes to `squares`."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
        heads, seen = kernel(q, k, v)
        squares.update(seen)
        factors = torch.ones(q.size(1), device=q.device, dtype=q.dtype)  # (H,)
        for gain in what_if.gains:
            if gain.layer == layer:
                factors[gain.head] *= gain.gain
        return heads * factors[:, None, None], None

    return attend


def array(values: Tensor) -> np.ndarray:
    """(1, ...) -> (...), float32 or finer, on the CPU."""
    return values[0].float().cpu().numpy()
