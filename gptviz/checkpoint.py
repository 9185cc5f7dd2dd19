"""A model with its vocabulary in a folder: config.json, model.safetensors, tokenizer.tiktoken, README.md.

Made to be safe with folders from strangers: nothing in them is executed, sizes are checked before memory is taken,
and every complaint says what was expected, what was found and what to do.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gptviz.config import ConfigError, GPTConfig
from gptviz.device import pick_device
from gptviz.gpt import GPT
from gptviz.tokenizer import Tokenizer, TokenizerError

ROOT = Path(__file__).resolve().parent.parent / "checkpoints"
FORMAT = "gptviz-1"
CONFIG, WEIGHTS, VOCABULARY, CARD = "config.json", "model.safetensors", "tokenizer.tiktoken", "README.md"


class CheckpointError(ValueError):
    """A folder that is no usable model: says what was expected, what was found, and the remedy."""


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
        ids = self.tokenizer.encode(text)
        dropped = max(0, len(ids) - self.gpt.config.context)
        return ids[dropped:], dropped


def save(folder: Path, gpt: GPT, tokenizer: Tokenizer) -> None:
    """Write a checkpoint in half precision; a README.md that is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().half().cpu().contiguous() for name, value in gpt.state_dict().items()}
    if gpt.config.tied:  # one table, stored once
        del weights["unembedding.weight"]
    save_file(weights, folder / WEIGHTS)
    config = {"format": FORMAT, "model": gpt.config.to_dict(), "tokenizer": {"pattern": tokenizer.pattern}}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(folder / VOCABULARY)


def load(name: str | os.PathLike[str], device: str | None = None) -> LanguageModel:
    """A model by its name under checkpoints/, or by the path of its folder."""
    folder = find(name)
    config, pattern = read_config(folder)
    tokenizer = Tokenizer.load(folder / VOCABULARY, pattern)
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(f"expected {config.vocab_size} tokens, found {tokenizer.vocab_size}")
    weights = load_file(folder / WEIGHTS)
    if config.tied:
        weights["unembedding.weight"] = weights["token_embedding.weight"]
    with torch.device("meta"):
        gpt = GPT(config)
    gpt.load_state_dict({k: v.float() for k, v in weights.items()}, assign=True)
    gpt.requires_grad_(False).eval().to(pick_device(device))
    return LanguageModel(folder.name, gpt, tokenizer, fingerprint(folder), folder)


def find(name: str | os.PathLike[str]) -> Path:
    """The folder of a name under checkpoints/, or of a path."""
    folder = ROOT / name
    return folder if folder.is_dir() else Path(name)


def read_config(folder: Path) -> tuple[GPTConfig, str]:
    """The model's config and the name of its tokenizer's pattern."""
    values: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return GPTConfig.from_dict(values["model"]), values["tokenizer"]["pattern"]


def fingerprint(folder: Path) -> str:
    """sha256 over config, vocabulary and weights, the first 16 hex digits."""
    digest = hashlib.sha256()
    for name in (CONFIG, VOCABULARY, WEIGHTS):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
