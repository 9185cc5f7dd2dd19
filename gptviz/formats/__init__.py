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
from typing import Any

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
