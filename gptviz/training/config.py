"""How to train, as frozen data that checks itself, and the learning rate of every step. Knows nothing about models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Schedule = Literal["sqrt", "cosine", "constant"]
OptimizerName = Literal["adamw", "muon"]
Precision = Literal["auto", "bfloat16", "float32"]
CHOICES = {"optimizer": get_args(OptimizerName), "schedule": get_args(Schedule), "precision": get_args(Precision)}


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        steps: optimiser steps in all.
        learning_rate: the largest, reached after `warmup` steps.
        warmup: steps over which the learning rate rises from nothing, evenly.
        schedule: what follows the warm-up. "sqrt" keeps the rate until the last `decay` share of the steps, over
            which it falls to zero as 1 - sqrt(progress) (Hägele et al. 2024, section 4); "cosine" lets it fall from
            there to `lowest` on half a cosine (Loshchilov and Hutter 2017, equation 5, without restarts);
            "constant" keeps it.
        decay: see `schedule`.
        lowest: where a cosine ends, as a share of `learning_rate`.
        embedding_rate: learning rate of the token and position vectors, as a multiple of `learning_rate`.
        weight_decay: decoupled, on the matrices inside the blocks.
        clip: largest norm of the gradient.
        accumulate: parts that a batch is cut into, one after another: each needs its share of the memory, and their
            gradients add up to that of the whole batch.
        causal: hide what comes later from every query. Without it a GPT is trained unmasked: to see why it must not.
        dropout: share of what every sub-layer adds that is set to zero, in a Transformer (Vaswani et al. 2017, 5.4).
        smoothing: share of the targets' probability that is spread over the vocabulary, in a Transformer (ibid.).
        precision: of matrix products. "auto" takes bfloat16 where it is faster, which is measured once a run.
        compile: fuse the step with `torch.compile`; pays for runs longer than about a minute.
        eval_every: steps between evaluations.
        save_every: steps between saves of the state.
        snapshots: how many times the weights are kept on the way, at steps that grow by a factor; 0 for never.

    Raises:
        ValueError: on values that no run can have.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.3
    embedding_rate: float = 1.0
    weight_decay: float = 0.1
    optimizer: OptimizerName = "adamw"
    clip: float = 1.0
    dropout: float = 0.0
    smoothing: float = 0.0
    seed: int = 0
    compile: bool = False
    eval_every: int = 500
    save_every: int = 500
    schedule: Schedule = "sqrt"
    lowest: float = 0.0
    accumulate: int = 1
    causal: bool = True
    precision: Precision = "auto"
    snapshots: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                first, last = ", ".join(choices[:-1]), choices[-1]
                raise ValueError(f"expected the {name} {first} or {last}, found {getattr(self, name)!r}")
        if not (0 <= self.dropout < 1 and 0 <= self.smoothing < 1):
            raise ValueError(
                f"expected dropout and smoothing from 0 to below 1, found {self.dropout} and {self.smoothing}"
            )
        if not 0 <= self.lowest <= 1:
            raise ValueError(f"expected lowest from 0 to 1, a share of the learning rate, found {self.lowest}")
        for name in ("accumulate", "eval_every", "save_every"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"expected {name} of 1 or more, found {getattr(self, name)}")

        if self.snapshots < 0 or self.snapshots == 1:
            raise ValueError(f"expected snapshots of 0, or of 2 and more, found {self.snapshots}")

    def rate(self, step: int) -> float:
        """Learning rate of a step that is counted from 0."""
        up = min(1.0, (step + 1) / max(1, self.warmup))
        after = {"sqrt": self.sqrt, "cosine": self.cosine, "constant": lambda step: 1.0}[self.schedule]
        return self.learning_rate * up * after(step)

    def sqrt(self, step: int) -> float:
        """1 up to the last `decay` share of the steps, then 1 - sqrt(progress)."""
        start = (1 - self.decay) * self.steps
        return 1 - math.sqrt(max(0.0, step - start) / max(1.0, self.steps - start))

    def cosine(self, step: int) -> float:
        """From 1 after the warm-up to `lowest` after the last step, on half a cosine."""
        progress = max(0.0, step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lowest + (1 - self.lowest) * (1 + math.cos(math.pi * progress)) / 2

    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps after which the weights are kept: 0 first, `steps` last, those between grow by a factor.

        Fewer than `snapshots` where there are fewer steps.
        """
        count = min(self.snapshots, self.steps + 1)
        kept = [0][:count]
        while len(kept) < count:
            left = count - len(kept)
            before = max(kept[-1], self.steps / 600)  # so that the first ones do not all look like 0
            kept.append(max(kept[-1] + 1, round(before * (self.steps / before) ** (1 / left))))
        return tuple(kept)
