"""Models of every shape are trained: which weights decay, what Muon moves at once, norms of parts, exact resume."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from gptviz.config import GPTConfig
from gptviz.gpt import GPT
from gptviz.train import train
from gptviz.training.config import TrainConfig
from gptviz.training.optimizers import Optimizers, parameter_groups
from tests.test_family import SHAPES, model_of

OPTIMIZERS = ("adamw", "muon")


def new_gpt(shape: str, seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(60, 12, 2, 4, 32, **SHAPES[shape]))


def batches(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that count upwards, by one or by two."""
    rows = np.cumsum(np.random.default_rng([5, step]).integers(1, 3, (6, 13)), axis=1) % 60
    return rows[:, :-1], rows[:, 1:]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_matrix_inside_the_blocks_decays_and_nothing_else(shape: str) -> None:
    gpt = model_of(shape)
    names = {id(parameter): name for name, parameter in gpt.named_parameters()}
    groups = Optimizers(gpt, TrainConfig(steps=1)).all[0].param_groups
    decaying = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert decaying == {name for name, p in gpt.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(names)


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_moves_queries_keys_and_values_each_for_itself(shape: str) -> None:
    gpt = model_of(shape)
    c = gpt.config
    q, kv = c.n_heads * c.d_head, c.n_groups * c.d_head
    weight = gpt.blocks[1].attention.qkv.weight
    made = Optimizers(gpt, TrainConfig(steps=1, optimizer="muon"))
    parts = [part for part, whole, *_ in made.parts if whole is weight]
    for part, rows in zip(parts, weight.data.split([q, kv, kv]), strict=True):
        assert (part.data_ptr(), part.shape) == (rows.data_ptr(), rows.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_norms_are_a_part_of_their_own(shape: str) -> None:
    gpt = model_of(shape)
    names = {id(parameter): name for name, parameter in gpt.named_parameters()}
    groups = {part: {names[id(p)] for p in group} for part, group in parameter_groups(gpt).items()}
    assert groups["norms"] == {name for name in names.values() if "norm." in name}
    assert groups.get("unembedding", {"unembedding.weight"}) == {"unembedding.weight"}
    assert set(itertools.chain(*groups.values())) == set(names.values())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_interrupted_run_goes_on_to_the_same_losses(shape: str, optimizer: str, tmp_path: Path) -> None:
    config = TrainConfig(8, warmup=2, learning_rate=5e-3, optimizer=optimizer, save_every=4, precision="float32")
    model, again = new_gpt(shape), new_gpt(shape, seed=9)
    whole = [record.loss for record in train(model, batches, config)]
    assert whole[-1] < whole[0]
    first = train(new_gpt(shape), batches, config, tmp_path / "state.pt")
    begun = [record.loss for record in itertools.islice(first, 5)]
    first.close()
    assert begun[:4] + [record.loss for record in train(again, batches, config, tmp_path / "state.pt")] == whole
    for (name, ours), right in zip(again.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, right), name
