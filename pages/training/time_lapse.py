"""Time-lapse: how a model came to read the typed sentence as it does, at recorded steps of its training."""

from __future__ import annotations

from gptviz import ui
from gptviz.ui import lapse, lapse_claims
from gptviz.ui.controls import BOXES
from gptviz.ui.lesson import begin

badge = begin(
    "Time-lapse of a training",
    "at step 0 heads look everywhere alike. On the way some become sharp, often all at once: watch the scores of the "
    "heads, and which next tokens push the others away while the loss falls.",
    "that a score rises when the loss falls does not show that the one is the reason for the other.",
)
shown = lapse.replay()
lapse.view(shown)
lapse.say_what_is_shown(shown)
lapse_claims.check_step(shown, BOXES["gpt"].now()[1], badge)
ui.see_also("Inside a single one of these steps, at full size:", "gpt/attention.py", "Attention")
lapse.show_tables(shown)

from gptviz.analysis import lapse as numbers  # noqa: E402 - after the page has begun: torch takes seconds
from gptviz.analysis.scores import induction_score, previous_token_score  # noqa: E402

ui.show_source(numbers.look_at_all, numbers.score_all, previous_token_score, induction_score)
