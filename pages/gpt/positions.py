"""Positions: how a model knows where a token stands, and what it does with it in the first layer."""

from __future__ import annotations

from gptviz import ui
from gptviz.ui import positions as parts
from gptviz.ui import rotary

reading = ui.lesson(
    "Positions",
    "unless something tells its place, a vector or an angle, a token would read the same wherever it stands. See "
    "whether near places are alike, and whether a head looks by place or by token.",
    "a cosine says that two places look alike to a product of vectors, not that the model treats them alike.",
)
if reading.config.positions == "rotary":
    rotary.show_lesson(reading)
else:
    parts.show_lesson(reading)
