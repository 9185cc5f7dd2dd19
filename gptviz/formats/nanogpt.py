"""nanoGPT's ckpt.pt: tensors by `torch.load(weights_only=True)`, characters of a meta.pkl without running it.

A compiled model's names begin with "_orig_mod."; the output projection is the token table; GELU is the exact one.
"""

from __future__ import annotations

import functools
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptviz.character_tokenizer import CharacterTokenizer
from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import CheckpointError, shortened
from gptviz.formats import NANOGPT_FILE
from gptviz.formats.hugging_face import GPT2_INSIDE, GPT2_OUTSIDE
from gptviz.formats.pickles import read_plain
from gptviz.half import check_finite, kept_in, remedy_for
from gptviz.tokenizer import Tokenizer, TokenizerError

META = "meta.pkl"
COMPILED = "_orig_mod."
SIZES = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")


def file_of(path: Path) -> Path:
    """The checkpoint of a folder, or the file itself."""
    return path if path.is_file() else path / NANOGPT_FILE


@functools.lru_cache(maxsize=1)
def opened(file: Path, changed: int) -> dict[str, Any]:
    """What the file holds, its tensors mapped into memory; `changed` makes a replaced file another one."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(
            f"{file.name}: expected nanoGPT's tensors and settings, found {shortened(str(error).splitlines()[0])}; "
            "nothing of it was run. Save it again with torch.save, from plain values and tensors"
        ) from error
    parts = (found.get("model"), found.get("model_args")) if isinstance(found, dict) else (None, None)
    if not all(isinstance(part, dict) for part in parts):
        raise CheckpointError(
            f"{file.name}: expected model and model_args, as nanoGPT's train.py writes, found none; a state dict alone "
            "does not say how many heads there are: save {'model': state, 'model_args': {...}}"
        )
    return found


def read_config(path: Path) -> GPTConfig:
    """The shape of the model.

    Raises:
        CheckpointError: for a file that is damaged, or settings that are missing.
    """
    file = file_of(path)
    args = opened(file, file.stat().st_mtime_ns)["model_args"]
    missing = ", ".join(name for name in SIZES if not isinstance(args.get(name), int))
    if missing:
        raise CheckpointError(f"{file.name}, model_args: expected numbers as {', '.join(SIZES)}; missing: {missing}")
    try:
        return GPTConfig(
            vocab_size=args["vocab_size"], context=args["block_size"], n_layers=args["n_layer"],
            n_heads=args["n_head"], d_model=args["n_embd"], norm_order="pre", activation="gelu", tied=True,
            bias="all" if args.get("bias", True) else "none",
        )  # fmt: skip
    except ConfigError as error:
        raise CheckpointError(f"{file.name}, model_args: {error}") from error


def half_of(path: Path) -> torch.dtype | None:
    """The type of half precision that the file has: none is usual."""
    return None


def read_weights(path: Path, config: GPTConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """All weights by our names, matrices in `dtype` and the rest in float32, each with memory of its own."""
    file = file_of(path)
    state = opened(file, file.stat().st_mtime_ns)["model"]
    theirs = {str(name).removeprefix(COMPILED).removeprefix("transformer."): value for name, value in state.items()}
    parts = ("weight", "bias") if config.bias == "all" else ("weight",)
    names = {ours: name for ours, name in GPT2_OUTSIDE.items() if config.bias == "all" or not ours.endswith("bias")}
    names |= {
        f"blocks.{layer}.{ours}.{part}": f"h.{layer}.{name}.{part}"
        for layer in range(config.n_layers) for ours, name in GPT2_INSIDE.items() for part in parts
    }  # fmt: skip
    found = {}
    for ours, name in names.items():
        value = theirs.get(name)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise CheckpointError(f"{file.name}, {name}: expected a tensor, found none; model_args is of another model")
        found[ours] = value.to(kept_in(dtype, ours, value.ndim), copy=True)
        check_finite(found[ours], f"{file.name}, {name}", remedy_for(dtype, "the training diverged"))
    return found


def read_tokenizer(path: Path) -> CharacterTokenizer | Tokenizer:
    """The characters of meta.pkl beside it; without one, GPT-2's vocabulary."""
    meta = file_of(path).with_name(META)
    if not meta.is_file():
        try:
            return Tokenizer.gpt2()
        except TokenizerError as error:
            raise CheckpointError(
                f"{file_of(path).name}: {error}; of a model of characters, put its {META} beside it"
            ) from error
    values = read_plain(meta)
    itos = values.get("itos") if isinstance(values, dict) else None
    sound = isinstance(itos, dict) and sorted(itos) == list(range(len(itos)))
    if not sound or not all(isinstance(c, str) and len(c) == 1 for c in itos.values()):
        raise CheckpointError(f"{META}, itos: expected a character for every id from 0, found {shortened(itos)}")
    return CharacterTokenizer([itos[i] for i in range(len(itos))])
