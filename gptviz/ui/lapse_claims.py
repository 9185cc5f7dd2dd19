"""What the page on a recording shows of one recorded step, for the badge: that step's pass, and what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptviz.analysis.derived import predictions, twins
from gptviz.analysis.shown import Sentence
from gptviz.ui import models
from gptviz.ui.lapse import MODELS, chosen_step
from gptviz.ui.lesson import Reading, check_these

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz.ui.lapse import Replay


def check_step(shown: Replay, text: str, badge: DeltaGenerator) -> None:
    """Let the badge check the step at which the visitor stopped; the losses are those of the training's own log."""
    from gptviz.analysis.lapse import scored_ids
    from gptviz.trace import WhatIf  # torch: it is there by now

    causal, step = shown.recording.causal, chosen_step(shown)
    model, at = MODELS.get(shown.recording, step), shown.steps.index(step)
    reading = Reading(model, text, models.TRACES.get(model, text, WhatIf(causal=causal)), badge=badge)
    weights = shown.moments.weights[at]  # (L, H, T, T)
    reading.claim(
        f"heads after step {step:,}", {"weight [layer, head, query, key]": weights}, twins.last_weights,
        weights.shape[-1],
    )  # fmt: skip
    likeliest = {
        "probability of the tokens named [rank]": shown.moments.probabilities[at],
        "largest probabilities [rank]": shown.moments.probabilities[at],
        "the rest": shown.moments.rest[at],
    }
    reading.claim(
        f"next token after step {step:,}", likeliest, predictions.next_token, tuple(shown.moments.ids[at].tolist())
    )
    scores = {
        "previous-token score [layer, head]": shown.scores.previous[at],
        "induction score [layer, head]": shown.scores.induction[at],
    }
    rows = tuple(Sentence(tuple(row), causal) for row in np.asarray(scored_ids(model)).tolist())
    reading.claim(f"scores after step {step:,}", scores, twins.scores, of=rows)
    check_these(reading)
