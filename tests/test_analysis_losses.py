"""Losses by position and the gradient on logits, against plain loops and PyTorch in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from gptviz.analysis import losses
from gptviz.checkpoint import LanguageModel

LOGITS = st.integers(2, 30).flatmap(lambda v: arrays(np.float64, v, elements=st.floats(-30, 30)))


def test_targets_are_the_sentence_shifted_by_one_and_the_loss_is_pytorchs(tiny_model: LanguageModel) -> None:
    ids, _ = tiny_model.encode("My dog has fleas and the cat was happy")
    logits = tiny_model.gpt.trace(ids).logits
    found = losses.target_losses(logits, ids)
    assert found.inputs.tolist() == ids[:-1]
    assert found.targets.tolist() == ids[1:]
    exact = torch.from_numpy(logits.astype(np.float64))[:-1]
    nats = F.cross_entropy(exact, torch.tensor(ids[1:]), reduction="none").numpy()
    np.testing.assert_allclose(found.nats, nats, rtol=1e-12)
    np.testing.assert_allclose(found.probability, np.exp(-nats), rtol=1e-12)
    assert found.mean == pytest.approx(nats.mean(), rel=1e-12)
    assert found.bits == pytest.approx(math.log2(math.e) * nats.mean(), rel=1e-12)
    assert found.perplexity == pytest.approx(np.prod(1 / found.probability) ** (1 / len(nats)), rel=1e-9)
    by_hand = [1 + sum(other > row[target] for other in row) for row, target in zip(logits[:-1], ids[1:], strict=True)]
    assert found.rank.tolist() == by_hand
    batch = torch.tensor([ids])
    assert found.mean == pytest.approx(tiny_model.gpt.loss(batch[:, :-1], batch[:, 1:]).item(), rel=1e-6)


def test_one_token_has_no_target() -> None:
    found = losses.target_losses(np.zeros((1, 5)), [3])
    assert len(found.inputs) == len(found.targets) == len(found.nats) == len(found.rank) == 0


def test_a_loss_beyond_all_numbers_has_an_infinite_perplexity() -> None:
    logits = np.array([[1e5, 0.0], [0.0, 0.0]])
    assert losses.target_losses(logits, [0, 1]).perplexity == math.inf


@given(LOGITS, st.data())
def test_the_gradient_on_logits_is_autograds(logits: np.ndarray, data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    gradient = losses.logit_gradient(logits, target)
    z = torch.tensor(logits, requires_grad=True)
    (expected,) = torch.autograd.grad(F.cross_entropy(z[None], torch.tensor([target])), z)
    np.testing.assert_allclose(gradient, expected.numpy(), atol=1e-12)
    assert gradient.sum() == pytest.approx(0, abs=1e-12)


def test_the_strongest_come_first_whatever_their_sign() -> None:
    gradient = np.array([0.1, -0.6, 0.5, 0.0, -0.1])
    assert losses.strongest(gradient, 4).tolist() == [1, 2, 0, 4]
    assert losses.strongest(gradient, 0).tolist() == []
    assert len(losses.strongest(gradient, 99)) == 5
