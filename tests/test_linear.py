"""Projections: either kernel gives the same numbers, and the one without gradients is used where there are none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from gptviz import linear as module
from gptviz.linear import LEAST, Linear, linear

LARGE = 2 * LEAST // 512  # rows of a matrix of width 512


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often PyTorch's usual product was asked for."""
    calls: list[int] = []

    def counting(*given: object) -> torch.Tensor:
        calls.append(1)
        return F.linear(*given)

    monkeypatch.setattr(module, "F", type("Counting", (), {"linear": staticmethod(counting)}))
    return calls


@given(st.integers(1, 70), st.booleans(), st.booleans(), st.integers(0, 9))
def test_the_product_is_that_of_float64(t: int, with_bias: bool, by_columns: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(n, 512, generator=draw) for n in (t, LARGE))
    bias = torch.randn(LARGE, generator=draw) if with_bias else None
    stored = weight.T.contiguous().T if by_columns else weight
    with torch.no_grad():
        one, three = linear(x, stored, bias), linear(x.expand(2, 1, t, 512), stored, bias)
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert one.shape == (t, LARGE) and three.shape == (2, 1, t, LARGE)
    near = 4e-6 * float(exact.abs().max())  # of sums of 512 products in float32
    assert (one.double() - exact).abs().max() < near
    assert torch.equal(three[0], three[1])
    assert (three[0, 0].double() - exact).abs().max() < near


@pytest.mark.skipif(not module.ONEDNN, reason="this PyTorch, or this processor, has one kernel alone")
def test_a_large_matrix_that_is_only_read_goes_to_onednn(called: list[int]) -> None:
    with torch.no_grad():
        linear(torch.randn(3, 512), torch.randn(LARGE, 512))
        assert called == []
        linear(torch.randn(3, 512), torch.randn(8, 512))
        assert called == [1], "a small one does not"


def test_gradients_autocast_other_types_and_devices_go_to_pytorchs_own(called: list[int]) -> None:
    x, projection = torch.randn(3, 512), Linear(512, LARGE)
    projection(x).sum().backward()
    assert len(called) == 1 and projection.weight.grad is not None
    with torch.no_grad():
        projection(x)
        before = len(called)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert projection(x).dtype == torch.bfloat16
        assert projection.double()(x.double()).dtype == torch.float64
        assert projection.to("meta")(x.double().to("meta")).shape == (3, LARGE)
        assert len(called) == before + 3


def test_compiled_and_exported_code_has_pytorchs_own_product() -> None:
    with torch.no_grad():
        traced = torch.export.export(Linear(512, LARGE), (torch.randn(3, 512),))
    assert "aten.linear" in str(traced.graph) and "mkldnn" not in str(traced.graph)
