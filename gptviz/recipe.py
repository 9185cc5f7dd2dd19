"""A training run as a file: which texts, which vocabulary, which model, how long. Anyone can run it again.

The first call in a run folder reads the texts, learns the vocabulary and writes the tokens; later calls go on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gptviz import checkpoint
from gptviz.config import GPTConfig
from gptviz.data import DataError, Mixture, Source, read_documents, tokenize
from gptviz.device import autocast, pick_device
from gptviz.gpt import GPT
from gptviz.tokenizer import Tokenizer, train_ranks
from gptviz.train import StepRecord, TrainConfig, record_dict, train

EVALUATION_ROWS = 96  # of the context's length, in the held-out loss that is printed while training


@dataclass(frozen=True)
class Corpus:
    """One text of a recipe.

    Args:
        file: its name in the data folder.
        share: of the rows of a batch; held-out text has none.
        split: keep only the records of this split.
        copies: how often it counts where the vocabulary is learned.
        head: characters of each document that count there; 0 for all.
    """

    file: str
    share: float = 0.0
    split: str | None = None
    copies: int = 1
    head: int = 0

    @property
    def name(self) -> str:
        """A name for the file of its tokens."""
        return self.file.split(".")[0] + (f"-{self.split}" if self.split else "")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run but the texts themselves."""

    model: GPTConfig
    training: TrainConfig
    rows: int
    repeats: tuple[tuple[int, float], ...]  # (from step, share of rows)
    sources: tuple[Corpus, ...]
    valid: Corpus

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a TOML recipe; raises `DataError` with what does not fit."""
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(
                model=GPTConfig.from_dict(values["model"]),
                training=TrainConfig(**values["training"]),
                rows=int(values["batch"]["rows"]),
                repeats=tuple((int(step), float(share)) for step, share in values["batch"].get("repeats", [])),
                sources=tuple(Corpus(**source) for source in values["source"]),
                valid=Corpus(**values["valid"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:  # not TOML and not a model are ValueErrors
            raise DataError(
                f"{path}: expected a recipe with [model], [training], [batch], [[source]] and [valid], "
                f"found {type(error).__name__}: {error}; see checkpoints/gpt-stories/recipe.toml"
            ) from error


def run(recipe: Recipe, data: Path, folder: Path, device: str | None = None) -> Iterator[StepRecord]:
    """Train by a recipe, from the beginning or from where `folder` stopped, and write a checkpoint at the end.

    Args:
        recipe: what to do.
        data: folder with the recipe's files.
        folder: of the run: vocabulary, tokens, state, log.jsonl, and at the end the checkpoint in `model/`.
        device: as for `pick_device`.

    Yields:
        A record for every step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = prepare(recipe, data, folder)
    torch.manual_seed(recipe.training.seed)
    gpt = GPT(recipe.model).to(pick_device(device))
    mixture = Mixture(
        [Source(c.name, np.load(folder / f"{c.name}.npy", mmap_mode="r"), c.share) for c in recipe.sources],
        repeats=recipe.repeats,
        context=recipe.model.context,
        batch=recipe.rows,
        seed=recipe.training.seed,
        end_of_text=tokenizer.end_of_text,
    )
    held_out = np.load(folder / f"{recipe.valid.name}.npy")
    records = train(gpt, mixture.batch, recipe.training, folder / "state.pt", lambda m: held_out_loss(m, held_out))
    with Log(folder / "log.jsonl") as log:
        for record in records:
            log.write(record)
            yield record
    checkpoint.save(folder / "model", gpt, tokenizer)


def prepare(recipe: Recipe, data: Path, folder: Path) -> Tokenizer:
    """Learn the vocabulary and write every corpus as tokens, unless they are there."""
    missing = [c.file for c in (*recipe.sources, recipe.valid) if not (data / c.file).exists()]
    if missing and not all((folder / f"{c.name}.npy").exists() for c in (*recipe.sources, recipe.valid)):
        names = ", ".join(missing)
        raise DataError(f"expected {names} in {data}, found no such file; the model card names the sources")
    ranks = folder / checkpoint.VOCABULARY
    if not ranks.exists():
        texts = (text for corpus in recipe.sources for text in vocabulary_texts(corpus, data))
        part = ranks.with_suffix(".part")
        Tokenizer(train_ranks(texts, recipe.model.vocab_size)).save(part)
        os.replace(part, ranks)
    tokenizer = Tokenizer.load(ranks)
    for corpus in (*recipe.sources, recipe.valid):
        target = folder / f"{corpus.name}.npy"
        if not target.exists():
            part = folder / f"{corpus.name}.part.npy"
            np.save(part, tokenize(read_documents(data / corpus.file, corpus.split), tokenizer))
            os.replace(part, target)
    return tokenizer


def vocabulary_texts(corpus: Corpus, data: Path) -> Iterator[str]:
    """The documents that the vocabulary is learned from."""
    for _ in range(corpus.copies):
        for document in read_documents(data / corpus.file, corpus.split):
            yield document[: corpus.head or None]


@torch.no_grad()
def held_out_loss(gpt: GPT, tokens: np.ndarray) -> float:
    """Mean loss in nats per token over the first rows of held-out text."""
    t = gpt.config.context
    rows = min(EVALUATION_ROWS, (len(tokens) - 1) // t)
    flat = torch.from_numpy(tokens[: rows * t + 1].astype(np.int64)).to(gpt.device)
    inputs, targets = flat[:-1].view(rows, t), flat[1:].view(rows, t)
    with autocast(gpt.device):
        losses = [gpt.loss(x, y) for x, y in zip(inputs.split(32), targets.split(32), strict=True)]
    weights = torch.tensor([len(x) for x in inputs.split(32)], device=gpt.device)
    return float((torch.stack(losses) * weights).sum() / rows)


class Log:
    """The records of a run as JSON lines. A resumed run drops what the saved state does not know of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = True

    def __enter__(self) -> Log:
        self.file = self.path.open("a+", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, record: StepRecord) -> None:
        """Append one record."""
        if self.first:
            self.first = False
            self.file.seek(0)
            kept = [line for line in self.file if line.endswith("\n") and json.loads(line)["step"] < record.step]
            self.file.truncate(0)
            self.file.writelines(kept)
        self.file.write(json.dumps(record_dict(record)) + "\n")
        self.file.flush()


def with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with another number of steps, for a shorter or longer run."""
    if steps is None:
        return recipe
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=steps))
