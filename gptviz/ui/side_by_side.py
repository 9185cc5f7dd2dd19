"""What the page of two models is made of: the other model, both readings of the sentence, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis.alignment import Pieces, align, between_pieces, by_text
from gptviz.analysis.derived import heads as derived_heads
from gptviz.analysis.derived import predictions
from gptviz.figures import side_by_side as figures
from gptviz.figures.style import visible
from gptviz.ui import models
from gptviz.ui.address import kept, linked
from gptviz.ui.attention_view import attention_view, view_of_trace
from gptviz.ui.controls import among, number, pick_head, pick_layer
from gptviz.ui.lesson import Reading, check_these
from gptviz.ui.show import escape, literal, plot, table_with_csv
from gptviz.view import ViewState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gptviz import LanguageModel, Trace

MOST = 10  # next tokens of each
MOST_PIECES = 64  # that are drawn
BEGINNING = "beginning of text"  # how a piece without text is called


class Heads(NamedTuple):
    """The head that is looked at in each."""

    first: tuple[int, int]  # layer, head
    second: tuple[int, int]


def pick_other(reading: Reading) -> Reading:
    """The model in the second place on the same sentence; where there is none, says why and ends the page."""
    names = [name for name in models.names() if name != reading.model.name]
    if not names:
        st.info(
            "There is one model here: nothing to set beside it. Get another one on the page **Models**, or train one.",
            icon=":material/compare:",
        )
        st.stop()
    wanted = kept().get("other")
    if wanted and wanted not in names:
        st.warning(f"There is no other model {escape(wanted[:80])} here. Showing {escape(names[0])} instead.")
        kept()["other"] = ""
    read = among({name: name for name in names})
    name = linked(st.selectbox, "Second model", names, key="other", default=names[0], read=read)
    from gptviz.trace import WhatIf  # torch: it is there by now

    try:
        with st.spinner(f"Opening {escape(name)} …"):
            model = models.open_model(name)
            other = Reading(model, reading.text, models.TRACES.get(model, reading.text, WhatIf()))
    except (ValueError, OSError) as error:
        st.error(f"The model {escape(name)} cannot be opened. {literal(str(error))}", icon=":material/broken_image:")
        st.stop()
    check_these(reading, other)
    return other


def pick_heads(reading: Reading, other: Reading) -> Heads:
    """A head of each, part of the link; that of the first is the one that all lessons share."""
    config = other.model.gpt.config
    left, right = st.columns(2)
    with left, st.container(horizontal=True, gap="large"):
        first = pick_layer(reading.config), pick_head(reading.config)
    with right, st.container(horizontal=True, gap="large"):
        layer = number("Layer of the second", 0, config.n_layers - 1, 0, "other_layer")
        second = layer, number("Head of the second", 0, config.n_heads - 1, 0, "other_head")
    return Heads(first, second)


def show_both(reading: Reading, other: Reading, heads: Heads) -> None:
    """Each in an attention view of its own, on one scale, with its own tokens."""
    sides = ((reading.model, reading.trace, "first", heads.first), (other.model, other.trace, "second", heads.second))
    for place, (model, trace, key, (layer, head)) in zip(st.columns(2), sides, strict=True):
        view = view_of_trace(trace, title=model.name, largest=1.0)
        view.state = ViewState(mode="matrix", layer=layer, head=head)
        names = ("layer", "head") if key == "first" else ("other_layer", "other_head")
        with place:
            st.markdown(f"**{escape(model.name)}**, head {layer}.{head}, {len(trace.tokens)} tokens")
            attention_view(
                view, key=f"both_{key}", layer_key=names[0], head_key=names[1], state_key=f"{key}_view",
                owner=kept(), height=520,
            )  # fmt: skip


def shared_pieces(reading: Reading, other: Reading) -> Pieces:
    """The pieces of the sentence that both tokenizers can tell apart."""
    return align(*(text_of(each.model, each.trace) for each in (reading, other)))


def text_of(model: LanguageModel, trace: Trace) -> list[bytes]:
    """What each token stands for in the text: nothing for those that were put before it."""
    begin = model.tokenizer.begin
    put_before = len(begin) if trace.ids[: len(begin)] == tuple(begin) else 0
    return [b"" if i < put_before else model.tokenizer.token_bytes(token) for i, token in enumerate(trace.ids)]


def show_difference(reading: Reading, other: Reading, heads: Heads, pieces: Pieces) -> None:
    """What the second's head looks at more or less than the first's, between pieces that both have."""
    if not pieces.texts:
        st.info("Both were given different ends of this text, and share none of its pieces. Type a shorter one.")
        return
    sides = ((reading, heads.first, pieces.first), (other, heads.second, pieces.second))
    both = []
    for side, (layer, head), groups in sides:
        between = between_pieces(side.trace.layer_weights(layer)[head], groups)[-MOST_PIECES:, -MOST_PIECES:]
        spans = tuple((group.start, group.stop) for group in groups)
        shown = {"weight between pieces [query, key]": between}
        side.claim(f"head {layer}.{head}", shown, derived_heads.between, layer, head, spans, MOST_PIECES)
        both.append(between)
    names = [visible(text) if text else BEGINNING for text in pieces.texts][-MOST_PIECES:]
    plot(figures.attention_difference(*both, names), key="both_difference")
    moved = np.nansum(np.abs(both[1] - both[0])) / 2 / len(names)
    shares = f" (the last {len(names)} of {len(pieces.texts)} pieces)" if len(names) < len(pieces.texts) else ""
    st.markdown(
        f"**{moved:.1%}** of the attention of a piece lies elsewhere in the second, in the mean over pieces{shares}. "
        f"{say_pieces(pieces)}"
    )


def say_pieces(pieces: Pieces) -> str:
    """How the two tokenizations lie to each other, in words."""
    counts = [sum(map(len, side)) for side in (pieces.first, pieces.second)]
    if all(len(a) == len(b) <= 1 for a, b in zip(pieces.first, pieces.second, strict=True)):
        return "Both cut the text into the same tokens."
    return (
        f"The first cuts this text into {counts[0]} tokens, the second into {counts[1]}; a row here is one of "
        f"{len(pieces.texts)} pieces that are whole tokens of both: weights are summed over the keys of a piece and "
        "averaged over its queries."
    )


def next_tokens(reading: Reading, other: Reading) -> pd.DataFrame:
    """The likeliest next tokens of both, joined by what they stand for; empty where a vocabulary has no such token."""
    from gptviz.sampling import softmax

    both = [softmax(each.trace.logits[-1]) for each in (reading, other)]
    ranked = []
    for side, p in zip((reading, other), both, strict=True):
        order = np.argsort(-p, kind="stable")[:MOST].tolist()
        ranked.append([(side.model.tokenizer.token_bytes(i), float(p[i])) for i in order])
        side.claim("likeliest", {"largest probabilities [rank]": p[order]}, predictions.next_token, tuple(order))
    tokens = [token for token, *_ in by_text(*ranked)]
    names = [token.decode("utf-8", "backslashreplace") for token in tokens]
    columns = [given(tokens, side, p) for side, p in zip((reading, other), both, strict=True)]
    return pd.DataFrame(list(zip(names, *columns, strict=True)), columns=["token", reading.name, other.name])


def given(tokens: Sequence[bytes], side: Reading, p: np.ndarray) -> list[float | None]:
    """What a model gives to the tokens of these bytes; None where its vocabulary has none."""
    ids = [ids_of(side.model.fingerprint, side.model).get(token) for token in tokens]
    known = tuple(i for i in ids if i is not None)
    named = {"probability of the tokens named [rank]": p[list(known)]}
    side.claim("next token", named, predictions.next_token, known)
    return [None if i is None else float(p[i]) for i in ids]


@st.cache_resource(max_entries=4, show_spinner=False)
def ids_of(fingerprint: str, _model: LanguageModel) -> dict[bytes, int]:
    """Every token of a vocabulary by what it stands for; of equals the lowest id."""
    tokenizer = _model.tokenizer
    return {tokenizer.token_bytes(i): i for i in reversed(range(tokenizer.vocab_size))}


def show_next(table: pd.DataFrame) -> None:
    """The next tokens as bars and as a table."""
    names = table.columns[1], table.columns[2]
    columns = [[None if pd.isna(value) else float(value) for value in table[name]] for name in names]
    plot(figures.two_next_bars(list(table["token"]), *columns, names), key="both_next")
    with st.expander("The same as a table"):
        table_with_csv(table, "next-of-two-models.csv", key="both_next_table")
