"""Every text comes back from its tokens; damaged vocabularies say what is wrong; long inputs stay fast."""

from __future__ import annotations

import base64
import itertools
import time
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptviz.tokenizer import (
    END_OF_TEXT,
    MAX_RANK_FILE,
    Tokenizer,
    TokenizerError,
    byte_of_symbol,
    read_ranks,
    train_ranks,
)
from tests.tiny import tiny_ranks

BYTES = {bytes([byte]): byte for byte in range(256)}
BARE = Tokenizer(BYTES)
TINY = Tokenizer(tiny_ranks())
AWKWARD = [
    "", " ", "\n", "\r\n\t", "   a", "a   ", " \n \n x", "\x00\x01\x7f", "e\N{COMBINING ACUTE ACCENT}",
    "\N{FAMILY}\N{ZERO WIDTH JOINER}\N{BOY}\N{VARIATION SELECTOR-16}", "שלום עולם", "مرحبا", "\u202eabc", "好的，谢谢",
    "<img src=x onerror=alert(1)>", "$x$ **b** :smile: [a](b)", END_OF_TEXT, f"a{END_OF_TEXT}b", "<|end", "don't we'll",
    "\U0010ffff\ufffe\ufffd", "\u2028\u2029\u0085\u00a0\u3000",
]  # fmt: skip


def merge_by_hand(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """Byte-pair encoding as it is defined: join the neighbours of lowest rank, leftmost first, until none can be."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        pairs = [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
        if not pairs:
            return [ranks[part] for part in parts]
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def check_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert all(0 <= i < tokenizer.end_of_text for i in ids)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text: str) -> None:
    check_round_trip(TINY, text)
    check_round_trip(BARE, text)


@given(st.lists(st.sampled_from([*AWKWARD, " the", "dog", "dogs", "  ", "\n", "1", "'s", "_"]), max_size=12))
def test_every_mixture_of_words_and_signs_comes_back(parts: list[str]) -> None:
    check_round_trip(TINY, "".join(parts))


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_come_back(text: str) -> None:
    check_round_trip(TINY, text)


@given(st.text(st.sampled_from("dogcathefls "), max_size=40))
def test_one_word_is_merged_as_the_definition_says(text: str) -> None:
    word = text.replace(" ", "")
    assert TINY.encode(word) == merge_by_hand(word.encode(), TINY.ranks)
    assert TINY.encode(" " + word if word else "") == merge_by_hand((" " + word if word else "").encode(), TINY.ranks)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("My dog has fleas", ["My", " dog", " has", " fleas"]),
        ("dog dog", ["dog", " dog"]),
        ("dog's", ["dog", "'s"]),
        ("the  cat", ["the", " ", " cat"]),
        ("dog\n\ncat", ["dog", "\n", "\n", "cat"]),
        ("was1", ["was", "1"]),
    ],
)
def test_text_is_cut_into_words_with_the_space_before_them(text: str, pieces: list[str]) -> None:
    assert list(TINY.token_texts(TINY.encode(text))) == pieces


@given(st.text(st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), min_size=1))
def test_without_merges_a_text_is_its_bytes(text: str) -> None:
    assert BARE.encode(text) == list(text.encode())


@given(st.lists(st.integers(0, 255)))
@example([0xF0, 0x9F])
def test_bytes_that_are_no_text_decode_to_replacements(ids: list[int]) -> None:
    assert BARE.decode(ids) == bytes(ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc80\ud800"])
def test_lone_surrogates_become_replacement_characters(text: str) -> None:
    expected = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    assert TINY.decode(TINY.encode(text)) == expected


@given(st.text(max_size=10), st.text(max_size=10))
def test_special_tokens_in_a_text_stay_letters(before: str, after: str) -> None:
    assert TINY.end_of_text not in TINY.encode(before + END_OF_TEXT + after)


def test_the_end_of_text_token_is_the_last_one() -> None:
    assert TINY.end_of_text == len(tiny_ranks()) == TINY.vocab_size - 1
    assert TINY.token_text(TINY.end_of_text) == TINY.decode([TINY.end_of_text]) == END_OF_TEXT


def test_a_part_of_a_character_is_labelled_by_its_bytes() -> None:
    ids = TINY.encode("é😀")
    assert TINY.token_texts(ids) == ("\\xc3", "\\xa9", "\\xf0", "\\x9f", "\\x98", "\\x80")
    assert TINY.token_text(TINY.encode("<")[0]) == "<"


def test_a_saved_vocabulary_is_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.tiktoken"
    TINY.save(path)
    again = Tokenizer.load(path)
    assert again.ranks == TINY.ranks
    for text in AWKWARD:
        assert again.encode(text) == TINY.encode(text)


def test_a_saved_vocabulary_is_in_the_format_of_tiktoken(tmp_path: Path) -> None:
    from tiktoken.load import load_tiktoken_bpe

    path = tmp_path / "tokenizer.tiktoken"
    TINY.save(path)
    assert load_tiktoken_bpe(str(path)) == TINY.ranks


# Damaged vocabularies


def rank_lines(ranks: dict[bytes, int]) -> list[bytes]:
    return [base64.b64encode(token) + f" {rank}".encode() for token, rank in ranks.items()]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"!!!! 300", "line 300: expected base64 and a rank, found b'!!!! 300'"),
        (b"IGE= x", "line 300: expected base64 and a rank"),
        (b"IGE=", "line 300: expected base64 and a rank"),
        (b"IGE= 1 2", "line 300"),
        (b"", "line 300"),
        (b"\xff\xfe 300", "line 300"),
        (b"IGE= 99999999999999999999", "expected the ranks 0 to"),
        (b"IGE= -1", "expected the ranks 0 to"),
        (b"IGE= 5", "expected the ranks 0 to"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, shown: str) -> None:
    lines = rank_lines(TINY.ranks)
    lines[299] = line
    path = tmp_path / "ranks.tiktoken"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(TokenizerError, match=shown):
        Tokenizer.load(path)


@pytest.mark.parametrize("kept", [0, 1, 100, 1000])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "ranks.tiktoken"
    TINY.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TokenizerError, match=r"expected all 256 single bytes|expected base64 and a rank"):
        Tokenizer.load(path)


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ranks.tiktoken"
    with path.open("wb") as file:
        file.truncate(MAX_RANK_FILE + 1)
    with pytest.raises(TokenizerError, match="at most 16777216 bytes, found 16777217"):
        read_ranks(path)


def test_a_token_listed_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranks.tiktoken"
    path.write_bytes(b"\n".join([*rank_lines(BYTES), b"AA== 256"]))
    with pytest.raises(TokenizerError, match=r"ranks 0 to 255"):
        Tokenizer.load(path)


def test_a_token_that_merging_cannot_reach_is_harmless() -> None:
    tokenizer = Tokenizer(BYTES | {b"\x00 dog": 256})
    check_round_trip(tokenizer, "My\x00 dog has fleas")


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(TokenizerError, match="expected a pattern from gpt2, found 'gpt5'"):
        Tokenizer(BYTES, "gpt5")


# Long inputs


def doubling_ranks() -> dict[bytes, int]:
    """A vocabulary in which one letter, spaces, and a pair can be merged many times over: the slowest there is."""
    pieces = list(BYTES)
    for unit in (b"a", b" ", b"ab", "好".encode()[:2], "好".encode()):
        pieces += [unit * 2**power for power in range(7) if len(unit) * 2**power > 1]
    return {piece: rank for rank, piece in enumerate(dict.fromkeys(pieces))}


LONG = {
    "one letter": "a" * 100_000,
    "spaces": " " * 100_000,
    "spaces and a letter": " " * 99_999 + "x",
    "a pair": "ab" * 50_000,
    "no merges": "z" * 100_000,
    "line breaks": "\n" * 100_000,
    "Han": "好" * 100_000,
    "emoji": "😀" * 100_000,
    "signs": "!" * 100_000,
    "words": "My dog has fleas. " * 5_556,
    "letters and spaces": " a" * 50_000,
    "mixed spaces": " \t\n" * 33_333 + "x",
}


@pytest.mark.parametrize("name", LONG)
def test_100_000_characters_come_back_and_quickly(name: str) -> None:
    tokenizer = Tokenizer(doubling_ranks())
    start = time.perf_counter()
    ids = tokenizer.encode(LONG[name])
    seconds = time.perf_counter() - start
    assert tokenizer.decode(ids) == LONG[name]
    assert seconds < 2, "a quadratic merge takes minutes here; this takes some 50 ms"


@settings(deadline=None, max_examples=20)
@example(1200, "aab")
@given(st.integers(1, 300), st.sampled_from(["a", "ab", "aab", "ba"]))
def test_long_words_are_merged_as_the_definition_says(length: int, unit: str) -> None:
    tokenizer = Tokenizer(doubling_ranks())
    word = (unit * length)[:length]
    assert tokenizer.encode(word) == merge_by_hand(word.encode(), tokenizer.ranks)


# GPT-2's own vocabulary


def test_gpt2_from_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "gpt2.tiktoken"
    TINY.save(path)
    assert Tokenizer.gpt2(path).encode("My dog") == TINY.encode("My dog")


def test_gpt2_through_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: {"gpt2": TINY.encoding}[name])
    tokenizer = Tokenizer.gpt2()
    assert tokenizer.ranks == TINY.ranks
    assert tokenizer.end_of_text == TINY.end_of_text


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError(), OSError("proxy"), ValueError("hash")])
def test_gpt2_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def offline(name: str) -> tiktoken.Encoding:
        raise error

    monkeypatch.setattr(tiktoken, "get_encoding", offline)
    with pytest.raises(TokenizerError, match=r"local rank file, Tokenizer\.gpt2\(Path.*TIKTOKEN_CACHE_DIR") as seen:
        Tokenizer.gpt2()
    assert type(error).__name__ in str(seen.value)


def test_a_local_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"gpt2\.tiktoken: expected a rank file, found none"):
        Tokenizer.gpt2(tmp_path / "gpt2.tiktoken")


# Training a vocabulary


def test_the_stand_ins_of_bytes_are_those_of_byte_level_bpe() -> None:
    table = byte_of_symbol()
    assert sorted(table.values()) == list(range(256))
    assert all(table[chr(byte)] == byte for byte in b"azAZ09!~")
    assert (table["Ġ"], table["Ċ"], table["ĉ"]) == (0x20, 0x0A, 0x09)


def test_a_learned_vocabulary_merges_what_is_frequent_and_keeps_every_text() -> None:
    texts = ["The brown hen sat. The brown hen ran. A brown hen's egg!", "Über 12 hens, 好的 \n\n\tbrown hens"] * 5
    ranks = train_ranks(texts, 280)
    tokenizer = Tokenizer(ranks)
    assert tokenizer.vocab_size == 280
    assert {b" brown", b" hen"} <= set(ranks)
    for text in [*texts, *AWKWARD]:
        check_round_trip(tokenizer, text)
    for token, rank in ranks.items():  # each token is reached by merging its own bytes
        assert merge_by_hand(token, ranks) == [rank]
    assert ranks == train_ranks(texts, 280)
