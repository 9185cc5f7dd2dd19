"""Translation, of the encoder-decoder: step by step through the output, with all three attentions at each step."""

from __future__ import annotations

from gptviz import ui
from gptviz.analysis import decoding
from gptviz.ui import translate as parts

reading = ui.pair_lesson(
    "Translation",
    "each output token is chosen with three attentions at once: of the German sentence on itself, of the "
    "English so far on itself, and of the English on the German. Step through the output.",
    "a cross-attention weight says where a head read in the German sentence, not which word was translated.",
)
layer, head = parts.pick_attention(reading)
step = parts.stepper(reading, layer, head)
parts.show_result(reading)
parts.show_weights(reading, layer, head, step)

from gptviz.translation import beam_search, normalised_score  # noqa: E402 - after the page has begun: torch takes seconds

ui.show_source(decoding.of_heads, decoding.candidates, decoding.mean_probability, beam_search, normalised_score)
