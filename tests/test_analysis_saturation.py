"""Sharpness of a softmax and the gradient through it: against an explicit Jacobian, autograd and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gptviz.analysis import saturation as analysis

RULES = [(True, True), (True, False), (False, True), (False, False)]


def vectors(t: int = 6, d: int = 8, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(seed).normal(size=(3, t, d)))


def objective(q, k, v, causal: bool, scaled: bool):
    """The sum of g . o, by PyTorch alone."""
    g = torch.from_numpy(analysis.directions(tuple(q.shape)))
    out = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=causal, scale=None if scaled else 1.0
    )  # fmt: skip
    return (g * out).sum()


@pytest.mark.parametrize(("causal", "scaled"), RULES)
def test_the_gradient_is_that_of_autograd(causal: bool, scaled: bool) -> None:
    arrays = vectors()
    q, k, v = (torch.from_numpy(part).requires_grad_() for part in arrays)
    objective(q, k, v, causal, scaled).backward()
    found = analysis.saturation(*arrays, causal=causal, scaled=scaled)
    np.testing.assert_allclose(found.to_q, q.grad.norm(dim=-1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.to_k, k.grad.norm(dim=-1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize(("t", "s"), [(4, 7), (7, 4), (1, 5), (5, 1)])
def test_queries_and_keys_of_two_sentences(t: int, s: int, scaled: bool) -> None:
    """Every measure of a rectangular attention, as of one that crosses over to another sentence."""
    arrays = vectors(t)[0], *vectors(s, seed=2)[1:]
    q, k, v = (torch.from_numpy(part).requires_grad_() for part in arrays)
    objective(q, k, v, False, scaled).backward()
    found = analysis.saturation(*arrays, causal=False, scaled=scaled)
    np.testing.assert_allclose(found.to_q, q.grad.norm(dim=-1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.to_k, k.grad.norm(dim=-1), rtol=1e-10, atol=1e-12)
    p = (q @ k.T / (math.sqrt(8) if scaled else 1)).softmax(-1).detach().numpy()
    np.testing.assert_allclose(found.largest, p.max(-1))
    np.testing.assert_allclose(found.entropy, -(p * np.log2(p)).sum(-1), atol=1e-12)
    expected = [np.linalg.norm(np.diag(row) - np.outer(row, row)) for row in p]
    np.testing.assert_allclose(found.jacobian, expected, rtol=1e-10, atol=1e-15)
    assert analysis.medians(found)[0] == np.median(found.entropy), "no query is left out where all have a choice"


def test_the_gradient_is_that_of_finite_differences() -> None:
    q, k, v = vectors()
    found, h = analysis.saturation(q, k, v, causal=True, scaled=False), 1e-6
    gradient = np.zeros(q.shape[1])
    for d in range(q.shape[1]):
        ends = []
        for step in (h, -h):
            moved = q.copy()
            moved[4, d] += step
            ends.append(float(objective(*map(torch.from_numpy, (moved, k, v)), True, False)))
        gradient[d] = (ends[0] - ends[1]) / (2 * h)
    assert found.to_q[4] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)


def test_the_jacobian_norm_is_that_of_the_jacobian() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(7), size=(3, 5))
    expected = [[np.linalg.norm(np.diag(row) - np.outer(row, row)) for row in rows] for rows in p]
    np.testing.assert_allclose(analysis.jacobian_norm(p), expected, rtol=1e-12)
    even = np.full((1, 4), 0.25)
    assert analysis.jacobian_norm(even)[0] == pytest.approx(math.sqrt(3) / 4)


def test_a_jacobian_that_is_all_but_gone_is_not_lost_to_rounding() -> None:
    p = np.array([[1.0, 1e-20]])  # diag(p) - p p^T is p_1 p_2 times [[1, -1], [-1, 1]]
    assert analysis.jacobian_norm(p)[0] == pytest.approx(2e-20)


@pytest.mark.parametrize(("causal", "scaled"), RULES)
def test_entropy_and_largest_weight_are_those_of_the_softmax(causal: bool, scaled: bool) -> None:
    q, k, v = vectors()
    scores = torch.from_numpy(q @ k.T) / (math.sqrt(8) if scaled else 1)
    if causal:
        scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf)
    p = scores.softmax(-1)
    found = analysis.saturation(q, k, v, causal=causal, scaled=scaled)
    np.testing.assert_allclose(found.largest, p.max(-1).values)
    np.testing.assert_allclose(found.entropy, torch.special.entr(p).sum(-1) / math.log(2), atol=1e-12)


def test_wider_vectors_saturate_without_scaling_and_not_with_it() -> None:
    scaled, unscaled = analysis.over_widths(True), analysis.over_widths(False)
    for name in ("entropy", "jacobian", "to_q"):
        assert unscaled[name][-1, 1] < 0.01 * scaled[name][-1, 1], name
        assert scaled[name][-1, 1] == pytest.approx(scaled[name][2, 1], rel=0.2), name
    assert unscaled["largest"][-1, 1] > 0.99
    assert all((rows[:, 0] <= rows[:, 1]).all() and (rows[:, 1] <= rows[:, 2]).all() for rows in unscaled.values())


def test_random_vectors_are_the_same_every_time() -> None:
    for name, rows in analysis.over_widths(False).items():
        np.testing.assert_array_equal(rows, analysis.over_widths(False)[name])
    assert not np.array_equal(analysis.over_widths(False, seed=1)["to_q"], analysis.over_widths(False)["to_q"])
    np.testing.assert_allclose(np.linalg.norm(analysis.directions((3, 5)), axis=-1), 1)


def test_medians_leave_out_what_has_no_choice() -> None:
    found = analysis.saturation(*vectors(1), causal=True, scaled=True)
    assert found.largest.tolist() == [1]
    assert found.to_q.tolist() == [0]
    *rows, keys = analysis.medians(found, first=1)
    assert all(math.isnan(value) for value in rows)
    assert keys == 0, "a key is reached by later queries, too"
    whole = analysis.saturation(*vectors(3), causal=True, scaled=True)
    assert analysis.medians(whole, first=1)[1] == pytest.approx(np.mean(whole.largest[1:]))
    assert analysis.medians(whole, first=1)[4] == np.median(whole.to_k)
