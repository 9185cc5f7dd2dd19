"""What the pages on trainings make of a pass, worked out again from passes in float64: of twins, and of a time-lapse.

Shapes: L layers, H heads, T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import Derived
from gptviz.analysis.derived.predictions import log_p

if TYPE_CHECKING:
    from gptviz.analysis.passes import Pass


def next_share(seen: Pass) -> Derived:
    """What each head gives to the token after the query, in the mean over the queries that have one."""
    shares = [
        [np.mean([row[i + 1] for i, row in enumerate(head[:-1])]) if len(head) > 1 else 0.0 for head in layer]
        for layer in seen.layers("weights")
    ]
    return {"share on the next token [layer, head]": np.array(shares)}


def came(seen: Pass, ids: tuple[int, ...]) -> Derived:
    """What was given to the last tokens of a pass, each by the row before it."""
    first = len(seen.ids) - len(ids)
    return given([seen.logits_at(at - 1) for at in range(first, len(seen.ids))], ids)


def came_alone(*passes_and_ids: Pass | tuple[int, ...]) -> Derived:
    """The same where nothing after them is there: a pass for each token, which ends before it; then the tokens."""
    *passes, ids = passes_and_ids
    return given([seen.logits_at(-1) for seen in passes], ids)


def given(rows: list[np.ndarray], ids: tuple[int, ...]) -> Derived:
    """Log-probabilities of a token in each of some rows of logits (V,)."""
    logs = np.array([log_p(row)[token] for row, token in zip(rows, ids, strict=True)])
    return {"log-probability of the next token [place]": logs, "mean loss, nats": -logs.sum() / max(len(ids), 1)}


def last_weights(seen: Pass, most: int) -> Derived:
    """The attention of the last tokens to each other."""
    shown = [layer[:, -most:, -most:] for layer in seen.layers("weights")]
    return {"weight [layer, head, query, key]": np.array(shown)}


def scores(*passes: Pass) -> Derived:
    """Previous-token and induction scores: means over passes of tokens that come twice, one half after the other."""
    before, after = [], []
    for seen in passes:
        t, half = len(seen.ids), len(seen.ids) // 2
        weights = np.array([*seen.layers("weights")])  # (L, H, T, T)
        before.append(np.mean([weights[..., i, i - 1] for i in range(1, t)], axis=0))
        after.append(np.mean([weights[..., i, i - half + 1] for i in range(half, t)], axis=0))
    return {
        "previous-token score [layer, head]": np.mean(before, axis=0),
        "induction score [layer, head]": np.mean(after, axis=0),
    }
