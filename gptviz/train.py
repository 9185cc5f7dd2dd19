"""Training as a generator of step records. Knows no screen and no corpus: it is given batches.

The state is saved with the optimiser and the step, and a batch depends on nothing but the step: an interrupted run
goes on to the same losses, and several processes go through the same losses as one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._functorch.config
from torch import Tensor

from gptviz.attention import Attend, Kernel, additive_mask, fast_attention, plain_attention
from gptviz.device import autocast, bf16_pays, memory_used
from gptviz.seq2seq import PADDING, Transformer
from gptviz.training.config import TrainConfig
from gptviz.training.optimizers import Optimizers
from gptviz.training.ranks import ALONE, Model, Part, Ranks
from gptviz.training.records import StepRecord, record_dict
from gptviz.training.state import Progress, resume, save

__all__ = ["Batches", "Diverged", "Model", "Optimizers", "StepRecord", "TrainConfig", "record_dict", "train"]

Batches = Callable[[int], tuple[np.ndarray, ...]]
"""step -> inputs (B, T), targets (B, T), for a Transformer after sources (B, S); targets of -1 do not count."""

Objective = Callable[[Part, int], Tensor]
"""(part of a batch, step) -> what is minimised, ()."""

MOST_SHAPES = 32  # of batches that a compiled step takes; each is compiled by itself


class Diverged(ValueError):
    """A run whose loss or gradient is no longer a number: says at which step, what is kept, and the remedy."""


def train(
    model: Model,
    batches: Batches,
    config: TrainConfig,
    state: Path | None = None,
    evaluate: Callable[[Any], float] | None = None,
    *,
    stop: Callable[[], bool] | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[StepRecord]:
    """Train `model` in place and yield a record for every step.

    Args:
        model: on the device to train on, see `Ranks.place`.
        batches: the data, by step: of all processes together.
        config: how.
        state: file to save to and, if it is there, to resume from.
        evaluate: held-out loss in nats per token, called every `config.eval_every` steps and at the end.
        stop: asked after every step; once it says yes, the state is saved and that step was the last.
        ranks: this process among those that train together.

    Raises:
        Diverged: when a loss or a gradient is not finite; the file keeps the last state that can be gone on from.
        ValueError: for a state of another run, and for a config that does not go with the model.
    """
    torch.manual_seed(config.seed)
    check(model, config, ranks)
    optimizers = Optimizers(model, config)
    step, tokens, bf16 = resume(state, model, optimizers) if state is not None and state.exists() else Progress()
    bf16 = chosen_precision(model, config, ranks, bf16)
    backward = backward_pass(model, config, batches(step)[0].shape[1], ranks, bf16)
    model.train()
    while step < config.steps:
        start = time.perf_counter()
        batch = batches(step)
        loss = backward(batch, step)
        norms = optimizers.clip(config.clip)
        rate = config.rate(step)
        optimizers.step(rate)
        stopped = float(stop is not None and stop())
        shared = ranks.total(torch.stack([loss, loss.new_tensor(stopped)]))
        loss, stopped, norm, *parts = torch.cat([shared, norms]).tolist()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(explanation(step + 1, loss, norm, config, state))
        count = int((batch[-2] != PADDING).sum())  # of the inputs
        step, tokens = step + 1, tokens + count
        speed = count / (time.perf_counter() - start)
        last = step == config.steps or stopped > 0
        valid = evaluate(model) if evaluate and (last or step % config.eval_every == 0) else None
        if state is not None and (last or step % config.save_every == 0):
            check_next(model, batches(step), step, config, ranks, state)
            save(state, model, optimizers, Progress(step, tokens, bf16), ranks)
        of_parts = dict(zip(optimizers.groups, parts, strict=True))
        yield StepRecord(step, tokens, loss, rate, norm, speed, valid, of_parts, memory_used(model.device))
        if stopped:
            return


def check(model: Model, config: TrainConfig, ranks: Ranks) -> None:
    """Raise a `ValueError` for a config that does not go with the model or the engine."""
    if isinstance(model, Transformer):
        if not config.causal:
            raise ValueError("expected causal for an encoder-decoder, found it off: only a GPT is trained unmasked")
    elif config.dropout or config.smoothing:
        raise ValueError("expected dropout and smoothing of 0 for a GPT, which has neither; leave them out")
    if ranks.shard and config.optimizer != "adamw":
        raise ValueError(
            f"expected the optimizer adamw with FSDP, found {config.optimizer}, which needs every matrix as a whole; "
            "train without FSDP, or set optimizer to adamw in the recipe"
        )


def chosen_precision(model: Model, config: TrainConfig, ranks: Ranks, before: bool | None) -> bool:
    """Whether to compute in bf16: what the config says, else as the run began, else what pays on the first process.

    A measurement decides only once: a run that went on in another precision would see other losses.
    """
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if before is not None:
        return before
    pays = float(ranks.main and bf16_pays(model.device))
    if ranks.world == 1:
        return pays > 0
    return ranks.total(torch.tensor([pays], device=model.device)).item() > 0


def explanation(step: int, loss: float, norm: float, config: TrainConfig, state: Path | None) -> str:
    """What a person needs to know about a run that diverged."""
    kept = "nothing was saved before"
    if state is not None and state.exists():
        kept = f"{state} holds the last good state, and the same command goes on from it"
    return (
        f"the run diverged: expected finite numbers at step {step}, found a loss of {loss} and a gradient of norm "
        f"{norm}; {kept}; lower learning_rate, now {config.learning_rate:g}, or make warmup longer, "
        f"now {config.warmup} steps"
    )


# Forward and backward -------------------------------------------------------------------------------------------------


def kernel_for(device: torch.device, t: int, causal: bool = True) -> Attend:
    """Attention for rows of `t` tokens: on a CPU written out, which fuses when compiled; elsewhere the fused kernel.

    The mask is made here, once: built inside the compiled step it cost a tenth of the step.
    """
    if device.type != "cpu":
        return fast_attention(causal)
    return plain_attention(causal, mask=additive_mask(t, t, device) if causal else None)


def objective(model: Model, config: TrainConfig, t: int, loss_of: Callable[..., Tensor]) -> Objective:
    """What is minimised, by the model's `loss_of`; rows of a GPT have `t` tokens."""
    if isinstance(model, Transformer):
        kernel: Kernel = plain_attention if model.device.type == "cpu" else fast_attention

        def translation_loss(part: Part, step: int) -> Tensor:
            source, inputs, targets = part.tensors
            seed = (config.seed, step) if part.of == 1 else (config.seed, step, part.number)
            noise = model.draw_noise(source, inputs, config.dropout, seed)
            return loss_of(source, inputs, targets, kernel, noise, config.smoothing)

        return translation_loss
    attend = kernel_for(model.device, t, config.causal)
    return lambda part, step: loss_of(*part.tensors, attend)


def backward_pass(
    model: Model, config: TrainConfig, t: int, ranks: Ranks, bf16: bool
) -> Callable[[Sequence[np.ndarray], int], Tensor]:
    """(batch, step) -> this process's share of the loss, (), after the gradients of the whole batch were added up."""
    loss_of, synchronise = ranks.engine(model, compiled(model.loss) if config.compile else model.loss)
    minimised = objective(model, config, t, loss_of)

    def backward(batch: Sequence[np.ndarray], step: int) -> Tensor:
        parts = ranks.parts(batch, config.accumulate, model.device)
        total = 0.0
        for part in parts:
            with synchronise(part is parts[-1]):
                with autocast(model.device, bf16):
                    loss = minimised(part, step) * part.weight
                (loss * ranks.world).backward()  # the engines average over processes, and the weights add up to 1
            total = total + loss.detach()
        return total

    return backward


@torch.no_grad()
def check_next(
    model: Model, batch: Sequence[np.ndarray], step: int, config: TrainConfig, ranks: Ranks, state: Path
) -> None:
    """Raise `Diverged` if the run cannot go on from here: a state that is saved has a finite loss on what follows."""
    part = ranks.parts(batch, config.accumulate, model.device)[0]
    with autocast(model.device):
        loss = objective(model, config, batch[0].shape[1], model.loss)(part, step)
    (total,) = ranks.total(loss[None].clone()).tolist()
    if not math.isfinite(total):
        raise Diverged(explanation(step + 1, total, math.nan, config, state))


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
