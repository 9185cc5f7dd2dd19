"""Vocabularies of files: the ids are those of independent tokenizers, and damaged files say what is wrong."""

from __future__ import annotations

import functools
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from gptviz.folder import CheckpointError, root
from gptviz.foreign_tokenizer import BytePairs, ForeignTokenizer
from gptviz.formats.gguf_vocabulary import PATTERNS, PATTERNS_OF, tokenizer_of
from gptviz.formats.sentence_pieces import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, SentencePieces
from gptviz.formats.tokenizers_json import read_tokenizer_folder
from gptviz.tokenizer import PATTERNS as OURS
from gptviz.tokenizer import byte_of_symbol
from tests.foreign_texts import SPECIALS, TRAINING, PairsByHand, joined_by_score, learned_pairs, texts

TOKENS, MERGES = learned_pairs()
SMOLLM2 = "smollm2-135m"

# The patterns as the models' own tokenizer.json have them, not llama.cpp's spelling of them.
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PUBLISHED = {
    "gpt-2": (OURS["gpt2"],),
    "smollm": (r"\p{N}", OURS["gpt2"]),
    "llama-bpe": (rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}",),
    "qwen2": (rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}",),
    "default": PATTERNS["default"],
}


def metadata(pre: str = "gpt-2", **changes: Any) -> dict[str, Any]:
    """What a GGUF file says of the small byte-level BPE."""
    values = {
        "model": "gpt2", "pre": pre, "tokens": list(TOKENS), "merges": [" ".join(pair) for pair in MERGES],
        "token_type": np.array([CONTROL] * 3 + [NORMAL] * (len(TOKENS) - 3), dtype=np.int32),
        "bos_token_id": np.uint32(1), "eos_token_id": 2, "add_bos_token": False,
    }  # fmt: skip
    values |= changes
    return {f"tokenizer.ggml.{key}": value for key, value in values.items() if value is not None}


def write_folder(folder: Path, **files: Any) -> Path:
    """A folder of files by name (dots as __), JSON unless a value is a string."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of the small byte-level BPE, its special tokens included."""
    added = [
        {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True} for i, text in enumerate(SPECIALS)
    ]  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                                            "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(TOKENS)}, "merges": [list(pair) for pair in MERGES]},
    } | changes  # fmt: skip


def check_ten_thousand(expected: Callable[[str], list[int]], found: ForeignTokenizer, seeds: int = 100) -> None:
    """Ids of `found` are the expected ones on 100 texts for each of 100 seeds, and their bytes are the text's."""
    for seed in range(seeds):
        for text in texts(seed):
            ids = found.encode(text)
            assert ids == expected(text), text
            assert found.decode(ids) == text
            assert b"".join(map(found.token_bytes, ids)) == text.encode()


# --- byte-level BPE


def test_gpt2s_two_files_equal_tiktoken_and_the_definition(tmp_path: Path) -> None:
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    vocabulary = {token: i for i, token in enumerate(TOKENS)}
    tokenizer = read_tokenizer_folder(write_folder(tmp_path, vocab__json=vocabulary, merges__txt="\n".join(lines)))
    by_hand = PairsByHand(TOKENS, MERGES, (OURS["gpt2"],))
    to_byte = byte_of_symbol()
    ranks = {bytes(to_byte[symbol] for symbol in token): i for i, token in enumerate(TOKENS) if i >= len(SPECIALS)}
    other = tiktoken.Encoding("small", pat_str=OURS["gpt2"], mergeable_ranks=ranks, special_tokens={})

    def expected(text: str) -> list[int]:
        assert by_hand.encode(text) == other.encode_ordinary(text)
        return other.encode_ordinary(text)

    # Only the first special token is one of GPT-2's; the file does not say so of the others.
    assert tokenizer.end_of_text == 0 and [tokenizer.is_special(i) for i in range(4)] == [True, False, False, False]
    check_ten_thousand(expected, tokenizer)


def test_transformers_reads_the_same_ids(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers, which requirements-dev.txt names")
    write_folder(tmp_path, tokenizer__json=tokenizer_json(), tokenizer_config__json={"eos_token": SPECIALS[0]})
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer_folder(tmp_path)
    plain = [text for seed in range(20) for text in texts(seed) if not any(special in text for special in SPECIALS)]
    assert len(plain) > 1000
    for text, ids in zip(plain, theirs(plain, add_special_tokens=False)["input_ids"], strict=True):
        assert tokenizer.encode(text) == ids


@pytest.mark.parametrize("pre", sorted(PUBLISHED))
def test_gguf_pre_tokenizers_cut_as_the_models_own_files(pre: str) -> None:
    # Patterns are compared through ids: 'ſ ("long s") is an s to (?i:), and llama.cpp leaves it out.
    by_hand = PairsByHand(TOKENS, MERGES, PUBLISHED[pre])
    check_ten_thousand(by_hand.encode, tokenizer_of(metadata(pre), "small.gguf"), seeds=15)


def test_pre_tokenizers_are_not_all_the_same() -> None:
    text, cuts = "WE'LL go 1234567\n\n  now $1", {}
    for pre in PUBLISHED:
        core = tokenizer_of(metadata(pre), "small.gguf").core
        assert isinstance(core, BytePairs)
        cuts[pre] = "·".join(part for part, _ in core.core.pre_tokenizer.pre_tokenize_str(text))
    assert len(set(cuts.values())) == len(PUBLISHED)
    assert cuts["llama-bpe"] == "WE·'LL·Ġgo·Ġ·123·456·7·ĊĊ·Ġ·Ġnow·Ġ$·1"


def test_every_pattern_is_one_that_tokenizers_reads() -> None:
    for pre in PATTERNS_OF:
        tokenizer = tokenizer_of(metadata(pre), "small.gguf")
        assert tokenizer.decode(tokenizer.encode(TRAINING)) == TRAINING


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back(text: str) -> None:
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    for tokenizer in (BYTE_LEVEL, PIECES):
        found = tokenizer.decode(tokenizer.encode(text))
        assert found == (clean if tokenizer is BYTE_LEVEL or not clean else f"<s> {clean.replace('▁', ' ')}")


def test_unknown_pre_tokenizer_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"small.gguf: tokenizer.ggml.pre: .*found 'klingon'; it is not guessed"):
        tokenizer_of(metadata("klingon"), "small.gguf")


def test_bos_rules_of_gguf() -> None:
    assert tokenizer_of(metadata(add_bos_token=True), "x").begin == (1,)
    assert tokenizer_of(metadata(add_bos_token=None), "x").begin == ()
    assert tokenizer_of(metadata("llama-bpe", add_bos_token=None), "x").begin == (1,)
    assert tokenizer_of(metadata("llama-bpe"), "x").begin == ()
    tokenizer = tokenizer_of(metadata(add_bos_token=True), "x")
    assert tokenizer.encode("the")[0] == 1 and tokenizer.encode("") == []


def test_llama3_takes_a_whole_word_before_any_merge() -> None:
    word = "zqx"
    values = metadata("llama-bpe", tokens=[*TOKENS, word], token_type=None)
    assert tokenizer_of(values, "x").encode(word) == [len(TOKENS)]
    values["tokenizer.ggml.pre"] = "qwen2"
    assert len(tokenizer_of(values, "x").encode(word)) == 3


def test_types_of_gguf_tokens() -> None:
    tokens = [*TOKENS, "<tool>", "[PAD1]", "the</s>"]
    kinds = np.array([CONTROL] * 3 + [NORMAL] * (len(TOKENS) - 3) + [USER_DEFINED, UNUSED, CONTROL])
    tokenizer = tokenizer_of(metadata(tokens=tokens, token_type=kinds), "x")
    size = len(TOKENS)
    assert tokenizer.vocab_size == size + 3
    assert tokenizer.encode("a<tool>b")[1] == size, "user-defined tokens are found in a text"
    assert [tokenizer.is_special(i) for i in range(size, size + 3)] == [False, True, True]
    assert tokenizer.token_texts(range(size, size + 3)) == ("<tool>", "[PAD1]", "the</s>")
    assert not {0, 1, 2, size + 1, size + 2} & set(tokenizer.encode("<|im_start|>[PAD1]the</s><|endoftext|>"))


DAMAGED = [
    ({"model": None}, "model: expected a string, found none"),
    ({"model": "bert"}, "model: expected gpt2 or llama, found 'bert'"),
    ({"tokens": None}, "tokens: expected a list of strings, found none"),
    ({"tokens": []}, "tokens: expected 1 to"),
    ({"tokens": [1, 2]}, "tokens: expected a list of strings"),
    ({"token_type": np.zeros(3)}, "token_type: expected SIZE numbers"),
    ({"merges": None}, "merges: expected a list of strings, found none"),
    ({"merges": ["ab"]}, "merges: expected two tokens and a space between them, found 'ab' at 0"),
    ({"merges": ["nowhere tobefound"]}, "tokens: expected a vocabulary that texts can be cut with"),
    ({"eos_token_id": 10**9}, "eos_token_id: expected an id below SIZE, found 1000000000"),
    ({"eos_token_id": "x"}, "eos_token_id: expected an id below SIZE, found x"),
    ({"add_bos_token": 3}, "add_bos_token: expected true or false, found int"),
    ({"pre": 5}, "pre: expected a string, found int"),
]


@pytest.mark.parametrize(("changes", "words"), DAMAGED)
def test_damaged_metadata_say_what_is_wrong(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=r"bad\.gguf") as caught:
        values = metadata() | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
        tokenizer_of(values, "bad.gguf")
    assert words.replace("SIZE", str(len(TOKENS))) in str(caught.value)


# --- SentencePiece


def by_score(duplicates: bool = False) -> dict[str, Any]:
    """What a GGUF file says of small pieces with scores: single characters, their pairs, bytes, and every type."""
    words = ["the", "capital", "of", "France", "dog", "little", "aaaa", "abababab", "-----", "1234567", "'ll", "  "]
    pieces: dict[str, None] = {}
    for word in words:
        marked = "▁" + word.replace(" ", "▁")
        for length in range(2, len(marked) + 1):
            pieces |= {marked[i : i + length]: None for i in range(len(marked) - length + 1)}
    characters = sorted({character for piece in pieces for character in piece})
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters, *pieces, "<tool>"]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (len(tokens) - 260), USER_DEFINED]
    unused = tokens.index("▁capi")
    kinds[unused] = UNUSED
    order = np.random.default_rng(1).permutation(len(tokens))
    scores = -(order // 3 if duplicates else order).astype(np.float32)
    return {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": np.array(kinds),
        "tokenizer.ggml.scores": scores, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
    }  # fmt: skip


BYTE_LEVEL = tokenizer_of(metadata(), "small.gguf")
PIECES = tokenizer_of(by_score(), "small.gguf")


def pieces_by_hand(values: dict[str, Any], text: str) -> list[int]:
    """Ids by the definition, for texts without user-defined pieces and where unused pieces do not occur."""
    tokens, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    usable = {token: i for i, token in enumerate(tokens) if kinds[i] in (NORMAL, USER_DEFINED)}
    scores = {token: float(values["tokenizer.ggml.scores"][i]) for token, i in usable.items()}
    ids = [1]
    for piece in joined_by_score(" ".join(["", text]).replace(" ", "▁"), scores):
        ids += [usable[piece]] if piece in usable else [3 + byte for byte in piece.encode()]
    return ids


@pytest.mark.parametrize("duplicates", [False, True], ids=["own scores", "equal scores"])
def test_pieces_join_by_score_as_defined(duplicates: bool) -> None:
    values = by_score(duplicates)
    values["tokenizer.ggml.token_type"][values["tokenizer.ggml.token_type"] == UNUSED] = NORMAL
    tokenizer, seen = tokenizer_of(values, "small.gguf"), 0
    for seed in range(15):
        for text in texts(seed):
            if "<tool>" not in text:
                ids, seen = tokenizer.encode(text), seen + 1
                assert ids == pieces_by_hand(values, text), text
                assert tokenizer.decode_bytes(np.array(ids[1:])).decode() == " " + text.replace("▁", " ")
    assert seen > 1000


def test_equal_to_the_sentencepiece_package(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs the sentencepiece package")
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING.splitlines()), model_writer=stream, vocab_size=480, model_type="bpe",
        byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity", minloglevel=2,
        remove_extra_whitespaces=False, hard_vocab_limit=False, num_threads=1,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue())
    ids = range(theirs.vocab_size())
    kinds = [
        UNKNOWN if theirs.is_unknown(i) else CONTROL if theirs.is_control(i) else BYTE if theirs.is_byte(i) else NORMAL
        for i in ids
    ]
    values = {
        "model": "llama", "tokens": [theirs.id_to_piece(i) for i in ids], "token_type": np.array(kinds),
        "scores": np.array([theirs.get_score(i) for i in ids]), "bos_token_id": theirs.bos_id(),
        "eos_token_id": theirs.eos_id(), "add_bos_token": False,
    }  # fmt: skip
    tokenizer = tokenizer_of({f"tokenizer.ggml.{key}": value for key, value in values.items()}, "x")
    for seed in range(100):
        made = texts(seed)
        for text, expected in zip(made, theirs.encode(made), strict=True):
            assert tokenizer.encode(text) == expected, text


def test_rules_of_pieces() -> None:
    def named(text: str) -> tuple[str, ...]:
        return PIECES.token_texts(PIECES.encode(text))

    assert named("the") == ("<s>", " the")
    assert named("\n") == ("<s>", " ", "\n"), "a byte where there is no piece"
    assert b"".join(map(PIECES.token_bytes, PIECES.encode("ж")[2:])) == "ж".encode()
    assert len(PIECES.encode("ж")) == 4 and PIECES.token_text(PIECES.encode("ж")[2]) == "\\xd0"
    assert "<s>" not in named("<s>")[1:] and "\n" not in named("<0x0A>"), "names of special tokens and bytes are text"
    assert named("a<tool>a")[2] == "<tool>", "user-defined pieces are found whole"
    assert " capi" not in named("capi") and "".join(named("capi")) == "<s> capi", "unused pieces fall apart again"
    without = tokenizer_of(by_score() | {"tokenizer.ggml.add_space_prefix": False}, "x")
    assert without.token_texts(without.encode("the")) == ("<s>", "the")
    assert (PIECES.begin, PIECES.end_of_text, PIECES.token_text(2)) == ((1,), 2, "</s>")


def test_a_character_without_piece_or_bytes_is_unknown() -> None:
    pieces = SentencePieces(["<unk>", "▁", "a"], np.zeros(3), np.array([UNKNOWN, NORMAL, NORMAL]), unknown=0)
    assert pieces.encode(["aж"]) == [[1, 2, 0]]


def test_long_texts_stay_fast() -> None:
    began = time.process_time()
    assert len(PIECES.encode("a" * 50_000)) > 10_000
    BYTE_LEVEL.encode("a" * 50_000)
    assert time.process_time() - began < 5


def test_damaged_pieces_say_what_is_wrong() -> None:
    count = PIECES.vocab_size
    for key, value, words in (
        ("scores", None, f"expected {count} numbers"),
        ("scores", np.full(count, np.nan), "expected finite numbers"),
        ("token_type", np.full(count, 9), "expected types from 1 to 6"),
        ("unknown_token_id", -1, f"expected an id below {count}"),
    ):
        with pytest.raises(CheckpointError, match=rf"bad\.gguf: tokenizer\.ggml\.{key}: {words}"):
            tokenizer_of(by_score() | {f"tokenizer.ggml.{key}": value}, "bad.gguf")


# --- tokenizer.json


def llama_json(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json as Llama 2's are: pieces with bytes, a space before a text, <s> before every text."""
    vocabulary = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "t",
        "h",
        "e",
        "<",
        "/",
        "s",
        ">",
    ]
    merges = [["▁", "t"], ["h", "e"], ["▁t", "he"], ["<", "/"], ["</", "s"], ["</s", ">"], ["<", "s"], ["<s", ">"]]
    vocabulary += [token for pair in merges if (token := "".join(pair)) not in vocabulary]
    values = tokenizer_json()
    values["model"] |= {"vocab": {token: i for i, token in enumerate(vocabulary)}, "merges": merges,
                        "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}  # fmt: skip
    names = ("<unk>", "<s>", "</s>")
    added = [token | {"content": name} for token, name in zip(values["added_tokens"], names, strict=True)]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    begin = {"id": "<s>", "ids": [1], "tokens": ["<s>"]}
    return values | {
        "added_tokens": added, "pre_tokenizer": None, "decoder": None,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]},
        "post_processor": {
            "type": "TemplateProcessing", "special_tokens": {"<s>": begin},
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        },
    } | changes  # fmt: skip


def test_pieces_in_a_tokenizer_json(tmp_path: Path) -> None:
    tokenizer = read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=llama_json()))
    assert (tokenizer.begin, tokenizer.end_of_text) == ((1,), 2)
    assert tokenizer.token_texts(tokenizer.encode("the the")) == ("<s>", " the", " the")
    assert tokenizer.token_texts(tokenizer.encode("\nж")) == ("<s>", " ", "\n", "\\xd0", "\\xb6")
    literal = tokenizer.encode("</s><s>")
    assert tokenizer.decode(literal[1:]) == " </s><s>"
    assert not any(tokenizer.is_special(i) for i in literal[1:]), "merges that would make a special token are left out"


@pytest.mark.parametrize(
    ("settings", "begin"),
    [
        ({}, (1,)),
        ({"add_bos_token": False}, ()),
        ({"add_bos_token": True, "bos_token": "</s>"}, (2,)),
        ({"add_bos_token": True, "bos_token": {"content": "<s>"}}, (1,)),
        ({"add_bos_token": None}, (1,)),
    ],
)
def test_bos_rules_of_the_settings(tmp_path: Path, settings: dict[str, Any], begin: tuple[int, ...]) -> None:
    folder = write_folder(tmp_path, tokenizer__json=llama_json(), tokenizer_config__json=settings)
    assert read_tokenizer_folder(folder).begin == begin


def test_bos_rules_of_post_processors(tmp_path: Path) -> None:
    template = llama_json()["post_processor"]
    both = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    assert read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=llama_json(post_processor=both))).begin == (1,)
    roberta = {"type": "RobertaProcessing", "cls": ["<s>", 1], "sep": ["</s>", 2]}
    assert read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=llama_json(post_processor=roberta))).begin == (
        1,
    )
    none = llama_json(post_processor=None)
    assert read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=none)).begin == ()


def test_where_the_end_of_text_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, tokenizer__json=tokenizer_json())
    assert read_tokenizer_folder(tmp_path).end_of_text == 0, "by its usual name"
    write_folder(tmp_path, config__json={"eos_token_id": [1, 2], "vocab_size": 800})
    tokenizer = read_tokenizer_folder(tmp_path)
    assert tokenizer.end_of_text == 1 and tokenizer.vocab_size == 800
    assert tokenizer.token_text(799) == "[unused 799]" and tokenizer.is_special(799)
    write_folder(tmp_path, special_tokens_map__json={"eos_token": {"content": SPECIALS[2]}})
    assert read_tokenizer_folder(tmp_path).end_of_text == 2
    write_folder(tmp_path, tokenizer_config__json={"eos_token": SPECIALS[0]})
    assert read_tokenizer_folder(tmp_path).end_of_text == 0


def test_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    values, size = tokenizer_json(), len(TOKENS)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    values["added_tokens"] += [
        plain | {"id": size + 5, "content": "<|far|>", "special": True},
        plain | {"id": size + 9, "content": "<tool>", "special": False},
    ]
    tokenizer = read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=values))
    assert tokenizer.vocab_size == size + 10
    assert tokenizer.encode("a<tool>a")[1] == size + 9 and tokenizer.token_bytes(size + 9) == b"<tool>"
    assert tokenizer.token_text(size + 5) == "<|far|>" and size + 5 not in tokenizer.encode("<|far|>")
    assert tokenizer.is_special(size + 2) and tokenizer.token_text(size + 2) == f"[unused {size + 2}]"


def damaged(change: Callable[[dict[str, Any]], object]) -> str:
    values = tokenizer_json()
    change(values)
    return json.dumps(values)


BROKEN = {
    "no JSON": ("{", "tokenizer.json: expected JSON, found"),
    "deep": ("[" * 100_000, "tokenizer.json: expected JSON, found"),
    "a list": ("[]", "expected a JSON object, found a list"),
    "binary": ("\x80\x02", "tokenizer.json: expected"),
    "no model": (damaged(lambda v: v.pop("model")), "expected a BPE model, found NoneType"),
    "unigram": (damaged(lambda v: v["model"].update(type="Unigram")), "expected a BPE model, found Unigram"),
    "ids": (damaged(lambda v: v["model"]["vocab"].update(x="1")), "expected an id for every token"),
    "far id": (damaged(lambda v: v["model"]["vocab"].update(x=10**12)), "expected ids below"),
    "merges": (damaged(lambda v: v["model"].update(merges=3)), "expected a list of pairs"),
    "lost merge": (damaged(lambda v: v["model"].update(merges=["q1 q2"])), "tokenizers"),
    "odd merge": (damaged(lambda v: v["model"].update(merges=[[1, 2, 3]])), "tokenizers"),
    "suffix": (damaged(lambda v: v["model"].update(end_of_word_suffix="</w>")), "expected no model.end_of_word_suffix"),
    "cut": (damaged(lambda v: v.update(pre_tokenizer={"type": "Bert"})), "expected one of Sequence"),
    "many cuts": (
        damaged(lambda v: v.update(pre_tokenizer=functools.reduce(
            lambda inner, _: {"type": "Sequence", "pretokenizers": [inner]}, range(60), v["pre_tokenizer"]))),
        "found Sequence; it is not read",
    ),
    "no cut": (damaged(lambda v: v.update(pre_tokenizer=None)), "expected byte-level or SentencePiece-like BPE"),
    "growing": (
        damaged(lambda v: v.update(normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})),
        "expected a normalizer that marks spaces",
    ),
    "pattern": (
        damaged(lambda v: v.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}]})),
        "tokenizers",
    ),
    "added": (damaged(lambda v: v.update(added_tokens=[3])), "tokenizers"),
    "no end": (
        damaged(lambda v: (v.update(added_tokens=[]), v["model"]["vocab"].pop("<|endoftext|>"))), "expected eos_token",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files_say_what_is_wrong(tmp_path: Path, name: str) -> None:
    text, words = BROKEN[name]
    with pytest.raises(CheckpointError) as caught:
        read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=text))
    assert words in str(caught.value) and ".json: expected" in str(caught.value)


def test_files_that_are_missing_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer.json: expected it, or vocab.json and merges.txt"):
        read_tokenizer_folder(tmp_path)
    write_folder(tmp_path, vocab__json={}, merges__txt="", tokenizer_config__json={"tokenizer_class": "Qwen2Tokenizer"})
    with pytest.raises(CheckpointError, match="Qwen2Tokenizer cuts texts by its own rules"):
        read_tokenizer_folder(tmp_path)
    write_folder(tmp_path, tokenizer__json=tokenizer_json())
    monkeypatch.setattr("gptviz.formats.tokenizers_json.MAX_TOKENIZER", 1000)
    with pytest.raises(CheckpointError, match=r"tokenizer.json: expected at most 1000 bytes"):
        read_tokenizer_folder(tmp_path)


@given(st.binary(max_size=4), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_a_file_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, put: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    data = json.dumps(tokenizer_json()).encode()
    (folder / "tokenizer.json").write_bytes(data[:at] + put + data[at + len(put) :])
    try:
        read_tokenizer_folder(folder).encode("the dog")
    except CheckpointError as error:
        assert str(error)


def test_where_the_chat_template_is_found(tmp_path: Path) -> None:
    several = [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]
    write_folder(tmp_path, tokenizer__json=tokenizer_json(), tokenizer_config__json={"chat_template": several})
    assert read_tokenizer_folder(tmp_path).chat_template == "D"
    write_folder(tmp_path, tokenizer_config__json={"chat_template": "S"})
    assert read_tokenizer_folder(tmp_path).chat_template == "S"
    write_folder(tmp_path, chat_template__jinja="J")
    assert read_tokenizer_folder(tmp_path).chat_template == "J"


# --- the real file


def test_the_real_smollm2() -> None:
    file = next((root() / SMOLLM2).glob("*.gguf"), None) if (root() / SMOLLM2).is_dir() else None
    if file is None:
        pytest.skip(f"needs the model: python -m gptviz get {SMOLLM2}")
    from gptviz.formats.gguf import read_tokenizer

    tokenizer = read_tokenizer(file.parent)
    assert (tokenizer.vocab_size, tokenizer.end_of_text, tokenizer.begin) == (49152, 2, ())
    assert tokenizer.encode("The capital of France is") == [504, 3575, 282, 4649, 314]
    assert tokenizer.token_texts(tokenizer.encode("Hello world! 123")) == ("Hello", " world", "!", " ", "1", "2", "3")
    for text in [TRAINING, *texts(1)]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
