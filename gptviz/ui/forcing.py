"""What the page on teacher forcing is made of: the reference, what the model gave it, and where both would part."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from gptviz.analysis import forcing as analysis
from gptviz.analysis import predictions
from gptviz.figures.beam import signed
from gptviz.figures.forcing import forced_bars
from gptviz.figures.heatmap import heatmap
from gptviz.figures.predictions import percent, top_bars
from gptviz.figures.style import scientific, visible
from gptviz.ui import pair_claims as claims
from gptviz.ui.address import kept, linked
from gptviz.ui.controls import REFERENCES, number
from gptviz.ui.losses import table_row
from gptviz.ui.matrix import plot_wide
from gptviz.ui.show import escape, literal, plot, table_with_csv
from gptviz.ui.strip import draw as draw_strip
from gptviz.ui.translation import PairReading, forced, refuse

if TYPE_CHECKING:
    from gptviz import Forced

LONGEST = 2000  # characters of a reference: many times what fits any context, and a link still carries it
NOTHING = " "  # in the address: the visitor emptied the box, which is another thing than not having touched it
DIFFERS = "background:rgba(0,114,178,.28)"  # a token that is not the reference's


@dataclass(frozen=True)
class Pair:
    """One sentence, its reference as the model was made to read it, and the translation that it wrote by itself."""

    reading: PairReading
    seen: Forced = field(repr=False)
    reference: analysis.Judged = field(repr=False)  # T tokens
    free: analysis.Judged = field(repr=False)  # T' tokens

    @property
    def parts(self) -> int | None:
        """Where the free translation leaves the reference."""
        return analysis.parting(self.reference.ids.tolist(), self.free.ids.tolist())

    def tokens(self, ids: object) -> tuple[str, ...]:
        """Token ids as texts."""
        return self.reading.model.tokenizer.token_texts([int(i) for i in ids])

    def name(self, token: int) -> str:
        """One token, literally, for a sentence."""
        return escape(self.reading.model.tokenizer.token_text(int(token)))

    @property
    def differing(self) -> list[int]:
        """Places where the model, forced, would have said something else."""
        return (self.reference.ids != self.reference.choices).nonzero()[0].tolist()


def ask_reference(reading: PairReading) -> str:
    """The box for the reference; where it is empty, says what to do and ends the page."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        reference = linked(
            st.text_input,
            "Reference translation",
            key="reference",
            default=REFERENCES.get(reading.text, ""),
            read=lambda text: " ".join(text[:LONGEST].split()),
            write=lambda text: text or NOTHING,
            placeholder="Type an English translation and press Enter",
            max_chars=LONGEST,
        )
        st.button(
            "Take the model's own", on_click=take_own, args=(reading.result.text,), key="reference_own",
            disabled=not reading.result.text.strip(), icon=":material/smart_toy:",
            help="Its greedy translation, as a reference for itself: then forced and free are the same run.",
        )  # fmt: skip
    given = len(kept().get("reference") or "")
    if given > LONGEST:
        st.warning(
            f"The link has a reference of {given:,} characters: only the first {LONGEST:,} are read, as no model here "
            "reads more. Shorten it to be sure what is compared.",
            icon=":material/content_cut:",
        )
    if not reference.strip():
        st.info(
            "There is no reference translation yet. Type one above, or take the model's own: "
            f"{literal(reading.result.text) or 'it is empty here'}",
            icon=":material/keyboard:",
        )
        st.stop()
    return reference


def take_own(text: str) -> None:
    """The model's translation becomes the reference, in a callback."""
    kept()["reference"] = text


def read_reference(reading: PairReading, reference: str) -> Pair:
    """Both runs, judged; a reference that the model cannot read is said to be so, and ends the page."""
    try:
        seen = forced(reading.model.fingerprint, reading.text, reference, reading.model)
    except ValueError as error:
        refuse(error)
    ended = [reading.model.tokenizer.end_of_text] if reading.result.stopped == "end" else []
    pair = Pair(
        reading,
        seen,
        analysis.judge(reading.show(seen.trace).decoder.logits, seen.ids),
        analysis.judge(reading.trace.decoder.logits, [*reading.result.ids, *ended]),
    )
    claims.claim_runs(pair)
    return pair


def show_totals(pair: Pair) -> None:
    """Log-probability, per token, and perplexity, of the reference and of the model's own translation."""
    rows = {"The reference": pair.reference, "The model's own, running free": pair.free}
    for place, (name, judged) in zip(st.columns(2, gap="large"), rows.items(), strict=True):
        with place:
            st.markdown(f"**{name}**, {len(judged.ids)} tokens: {text_of(pair, judged)}")
            with st.container(horizontal=True):
                st.metric("Log-probability, nats", signed(judged.total))
                st.metric("Per token", signed(judged.mean))
                st.metric("Perplexity", f"{judged.perplexity:,.2f}")
    st.markdown(say_totals(pair))


def text_of(pair: Pair, judged: analysis.Judged) -> str:
    """A translation in quotation marks, for Markdown."""
    tokenizer = pair.reading.model.tokenizer
    text = tokenizer.decode(i for i in judged.ids.tolist() if i != tokenizer.end_of_text)
    return f"“{literal(text)}”"


def say_totals(pair: Pair) -> str:
    """Which of both the model finds more probable, in words."""
    end = "" if pair.reading.result.stopped == "end" else " It was stopped at the length limit, without an end of text."
    if pair.parts is None:
        return "They are the same translation, so every number is the same." + end
    more, less = sorted((pair.reference.total, pair.free.total), reverse=True)
    odds = analysis.odds(more, less)
    claims.claim_odds(pair, odds)
    text = written(odds)
    if pair.reference.total > pair.free.total:
        return (
            f"The model finds the **reference {text} times as probable** as what it wrote itself. It took the "
            f"likeliest token at each place, and a more probable whole begins otherwise: see “Beam search”.{end}"
        )
    longer = len(pair.reference.ids) - len(pair.free.ids)
    cost = f" The reference is {counted(longer, 'token')} longer, and every token costs." if longer > 0 else ""
    return f"The model finds **its own translation {text} times as probable** as the reference.{cost}{end}"


def written(times: float) -> str:
    """A factor in words: 19.4, 2,300.0, 2.1·10¹⁷."""
    if times < 1e6:
        return f"{times:,.1f}"
    if math.isinf(times):
        return "more than 10³⁰⁰"
    return scientific(times)


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def pick_position(pair: Pair) -> int:
    """A position of the reference, by number or by a click on its token; where both part first unless chosen."""
    judged = pair.reference
    default = pair.differing[0] if pair.differing else int(judged.log_p.argmin())
    place = st.container()
    at = number("Position in the reference", 0, len(judged.ids) - 1, default, "forced_at", width=220)
    choices = pair.tokens(judged.choices)
    data = {
        "tokens": [visible(token) for token in pair.tokens(judged.ids)],
        "values": judged.probability.round(4).tolist(),
        "labels": [
            f"probability {percent(p)}, rank {rank:,}; the model's choice: {visible(choice)}, {percent(q)}"
            for p, rank, choice, q in zip(
                judged.probability, judged.rank, choices, judged.choice_probability, strict=True
            )
        ],
        "selected": [at],
        "selectable": True,
    }

    def clicked() -> None:
        position = st.session_state["forced_strip"].toggle
        if type(position) is int and 0 <= position < len(judged.ids):  # it comes from the browser
            kept()["forced_at"] = "" if position == default else str(position)

    with place:
        draw_strip(key="forced_strip", data=data, on_toggle_change=clicked)
    return at


def show_bars(pair: Pair, at: int) -> None:
    """The reference inside the model's own choice, position by position."""
    judged = pair.reference
    tokens = pair.tokens(judged.ids), pair.tokens(judged.choices)
    figure = forced_bars(tokens[0], judged.probability, tokens[1], judged.choice_probability, at)
    plot_wide(figure, "forced_bars")
    st.caption(
        "Both after the reference so far. Under a bar stands the reference's token, and below it, in italics, the "
        "model's own choice where that is another one."
    )


def show_candidates(pair: Pair, at: int) -> None:
    """What the model would have said at a position: its likeliest tokens there."""
    judged = pair.reference
    p = predictions.probabilities(pair.seen.trace.decoder.logits[at])  # (V,)
    top = predictions.top(p, 10)
    claims.claim_position(pair, at, top)
    where = (top.ids == judged.ids[at]).nonzero()[0]
    tokens = pair.tokens(top.ids)
    figure = top_bars(tokens, top.probabilities, top.rest, top.others, drawn=int(where[0]) if len(where) else None)
    plot(figure, "forced_top")
    st.caption(
        f"Position {at}: the decoder has read {counted(at, 'token')} of the reference and the whole German "
        f"sentence. The reference goes on with {pair.name(judged.ids[at])}, "
        f"{escape(percent(float(judged.probability[at])))}, rank {judged.rank[at]:,} of {len(p):,} (orange where it is "
        "among those shown)."
    )


def show_rows(pair: Pair) -> None:
    """Reference, forced choice and free running, aligned by position; scrolled if long."""
    judged, free = pair.reference, pair.free
    width = max(len(judged.ids), len(free.ids))
    ids = {"reference": judged.ids, "forced: the model's choice": judged.choices, "running free": free.ids}
    lists = {name: pad(pair.tokens(value), width) for name, value in ids.items()}
    reads = pair.tokens([pair.reading.model.tokenizer.end_of_text, *judged.ids[:-1]])
    chances = {
        name: pad([percent(p) for p in values.tolist()], width)
        for name, values in (
            ("its probability", judged.probability),
            ("its probability ", judged.choice_probability),
            ("its probability  ", free.probability),
        )
    }
    rows = {"position": [str(i) for i in range(width)], "the decoder reads": pad(reads, width)}
    for (name, tokens), (chance, values) in zip(lists.items(), chances.items(), strict=True):
        rows |= {name: tokens, chance: values}
    body = "".join(
        table_row(name, cells, tints(cells, lists["reference"]) if name in lists else None)
        for name, cells in rows.items()
    )
    table = f'<table class="gptviz-forced" style="border-collapse:collapse">{body}</table>'
    st.html(f'<div class="gptviz-sideways">{table}</div>')
    st.markdown(say_parting(pair))


def pad(cells: object, width: int) -> list[str | None]:
    """Cells, and empty ones after them."""
    cells = list(cells)
    return [*cells, *[None] * (width - len(cells))]


def tints(cells: list[str | None], reference: list[str | None]) -> list[str]:
    """A colour for the tokens that are not the reference's."""
    return [DIFFERS if cell not in (None, other) else "" for cell, other in zip(cells, reference, strict=True)]


def say_parting(pair: Pair) -> str:
    """Where the two runs part, in words."""
    judged, free, at = pair.reference, pair.free, pair.parts
    agreed = len(judged.ids) - len(pair.differing)
    text = f"Forced, the model's first choice is the reference's token at **{agreed} of {len(judged.ids)}** positions. "
    if at is None:
        return text + "Running free it writes the reference itself, so both runs read the same tokens everywhere."
    if at == len(free.ids):
        return text + f"Running free it was stopped after {at} tokens, all of them those of the reference."
    if at == len(judged.ids):
        return text + "Running free it writes the whole reference, and goes on where that ends."
    same = f"Up to position {at - 1} both runs read and write the same. " if at else ""
    given, said = (escape(percent(float(run.probability[at]))) for run in (judged, free))
    return (
        f"{text}{same}At **position {at}** they part: the reference has {pair.name(judged.ids[at])} ({given}), the "
        f"model says {pair.name(free.ids[at])} ({said}). Forced, it reads the reference's token all the same, and its "
        "next choices continue the reference. Running free it reads its own, and goes on from there: after this column "
        "the two rows are two texts, compared by nothing but their positions."
    )


EXPOSURE = (
    "**Teacher forcing** (Williams and Zipser 1989): in training the decoder reads the reference, shifted right by one "
    "(Vaswani et al. 2017, figure 1 and section 3.1), whatever it would have said, so one pass teaches all positions. "
    "**Running free** it reads its own tokens, mistakes included, which it was never shown in training: errors can add "
    "up along the translation (Bengio et al. 2015, section 1). The difference is called exposure bias (Ranzato et al. "
    "2016). Free means greedy here: the likeliest token at each place."
)


def show_attention(pair: Pair, layer: int, head: int) -> None:
    """The cross-attention of one head in both runs."""
    runs = {
        "Forced: reading the reference": (pair.seen.trace, pair.reference),
        "Free: reading its own words": (pair.reading.trace, pair.free),
    }
    for place, (key, (name, (trace, judged))) in zip(st.columns(2), enumerate(runs.items()), strict=True):
        weights = trace.cross_weights[layer, head]  # (T, S)
        axes = ("query: the place that is asked for …", "key: the German sentence")
        with place:
            st.markdown(f"**{name}**")
            plot(heatmap(weights, pair.tokens(judged.ids), pair.reading.source, axes=axes), f"forced_cross_{key}")


def show_table(pair: Pair) -> None:
    """Every number of the reference, one row a position."""
    judged = pair.reference
    table = pd.DataFrame(
        {
            "reference": [visible(token) for token in pair.tokens(judged.ids)],
            "id": judged.ids,
            "probability": judged.probability,
            "rank": judged.rank,
            "log-probability, nats": judged.log_p,
            "model's choice": [visible(token) for token in pair.tokens(judged.choices)],
            "its probability": judged.choice_probability,
            "running free": [visible(t) if t is not None else None for t in free_tokens(pair)],
        },
        index=pd.RangeIndex(len(judged.ids), name="position"),
    )
    table_with_csv(table, "teacher-forcing.csv", "forced_table")


def free_tokens(pair: Pair) -> list[str | None]:
    """The free translation, cut or padded to the length of the reference."""
    width = len(pair.reference.ids)
    return pad(pair.tokens(pair.free.ids[:width]), width)
