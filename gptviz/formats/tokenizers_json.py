"""Tokenizers as Hugging Face's folders hold them: tokenizer.json, or GPT-2's vocab.json and merges.txt.

Executes nothing. Of the rules in a tokenizer.json those are read that exact bytes of every token follow from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gptviz.folder import CheckpointError
from gptviz.foreign_tokenizer import SPACE, ForeignTokenizer, without_specials

TOKENIZER, SETTINGS, SPECIALS, CONFIG = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json",
)  # fmt: skip
TEMPLATE, VOCABULARY, MERGES = "chat_template.jinja", "vocab.json", "merges.txt"
MAX_TOKENIZER = 48 * 2**20  # bytes; Gemma's has 33 million
MAX_SETTINGS = 8 * 2**20  # bytes; Llama 3's tokenizer_config.json has 50 thousand
DEEPEST = 40  # lists and objects in one another
ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>")  # where no file says which token ends a text
NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")
AS_THE_FILE_SAYS = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes that look at tokenizer.json alone
GPT2_CLASSES = ("", "GPT2Tokenizer", "GPT2TokenizerFast")

NORMALIZERS = ("Sequence", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace")
PRE_TOKENIZERS = ("Sequence", "ByteLevel", "Split", "Digits", "Metaspace", "Punctuation", "Whitespace")


def read_tokenizer_folder(path: Path) -> ForeignTokenizer:
    """The tokenizer of a folder.

    Raises:
        CheckpointError: naming the file, if none is there or if it is damaged or of a kind that is not read.
    """
    settings = {**read_object(path / SPECIALS, {}), **read_object(path / SETTINGS, {})}
    if (path / TOKENIZER).is_file():
        file, values = path / TOKENIZER, read_object(path / TOKENIZER, limit=MAX_TOKENIZER)
        check(values, file.name)
        check_prefix(values, settings)
    elif (path / VOCABULARY).is_file() and (path / MERGES).is_file():
        file, values = path / VOCABULARY, gpt2_values(path, settings)
    else:
        raise CheckpointError(
            f"{TOKENIZER}: expected it, or {VOCABULARY} and {MERGES}, found neither in {path.name}; "
            "a tokenizer.model alone is not read: save the tokenizer with transformers, which writes tokenizer.json"
        )
    try:
        return built(path, values, settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
        raise CheckpointError(
            f"{file.name}: expected a tokenizer that the `tokenizers` package reads, found: {words[:300]}; "
            "fetch the file again"
        ) from error


def built(path: Path, values: dict[str, Any], settings: dict[str, Any]) -> ForeignTokenizer:
    """The tokenizer of checked content and of the settings beside it."""
    values["added_tokens"] = [*(values.get("added_tokens") or []), *more_added(values, settings)]
    ids = values["model"]["vocab"] | {token["content"]: token["id"] for token in values["added_tokens"]}
    names = {name: text for name in NAMES if (text := text_of(settings.get(name)))}
    config = read_object(path / CONFIG, {})
    end = end_of_text(ids, names, config)
    begin = begin_of(values.get("post_processor"), settings, ids, names)
    core, specials = without_specials(values, [end, *begin, *(ids[text] for text in named(settings) if text in ids)])
    size = config.get("vocab_size")
    return ForeignTokenizer(
        core,
        end_of_text=end,
        begin=begin,
        chat_template=chat_template(path, settings),
        vocab_size=size if isinstance(size, int) else None,
        specials=specials,
        names=names,
    )


def read_object(file: Path, absent: dict[str, Any] | None = None, limit: int = MAX_SETTINGS) -> dict[str, Any]:
    """The JSON object of a file, or `absent` if there is no such file."""
    if not file.is_file() and absent is not None:
        return absent
    size = file.stat().st_size
    if size > limit:
        raise CheckpointError(f"{file.name}: expected at most {limit} bytes, found {size}")
    try:
        values = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.name}: expected JSON, found {error}; fetch the file again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file.name}: expected a JSON object, found a {type(values).__name__}")
    return values


def check(values: dict[str, Any], name: str) -> None:
    """Raise `CheckpointError` for content of a tokenizer.json that is not read, before anything is built from it."""
    model = values.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else type(model).__name__
        raise CheckpointError(f"{name}: expected a BPE model, found {str(kind)[:40]}; other kinds are not read")
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or not all(type(i) is int and i >= 0 for i in vocabulary.values()):
        raise CheckpointError(f"{name}: expected an id for every token in model.vocab, found something else")
    if not isinstance(merges, list):
        raise CheckpointError(f"{name}: expected a list of pairs in model.merges, found {type(merges).__name__}")
    for field in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(field):
            raise CheckpointError(f"{name}: expected no model.{field}, found {str(model[field])[:40]!r}, not read")
    normalizers = parts_of(values.get("normalizer"), "normalizers", name, NORMALIZERS)
    cuts = parts_of(values.get("pre_tokenizer"), "pretokenizers", name, PRE_TOKENIZERS)
    for part in normalizers:  # those that only write a space as SentencePiece does
        marks = part.get("pattern") == {"String": " "} and part.get("content") == SPACE
        if (part["type"] == "Replace" and not marks) or part.get("prepend", SPACE) != SPACE:
            raise CheckpointError(f"{name}: expected a normalizer that marks spaces, found {str(part)[:80]}")
    if any(part.get("replacement", SPACE) != SPACE for part in cuts):
        raise CheckpointError(f"{name}: expected a pre_tokenizer that writes spaces as {SPACE}, found another sign")
    marks_spaces = any(part.get("type") in ("Replace", "Prepend", "Metaspace") for part in (*normalizers, *cuts))
    if not marks_spaces and not any(part.get("type") == "ByteLevel" for part in cuts):
        raise CheckpointError(f"{name}: expected byte-level or SentencePiece-like BPE, found neither")


def parts_of(rule: Any, inner: str, name: str, known: tuple[str, ...], depth: int = 0) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as the list of its parts, each of a known type."""
    if rule is None:
        return []
    kind = rule.get("type") if isinstance(rule, dict) else None
    if kind not in known or depth > DEEPEST:
        raise CheckpointError(f"{name}: expected one of {', '.join(known)}, found {str(kind)[:40]}; it is not read")
    if kind != "Sequence":
        return [rule]
    if not isinstance(rule.get(inner), list):
        raise CheckpointError(f"{name}: expected a list of {inner} in a Sequence, found none")
    return [part for each in rule[inner] for part in parts_of(each, inner, name, known, depth + 1)]


def check_prefix(values: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise where the class of the tokenizer is told to put a space before a text, or not to, against its own file."""
    told, kind = settings.get("add_prefix_space"), settings.get("tokenizer_class")
    if not isinstance(told, bool) or kind in AS_THE_FILE_SAYS:
        return
    parts = [
        *parts_of(values.get("normalizer"), "normalizers", TOKENIZER, NORMALIZERS),
        *parts_of(values.get("pre_tokenizer"), "pretokenizers", TOKENIZER, PRE_TOKENIZERS),
    ]
    metaspaces = [part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
                  for part in parts if part["type"] == "Metaspace"]  # fmt: skip
    levels = [bool(part.get("add_prefix_space", True)) for part in parts if part["type"] == "ByteLevel"]
    puts = any(part["type"] == "Prepend" for part in parts) or any(levels) or any(x != "never" for x in metaspaces)
    if puts != told:
        raise CheckpointError(
            f"{SETTINGS}, add_prefix_space: expected {str(puts).lower()}, as {TOKENIZER} has it, found "
            f"{str(told).lower()}; one of the two is wrong: save the tokenizer again with transformers"
        )


def more_added(values: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The added tokens that only the settings name."""
    there = {token["content"] for token in values.get("added_tokens") or []}
    vocabulary, found = values["model"]["vocab"], []
    taken = {i: text for text, i in vocabulary.items()}
    by_id = settings.get("added_tokens_decoder") or {}
    if not isinstance(by_id, dict) or not all(key.isdecimal() and text_of(token) for key, token in by_id.items()):
        raise CheckpointError(f"{SETTINGS}, added_tokens_decoder: expected a token for each id, found something else")
    for key, token in by_id.items():
        text, i = text_of(token), int(key)
        if text in there:
            continue
        if taken.get(i, text) != text or vocabulary.get(text, i) != i:
            raise CheckpointError(
                f"{SETTINGS}, added_tokens_decoder, {key}: expected the token of the vocabulary, found {text[:40]!r}"
            )
        found.append(added_token((token if isinstance(token, dict) else {}) | {"id": i, "content": text}))
    return found


def named(settings: dict[str, Any]) -> set[str]:
    """The special tokens that the settings name, but single characters, which texts need: "!" pads in some models."""
    found = {text_of(settings.get(name)) for name in NAMES}
    for name in ("additional_special_tokens", "extra_special_tokens"):
        more = settings.get(name) or []
        found |= {text_of(token) for token in (more.values() if isinstance(more, dict) else more)}
    return {text for text in found if len(text) > 1}


def gpt2_values(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What a tokenizer.json would say for GPT-2's two files."""
    kind = settings.get("tokenizer_class") or ""
    if kind not in GPT2_CLASSES:
        raise CheckpointError(
            f"{VOCABULARY}: expected a tokenizer.json beside it, for {str(kind)[:40]} cuts texts by its own rules; "
            "save the tokenizer with transformers, which writes it"
        )
    vocabulary = read_object(path / VOCABULARY, limit=MAX_TOKENIZER)
    size = (path / MERGES).stat().st_size
    if size > MAX_TOKENIZER:
        raise CheckpointError(f"{MERGES}: expected at most {MAX_TOKENIZER} bytes, found {size}")
    try:
        lines = (path / MERGES).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{MERGES}: expected UTF-8, found {error}; fetch the file again") from error
    merges = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    extra, special = read_object(path / "added_tokens.json", {}), named(settings)
    added = [{"id": i, "content": text, "special": text in special} for text, i in extra.items()]
    values = {
        "version": "1.0",
        "added_tokens": [added_token(token) for token in added],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": bool(settings.get("add_prefix_space")),
                          "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }  # fmt: skip
    check(values, VOCABULARY)
    return values


def added_token(token: dict[str, Any]) -> dict[str, Any]:
    """An added token with every field that `tokenizers` asks for."""
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {name: token.get(name, value) for name, value in usual.items()} | {
        "id": token["id"], "content": token["content"]
    }  # fmt: skip


def text_of(token: Any) -> str:
    """The text of a token in the settings, which is a string or an object; "" for none."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def end_of_text(ids: dict[str, int], names: dict[str, str], config: dict[str, Any]) -> int:
    """The id that ends a text: by name in the settings, by number in config.json, else by a usual name."""
    if names.get("eos_token") in ids:
        return ids[names["eos_token"]]
    number = config.get("eos_token_id")
    if isinstance(number, list) and number:
        number = number[0]
    if type(number) is int and number in ids.values():
        return number
    for text in ENDS:
        if text in ids:
            return ids[text]
    raise CheckpointError(
        f"{SETTINGS}: expected eos_token, the token that ends a text, found none there, in {SPECIALS} or in {CONFIG}"
    )


def begin_of(processor: Any, settings: dict[str, Any], ids: dict[str, int], names: dict[str, str]) -> tuple[int, ...]:
    """The ids before every text: what add_bos_token says, else what stands before the text in the post-processor.

    What would stand behind it is left out, add_eos_token too: a text here is one that goes on.
    """
    rule = settings.get("add_bos_token")
    if isinstance(rule, bool) and (not rule or names.get("bos_token") in ids):
        return (ids[names["bos_token"]],) if rule else ()
    if not isinstance(processor, dict):
        return ()
    kind = processor.get("type")
    if kind == "Sequence":
        found = [begin_of(each, {}, ids, names) for each in processor.get("processors") or []]
        return next((begin for begin in found if begin), ())
    if kind in ("RobertaProcessing", "BertProcessing"):
        return (int(processor["cls"][1]),)
    if kind != "TemplateProcessing":
        return ()
    begin: list[int] = []
    for part in processor["single"]:
        if "Sequence" in part:
            return tuple(begin)
        begin += [int(i) for i in processor["special_tokens"][part["SpecialToken"]["id"]]["ids"]]
    return ()


def chat_template(path: Path, settings: dict[str, Any]) -> str:
    """Jinja source: from a file of its own, else from the settings, where several have names; "" for none."""
    file = path / TEMPLATE
    if file.is_file():
        size = file.stat().st_size
        if size > MAX_SETTINGS:
            raise CheckpointError(f"{TEMPLATE}: expected at most {MAX_SETTINGS} bytes, found {size}")
        return file.read_text(encoding="utf-8", errors="replace")
    source = settings.get("chat_template")
    if isinstance(source, list):
        by_name = {each.get("name"): each.get("template") for each in source if isinstance(each, dict)}
        source = by_name.get("default") or next(iter(by_name.values()), "")
    return source if isinstance(source, str) else ""
