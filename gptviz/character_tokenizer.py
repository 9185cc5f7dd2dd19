"""A character, a token: the vocabulary of nanoGPT's models of characters, in the interface of `gptviz.tokenizer`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class CharacterTokenizer:
    """Every character of the training text is a token; a text with others cannot be read.

    Args:
        characters: by their ids, from 0.

    There is no end-of-text token: `end_of_text` is one more than the last id, and never comes.
    """

    begin: tuple[int, ...] = ()
    chat_template = ""

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = tuple(characters)
        self.ids = {character: i for i, character in enumerate(self.characters)}
        self.vocab_size = self.end_of_text = len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Ids of a text.

        Raises:
            ValueError: for characters that the model never saw.
        """
        unknown = sorted(set(text) - self.ids.keys())
        if unknown:
            found = ", ".join(map(repr, unknown[:10])) + (" ..." if len(unknown) > 10 else "")
            known = "".join(sorted(c for c in self.characters if c.isprintable()))[:100]
            raise ValueError(f"expected characters that this model was trained on, found {found}; it knows {known}")
        return [self.ids[character] for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids."""
        return "".join(self.characters[i] for i in ids)

    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """The bytes of ids."""
        return self.decode(ids.tolist()).encode("utf-8", "surrogatepass")

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one id."""
        return self.token_text(token).encode("utf-8", "surrogatepass")

    def token_text(self, token: int) -> str:
        """One token as text; an id beyond the characters is named."""
        return self.characters[token] if token < len(self.characters) else f"[unused {token}]"

    def token_texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """`token_text` of each id."""
        return tuple(map(self.token_text, ids))

    def is_special(self, token: int) -> bool:
        """None is."""
        return False
