"""Folders of trained models: finding them, and checking them before a weight is read. Knows nothing about torch.

A folder holds config.json, model.safetensors, tokenizer.tiktoken and, for people, README.md. It may come from a
stranger: nothing in it is executed, and sizes are compared by arithmetic before memory is taken.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptviz import formats
from gptviz.config import KINDS, ConfigError, ModelConfig, TransformerConfig

ROOT = Path(__file__).resolve().parent.parent / "checkpoints"
ENVIRONMENT = "GPTVIZ_CHECKPOINTS"
RUNS, RUNS_ENVIRONMENT = ROOT.parent / "runs", "GPTVIZ_RUNS"
OF_A_RUN = "run:"  # begins the name of a model that was trained in the app
FORMAT = "gptviz-1"
CONFIG, WEIGHTS, VOCABULARY, CARD = "config.json", "model.safetensors", "tokenizer.tiktoken", "README.md"
MODEL = "model"  # in the folder of a run: the folder of its model
SNAPSHOTS = "snapshots"  # in a model's folder: another such folder, whose weights are files named after their steps
SNAPSHOT_SUFFIX = ".safetensors"

MAX_CONFIG = 64 * 2**10  # bytes; ours have 300
MAX_HEADER = 2**20  # bytes; a tensor takes about 100
MAX_WEIGHTS = 4 * 2**30  # bytes
LARGEST = 2**31 - 1  # side of a tensor
BYTES_OF = {"F16": 2, "BF16": 2, "F32": 4}

SINGLE_FILES = (".gguf", ".pt")  # that are a model by themselves

PICKLED = "a pickled file: it can run code when it is read, and is never opened"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
SIGNATURES = {
    b"PK\x03\x04": PICKLED,  # torch.save
    b"\x80": PICKLED,  # pickle.dump
    b"version https://git-lfs": "a Git LFS pointer; git lfs pull fetches the file itself",
}


class CheckpointError(ValueError):
    """A folder that is no usable model: says what was expected, what was found, and the remedy."""


def root() -> Path:
    """The folder of the shipped models: $GPTVIZ_CHECKPOINTS, else checkpoints/ beside the package."""
    return Path(os.environ.get(ENVIRONMENT) or ROOT)


def runs_root() -> Path:
    """The folder of the runs that were begun in the app: $GPTVIZ_RUNS, else runs/ beside the package."""
    return Path(os.environ.get(RUNS_ENVIRONMENT) or RUNS)


def folders(links: bool = False, under: Path | None = None) -> list[str]:
    """Names of the folders directly under `root` or another one, sorted; nothing hidden, no links unless asked for."""
    try:
        with os.scandir(root() if under is None else under) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=links) and not e.name.startswith("."))
    except OSError:  # no such folder: nothing is shipped
        return []


def available(kind: str | None = None) -> list[str]:
    """Names of the models, for `load` and `load_shipped`: the folders under `root` that hold one, sorted.

    After them what was trained in the app, each as "run:" and the name of its run. With a `kind`, a name in
    `gptviz.config.KINDS`, those of this kind.
    """
    names = [*folders(), *(OF_A_RUN + name for name in folders(under=runs_root()))]
    names = [name for name in names if (place(name) / CONFIG).is_file() or formats.format_of(place(name))]
    return names if kind is None else [name for name in names if kind_of(place(name)) == kind]


def place(name: str) -> Path:
    """Where the model of a name is, if it is there; only for names that were compared with what is there."""
    if name.startswith(OF_A_RUN):
        return runs_root() / name.removeprefix(OF_A_RUN) / MODEL
    return root() / name


def kind_of(folder: Path) -> str:
    """The kind of the model in a folder, by its config.json alone; "gpt" where that cannot be read or is not ours."""
    if formats.format_of(folder):
        return "gpt"
    try:
        config, _ = read_config(folder)
    except CheckpointError:
        return "gpt"  # whoever opens it says what is wrong
    return next(kind for kind, cls in KINDS.items() if isinstance(config, cls))


def find(name: str | os.PathLike[str]) -> Path:
    """The folder of a name under `root`, or of any path; or the path of a single file that is a model.

    For people at their own machine; see `find_shipped`.

    Raises:
        CheckpointError: if there is no such folder.
    """
    if not isinstance(name, str | os.PathLike):
        raise CheckpointError(
            f"expected the name of a model or the path of its folder, found {shortened(name)}; {known_models()}"
        )
    given = os.fspath(name)
    if given in folders(links=True):
        return root() / given
    if given.lower().endswith(SINGLE_FILES) and os.path.isfile(given):  # noqa: PTH113  as below
        return Path(given)
    if not os.path.isdir(given):  # noqa: PTH112  Path.is_dir raises for a name that is too long
        raise CheckpointError(
            f"expected the name of a model or the path of its folder, found {shortened(given)}; {known_models()}"
        )
    return Path(given)


def find_shipped(name: str) -> Path:
    """The folder of a name that came from a URL: a real folder directly under `root`, and nothing else.

    The name is compared with what is there, never made into a path: `..`, separators and links lead nowhere.

    Raises:
        CheckpointError: for every other name, and for a folder with links in it.
    """
    if name not in folders() and name not in available():
        raise CheckpointError(f"expected the name of a shipped model, found {shortened(name)}; {known_models()}")
    folder = place(name)
    for file in ("", *sorted(entry.name for entry in folder.iterdir())):
        if (folder / file).is_symlink():
            raise CheckpointError(f"{name}/{file}: expected a file, found a link; put the file itself there")
    return folder


def snapshot_steps(folder: Path) -> list[int]:
    """The steps of training whose weights are in a folder of snapshots, in order; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    stems = (name.removesuffix(SNAPSHOT_SUFFIX) for name in names if name.endswith(SNAPSHOT_SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


def snapshot_file(step: int) -> str:
    """The name of the weights that a model had after `step` steps."""
    return f"{step:06d}{SNAPSHOT_SUFFIX}"


def find_weights(name: str) -> tuple[Path, str]:
    """The folder and the file of the weights of a name that came from a URL; NAME@STEP is a snapshot of NAME.

    Raises:
        CheckpointError: for a name, or a step, that is not there.
    """
    model, at, step = name.rpartition("@")
    if not at or name in folders():
        return find_shipped(name), WEIGHTS
    snapshots = find_shipped(model) / SNAPSHOTS
    if step not in map(str, snapshot_steps(snapshots)):
        steps = ", ".join(map(str, snapshot_steps(snapshots))) or "none"
        raise CheckpointError(f"expected a recorded step of {shortened(model)}, found {shortened(step)}; of: {steps}")
    return snapshots, snapshot_file(int(step))


def known_models() -> str:
    """Which models there are, as the end of an error message."""
    names = available()
    if not names:
        return f"there is no model in {root()}; train one with python -m gptviz train"
    return f"there are: {', '.join(names[:20])}" + (" ..." if len(names) > 20 else "")


def shortened(value: object) -> str:
    """A value from outside, quoted and short enough for a message."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def check_files(folder: Path, weights: str = WEIGHTS) -> None:
    """Raise `CheckpointError` unless the three files are there, each a file."""
    for file in (CONFIG, weights, VOCABULARY):
        path = folder / file
        if path.is_file():
            continue
        if path.exists():
            raise CheckpointError(f"{folder.name}/{file}: expected a file, found something else; put the file there")
        pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix.lower() in PICKLES]
        if file == weights and pickles:
            raise CheckpointError(
                f"{folder.name}: expected {weights}, found {shortened(pickles[0])}, {PICKLED}; "
                "its owner can write the weights with safetensors.torch.save_file"
            )
        raise CheckpointError(
            f"{folder.name}: expected {CONFIG}, {weights} and {VOCABULARY}, found no {file}; "
            "copy the whole folder again, or write it with gptviz.checkpoint.save"
        )


def read_config(folder: Path) -> tuple[ModelConfig, str]:
    """The model's config, of a class in `KINDS`, and the name of its tokenizer's pattern, from config.json.

    Raises:
        CheckpointError: if the file is missing, too big, not JSON, or describes no model.
    """
    path, label = folder / CONFIG, f"{folder.name}/{CONFIG}"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise CheckpointError(f"{label}: expected a file that can be read, found: {error.strerror}") from error
    if len(raw) > MAX_CONFIG:
        raise CheckpointError(
            f"{label}: expected at most {MAX_CONFIG} bytes, found {path.stat().st_size}; that is no model's config"
        )
    values = parse_json(raw, label)
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f'{label}: expected "format": "{FORMAT}", found {shortened(values.get("format"))}; '
            "write the folder with this version's gptviz.checkpoint.save"
        )
    kind = values.get("kind", "gpt")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f'{label}: expected "kind": one of {", ".join(KINDS)}, found {shortened(kind)}')
    tokenizer = values.get("tokenizer")
    pattern = tokenizer.get("pattern") if isinstance(tokenizer, dict) else None
    if not isinstance(pattern, str):
        raise CheckpointError(f'{label}: expected "tokenizer": {{"pattern": "gpt2"}}, found {shortened(tokenizer)}')
    try:
        return KINDS[kind].from_dict(values.get("model")), pattern
    except ConfigError as error:
        raise CheckpointError(f'{label}, "model": {error}') from error


def shape_of(folder: Path) -> ModelConfig:
    """The config of a model in any format, ours or another; reads no weight.

    Raises:
        CheckpointError: where there is none, or it describes no model that is known here.
    """
    other = formats.format_of(folder)
    return read_config(folder)[0] if other is None else formats.reader(other).read_config(folder)


def parse_json(raw: bytes, label: str) -> dict[str, Any]:
    """Bytes to a JSON object, or a `CheckpointError`."""
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:  # ValueError: bad UTF-8 and absurdly long numbers, too
        found = f"{shortened(raw[:40])} ({type(error).__name__})"
        raise CheckpointError(f"{label}: expected JSON, found {found}; the file is damaged: copy it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{label}: expected a JSON object, found {type(values).__name__}")
    return values


def expected_sizes(config: ModelConfig) -> tuple[int, int]:
    """How many tensors the weights of such a model are, and how many numbers in all: by arithmetic alone.

    A tied output projection is stored once, with the token embedding.
    """
    c, v = config.d_model, config.vocab_size
    attention, feed_forward, norm = sizes_of_parts(config)
    if isinstance(config, TransformerConfig):  # a decoder block has a second attention, with its norm
        layer = [*attention, *feed_forward, *norm, *norm] * 2 + [*attention, *norm]
        return 1 + len(layer) * config.n_layers, v * c + config.n_layers * sum(layer)
    layer = [*attention, *feed_forward, *norm, *norm]
    rest = [v * c] + [config.context * c] * (config.positions == "learned") + [v * c] * (not config.tied)
    rest += norm * (config.norm_order == "pre")
    return len(rest) + len(layer) * config.n_layers, sum(rest) + config.n_layers * sum(layer)


def sizes_of_parts(config: ModelConfig) -> tuple[list[int], list[int], list[int]]:
    """The sizes of the tensors of one attention, one feed-forward and one norm."""
    c, f = config.d_model, config.d_ff
    inside, rows = config.n_heads * config.d_head, (config.n_heads + 2 * config.n_groups) * config.d_head
    biases = config.bias == "all"
    attention = [rows * c, inside * c] + [rows] * (config.bias != "none") + [c] * biases
    feed_forward = [f * c, c * f] + [f, c] * biases + ([f * c] + [f] * biases) * config.gated
    norm = [c] + [c] * (biases and config.norm == "layer")
    return attention, feed_forward, norm


def read_header(folder: Path, config: ModelConfig, weights: str = WEIGHTS) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the file of the weights, once its size was found right for `config`; reads no weight.

    The format: 8 bytes, little-endian, the length of the header; the header, JSON; the numbers, without gaps.

    Raises:
        CheckpointError: for a file that is truncated, too long, pickled, or of another model.
    """
    path, label = folder / weights, f"{folder.name}/{weights}"
    size = path.stat().st_size
    if size > MAX_WEIGHTS:
        raise CheckpointError(f"{label}: expected at most {MAX_WEIGHTS} bytes, found {size}; use a smaller model")
    with path.open("rb") as file:
        start = file.read(8 + 32)
        length = int.from_bytes(start[:8], "little")
        check_start(start, length, size, label)
        file.seek(8)
        header = parse_json(file.read(length), f"{label}, header")
    header.pop("__metadata__", None)
    tensors, numbers = expected_sizes(config)
    shapes: dict[str, tuple[int, ...]] = {}
    data = 0
    for name, entry in header.items():
        dtype, shapes[name] = read_entry(entry, f"{label}, {shortened(name)}")
        data += BYTES_OF[dtype] * math.prod(shapes[name])
    found = sum(map(math.prod, shapes.values()))
    if (len(shapes), found) != (tensors, numbers):
        raise CheckpointError(
            f"{label}: expected {tensors} tensors with {numbers} weights, as {CONFIG} describes, found "
            f"{len(shapes)} with {found}; the two files are of different models: copy both again"
        )
    if size != 8 + length + data:
        problem = "truncated" if size < 8 + length + data else "too long"
        raise CheckpointError(f"{label}: expected {8 + length + data} bytes, found {size}: {problem}; copy it again")
    return shapes


def check_start(start: bytes, length: int, size: int, label: str, most: int = MAX_HEADER) -> None:
    """Raise `CheckpointError` unless a file of `size` bytes that begins with `start` can be safetensors.

    `most` is how long its header may be.
    """
    if start[8:9] == b"{" and length <= most and 8 + length <= size:
        return
    for signature, kind in SIGNATURES.items():
        if start.startswith(signature) and start[8:9] != b"{":
            raise CheckpointError(f"{label}: expected a safetensors file, found {kind}")
    if start[8:9] == b"{" and length <= most:
        raise CheckpointError(
            f"{label}: expected a header of {length} bytes, found a file of {size} bytes: truncated; copy it again"
        )
    raise CheckpointError(
        f"{label}: expected a safetensors file with a header of at most {most} bytes, "
        f"found {size} bytes that begin with {shortened(start[:16])}; copy it again"
    )


def read_entry(entry: Any, label: str) -> tuple[str, tuple[int, ...]]:
    """The dtype and shape of one tensor in a header, or a `CheckpointError`."""
    dtype, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if not isinstance(dtype, str) or dtype not in BYTES_OF:
        raise CheckpointError(f"{label}: expected numbers of type {', '.join(BYTES_OF)}, found {shortened(dtype)}")
    sides = shape if isinstance(shape, list) and len(shape) <= 2 else [None]
    if not all(type(side) is int and 0 < side <= LARGEST for side in sides):
        raise CheckpointError(f"{label}: expected a shape of one or two sides, found {shortened(shape)}")
    return dtype, tuple(sides)


def fingerprint(folder: Path, weights: str = WEIGHTS) -> str:
    """sha256 over config, vocabulary and weights, the first 16 hex digits."""
    return fingerprint_of(folder / name for name in (CONFIG, VOCABULARY, weights))


def fingerprint_of(files: Iterable[Path]) -> str:
    """sha256 over the sha256 of each file, the first 16 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
