"""GPT-2 and Llama-like models out of Hugging Face's folders: safetensors or .bin, in one file or in shards.

What config.json says is read by `gptviz.formats.hugging_face_config`. A .bin file is read with `weights_only=True`,
which makes tensors and nothing else of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gptviz.config import GPTConfig
from gptviz.folder import CheckpointError, expected_sizes, shortened
from gptviz.formats.hugging_face_config import CONFIG, read_config, read_json
from gptviz.formats.torch_file import plain, read_torch
from gptviz.half import check_finite, kept_in, remedy_for
from gptviz.tensor_file import TO_NUMBERS, TensorFile

if TYPE_CHECKING:
    from gptviz.foreign_tokenizer import ForeignTokenizer

__all__ = ["half_of", "read_config", "read_tokenizer", "read_weights"]

SINGLE, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX, PICKLED_INDEX = f"{SINGLE}.index.json", f"{PICKLED}.index.json"
IGNORED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")  # masks and angles that old files carry
Get = Callable[..., Tensor]
"""A tensor of the files by its name there, without the prefix of its class; of several, one below the other."""


class Stored(NamedTuple):
    """A tensor of the files that is still there."""

    shape: tuple[int, ...]
    kind: torch.dtype | None  # None for numbers that are no weights
    read_into: Callable[[Tensor], object]  # its numbers into a tensor of its shape, in the type of that


GPT2_OUTSIDE = {
    "token_embedding.weight": "wte.weight", "position_embedding.weight": "wpe.weight",
    "final_norm.weight": "ln_f.weight", "final_norm.bias": "ln_f.bias",
}  # fmt: skip
GPT2_INSIDE = {
    "attention_norm": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj", "ff_norm": "ln_2",
    "ff.expand": "mlp.c_fc", "ff.contract": "mlp.c_proj",
}  # fmt: skip
LLAMA_OUTSIDE = {"token_embedding.weight": "embed_tokens.weight", "final_norm.weight": "norm.weight"}
LLAMA_INSIDE = {
    "attention_norm": "input_layernorm", "attention.out": "self_attn.o_proj", "ff_norm": "post_attention_layernorm",
    "ff.gate": "mlp.gate_proj", "ff.expand": "mlp.up_proj", "ff.contract": "mlp.down_proj",
}  # fmt: skip
JOINED = tuple(f"self_attn.{letter}_proj" for letter in "qkv")


def half_of(path: Path) -> torch.dtype | None:
    """The type of half precision that the files have, None where they have another."""
    kinds = {stored.kind for stored in open_tensors(path).values() if len(stored.shape) == 2}
    return next((dtype for dtype in (torch.bfloat16, torch.float16) if dtype in kinds), None)


def read_weights(path: Path, config: GPTConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """All weights by our names, matrices in `dtype` and the rest in float32, each with memory of its own.

    Raises:
        CheckpointError: for a file that is missing, a tensor of another shape, or one that is not finite.
    """
    found = collected(path, config, dtype, "cpu")
    for name, value in found.items():
        check_finite(value, f"{path.name}, {name}", remedy_for(dtype, "get the model again"))
    return found


def shapes_of(path: Path, config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of all weights by our names; raises as `read_weights` does, but looks at no number."""
    return {name: tuple(value.shape) for name, value in collected(path, config, torch.float32, "meta").items()}


def collected(path: Path, config: GPTConfig, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """The weights by our names, not yet checked; on "meta" they have shapes alone."""
    tensors = open_tensors(path)
    names = bare_names(tensors, path.name)
    used: set[str] = {"lm_head.weight"} if config.tied else set()
    _, most = expected_sizes(config)

    def find(name: str) -> Stored:
        """Where a tensor is, which is used now."""
        if name not in names:
            raise CheckpointError(f"{path.name}, {name}: expected such a tensor, found none; get the model again")
        used.add(name)
        stored = tensors[names[name]]
        if math.prod(stored.shape) > most:  # of a model that is smaller as a whole: before memory is taken
            raise CheckpointError(
                f"{path.name}, {name}: expected less than {most:,} numbers, found {stored.shape}; {CONFIG} is of "
                "another model"
            )
        return stored

    def get(*every: str, rows: list[int] | None = None) -> Tensor:
        """One tensor, or several as one, of which each has its number of rows."""
        parts = [find(name) for name in every]
        first = parts[0].shape
        fit = all(len(part.shape) == len(first) > 0 and part.shape[1:] == first[1:] for part in parts)
        if rows and (not fit or [part.shape[0] for part in parts] != rows):
            raise CheckpointError(
                f"{path.name}, {every[0]}: expected {', '.join(every)} of {', '.join(map(str, rows))} rows and one "
                f"width, found {', '.join(str(part.shape) for part in parts)}; get the model again"
            )
        ours = "position_embedding.weight" if every == (GPT2_OUTSIDE["position_embedding.weight"],) else every[0]
        shape = (sum(rows), *first[1:]) if rows else first
        whole = torch.empty(shape, dtype=kept_in(dtype, ours, len(first)), device=device)
        if whole.is_meta:
            return whole
        for part, place in zip(parts, whole.split(rows) if rows else [whole], strict=True):
            part.read_into(place)
        return whole

    if device != "meta":
        check_tied(config, get, names, path.name)
    found = gpt2_weights(config, get) if config.positions == "learned" else llama_weights(config, get, names)
    if more := sorted(set(names) - used):
        raise CheckpointError(
            f"{path.name}, {shortened(more[0])}: expected no such tensor, found {len(more)} of them; {CONFIG} is of "
            "another model"
        )
    return found


def bare_names(tensors: dict[str, Stored], label: str) -> dict[str, str]:
    """Names without the prefix that a class adds -> those in the files."""
    names: dict[str, str] = {}
    for name in tensors:
        if not name.endswith(IGNORED):
            bare = name.removeprefix("transformer.").removeprefix("model.")
            if bare in names:
                raise CheckpointError(
                    f"{label}, {shortened(name)}: expected it once, found {shortened(names[bare])}, too; get the model "
                    "again"
                )
            names[bare] = name
    return names


def check_tied(config: GPTConfig, get: Get, names: dict[str, str], label: str) -> None:
    """Raise where a projection is stored that the config says to be the token table, and is another one."""
    if config.tied and "lm_head.weight" in names:
        table = GPT2_OUTSIDE if config.positions == "learned" else LLAMA_OUTSIDE
        if not torch.equal(get("lm_head.weight"), get(table["token_embedding.weight"])):
            raise CheckpointError(
                f"{label}, lm_head.weight: expected the token table, as tie_word_embeddings in {CONFIG} says, found "
                "other numbers; such a model cannot be shown: one of the two is wrong"
            )


def gpt2_weights(config: GPTConfig, get: Get) -> dict[str, Tensor]:
    """GPT-2 keeps its matrices transposed (its "Conv1D")."""
    found = {ours: get(theirs) for ours, theirs in GPT2_OUTSIDE.items()}
    for layer in range(config.n_layers):
        for ours, theirs in GPT2_INSIDE.items():
            for part in ("weight", "bias"):
                value = get(f"h.{layer}.{theirs}.{part}")
                found[f"blocks.{layer}.{ours}.{part}"] = value.T.contiguous() if value.ndim == 2 else value
    return found if config.tied else found | {"unembedding.weight": get("lm_head.weight")}


def llama_weights(config: GPTConfig, get: Get, names: dict[str, str]) -> dict[str, Tensor]:
    """Llama's three projections are one here; biases that only some projections have are zeros in the others."""
    found = {ours: get(theirs) for ours, theirs in LLAMA_OUTSIDE.items()}
    for layer in range(config.n_layers):
        theirs_in, ours_in = f"layers.{layer}.", f"blocks.{layer}."
        for ours, theirs in LLAMA_INSIDE.items():
            value = found[f"{ours_in}{ours}.weight"] = get(f"{theirs_in}{theirs}.weight")
            if config.bias == "all" and not ours.endswith("norm"):
                there = f"{theirs_in}{theirs}.bias" in names
                found[f"{ours_in}{ours}.bias"] = (
                    get(f"{theirs_in}{theirs}.bias") if there else torch.zeros(value.shape[0])
                )
        for part in ("weight", "bias") if config.bias != "none" else ("weight",):
            every = [f"{theirs_in}{name}.{part}" for name in JOINED]
            rows = [config.n_heads, config.n_groups, config.n_groups]
            if part == "bias" and config.bias == "all" and not any(name in names for name in every):
                found[f"{ours_in}attention.qkv.bias"] = torch.zeros(sum(rows) * config.d_head)
            else:
                found[f"{ours_in}attention.qkv.{part}"] = get(*every, rows=[count * config.d_head for count in rows])
    return found if config.tied else found | {"unembedding.weight": get("lm_head.weight")}


# The files ------------------------------------------------------------------------------------------------------------


def open_tensors(path: Path) -> dict[str, Stored]:
    """All tensors of a folder by their names, each read when it is asked for."""
    if (path / SINGLE).is_file():
        return in_safetensors(path / SINGLE)
    if (path / INDEX).is_file():
        return in_shards(path, INDEX, in_safetensors)
    if (path / PICKLED).is_file():
        return in_pickle(path / PICKLED)
    if (path / PICKLED_INDEX).is_file():
        return in_shards(path, PICKLED_INDEX, in_pickle)
    raise CheckpointError(f"{path.name}: expected {SINGLE}, {INDEX} or {PICKLED}, found none of them; get it again")


def in_shards(path: Path, name: str, read: Callable[[Path], dict[str, Stored]]) -> dict[str, Stored]:
    """Of the files that an index names, which lie beside it."""
    label, index = f"{path.name}/{name}", read_json(path / name).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise CheckpointError(f"{label}, weight_map: expected names of files, found {shortened(index)}")
    found: dict[str, Stored] = {}
    for file in sorted(set(index.values())):
        if Path(file).name != file or file.startswith(".") or "\0" in file:
            raise CheckpointError(f"{label}: expected files beside it, found {shortened(file)}")
        if not (path / file).is_file():
            raise CheckpointError(f"{label}: expected the file {shortened(file)}, found none; get it again")
        for tensor, stored in read(path / file).items():
            if tensor in found or index.get(tensor, file) != file:
                raise CheckpointError(
                    f"{label}, {shortened(tensor)}: expected it in {shortened(index.get(tensor))} alone, found it in "
                    f"{shortened(file)}, too; get the model again"
                )
            found[tensor] = stored
    return found


def in_safetensors(path: Path) -> dict[str, Stored]:
    """Of one file."""
    file = TensorFile(path)
    return {
        name: Stored(place.shape, TO_NUMBERS.get(place.kind), functools.partial(file.read_into, name))
        for name, place in file.places.items()
    }


def in_pickle(file: Path) -> dict[str, Stored]:
    """Of one .bin file: tensors, and nothing that could run."""
    label = f"{file.parent.name}/{file.name}"
    state = read_torch(file, label, "tensors alone", f"Get the model as {SINGLE}")
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{label}: expected tensors by name, found {type(state).__name__}; get it again")
    found = {}
    for name, value in state.items():
        if not name.endswith(IGNORED):
            tensor = plain(value, f"{label}, {shortened(name)}", "get the model again")
            found[name] = Stored(tuple(tensor.shape), tensor.dtype, lambda place, tensor=tensor: place.copy_(tensor))
    return found


def read_tokenizer(path: Path) -> ForeignTokenizer:
    """The vocabulary beside the model."""
    from gptviz.formats.tokenizers_json import read_tokenizer_folder

    return read_tokenizer_folder(path)
