"""One step of an optimiser on a copy of the model: what it should do to the loss, and what it does.

The copy is thrown away, the model itself only read. Knows nothing about figures or pages. Shapes: T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from gptviz.analysis.gradients import Parameters, fine, twin
from gptviz.analysis.losses import Losses, target_losses
from gptviz.gpt import GPT

Optimizer = Literal["sgd", "adamw"]

EPSILON = 1e-8  # of AdamW, as in PyTorch
WEIGHT_DECAY = 0.1  # of AdamW, on the matrices inside the blocks: as `gptviz.train` has it


def direction(gpt: GPT, gradients: Parameters, optimizer: Optimizer) -> Parameters:
    """What the first step subtracts from each parameter, for a learning rate of 1.

    "sgd" subtracts the gradient g. "adamw" (Loshchilov and Hutter 2019, algorithm 2) begins with no memory: its
    corrected means are g and g^2, so that it subtracts g / (|g| + eps), the sign of g wherever g is not tiny, and of
    the matrices inside the blocks a share of themselves.

    Raises:
        ValueError: for another optimiser.
    """
    if optimizer == "sgd":
        return gradients
    if optimizer != "adamw":
        raise ValueError(f"expected the optimizer sgd or adamw, found {optimizer!r}")
    return {name: adamw(name, weight.detach(), gradients[name]) for name, weight in gpt.named_parameters()}


def adamw(name: str, weight: Tensor, gradient: Tensor) -> Tensor:
    """`direction` for one parameter."""
    step = gradient / (gradient.abs() + EPSILON)
    inside = name.startswith("blocks.") and weight.ndim == 2
    return step + WEIGHT_DECAY * weight if inside else step


def slope(gradients: Parameters, step: Parameters) -> float:
    """How fast the loss falls along a step, nats for a learning rate of 1: the inner product of gradient and step.

    A learning rate r should change the loss by about -r times this, the first term of its Taylor series. For plain
    gradient descent it is ||g||^2.
    """
    return sum(torch.sum(gradient * step[name]).item() for name, gradient in gradients.items())


@torch.no_grad()
def losses_after(gpt: GPT, step: Parameters, rate: float, ids: Sequence[int]) -> Losses:
    """The losses of ids (T,) once a copy of `gpt` has taken the step with a learning rate.

    Not finite where the step was so large that numbers overflow.
    """
    moved = {name: torch.sub(weight, step[name], alpha=rate) for name, weight in gpt.named_parameters()}
    logits = twin(gpt, moved).trace(ids).tensor("logits")  # (T, V), by the same path as for the losses before
    return target_losses(logits.to(fine(logits)).cpu().numpy(), ids)
