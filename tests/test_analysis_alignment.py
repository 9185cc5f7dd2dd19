"""Pieces that two tokenizations share: whole tokens of both, nothing lost, nothing split."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptviz.analysis.alignment import align, between_pieces, by_text
from gptviz.analysis.heads import join_words


def cut(data: bytes, places: set[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@given(st.binary(min_size=1, max_size=30), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_pieces_are_whole_tokens_of_both_and_as_fine_as_can_be(data: bytes, a: set[int], b: set[int]) -> None:
    first, second = cut(data, a), cut(data, b)
    pieces = align(first, second)
    assert [i for group in pieces.first for i in group] == list(range(len(first)))
    assert [i for group in pieces.second for i in group] == list(range(len(second)))
    shared = set(np.cumsum([len(each) for each in first])) & set(np.cumsum([len(each) for each in second]))
    assert len(pieces.texts) == len(shared)
    for left, right in zip(pieces.first, pieces.second, strict=True):
        assert b"".join(first[i] for i in left) == b"".join(second[i] for i in right)


def test_a_character_cut_in_two_and_a_beginning_of_text() -> None:
    pieces = align([b"", b"My", b" d\xc3", b"\xb6g"], [b"M", b"y", b" d", b"\xc3\xb6", b"g"])
    assert pieces.texts == ("", "My", " dög")
    assert pieces.first == (range(1), range(1, 2), range(2, 4))
    assert pieces.second == (range(0), range(2), range(2, 5))


def test_what_only_one_has_at_the_left_is_in_no_piece() -> None:
    pieces = align([b"a long", b" text", b" ends"], [b"ext", b" ends"])
    assert pieces.texts == (" ends",)
    assert pieces.first == (range(2, 3),)
    assert pieces.second == (range(1, 2),)


def test_between_pieces_is_what_words_are_joined_by() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(5), (2, 5))
    groups = [range(2), range(2, 3), range(3, 5)]
    np.testing.assert_allclose(between_pieces(weights, groups), join_words(weights, groups))
    np.testing.assert_allclose(between_pieces(weights, groups).sum(axis=-1), 1)
    with_nobody = between_pieces(weights, [range(0), *groups])
    assert np.isnan(with_nobody[:, 0]).all()
    np.testing.assert_allclose(with_nobody[:, 1:, 1:], between_pieces(weights, groups))


def test_tokens_are_joined_by_what_they_stand_for() -> None:
    rows = by_text([(b" a", 0.5), (b" the", 0.2)], [(b" the", 0.6), (b" an", 0.1)])
    assert rows == [(b" the", 0.2, 0.6), (b" a", 0.5, None), (b" an", None, 0.1)]
