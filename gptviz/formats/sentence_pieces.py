"""SentencePiece's byte-pair encoding: the neighbours whose joined piece has the highest score join, leftmost first.

Written out because `tokenizers` ranks pairs and not pieces: where one piece can be put together in two ways, a rank for
each decides otherwise than one score does.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence

import numpy as np

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # stands for a space in a piece
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of pieces, SentencePiece's numbers


def byte_piece(byte: int) -> str:
    """How SentencePiece writes the piece of a single byte."""
    return f"<0x{byte:02X}>"


BYTES = {byte_piece(byte): bytes([byte]) for byte in range(256)}


class SentencePieces:
    """Pieces with scores, and single bytes for characters that have none.

    Args:
        tokens: the piece of each id; a space is written as U+2581.
        scores: (N,) of each id; higher ones join first.
        types: (N,) of each id, one of the types above.
        unknown: id of a character that has neither a piece nor bytes.
        space_before: whether a space is put before every part of a text, as Llama's files ask for.
    """

    def __init__(
        self, tokens: list[str], scores: np.ndarray, types: np.ndarray, unknown: int, space_before: bool = True
    ) -> None:
        self.tokens, self.unknown, self.space_before = tokens, unknown, space_before
        self.size = len(tokens)
        self.scores: list[float] = scores.tolist()
        self.types: list[int] = types.tolist()
        joined = (NORMAL, USER_DEFINED, UNUSED)
        self.ids = {token: i for i, token in enumerate(tokens) if self.types[i] in joined}
        byte_ids = {token: i for i, token in enumerate(tokens) if self.types[i] == BYTE}
        self.byte_ids = [byte_ids.get(byte_piece(byte)) for byte in range(256)]
        whole = [token for token, kind in zip(tokens, self.types, strict=True) if kind == USER_DEFINED and token]
        longest_first = sorted((token.replace(SPACE, " ") for token in whole), key=len, reverse=True)
        self.whole = re.compile("|".join(map(re.escape, longest_first))) if whole else None

    def encode(self, parts: Sequence[str]) -> list[list[int]]:
        """Ids of each part of a text; special tokens stand between the parts."""
        return [self.encode_part(part) for part in parts]

    def encode_part(self, text: str) -> list[int]:
        """Ids of a text in which user-defined pieces are taken first, whole."""
        if self.whole is None:
            return self.join(text)
        ids, done = [], 0
        for match in self.whole.finditer(text):
            ids += self.join(text[done : match.start()])
            ids.append(self.ids[match.group().replace(" ", SPACE)])
            done = match.end()
        return ids + self.join(text[done:])

    def join(self, text: str) -> list[int]:
        """Ids of a text by joining neighbours, beginning with single characters."""
        if not text:
            return []
        pieces = list(((" " if self.space_before else "") + text).replace(" ", SPACE))
        before, after = list(range(-1, len(pieces) - 1)), [*range(1, len(pieces)), -1]
        halves: dict[str, tuple[str, str]] = {}  # of pieces that are not used themselves
        waiting: list[tuple[float, int, int, str]] = []

        def consider(left: int, right: int) -> None:
            joined = pieces[left] + pieces[right]
            if (found := self.ids.get(joined)) is not None:
                heapq.heappush(waiting, (-self.scores[found], left, right, joined))
                if self.types[found] == UNUSED:
                    halves[joined] = pieces[left], pieces[right]

        for left in range(len(pieces) - 1):
            consider(left, left + 1)
        while waiting:
            _, left, right, joined = heapq.heappop(waiting)
            if not pieces[left] or after[left] != right or pieces[left] + pieces[right] != joined:
                continue  # one of the two has joined another since
            pieces[left], pieces[right] = joined, ""
            after[left] = after[right]
            if after[left] >= 0:
                before[after[left]] = left
                consider(left, after[left])
            if before[left] >= 0:
                consider(before[left], left)
        return [i for piece in pieces if piece for i in self.ids_of_piece(piece, halves)]

    def ids_of_piece(self, piece: str, halves: dict[str, tuple[str, str]]) -> list[int]:
        """The id of a piece; those of its halves if it is unused, of its bytes if it is unknown."""
        found = self.ids.get(piece)
        if found is not None and self.types[found] != UNUSED:
            return [found]
        if piece in halves:
            return [i for half in halves[piece] for i in self.ids_of_piece(half, halves)]
        ids = [self.byte_ids[byte] for byte in piece.encode()]
        return [self.unknown] if None in ids else ids

    def content(self, token: int) -> bytes:
        """The bytes of one id; the space mark is a space."""
        if self.types[token] == BYTE:
            return BYTES.get(self.tokens[token], b"")
        return self.tokens[token].replace(SPACE, " ").encode()
