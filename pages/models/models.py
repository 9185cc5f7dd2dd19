"""Models: what is installed, what more there is, and what it takes."""

from __future__ import annotations

from gptviz import ui
from gptviz.ui import model_shelf

ui.begin(
    "Models",
    look_for="the same lessons with a real language model: get **smollm2-135m**, which needs no hub, open it, and "
    "compare what it says next with what a small model says.",
    caution="a model keeps the licence of its makers, and takes memory for all of its weights while it is open. Files "
    "of strangers are read here, never executed.",
)
model_shelf.shelf()
