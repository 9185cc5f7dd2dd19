"""GPT-2 and Llama-like models out of Hugging Face's folders: config.json, safetensors (one file or shards) or .bin.

Names and defaults are those of the configs of `transformers`; none of its code is needed. A .bin file is read with
`weights_only=True`, which makes tensors and nothing else of it.
"""

from __future__ import annotations

import functools
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import CheckpointError, expected_sizes, parse_json, shortened
from gptviz.half import check_finite, kept_in, remedy_for
from gptviz.tensor_file import TO_NUMBERS, TensorFile

if TYPE_CHECKING:
    from gptviz.foreign_tokenizer import ForeignTokenizer

CONFIG, SINGLE, INDEX, PICKLED = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
MAX_JSON = 16 * 2**20  # bytes; the index of a large model has some hundred thousand
LLAMA_LIKE = ("llama", "qwen2", "mistral")
ACTIVATIONS = {
    "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip
WIDEST = 2**16  # of a head; known ones have 256 at most
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


class Fields:
    """The values of a config.json, asked for by name and kind."""

    def __init__(self, values: dict[str, Any], label: str) -> None:
        self.values, self.label = values, label

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """A value; without a default it must be there. `null` counts as not there."""
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, (int, float) if kind is float else kind) or (kind is not bool and value is True):
            raise self.wrong(name, f"a value ({kind.__name__})", "none" if value is None else shortened(value))
        return value

    def expect(self, name: str, usual: Any) -> None:
        """Raise unless a switch is off, or as most models have it."""
        if self.values.get(name) not in (None, usual):
            raise self.wrong(name, str(usual), shortened(self.values[name]))

    def wrong(self, name: str, expected: str, found: str) -> CheckpointError:
        """What to raise."""
        return CheckpointError(
            f"{self.label}, {name}: expected {expected}, found {found}; such a model cannot be shown"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size, or a `CheckpointError`."""
    label = f"{path.parent.name}/{path.name}"
    if path.stat().st_size > MAX_JSON:
        raise CheckpointError(f"{label}: expected at most {MAX_JSON} bytes, found {path.stat().st_size}")
    return parse_json(path.read_bytes(), label)


def read_config(path: Path) -> GPTConfig:
    """The shape of the model in a folder; reads no weight.

    Raises:
        CheckpointError: for an architecture that is not known here, or fields that are missing or contradict.
    """
    fields = Fields(read_json(path / CONFIG), f"{path.name}/{CONFIG}")
    kind = fields.values.get("model_type")
    if kind != "gpt2" and kind not in LLAMA_LIKE:
        found = shortened(kind if kind is not None else fields.values.get("architectures"))
        raise fields.wrong("model_type", f"one of gpt2, {', '.join(LLAMA_LIKE)}", found)
    try:
        return gpt2_config(fields) if kind == "gpt2" else llama_config(fields, kind)
    except ConfigError as error:
        raise CheckpointError(f"{fields.label}: {error}") from error


def gpt2_config(fields: Fields) -> GPTConfig:
    """GPT-2 and its distilled ones."""
    for name, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False),
                        ("add_cross_attention", False)):  # fmt: skip
        fields.expect(name, usual)
    return GPTConfig(
        vocab_size=fields.get("vocab_size", int),
        context=fields.get("n_positions", int, fields.values.get("n_ctx")),
        n_layers=fields.get("n_layer", int),
        n_heads=fields.get("n_head", int),
        d_model=fields.get("n_embd", int),
        d_ff=fields.get("n_inner", int, 4 * fields.get("n_embd", int)),
        norm_order="pre",
        activation=activation(fields, "activation_function", "gelu_new"),
        tied=fields.get("tie_word_embeddings", bool, True),
        norm_epsilon=fields.get("layer_norm_epsilon", float, 1e-5),
    )


def llama_config(fields: Fields, kind: str) -> GPTConfig:
    """Llama, and what differs from it by biases alone."""
    if kind == "mistral" or fields.values.get("use_sliding_window"):
        fields.expect("sliding_window", None)
    qkv, rest = kind == "qwen2", (fields.get(name, bool, False) for name in ("attention_bias", "mlp_bias"))
    heads, width = fields.get("num_attention_heads", int), fields.get("hidden_size", int)
    head_width = fields.get("head_dim", int, 0)
    base, factors = rotary(fields, head_width or width // max(1, heads))
    return GPTConfig(
        vocab_size=fields.get("vocab_size", int),
        context=fields.get("max_position_embeddings", int),
        n_layers=fields.get("num_hidden_layers", int),
        n_heads=heads,
        d_model=width,
        d_ff=fields.get("intermediate_size", int),
        norm_order="pre",
        activation=activation(fields, "hidden_act", "silu"),
        tied=fields.get("tie_word_embeddings", bool, False),
        norm="rms",
        norm_epsilon=fields.get("rms_norm_eps", float, 1e-6),
        bias="all" if any(rest) else "qkv" if qkv else "none",
        positions="rotary",
        rotary_base=base,
        rotary_factors=factors,
        n_kv_heads=fields.get("num_key_value_heads", int, heads),
        head_width=0 if head_width * heads == width else head_width,
        gated=True,
    )


def activation(fields: Fields, name: str, default: str) -> str:
    """Our name of an activation."""
    found = fields.get(name, str, default)
    if found not in ACTIVATIONS:
        raise fields.wrong(name, f"one of {', '.join(ACTIVATIONS)}", shortened(found))
    return ACTIVATIONS[found]


def rotary(fields: Fields, width: int) -> tuple[float, tuple[float, ...]]:
    """The base of the angles, and what they are divided by."""
    found = fields.values.get("rope_parameters") or fields.values.get("rope_scaling") or {}
    if not isinstance(found, dict):
        raise fields.wrong("rope_scaling", "an object", shortened(found))
    if width > WIDEST:
        raise fields.wrong("head_dim", f"at most {WIDEST}", str(width))
    scaling = Fields(found, fields.label)
    scaling.expect("partial_rotary_factor", 1.0)
    base = float(scaling.get("rope_theta", float, fields.get("rope_theta", float, 10_000.0)))
    kind = found.get("rope_type", found.get("type", "default"))
    if kind == "default":
        return base, ()
    if kind == "linear":
        return base, (float(scaling.get("factor", float)),) * (width // 2)
    if kind == "llama3":
        return base, llama3_factors(scaling, base, width)
    raise fields.wrong("rope_type", "default, linear or llama3", shortened(kind))


def llama3_factors(scaling: Fields, base: float, width: int) -> tuple[float, ...]:
    """Slow pairs are slowed down by the factor, quick ones not at all, and those between in part (Llama 3.1's card)."""
    factor, low, high = (float(scaling.get(name, float)) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    trained = scaling.get("original_max_position_embeddings", int)
    if not 0 < low < high or factor <= 0:
        raise scaling.wrong("low_freq_factor", f"a number below high_freq_factor, {high}", str(low))
    factors = []
    for pair in range(width // 2):
        turns = trained / (2 * math.pi * base ** (2 * pair / width))  # within the context of the first training
        share = min(1.0, max(0.0, (turns - low) / (high - low)))  # of the speed that stays
        factors.append(1 / (share + (1 - share) / factor))
    return tuple(factors)


def half_of(path: Path) -> torch.dtype | None:
    """The type of half precision that the files have, None where they have another."""
    kinds = {stored.kind for stored in open_tensors(path).values() if len(stored.shape) == 2}
    return next((dtype for dtype in (torch.bfloat16, torch.float16) if dtype in kinds), None)


def read_weights(path: Path, config: GPTConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """All weights by our names, matrices in `dtype` and the rest in float32, each with memory of its own.

    Raises:
        CheckpointError: for a file that is missing, a tensor of another shape, or one that is not finite.
    """
    tensors = open_tensors(path)
    names = {bare(name): name for name in tensors if not name.endswith(IGNORED)}
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

    def get(*every: str) -> Tensor:
        """One tensor, or several as one."""
        parts = [find(name) for name in every]
        first = parts[0].shape
        fit = all(len(part.shape) == len(first) > 0 and part.shape[1:] == first[1:] for part in parts)
        if len(parts) > 1 and not fit:
            raise CheckpointError(
                f"{path.name}, {every[0]}: expected {', '.join(every)} of one width, found "
                f"{', '.join(str(part.shape) for part in parts)}; get the model again"
            )
        ours = "position_embedding.weight" if every == (GPT2_OUTSIDE["position_embedding.weight"],) else every[0]
        rows = [part.shape[0] for part in parts] if len(parts) > 1 else []
        shape = (sum(rows), *first[1:]) if rows else first
        whole = torch.empty(shape, dtype=kept_in(dtype, ours, len(first)))
        for part, place in zip(parts, whole.split(rows) if rows else [whole], strict=True):
            part.read_into(place)
        return whole

    found = gpt2_weights(config, get) if config.positions == "learned" else llama_weights(config, get, names)
    if more := sorted(set(names) - used):
        raise CheckpointError(
            f"{path.name}, {shortened(more[0])}: expected no such tensor, found {len(more)} of them; {CONFIG} is of "
            "another model"
        )
    for name, value in found.items():
        check_finite(value, f"{path.name}, {name}", remedy_for(dtype, "get the model again"))
    return found


def bare(name: str) -> str:
    """A name without the prefix that its class adds."""
    for prefix in ("transformer.", "model."):
        name = name.removeprefix(prefix)
    return name


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
                found[f"{ours_in}attention.qkv.{part}"] = get(*every)
    return found if config.tied else found | {"unembedding.weight": get("lm_head.weight")}


# The files ------------------------------------------------------------------------------------------------------------


def open_tensors(path: Path) -> dict[str, Stored]:
    """All tensors of a folder by their names, each read when it is asked for."""
    if (path / SINGLE).is_file():
        return in_safetensors(path / SINGLE)
    if (path / INDEX).is_file():
        return in_shards(path)
    if (path / PICKLED).is_file():
        return in_pickle(path / PICKLED)
    raise CheckpointError(f"{path.name}: expected {SINGLE}, {INDEX} or {PICKLED}, found none of them; get it again")


def in_shards(path: Path) -> dict[str, Stored]:
    """Of the files that an index names, which lie beside it."""
    index = read_json(path / INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise CheckpointError(f"{path.name}/{INDEX}, weight_map: expected names of files, found {shortened(index)}")
    found: dict[str, Stored] = {}
    for file in sorted(set(index.values())):
        if Path(file).name != file or file.startswith("."):
            raise CheckpointError(f"{path.name}/{INDEX}: expected files beside it, found {shortened(file)}")
        if not (path / file).is_file():
            raise CheckpointError(f"{path.name}/{INDEX}: expected the file {shortened(file)}, found none; get it again")
        found |= in_safetensors(path / file)
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
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(
            f"{label}: expected tensors alone, found {shortened(str(error).splitlines()[0])}; nothing of it was run. "
            f"Get the model as {SINGLE}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{label}: expected tensors by name, found {type(state).__name__}; get it again")
    return {
        name: Stored(tuple(value.shape), value.dtype, lambda place, value=value: place.copy_(value))
        for name, value in state.items()
    }


def read_tokenizer(path: Path) -> ForeignTokenizer:
    """The vocabulary beside the model."""
    from gptviz.formats.tokenizers_json import read_tokenizer_folder

    return read_tokenizer_folder(path)
