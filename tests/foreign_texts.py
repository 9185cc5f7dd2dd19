"""Texts that tokenizers differ on, and small tokenizers to read them with. Nothing here is a test."""

from __future__ import annotations

import itertools
import json
import random
from unicodedata import category

import regex
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from gptviz.tokenizer import byte_of_symbol

TRAINING = (
    "The capital of France is Paris. My dog has 12 bones, and I don't think he'll share them: we've tried!\n"
    "Once upon a time there was a little girl who LIKED the sea; she said \"it's so big\" and they'd all go.\n\n"
    "    def area(width, height):\n        return width * height  # 1234567 + 2.50\n"
    "Größe, déjà vu, naïve café, straße; привет мир, добрый день; 你好，世界，你好; שלום; नमस्ते 😀😀👍🏽 ٣٤٥\t\r\n"
) * 3
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
FRAGMENTS = [
    "the", "The", " capital", "of", "France", "dog", "little", "LIKED", "I'm", "don't", "WE'LL", "he'd've", "'s", "'T",
    "1", "12", "1234567", " 42", "3.14", "٣٤", "½", "²", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0",
    "\u3000", "\u2028", "\x85", "\x1c", "\x00", "\x7f", "é", "e\u0301", "ß", "привет", "你好", "，", "שלום", "नमस्ते",
    "😀", "👍🏽", "👨\u200d👩\u200d👧", "\U0010ffff", "\ufffd", "\ufeff", "!", "...", "$x$", "**", "_", "`", "^", "|",
    "<", ">", "/", "\\", "ﬁ", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im", "<s>", "</s>", "<unk>", "<0x0A>",
    "<0xE4>", "▁", "▁the", "Ġthe", "Ċ", "[INST]", "<tool>", "aaaa", "-----", "abababab",
]  # fmt: skip

# Characters that every package's tables know: a new version of Unicode makes letters of numbers that were none before.
ASSIGNED = [character for character in map(chr, range(0x110000)) if category(character) not in ("Cn", "Cs", "Co")]


def texts(seed: int, count: int = 100) -> list[str]:
    """Texts of up to twelve fragments, which are words, digits, white space, look-alikes of special tokens, or any."""
    source = random.Random(seed)

    def fragment() -> str:
        if source.random() < 0.15:
            return source.choice(ASSIGNED)
        if source.random() < 0.15:
            return chr(source.randrange(0x20, 0x7F))
        return source.choice(FRAGMENTS)

    return ["".join(fragment() for _ in range(source.randint(1, 12))) for _ in range(count)]


def learned_pairs(size: int = 700) -> tuple[list[str], list[tuple[str, str]]]:
    """Byte-level BPE learned from `TRAINING`: the special tokens and then tokens by id, and the merges in order."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIALS,
        show_progress=False,
    )
    learner.train_from_iterator([TRAINING], trainer)
    by_id = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [token for token, _ in by_id], [(left, right) for left, right in merges]


def cut_by(patterns: tuple[str, ...], text: str) -> list[str]:
    """A text cut by patterns, one after the other: what matches is a part, what stands between matches is one."""
    parts = [text]
    for pattern in patterns:
        cut = []
        for part in parts:
            done = 0
            for match in regex.finditer(pattern, part):
                cut += [part[done : match.start()], match.group()]
                done = match.end()
            cut.append(part[done:])
        parts = [part for part in cut if part]
    return parts


def merged(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding as it is defined: join the pair of lowest rank, leftmost first, until no pair has one."""
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(symbols)) if pair in ranks]
        if not pairs:
            return symbols
        _, i = min(pairs)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


SYMBOL = {byte: symbol for symbol, byte in byte_of_symbol().items()}


class PairsByHand:
    """Byte-level BPE written out, with Python's `regex`: independent of the `tokenizers` package."""

    def __init__(self, tokens: list[str], merges: list[tuple[str, str]], patterns: tuple[str, ...]) -> None:
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.patterns = patterns
        self.known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        return [i for part in cut_by(self.patterns, text) for i in self.part(part)]

    def part(self, part: str) -> list[int]:
        if part not in self.known:
            symbols = merged([SYMBOL[byte] for byte in part.encode()], self.ranks)
            self.known[part] = [self.ids[symbol] for symbol in symbols]
        return self.known[part]


def joined_by_score(text: str, scores: dict[str, float]) -> list[str]:
    """SentencePiece's merging as it is defined: join the neighbours whose piece scores highest, leftmost first."""
    pieces = list(text)
    while True:
        pairs = [(-scores[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in scores]
        if not pairs:
            return pieces
        _, i = min(pairs)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
