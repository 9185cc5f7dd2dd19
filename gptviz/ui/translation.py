"""How every page about the encoder-decoder begins: the German sentence, its translation, and what both sides saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import streamlit as st

import gptviz
from gptviz.analysis.decoding import mean_probability
from gptviz.analysis.derived import translations as derived
from gptviz.analysis.doubts import doubts, passes_for_itself, times_less
from gptviz.analysis.shown import NOTHING, claim
from gptviz.ui.controls import pick_one
from gptviz.ui.lesson import Reading, begin, check_these, open_chosen, show_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamlit.delta_generator import DeltaGenerator

    from gptviz import Forced, Trace, Translation, TranslationModel, TranslationTrace, WhatIf
    from gptviz.analysis.derived import Derived
    from gptviz.analysis.shown import Claim
    from gptviz.config import ModelConfig
    from gptviz.stack import Stack

SIDES = {"encoder": "Encoder", "decoder": "Decoder", "cross": "Cross-attention"}
MOST_TRANSLATIONS = 64  # that are kept for all visitors
MOST_WHAT_IFS = 16


@dataclass(frozen=True)
class PairReading:
    """The chosen model, the German sentence, and its greedy translation with all that was seen on the way."""

    model: TranslationModel
    text: str
    result: Translation = field(repr=False)
    badge: DeltaGenerator | None = field(default=None, repr=False)  # where the page says whether its numbers agree
    stage: str = "weights"  # with which "Check this number" begins
    shown: list[TranslationTrace] = field(default_factory=list, repr=False)  # all passes that the page shows
    claims: list[Claim] = field(default_factory=list, repr=False)  # what it shows that was made out of them

    def __post_init__(self) -> None:
        self.shown.append(self.trace)

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""
        return self.model.transformer.config

    @property
    def trace(self) -> TranslationTrace:
        """The three attentions of the translation."""
        return self.result.trace

    @property
    def source(self) -> tuple[str, ...]:
        """The tokens that the encoder read, the end of text last: S strings."""
        return self.trace.encoder.tokens

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tokens that the decoder read, the end of text first: T strings."""
        return self.trace.decoder.tokens

    @property
    def written(self) -> tuple[str, ...]:
        """What the decoder wrote after each of `inputs`: T strings, the end of text last where it came to it."""
        return self.model.tokenizer.token_texts(self.written_ids)

    @property
    def written_ids(self) -> tuple[int, ...]:
        """The ids of `written`."""
        end = (self.model.tokenizer.end_of_text,) if len(self.result.ids) < len(self.inputs) else ()
        return (*self.result.ids, *end)

    def show(self, trace: TranslationTrace) -> TranslationTrace:
        """A pass that the page shows as well: it is checked with the others."""
        return show_once(self.shown, trace)

    def claim(
        self, about: str, shown: Mapping[str, object], derive: Callable[..., Derived], *args: object,
        of: tuple[TranslationTrace, ...] = (), side: str = "", nothing: float = NOTHING, nodes: int = 0,
    ) -> None:  # fmt: skip
        """As `Reading.claim`; `derive` gets all of each pass, or one `side` of it. `nodes` are those of its tree."""
        made = claim(about, shown, derive, *args, of=of or (self.trace,), side=side, nothing=nothing, nodes=nodes)
        if made.shown:
            self.claims.append(made)

    def side(self, name: str) -> SideReading:
        """One attention as a lesson on a GPT's would read it; `name` is one of `SIDES`."""
        trace = getattr(self.trace, name)
        return SideReading(self.model, self.text, trace, badge=self.badge, claims=self.claims, side=name, pair=self)


@dataclass(frozen=True)
class SideReading(Reading):
    """One of the three attentions of an encoder-decoder, with the same names as a GPT's reading.

    Of "cross", `tokens` are the queries; the keys are the encoder's.
    """

    side: str = "encoder"
    pair: PairReading | None = field(default=None, repr=False)

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""
        return self.model.transformer.config

    @property
    def stack(self) -> Stack:
        """Whose projections and tables the numbers of `trace` come from."""
        from gptviz.stack import transformer_stack

        return transformer_stack(self.model.transformer, self.side)

    @property
    def keys(self) -> tuple[str, ...]:
        """The tokens that are looked at: S strings."""
        return self.pair.source if self.side == "cross" else self.tokens

    def trace_with(self, what_if: WhatIf) -> Trace:
        """The same sentences with a what-if in this attention. Shared by all visitors: never change it."""
        if what_if == self.trace.what_if:
            return self.trace
        pair = self.pair.trace
        changed = retraced(
            self.model.fingerprint, pair.encoder.ids, pair.decoder.ids, self.side, what_if, self.model, pair
        )
        return self.show(getattr(self.pair.show(changed), self.side))

    def claim(
        self, about: str, shown: Mapping[str, object], derive: Callable[..., Derived], *args: object,
        of: tuple[Trace, ...] = (), nothing: float = NOTHING,
    ) -> None:  # fmt: skip
        """As that of a GPT's reading: `derive` gets this side of the passes that `of` belongs to."""
        keys = [trace.key for trace in of or (self.trace,)]
        passes = {getattr(each, self.side).key: each for each in self.pair.shown}
        traces = tuple(passes[key] for key in keys)
        self.pair.claim(about, shown, derive, *args, of=traces, side=self.side, nothing=nothing)


def refuse(error: ValueError) -> NoReturn:
    """Say why a sentence cannot be read, and end the page. Such errors are made of numbers, not of a visitor's text."""
    said = str(error)
    st.warning(f"{said[0].upper()}{said[1:]}.", icon=":material/translate:")
    st.stop()


def pair_lesson(title: str, look_for: str, caution: str) -> PairReading:
    """Begin a page about the encoder-decoder; the arguments are those of `lesson`."""
    badge = begin(title, look_for, caution)
    model, text = open_chosen("transformer")
    try:
        result = translated(model.fingerprint, text.strip(), 1, model)
    except ValueError as error:
        refuse(error)
    reading = PairReading(model, text.strip(), result, badge)
    say_doubts(reading)
    check_these(reading)
    return reading


def say_doubts(reading: PairReading) -> None:
    """What speaks against the translation, if anything does."""
    model, text, result = reading.model, reading.text, reading.result
    itself = as_itself(model.fingerprint, text, model)
    found = list(doubts(text, result.text, result.probabilities, result.stopped, itself.probabilities))
    if not found:
        return
    st.info("  \n".join(found), icon=":material/translate:")
    shown = {"mean token probability": mean_probability(result.probabilities)}
    reading.claim("notice", shown, derived.judged, reading.written_ids, side="decoder")
    if passes_for_itself(text, result.probabilities, itself.probabilities):
        times = times_less(result.probabilities, itself.probabilities)
        passes, ids = (reading.trace, itself.trace), (reading.written_ids, itself.ids)
        reading.claim(
            "text as its own translation", {"times less probable": times}, derived.as_itself, *ids, of=passes,
            side="decoder",
        )  # fmt: skip


@st.cache_resource(max_entries=MOST_TRANSLATIONS, show_spinner="Translating …")
def translated(fingerprint: str, text: str, beam: int, _model: TranslationModel) -> Translation:
    """A translation, made once. Shared by all visitors: never change it."""
    return gptviz.translate(_model, text, beam)


@st.cache_resource(max_entries=MOST_TRANSLATIONS, show_spinner="Reading the reference …")
def forced(fingerprint: str, text: str, reference: str, _model: TranslationModel) -> Forced:
    """A reference as the model reads it, once. Shared by all visitors: never change it."""
    return gptviz.force(_model, text, reference)


@st.cache_resource(max_entries=MOST_TRANSLATIONS, show_spinner=False)
def as_itself(fingerprint: str, text: str, _model: TranslationModel) -> Forced:
    """The text as if it were its own translation, once. Shared by all visitors: never change it."""
    return gptviz.force(_model, text, text)


@st.cache_resource(max_entries=MOST_WHAT_IFS, show_spinner=False)
def retraced(
    fingerprint: str, source: tuple[int, ...], inputs: tuple[int, ...], side: str, what_if: WhatIf,
    _model: TranslationModel, _trace: TranslationTrace,
) -> TranslationTrace:  # fmt: skip
    """A pass as trained, once more with one attention changed. Shared by all visitors: never change it."""
    from gptviz.translation import retrace

    return retrace(_model, _trace, side, what_if)


def pick_side(*sides: str) -> str:
    """One of the three attentions, or of those of them that the page has. Part of the link."""
    return pick_one("Side", {side: SIDES[side] for side in sides or SIDES}, key="side")
