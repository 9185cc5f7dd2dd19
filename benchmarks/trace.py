"""A traced forward pass against Hugging Face's GPT-2 and Llama, in real sizes, with all attention weights returned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.common import Row, interleave, milliseconds, ratio
from benchmarks.peers import (
    gpt2_shape,
    hugging_face,
    llama,
    ours_with_weights_of,
    ours_with_weights_of_llama,
    smollm2_shape,
)

LENGTHS = (64, 256)


def run(quick: bool) -> Iterator[Row]:
    """`GPT.trace` over `GPT2Model(output_attentions=True)`, eager, same weights, per length; then with all logits."""
    config = gpt2_shape(n_layers=12, n_heads=12, d_model=768, vocab_size=50257, context=1024)
    theirs = hugging_face(config, attn_implementation="eager").eval()
    ours = ours_with_weights_of(theirs, config).for_reading()
    body = theirs.transformer  # GPT2Model: no projection to the vocabulary
    ids = torch.randint(config.vocab_size, (max(LENGTHS),), generator=torch.Generator().manual_seed(0))
    for t in LENGTHS:
        batch = ids[None, :t]
        runs = {
            "trace": lambda t=t: ours.trace(ids[:t]).weights,
            "trace and logits": lambda t=t: read_all(ours.trace(ids[:t])),
            "GPT2Model": lambda batch=batch: pass_of(body, batch),
            "GPT2LMHeadModel": lambda batch=batch: pass_of(theirs, batch),
        }
        check_same(runs["trace"](), runs["GPT2Model"]().attentions)
        times = interleave(runs, rounds=3 if quick else 25)
        yield Row(
            f"traced pass, GPT-2 small's shape, T={t}: time over Hugging Face GPT2Model",
            ratio(times, "trace", "GPT2Model"),
            ("<=", 0.9),
            detail=f"{milliseconds(times['trace'])} against {milliseconds(times['GPT2Model'])}",
        )
        yield Row(
            f"the same with the logits of all positions, T={t}: over GPT2LMHeadModel",
            ratio(times, "trace and logits", "GPT2LMHeadModel"),
            None,
            detail=f"{milliseconds(times['trace and logits'])} against {milliseconds(times['GPT2LMHeadModel'])}",
        )


    yield from of_a_llama(quick)


def of_a_llama(quick: bool) -> Iterator[Row]:
    """The same in the shape of SmolLM2 135M, over `LlamaForCausalLM`, with all logits."""
    config = smollm2_shape()
    theirs = llama(config, attn_implementation="eager").eval()
    ours = ours_with_weights_of_llama(theirs, config).for_reading()
    ids = torch.randint(config.vocab_size, (LENGTHS[0],), generator=torch.Generator().manual_seed(0))
    runs = {"trace": lambda: read_all(ours.trace(ids)), "LlamaForCausalLM": lambda: pass_of(theirs, ids[None])}
    check_same(runs["trace"]()[0], runs["LlamaForCausalLM"]().attentions)
    times = interleave(runs, rounds=3 if quick else 15)
    yield Row(
        f"traced pass with all logits, SmolLM2 135M's shape, T={len(ids)}: time over Hugging Face LlamaForCausalLM",
        ratio(times, "trace", "LlamaForCausalLM"),
        ("<=", 1.0),
        detail=f"{milliseconds(times['trace'])} against {milliseconds(times['LlamaForCausalLM'])}",
    )


def read_all(trace: object) -> object:
    """What a page about predictions reads."""
    return trace.weights, trace.logits  # type: ignore[attr-defined]


@torch.no_grad()
def pass_of(model: torch.nn.Module, batch: torch.Tensor) -> object:
    """One forward pass of theirs, all attention weights returned."""
    return model(input_ids=batch, output_attentions=True, use_cache=False)


def check_same(weights: np.ndarray, attentions: tuple[torch.Tensor, ...]) -> None:
    """Both sides computed the same attention, or the comparison means nothing."""
    theirs = torch.cat(attentions).numpy()  # (L, H, T, T)
    worst = float(np.abs(weights - theirs).max())
    if weights.shape != theirs.shape or worst > 1e-5:
        raise AssertionError(f"expected equal attention weights, found {weights.shape}, {theirs.shape}, worst {worst}")
