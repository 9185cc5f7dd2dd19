"""Training speed against Hugging Face's GPT-2, as it comes and at its fastest, and against a step's bare products."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import Row, interleave, ratio
from benchmarks.peers import gpt2_shape, hugging_face
from gptviz.config import GPTConfig
from gptviz.gpt import GPT
from gptviz.train import TrainConfig, train

T, ROWS = 128, 32
DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")  # ours has none
SHAPE = gpt2_shape(n_layers=4, n_heads=4, d_model=256, vocab_size=4096, context=T)


def run(quick: bool) -> Iterator[Row]:
    """Our training loop, theirs in both forms, and the products alone, a step of each in turn."""
    rng = np.random.default_rng(0)
    rows = rng.integers(SHAPE.vocab_size, size=(ROWS, T + 1))
    compiler = has_compiler()
    runs = {
        "products": matrix_products(SHAPE, ROWS, T),
        "ours": our_step(rows, compiler),
        "theirs": their_step(torch.from_numpy(rows)),
        "fastest": their_step(torch.from_numpy(rows), bf16=True, fused=compiler),
    }
    times = interleave(runs, rounds=2 if quick else 10, warmups=2)
    speed = {name: f"{rows[:, 1:].size / statistics.median(seconds):,.0f}" for name, seconds in times.items()}
    yield Row(
        "training, 4 layers, d 256, T 128, V 4096, batch 32: tokens per second over Hugging Face GPT-2 in its defaults",
        ratio(times, "theirs", "ours"),
        (">=", 3.0),
        detail=f"{speed['ours']} against {speed['theirs']} per second",
    )
    yield Row(
        "training, the same: over Hugging Face GPT-2 in bf16, compiled, without dropout",
        ratio(times, "fastest", "ours"),
        (">=", 1.5),
        detail=f"{speed['ours']} against {speed['fastest']} per second",
    )
    yield Row(
        "training: share of the bf16 rate of the same step's matrix products",
        ratio(times, "products", "ours"),
        (">=", 0.7),
        detail=f"{speed['ours']} of {speed['products']} per second",
    )


def has_compiler() -> bool:
    """There is a C++ compiler, which `torch.compile` needs."""
    found = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    if not found:
        print("training: no C++ compiler on the path, so nothing is compiled")
    return found


def our_step(rows: np.ndarray, fused: bool) -> Callable[[], object]:
    """A step of `gptviz.train.train`, as the command line runs it."""
    torch.manual_seed(0)
    batch = rows[:, :-1], rows[:, 1:]
    config = TrainConfig(steps=10**6, warmup=1, compile=fused)
    records = train(GPT(SHAPE), lambda step: batch, config)
    return lambda: next(records)


def their_step(rows: Tensor, bf16: bool = False, fused: bool = False) -> Callable[[], object]:
    """A step of their GPT-2 with its own loss and AdamW: as it comes, or in bf16, compiled and without dropout."""
    model = hugging_face(SHAPE, **(dict.fromkeys(DROPOUTS, 0.0) if bf16 else {})).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    forward = torch.compile(model) if fused else model
    ids = rows[:, :T].contiguous()

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def matrix_products(config: GPTConfig, b: int, t: int, dtype: torch.dtype = torch.bfloat16) -> Callable[[], object]:
    """All products of one step's forward and backward pass, and nothing else: the limit of any implementation."""
    c, f, h, d = config.d_model, config.d_ff, config.n_heads, config.d_head
    layers = [(c, 3 * c), (c, c), (c, f), (f, c)] * config.n_layers + [(c, config.vocab_size)]
    linear = [
        (torch.randn(b * t, i, dtype=dtype), torch.randn(o, i, dtype=dtype), torch.randn(b * t, o, dtype=dtype))
        for i, o in layers
    ]
    heads = [torch.randn(b, h, t, d, dtype=dtype) for _ in range(3)]  # like q, k, v and their gradients
    square = torch.randn(b, h, t, t, dtype=dtype)  # like the scores, the weights and their gradients

    def products() -> None:
        for x, weight, gradient in linear:
            x @ weight.T  # forward
            gradient @ weight  # gradient of x
            gradient.T @ x  # gradient of the weight
        q, k, v = heads
        for _ in range(config.n_layers):
            for _ in range(2):  # q k^T forward; gradient of the weights backward
                q @ k.mT
            square @ v  # forward
            square.mT @ v  # gradient of v
            square @ k  # gradient of q
            square.mT @ q  # gradient of k

    return torch.no_grad()(products)
