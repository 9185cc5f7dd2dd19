"""minGPT's model.pt, a bare state dict, with the config.json that its projects write beside it.

The config names a preset or the sizes; vocabulary and context are often null there, for they are set afterwards, and
follow from the tables then. The output projection is a matrix of its own; GELU is the one with tanh.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptviz.character_tokenizer import CharacterTokenizer
from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import CheckpointError, shortened
from gptviz.formats import CONFIG, MINGPT_FILE
from gptviz.formats.hugging_face_config import LEFT_OUT, Fields, read_json
from gptviz.formats.nanogpt import bare_names, vocabulary_beside, weights_of
from gptviz.formats.torch_file import plain, read_torch
from gptviz.tokenizer import Tokenizer

PRESETS = {  # layers, heads, width
    "openai-gpt": (12, 12, 768), "gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024), "gpt2-large": (36, 20, 1280),
    "gpt2-xl": (48, 25, 1600), "gopher-44m": (8, 16, 512), "gpt-mini": (6, 6, 192), "gpt-micro": (4, 4, 128),
    "gpt-nano": (3, 3, 48),
}  # fmt: skip
SIZES = ("n_layer", "n_head", "n_embd")
TABLES = {"vocab_size": "wte.weight", "block_size": "wpe.weight"}  # whose rows these are
WITHOUT_EFFECT = ("embd_pdrop", "resid_pdrop", "attn_pdrop")  # when a model is read


def file_of(path: Path) -> Path:
    """The checkpoint of a folder, or the file itself."""
    return path if path.is_file() else path / MINGPT_FILE


@functools.lru_cache(maxsize=1)
def opened(file: Path, changed: int) -> dict[str, Any]:
    """The state dict, its tensors mapped into memory; `changed` makes a replaced file another one."""
    found = read_torch(file, file.name, "minGPT's tensors", "Save model.state_dict() again with torch.save")
    if not isinstance(found, dict):
        raise CheckpointError(f"{file.name}: expected tensors by name, found {type(found).__name__}; save it again")
    return bare_names(found, file.name)


def state_of(path: Path) -> dict[str, Any]:
    """The state dict of a folder or file."""
    file = file_of(path)
    return opened(file, file.stat().st_mtime_ns)


def read_config(path: Path) -> GPTConfig:
    """The shape of the model.

    Raises:
        CheckpointError: for a file that is damaged, and for settings that are missing or contradict.
    """
    folder = file_of(path).parent
    label = f"{folder.name}/{CONFIG}"
    fields = Fields(Fields(read_json(folder / CONFIG), label).get("model", dict), f"{label}, model")
    known = ("model_type", *SIZES, *TABLES, *WITHOUT_EFFECT)
    if more := [name for name in fields.values if name not in known and fields.values[name] not in LEFT_OUT]:
        raise fields.wrong(shortened(more[0]), f"nothing but {', '.join(known)}", shortened(fields.values[more[0]]))
    n_layer, n_head, n_embd = sizes_of(fields)
    vocabulary, context = (rows_of(path, fields, name) for name in TABLES)
    try:
        return GPTConfig(
            vocab_size=vocabulary, context=context, n_layers=n_layer, n_heads=n_head, d_model=n_embd, norm_order="pre",
            activation="gelu_tanh",
        )  # fmt: skip
    except ConfigError as error:
        raise CheckpointError(f"{fields.label}: {error}") from error


def sizes_of(fields: Fields) -> list[int]:
    """Layers, heads and width, by name or by those of a preset."""
    preset = fields.values.get("model_type")
    if preset is not None and (not isinstance(preset, str) or preset not in PRESETS):
        raise fields.wrong("model_type", f"null or one of {', '.join(PRESETS)}", shortened(preset))
    usual = dict(zip(SIZES, PRESETS[preset], strict=True)) if preset else {}
    for name in SIZES:
        if not preset and fields.values.get(name) is None:
            raise fields.wrong(name, "a number, or a preset as model_type", "none")
        if preset and fields.get(name, int, usual[name]) != usual[name]:
            raise fields.wrong(name, f"{usual[name]}, as {preset} has", shortened(fields.values[name]))
    return [fields.get(name, int, usual.get(name)) for name in SIZES]


def rows_of(path: Path, fields: Fields, name: str) -> int:
    """How many rows a table has, which the config has to say, too, if it says anything."""
    file = file_of(path)
    shape = plain(state_of(path).get(TABLES[name]), f"{file.name}, {TABLES[name]}", "save the model again").shape
    rows = shape[0] if len(shape) == 2 else 0
    if fields.get(name, int, rows) != rows:
        raise fields.wrong(name, f"{rows}, as {TABLES[name]} in {file.name} has rows", shortened(fields.values[name]))
    return rows


def half_of(path: Path) -> torch.dtype | None:
    """The type of half precision that the file has: none is usual."""
    return None


def read_weights(path: Path, config: GPTConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """All weights by our names, matrices in `dtype` and the rest in float32, each with memory of its own."""
    return weights_of(state_of(path), config, file_of(path).name, dtype, CONFIG)


def read_tokenizer(path: Path) -> CharacterTokenizer | Tokenizer:
    """The characters of a meta.pkl as nanoGPT writes it, for minGPT writes none; without one, GPT-2's vocabulary."""
    return vocabulary_beside(file_of(path), read_config(path).vocab_size)
