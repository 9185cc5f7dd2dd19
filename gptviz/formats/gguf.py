"""Llama-like models out of GGUF files: the config from the metadata, tensors by our names, float32.

Two places where importers go wrong silently: files of the architecture "llama" hold the rows of q and k in another
order (rotary pairs side by side; here, and in "qwen2", they are half a head apart), and a missing output projection
means that the token table is used.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gptviz.config import ConfigError, GPTConfig
from gptviz.folder import CheckpointError, shortened
from gptviz.formats.gguf_blocks import TO_FLOAT
from gptviz.formats.gguf_file import TYPES, Container, TensorPlace, read_container
from gptviz.half import check_finite, kept_in, remedy_for
from gptviz.tensor_file import read_whole

if TYPE_CHECKING:
    from gptviz.foreign_tokenizer import ForeignTokenizer

ARCHITECTURES = ("llama", "qwen2")
AT_ONCE = 2**20  # numbers that are made of blocks at a time: they stay in the processor's cache
WIDEST = 2**16  # of a head; known ones have 256 at most
SCALINGS = ("none", "linear")
KNOWN = (  # below the name of the architecture: what is read here, or says nothing about the numbers
    "block_count", "embedding_length", "feed_forward_length", "context_length", "vocab_size", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
    "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear",
    "rope.scaling.original_context_length", "rope.scaling.finetuned", "attention.sliding_window",
)  # fmt: skip
USUAL = {  # what has to be so, if the file says anything; everything else there must be 0, false or empty
    "attention.causal": (True,), "rope.scaling.attn_factor": (1.0,),
    "tensor_data_layout": ("Meta AI original pth", "reference"),
}  # fmt: skip
FACTORS = "rope_freqs.weight"  # what Llama 3 divides the angles by
OUTSIDE = {
    "token_embd.weight": "token_embedding.weight",
    "output_norm.weight": "final_norm.weight",
    "output.weight": "unembedding.weight",
}
INSIDE = {
    "attn_norm": "attention_norm", "attn_output": "attention.out", "ffn_norm": "ff_norm", "ffn_gate": "ff.gate",
    "ffn_up": "ff.expand", "ffn_down": "ff.contract",
}  # fmt: skip
JOINED = ("attn_q", "attn_k", "attn_v")  # are one projection here


def file_of(path: Path) -> Path:
    """The GGUF file of a folder, which must be the only one; or the file itself."""
    if path.is_file():
        return path
    files = sorted(each for each in path.iterdir() if each.suffix.lower() == ".gguf")
    if len(files) != 1:
        found = ", ".join(each.name for each in files[:5]) or "none"
        raise CheckpointError(f"{path.name}: expected one GGUF file, found {found}; keep one, or name the file")
    return files[0]


def container_of(path: Path) -> Container:
    """What the file of a model holds; parsed once for its config, its vocabulary and its weights."""
    file = file_of(path)
    found = file.stat()
    return parsed(file, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=2)
def parsed(file: Path, changed: int, size: int) -> Container:
    """`changed` and `size` make a file that was replaced another one."""
    return read_container(file)


def read_config(path: Path) -> GPTConfig:
    """The shape of the model in a file; reads no weight.

    Raises:
        CheckpointError: for a damaged file, an architecture that is not known here, or fields that contradict.
    """
    container, label = container_of(path), file_of(path).name
    fields = Fields(container.metadata, label)
    architecture = fields.get("general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{label}, general.architecture: expected one of {', '.join(ARCHITECTURES)}, found "
            f"{shortened(architecture)}; other models cannot be shown yet"
        )
    fields.check_whole_model()
    fields.prefix = f"{architecture}."
    fields.check_others()
    if fields.get("block_count", int) > len(container.tensors):  # before anything is made for each
        raise fields.wrong("block_count", f"at most {len(container.tensors)}, as there are tensors", "more")
    d_model, n_heads = fields.get("embedding_length", int), fields.get("attention.head_count", int)
    width = fields.get("attention.key_length", int, 0)
    of_values, of_keys = fields.get("attention.value_length", int, width), width or d_model // max(1, n_heads)
    if of_values not in (0, of_keys):
        raise fields.wrong("attention.value_length", f"{of_keys}, the width of keys", of_values)
    context = fields.get("context_length", int)
    if 0 < fields.get("attention.sliding_window", int, 0) < context:
        window = fields.get("attention.sliding_window", int)
        raise fields.wrong("attention.sliding_window", f"0, or {context} tokens as the context has", window)
    try:
        config = GPTConfig(
            vocab_size=vocabulary_of(container, label),
            context=context,
            n_layers=fields.get("block_count", int),
            n_heads=n_heads,
            d_model=d_model,
            d_ff=fields.get("feed_forward_length", int),
            norm_order="pre",
            activation="silu",
            tied="output.weight" not in container.tensors,
            norm="rms",
            norm_epsilon=fields.get("attention.layer_norm_rms_epsilon", float),
            bias="qkv" if "blk.0.attn_q.bias" in container.tensors else "none",
            positions="rotary",
            rotary_base=fields.get("rope.freq_base", float, 10_000.0),
            n_kv_heads=fields.get("attention.head_count_kv", int, n_heads),
            head_width=0 if width * n_heads == d_model else width,
            gated=True,
            rotary_factors=rotary_factors(path, container, fields, width or d_model // max(1, n_heads)),
        )
    except ConfigError as error:
        raise CheckpointError(f"{label}: {error}") from error
    if fields.get("rope.dimension_count", int, config.d_head) != config.d_head:
        raise fields.wrong("rope.dimension_count", f"{config.d_head}, all of a head", "a part of them")
    check_places(container, config, label)
    return config


class Fields:
    """The metadata of a file, asked for by name and kind."""

    def __init__(self, metadata: dict[str, Any], label: str) -> None:
        self.metadata, self.label, self.prefix = metadata, label, ""

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """A value; without a default it must be there."""
        value = self.metadata.get(self.prefix + name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise self.wrong(name, f"a value ({kind.__name__})", "none" if value is None else shortened(value))
        return value

    def check_whole_model(self) -> None:
        """Raise unless the file is a model by itself: no part of one, and nothing to be added to one."""
        if self.get("split.count", int, 1) > 1:
            raise self.wrong("split.count", "a model in one file", self.get("split.count", int))
        if self.get("general.type", str, "model") != "model":
            raise self.wrong("general.type", "a model", shortened(self.get("general.type", str)))

    def check_others(self) -> None:
        """Raise for what is said of the architecture, would change the numbers, and is not computed here."""
        for key, value in self.metadata.items():
            name = key.removeprefix(self.prefix)
            if name == key or name in KNOWN:
                continue
            off = not len(value) if isinstance(value, list | np.ndarray) else not value
            if name in USUAL and value not in USUAL[name]:
                raise self.wrong(shortened(name), " or ".join(map(str, USUAL[name])), shortened(value))
            if name not in USUAL and not off:
                raise self.wrong(shortened(name), "no such value, or 0", shortened(value))

    def wrong(self, name: str, expected: str, found: object) -> CheckpointError:
        """What to raise."""
        return CheckpointError(
            f"{self.label}, {self.prefix}{name}: expected {expected}, found {found}; such a model cannot be shown"
        )


def vocabulary_of(container: Container, label: str) -> int:
    """How many rows the token table has."""
    place = container.tensors.get("token_embd.weight")
    if place is None or len(place.shape) != 2:
        raise CheckpointError(f"{label}, token_embd.weight: expected a table, found none; the file is no whole model")
    return place.shape[0]


def rotary_factors(path: Path, container: Container, fields: Fields, width: int) -> tuple[float, ...]:
    """What the angles of a head's pairs are divided by; none where the file scales nothing."""
    if width > WIDEST:
        named = "attention.key_length" if fields.get("attention.key_length", int, 0) else "embedding_length"
        raise fields.wrong(named, f"heads of at most {WIDEST} dimensions", width)
    kind = fields.get("rope.scaling.type", str, "linear")  # as llama.cpp does; most files have no factor then
    if kind not in SCALINGS:
        raise fields.wrong("rope.scaling.type", "none or linear", shortened(kind))
    factor = fields.get("rope.scaling.factor", float, fields.get("rope.scale_linear", float, 0.0))
    factor = 1.0 if kind == "none" or not factor else float(factor)  # 0 is none
    if FACTORS in container.tensors:
        place = container.tensors[FACTORS]
        if place.shape != (width // 2,):
            raise CheckpointError(f"{fields.label}, {FACTORS}: expected {width // 2} numbers, found {place.shape}")
        return tuple(factor * float(each) for each in Weights(file_of(path), container).read(place))
    return () if factor == 1.0 else (factor,) * (width // 2)


def names_of(config: GPTConfig) -> dict[str, tuple[str, ...]]:
    """Our names -> the tensors of the file that they are made of, one below the other."""
    found = {ours: (theirs,) for theirs, ours in OUTSIDE.items() if not (config.tied and theirs == "output.weight")}
    for layer in range(config.n_layers):
        for theirs, ours in INSIDE.items():
            found[f"blocks.{layer}.{ours}.weight"] = (f"blk.{layer}.{theirs}.weight",)
        for part in ("weight", "bias") if config.bias == "qkv" else ("weight",):
            found[f"blocks.{layer}.attention.qkv.{part}"] = tuple(f"blk.{layer}.{each}.{part}" for each in JOINED)
    return found


def check_places(container: Container, config: GPTConfig, label: str) -> None:
    """Raise `CheckpointError` unless the file has the tensors of such a model, each of its shape, and no others."""
    c, d = config.d_model, config.d_head
    rows = {"attn_q": config.n_heads * d, "attn_k": config.n_groups * d, "attn_v": config.n_groups * d}
    shapes = {
        "token_embd": (config.vocab_size, c), "output": (config.vocab_size, c), "attn_output": (c, config.n_heads * d),
        "ffn_gate": (config.d_ff, c), "ffn_up": (config.d_ff, c), "ffn_down": (c, config.d_ff),
    } | {name: (rows[name], c) for name in JOINED}  # fmt: skip
    expected = {name for parts in names_of(config).values() for name in parts}
    for name in sorted(expected):
        stem, _, part = name.removeprefix("blk.").rpartition(".")
        stem = stem.partition(".")[2] if name.startswith("blk.") else stem
        shape = (rows[stem],) if part == "bias" else shapes.get(stem, (c,))
        place = container.tensors.get(name)
        if place is None or place.shape != shape:
            found = "none" if place is None else str(place.shape)
            raise CheckpointError(f"{label}, {name}: expected the shape {shape}, found {found}; copy the file again")
    more = sorted(set(container.tensors) - expected - {FACTORS})
    if more:
        raise CheckpointError(
            f"{label}, {shortened(more[0])}: expected no such tensor in a {container.metadata['general.architecture']} "
            f"model, found {len(more)} of them; it is a model of another kind"
        )


def half_of(path: Path) -> torch.dtype | None:
    """The type of half precision that the file has, None where it has another."""
    kinds = {place.kind for place in container_of(path).tensors.values() if len(place.shape) == 2}
    return torch.bfloat16 if "BF16" in kinds else torch.float16 if "F16" in kinds else None


def read_weights(path: Path, config: GPTConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """All weights by our names, matrices in `dtype` and the rest in float32; one tensor is made at a time.

    Raises:
        CheckpointError: where a weight is not finite.
    """
    container, file = container_of(path), file_of(path)
    weights = Weights(file, container)
    turned = container.metadata["general.architecture"] == "llama"
    found: dict[str, Tensor] = {}
    for ours, parts in names_of(config).items():
        places = [container.tensors[part] for part in parts]
        kind = kept_in(dtype, ours, len(places[0].shape))
        whole = torch.empty((sum(place.shape[0] for place in places), *places[0].shape[1:]), dtype=kind)
        start = 0
        for part, place in zip(parts, places, strict=True):
            rows = whole[start : start + place.shape[0]]
            weights.read_into(rows, place)
            if turned and part.split(".")[2:3] in (["attn_q"], ["attn_k"]):
                rows.copy_(halves(rows.clone(), config.d_head))
            start += place.shape[0]
        check_finite(whole, f"{file.name}, {parts[0]}", remedy_for(kind, "copy it again"))
        found[ours] = whole
    return found


def halves(rows: Tensor, d_head: int) -> Tensor:
    """Rows of q or k, (heads D, ...), from pairs side by side to pairs half a head apart: 0 2 4 ... 1 3 5 ..."""
    return rows.unflatten(0, (-1, d_head // 2, 2)).transpose(1, 2).flatten(0, 2)


class Weights:
    """The tensors of a file, read some blocks at a time; the file is not mapped (see `gptviz.tensor_file`)."""

    def __init__(self, file: Path, container: Container) -> None:
        self.file = file
        self.names = {place: name for name, place in container.tensors.items()}
        self.sizes = {name: (numbers, size) for name, numbers, size in TYPES.values()}

    def read(self, place: TensorPlace) -> np.ndarray:
        """A tensor in float32."""
        found = torch.empty(place.shape)
        self.read_into(found, place)
        return found.numpy()

    def read_into(self, rows: Tensor, place: TensorPlace) -> None:
        """A tensor in the type of `rows`, which has its shape."""
        numbers, size = self.sizes[place.kind]
        blocks = max(1, AT_ONCE // numbers)
        with self.file.open("rb", buffering=0) as file:
            file.seek(place.start)
            for part in rows.view(-1).split(blocks * numbers):
                raw = np.empty((len(part) // numbers, size), np.uint8)
                read_whole(file, raw, f"{self.file.name}, {shortened(self.names[place])}")
                part.copy_(torch.from_numpy(TO_FLOAT[place.kind](raw).reshape(-1)))


def read_tokenizer(path: Path) -> ForeignTokenizer:
    """The vocabulary that the file itself holds."""
    from gptviz.formats.gguf_vocabulary import tokenizer_of

    return tokenizer_of(container_of(path).metadata, file_of(path).name)
