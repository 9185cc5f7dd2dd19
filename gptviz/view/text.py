"""Tokens written literally: everything in a token to be seen, nothing in it read as a command."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

KNOWN = {" ": "·", "\n": "⏎", "\t": "⇥"}
SHAPELESS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}  # Unicode categories that draw nothing of their own


def visible(token: str | bytes) -> str:
    """A token with everything in it to be seen: "·" for a space, "⏎" and "⇥", \\xNN for what has no shape.

    Bytes are read as UTF-8; those that are no whole character read as \\xNN. Characters that only steer the display
    (such as the right-to-left override) are written out, so that a token cannot rearrange the page; a lone combining
    mark is shown on a dotted circle; a token of nothing is "∅".
    """
    text = token.decode("utf-8", "backslashreplace") if isinstance(token, bytes) else token
    shown = "".join(map(visible_character, text))
    if text and unicodedata.category(text[0]).startswith("M"):
        shown = "◌" + shown
    return shown or "∅"


def visible_character(character: str) -> str:
    """One character as it is shown in a token."""
    if character in KNOWN:
        return KNOWN[character]
    if unicodedata.category(character) in SHAPELESS:
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


def visible_tokens(tokens: Sequence[str | bytes], count: int, what: str = "tokens") -> list[str]:
    """`visible` of each token.

    Raises:
        ValueError: unless there are `count` of them.
        TypeError: for a single text, or a token that is neither text nor bytes.
    """
    if isinstance(tokens, str | bytes):
        raise TypeError(f"expected a list of {count} {what}, found one text; split it, as the model's tokenizer does")
    tokens = list(tokens)
    for token in tokens:
        if not isinstance(token, str | bytes):
            raise TypeError(f"expected {what} as str or bytes, found {type(token).__name__}; decode the ids first")
    if len(tokens) != count:
        raise ValueError(f"expected {count} {what}, one for each row or column of the weights, found {len(tokens)}")
    return [visible(token) for token in tokens]


def plain(text: str) -> str:
    """A title or a name as one line that UTF-8 can hold: lone surrogates and control characters written out."""
    return "".join(c if c == " " else visible_character(c) for c in text)
