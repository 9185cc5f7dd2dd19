"""nanoGPT's ckpt.pt: tensors by `torch.load(weights_only=True)`, characters of a meta.pkl without running it.

A compiled model's names begin with "_orig_mod."; the output projection is the token table; GELU is the exact one.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptviz.character_tokenizer import CharacterTokenizer
from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import CheckpointError, expected_sizes, shortened
from gptviz.formats import NANOGPT_FILE
from gptviz.formats.hugging_face import GPT2_INSIDE, GPT2_OUTSIDE
from gptviz.formats.pickles import read_plain
from gptviz.formats.torch_file import plain, read_torch
from gptviz.half import check_finite, kept_in, remedy_for
from gptviz.tokenizer import Tokenizer, TokenizerError

META = "meta.pkl"
COMPILED = "_orig_mod."
SIZES = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
WITHOUT_EFFECT = ("dropout",)  # when a model is read
MASKS = (".attn.bias", ".attn.masked_bias")  # that some versions keep beside the weights
HEAD = "lm_head.weight"
GPT2_VOCABULARY = 50_257  # ids


def file_of(path: Path) -> Path:
    """The checkpoint of a folder, or the file itself."""
    return path if path.is_file() else path / NANOGPT_FILE


@functools.lru_cache(maxsize=1)
def opened(file: Path, changed: int) -> dict[str, Any]:
    """What the file holds, its tensors mapped into memory; `changed` makes a replaced file another one."""
    remedy = "Save it again with torch.save, from plain values and tensors"
    found = read_torch(file, file.name, "nanoGPT's tensors and settings", remedy)
    parts = (found.get("model"), found.get("model_args")) if isinstance(found, dict) else (None, None)
    if not all(isinstance(part, dict) for part in parts):
        raise CheckpointError(
            f"{file.name}: expected model and model_args, as nanoGPT's train.py writes, found none; a state dict alone "
            "does not say how many heads there are: save {'model': state, 'model_args': {...}}, or, of minGPT, put its "
            "config.json beside model.pt"
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
    more = [name for name in args if name not in (*SIZES, *WITHOUT_EFFECT, "bias") and args[name]]
    if more or not isinstance(args.get("bias", True), bool):
        name = more[0] if more else "bias"
        known = f"nothing but {', '.join(SIZES)}, bias and dropout" if more else "true or false"
        raise CheckpointError(
            f"{file.name}, model_args, {shortened(name)}: expected {known}, found {shortened(args[name])}; a model "
            "that was changed so cannot be shown"
        )
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
    return weights_of(opened(file, file.stat().st_mtime_ns)["model"], config, file.name, dtype, "model_args")


def weights_of(
    state: dict[str, Any], config: GPTConfig, label: str, dtype: torch.dtype, settings: str
) -> dict[str, Tensor]:
    """The weights of a state dict of nanoGPT or minGPT by our names, all of them; `settings` say what is expected."""
    theirs, wrong = bare_names(state, label), f"{settings} is of another model"
    parts = ("weight", "bias") if config.bias == "all" else ("weight",)
    names = {ours: name for ours, name in GPT2_OUTSIDE.items() if config.bias == "all" or not ours.endswith("bias")}
    names |= {
        f"blocks.{layer}.{ours}.{part}": f"h.{layer}.{name}.{part}"
        for layer in range(config.n_layers) for ours, name in GPT2_INSIDE.items() for part in parts
    }  # fmt: skip
    if not config.tied:
        names["unembedding.weight"] = HEAD
    if more := sorted(set(theirs) - set(names.values()) - {HEAD}):
        raise CheckpointError(
            f"{label}, {shortened(more[0])}: expected no such tensor, found {len(more)} of them; {wrong}"
        )
    _, most = expected_sizes(config)
    found = {}
    for ours, name in names.items():
        value = plain(theirs.get(name), f"{label}, {name}", wrong)
        if math.prod(value.shape) > most:  # of a model that is smaller as a whole: before memory is taken
            raise CheckpointError(f"{label}, {name}: expected a smaller shape, found {tuple(value.shape)}; {wrong}")
        found[ours] = torch.empty(value.shape, dtype=kept_in(dtype, ours, value.ndim)).copy_(value)
        check_finite(found[ours], f"{label}, {name}", remedy_for(dtype, "the training diverged"))
    if config.tied and HEAD in theirs:
        table = theirs[GPT2_OUTSIDE["token_embedding.weight"]]
        if not torch.equal(plain(theirs[HEAD], f"{label}, {HEAD}", wrong), table):
            raise CheckpointError(
                f"{label}, {HEAD}: expected the numbers of the token table, which nanoGPT uses again, found others; "
                "such a model cannot be shown"
            )
    return found


def bare_names(state: dict[str, Any], label: str) -> dict[str, Any]:
    """A state dict by the names within the transformer, without masks."""
    found: dict[str, Any] = {}
    for name, value in state.items():
        bare = str(name).removeprefix(COMPILED).removeprefix("transformer.")
        if bare in found:
            raise CheckpointError(f"{label}, {shortened(name)}: expected it once, found it twice; save the model again")
        if not bare.endswith(MASKS):
            found[bare] = value
    return found


def read_tokenizer(path: Path) -> CharacterTokenizer | Tokenizer:
    """The characters of meta.pkl beside it; without one, GPT-2's vocabulary."""
    return vocabulary_beside(file_of(path), read_config(path).vocab_size)


def vocabulary_beside(file: Path, size: int) -> CharacterTokenizer | Tokenizer:
    """The vocabulary of a model with `size` ids: the characters of meta.pkl beside its file, else GPT-2's."""
    meta = file.with_name(META)
    if not meta.is_file():
        if size < GPT2_VOCABULARY:
            raise CheckpointError(
                f"{file.name}: expected {META} beside it, for {size} ids are not GPT-2's vocabulary, found none; write "
                "pickle.dump({'itos': {0: 'a', ...}}, file) with the characters that the model was trained on"
            )
        try:
            return Tokenizer.gpt2()
        except TokenizerError as error:
            raise CheckpointError(f"{file.name}: {error}") from error
    values = read_plain(meta)
    itos = values.get("itos") if isinstance(values, dict) else None
    sound = isinstance(itos, dict) and set(itos) == set(range(len(itos)))
    if not sound or not all(isinstance(c, str) and len(c) == 1 for c in itos.values()):
        raise CheckpointError(f"{META}, itos: expected a character for every id from 0, found {shortened(itos)}")
    return CharacterTokenizer([itos[i] for i in range(len(itos))])
