"""A model with its vocabulary in a folder: written, and read back with every weight checked. Knows nothing about text.

Where folders are and what is checked before a weight is read: `gptviz.folder`. Every complaint says what was expected,
what was found and what to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gptviz import formats, half, memory
from gptviz.config import KINDS, GPTConfig, ModelConfig, TransformerConfig
from gptviz.device import pick_device
from gptviz.files import replaced
from gptviz.folder import (
    CARD,
    CONFIG,
    FORMAT,
    OF_A_RUN,
    VOCABULARY,
    WEIGHTS,
    CheckpointError,
    available,
    check_files,
    expected_sizes,
    find,
    find_shipped,
    find_weights,
    fingerprint,
    fingerprint_of,
    read_config,
    read_header,
    shortened,
)
from gptviz.gpt import GPT
from gptviz.seq2seq import Transformer
from gptviz.tensor_file import TensorFile, stamps
from gptviz.tokenizer import Tokenizer, TokenizerError

__all__ = [
    "CARD", "CONFIG", "VOCABULARY", "WEIGHTS", "AnyModel", "CheckpointError", "LanguageModel", "TranslationModel",
    "available", "expect_model", "expect_translator", "find", "find_shipped", "fingerprint", "load", "load_shipped",
    "read_config", "save",
]  # fmt: skip

TABLE, PROJECTION = "token_embedding.weight", "unembedding.weight"  # one and the same where a model is tied
MODELS: dict[type[ModelConfig], type[GPT] | type[Transformer]] = {GPTConfig: GPT, TransformerConfig: Transformer}


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A model ready to read text: weights, vocabulary, and where they came from. Shared by threads, never changed."""

    name: str
    gpt: GPT
    tokenizer: Tokenizer
    fingerprint: str  # sha256 of weights, config and vocabulary, 16 hex digits: the key of every cache
    folder: Path | None = None
    chat: bool = False  # every text is a user's message in the chat template

    def encode(self, text: str) -> tuple[list[int], int]:
        """Ids that fit the context, and how many tokens were cut at the left to make them fit.

        Raises:
            ValueError: in words, for a text that a vocabulary of characters lacks, or a chat template that fails.
        """
        if not isinstance(text, str):
            raise TypeError(f"expected a text, found {type(text).__name__}; GPT.trace reads token ids")
        ids = self.tokenizer.encode_chat(text) if self.chat else self.tokenizer.encode(text)
        begin = 0 if self.chat else len(self.tokenizer.begin)  # stays at the left, where it is needed
        dropped = max(0, len(ids) - self.gpt.config.context)
        return (ids[:begin] + ids[begin + dropped :], dropped) if dropped else (ids, 0)

    @property
    def has_chat(self) -> bool:
        """Whether its files bring a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", ""))

    def with_chat(self) -> LanguageModel:
        """The same model, to which every text is a user's message in its chat template; the weights are shared.

        Raises:
            ValueError: if it has none.
        """
        if not self.has_chat:
            raise ValueError(f"expected a model with a chat template, found none in {self.name}; leave chat out")
        return replace(self, chat=True)

    def of_template(self, text: str) -> list[bool] | None:
        """Which tokens of `encode` are the chat template's own; None without it."""
        if not self.chat:
            return None
        own = [not of_text for _, of_text in self.tokenizer.chat_tokens(text)]
        return own[max(0, len(own) - self.gpt.config.context) :]

    def __repr__(self) -> str:
        return model_in_words(self, self.gpt)


@dataclass(frozen=True, eq=False)
class TranslationModel:
    """An encoder-decoder ready to translate. Shared by threads, never changed."""

    name: str
    transformer: Transformer
    tokenizer: Tokenizer
    fingerprint: str  # as for a `LanguageModel`
    folder: Path | None = None

    def __repr__(self) -> str:
        return model_in_words(self, self.transformer)


def model_in_words(model: AnyModel, network: GPT | Transformer) -> str:
    """What `repr` says of a model: name, shape, size, where it is."""
    shape, n = network.config, sum(value.numel() for value in network.parameters())
    layers = f"{shape.n_layers} layers" if isinstance(network, GPT) else f"{shape.n_layers}+{shape.n_layers} layers"
    sizes = f"{layers} of {shape.n_heads} heads, width {shape.d_model}, vocabulary {shape.vocab_size:,}"
    kept = half.half_dtype(network)
    return (
        f"{type(model).__name__}({model.name!r}: {sizes}, context {shape.context:,}, {n:,} parameters on "
        f"{network.device}{f' in {half.name_of(kept)}' if kept else ''}, sha256 {model.fingerprint})"
    )


AnyModel = LanguageModel | TranslationModel


def expect_model(model: object) -> LanguageModel:
    """`model` itself, or a `TypeError` that says where models come from."""
    if isinstance(model, TranslationModel):
        raise TypeError(f"expected a language model, found {model.name}, which translates; see gptviz.translate")
    if not isinstance(model, LanguageModel):
        raise TypeError(f"expected a model, found {shortened(model)}; gptviz.load('gpt-stories') gives one")
    return model


def expect_translator(model: object) -> TranslationModel:
    """`model` itself, or a `TypeError` that says where such models come from."""
    if isinstance(model, LanguageModel):
        raise TypeError(f"expected a model that translates, found {model.name}, which goes on from a text")
    if not isinstance(model, TranslationModel):
        raise TypeError(
            f"expected a model that translates, found {shortened(model)}; gptviz.load('transformer-deu-eng') gives one"
        )
    return model


def save(folder: Path, model: GPT | Transformer, tokenizer: Tokenizer, file: str = WEIGHTS) -> None:
    """Write a checkpoint in half precision; a README.md that is there stays. A file is replaced at once, or not.

    Args:
        folder: to write to; made if it is not there.
        model: any of its kind, on any device.
        tokenizer: the model's.
        file: the name that the weights get; other weights in the folder stay.

    Raises:
        CheckpointError: before anything is written, if the vocabulary is not the model's or a weight does not fit.
    """
    check_vocabulary(tokenizer, model.config, folder)
    weights = weights_to_keep(model, f"{folder.name}/{file}")
    folder.mkdir(parents=True, exist_ok=True)
    (kind,) = (name for name, config in KINDS.items() if isinstance(model.config, config))
    config = {"format": FORMAT, "kind": kind, "model": model.config.to_dict()}
    config["tokenizer"] = {"pattern": tokenizer.pattern}
    if kind == "gpt":  # the kind that a folder without one has
        del config["kind"]
    with replaced(folder / VOCABULARY) as part:
        tokenizer.save(part)
    with replaced(folder / file) as part:
        part.write_bytes(safetensors.torch.save(weights))
    # Last: a folder counts as a model once it has its config.
    with replaced(folder / CONFIG) as part:
        part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def weights_to_keep(model: GPT | Transformer, label: str) -> dict[str, Tensor]:
    """The weights in half precision on the CPU, a shared table once; `CheckpointError` where one is not finite."""
    weights = {name: value.detach().half().cpu().contiguous() for name, value in model.state_dict().items()}
    if model.config.tied:
        weights.pop(PROJECTION, None)
    check_finite(weights, f"{label}, in half precision")
    return weights


def load(
    name: str | os.PathLike[str], device: str | None = None, dtype: str | None = None, chat: bool = False
) -> AnyModel:
    """A model by its name under checkpoints/, or by the path of its folder.

    A folder may be ours, Hugging Face's (GPT-2, Llama, Qwen2), nanoGPT's, minGPT's, or hold a GGUF file, whose path
    will do, too.

    Args:
        name: where both a model of that name and such a path exist, the name counts. "run:NAME" was trained in the
            app; NAME@STEP is NAME as it was after that step, where snapshots were kept.
        device: cuda, cuda:1, mps, cpu or auto; by default $GPTVIZ_DEVICE, else the best there is.
        dtype: what the matrices are kept in: float32, float16, bfloat16, half (the one of the two that the file has,
            else float16) or auto: float32 where it fits into memory, else half. By default $GPTVIZ_DTYPE, else auto.
            Every number is made float32 when it is used, so that nothing but the weights themselves is rounded, and
            those not where the file has them in this type. Gradients need float32.
        chat: every text is a user's message in the model's chat template, up to where the answer begins.

    Returns:
        A `LanguageModel`, or a `TranslationModel` where the folder holds an encoder-decoder.

    Raises:
        CheckpointError: if there is no such folder, it does not hold a sound model, or one that does not fit.
        ValueError: for a device that is not there, a `dtype` that is none, `chat` without a chat template.
    """
    if chat:
        return expect_model(load(name, device, dtype)).with_chat()
    if isinstance(name, str) and ("@" in name or name.startswith(OF_A_RUN)) and not Path(name).is_dir():
        return load_shipped(name, device, dtype)
    return load_folder(find(name), device, dtype=dtype)


def load_shipped(name: str, device: str | None = None, dtype: str | None = None) -> AnyModel:
    """A model by its name and by nothing else, for names out of a URL; NAME@STEP is a snapshot. See `load`."""
    folder, file = find_weights(name)
    return load_folder(folder, device, file, name, dtype)


def load_folder(
    folder: Path, device: str | None, file: str = WEIGHTS, name: str | None = None, dtype: str | None = None
) -> AnyModel:
    """`load`, once the folder is found: cheap checks first, memory last. `file` holds the weights."""
    target, asked = pick_device(device), half.pick_dtype(dtype)
    folder = folder.resolve()
    if formats.format_of(folder):
        return load_foreign(folder, target, name, asked)
    check_files(folder, file)
    config, pattern = read_config(folder)
    before = stamps(folder / each for each in (CONFIG, VOCABULARY, file))
    try:
        model = empty_model(config, read_header(folder, config, file), f"{folder.name}/{file}")
        kept = expect_room(config, folder.name, target, asked)
        tokenizer = Tokenizer.load(folder / VOCABULARY, pattern)
        check_vocabulary(tokenizer, config, folder)
        weights = read_weights(folder / file, kept)
        mark = fingerprint(folder, file)
        expect_same(before, [folder / each for each in (CONFIG, VOCABULARY, file)], folder.name)
    except (OSError, TokenizerError) as error:
        problem = f"expected files that can be read, found: {error}" if not isinstance(error, TokenizerError) else error
        raise CheckpointError(f"{folder.name}: {problem}; copy the folder again") from error
    mark = assign(model, weights, target, mark)
    if isinstance(model, Transformer):
        return TranslationModel(name or folder.name, model, tokenizer, mark, folder)
    return LanguageModel(name or folder.name, model, tokenizer, mark, folder)


def assign(model: GPT | Transformer, weights: dict[str, Tensor], target: torch.device, mark: str) -> str:
    """Give an empty model its weights, taken out of `weights`, ready to be read; returns its fingerprint.

    The same files in half precision are another model: its numbers are others, and so is its fingerprint.
    """
    kept = next(value.dtype for name, value in weights.items() if name == TABLE)
    if kept in half.DTYPES.values():
        half.keep_in_half(model)
        mark += f"-{half.name_of(kept)}"
    model.load_state_dict(weights, strict=False, assign=True)
    weights.clear()  # a matrix that is laid out anew is not to be there twice
    if isinstance(model, GPT) and model.config.tied:
        model.unembedding.weight = model.token_embedding.weight
    model.for_reading().to(target)
    return mark


def load_foreign(path: Path, target: torch.device, name: str | None = None, asked: str = "auto") -> LanguageModel:
    """A model in somebody else's format, from its folder or its single file. See `gptviz.formats`."""
    reader = formats.reader(formats.format_of(path))
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    before, config = stamps(files), reader.read_config(path)
    kept = expect_room(config, path.name, target, asked, lambda: reader.half_of(path))
    try:
        with ThreadPoolExecutor(1) as pool:  # hashing and reading go on at once: neither waits for Python
            mark = pool.submit(fingerprint_of, files)
            tokenizer = formats.read_vocabulary(path, config)
            weights = reader.read_weights(path, config, kept)
        expect_same(before, files, path.name)
    except OSError as error:
        raise CheckpointError(f"{path.name}: expected files that can be read, found: {error.strerror}") from error
    model = empty_model(config, {key: tuple(value.shape) for key, value in weights.items()}, path.name)
    return LanguageModel(name or path.stem, model, tokenizer, assign(model, weights, target, mark.result()), path)


def expect_room(
    config: ModelConfig, label: str, target: torch.device, asked: str = "auto",
    half_of: Callable[[], torch.dtype | None] = lambda: torch.float16,
) -> torch.dtype:  # fmt: skip
    """What a model's matrices are to be kept in; `CheckpointError` where it does not fit, before memory is taken.

    Args:
        asked: as for `load`, but not None.
        half_of: which type of half precision its file has, asked only where it counts.
    """
    if asked not in ("auto", "float32") and not isinstance(config, GPTConfig):
        raise CheckpointError(f"{label}: expected float32 for a model that translates, found {asked}; leave it out")
    left = memory.free(target)
    fits = memory.bytes_that_fit(config, left)
    each = fits if asked == "auto" else 4 if asked == "float32" else 2
    if each is None or fits is None or each > fits:
        least = memory.needed(config, 2 if asked != "float32" and isinstance(config, GPTConfig) else 4)
        remedy = 'take dtype="half", ' if fits else ""
        raise CheckpointError(
            f"{label}: expected {memory.in_words(least)} of free memory for its {expected_sizes(config)[1]:,} weights"
            f"{', in half precision' if least < memory.needed(config) else ''}, found {memory.in_words(left or 0)} on "
            f"{target.type}; {remedy}close something, or use a smaller model"
        )
    if each == 4:
        return torch.float32
    return half.DTYPES.get(asked) or half_of() or torch.float16


def expect_same(before: list, files: list[Path], label: str) -> None:
    """Raise `CheckpointError` where files are no longer those that they were before they were read."""
    if stamps(files) != before:
        raise CheckpointError(f"{label}: expected files that stay as they are, found one that changed; open it again")


class Uninitialised(TorchFunctionMode):
    """While a model is built, the functions of `torch.nn.init` leave its tensors as they are.

    On tensors without memory they have no work to do, and yet import all of PyTorch's compiler: two seconds.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call `func`, unless it would only fill its tensor."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def empty_model(
    config: ModelConfig, shapes: dict[str, tuple[int, ...]], label: str
) -> GPT | Transformer:
    """A model without memory for its weights, after names and shapes in the file were compared with it."""
    with torch.device("meta"), Uninitialised():
        model = MODELS[type(config)](config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tied:
        expected.pop(PROJECTION, None)
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            found = shapes.get(name, "none of that name")
            raise CheckpointError(
                f"{label}: expected {name} of shape {shape}, as {CONFIG} describes, found {found}; "
                "the two files are of different models: copy both again"
            )
    return model


def read_weights(path: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The weights, every one finite: matrices in `dtype`, the rest in float32."""
    file = TensorFile(path)
    weights = {
        name: file.read(name, half.kept_in(dtype, name, len(place.shape))) for name, place in file.places.items()
    }
    check_finite(weights, file.label)
    return weights


def check_finite(weights: dict[str, Tensor], label: str) -> None:
    """Raise `CheckpointError` where a weight is NaN or infinite."""
    for name, value in weights.items():
        half.check_finite(value, label, "the training diverged, or the file is damaged", f" in {name}")


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, folder: Path) -> None:
    """Raise `CheckpointError` unless the tokenizer has as many ids as the model."""
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            f"{folder.name}/{VOCABULARY}: expected {config.vocab_size} ids, end of text included, as {CONFIG} "
            f"describes, found {tokenizer.vocab_size}; use the vocabulary that the model was trained with"
        )
