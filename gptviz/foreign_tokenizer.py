"""Other people's tokenizers behind the interface of `gptviz.tokenizer.Tokenizer`: byte-level BPE and SentencePiece.

Knows nothing about models or file formats: gptviz/formats reads the files. Special tokens in a text are read as the
literal characters that they are; only a chat template, or the rule that begins every text, places special tokens.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tokenizers

from gptviz.formats import chat_template as templates
from gptviz.formats.sentence_pieces import BYTES, SPACE
from gptviz.tokenizer import byte_of_symbol

SYMBOL_TO_BYTE = str.maketrans({symbol: chr(byte) for symbol, byte in byte_of_symbol().items()})
MAX_IDS = 2**21  # ids of a vocabulary; the largest have 0.3 million
PADDING = "\t \t"  # white space around a message that tells whether a template strips it
JSON_PADDING = json.dumps(PADDING)[1:-1]


class Special(NamedTuple):
    """A token that no text is cut into: its text, and whether it takes the white space beside it in a template."""

    text: str
    strips_left: bool = False
    strips_right: bool = False


class Core(Protocol):
    """What cuts a text: `size` ids, 0 to size - 1."""

    size: int

    def encode(self, parts: Sequence[str]) -> list[list[int]]:
        """Ids of each part of a text; special tokens stand between the parts."""
        ...

    def content(self, token: int) -> bytes:
        """The bytes of one id."""
        ...


class ForeignTokenizer:
    """The interface of `Tokenizer`, over a file's own rules. It holds no state between calls: threads may share it.

    Args:
        core: a `tokenizers.Tokenizer` with a BPE model, which is taken over, or what cuts texts as one does.
        end_of_text: id of the token that ends a text.
        begin: ids that stand before every text.
        chat_template: Jinja source, "" if there is none.
        vocab_size: how many ids there are, where a model has more than the tokenizer.
        specials: the special tokens by id; left out, they are the special added tokens of `core`, which is then rebuilt
            without them, because `tokenizers` would find them in every text.
        names: special tokens by the names that a chat template uses, such as "bos_token".

    Raises:
        ValueError: for a model other than BPE, for rules that a text cannot be rebuilt from, for ids out of range.
    """

    def __init__(
        self,
        core: tokenizers.Tokenizer | Core,
        *,
        end_of_text: int,
        begin: Iterable[int] = (),
        chat_template: str = "",
        vocab_size: int | None = None,
        specials: Mapping[int, Special] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(core, tokenizers.Tokenizer):
            if specials is None:
                core, specials = without_specials(json.loads(core.to_str()), [end_of_text])
            core = BytePairs(core)
        self.core: Core = core
        self.specials = dict(specials or {})
        self.end_of_text = end_of_text
        self.begin = tuple(begin)
        self.chat_template = chat_template
        known = max([self.core.size - 1, *self.specials]) + 1
        self.vocab_size = max(known, vocab_size or 0)
        wrong = [i for i in (end_of_text, *self.begin) if not 0 <= i < known]
        if wrong:
            raise ValueError(f"expected the ids of special tokens below {known}, found {wrong[0]}")
        self.names = {"eos_token": self.token_text(end_of_text)}
        if self.begin:
            self.names["bos_token"] = self.token_text(self.begin[0])
        self.names |= names or {}

    def encode(self, text: str) -> list[int]:
        """Ids of a text after `begin`, none for an empty one; lone surrogates become U+FFFD.

        Raises:
            ValueError: in words, if the file's rules fail on this text.
        """
        if not text:
            return []
        return [*self.begin, *self.core.encode([unicode_text(text)])[0]]

    def encode_chat(self, text: str) -> list[int]:
        """Ids of a text as a user's message in the chat template, up to where the answer begins; none for an empty one.

        The template's special tokens are special tokens, those in the text are literal characters. The template is
        rendered once for all messages, so one that looks into a message sees a number in its place.

        Raises:
            ValueError: in words, if there is no chat template or if it fails.
        """
        return [token for token, _ in self.chat_tokens(text)]

    def chat_tokens(self, text: str) -> list[tuple[int, bool]]:
        """As `encode_chat`, each id with whether any of it is from the text: the rest is the template's."""
        if not text:
            return []
        text = unicode_text(text)
        parts, between = self.chat_parts
        filled = [self.filled(part, text) for part in parts]
        tokens: list[tuple[int, bool]] = []
        encoded = self.core.encode(["".join(pieces) for pieces in filled])
        for i, (ids, pieces) in enumerate(zip(encoded, filled, strict=True)):
            tokens += zip(ids, self.of_the_text(ids, pieces), strict=True)
            tokens += ((token, False) for token in between[i : i + 1])
        return tokens

    def of_the_text(self, ids: Sequence[int], pieces: Sequence[str]) -> list[bool]:
        """Which of the ids that a part was cut into have a byte of a message: of `filled`, every other piece is one."""
        sizes = [len(piece.encode()) for piece in pieces]
        widths = [len(self.core.content(token)) for token in ids]
        put_before = sum(widths) - sum(sizes)  # SentencePiece's space
        ends = list(itertools.accumulate(sizes, initial=put_before))
        spans = [(ends[i], ends[i + 1]) for i in range(1, len(sizes), 2)]
        places = list(itertools.accumulate(widths, initial=0))
        return [any(a < stop and start < b for start, stop in spans) for a, b in itertools.pairwise(places)]

    @property
    def chat_parts(self) -> tuple[list[str], list[int]]:
        """A conversation cut at its N special tokens: N + 1 texts, of which some hold `placeholder`, and N ids."""
        if isinstance(self.chat, ValueError):
            raise self.chat
        return self.chat

    @functools.cached_property
    def chat(self) -> tuple[list[str], list[int]] | ValueError:
        """`chat_parts`, or why there are none: a template that runs for ever is tried once."""
        try:
            return self.rendered_chat()
        except ValueError as error:
            return error

    def rendered_chat(self) -> tuple[list[str], list[int]]:
        """`chat_parts`, made by running the template."""
        if not self.chat_template:
            raise ValueError("expected a chat template, found none: the model was not trained for conversation")
        rendered = templates.render(self.chat_template, PADDING + self.placeholder + PADDING, self.names)
        parts, between, done = [], [], 0
        ids = {special.text: i for i, special in self.specials.items()}
        for match in self.special_pattern.finditer(rendered):
            parts.append(rendered[done : match.start()])
            between.append(ids[match[match.lastindex or 0]])
            done = match.end()
        parts.append(rendered[done:])
        if not any(self.placeholder in part for part in parts):
            raise ValueError("chat template: expected the message in the conversation, found it left out or changed")
        return parts, between

    @functools.cached_property
    def placeholder(self) -> str:
        """Stands for a message in a template; nobody can guess it. Digits: a change of case leaves them as they are."""
        return f"{secrets.randbits(128):039d}"

    @functools.cached_property
    def special_pattern(self) -> re.Pattern[str]:
        """Finds the special tokens of a template, the longest first, with the white space that they take."""
        longest_first = sorted(self.specials.values(), key=lambda special: len(special.text), reverse=True)
        space = ("", r"\s*")
        choices = [
            f"{space[special.strips_left]}({re.escape(special.text)}){space[special.strips_right]}"
            for special in longest_first
            if special.text
        ]
        return re.compile("|".join(choices) or r"(?!)")

    def filled(self, part: str, text: str) -> list[str]:
        """A text of the template with the message in it: stripped if the template strips messages, or as JSON.

        Returns:
            The template's pieces and the messages between them, by turns.
        """
        padding = f"({PADDING}|{re.escape(JSON_PADDING)})?"

        def message(match: re.Match[str]) -> str:
            found = text if match[1] else text.lstrip()
            found = found if match[2] else found.rstrip()
            as_json = JSON_PADDING in match.groups()
            return json.dumps(found, ensure_ascii=False)[1:-1] if as_json else found

        pieces, done = [], 0
        for match in re.finditer(padding + self.placeholder + padding, part):
            pieces += [part[done : match.start()], message(match)]
            done = match.end()
        return [*pieces, part[done:]]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, special tokens included; bytes that are no whole character become U+FFFD.

        What ids say does not depend on where they stand: SentencePiece's space before a text is kept.
        """
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """The bytes of ids, which may begin or end within a character."""
        return b"".join(self.token_bytes(i) for i in ids.tolist())

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one id; of a special token its name, of an id without a token "[unused ID]"."""
        if not 0 <= token < self.vocab_size:
            raise IndexError(f"expected an id from 0 to {self.vocab_size - 1}, found {token}")
        if token in self.specials or token >= self.core.size:
            text = self.specials[token].text if token in self.specials else ""
            return (text or f"[unused {token}]").encode()
        return self.core.content(token)

    def token_text(self, token: int) -> str:
        """One token as text, for a label; bytes that are no whole character read as \\xNN."""
        return self.token_bytes(token).decode("utf-8", errors="backslashreplace")

    def token_texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """`token_text` of each id."""
        return tuple(self.token_text(i) for i in ids)

    def is_special(self, token: int) -> bool:
        """Whether a token is a special one, or an id without a token: no text is cut into it."""
        return token in self.specials or token >= self.core.size


class BytePairs:
    """A `tokenizers.Tokenizer` without special tokens, as a `Core`."""

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        if not isinstance(core.model, tokenizers.models.BPE):
            raise ValueError(f"expected a BPE model, found {type(core.model).__name__}")
        self.added = {i: token.content.encode() for i, token in core.get_added_tokens_decoder().items()}
        self.byte_level = has_byte_level(core.pre_tokenizer)
        self.bytes_of = BYTES if core.model.byte_fallback else {}
        self.size = max(core.get_vocab().values(), default=-1) + 1
        # Between parts stands a token that no text holds, so that rules for the beginning of a text apply once.
        self.mark = secret_token()
        core.add_tokens([tokenizers.AddedToken(self.mark, normalized=False)])
        self.mark_id = core.token_to_id(self.mark)
        self.core = core

    def encode(self, parts: Sequence[str]) -> list[list[int]]:
        """Ids of each part of a text."""
        try:
            ids = self.core.encode(self.mark.join(parts), add_special_tokens=False).ids
        except Exception as error:  # `tokenizers` raises bare exceptions, for example where a pattern runs too long
            raise ValueError(f"the tokenizer's own rules fail on this text: {error}") from error
        found: list[list[int]] = [[]]
        for i in ids:
            if i == self.mark_id:
                found.append([])
            else:
                found[-1].append(i)
        return found

    def content(self, token: int) -> bytes:
        """The bytes of one id."""
        if token in self.added:
            return self.added[token]
        symbols = self.core.id_to_token(token)
        if self.byte_level:
            try:
                return symbols.translate(SYMBOL_TO_BYTE).encode("latin-1")
            except UnicodeEncodeError:  # not written in symbols of bytes
                return symbols.encode()
        return self.bytes_of.get(symbols) or symbols.replace(SPACE, " ").encode()


def has_byte_level(pre_tokenizer: Any) -> bool:
    """Whether texts are cut as symbols of bytes."""
    return pre_tokenizer is not None and b'"ByteLevel"' in pre_tokenizer.__getstate__()


def secret_token() -> str:
    """A name for a token that no text holds."""
    return f"\0{secrets.token_hex(16)}"


def unicode_text(text: str) -> str:
    """A text with lone surrogates, which are not Unicode text, as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def without_specials(
    values: dict[str, Any], also: Iterable[int] = ()
) -> tuple[tokenizers.Tokenizer, dict[int, Special]]:
    """Build what a tokenizer.json describes so that no text gives a special token; the special tokens by id.

    They keep their ids under names that nobody can guess, and merges that would make them go. Ids that the file leaves
    out are filled in the same way, and are special tokens without a text.

    Args:
        values: the content of the file. Changed.
        also: ids that are special though the file does not say so.

    Raises:
        ValueError: where the model is no BPE, or `tokenizers` refuses the rest.
    """
    model = values["model"]
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"expected a BPE model, found {model['type']}")
    vocabulary: dict[str, int] = model["vocab"]
    added = values.get("added_tokens") or []
    also = set(also)
    kept = [token for token in added if not token.get("special") and token["id"] not in also]
    specials = {
        token["id"]: Special(token["content"], bool(token.get("lstrip")), bool(token.get("rstrip")))
        for token in added
        if token.get("special") or token["id"] in also
    }
    text_of = {i: text for text, i in vocabulary.items()}
    specials |= {i: Special(text_of[i]) for i in also if i not in specials and i in text_of}
    names = {special.text for special in specials.values()}
    vocabulary |= {token["content"]: token["id"] for token in kept}
    hidden = {text: secret_token() for text in names}
    vocabulary = {text: i for text, i in vocabulary.items() if text not in names}
    vocabulary |= {hidden[special.text]: i for i, special in specials.items()}
    size = max(vocabulary.values(), default=-1) + 1
    if size > MAX_IDS:
        raise ValueError(f"expected ids below {MAX_IDS}, found {size - 1}")
    for i in set(range(size)) - set(vocabulary.values()):
        vocabulary[secret_token()] = i
        specials[i] = Special("")
    merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    merges = [pair for pair in merges if "".join(pair) not in names and not names.intersection(pair)]
    unknown = model.get("unk_token")
    model |= {"vocab": vocabulary, "merges": merges, "unk_token": hidden.get(unknown, unknown), "dropout": None}
    values |= {"added_tokens": kept, "post_processor": None, "decoder": None, "truncation": None, "padding": None}
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(values)), specials
    except Exception as error:  # `tokenizers` raises bare exceptions
        raise ValueError(str(error)) from error
