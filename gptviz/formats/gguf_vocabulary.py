"""The tokenizer in the metadata of a GGUF file, by llama.cpp's rules. Reads no file."""

from __future__ import annotations

from typing import Any

import numpy as np
import tokenizers
from tokenizers import Regex, models, pre_tokenizers

from gptviz.folder import CheckpointError
from gptviz.foreign_tokenizer import MAX_IDS, ForeignTokenizer, Special, secret_token
from gptviz.formats.sentence_pieces import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, SentencePieces

PREFIX = "tokenizer.ggml."

# How a text is cut before merging: each pattern cuts what those before it left. By the names in tokenizer.ggml.pre.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
ANY_CASE = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "gpt2": (WORDS,),
    "digits": (r"\p{N}", WORDS),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", WORDS, r"\p{N}+", "[0-9][0-9][0-9]"),
    "llama3": (rf"{ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}",),
    "qwen2": (rf"{ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}",),
}
NAMES = {
    "gpt2": ("gpt-2", "gpt2", "mpt", "olmo", "jais", "phi-2"),
    "digits": ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    "default": ("default",),
    "llama3": ("llama-bpe", "llama3", "llama-v3", "falcon3", "dbrx", "smaug-bpe"),
    "qwen2": ("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"),
}
PATTERNS_OF = {name: PATTERNS[group] for group, names in NAMES.items() for name in names}
BEGINNING = ("llama-bpe", "llama3", "llama-v3", "falcon3")  # a begin token unless the file says no; whole words first


def tokenizer_of(metadata: dict[str, Any], label: str) -> ForeignTokenizer:
    """The tokenizer that metadata describe.

    Args:
        metadata: every key of the file with its value; arrays as lists or NumPy arrays.
        label: the file's name, for messages.

    Raises:
        CheckpointError: naming the key, if it is missing, of a wrong shape or of a kind that is not read.
    """
    keys = Keys(metadata, label)
    model = keys.text("model")
    if model not in ("gpt2", "llama"):
        raise keys.error("model", "gpt2 or llama", repr(model[:40]), "other kinds of tokenizer are not read")
    tokens = keys.texts("tokens")
    if not 0 < len(tokens) <= MAX_IDS:
        raise keys.error("tokens", f"1 to {MAX_IDS} tokens", str(len(tokens)))
    types = keys.numbers("token_type", len(tokens), NORMAL).astype(np.int64)
    end = keys.token("eos_token_id", tokens, 2 if model == "llama" else 11)
    pre = keys.text("pre", "default") if model == "gpt2" else ""
    begins = keys.flag("add_bos_token", model == "llama" or pre in BEGINNING)
    begin = (keys.token("bos_token_id", tokens, 1 if model == "llama" else 11),) if begins else ()
    types[[end, *begin]] = CONTROL
    hidden = np.flatnonzero(np.isin(types, (CONTROL, UNKNOWN) if model == "llama" else (CONTROL, UNKNOWN, UNUSED)))
    try:
        core = pieces_of(keys, tokens, types) if model == "llama" else pairs_of(keys, tokens, types, hidden, pre)
        return ForeignTokenizer(
            core,
            end_of_text=end,
            begin=begin,
            chat_template=keys.chat_template(),
            specials={int(i): Special(tokens[i]) for i in hidden},
            names=keys.names(tokens),
        )
    except CheckpointError:
        raise
    except Exception as error:  # `tokenizers` raises bare exceptions
        raise keys.error("tokens", "a vocabulary that texts can be cut with", str(error)[:300]) from error


def pairs_of(keys: Keys, tokens: list[str], types: np.ndarray, hidden: np.ndarray, pre: str) -> tokenizers.Tokenizer:
    """Byte-level BPE by the merges of the file; the ids in `hidden` are never given to a text."""
    if pre not in PATTERNS_OF:
        known = ", ".join(PATTERNS_OF)
        raise keys.error("pre", f"a way of cutting texts from {known}", repr(pre[:40]), "it is not guessed")
    names = {tokens[i] for i in hidden}
    vocabulary = {token: i for i, token in enumerate(tokens) if token not in names}
    taken = set(vocabulary.values())
    vocabulary |= {secret_token(): i for i in range(len(tokens)) if i not in taken}
    merges = []
    for number, line in enumerate(keys.texts("merges")):
        left, space, right = line.partition(" ")
        if not space:
            raise keys.error("merges", "two tokens and a space between them", f"{line[:40]!r} at {number}")
        if left + right not in names and left not in names and right not in names:
            merges.append((left, right))
    core = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in BEGINNING))
    cuts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in PATTERNS_OF[pre]]
    to_symbols = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_symbols])
    whole = [tokens[i] for i in np.flatnonzero(types == USER_DEFINED) if tokens[i] not in names]
    core.add_tokens([tokenizers.AddedToken(token, normalized=False) for token in whole if token])
    return core


def pieces_of(keys: Keys, tokens: list[str], types: np.ndarray) -> SentencePieces:
    """SentencePiece's BPE by the scores of the file."""
    if not np.isin(types, (NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE)).all():
        raise keys.error("token_type", "types from 1 to 6", str(sorted(set(types.tolist()))[:10]))
    scores = keys.numbers("scores", len(tokens))
    if not np.isfinite(scores).all():
        raise keys.error("scores", "finite numbers", "others")
    if keys.flag("remove_extra_whitespaces", False):
        raise keys.error("remove_extra_whitespaces", "false", "true", "a rule that is not read")
    charsmap = keys.get("precompiled_charsmap")
    if charsmap is not None and len(charsmap):
        raise keys.error("precompiled_charsmap", "none", f"{len(charsmap)} bytes", "characters are not mapped here")
    unknown = keys.token("unknown_token_id", tokens, 0)
    return SentencePieces(tokens, scores, types, unknown, keys.flag("add_space_prefix", True))


class Keys:
    """The keys of the tokenizer, each read as what it has to be."""

    def __init__(self, metadata: dict[str, Any], label: str) -> None:
        self.metadata, self.label = metadata, label

    def error(self, key: str, expected: str, found: str, remedy: str = "fetch the file again") -> CheckpointError:
        """What is wrong with a key."""
        return CheckpointError(f"{self.label}: {PREFIX}{key}: expected {expected}, found {found}; {remedy}")

    def get(self, key: str) -> Any:
        """The value of a key, None if there is none."""
        return self.metadata.get(PREFIX + key)

    def text(self, key: str, absent: str | None = None) -> str:
        """A string."""
        value = self.get(key)
        if value is None and absent is not None:
            return absent
        if not isinstance(value, str):
            raise self.error(key, "a string", "none" if value is None else type(value).__name__)
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        value = self.get(key)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.error(key, "a list of strings", "none" if value is None else "something else")
        return value

    def numbers(self, key: str, length: int, absent: float | None = None) -> np.ndarray:
        """(length,) numbers; all `absent` if there is no such key."""
        value = self.get(key)
        if value is None and absent is not None:
            return np.full(length, absent)
        array = np.asarray(value) if isinstance(value, list | np.ndarray) else np.empty(0, dtype=object)
        if array.shape != (length,) or array.dtype.kind not in "iuf":
            raise self.error(key, f"{length} numbers", "none" if value is None else f"shape {array.shape}")
        return array

    def flag(self, key: str, absent: bool) -> bool:
        """True or False."""
        value = self.get(key)
        if value is None:
            return absent
        if not isinstance(value, bool | np.bool_):
            raise self.error(key, "true or false", type(value).__name__)
        return bool(value)

    def token(self, key: str, tokens: list[str], absent: int) -> int:
        """The id of a token."""
        value = self.get(key)
        value = absent if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < len(tokens):
            raise self.error(key, f"an id below {len(tokens)}", str(value)[:40])
        return int(value)

    def names(self, tokens: list[str]) -> dict[str, str]:
        """Special tokens by the names that a chat template uses."""
        named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
        keys = {name: f"{word}_token_id" for name, word in named.items()}
        return {name: tokens[self.token(key, tokens, 0)] for name, key in keys.items() if self.get(key) is not None}

    def chat_template(self) -> str:
        """Jinja source, "" if there is none."""
        value = self.metadata.get("tokenizer.chat_template", "")
        return value if isinstance(value, str) else ""
