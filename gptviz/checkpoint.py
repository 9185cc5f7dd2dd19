"""A model with its vocabulary in a folder: written, and read back with every weight checked. Knows nothing about text.

Where folders are and what is checked before a weight is read: `gptviz.folder`. Every complaint says what was expected,
what was found and what to do.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gptviz.config import KINDS, GPTConfig, ModelConfig, TransformerConfig
from gptviz.device import pick_device
from gptviz.folder import (
    CARD,
    CONFIG,
    FORMAT,
    VOCABULARY,
    WEIGHTS,
    CheckpointError,
    available,
    check_files,
    find,
    find_shipped,
    fingerprint,
    read_config,
    read_header,
    shortened,
)
from gptviz.gpt import GPT
from gptviz.seq2seq import Transformer
from gptviz.tokenizer import Tokenizer, TokenizerError

__all__ = [
    "CARD", "CONFIG", "VOCABULARY", "WEIGHTS", "AnyModel", "CheckpointError", "LanguageModel", "TranslationModel",
    "available", "expect_model", "expect_translator", "find", "find_shipped", "fingerprint", "load", "load_shipped",
    "read_config", "save",
]  # fmt: skip

TABLE, PROJECTION = "token_embedding.weight", "unembedding.weight"  # one and the same where a model is tied
MODELS: dict[type[ModelConfig], type[GPT] | type[Transformer]] = {GPTConfig: GPT, TransformerConfig: Transformer}


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A model ready to read text: weights, vocabulary, and where they came from. Shared by threads, never changed."""

    name: str
    gpt: GPT
    tokenizer: Tokenizer
    fingerprint: str  # sha256 of weights, config and vocabulary, 16 hex digits: the key of every cache
    folder: Path | None = None

    def encode(self, text: str) -> tuple[list[int], int]:
        """Ids that fit the context, and how many tokens were cut at the left to make them fit."""
        if not isinstance(text, str):
            raise TypeError(f"expected a text, found {type(text).__name__}; GPT.trace reads token ids")
        ids = self.tokenizer.encode(text)
        dropped = max(0, len(ids) - self.gpt.config.context)
        return ids[dropped:], dropped


@dataclass(frozen=True, eq=False)
class TranslationModel:
    """An encoder-decoder ready to translate. Shared by threads, never changed."""

    name: str
    transformer: Transformer
    tokenizer: Tokenizer
    fingerprint: str  # as for a `LanguageModel`
    folder: Path | None = None


AnyModel = LanguageModel | TranslationModel


def expect_model(model: object) -> LanguageModel:
    """`model` itself, or a `TypeError` that says where models come from."""
    if isinstance(model, TranslationModel):
        raise TypeError(f"expected a language model, found {model.name}, which translates; see gptviz.translate")
    if not isinstance(model, LanguageModel):
        raise TypeError(f"expected a model, found {shortened(model)}; gptviz.load('gpt-stories') gives one")
    return model


def expect_translator(model: object) -> TranslationModel:
    """`model` itself, or a `TypeError` that says where such models come from."""
    if isinstance(model, LanguageModel):
        raise TypeError(f"expected a model that translates, found {model.name}, which goes on from a text")
    if not isinstance(model, TranslationModel):
        raise TypeError(
            f"expected a model that translates, found {shortened(model)}; gptviz.load('transformer-deu-eng') gives one"
        )
    return model


def save(folder: Path, model: GPT | Transformer, tokenizer: Tokenizer) -> None:
    """Write a checkpoint in half precision; a README.md that is there stays.

    Raises:
        CheckpointError: before anything is written, if the vocabulary is not the model's or a weight does not fit.
    """
    check_vocabulary(tokenizer, model.config, folder)
    weights = {name: value.detach().half().cpu().contiguous() for name, value in model.state_dict().items()}
    if model.config.tied:  # one table, stored once
        weights.pop(PROJECTION, None)
    check_finite(weights, f"{folder.name}/{WEIGHTS}, in half precision")
    folder.mkdir(parents=True, exist_ok=True)
    (kind,) = (name for name, config in KINDS.items() if isinstance(model.config, config))
    config = {"format": FORMAT, "kind": kind, "model": model.config.to_dict()}
    config["tokenizer"] = {"pattern": tokenizer.pattern}
    if kind == "gpt":  # the kind that a folder without one has
        del config["kind"]
    tokenizer.save(folder / VOCABULARY)
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights))
    # Last: a folder counts as a model once it has its config.
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load(name: str | os.PathLike[str], device: str | None = None) -> AnyModel:
    """A model by its name under checkpoints/, or by the path of its folder; weights in float32, whatever the file has.

    Args:
        name: where both a model of that name and such a path exist, the name counts.
        device: cuda, cuda:1, mps, cpu or auto; by default $GPTVIZ_DEVICE, else the best there is.

    Returns:
        A `LanguageModel`, or a `TranslationModel` where the folder holds an encoder-decoder.

    Raises:
        CheckpointError: if there is no such folder, or it does not hold a sound model.
        ValueError: for a device that is not there.
    """
    return load_folder(find(name), device)


def load_shipped(name: str, device: str | None = None) -> AnyModel:
    """A model by its name under checkpoints/ and by nothing else: for names out of a URL. See `load`."""
    return load_folder(find_shipped(name), device)


def load_folder(folder: Path, device: str | None) -> AnyModel:
    """`load`, once the folder is found: cheap checks first, memory last."""
    target = pick_device(device)
    folder = folder.resolve()
    check_files(folder)
    config, pattern = read_config(folder)
    try:
        model = empty_model(config, read_header(folder, config), f"{folder.name}/{WEIGHTS}")
        tokenizer = Tokenizer.load(folder / VOCABULARY, pattern)
        check_vocabulary(tokenizer, config, folder)
        weights = read_weights(folder)
        mark = fingerprint(folder)
    except (OSError, TokenizerError, SafetensorError) as error:
        problem = f"expected files that can be read, found: {error}" if not isinstance(error, TokenizerError) else error
        raise CheckpointError(f"{folder.name}: {problem}; copy the folder again") from error
    model.load_state_dict(weights, strict=False, assign=True)
    if isinstance(model, GPT) and config.tied:
        model.unembedding.weight = model.token_embedding.weight
    model.for_reading().to(target)
    if isinstance(model, Transformer):
        return TranslationModel(folder.name, model, tokenizer, mark, folder)
    return LanguageModel(folder.name, model, tokenizer, mark, folder)


class Uninitialised(TorchFunctionMode):
    """While a model is built, the functions of `torch.nn.init` leave its tensors as they are.

    On tensors without memory they have no work to do, and yet import all of PyTorch's compiler: two seconds.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call `func`, unless it would only fill its tensor."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def empty_model(
    config: ModelConfig, shapes: dict[str, tuple[int, ...]], label: str
) -> GPT | Transformer:
    """A model without memory for its weights, after names and shapes in the file were compared with it."""
    with torch.device("meta"), Uninitialised():
        model = MODELS[type(config)](config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tied:
        expected.pop(PROJECTION, None)
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            found = shapes.get(name, "none of that name")
            raise CheckpointError(
                f"{label}: expected {name} of shape {shape}, as {CONFIG} describes, found {found}; "
                "the two files are of different models: copy both again"
            )
    return model


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in float32, every one finite."""
    stored = safetensors.torch.load_file(folder / WEIGHTS)
    check_finite(stored, f"{folder.name}/{WEIGHTS}")
    # A copy even of float32: what the library returns may be the file itself, which may change.
    return {name: value.to(torch.float32, copy=True) for name, value in stored.items()}


def check_finite(weights: dict[str, Tensor], label: str) -> None:
    """Raise `CheckpointError` where a weight is NaN or infinite."""
    for name, value in weights.items():
        wrong = value.numel() - int(value.isfinite().sum())
        if wrong:
            raise CheckpointError(
                f"{label}: expected finite weights, found {wrong} of {value.numel()} in {name} that are not; "
                "the training diverged, or the file is damaged"
            )


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, folder: Path) -> None:
    """Raise `CheckpointError` unless the tokenizer has as many ids as the model."""
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            f"{folder.name}/{VOCABULARY}: expected {config.vocab_size} ids, end of text included, as {CONFIG} "
            f"describes, found {tokenizer.vocab_size}; use the vocabulary that the model was trained with"
        )
