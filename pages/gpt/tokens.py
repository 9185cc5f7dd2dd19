"""Lesson 1: tokens, their vectors, and what becomes of the vectors from block to block."""

from gptviz import ui
from gptviz.ui.token_lesson import show_lesson

reading = ui.lesson(
    "Tokens and embeddings",
    "each token has a number, the number has a vector, in many models its position has another that is added, and "
    "that is all the first block gets. Move the stage to see every block rewrite these vectors.",
    "close in direction is not the same in meaning, and a flat map of hundreds of dimensions leaves nearly all of them "
    "out.",
    strip=False,
    stage="residual",
)
show_lesson(reading)
