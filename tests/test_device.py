"""Where to compute: the flag before the environment before what is there; and in what precision."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
import torch

from gptviz import device as devices
from gptviz.device import ENVIRONMENT, autocast, cpu_bf16_pays, pick_device, product_time


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment variable, and a machine with only a CPU."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    has(monkeypatch)


def has(monkeypatch: pytest.MonkeyPatch, cuda: bool = False, mps: bool = False) -> None:
    """Pretend that the machine has these."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
@pytest.mark.parametrize("name", [None, "auto", ""])
def test_cuda_then_mps_then_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str, name: str | None
) -> None:
    has(monkeypatch, cuda, mps)
    assert pick_device(name).type == expected


def test_the_environment_decides_and_the_flag_decides_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, cuda=True, mps=True)
    monkeypatch.setenv(ENVIRONMENT, "cpu")
    assert pick_device() == torch.device("cpu")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    assert pick_device("auto") == torch.device("cuda")
    monkeypatch.setenv(ENVIRONMENT, "auto")
    assert pick_device() == torch.device("cuda")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "xpu"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected a device that this machine has, found '{name}'"):
        pick_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu cpu", "\N{SNOWMAN}"])
def test_a_name_that_is_no_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected a device such as cuda, cuda:1, mps, cpu or auto, found"):
        pick_device(name)
    monkeypatch.setenv(ENVIRONMENT, name)
    with pytest.raises(ValueError, match="expected a device such as"):
        pick_device()


@pytest.mark.parametrize("pays", [True, False])
def test_bf16_is_used_on_a_cpu_where_it_pays(monkeypatch: pytest.MonkeyPatch, pays: bool) -> None:
    monkeypatch.setattr(devices, "cpu_bf16_pays", lambda: pays)
    with autocast(torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu") is pays
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if pays else torch.float32)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("kind", ["mps", "meta"])
def test_other_devices_compute_in_full_precision(kind: str) -> None:
    assert isinstance(autocast(torch.device(kind)), contextlib.nullcontext)


def test_cuda_without_bf16_computes_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert isinstance(autocast(torch.device("cuda")), contextlib.nullcontext)


@pytest.mark.parametrize(("bf16", "fp32", "pays"), [(1.0, 2.0, True), (1.0, 1.1, False), (3.0, 1.0, False)])
def test_bf16_pays_when_a_product_is_clearly_faster(bf16: float, fp32: float, pays: bool) -> None:
    times = {torch.bfloat16: bf16, torch.float32: fp32}
    with mock.patch.object(devices, "product_time", times.__getitem__):
        assert cpu_bf16_pays.__wrapped__() is pays


def test_the_measurement_measures() -> None:
    assert 0 < product_time(torch.float32, size=64, repeats=2) < 1
    assert product_time(torch.float32, size=512, repeats=2) > product_time(torch.float32, size=8, repeats=2)
