"""The model against an independent NumPy forward; its cache, loss, precision and devices."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gptviz.attention
from gptviz.attention import KeyValueCache, additive_mask, fast_attention, plain_attention
from gptviz.config import GPTConfig
from gptviz.gpt import GPT
from gptviz.trace import STAGES, CellEdit, HeadGain, WhatIf
from gptviz.train import Optimizers, TrainConfig, train
from tests import reference
from tests.tiny import random_gpt

IDS = [5, 300, 17, 300, 0, 446, 91, 17, 17, 250, 3]
VARIANTS = {
    "the lesson's": {},
    "gelu after": {"activation": "gelu", "n_layers": 2},
    "one head": {"n_heads": 1, "n_layers": 1, "tied": True},
    "gpt-2": {"norm_order": "pre", "activation": "gelu_tanh", "tied": True},
    "relu before": {"norm_order": "pre", "d_ff": 40, "n_heads": 8},
}


@pytest.fixture(params=VARIANTS)
def gpt(request: pytest.FixtureRequest) -> GPT:
    """A random model of every kind, in float64."""
    return random_gpt(seed=7, **VARIANTS[request.param]).double()


def test_logits_are_those_of_an_independent_numpy_forward(gpt: GPT) -> None:
    expected = reference.forward(gpt, IDS)["logits"]
    ids = torch.tensor([IDS])
    assert np.abs(expected).max() > 1, "logits this small could not tell a right model from a wrong one"
    np.testing.assert_allclose(gpt(ids)[0], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(gpt(ids, attend=plain_attention())[0], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(gpt.float()(ids)[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("causal", "scaled"), [(True, False), (False, True), (False, False)])
def test_logits_with_other_rules_of_attention(gpt: GPT, causal: bool, scaled: bool) -> None:
    expected = reference.forward(gpt, IDS, causal, scaled)["logits"]
    for attend in (fast_attention(causal, scaled), plain_attention(causal, scaled)):
        np.testing.assert_allclose(gpt(torch.tensor([IDS]), attend=attend)[0], expected, rtol=0, atol=1e-9)


def test_both_forms_of_attention_give_the_same_loss_and_gradients(gpt: GPT) -> None:
    gpt = gpt.float().requires_grad_()
    ids, targets = torch.tensor([IDS, IDS[::-1]]), torch.tensor([[*IDS[1:], 1], [2, *IDS[1:]]])
    answers = []
    for attend in (fast_attention(), plain_attention()):
        loss = gpt.loss(ids, targets, attend)
        answers.append([loss, *torch.autograd.grad(loss, list(gpt.parameters()))])
    for fast, plain in zip(*answers, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_rows_of_a_batch_do_not_mix(gpt: GPT) -> None:
    rows = torch.tensor([IDS, IDS[::-1], [7] * len(IDS)])
    together = gpt(rows)
    for row, logits in zip(rows, together, strict=True):
        torch.testing.assert_close(gpt(row[None])[0], logits)


def test_the_future_does_not_reach_the_past(gpt: GPT) -> None:
    changed = [*IDS[:6], *[(i + 1) % 447 for i in IDS[6:]]]
    before, after = gpt(torch.tensor([IDS]))[0], gpt(torch.tensor([changed]))[0]
    torch.testing.assert_close(before[:6], after[:6])
    assert (before[6:] - after[6:]).abs().amax(-1).min() > 1e-3


@settings(deadline=None, max_examples=30)
@given(cuts=st.sets(st.integers(1, len(IDS) - 1)), name=st.sampled_from(sorted(VARIANTS)))
def test_a_cache_filled_in_any_pieces_gives_the_same_logits(cuts: set[int], name: str) -> None:
    gpt = random_gpt(seed=7, **VARIANTS[name])
    ids = torch.tensor([IDS, IDS[::-1]])
    caches = [KeyValueCache(len(IDS)) for _ in gpt.blocks]
    edges = [0, *sorted(cuts), len(IDS)]
    pieces = [gpt(ids[:, a:b], caches) for a, b in itertools.pairwise(edges)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), gpt(ids), rtol=0, atol=1e-4)


def test_more_tokens_than_the_context_are_refused() -> None:
    gpt = random_gpt(context=8)
    with pytest.raises(ValueError, match="9 tokens do not fit a context of 8"):
        gpt(torch.zeros(1, 9, dtype=torch.long))
    caches = [KeyValueCache(20) for _ in gpt.blocks]
    gpt(torch.zeros(1, 8, dtype=torch.long), caches)
    with pytest.raises(ValueError, match="9 tokens do not fit"):
        gpt(torch.zeros(1, 1, dtype=torch.long), caches)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "expected 1 to 8 tokens, found 0; type something"),
        ([1] * 9, "expected 1 to 8 tokens, found 9"),
        ([0, 447], "expected ids from 0 to 446, found 0 to 447"),
        ([-1, 3], "expected ids from 0 to 446, found -1 to 3"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_gpt(context=8).trace(ids)


def test_parameters_are_counted_by_the_formula() -> None:
    shape = {"vocab_size": 100, "context": 16, "n_layers": 2, "n_heads": 2, "d_model": 8, "d_ff": 20}
    block = 4 * 8 * 8 + 4 * 8 + 2 * 8 * 20 + 20 + 8 + 4 * 8  # attention, its biases, feed-forward, its biases, norms
    post = GPT(GPTConfig(**shape))
    assert post.count_parameters() == 100 * 8 + 16 * 8 + 2 * block + 8 * 100
    pre = GPT(GPTConfig(**shape, norm_order="pre", tied=True))
    assert pre.count_parameters() == 100 * 8 + 16 * 8 + 2 * block + 2 * 8
    assert pre.unembedding.weight is pre.token_embedding.weight


@pytest.mark.parametrize("norm_order", ["post", "pre"])
def test_a_new_model_knows_nothing(norm_order: str) -> None:
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(500, 32, 4, 4, 64, norm_order=norm_order))
    ids = torch.randint(500, (4, 33))
    assert gpt.loss(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(math.log(500), abs=0.15)


def test_loss_is_the_mean_surprise_over_the_targets_that_count(gpt: GPT) -> None:
    targets = [300, -1, 300, 0, -1, 91, 17, 17, 250, 3, -1]
    logits = reference.forward(gpt, IDS)["logits"]
    surprise = [-math.log(reference.softmax(logits[i])[target]) for i, target in enumerate(targets) if target >= 0]
    ours = gpt.float().loss(torch.tensor([IDS]), torch.tensor([targets]))
    assert ours.item() == pytest.approx(np.mean(surprise), rel=1e-5)


def test_bf16_autocast_is_the_same_model_in_less_precision(gpt: GPT) -> None:
    gpt = gpt.float().requires_grad_()
    ids, targets = torch.tensor([IDS]), torch.tensor([[*IDS[1:], 1]])
    for attend in (fast_attention(), plain_attention(mask=additive_mask(len(IDS), len(IDS)))):
        full = gpt.loss(ids, targets, attend)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = gpt(ids, attend=attend)
            loss = gpt.loss(ids, targets, attend)
        assert logits.dtype == torch.bfloat16
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(full.item(), rel=0.05)
        for name, gradient in zip(
            dict(gpt.named_parameters()), torch.autograd.grad(loss, list(gpt.parameters())), strict=True
        ):
            assert gradient.dtype == torch.float32, name
            assert gradient.isfinite().all(), name


def test_traces_and_caches_work_under_bf16_autocast(gpt: GPT) -> None:
    gpt, full = gpt.float(), gpt.trace(IDS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace = gpt.trace(IDS, WhatIf(edits=(CellEdit(0, 0, 3, 1, 0.5),), gains=(HeadGain(0, 0, 1.0),)))
        caches = [KeyValueCache(len(IDS)) for _ in gpt.blocks]
        pieces = [gpt(torch.tensor([part]), caches) for part in (IDS[:4], IDS[4:5], IDS[5:])]
    np.testing.assert_allclose(trace.weights.sum(-1), 1, atol=0.02)
    assert np.abs(trace.q - full.q)[0].max() < 0.2
    difference = (torch.cat(pieces, dim=1)[0].float().numpy() - full.logits)
    assert np.abs(difference).mean() < 0.1 * full.logits.std()


aten = torch.ops.aten
BROUGHT = {aten.lift_fresh.default, aten._to_copy.default}  # a NumPy array becomes a tensor; a tensor is moved
COUNTED = {aten._foreach_add_.Scalar, aten.add_.Tensor, aten._local_scalar_dense.default}


class OnlyOn(TorchDispatchMode):
    """Fails at the first operation that reads or makes a tensor on another device.

    Batches arrive as NumPy arrays, and AdamW and Muon count their steps in CPU scalars, on every device, so that
    a GPU is never waited for: these are allowed.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device_type = device
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, Tensor) and tensor.device.type != self.device_type and func not in BROUGHT:
                counter = tensor.ndim == 0 and func in COUNTED
                assert counter, f"{func} met a stray tensor on {tensor.device}, shape {tuple(tensor.shape)}"
        return out


@pytest.fixture(params=["post", "pre"])
def meta_gpt(request: pytest.FixtureRequest) -> GPT:
    """A model without memory: any product of it with a tensor on a real device is an error."""
    with torch.device("meta"):
        return GPT(GPTConfig(100, 16, 2, 2, 8, norm_order=request.param, tied=request.param == "pre"))


def every_stage(gpt: GPT) -> None:
    """All stages of passes that differ in every rule, on the device of `gpt`."""
    changes = {"gains": (HeadGain(1, 0, 0.5),), "edits": (CellEdit(0, 1, 5, 2, 0.3),)}
    for what_if in (WhatIf(), WhatIf(causal=False), WhatIf(scaled=False, **changes)):
        trace = gpt.trace(torch.zeros(7, dtype=torch.long, device="meta"), what_if)
        for stage in STAGES:
            assert trace.tensor(stage).device.type == "meta", stage
    caches = [KeyValueCache(8) for _ in gpt.blocks]
    for piece in (3, 1, 4):
        gpt(torch.zeros(1, piece, dtype=torch.long, device="meta"), caches)


def batches(step: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((3, 16), dtype=np.int64), np.full((3, 16), step)


def training_step(gpt: GPT, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step of the product's own loop. Its record needs numbers, which a meta tensor has not: the end."""
    done: list[float] = []
    step = Optimizers.step
    monkeypatch.setattr(Optimizers, "step", lambda self, rate: done.append(rate) or step(self, rate))
    with pytest.raises(RuntimeError, match="Cannot copy out of meta tensor"):
        next(train(gpt, batches, TrainConfig(steps=1, optimizer=optimizer)))
    assert len(done) == 1, "the step stopped before the weights moved"


def test_a_pass_with_every_stage_makes_no_tensor_elsewhere(meta_gpt: GPT) -> None:
    with OnlyOn("meta") as watch:
        every_stage(meta_gpt)
    assert watch.operations > 100


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_training_step_makes_no_tensor_elsewhere(
    meta_gpt: GPT, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OnlyOn("meta") as watch:
        training_step(meta_gpt, optimizer, monkeypatch)
    assert watch.operations > 100


def test_a_plain_training_step_makes_no_tensor_elsewhere(meta_gpt: GPT) -> None:
    with OnlyOn("meta"):
        ids = torch.zeros(3, 16, dtype=torch.long, device="meta")
        meta_gpt.loss(ids, ids, plain_attention(mask=additive_mask(16, 16, torch.device("meta")))).backward()
        Optimizers(meta_gpt, TrainConfig(steps=1)).step(0.1)


def stray_mask(t: int, s: int, device: torch.device | None = None) -> Tensor:
    """What `additive_mask` would be if it forgot the device."""
    return additive_mask(t, s)


def stray_positions(self: GPT, ids: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
    """What `embed` would be if it forgot the device."""
    positions = torch.arange(start, start + ids.size(1))
    return self.token_embedding(ids), self.position_embedding(positions)


@pytest.fixture(params=["mask", "positions"])
def stray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fault of the kind that the tests above are for."""
    if request.param == "mask":
        monkeypatch.setattr(gptviz.attention, "additive_mask", stray_mask)
        monkeypatch.setattr(gptviz.attention, "causal_mask", lambda t, s, device=None: stray_mask(t, s) == 0)
        monkeypatch.setattr(gptviz.train, "fast_attention", plain_attention)
    else:
        monkeypatch.setattr(GPT, "embed", stray_positions)
    yield


@pytest.mark.usefixtures("stray")
def test_a_stray_tensor_in_a_pass_would_be_seen(meta_gpt: GPT) -> None:
    with pytest.raises(AssertionError, match=r"stray tensor on cpu, shape \(7"), OnlyOn("meta"):
        every_stage(meta_gpt)


@pytest.mark.usefixtures("stray")
def test_a_stray_tensor_in_a_training_step_would_be_seen(meta_gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"stray tensor on cpu, shape \(16"), OnlyOn("meta"):
        training_step(meta_gpt, "adamw", monkeypatch)


def test_a_pass_changes_nothing_on_the_model(gpt: GPT) -> None:
    before = copy.deepcopy(gpt.state_dict())
    names = {name: sorted(vars(module)) for name, module in gpt.named_modules()}
    gpt.trace(IDS, WhatIf(causal=False, gains=(HeadGain(0, 0, 0.0),)))
    gpt(torch.tensor([IDS]))
    assert {name: sorted(vars(module)) for name, module in gpt.named_modules()} == names
    for name, value in gpt.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("tied", [False, True])
def test_an_untrained_model_is_unsure_and_its_first_block_reads_what_the_others_read(tied: bool) -> None:
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(500, 32, 2, 4, 64, tied=tied))
    trace = gpt.trace(list(range(32)))
    assert 0.1 < trace.logits.std() < 1.5  # about uniform over the vocabulary: nothing to unlearn
    assert 0.8 < trace.residual[0].std() < 1.2  # as after a norm
