"""Codes and blobs, against the definition written out cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gptviz.view import payload
from gptviz.view.pool import max_pool, pool_factor, pooled_shape
from tests.view.samples import attention, future, read

UNIT = st.floats(0, 1, width=32)
SPOILT = st.one_of(UNIT, st.sampled_from([math.nan, math.inf, -0.5, 2.0, 0.0, 1e-30]))


def code(weight: float, masked: bool) -> int:
    """The code of one cell by its definition."""
    if math.isnan(weight) or weight < 0 or weight > 1.001:
        return 255
    if masked and weight == 0:
        return 0
    return int(np.float32(1.5) + np.float32(253) * np.sqrt(np.float32(min(weight, 1))))  # halves up, in float32


def codes_by_hand(weights: np.ndarray, masked: np.ndarray, rows_sum_to_one: bool) -> np.ndarray:
    """(T, S) -> codes, one cell after the other."""
    found = np.zeros(weights.shape, dtype=np.uint8)
    for q, row in enumerate(weights):
        codes = [code(float(w), bool(m)) for w, m in zip(row, masked[q], strict=True)]
        asked = any(c != 0 for c in codes)
        if rows_sum_to_one and asked and (255 in codes or abs(math.fsum(row) - 1) > 0.001):
            codes = [c and 255 for c in codes]
        found[q] = codes
    return found


def pooled_by_hand(codes: np.ndarray, factor: int) -> np.ndarray:
    """255 if any cell of a block is, else the largest code of the unmasked ones, 0 if all are masked."""
    found = np.zeros(pooled_shape(*codes.shape, factor), dtype=np.uint8)
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            block = codes[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor].ravel().tolist()
            found[i, j] = 255 if 255 in block else max([c for c in block if c], default=0)
    return found


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=UNIT))
def test_a_code_is_right_to_a_254th(weights: np.ndarray) -> None:
    codes = payload.to_codes(weights)
    assert codes.min() >= 1
    assert codes.max() <= 254
    back = payload.from_codes(codes)
    assert np.abs(back - weights).max() <= payload.DECODING_ERROR < 0.004
    assert np.abs(np.sqrt(back) - np.sqrt(weights.astype(np.float64))).max() <= 0.5 / 253 + 1e-6


def test_codes_keep_the_order_and_the_ends() -> None:
    weights = np.linspace(0, 1, 10_001, dtype=np.float32) ** 2
    codes = payload.to_codes(weights)
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert set(codes.tolist()) == set(range(1, 255))
    assert payload.from_codes(np.array([0, 1, 254], dtype=np.uint8)).tolist() == [0, 0, 1]
    assert math.isnan(payload.from_codes(np.array([255]))[0])
    assert payload.to_codes(np.array([1.0005])) == 254  # float16 sums round


@given(
    st.integers(1, 6).flatmap(lambda t: st.integers(1, 6).flatmap(lambda s: st.tuples(
        hnp.arrays(np.float32, (t, s), elements=SPOILT), hnp.arrays(bool, (t, s))))),
    st.booleans(), st.integers(1, 4), st.booleans(),
)  # fmt: skip
def test_any_layer_is_encoded_as_its_cells_say(given_: tuple, must: bool, factor: int, normalise: bool) -> None:
    weights, masked = given_
    if normalise:  # right rows among the wrong ones
        sums = np.where(masked, 0, weights).sum(axis=-1, keepdims=True)
        with np.errstate(all="ignore"):
            weights = np.where(sums > 0, np.where(masked, 0, weights) / sums, weights).astype(np.float32)
    if must and (np.abs(np.abs(weights.astype(np.float64).sum(-1) - 1) - 0.001) < 1e-5).any():
        return  # on the edge of the tolerance, where rounding decides
    codes, wrong = payload.encode_layer(weights[None], masked[None], must, factor)
    expected = codes_by_hand(weights, masked, must)
    np.testing.assert_array_equal(codes[0], pooled_by_hand(expected, factor))
    assert wrong[0].tolist() == [255 in row for row in expected]


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 8])
def test_several_heads_with_a_mask_each_or_one_for_all(factor: int) -> None:
    weights = attention(3, 13, 13, causal=True)
    weights[1, 4, 2] = np.nan
    each = np.stack([future(13), future(13), np.zeros((13, 13), dtype=bool)])
    for masked in (each, each[:1], None):
        codes, wrong = payload.encode_layer(weights, masked, True, factor)
        for head in range(3):
            own = np.zeros((13, 13), dtype=bool) if masked is None else masked[head % len(masked)]
            expected = pooled_by_hand(codes_by_hand(weights[head], own, True), factor)
            np.testing.assert_array_equal(codes[head], expected)
        assert np.argwhere(wrong).tolist() == [[1, 4]]


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=20).flatmap(
        lambda shape: hnp.arrays(np.uint8, shape)
    ),
    st.integers(1, 9),
)  # fmt: skip
def test_pooling_never_loses_the_largest(cells: np.ndarray, factor: int) -> None:
    pooled = max_pool(cells, factor)
    assert pooled.shape == pooled_shape(*cells.shape, factor)
    assert pooled.max() == cells.max()
    for (q, k), value in np.ndenumerate(cells):
        assert pooled[q // factor, k // factor] >= value
    np.testing.assert_array_equal(pooled, pooled_by_hand(cells, factor))


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([128, 1024]))
def test_a_pooled_picture_fits_and_is_no_smaller_than_it_must(t: int, s: int, limit: int) -> None:
    factor = pool_factor(t, s, limit)
    assert max(pooled_shape(t, s, factor)) <= limit
    assert factor == 1 or max(pooled_shape(t, s, factor - 1)) > limit


def test_a_leak_is_visible_however_small() -> None:
    weights = attention(1, 6, 6, causal=True)
    weights[0, 2, 5] = 1e-8
    codes, wrong = payload.encode_layer(weights, future(6)[None])
    assert codes[0, 2, 5] == 1
    assert codes[0, 2, 4] == 0
    assert not wrong.any()
    assert payload.encode_layer(weights, future(6)[None], factor=3)[0].tolist()[0][0][1] == 1


def test_what_is_wrong_is_said_in_words() -> None:
    weights = np.full((4, 4), 0.25, dtype=np.float32)
    weights[3] *= 2.8
    assert payload.describe_wrong(weights, np.array([0, 0, 0, 1])) == "row 3 sums to 2.8, not 1"
    weights[1, 2] = np.nan
    assert payload.describe_wrong(weights, np.array([0, 1, 0, 1])) == "row 1 has NaN at key 2; 1 more row is wrong"
    weights[0, 1] = -0.5
    assert payload.describe_wrong(weights, np.array([1, 1, 0, 1])) == "row 0 has -0.5 at key 1; 2 more rows are wrong"


def test_a_row_masked_all_over_is_right_unless_it_holds_something() -> None:
    masked = np.ones((1, 2, 3), dtype=bool)
    assert payload.encode_cells(np.zeros((1, 2, 3), np.float32), masked)[0].tolist() == [[[0] * 3] * 2]
    assert payload.wrong_rows(np.zeros((1, 2, 3), np.float32), None).all()
    codes, wrong = payload.encode_cells(np.full((1, 2, 3), np.nan, np.float32), masked)
    assert (codes == 255).all()
    assert wrong.all()


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers() | st.text("äé")), st.binary())
def test_a_blob_gives_back_what_went_in(header: dict, body: bytes) -> None:
    blob = payload.pack(header, body)
    assert read(blob) == (header, body)
    found, rest = payload.unpack(blob)
    assert (found, bytes(rest)) == (header, body)
    assert (len(blob) - len(body)) % 4 == 0


@pytest.mark.parametrize("blob", [b"", b"\1", b"\xff\0\0\0{}"])
def test_a_cut_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="expected a header of a length that stands first, found"):
        payload.unpack(blob)


@pytest.mark.parametrize("side", [1, 2, 5, 64])
def test_what_a_causal_mask_hides_does_not_travel(side: int) -> None:
    codes = np.random.default_rng(side).integers(1, 256, (3, side, side), dtype=np.uint8)
    codes[:, ~np.tri(side, dtype=bool)] = payload.MASKED
    header, cells = payload.pack_codes(codes)
    assert len(cells) == 3 * side * (side + 1) // 2
    np.testing.assert_array_equal(payload.unpack_codes({"P": [side, side], **header}, cells), codes)


@pytest.mark.parametrize("place", [(0, 1), (1, 2), (0, 2)])
def test_a_leak_above_the_diagonal_travels(place: tuple[int, int]) -> None:
    codes = np.tri(3, dtype=np.uint8)[None].copy()
    codes[0][place] = 1
    header, cells = payload.pack_codes(codes)
    assert header == {} and len(cells) == 9
    np.testing.assert_array_equal(payload.unpack_codes({"P": [3, 3]}, cells), codes)
