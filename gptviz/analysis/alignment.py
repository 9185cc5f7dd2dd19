"""Two tokenizers on one text: the pieces that both can tell apart, and attention between them.

Where both cut the text at the same place a piece ends; between two such places lie one or more tokens of each. Pure
functions; knows nothing about models. Shapes: T tokens of one model, P pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Pieces(NamedTuple):
    """What two tokenizations of a text have in common: P pieces, in order."""

    texts: tuple[str, ...]  # bytes that are no whole character read as \\xNN
    first: tuple[range, ...]  # the tokens of each piece in the first tokenization
    second: tuple[range, ...]  # and in the second


def align(first: Sequence[bytes], second: Sequence[bytes]) -> Pieces:
    """The finest pieces that are whole tokens of both.

    Tokens that stand for no text, such as a beginning of text, are `b""` and make a piece of their own at the left,
    which may be empty on one side. Where one text was cut at the left, what the other has more belongs to no piece.
    """
    begins = tuple(next((i for i, piece in enumerate(each) if piece), len(each)) for each in (first, second))
    cuts = []  # of each: bytes that are left -> the token that begins there
    for tokens, begin in zip((first, second), begins, strict=True):
        left = sum(map(len, tokens))
        places = {left: begin}
        for i, token in enumerate(tokens[begin:], start=begin):
            left -= len(token)
            places[left] = i + 1
        cuts.append(places)
    common = sorted(cuts[0].keys() & cuts[1].keys(), reverse=True)  # from left to right
    texts, sides = [], ([], [])
    if any(begins):
        texts.append("")
        for side, begin in zip(sides, begins, strict=True):
            side.append(range(begin))
    for start, stop in itertools.pairwise(common):
        for side, places in zip(sides, cuts, strict=True):
            side.append(range(places[start], places[stop]))
        tokens = (first[i] for i in sides[0][-1])
        texts.append(b"".join(tokens).decode("utf-8", "backslashreplace"))
    return Pieces(tuple(texts), tuple(sides[0]), tuple(sides[1]))


def between_pieces(weights: np.ndarray, groups: Sequence[range]) -> np.ndarray:
    """From tokens to pieces: summed over the keys of a piece, averaged over its queries. (..., T, T) -> (..., P, P).

    What is looked at is shared out, who looks is asked as one: a row sums to 1 where all its keys are in pieces. The
    row of a piece without tokens is NaN.
    """
    member = np.zeros((len(groups), weights.shape[-1]))  # (P, T)
    for piece, group in enumerate(groups):
        member[piece, group.start : group.stop] = 1.0
    sizes = member.sum(axis=1, keepdims=True)  # (P, 1)
    asked = np.divide(member, sizes, out=np.full_like(member, np.nan), where=sizes > 0)
    return asked @ weights.astype(np.float64) @ member.T


def by_text(
    first: Sequence[tuple[bytes, float]], second: Sequence[tuple[bytes, float]]
) -> list[tuple[bytes, float | None, float | None]]:
    """Two lists of tokens with probabilities, joined by the bytes of the tokens; None where only the other has one.

    In the order of the larger of the two, of equals as they came.
    """
    a, b = dict(first), dict(second)
    rows = [(token, a.get(token), b.get(token)) for token in dict.fromkeys([*a, *b])]
    return sorted(rows, key=lambda row: -max(p for p in row[1:] if p is not None))
