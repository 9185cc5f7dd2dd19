"""One step of an optimiser: against PyTorch's optimisers, training's own, and the first term of the Taylor series."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from gptviz.analysis import gradients, one_step
from gptviz.analysis.losses import target_losses
from gptviz.checkpoint import LanguageModel
from gptviz.gpt import GPT
from gptviz.train import Optimizers, TrainConfig
from tests.tiny import random_gpt

IDS = [40, 7, 200, 7, 31, 99, 7]
SHAPES = [{}, {"tied": True}, {"norm_order": "pre", "activation": "gelu"}]


@pytest.fixture(scope="module", params=SHAPES, ids=["post", "tied", "pre"])
def gpt(request: pytest.FixtureRequest) -> GPT:
    """In float64."""
    return random_gpt(seed=9, n_layers=2, **request.param).double()


def trained(gpt: GPT) -> tuple[GPT, torch.Tensor]:
    """A copy that may be changed, with its gradients, and its loss."""
    model = copy.deepcopy(gpt).requires_grad_()
    batch = torch.tensor([IDS])
    logits = model(batch[:, :-1])[0]
    loss = torch.nn.functional.cross_entropy(logits, batch[0, 1:])
    loss.backward()
    return model, loss.detach()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("rate", [1e-4, 0.05])
def test_the_step_is_that_of_the_optimisers_one_trains_with(gpt: GPT, optimizer: str, rate: float) -> None:
    model, _ = trained(gpt)
    if optimizer == "sgd":
        torch.optim.SGD(model.parameters(), lr=rate).step()
    else:
        Optimizers(model, TrainConfig(steps=1)).step(rate)
    found = gradients.backward(gpt, IDS).parameters
    step = one_step.direction(gpt, found, optimizer)
    for name, after in model.named_parameters():
        before = gpt.get_parameter(name)
        # Keys have a bias whose gradient is 0 but for rounding, which AdamW divides by its epsilon.
        np.testing.assert_allclose(before - rate * step[name], after.detach(), rtol=1e-9, atol=1e-8, err_msg=name)
    expected = target_losses(model(torch.tensor([IDS]))[0].detach().numpy(), IDS)
    np.testing.assert_allclose(one_step.losses_after(gpt, step, rate, IDS).nats, expected.nats, rtol=1e-8)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_at_tiny_rates_the_loss_changes_as_the_slope_predicts(gpt: GPT, optimizer: str) -> None:
    found = gradients.backward(gpt, IDS)
    step = one_step.direction(gpt, found.parameters, optimizer)
    slope = one_step.slope(found.parameters, step)
    if optimizer == "sgd":
        assert slope == pytest.approx(gradients.norms(found.parameters, gpt.config).total ** 2, rel=1e-12)
    misses = []
    for rate in (1e-6, 1e-7):
        change = one_step.losses_after(gpt, step, rate, IDS).mean - found.loss
        misses.append(abs(change + rate * slope))
        assert change == pytest.approx(-rate * slope, rel=2e-2)
    assert misses[1] < misses[0] / 50  # what is left falls with the square of the rate


def test_a_rate_of_nothing_changes_nothing(tiny_model: LanguageModel) -> None:
    found = gradients.backward(tiny_model.gpt, IDS)
    before = target_losses(tiny_model.gpt.trace(IDS).logits, IDS)
    after = one_step.losses_after(tiny_model.gpt, found.parameters, 0.0, IDS)
    np.testing.assert_array_equal(before.nats, after.nats)


def test_an_unknown_optimiser_is_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="sgd or adamw"):
        one_step.direction(tiny_model.gpt, {}, "lion")
