"""Tokenizers whose settings say more than tokenizer.json: read as `transformers` does, or refused by the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gptviz.folder import CheckpointError
from gptviz.formats.gguf_vocabulary import tokenizer_of
from gptviz.formats.tokenizers_json import read_tokenizer_folder
from tests.foreign_texts import SPECIALS
from tests.test_formats_vocabulary import MERGES, TOKENS, by_score, llama_json, metadata, tokenizer_json, write_folder

TEXTS = ("the dog", " the dog", "a<tool>a", "a <tool> a", "a<TOOL> the", "<tool>the", "the  dog\n and", "a.b,c!!  ")
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
TWO_FILES = {
    "vocab__json": {token: i for i, token in enumerate(TOKENS)},
    "merges__txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in MERGES)]),
}


def agree(folder: Path) -> None:
    """Our ids are those of `transformers`."""
    import transformers

    (folder / "config.json").write_text('{"model_type": "llama"}')
    ours, theirs = read_tokenizer_folder(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text)["input_ids"], text


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word", "normalized"])
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_added_tokens_take_what_their_flags_say(kind: str, flag: str, tmp_path: Path) -> None:
    values = tokenizer_json() if kind == "bytes" else llama_json()
    size = max(values["model"]["vocab"].values()) + 1
    values["added_tokens"].append(PLAIN | {"id": size, "content": "<tool>", flag: True})
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": values["added_tokens"][2]["content"]}
    agree(write_folder(tmp_path, tokenizer__json=values, tokenizer_config__json=settings))


@pytest.mark.parametrize(
    "part",
    [
        {"normalizer": {"type": "NFC"}},
        {"normalizer": {"type": "NFKD"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        *(
            {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "pattern": {"String": " "}, "behavior": behavior, "invert": inverted},
                        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
                    ],
                }
            }
            for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
            for inverted in (False, True)
        ),
    ],
)
def test_rules_of_a_file_are_followed(part: dict[str, Any], tmp_path: Path) -> None:
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIALS[0]}
    agree(write_folder(tmp_path, tokenizer__json=tokenizer_json(**part), tokenizer_config__json=settings))


@pytest.mark.parametrize("kind", ["Lowercase", "StripAccents", "BertNormalizer", "Nmt", "Strip", "Precompiled"])
def test_normalizers_that_are_not_read_are_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"tokenizer\.json: .*found {kind}"):
        read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=tokenizer_json(normalizer={"type": kind})))


@pytest.mark.parametrize(
    "added",
    [
        {"added_tokens__json": {"<tool>": len(TOKENS)}},
        {"tokenizer_config__json": {"tokenizer_class": "GPT2Tokenizer", "eos_token": SPECIALS[0],
                                    "added_tokens_decoder": {str(len(TOKENS)): PLAIN | {"content": "<tool>"}}}},
    ],
)  # fmt: skip
def test_added_tokens_beside_two_files_are_found_in_texts(added: dict[str, Any], tmp_path: Path) -> None:
    settings = {"tokenizer_config__json": {"tokenizer_class": "GPT2Tokenizer", "eos_token": SPECIALS[0]}}
    agree(write_folder(tmp_path, **(TWO_FILES | settings | added)))


def test_added_tokens_of_the_settings_are_added(tmp_path: Path) -> None:
    size = len(TOKENS)
    more = {str(size): PLAIN | {"content": "<tool>", "lstrip": True}}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIALS[0], "added_tokens_decoder": more}
    agree(write_folder(tmp_path, tokenizer__json=tokenizer_json(), tokenizer_config__json=settings))
    settings["added_tokens_decoder"] = {"40": {"content": "<tool>"}}
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json, added_tokens_decoder, 40"):
        read_tokenizer_folder(write_folder(tmp_path, tokenizer_config__json=settings))
    settings["added_tokens_decoder"] = [3]
    with pytest.raises(CheckpointError, match="added_tokens_decoder: expected a token for each id"):
        read_tokenizer_folder(write_folder(tmp_path, tokenizer_config__json=settings))


def test_special_tokens_that_only_the_settings_name_are_special(tmp_path: Path) -> None:
    """A chat template places them as one token each; in a text they are literal characters."""
    values = tokenizer_json(added_tokens=[])
    settings = {"eos_token": SPECIALS[0], "additional_special_tokens": [SPECIALS[1], "!"], "pad_token": "!"}
    settings["chat_template"] = SPECIALS[1] + "{{ messages[0].content }}"
    tokenizer = read_tokenizer_folder(write_folder(tmp_path, tokenizer__json=values, tokenizer_config__json=settings))
    assert tokenizer.encode_chat("a")[0] == 1 and 1 not in tokenizer.encode(SPECIALS[1])
    assert tokenizer.token_text(tokenizer.encode("!")[0]) == "!"


@pytest.mark.parametrize(("told", "kind"), [(True, "bytes"), (False, "pieces")])
def test_a_space_before_texts_that_files_do_not_agree_on_is_refused(told: bool, kind: str, tmp_path: Path) -> None:
    values = tokenizer_json() if kind == "bytes" else llama_json()
    settings = {"tokenizer_class": "GPT2TokenizerFast" if told else "LlamaTokenizerFast", "add_prefix_space": told}
    write_folder(tmp_path, tokenizer__json=values, tokenizer_config__json=settings)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json, add_prefix_space: expected (true|false)"):
        read_tokenizer_folder(tmp_path)
    for fine in ({"add_prefix_space": not told}, {"tokenizer_class": "PreTrainedTokenizerFast"}):
        read_tokenizer_folder(write_folder(tmp_path, tokenizer_config__json=settings | fine))


@pytest.mark.parametrize(
    ("key", "value"), [("remove_extra_whitespaces", True), ("precompiled_charsmap", [1, 2]), ("add_space_prefix", 3)]
)
def test_rules_of_pieces_in_gguf_that_are_not_read_are_named(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"tokenizer.ggml.{key}"):
        tokenizer_of(by_score() | {f"tokenizer.ggml.{key}": value}, "a.gguf")


def test_a_rule_of_pieces_that_is_off_is_none() -> None:
    for key, value in (("remove_extra_whitespaces", False), ("precompiled_charsmap", [])):
        tokenizer_of(by_score() | {f"tokenizer.ggml.{key}": value}, "a.gguf")
    assert tokenizer_of(metadata(), "a.gguf").encode("a")
