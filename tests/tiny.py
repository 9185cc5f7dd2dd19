"""Tiny random models for tests: made here, no file and no network needed. Knows nothing about pytest."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from gptviz.checkpoint import LanguageModel, TranslationModel
from gptviz.config import GPTConfig, TransformerConfig
from gptviz.gpt import GPT
from gptviz.seq2seq import Transformer
from gptviz.tokenizer import Tokenizer
from gptviz.translation import TranslationTrace, translate

WORDS = (
    " the and was dog cat has My fleas said little tree house red ball time play happy Tom Lily once upon went big"
    " day with her his they to in it is on of a . , ! ? er ing ed 'll 's"
)


def tiny_ranks() -> dict[bytes, int]:
    """All bytes, then every beginning of some words, so that each word is reached by merging from the left."""
    pieces = [bytes([byte]) for byte in range(256)]
    for word in WORDS.split():
        for form in (word, " " + word):
            pieces += [form[:end].encode() for end in range(2, len(form) + 1)]
    return {piece: rank for rank, piece in enumerate(dict.fromkeys(pieces))}


def random_gpt(seed: int = 0, **changes: object) -> GPT:
    """A small GPT on the CPU whose every parameter is random and large enough for uneven attention.

    Numbers are rounded to half precision, so that a saved and loaded copy is the same model.
    """
    shape = {"vocab_size": len(tiny_ranks()) + 1, "context": 64, "n_layers": 3, "n_heads": 4, "d_model": 32}
    torch.manual_seed(seed)
    gpt = GPT(GPTConfig(**(shape | changes)))
    with torch.no_grad():
        for name, value in gpt.named_parameters():
            middle = 1.0 if name.endswith("norm.weight") else 0.0
            value.copy_((middle + 0.3 * torch.randn_like(value)).half().float())
    return gpt.for_reading()


def language_model(name: str, gpt: GPT, folder: Path | None = None) -> LanguageModel:
    """`gpt` with the tiny vocabulary; the name is the fingerprint."""
    return LanguageModel(name, gpt, Tokenizer(tiny_ranks()), fingerprint=f"{name:f<16}"[:16], folder=folder)


def translator(seed: int = 0, end_bias: float = 0.0) -> TranslationModel:
    """A small random encoder-decoder; a larger `end_bias` makes the end of text more probable."""
    tokenizer = Tokenizer(tiny_ranks())
    config = TransformerConfig(vocab_size=tokenizer.vocab_size, context=48, n_layers=3, n_heads=4, d_model=32)
    torch.manual_seed(seed)
    transformer = Transformer(config)
    with torch.no_grad():
        for value in transformer.parameters():
            if value.ndim == 1:  # norms and biases are all the same in a new model
                value.add_(0.3 * torch.randn_like(value))
        always = transformer.decoder[-1].ff_norm.bias  # a part of every vector that the projection reads
        transformer.token_embedding.weight[-1] += end_bias * always / always.square().sum()
        for value in transformer.parameters():
            value.copy_(value.half().float())  # so that a saved and loaded copy is the same model
    return TranslationModel("tiny", transformer.for_reading(), tokenizer, "f" * 16)


@functools.cache
def translated(text: str) -> TranslationTrace:
    """What `translator()` saw while it translated a text, without the app. Never change it."""
    return translate(translator(), text).trace
