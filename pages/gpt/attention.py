"""Attention: which token looks at which, in every head, and in one picture for all of them."""

from __future__ import annotations

from gptviz import ui
from gptviz.analysis import heads
from gptviz.ui import attention

reading = ui.lesson(
    "Attention",
    "each row is one token deciding where to read: bright cells are where it looked, and heads differ. Try a head "
    "that follows the previous token, one that keeps returning to the first, and one that finds what came before.",
    "a bright cell says where a head read, not what it read or whether it mattered for the next token.",
    strip=False,
)
choice = attention.choose(reading.model)
view = attention.look(reading, choice)
attention.show(reading, view, choice)
attention.explain(reading, choice)
if choice.thresholds:
    attention.levels(reading, view, choice)
attention.numbers(reading, view, choice)

ui.show_source(heads.look, heads.summarise, heads.rollout, heads.join_words, heads.without_first)
