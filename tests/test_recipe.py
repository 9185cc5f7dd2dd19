"""A whole training run from a recipe: reading, vocabulary, tokens, steps, interruption, checkpoint."""

from __future__ import annotations

import itertools
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from gptviz import checkpoint
from gptviz.data import DataError
from gptviz.recipe import Recipe, held_out_loss, run, with_steps

pytest.importorskip("tokenizers", reason="learning a vocabulary needs the development dependency tokenizers")

RECIPE = """
[model]
vocab_size = 300
context = 16
n_layers = 1
n_heads = 2
d_model = 16

[training]
steps = 6
learning_rate = 1e-3
warmup = 2
optimizer = "muon"
eval_every = 2
save_every = 2

[batch]
rows = 3
repeats = [[0, 0.2]]

[[source]]
file = "tales.jsonl.xz"
split = "train"
share = 0.8
copies = 2

[[source]]
file = "notes.txt"
share = 0.2
head = 200

[valid]
file = "tales.jsonl.xz"
split = "valid"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return Recipe.load(path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    tales = [
        {"text": f"The {animal} found a {thing}. It was a good {thing}.", "split": split}
        for split, animals in (("train", ("hen", "cow", "pig", "owl")), ("valid", ("fox", "cat")))
        for animal, thing in itertools.product(animals, ("drum", "spoon", "leaf"))
    ]
    with lzma.open(folder / "tales.jsonl.xz", "wt") as file:
        file.writelines(json.dumps(tale) + "\n" for tale in tales)
    (folder / "notes.txt").write_text("Rain fell on the roof all day, and nobody minded the rain. " * 20)
    return folder


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
