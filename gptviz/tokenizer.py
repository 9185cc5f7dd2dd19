"""Text to token ids and back: byte-level BPE, served by tiktoken, stored in tiktoken's own rank file.

Knows nothing about models. Special tokens in a text are read as the literal characters that they are.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tiktoken

# How text is cut before merging (GPT-2): words with their leading space, numbers, other signs, white space.
PATTERNS = {"gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""}
END_OF_TEXT = "<|endoftext|>"
MAX_RANK_FILE = 16 * 2**20  # bytes; GPT-2's own file has 0.8 million


class TokenizerError(ValueError):
    """A vocabulary that cannot be used: says what was expected, what was found, and the remedy."""


class Tokenizer:
    """Byte-level BPE over a table of ranks. Every Unicode string encodes, and decodes to itself.

    Args:
        ranks: byte string of every ordinary token -> id; ids 0 to N-1, each single byte present.
        pattern: a name in `PATTERNS`.
    The end-of-text token has id N.
    """

    begin: tuple[int, ...] = ()  # ids that stand before every text: none

    def __init__(self, ranks: dict[bytes, int], pattern: str = "gpt2") -> None:
        if pattern not in PATTERNS:
            raise TokenizerError(f"expected a pattern from {', '.join(PATTERNS)}, found {pattern!r}")
        check_ranks(ranks)
        self.ranks = ranks
        self.pattern = pattern
        self.end_of_text = len(ranks)
        self.vocab_size = len(ranks) + 1
        self.bytes_of = [b""] * len(ranks)
        for token, rank in ranks.items():
            self.bytes_of[rank] = token
        self.encoding = tiktoken.Encoding(
            "gptviz", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={END_OF_TEXT: self.end_of_text}
        )

    def encode(self, text: str) -> list[int]:
        """Ids of a text; lone surrogates, which are not Unicode text, become U+FFFD."""
        return self.encoding.encode_ordinary(text)

    def encode_array(self, text: str) -> np.ndarray:
        """`encode` as an array, (N,) uint32, without a Python integer for each token: for whole corpora."""
        try:
            return self.encoding.encode_to_numpy(text, disallowed_special=())
        except UnicodeEncodeError:  # lone surrogates
            return np.array(self.encode(text), dtype=np.uint32)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; bytes that are no whole character become U+FFFD."""
        return self.encoding.decode(list(ids))

    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """The bytes of ids, which may begin or end within a character."""
        return self.encoding.decode_bytes(ids.tolist())

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one id; one beyond the vocabulary, as models with padded tables have them, is named."""
        if token >= self.end_of_text:
            return END_OF_TEXT.encode() if token == self.end_of_text else f"[unused {token}]".encode()
        return self.bytes_of[token]

    def token_text(self, token: int) -> str:
        """One token as text, for a label; bytes that are no whole character read as \\xNN."""
        return self.token_bytes(token).decode("utf-8", errors="backslashreplace")

    def token_texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """`token_text` of each id."""
        return tuple(self.token_text(i) for i in ids)

    def save(self, path: Path) -> None:
        """Write tiktoken's format: one line a token, base64 of its bytes, a space, its rank."""
        lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(self.bytes_of))
        path.write_text("".join(lines), encoding="ascii")

    @classmethod
    def load(cls, path: Path, pattern: str = "gpt2") -> Tokenizer:
        """Read tiktoken's format; raises `TokenizerError` on anything else."""
        return cls(read_ranks(path), pattern)

    @classmethod
    def gpt2(cls, path: Path | None = None) -> Tokenizer:
        """GPT-2's vocabulary: from a local rank file, else through tiktoken's cache or the network."""
        if path is not None:
            return cls.load(path)
        try:
            encoding = tiktoken.get_encoding("gpt2")
        except Exception as error:  # tiktoken lets every kind of network error through
            raise TokenizerError(
                "expected GPT-2's vocabulary in tiktoken's cache or a network to fetch it, found neither "
                f"({type(error).__name__}); pass a local rank file, Tokenizer.gpt2(Path('gpt2.tiktoken')), or set "
                "TIKTOKEN_CACHE_DIR to a folder that holds it"
            ) from error
        return cls({encoding.decode_single_token_bytes(i): i for i in range(encoding.n_vocab - 1)})


def check_ranks(ranks: dict[bytes, int]) -> None:
    """Raise `TokenizerError` unless ranks are 0 to N-1 and cover every single byte."""
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise TokenizerError(f"expected all 256 single bytes in the vocabulary, found {256 - len(missing)}")
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise TokenizerError(f"expected the ranks 0 to {len(ranks) - 1}, each once; found gaps or repeats")


def read_ranks(path: Path) -> dict[bytes, int]:
    """Parse a tiktoken rank file of at most 16 MiB."""
    if not path.is_file():
        raise TokenizerError(f"{path.name}: expected a rank file, found none at {path}")
    size = path.stat().st_size
    if size > MAX_RANK_FILE:
        raise TokenizerError(f"{path.name}: expected a rank file of at most {MAX_RANK_FILE} bytes, found {size}")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(
                f"{path.name}, line {number}: expected base64 and a rank, found {line[:40]!r}; "
                "the file is damaged or not in tiktoken's format"
            ) from error
    return ranks


def train_ranks(texts: Iterable[str], vocab_size: int, pattern: str = "gpt2") -> dict[bytes, int]:
    """Learn at most `vocab_size` - 1 byte-level BPE tokens: one id is for end of text, a short text has fewer."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    # `tokenizers` has no possessive quantifiers; for matching whole words the plain ones mean the same.
    split = Regex(PATTERNS[pattern].replace("++", "+"))
    learner = Tokenizer(models.BPE())
    to_symbols = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(split, behavior="isolated"), to_symbols])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    to_byte = byte_of_symbol()
    return {bytes(to_byte[c] for c in token): rank for token, rank in learner.get_vocab().items()}


def byte_of_symbol() -> dict[str, int]:
    """The printable stand-in that byte-level BPE uses for each byte, reversed (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {chr(byte): byte for byte in printable}
    return symbols | {chr(256 + i): byte for i, byte in enumerate(others)}
