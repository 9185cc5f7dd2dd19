"""How every lesson begins: title, what to look for, the model's reading of the sentence, or a clear word why not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st

from gptviz.analysis.shown import NOTHING, claim
from gptviz.config import GPTConfig
from gptviz.places import CHAT_PAGES
from gptviz.ui import models
from gptviz.ui.address import kept, put_right
from gptviz.ui.controls import BOXES, check_layer_and_head, switch
from gptviz.ui.show import escape, literal
from gptviz.ui.strip import token_strip

CHAT = (
    "Models that were tuned to answer read conversations. With this the sentence is what a user says in one, as the "
    "template in the model's file writes it, up to where the answer begins. The template's own tokens are dotted."
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamlit.delta_generator import DeltaGenerator

    from gptviz import LanguageModel, Trace, WhatIf
    from gptviz.analysis.derived import Derived
    from gptviz.analysis.shown import Claim, Sentence
    from gptviz.checkpoint import AnyModel
    from gptviz.config import ModelConfig
    from gptviz.gpt import GPT
    from gptviz.seq2seq import Transformer
    from gptviz.stack import Stack
    from gptviz.ui.one_number import AnyTrace
    from gptviz.ui.translation import PairReading


@dataclass(frozen=True)
class Reading:
    """The chosen model, the typed sentence, and what the one did with the other (masked, as trained)."""

    model: LanguageModel
    text: str
    trace: Trace = field(repr=False)
    stage: str = "weights"  # that the page is about: the check of a number begins there
    badge: DeltaGenerator | None = field(default=None, repr=False)  # where the page says whether its numbers agree
    shown: list[Trace] = field(default_factory=list, repr=False)  # all passes that the page shows
    claims: list[Claim] = field(default_factory=list, repr=False)  # what it shows that was made out of them
    side: str = ""  # which attention of an encoder-decoder; a GPT has but one

    def __post_init__(self) -> None:
        self.shown.append(self.trace)

    @property
    def name(self) -> str:
        """How a page about two models calls this one."""
        return self.model.name

    @property
    def template(self) -> list[bool] | None:
        """Which tokens are the chat template's own; None without one."""
        return None if self.side else self.model.of_template(self.text)

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""
        return self.model.gpt.config

    @property
    def stack(self) -> Stack:
        """Whose projections and tables the numbers of `trace` come from."""
        from gptviz.stack import gpt_stack

        return gpt_stack(self.model.gpt)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that the model read: T strings."""
        return self.trace.tokens

    @property
    def keys(self) -> tuple[str, ...]:
        """The tokens that are looked at: those that look, but in cross-attention."""
        return self.tokens

    def trace_with(self, what_if: WhatIf) -> Trace:
        """The same sentence under a what-if. Shared by all visitors: never change it."""
        return self.show(models.TRACES.get(self.model, self.text, what_if))

    def show(self, trace: Trace) -> Trace:
        """A pass that the page shows as well: it is checked with the others."""
        return show_once(self.shown, trace)

    def claim(
        self, about: str, shown: Mapping[str, object], derive: Callable[..., Derived], *args: object,
        of: tuple[Trace | Sentence, ...] = (), slow: bool = False, nothing: float = NOTHING,
    ) -> None:  # fmt: skip
        """Let the badge check what the page shows besides stages of a trace; nothing is computed here.

        Args:
            about: what these numbers are of.
            shown: the numbers by quantity, as they are shown; each name is one that `derive` works out.
            derive: a function of `gptviz.analysis.derived`, called with a float64 pass for each trace and `args`.
            of: the traces that they are made of; by default the reading's own.
            slow: needs a gradient, and waits for a click.
            nothing: what counts as 0, where all numbers of a quantity may be small.
        """
        made = claim(about, shown, derive, *args, of=of or (self.trace,), slow=slow, nothing=nothing)
        if made.shown:
            self.claims.append(made)


def show_once(shown: list[AnyTrace], trace: AnyTrace) -> AnyTrace:
    """Add a pass to those that a page shows, unless it is among them; returns it."""
    if all(trace.key != other.key for other in shown):
        shown.append(trace)
    return trace


def lesson(title: str, look_for: str, caution: str, strip: bool = True, stage: str = "weights") -> Reading:
    """Begin a lesson.

    Args:
        title: of the page.
        look_for: what to see here.
        caution: what would be wrong to conclude. Together three sentences.
        strip: show the tokens below; False where the page has a strip of its own.
        stage: of a trace that the page is about; "Check this number" begins with it.
    """
    badge = begin(title, look_for, caution)
    reading = replace(read(), stage=stage, badge=badge, shown=[])
    check_these(reading)
    if strip:
        token_strip(reading.tokens, key="tokens", given=reading.template)
    return reading


def check_these(*readings: Reading | PairReading) -> None:
    """Let the router write the badge over these when the page has shown everything, in the place of the first."""
    st.session_state["readings"] = readings


def begin(title: str, look_for: str, caution: str) -> DeltaGenerator:
    """Title and three sentences; returns the place for the badge."""
    st.title(title, anchor=False)
    st.markdown(f":material/visibility: **Look for:** {look_for}  \n:material/warning: **Careful:** {caution}")
    return st.container(key="numbers", gap=None)


def open_chosen(kind: str) -> tuple[AnyModel, str]:
    """The chosen model of a kind and the typed sentence; where there is none, says why and ends the page."""
    name, text = BOXES[kind].now()
    if not text.strip():
        st.info("Type a sentence above, or take one from “Try another”.", icon=":material/keyboard:")
        st.stop()
    try:
        with st.spinner(f"Opening {escape(name)} …"):
            model = models.open_model(name)
    except (ValueError, OSError) as error:
        st.error(f"The model {escape(name)} cannot be opened. {literal(str(error))}", icon=":material/broken_image:")
        st.stop()
    if kind == "gpt":
        model = in_chat(model)
    network = model.gpt if kind == "gpt" else model.transformer
    check_layer_and_head(network.config)
    st.sidebar.caption(describe(network))
    if said := models.say_half(network):
        st.sidebar.caption(f":material/compress: {said}")
    return model, text


def in_chat(model: LanguageModel) -> LanguageModel:
    """The model, as somebody talks with it where the visitor asks for its chat template."""
    if st.session_state["kept_page"] not in CHAT_PAGES:
        return model
    if not model.has_chat:
        if kept().get("chat"):
            put_right("chat")
        return model
    with st.sidebar:
        return model.with_chat() if switch("Chat template", "chat", help=CHAT) else model


def read() -> Reading:
    """The chosen model's reading of the typed sentence; where there is none, says why and ends the page."""
    model, text = open_chosen("gpt")
    from gptviz.trace import WhatIf  # torch: it is there by now

    try:
        trace = models.TRACES.get(model, text, WhatIf())
    except ValueError as error:  # a model of characters knows no others
        st.error(f"{escape(model.name)} cannot read this. {literal(str(error))}", icon=":material/translate:")
        st.stop()
    if trace.dropped:
        total = trace.dropped + len(trace.tokens)
        st.warning(
            f"The text has {total:,} tokens{' with its chat template' * model.chat} and this model reads "
            f"{model.gpt.config.context:,}: the first {trace.dropped:,} were cut at the left"
            f"{', the beginning of the template with them' * model.chat}."
        )
    return Reading(model, text, trace)


def describe(network: GPT | Transformer) -> str:
    """The shape of a model and where it computes, in one line."""
    config = network.config
    n, h = config.n_layers, config.n_heads
    layers = f"{n} layer{'s'[: n > 1]}" if isinstance(config, GPTConfig) else f"{n} + {n}"
    return (
        f"{layers} × {h} head{'s'[: h > 1]}, {network.count_parameters() / 1e6:.1f} million parameters, "
        f"on {network.device}"
    )
