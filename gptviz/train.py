"""Training as a generator of step records. Knows no screen and no corpus: it is given batches.

The state is saved with the optimiser and the step, and a batch depends on nothing but the step: an interrupted run
goes on to the same losses.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._functorch.config
from torch import Tensor, nn

from gptviz.attention import Attend, MultiHeadAttention, additive_mask, fast_attention, plain_attention
from gptviz.device import autocast
from gptviz.gpt import GPT
from gptviz.seq2seq import PADDING, Transformer

Model = GPT | Transformer
Batches = Callable[[int], tuple[np.ndarray, ...]]
"""step -> inputs (B, T), targets (B, T), for a Transformer after sources (B, S); targets of -1 do not count."""

MOST_SHAPES = 32  # of batches that a compiled step takes; each is compiled by itself


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        steps: optimiser steps in all.
        learning_rate: of the plateau: it is reached after `warmup` steps and kept until the last `decay` share of
            the steps, over which it falls to zero as 1 - sqrt(progress) (Hägele et al. 2024, section 4).
        embedding_rate: learning rate of the token and position vectors, as a multiple of `learning_rate`.
        weight_decay: decoupled, on the matrices inside the blocks.
        clip: largest norm of the gradient.
        dropout: share of what every sub-layer adds that is set to zero, in a Transformer (Vaswani et al. 2017, 5.4).
        smoothing: share of the targets' probability that is spread over the vocabulary, in a Transformer (ibid.).
        compile: fuse the step with `torch.compile`; pays for runs longer than about a minute.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.3
    embedding_rate: float = 1.0
    weight_decay: float = 0.1
    optimizer: str = "adamw"
    clip: float = 1.0
    dropout: float = 0.0
    smoothing: float = 0.0
    seed: int = 0
    compile: bool = False
    eval_every: int = 500
    save_every: int = 500

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"expected the optimizer adamw or muon, found {self.optimizer!r}")
        if not (0 <= self.dropout < 1 and 0 <= self.smoothing < 1):
            raise ValueError(
                f"expected dropout and smoothing from 0 to below 1, found {self.dropout} and {self.smoothing}"
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step that is counted from 0."""
        up = min(1.0, (step + 1) / max(1, self.warmup))
        start = (1 - self.decay) * self.steps
        down = 1 - math.sqrt(max(0.0, step - start) / max(1.0, self.steps - start))
        return self.learning_rate * up * down


@dataclass(frozen=True)
class StepRecord:
    """What one optimiser step did."""

    step: int  # counted from 1
    tokens: int  # seen since the beginning of the run
    loss: float  # nats per token
    learning_rate: float
    gradient_norm: float  # before clipping
    tokens_per_second: float
    valid_loss: float | None = None  # where an evaluation was due


def kernel_for(device: torch.device, t: int) -> Attend:
    """Attention for rows of `t` tokens: on a CPU written out, which fuses when compiled; elsewhere the fused kernel.

    The mask is made here, once: built inside the compiled step it cost a tenth of the step.
    """
    if device.type != "cpu":
        return fast_attention()
    return plain_attention(mask=additive_mask(t, t, device))


class Optimizers:
    """AdamW, or Muon for the matrices inside the blocks with AdamW for the rest, behind one step.

    Muon makes every singular value of an update equal, matrix by matrix. Queries, keys and values lie in one matrix,
    in which the gradient of the values outweighs the others by far; it is given to Muon as three, or attention would
    hardly learn where to look.
    """

    def __init__(self, model: Model, config: TrainConfig) -> None:
        self.parameters = list(model.parameters())
        self.parts: list[tuple[nn.Parameter, nn.Parameter, int]] = []  # part, whole, which third of it
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        matrices = [module.weight for module in linear if module.bias is not None]  # without one: to the vocabulary
        tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
        chosen = {id(p) for p in (*matrices, *tables)}
        adam = [
            {"params": [p for p in self.parameters if id(p) not in chosen], "weight_decay": 0.0, "multiple": 1.0},
            {"params": tables, "weight_decay": 0.0, "multiple": config.embedding_rate},
        ]
        if config.optimizer != "muon":
            adam.append({"params": matrices, "weight_decay": config.weight_decay})
        self.all: list[torch.optim.Optimizer] = [torch.optim.AdamW(adam, betas=(0.9, 0.95))]
        if config.optimizer == "muon":
            hidden = self.split(model, matrices)
            self.all.append(
                torch.optim.Muon(hidden, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
            )

    def split(self, model: Model, matrices: list[nn.Parameter]) -> list[nn.Parameter]:
        """`matrices` with each joint q, k, v matrix as three that share its memory."""
        joint = {id(module.qkv.weight) for module in model.modules() if isinstance(module, MultiHeadAttention)}
        for whole in matrices:
            if id(whole) in joint:
                self.parts += [(nn.Parameter(part), whole, i) for i, part in enumerate(whole.data.chunk(3))]
        return [p for p in matrices if id(p) not in joint] + [part for part, _, _ in self.parts]

    def step(self, rate: float) -> None:
        """Move the weights with learning rate `rate`, and forget the gradients."""
        for part, whole, i in self.parts:
            part.grad = None if whole.grad is None else whole.grad.chunk(3)[i]
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("multiple", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.grad = None


def objective(model: Model, config: TrainConfig, t: int) -> Callable[[Sequence[Tensor], int], Tensor]:
    """What is minimised: (batch, step) -> loss (); rows of a GPT have `t` tokens."""
    loss_of = compiled(model.loss) if config.compile else model.loss
    if isinstance(model, Transformer):
        kernel = plain_attention if model.device.type == "cpu" else fast_attention

        def translation_loss(batch: Sequence[Tensor], step: int) -> Tensor:
            source, inputs, targets = batch
            noise = model.draw_noise(source, inputs, config.dropout, (config.seed, step))
            return loss_of(source, inputs, targets, kernel, noise, config.smoothing)

        return translation_loss
    if config.dropout or config.smoothing:
        raise ValueError("expected dropout and smoothing of 0 for a GPT, which has neither; leave them out")
    attend = kernel_for(model.device, t)
    return lambda batch, step: loss_of(*batch, attend)


def train(
    model: Model,
    batches: Batches,
    config: TrainConfig,
    state: Path | None = None,
    evaluate: Callable[[Any], float] | None = None,
) -> Iterator[StepRecord]:
    """Train `model` in place and yield a record for every step.

    Args:
        model: on the device to train on.
        batches: the data, by step.
        config: how.
        state: file to save to and, if it is there, to resume from.
        evaluate: held-out loss in nats per token, called every `config.eval_every` steps and at the end.
    """
    torch.manual_seed(config.seed)
    optimizers = Optimizers(model, config)
    step = tokens = 0
    if state is not None and state.exists():
        step, tokens = resume(state, model, optimizers)
    loss_of = objective(model, config, batches(step)[0].shape[1])
    model.train()
    while step < config.steps:
        start = time.perf_counter()
        batch = [torch.from_numpy(a).to(model.device) for a in batches(step)]
        with autocast(model.device):
            loss = loss_of(batch, step)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        rate = config.rate(step)
        optimizers.step(rate)
        count = int((batch[-2] != PADDING).sum())  # of the inputs
        step, tokens = step + 1, tokens + count
        speed = count / (time.perf_counter() - start)
        last = step == config.steps
        valid = evaluate(model) if evaluate and (last or step % config.eval_every == 0) else None
        if state is not None and (last or step % config.save_every == 0):
            save(state, model, optimizers, step, tokens)
        yield StepRecord(step, tokens, loss.item(), rate, float(norm), speed, valid)


def compiled(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`loss`, fused by `torch.compile`.

    Cheap element-wise work is done again in the backward pass: PyTorch's default keeps ReLU's sign as booleans,
    whose stores do not vectorise on a CPU (a quarter of the step at d 256). Shapes are compiled one by one: code for
    any shape took eight times as long.
    """
    from torch._dynamo import config as dynamo  # takes seconds, as does compiling

    fused = torch.compile(loss, dynamic=False)

    def call(*args: object) -> Tensor:
        shapes = dynamo.patch(recompile_limit=MOST_SHAPES)
        with shapes, torch._functorch.config.patch(aggressive_recomputation=True):
            return fused(*args)

    return call


def save(path: Path, model: Model, optimizers: Optimizers, step: int, tokens: int) -> None:
    """Write the whole state, or nothing: a half-written file never takes the place of a good one."""
    state = {
        "config": model.config.to_dict(),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers.all],
        "step": step,
        "tokens": tokens,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def resume(path: Path, model: Model, optimizers: Optimizers) -> tuple[int, int]:
    """Read a state that `save` wrote into the model and the optimisers; returns (step, tokens)."""
    state: dict[str, Any] = torch.load(path, map_location=model.device, weights_only=True)
    if state["config"] != model.config.to_dict():
        raise ValueError(
            f"{path.name} holds a model of shape {state['config']}, expected {model.config.to_dict()}; "
            "choose another run folder, or the recipe that this run began with"
        )
    if len(state["optimizers"]) != len(optimizers.all):
        raise ValueError(f"{path.name} was saved by another optimizer; resume with the one that this run began with")
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers.all, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["tokens"]


def record_dict(record: StepRecord) -> dict[str, Any]:
    """A record as plain JSON values."""
    return dataclasses.asdict(record)
