"""Reasons to doubt a translation, told from the sentence and from what the model wrote. Knows no language.

A model translates whatever it is given. What it makes of another language, of another script or of no words at all
looks like a translation; these are the signs that it may be none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np

from gptviz.analysis.decoding import mean_probability

# Measured with transformer-deu-eng, greedy. Below this was the mean of 1.7 % of 1,000 held-out German sentences; of
# their English translations, given to it as if they were German, 59 %; of 30 sentences in twelve other languages with
# Latin letters 80 %; of 150 of the German ones with their letters shuffled 94 %; of 8 in other scripts all.
# Halfway through the training all means were lower: measure again with another model.
GUESSING = 0.4
# The decoder writes English, so it can say how probable the text itself is as English: fed back as its own translation,
# a German sentence is far less probable, token by token, than what the model writes; an English one is not. Measured
# with transformer-deu-eng on 400 validation pairs, from which the limit was chosen, and 1,000 test pairs: of the German
# sentences 0.8 % and 0.2 % were under it, of the English ones, given to it as if they were German, 96 % and 96 %;
# `GUESSING` finds 64 % and 59 % of these. The end of text is left out, as many a typed text has no full stop. The share
# of a text's words that its translation repeats would find 15 %: the model does not copy English.
OWN_LANGUAGE = 90  # times
FEWEST_WORDS = 3  # a greeting or a name may well be the same in both languages


def times_less(probabilities: np.ndarray, as_itself: np.ndarray) -> float:
    """How many times less probable, token by token, a text is than its translation, if it is taken for one itself.

    Args:
        probabilities: (T,) of the translation's tokens, as of `gptviz.Translation`.
        as_itself: (S,) of the text's own tokens, the end of text last, as of `gptviz.force(model, text, text)`.

    Returns:
        Geometric mean over geometric mean, the text's without its end of text.
    """
    return mean_probability(probabilities) / mean_probability(as_itself[:-1])


def passes_for_itself(text: str, probabilities: np.ndarray, as_itself: np.ndarray) -> bool:
    """Whether a text reads like the language that the model writes; the arguments are those of `doubts`."""
    return len(text.split()) >= FEWEST_WORDS and times_less(probabilities, as_itself) < OWN_LANGUAGE


def doubts(
    text: str, translation: str, probabilities: np.ndarray, stopped: str, as_itself: np.ndarray
) -> Iterator[str]:
    """Reasons to doubt, as sentences, the plainest first.

    Args:
        text: what was to be translated.
        translation, probabilities, stopped: as of `gptviz.Translation`.
        as_itself: as in `times_less`.
    """
    letters = [c for c in text if unicodedata.category(c).startswith("L")]
    other = [c for c in letters if not unicodedata.name(c, "").startswith(("LATIN", "FULLWIDTH LATIN"))]
    mean = mean_probability(probabilities)
    if not letters:
        yield "There is no letter in this text, so there is nothing to translate: below is what the model makes of it."
    elif other:
        yield (
            f"{len(other)} of {len(letters)} letters are not of the Latin script, and German has no others: the model "
            "has hardly seen them."
        )
    elif folded(text) == folded(translation):
        yield "The model wrote the sentence again: either both languages say it so, or it is not German."
    elif passes_for_itself(text, probabilities, as_itself):
        yield (
            "This looks like English, and the model translates from German: what it wrote is hardly a translation. "
            "Type a German sentence, or take one from “Try another”. How the page can tell: read as an English "
            f"translation, your text is only {times_less(probabilities, as_itself):.1f} times less probable, token by "
            f"token, than what the model wrote; for a German sentence that is rarely under {OWN_LANGUAGE} times."
        )
    if mean < GUESSING:
        yield (
            f"The model is guessing: its tokens have a mean probability of {mean:.1%}. On German sentences like those "
            f"it learned from that is rarely under {GUESSING:.0%}; the text may be in another language, or no sentence."
        )
    if stopped == "length":
        yield (
            f"Decoding stopped at its limit of {len(probabilities)} tokens, before the model wrote the end of the text."
        )


def folded(text: str) -> str:
    """Letters and digits alone, whatever their case."""
    return "".join(c for c in text.casefold() if c.isalnum())
