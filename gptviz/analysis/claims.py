"""Is what a page makes out of a trace right? Each `Claim` worked out again from a pass in float64, and compared.

`check_claim` compares; what rounding alone may change is measured, as for traces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis import check as of_gpts
from gptviz.analysis import check_translation as of_pairs
from gptviz.analysis.check import ROUNDINGS, TOLERANCE, Check, Difference, furthest
from gptviz.analysis.derived import Bounds
from gptviz.analysis.float64 import Piece
from gptviz.analysis.passes import AnyPass, MissingStage, float64_pass, is_pair, other_passes
from gptviz.analysis.shown import Claim

if TYPE_CHECKING:
    from gptviz.gpt import GPT
    from gptviz.seq2seq import Transformer
    from gptviz.trace import Trace
    from gptviz.translation import TranslationTrace


def reason_against(trace: Trace | TranslationTrace) -> str:
    """Why a pass cannot be checked; empty if it can."""
    return of_pairs.reason_against(trace) if is_pair(trace) else of_gpts.reason_against(trace.what_if)


def check_claim(claim: Claim, passes: Sequence[AnyPass]) -> Check:
    """Every number of a claim against float64.

    Args:
        passes: `float64_pass` of each of its traces.

    Raises:
        KeyError: for a quantity that its function does not work out.
    """
    reasons = tuple(filter(None, map(reason_against, claim.traces)))
    if reasons:
        return Check((), reasons)
    try:
        wanted = derive(claim, passes)
    except MissingStage as error:
        return Check((), (f"{claim.about}: {error}",))
    rows = [compare(claim, name, wanted[name], TOLERANCE) for name in claim.shown]
    if all(row.agrees for row in rows):
        return Check(tuple(rows))
    moved = derive(claim, [each.with_rounding() for each in passes])
    return Check(tuple(
        compare(claim, name, wanted[name], max(TOLERANCE, ROUNDINGS * movement(claim, name, wanted[name], moved[name])))
        for name in claim.shown
    ))  # fmt: skip


def derive(claim: Claim, passes: Sequence[AnyPass]) -> dict[str, np.ndarray]:
    """What the shown quantities should be; what rounding leaves open is what is shown, as far as it may be."""
    sides = [each.of_side(claim.side) for each in passes] if claim.side else passes
    found = claim.derive(*sides, *claim.args)
    wanted = {}
    for name, shown in claim.shown.items():
        if name not in found:
            raise KeyError(f"expected one of {', '.join(found)}, found {name!r}; let {claim.derive.__name__} derive it")
        value = found[name]
        wanted[name] = np.clip(shown, *value) if isinstance(value, Bounds) else np.asarray(value, dtype=np.float64)
    return wanted


def compare(claim: Claim, name: str, wanted: np.ndarray, tolerance: float) -> Difference:
    """The cell of one quantity that is furthest off."""
    return furthest(*cells(claim, name, claim.shown[name], wanted), tolerance, scale_of(claim, name, wanted))


def movement(claim: Claim, name: str, wanted: np.ndarray, moved: np.ndarray) -> float:
    """How far rounding alone moves one quantity, relative to its largest number."""
    reference, _, values = cells(claim, name, moved, wanted)
    return furthest(reference, "rounded", values, 1.0, scale_of(claim, name, wanted)).relative


def cells(claim: Claim, name: str, shown: np.ndarray, wanted: np.ndarray) -> tuple[Piece, str, np.ndarray]:
    """What `furthest` compares; where both have no number, NaN, they agree."""
    if shown.shape != wanted.shape:
        raise ValueError(f"expected {claim.about}, {name}, of shape {wanted.shape}, found {shown.shape}")
    empty = np.isnan(wanted) & np.isnan(shown)
    shown, wanted = (np.atleast_1d(np.where(empty, 0.0, values)) for values in (shown, wanted))
    return Piece(f"{claim.about}: {name}", None, 0, wanted), "displayed", shown


def scale_of(claim: Claim, name: str, wanted: np.ndarray) -> float:
    """The largest number of a quantity; counts are compared as they are."""
    if claim.shown[name].dtype.kind in "iu":
        return 1.0
    return float(np.abs(wanted).max(initial=claim.nothing, where=np.isfinite(wanted)))


def look_up_claim(network: GPT | Transformer, claim: Claim, quantity: str) -> dict[str, np.ndarray | None]:
    """One quantity by float64 and from the stages of the two other paths, "plain" and "fused": None where it has none.

    Raises:
        MissingStage: where float64 has none either: the text is too long for a gradient.
    """
    only = dataclasses.replace(claim, shown={quantity: claim.shown[quantity]})
    found: dict[str, np.ndarray | None] = {
        "float64": derive(only, [float64_pass(network, trace) for trace in claim.traces])[quantity]
    }
    for path, passes in other_passes(network, claim.traces).items():
        try:
            found[path] = derive(only, passes)[quantity]
        except MissingStage:
            found[path] = None
    return found
