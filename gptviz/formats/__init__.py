"""Models in other people's formats: which format a folder has, and the room that reads it. Executes nothing of theirs.

Every reader has `read_config(path)`, `read_weights(path, config)` and `read_tokenizer(path)`; `path` is the folder, or
the file where one file is the model. This module imports no reader before one is needed.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptviz.character_tokenizer import CharacterTokenizer
    from gptviz.config import GPTConfig
    from gptviz.foreign_tokenizer import ForeignTokenizer
    from gptviz.tokenizer import Tokenizer

GGUF, HUGGING_FACE, NANOGPT, MINGPT = "gguf", "hugging_face", "nanogpt", "mingpt"
NANOGPT_FILE, MINGPT_FILE = "ckpt.pt", "model.pt"
CONFIG, OURS = "config.json", "model.safetensors"
MAX_CONFIG = 2**20  # bytes; theirs have up to some ten thousand


def format_of(folder: Path) -> str | None:
    """Which of their formats a folder or file is in; None for one of ours, and for no model. Reads a config at most."""
    if folder.is_file():
        if folder.name == MINGPT_FILE and (folder.parent / CONFIG).is_file():
            return MINGPT
        return GGUF if folder.suffix.lower() == ".gguf" else NANOGPT if folder.suffix == ".pt" else None
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return None
    if CONFIG in names:
        values = read_config(folder / CONFIG)
        if "format" not in values and {"model_type", "architectures"} & set(values):
            return HUGGING_FACE
        return MINGPT if MINGPT_FILE in names and OURS not in names and "format" not in values else None
    if any(name.lower().endswith(".gguf") for name in names):
        return GGUF
    return NANOGPT if NANOGPT_FILE in names else None


def read_config(config: Path) -> dict[str, Any]:
    """What a config.json says; nothing where it is damaged, which whoever opens the model will say."""
    try:
        if config.stat().st_size > MAX_CONFIG:
            return {}
        values = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def reader(name: str) -> ModuleType:
    """The room that reads a format."""
    return importlib.import_module(f"gptviz.formats.{name}")


def read_vocabulary(path: Path, config: GPTConfig) -> ForeignTokenizer | CharacterTokenizer | Tokenizer:
    """The vocabulary of a model in somebody else's format; `CheckpointError` where it has more ids than the model."""
    from gptviz.folder import CheckpointError

    tokenizer = reader(format_of(path)).read_tokenizer(path)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{path.name}: expected a vocabulary of at most {config.vocab_size} ids, as the config says, found "
            f"{tokenizer.vocab_size}; use the vocabulary that the model was trained with"
        )
    return tokenizer


def check(path: Path, config: GPTConfig) -> None:
    """Raise `CheckpointError` unless a vocabulary and weights of the right shapes are there. Looks at no weight."""
    from gptviz.checkpoint import empty_model

    read_vocabulary(path, config)
    if format_of(path) == HUGGING_FACE:  # of the others, the config follows from the weights, or they are read at once
        empty_model(config, reader(HUGGING_FACE).shapes_of(path, config), path.name)
