"""Processes that train one model together, on PyTorch's own engines: DistributedDataParallel, or FSDP for large ones.

`torchrun` starts them and says who is who. Every process makes the batch of a step by itself, for it depends on
nothing but the step, and takes its rows of it: together they see what one process alone would see.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gptviz.device import pick_device
from gptviz.gpt import GPT
from gptviz.seq2seq import PADDING, Transformer

Model = GPT | Transformer
PATIENCE = timedelta(hours=2)  # the others wait while the first process reads the texts
Synchronise = Callable[[bool], AbstractContextManager]
"""(is this the last part of a batch?) -> around its forward and backward pass, so that gradients are sent once."""


class Part(NamedTuple):
    """Some rows of a batch: what one forward and backward pass sees."""

    tensors: tuple[Tensor, ...]  # as the batch has them: inputs (B, T), targets (B, T)
    weight: float  # share of the batch's targets that it holds
    number: int  # which part of the batch it is
    of: int  # how many there are


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Args:
        rank: which one it is, from 0.
        world: how many there are.
        shard: every process holds a part of the weights, the gradients and the moments (FSDP), instead of a copy.
        device: where this one computes; None where it is alone, and the model says it.
    """

    rank: int = 0
    world: int = 1
    shard: bool = False
    device: torch.device | None = None

    @property
    def main(self) -> bool:
        """It is the one that writes files and prints."""
        return self.rank == 0

    def place(self, model: Model, device: torch.device) -> Model:
        """`model` on the device, or with `shard` as the part of it that this process holds."""
        return shard_model(model, device) if self.shard else model.to(device)

    def whole_model(self, model: Model) -> Model:
        """`model`, or where it is in shards a whole one of the same weights; those of the first process count."""
        if not self.shard:
            return model
        weights = self.whole(model.state_dict())
        plain = (Transformer if isinstance(model, Transformer) else GPT)(model.config)
        if self.main:
            plain.load_state_dict(weights)
        return plain

    def whole(self, tree: Any) -> Any:
        """`tree` with every tensor that is in shards brought together, on the CPU of the first process."""
        if isinstance(tree, dict):
            return {name: self.whole(value) for name, value in tree.items()}
        if isinstance(tree, list):
            return [self.whole(value) for value in tree]
        if not hasattr(tree, "full_tensor"):
            return tree
        full = tree.full_tensor()  # every process takes part
        return full.cpu() if self.main else None

    def engine(self, model: Model, loss: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], Synchronise]:
        """`loss` such that its backward pass averages the gradients of all processes, and when to do so."""
        if self.shard:

            @contextlib.contextmanager
            def sharded(last: bool) -> Iterator[None]:
                model.set_requires_gradient_sync(last)
                yield

            return loss, sharded
        if self.world == 1:
            return loss, lambda last: contextlib.nullcontext()
        place = model.device
        copies = nn.parallel.DistributedDataParallel(
            Loss(model, loss), device_ids=[place.index] if place.type == "cuda" else None
        )
        return copies, lambda last: contextlib.nullcontext() if last else copies.no_sync()

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of (N,) numbers."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def wait_for_first(self) -> AbstractContextManager:
        """Around what the first process does before all others: the others come in once it is through."""
        return in_turn() if self.world > 1 else contextlib.nullcontext()

    def parts(self, batch: Sequence[np.ndarray], accumulate: int, device: torch.device) -> list[Part]:
        """The rows of this process, cut into `accumulate` parts; weights of all parts of all processes add up to 1.

        Raises:
            ValueError: for fewer rows than parts, and for a part that holds no target.
        """
        count = self.world * accumulate
        if len(batch[0]) < count:
            raise ValueError(
                f"expected {count} rows or more in a batch, one for each of {self.world} processes times {accumulate} "
                f"parts, found {len(batch[0])}; give the recipe more rows, or accumulate less"
            )
        pieces = list(zip(*(np.array_split(array, count) for array in batch), strict=True))
        targets = [int((piece[-1] != PADDING).sum()) for piece in pieces]
        if not all(targets):
            raise ValueError("expected targets in every part of a batch, found one without; accumulate less")
        parts = []
        for number in range(self.rank * accumulate, (self.rank + 1) * accumulate):
            tensors = tuple(torch.from_numpy(array).to(device) for array in pieces[number])
            parts.append(Part(tensors, targets[number] / sum(targets), number, count))
        return parts


ALONE = Ranks()


def placed_as(value: Any, like: Tensor) -> Any:
    """A whole tensor as shards, where `like` is a tensor of this shape in shards; anything else as it is."""
    if not hasattr(like, "full_tensor") or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)  # all have the whole one


class Loss(nn.Module):
    """A model whose forward pass is its loss: the engines of PyTorch watch forward passes."""

    def __init__(self, model: Model, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *args: Any) -> Tensor:
        """The loss, ()."""
        return self.loss(*args)


@contextlib.contextmanager
def joined(device: str | None = None, shard: bool = False) -> Iterator[Ranks]:
    """Meet the other processes that `torchrun` started, or be alone where it did not start this one.

    Args:
        device: as for `pick_device`; of several GPUs each process of a machine takes its own.
        shard: train with FSDP.

    Raises:
        ValueError: for `shard` without torchrun, and for a device on which processes cannot meet.
    """
    if "RANK" not in os.environ:
        if shard:
            raise ValueError("expected several processes for FSDP, found one; start it with torchrun")
        yield ALONE
        return
    place = pick_device(device)
    if place.type not in ("cuda", "cpu"):
        raise ValueError(f"expected cuda or cpu for several processes, found {place}; leave torchrun out")
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    torch.distributed.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size(), shard, place)
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """The block, in the first process before all others."""
    first = torch.distributed.get_rank() == 0
    if not first:
        torch.distributed.barrier()
    yield
    if first:
        torch.distributed.barrier()


def shard_model(model: Model, device: torch.device) -> Model:
    """`model`, which may be on the CPU, as shards of its blocks on the devices of all processes (FSDP2).

    Its `loss` brings the weights of a block together when it comes to it, so that no device ever holds all of them.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # A block returns what it saw beside the stream, some of it views; nothing is ever done to them in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    blocks = [*model.encoder, *model.decoder] if isinstance(model, Transformer) else model.blocks
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")
    return model
