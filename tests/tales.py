"""A recipe with its texts, so small that a run takes a second: made here, for tests of whole runs."""

from __future__ import annotations

import itertools
import json
import lzma
from pathlib import Path

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


def write_texts(folder: Path) -> Path:
    """The files that the recipe names, in a new folder."""
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


def write_recipe(path: Path, **training: object) -> Path:
    """The recipe as a file, with other values under [training]."""
    lines = RECIPE.splitlines()
    for name, value in training.items():
        lines = [line for line in lines if not line.startswith(f"{name} =")]
        lines.insert(lines.index("[training]") + 1, f"{name} = {json.dumps(value)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
