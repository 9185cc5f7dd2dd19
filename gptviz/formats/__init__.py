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

GGUF, HUGGING_FACE, NANOGPT = "gguf", "hugging_face", "nanogpt"
NANOGPT_FILE = "ckpt.pt"
CONFIG = "config.json"
MAX_CONFIG = 2**20  # bytes; theirs have up to some ten thousand


def format_of(folder: Path) -> str | None:
    """Which of their formats a folder or file is in; None for one of ours, and for no model. Reads a config at most."""
    if folder.is_file():
        return GGUF if folder.suffix.lower() == ".gguf" else NANOGPT if folder.suffix == ".pt" else None
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return None
    if CONFIG in names:
        return HUGGING_FACE if names_an_architecture(folder / CONFIG) else None
    if any(name.lower().endswith(".gguf") for name in names):
        return GGUF
    return NANOGPT if NANOGPT_FILE in names else None


def names_an_architecture(config: Path) -> bool:
    """Whether a config.json is one of Hugging Face's; one that is damaged is nobody's."""
    try:
        if config.stat().st_size > MAX_CONFIG:
            return False
        values = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "format" not in values and bool({"model_type", "architectures"} & set(values))


def reader(name: str) -> ModuleType:
    """The room that reads a format."""
    return importlib.import_module(f"gptviz.formats.{name}")
