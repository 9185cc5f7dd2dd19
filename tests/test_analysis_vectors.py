"""Cosines, neighbours, principal axes and strips, against brute force and other algorithms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gptviz
from gptviz.analysis import vectors as v
from gptviz.checkpoint import LanguageModel
from gptviz.stack import SIDES, gpt_stack, transformer_stack
from tests.tiny import translator

NUMBERS = st.floats(-100, 100, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
SHAPES = st.tuples(st.integers(2, 12), st.integers(2, 6))
TABLES = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=NUMBERS))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, in Python's own numbers."""
    dot = math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    lengths = math.hypot(*map(float, a)) * math.hypot(*map(float, b))
    return dot / lengths if lengths else 0.0


@given(TABLES)
def test_cosines_are_those_of_the_definition(table: np.ndarray) -> None:
    found = v.cosine_matrix(table)
    expected = [[cosine(a, b) for b in table] for a in table]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(found).max() <= 1


@given(TABLES, NUMBERS.filter(lambda x: x > 0))
def test_cosines_forget_length(table: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(v.cosine_matrix(table.astype(float) * factor), v.cosine_matrix(table), atol=1e-12)


@given(TABLES, st.integers(-1, 14), st.booleans())
def test_nearest_compares_every_row(table: np.ndarray, n: int, leave_out: bool) -> None:
    vector, without = table[0], 1 if leave_out else None
    found = v.nearest(vector, v.unit_rows(table), n, without)
    cosines = v.cosines_with(v.unit_rows(table), vector[None])[0]
    rows = sorted((i for i in range(len(table)) if i != without), key=lambda i: (-cosines[i], i))
    assert found.ids.tolist() == rows[: max(0, n)]
    np.testing.assert_allclose(found.cosines, [cosine(table[i], vector) for i in found.ids], atol=1e-6)


def test_nearest_keeps_ties_in_the_order_of_ids() -> None:
    table = v.unit_rows(np.array([[0, 1], [1, 0], [2, 0], [1, 1], [3, 0]], dtype=np.float32))
    assert v.nearest(np.array([5.0, 0.0]), table, 2).ids.tolist() == [1, 2]


@given(TABLES)
def test_the_closest_row_and_the_rank_of_the_own_one(table: np.ndarray) -> None:
    vectors = table[::-1] + np.float32(1)
    own = list(range(len(table)))
    found = v.closest(vectors, v.unit_rows(table), own)
    cosines = v.cosines_with(v.unit_rows(table), vectors)
    for i, row in enumerate(cosines):
        assert found.cosines[i] == max(row) == row[found.ids[i]]
        assert found.own_cosines[i] == row[own[i]]
        assert found.own_ranks[i] == 1 + sum(c > row[own[i]] for c in row)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_principal_axes_are_those_of_a_singular_value_decomposition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = (rng.normal(size=(60, 7)) * np.array([9, 5, 3, 1, 0.5, 0.2, 0.1]) + rng.normal(size=7)).astype(np.float32)
    found = v.principal_axes(table, 3)
    _, sizes, right = np.linalg.svd(table.astype(np.float64) - table.astype(np.float64).mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs((found.axes * right[:3]).sum(axis=1)), 1, atol=1e-8)
    np.testing.assert_allclose(found.explained, (sizes**2 / (sizes**2).sum())[:3], atol=1e-10)
    points = found(table)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(points.var(axis=0), sizes[:3] ** 2 / len(table), rtol=1e-9)


def test_principal_axes_do_not_depend_on_chunks_or_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(3).normal(size=(50, 6)).astype(np.float32)
    whole = v.principal_axes(table)
    monkeypatch.setattr(v, "CHUNK", 7)
    for other in (v.principal_axes(table), v.principal_axes(-table)):
        np.testing.assert_allclose(other.axes, whole.axes, atol=1e-9)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in whole.axes)


def test_axes_of_points_on_a_line() -> None:
    line = np.outer(np.arange(9), [3.0, 4.0])
    found = v.principal_axes(line, 2)
    np.testing.assert_allclose(found.axes[0], [0.6, 0.8], atol=1e-12)
    np.testing.assert_allclose(found.explained, [1, 0], atol=1e-12)
    assert v.principal_axes(np.ones((4, 3)), 2).explained.tolist() == [0, 0]


@pytest.mark.parametrize(("shape", "k"), [((1, 5), 2), ((9, 2), 3), ((9, 2), 0)])
def test_axes_that_cannot_be(shape: tuple[int, int], k: int) -> None:
    with pytest.raises(ValueError, match=f"found {shape[0]} vectors and {k} axes"):
        v.principal_axes(np.ones(shape), k)


def test_strips_of_the_embeddings_add_up(tiny_model: LanguageModel) -> None:
    trace = gptviz.trace(tiny_model, "My dog has fleas")
    found = v.strips(trace, 0)
    weights = tiny_model.gpt.state_dict()
    np.testing.assert_array_equal(found.vectors[0], weights["token_embedding.weight"].numpy()[list(trace.ids)])
    np.testing.assert_array_equal(found.vectors[1], weights["position_embedding.weight"].numpy()[: len(trace.ids)])
    np.testing.assert_array_equal(found.vectors[2], found.vectors[0] + found.vectors[1])


def test_strips_of_a_block_add_up_only_where_the_norm_comes_first(
    tiny_model: LanguageModel, tiny_pre_norm: LanguageModel
) -> None:
    for model, adds_up in ((tiny_model, False), (tiny_pre_norm, True)):
        trace = gptviz.trace(model, "My dog has fleas")
        for stage in (1, 2):
            found = v.strips(trace, stage)
            np.testing.assert_array_equal(found.vectors[-1], trace.residual[stage])
            assert np.allclose(found.vectors[:-1].sum(axis=0), found.vectors[-1], atol=1e-4) == adds_up


def test_the_strips_of_a_decoder_have_the_cross_attention_between() -> None:
    model = translator(seed=3)
    seen = gptviz.translate(model, "My dog has fleas").trace
    block = model.transformer.decoder[1]
    found = v.strips(seen.decoder, 2, seen.cross)
    assert [name.split()[0] for name in found.names] == ["stream", "self-attention", "cross-attention", "feed-forward",
                                                         "stream"]  # fmt: skip
    before, own, crossed, ff, after = (torch.from_numpy(part.copy()) for part in found.vectors)
    middle = block.cross_norm(block.attention_norm(before + own) + crossed)
    torch.testing.assert_close(block.ff_norm(middle + ff), after, atol=1e-5, rtol=1e-4)
    assert len(v.strips(seen.encoder, 2).names) == 4
    for stage in (0, 2):
        moved = v.step(seen.decoder, stage)
        parts = v.strips(seen.decoder, stage, seen.cross).vectors
        np.testing.assert_array_equal(moved, (parts[0], parts[-1]))


@pytest.mark.parametrize("stage", [-1, 4])
def test_a_stage_that_is_not_there(tiny_model: LanguageModel, stage: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 3, found {stage}"):
        v.strips(gptviz.trace(tiny_model, "a dog"), stage)


def test_the_table_is_that_of_the_model(tiny_model: LanguageModel) -> None:
    table = v.embedding_table(gpt_stack(tiny_model.gpt))
    assert table.dtype == np.float32
    trace = gptviz.trace(tiny_model, "My dog has fleas")
    np.testing.assert_array_equal(table[list(trace.ids)], trace.token_embeddings)
    found = v.closest(trace.token_embeddings, v.unit_rows(table), trace.ids)
    assert found.ids.tolist() == list(trace.ids)
    assert found.own_ranks.tolist() == [1] * len(trace.ids)


@pytest.mark.parametrize("side", SIDES)
def test_the_table_of_an_encoder_decoder_is_as_its_layers_get_it(side: str) -> None:
    model = translator(seed=3)
    table = v.embedding_table(transformer_stack(model.transformer, side))
    trace = getattr(gptviz.translate(model, "My dog has fleas").trace, side)
    np.testing.assert_array_equal(table[list(trace.ids)], trace.token_embeddings)
    raw = model.transformer.state_dict()["token_embedding.weight"].numpy()
    np.testing.assert_allclose(table, raw * math.sqrt(raw.shape[1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (b" dog", 0),
        ("été".encode(), 1),
        (b"'ll", 1),
        (b"dog", 1),
        (b" 12", 2),
        (b"?!", 3),
        (b"<|", 3),
        (b" ", 4),
        (b"\n\n", 4),
        (b"\x00", 4),
        (b"\xf0\x9f", 5),
        ("犬".encode(), 1),
        ("😀".encode(), 3),
    ],
)
def test_kinds_of_tokens(token: bytes, kind: int) -> None:
    assert v.token_kind(token) == v.KINDS[kind]


@given(st.binary(max_size=8))
def test_every_token_has_a_kind(token: bytes) -> None:
    assert v.token_kind(token) in v.KINDS
