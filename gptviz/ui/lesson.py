"""How every lesson begins: title, what to look for, the model's reading of the sentence, or a clear word why not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st

from gptviz.ui import models
from gptviz.ui.controls import check_layer_and_head
from gptviz.ui.show import escape
from gptviz.ui.strip import token_strip

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from gptviz import LanguageModel, Trace, WhatIf


@dataclass(frozen=True)
class Reading:
    """The chosen model, the typed sentence, and what the one did with the other (masked, as trained)."""

    model: LanguageModel
    text: str
    trace: Trace = field(repr=False)
    stage: str = "weights"  # that the page is about: the check of a number begins there
    badge: DeltaGenerator | None = field(default=None, repr=False)  # where the page says whether its numbers agree
    shown: list[Trace] = field(default_factory=list, repr=False)  # all passes that the page shows

    def __post_init__(self) -> None:
        self.shown.append(self.trace)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that the model read: T strings."""
        return self.trace.tokens

    def trace_with(self, what_if: WhatIf) -> Trace:
        """The same sentence under a what-if. Shared by all visitors: never change it."""
        return self.show(models.TRACES.get(self.model, self.text, what_if))

    def show(self, trace: Trace) -> Trace:
        """A pass that the page shows as well: it is checked with the others."""
        if all((trace.ids, trace.what_if) != (other.ids, other.what_if) for other in self.shown):
            self.shown.append(trace)
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
    st.title(title, anchor=False)
    st.markdown(f":material/visibility: **Look for:** {look_for}  \n:material/warning: **Careful:** {caution}")
    badge = st.container(key="numbers", gap=None)
    reading = replace(read(), stage=stage, badge=badge, shown=[])
    st.session_state["reading"] = reading  # for the router, which writes the badge when the page has shown everything
    if strip:
        token_strip(reading.tokens, key="tokens")
    return reading


def read() -> Reading:
    """The chosen model's reading of the typed sentence; where there is none, says why and ends the page."""
    text = st.session_state["text"]
    if not text.strip():
        st.info("Type a sentence above, or take one from “Try another”.", icon=":material/keyboard:")
        st.stop()
    name = st.session_state["model"]
    try:
        with st.spinner(f"Opening {escape(name)} …"):
            from gptviz.trace import WhatIf  # torch: seconds, unless it is already there

            model = models.open_model(name)
    except (ValueError, OSError) as error:
        st.error(f"The model {escape(name)} cannot be opened. {escape(str(error))}", icon=":material/broken_image:")
        st.stop()
    check_layer_and_head(model)
    st.sidebar.caption(describe(model))
    trace = models.TRACES.get(model, text, WhatIf())
    if trace.dropped:
        total = trace.dropped + len(trace.tokens)
        st.warning(
            f"The text has {total:,} tokens and this model reads {model.gpt.config.context:,}: the first "
            f"{trace.dropped:,} were cut at the left."
        )
    return Reading(model, text, trace)


def describe(model: LanguageModel) -> str:
    """The shape of a model and where it computes, in one line."""
    config = model.gpt.config
    return (
        f"{config.n_layers} layers × {config.n_heads} heads, "
        f"{model.gpt.count_parameters() / 1e6:.1f} million parameters, on {model.gpt.device}"
    )
