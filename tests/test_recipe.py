"""A whole training run from a recipe: reading, vocabulary, tokens, steps, interruption, checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gptviz import checkpoint
from gptviz.attention import plain_attention
from gptviz.data import DataError
from gptviz.folder import snapshot_steps
from gptviz.recipe import Recipe, held_out_loss, run, with_steps
from gptviz.training.records import read_summary
from tests.tales import RECIPE, write_recipe, write_texts


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return Recipe.load(path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "texts")


def losses(records) -> list[float]:
    return [record.loss for record in records]


def test_a_run_ends_in_a_checkpoint_that_loads(recipe, texts, tmp_path):
    records = list(run(recipe, texts, tmp_path / "run", "cpu"))
    assert [r.step for r in records] == [1, 2, 3, 4, 5, 6]
    assert [r.valid_loss is not None for r in records] == [False, True] * 3
    model = checkpoint.load(tmp_path / "run" / "model")
    assert model.gpt.config == recipe.model
    text = "The owl found a drum."
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["loss"] for entry in logged] == losses(records)


def test_an_interrupted_run_goes_on_to_the_same_losses(recipe, texts, tmp_path):
    whole = losses(run(recipe, texts, tmp_path / "whole", "cpu"))
    first = losses(itertools.islice(run(recipe, texts, tmp_path / "parts", "cpu"), 3))  # saved after step 2
    rest = losses(run(recipe, texts, tmp_path / "parts", "cpu"))
    assert first == whole[:3]
    assert rest == whole[2:]
    log = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert log == [1, 2, 3, 4, 5, 6]  # what the saved state did not know of is there once


def test_a_run_is_decided_by_its_seed(texts, tmp_path):
    runs = []
    for number, seed in enumerate([0, 0, 1]):
        recipe = Recipe.load(write_recipe(tmp_path / "recipe.toml", seed=seed, steps=3))
        runs.append(losses(run(recipe, texts, tmp_path / f"run{number}", "cpu")))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_checkpoint_knows_how_it_was_trained(texts, tmp_path):
    recipe = Recipe.load(write_recipe(tmp_path / "recipe.toml", causal=False, schedule="cosine", lowest=0.1))
    records = list(run(recipe, texts, tmp_path / "run", "cpu"))
    training, last = read_summary(tmp_path / "run" / "model")
    assert training == recipe.training
    assert not training.causal
    assert last == records[-1]
    assert read_summary(checkpoint.find("gpt-stories")) is None


def test_a_gpt_without_the_mask_is_evaluated_without_it(recipe, texts, tmp_path):
    model = checkpoint.MODELS[type(recipe.model)](recipe.model)
    tokens = np.arange(200) % 290
    flat = torch.from_numpy(tokens[: 12 * 16 + 1])
    x, y = flat[:-1].view(12, 16), flat[1:].view(12, 16)
    for causal in (True, False):
        expected = model.loss(x, y, plain_attention(causal)).item()
        assert held_out_loss(model, tokens, causal) == pytest.approx(expected, abs=2e-2)  # it may be in bf16
    unmasked = Recipe.load(write_recipe(tmp_path / "unmasked.toml", causal=False)).prepare(texts, tmp_path)
    asked = []
    model.loss = lambda x, y, attend: asked.append(attend) or torch.zeros(())
    unmasked.held_out_loss(model)
    q = torch.randn(1, 1, 4, 8)
    torch.testing.assert_close(asked[0](q, q, q)[0], plain_attention(causal=False)(q, q, q)[0])


def test_a_run_that_is_stopped_leaves_a_checkpoint_and_goes_on(recipe, texts, tmp_path):
    whole = losses(run(recipe, texts, tmp_path / "whole", "cpu"))
    answers = iter([False, False, True])
    first = list(run(recipe, texts, tmp_path / "parts", "cpu", stop=lambda: next(answers)))
    assert losses(first) == whole[:3]
    assert first[-1].valid_loss is not None
    assert checkpoint.load(tmp_path / "parts" / "model").gpt.config == recipe.model
    assert losses(run(recipe, texts, tmp_path / "parts", "cpu")) == whole[3:]


def test_the_time_lapse_of_a_stopped_run_ends_where_the_run_ended(recipe, texts, tmp_path):
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, snapshots=2))
    answers = iter([False, False, True])
    list(run(recipe, texts, tmp_path, "cpu", stop=lambda: next(answers)))
    assert snapshot_steps(tmp_path / "model" / "snapshots") == [0, 3]
    list(run(recipe, texts, tmp_path, "cpu"))
    assert snapshot_steps(tmp_path / "model" / "snapshots") == [0, 3, recipe.training.steps]


def test_held_out_text_is_not_in_the_training_tokens(recipe, texts, tmp_path):
    list(run(with_steps(recipe, 1), texts, tmp_path / "run", "cpu"))
    model = checkpoint.load(tmp_path / "run" / "model")
    train, valid = (np.load(tmp_path / "run" / f"tales-{split}.npy") for split in ("train", "valid"))
    assert "fox" in model.tokenizer.decode(valid) and "fox" not in model.tokenizer.decode(train)
    assert held_out_loss(model.gpt, valid) == pytest.approx(np.log(300), rel=0.2)  # one step: it still guesses


def test_missing_texts_are_named(recipe, tmp_path):
    with pytest.raises(DataError, match=r"tales\.jsonl\.xz, notes\.txt"):
        next(run(recipe, tmp_path, tmp_path / "run", "cpu"))


@pytest.mark.parametrize("damage", ["[model]\n", "not toml at all [", RECIPE.replace("steps", "stepps")])
def test_a_recipe_that_does_not_fit_says_what_was_expected(damage, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(damage)
    with pytest.raises(DataError, match="expected a recipe with"):
        Recipe.load(path)


def test_the_shipped_recipe_is_the_shipped_model():
    recipe = Recipe.load(checkpoint.find("gpt-stories") / "recipe.toml")
    assert checkpoint.load("gpt-stories", "cpu").gpt.config == recipe.model
