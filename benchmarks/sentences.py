"""Sentences that nobody typed before: words drawn at random, cut to a number of tokens of the model's own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptviz.tokenizer import Tokenizer

WORDS = (
    "the a little big red blue dog cat mouse tree house river morning evening ball kite boat king girl boy mother "
    "father friend garden school ran jumped sat saw found gave took said asked went came was had and but so because "
    "when then under over into with for very happy sad old new warm cold"
).split()


def new_sentence(tokenizer: Tokenizer, t: int, seed: int) -> str:
    """A text that the tokenizer reads as exactly `t` tokens; another one for every seed."""
    rng = random.Random(seed)
    while True:
        ids = tokenizer.encode(" ".join(rng.choices(WORDS, k=2 * t)).capitalize())
        text = tokenizer.decode(ids[:t])
        if len(tokenizer.encode(text)) == t and text == text.strip():
            return text
