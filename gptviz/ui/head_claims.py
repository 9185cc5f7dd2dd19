"""What the lesson on one head shows besides stages of a trace, for the badge to check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptviz.analysis import saturation as soft
from gptviz.analysis.derived import head as derived
from gptviz.analysis.shown import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from gptviz.analysis.head_stages import Cell, Projections
    from gptviz.analysis.rotary import Unturned
    from gptviz.ui.inside_head import View

ROWS = ("x", "q", "k", "v", "output", "joined", "out")
SQUARES = ("scores", "scaled", "masked", "weights")
STEPS = ("score", "scaled", "exponential", "weight")
SMALL = 1e-9  # gradients may all be small


def claim(
    view: View, about: str, shown: Mapping[str, object], derive: Callable, *args: object, nothing: float = NOTHING
) -> None:
    """Numbers of this head, in the pass that is shown."""
    reading, rule = view.reading, (view.causal, view.scaled)
    of = tuple(trace for trace in reading.shown if (trace.what_if.causal, trace.what_if.scaled) == rule)[:1]
    reading.claim(about, shown, derive, view.layer, view.head, *args, of=of, nothing=nothing)


def claim_stages(view: View) -> None:
    """Every stage, which is computed again for this head alone."""
    shown = {f"{name} [token, dimension]": getattr(view.stages, name) for name in ROWS}
    shown |= {f"{name} [query, key]": getattr(view.stages, name) for name in SQUARES}
    if view.reading.side == "cross":
        shown["memory [token, dimension]"] = view.stages.memory
    claim(view, "stages", shown, derived.stages)


def claim_weights(view: View, own: Projections) -> None:
    """The weights of the head."""
    shown = {"W_q [in, out]": own.query, "W_k [in, out]": own.key, "W_v [in, out]": own.value}
    biases = {"b_q [out]": own.query_bias, "b_k [out]": own.key_bias, "b_v [out]": own.value_bias}
    shown |= {name: bias for name, bias in biases.items() if bias is not None}
    claim(view, "weights of the head", shown | {"W_O [in, out]": own.output}, derived.projections)


def claim_turn(view: View, before: Unturned, turns: np.ndarray, periods: np.ndarray) -> None:
    """Queries and keys before they are turned, and by how much the chosen position turns each pair."""
    shown = {"q before the turn [token, dimension]": before.q, "k before the turn [token, dimension]": before.k}
    shown |= {"turns [pair]": turns, "period [pair]": periods}
    claim(view, f"turned by position {view.query}", shown, derived.turning, view.query)


def claim_unturned(view: View, q: np.ndarray, k: np.ndarray) -> None:
    """Queries and keys before they are turned."""
    shown = {"q before the turn [token, dimension]": q, "k before the turn [token, dimension]": k}
    claim(view, "before the turn", shown, derived.turning, 0)


def claim_cell(view: View, found: Cell) -> None:
    """Every step of the cell."""
    shown = {
        "products [dimension]": found.products,
        "running sum [dimension]": found.running,
        "score": found.score,
        "scaled": found.scaled,
        "largest of the row": found.largest,
        "exponential": found.exponential,
        "row total": found.total,
        "weight": found.weight,
    }
    claim(view, f"cell {view.query}, {view.key}", shown, derived.cell, view.query, view.key)


def claim_row(view: View, cells: Sequence[Cell]) -> None:
    """The steps of every cell of the row."""
    shown = {f"{name} of the row [key]": [getattr(each, name) for each in cells] for name in STEPS}
    claim(view, f"row {view.query}", shown, derived.cell, view.query, view.key)


def claim_medians(view: View, columns: Mapping[str, Sequence[float]]) -> None:
    """The table of medians, by rule."""
    shown = {
        f"{name}, {rule}": value
        for rule, column in columns.items()
        for name, value in zip(soft.MEASURES, column, strict=True)
    }
    claim(view, "medians", shown, derived.saturation, nothing=SMALL)


def claim_widths(view: View, scaled: Mapping[str, np.ndarray], unscaled: Mapping[str, np.ndarray]) -> None:
    """The measures of random vectors: quartiles by width."""
    shown = {
        f"{name}, {rule} [width, quartile]": values
        for rule, found in (("scaled", scaled), ("not scaled", unscaled))
        for name, values in found.items()
    }
    view.reading.claim("random vectors", shown, derived.widths, nothing=SMALL)
