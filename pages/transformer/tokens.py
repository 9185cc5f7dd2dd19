"""Tokens and embeddings of the encoder-decoder: of what the encoder read, or of what the decoder read."""


from gptviz import ui
from gptviz.ui.token_lesson import show_lesson

pair = ui.pair_lesson(
    "Tokens and embeddings",
    "German and English share one vocabulary and one table of vectors. The encoder reads the German tokens, the "
    "decoder what it has written, shifted right: the end of text first. Move the stage to see their blocks rewrite "
    "the vectors.",
    "close in direction is not the same in meaning, and a flat map of hundreds of dimensions leaves nearly all of them "
    "out.",
)
show_lesson(pair.side(ui.pick_side("encoder", "decoder")))
