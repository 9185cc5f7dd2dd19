"""Several runs, one after another, in every process of torchrun: processes can meet only once.

Arguments: a JSON list of [recipe, folder with texts, folder of the run, shards or copies, steps or null].
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from torch import Tensor
from torch.optim import _muon

from gptviz.recipe import load_recipe, run, with_steps
from gptviz.training.ranks import joined


def orthogonal(gradient: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """What torch's Muon makes of a gradient (R, C), in float32: Newton-Schulz, K. Jordan et al., Muon, 2024."""
    a, b, c = coefficients
    x = gradient.T if gradient.shape[0] > gradient.shape[1] else gradient
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if gradient.shape[0] > gradient.shape[1] else x


@contextlib.contextmanager
def float32_muon() -> Iterator[None]:
    """Muon without its bfloat16, in which a last digit of float32 can become one of the third: 1e-7 grows to 2e-5.

    One process and two add up gradients in another order, and what is compared is what gptviz makes of that.
    """
    with mock.patch.object(_muon, "_zeropower_via_newtonschulz", orthogonal):
        yield


if __name__ == "__main__":
    with joined("cpu") as ranks, float32_muon():
        for recipe, texts, folder, shard, steps in json.loads(sys.argv[1]):
            chosen = with_steps(load_recipe(Path(recipe)), steps)
            for _ in run(chosen, Path(texts), Path(folder), ranks=dataclasses.replace(ranks, shard=shard)):
                pass
