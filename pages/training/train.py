"""Train: a model of your own, and the attention of your sentence as it forms."""

from __future__ import annotations

from gptviz import ui
from gptviz.analysis import progress
from gptviz.ui import training

ui.begin(
    "Train",
    look_for="a loss that falls quickly and then slowly, heads that begin as an even grey and take on a pattern, and "
    "what it writes turning from noise into words.",
    caution="a low training loss alone says little: compare it with the held-out one. A model this small, on a text "
    "this short, learns the text and not the language.",
)
training.training()
ui.see_also("What the heads of a trained model look at:", training.ATTENTION, "Attention")
ui.show_source(progress.smoothed, progress.speed, progress.seconds_left)
