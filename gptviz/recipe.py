"""A training run as a file: which texts, which vocabulary, which model, how long. Anyone can run it again.

The first call in a run folder reads the texts, learns the vocabulary and writes the tokens; later calls go on.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from gptviz import checkpoint
from gptviz.attention import fast_attention, plain_attention
from gptviz.config import KINDS, GPTConfig, TransformerConfig
from gptviz.corpus.shards import Shards, fingerprint, is_prepared
from gptviz.data import DataError, Mixture, Source, Tokens, read_documents, tokenize
from gptviz.device import autocast, pick_device
from gptviz.files import replaced
from gptviz.folder import MODEL
from gptviz.gpt import GPT
from gptviz.pairs import PairBatches, Row, arrays, encode_pairs, read_pairs, split_pairs
from gptviz.seq2seq import PADDING, Transformer
from gptviz.tokenizer import Tokenizer, train_ranks
from gptviz.train import Batches, StepRecord, TrainConfig, train
from gptviz.training.ranks import ALONE, Ranks
from gptviz.training.records import logs, write_summary
from gptviz.training.snapshots import Recorder
from gptviz.training.state import STATE

EVALUATION_ROWS = 96  # of the context's length, in the held-out loss that is printed while training


@dataclass(frozen=True)
class Corpus:
    """One text of a recipe.

    Args:
        file: its name in the data folder; it may be a folder made by `python -m gptviz prepare`.
        share: of the rows of a batch; held-out text has none.
        split: keep only the records of this split; of a prepared folder, its side: train by default, or valid.
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

    def tokens(self, data: Path, folder: Path) -> Tokens:
        """Its tokens, from the disk: out of the run's folder, or of the prepared folder that it is."""
        if is_prepared(data / self.file):
            return Shards(data / self.file, self.split or "train")
        return np.load(folder / f"{self.name}.npy", mmap_mode="r")


AnyRecipe = TypeVar("AnyRecipe", "Recipe", "TranslationRecipe")


class Prepared(NamedTuple):
    """A recipe's data, ready to train on."""

    tokenizer: Tokenizer
    batches: Batches
    held_out_loss: Callable[[Any], float]  # of the model, in nats per token


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the run of a GPT but the texts themselves."""

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

    def prepare(self, data: Path, folder: Path) -> Prepared:
        """The tokens of every corpus out of `folder`, or out of the texts in `data`, once."""
        tokenizer = prepare(self, data, folder)
        mixture = Mixture(
            [Source(c.name, c.tokens(data, folder), c.share) for c in self.sources],
            repeats=self.repeats,
            context=self.model.context,
            batch=self.rows,
            seed=self.training.seed,
            end_of_text=tokenizer.end_of_text,
        )
        held_out = self.valid.tokens(data, folder)
        causal = self.training.causal
        return Prepared(tokenizer, mixture.batch, lambda gpt: held_out_loss(gpt, held_out, causal))


@dataclass(frozen=True)
class TranslationRecipe:
    """Everything that decides the run of a Transformer but the sentence pairs themselves."""

    model: TransformerConfig
    training: TrainConfig
    tokens: int  # of a batch on each side, padding included
    file: str  # zip archive in the data folder
    member: str  # of the archive: target, tab, source

    @classmethod
    def load(cls, path: Path) -> TranslationRecipe:
        """Read a TOML recipe; raises `DataError` with what does not fit."""
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            model = {name: value for name, value in values["model"].items() if name != "kind"}
            return cls(
                model=TransformerConfig.from_dict(model),
                training=TrainConfig(**values["training"]),
                tokens=int(values["batch"]["tokens"]),
                **values["pairs"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: expected a recipe with [model], [training], [batch] tokens and [pairs] file and member, "
                f"found {type(error).__name__}: {error}"
            ) from error

    def prepare(self, data: Path, folder: Path) -> Prepared:
        """The vocabulary out of `folder`, or learned from the pairs to train on, once; the pairs out of `data`."""
        split = split_pairs(read_pairs(data / self.file, self.member))
        texts = (text for pair in split.train for text in pair)
        tokenizer = vocabulary(folder, texts, self.model.vocab_size)
        context, end_of_text = self.model.context, tokenizer.end_of_text
        train_rows, valid_rows = (encode_pairs(part, tokenizer, context) for part in (split.train, split.valid))
        rules = {"context": context, "seed": self.training.seed, "end_of_text": end_of_text}
        batches = PairBatches(train_rows, tokens=self.tokens, **rules)
        return Prepared(tokenizer, batches.batch, lambda model: held_out_pair_loss(model, valid_rows, end_of_text))


def load_recipe(path: Path) -> Recipe | TranslationRecipe:
    """Read a TOML recipe of either kind; raises `DataError` with what does not fit."""
    try:
        kind = tomllib.loads(path.read_text(encoding="utf-8"))["model"].get("kind", "gpt")
    except (OSError, ValueError, KeyError, AttributeError):
        kind = "gpt"  # whose reader says what does not fit
    if kind not in KINDS:
        raise DataError(f"{path}: expected a model of the kind {' or '.join(KINDS)}, found {kind!r}")
    return TranslationRecipe.load(path) if kind == "transformer" else Recipe.load(path)


def run(
    recipe: Recipe | TranslationRecipe,
    data: Path,
    folder: Path,
    device: str | None = None,
    *,
    stop: Callable[[], bool] | None = None,
    ranks: Ranks = ALONE,
    tensorboard: bool = False,
    live_every: float | None = None,
) -> Iterator[StepRecord]:
    """Train by a recipe, from the beginning or from where `folder` stopped, and write a checkpoint at the end.

    Args:
        recipe: what to do.
        data: folder with the recipe's files.
        folder: of the run: vocabulary, tokens, state, log.jsonl, log.csv, and at the end the checkpoint in `model/`.
        device: as for `pick_device`.
        stop: as for `train`; a run that is stopped leaves a checkpoint, too.
        ranks: this process among those that train together; the first one writes.
        tensorboard: write TensorBoard events as well.
        live_every: seconds between the weights that are left for those who watch, in `live/`; by default none are.

    Yields:
        A record for every step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = logs(folder, tensorboard) if ranks.main else []
    with ranks.wait_for_first():
        prepared = recipe.prepare(data, folder)
    torch.manual_seed(recipe.training.seed)
    model = ranks.place(checkpoint.MODELS[type(recipe.model)](recipe.model), ranks.device or pick_device(device))
    state, evaluate = folder / STATE, prepared.held_out_loss
    recorder = Recorder(folder, prepared.tokenizer, recipe.training, live_every, ranks)
    if not state.exists():
        recorder.see(0, model)
    last = None
    try:
        for record in train(model, prepared.batches, recipe.training, state, evaluate, stop=stop, ranks=ranks):
            for file in files:
                file.write(record)
            recorder.see(record.step, model)
            last = record
            yield record
    finally:
        for file in files:
            file.close()
    if last is not None:
        recorder.end(last.step, model)
    finished = ranks.whole_model(model)
    if ranks.main:
        checkpoint.save(folder / MODEL, finished, prepared.tokenizer)
        if last is not None:
            write_summary(folder / MODEL, recipe.training, last)


def vocabulary(folder: Path, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """The vocabulary of a run: learned from `texts` if it is not there."""
    ranks = folder / checkpoint.VOCABULARY
    if not ranks.exists():
        tokenizer = Tokenizer(train_ranks(texts, vocab_size))
        with replaced(ranks) as part:
            tokenizer.save(part)
    return Tokenizer.load(ranks)


def prepared_vocabulary(shards: Sequence[Path], folder: Path, vocab_size: int) -> Tokenizer:
    """The vocabulary of prepared folders, which has to be one, as that of a run; raises `DataError` if it is not."""
    tokenizers = [Tokenizer.load(path / checkpoint.VOCABULARY) for path in shards]
    target = folder / checkpoint.VOCABULARY
    if target.exists():
        tokenizers.append(Tokenizer.load(target))
    tokenizer = tokenizers[0]
    if any(fingerprint(other) != fingerprint(tokenizer) for other in tokenizers):
        names = ", ".join(path.name for path in shards)
        raise DataError(
            f"expected one vocabulary in {names} and {folder}, found several; prepare them with the same one"
        )
    if tokenizer.vocab_size != vocab_size:
        found = f"{tokenizer.vocab_size} in {shards[0]}"
        raise DataError(
            f"expected a vocabulary of {vocab_size} tokens, found {found}; set vocab_size of the recipe to it"
        )
    if not target.exists():
        with replaced(target) as part:
            tokenizer.save(part)
    return tokenizer


def prepare(recipe: Recipe, data: Path, folder: Path) -> Tokenizer:
    """Learn the vocabulary and write every corpus as tokens, unless they are there."""
    corpora = (*recipe.sources, recipe.valid)
    missing = [c.file for c in corpora if not (data / c.file).exists()]
    if missing and not all((folder / f"{c.name}.npy").exists() for c in corpora):
        names = ", ".join(missing)
        raise DataError(f"expected {names} in {data}, found no such file; the model card names the sources")
    prepared = [c for c in corpora if is_prepared(data / c.file)]
    if prepared:
        tokenizer = prepared_vocabulary([data / c.file for c in prepared], folder, recipe.model.vocab_size)
    else:
        texts = (text for corpus in recipe.sources for text in vocabulary_texts(corpus, data))
        tokenizer = vocabulary(folder, texts, recipe.model.vocab_size)
    for corpus in corpora:
        if corpus in prepared:
            continue
        target = folder / f"{corpus.name}.npy"
        if not target.exists():
            tokens = tokenize(read_documents(data / corpus.file, corpus.split), tokenizer)
            with replaced(target) as part, part.open("wb") as file:
                np.save(file, tokens)
    return tokenizer


def vocabulary_texts(corpus: Corpus, data: Path) -> Iterator[str]:
    """The documents that the vocabulary is learned from."""
    for _ in range(corpus.copies):
        for document in read_documents(data / corpus.file, corpus.split):
            yield document[: corpus.head or None]


@torch.no_grad()
def held_out_loss(gpt: GPT, tokens: Tokens, causal: bool = True) -> float:
    """Mean loss in nats per token over the first rows of held-out text; not `causal` for a GPT trained unmasked."""
    t = gpt.config.context
    rows = min(EVALUATION_ROWS, (len(tokens) - 1) // t)
    flat = torch.from_numpy(tokens[: rows * t + 1].astype(np.int64)).to(gpt.device)
    inputs, targets = flat[:-1].view(rows, t), flat[1:].view(rows, t)
    attend = fast_attention(causal)
    with autocast(gpt.device):
        losses = [gpt.loss(x, y, attend) for x, y in zip(inputs.split(32), targets.split(32), strict=True)]
    weights = torch.tensor([len(x) for x in inputs.split(32)], device=gpt.device)
    return float((torch.stack(losses) * weights).sum() / rows)


@torch.no_grad()
def held_out_pair_loss(model: Transformer, rows: Sequence[Row], end_of_text: int) -> float:
    """Mean loss in nats per target token over held-out pairs, neither smoothed nor with dropout."""
    kernel = plain_attention if model.device.type == "cpu" else fast_attention
    ordered = sorted(rows, key=lambda row: row.length)
    total = tokens = 0.0
    for begin in range(0, len(ordered), EVALUATION_ROWS):
        part = ordered[begin : begin + EVALUATION_ROWS]
        batch = [torch.from_numpy(a).to(model.device) for a in arrays(part, part[-1].length, end_of_text)]
        count = float((batch[-1] != PADDING).sum())
        with autocast(model.device):
            total += count * float(model.loss(*batch, kernel))
        tokens += count
    return total / tokens


def with_steps(recipe: AnyRecipe, steps: int | None) -> AnyRecipe:
    """The recipe with another number of steps, for a shorter or longer run."""
    if steps is None:
        return recipe
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=steps))
