"""What the page of the next token shows: bars, funnel, history, what drawn tokens looked at, the sentence judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from gptviz.analysis import predictions as analysis
from gptviz.analysis.derived import heads as derived_heads
from gptviz.analysis.derived import predictions as derived
from gptviz.figures import predictions as figures
from gptviz.figures.heatmap import heatmap
from gptviz.figures.style import visible
from gptviz.ui.address import kept
from gptviz.ui.continuation import Continuation
from gptviz.ui.controls import number, pick_head, pick_layer, pick_one, slide
from gptviz.ui.lesson import Reading
from gptviz.ui.show import escape, plot, table_with_csv
from gptviz.ui.strip import draw as draw_strip

OVER = {"all": "Mean of all heads", "layer": "Mean of a layer", "head": "One head"}
ROWS = {False: "While it was chosen", True: "Once it stood there"}


def show_distribution(story: Continuation) -> None:
    """The likeliest tokens of the whole vocabulary, and the rest as one bar."""
    p = story.funnel.raw
    n = slide("How many bars", 3, 40, 12, 1, "next_n")
    top = analysis.top(p, n)
    named = {
        "probability of the tokens named [rank]": top.probabilities,
        "largest probabilities [rank]": top.probabilities,
    }
    bits = float(analysis.entropy_bits(p))
    whole = {"probability [token id]": p, "the rest": top.rest, "entropy, bits": bits, "equally likely tokens": 2**bits}
    ids = tuple(top.ids.tolist())
    story.reading.claim("next token", whole | named, derived.next_token, ids, of=(story.trace,))
    tokens = story.reading.model.tokenizer.token_texts(top.ids.tolist())
    drawn = np.flatnonzero(top.ids == story.chosen)
    plot(
        figures.top_bars(tokens, top.probabilities, top.rest, top.others, drawn=int(drawn[0]) if len(drawn) else None),
        key="next_bars",
    )
    st.caption(say_distribution(p, tokens[0], bits))


def say_distribution(p: np.ndarray, likeliest: str, bits: float) -> str:
    """How open the choice is, in words."""
    return (
        f"A softmax over all {len(p):,} tokens, nothing left out. Likeliest: {escape(likeliest)} with "
        f"{escape(figures.percent(float(p.max())))}. Entropy **{bits:.2f} bits**: as open as a fair choice between "
        f"{2**bits:,.1f} tokens. Orange is the token that the draw falls on."
    )


def show_funnel(story: Continuation) -> None:
    """From the raw distribution to the draw, as bars and as a table."""
    stages, tokenizer = story.funnel, story.reading.model.tokenizer
    arrays = [stages.raw, stages.tempered, stages.top_k, stages.top_p, stages.final]
    cut = analysis.stack(arrays, 10, story.chosen)
    tokens = [tokenizer.token_text(int(i)) if i >= 0 else None for i in cut.ids]
    at = cut.ids.tolist().index(story.chosen)
    claim_draw(story, cut.start(at))
    names = figures.funnel_names(*story.settings[:3])
    removed = [0.0, 0.0, stages.removed_top_k, stages.removed_top_p, 0.0]
    plot(
        figures.funnel_bars(tokens, cut.counts, cut.widths, removed, names, draw=story.u, drawn=at),
        key="next_funnel",
    )
    st.caption(say_draw(story, cut.start(at)))


def claim_draw(story: Continuation, begin: float) -> None:
    """Let the badge check the funnel and the draw."""
    stages, chosen = story.funnel, story.settings
    shown = {
        "with temperature [token id]": stages.tempered,
        "after top-k [token id]": stages.top_k,
        "after top-p [token id]": stages.top_p,
        "drawn from [token id]": stages.final,
        "removed by top-k": stages.removed_top_k,
        "removed by top-p": stages.removed_top_p,
        "tokens kept": stages.kept,
        "u, the draw": story.u,
        "the token begins at": begin,
        "and ends at": begin + stages.final[story.chosen],
    }
    how = (chosen.temperature, chosen.top_k, chosen.top_p, stages.kept, story.u, story.chosen)
    story.reading.claim("draw", shown, derived.draw, *how, of=(story.trace,))


def say_draw(story: Continuation, begin: float) -> str:
    """The funnel and the draw, in words."""
    stages, chosen = story.funnel, story.settings
    end = begin + float(stages.final[story.chosen])
    token = story.reading.model.tokenizer.token_text(story.chosen)
    return (
        f"Top-k removed {escape(figures.percent(stages.removed_top_k))}, top-p "
        f"{escape(figures.percent(stages.removed_top_p))}; **{stages.kept:,}** of {len(stages.raw):,} tokens can be "
        f"drawn. Number {len(story.drawn) + 1} of seed {chosen.seed} is u = {story.u:.4f}. It falls on "
        f"**{escape(token)}**, which lies from {begin:.4f} to {end:.4f}: “Draw one token” adds it."
    )


def funnel_table(story: Continuation, n: int = 50) -> pd.DataFrame:
    """The likeliest tokens at every stage; the drawn one is among them."""
    stages, tokenizer = story.funnel, story.reading.model.tokenizer
    order = analysis.likeliest_first(stages.raw)
    ids = order[: max(n, int(np.flatnonzero(order == story.chosen)[0]) + 1)][:1000]
    return pd.DataFrame(
        {
            "token": [visible(text) for text in tokenizer.token_texts(ids.tolist())],
            "id": ids,
            "raw": stages.raw[ids],
            "temperature": stages.tempered[ids],
            "top-k": stages.top_k[ids],
            "top-p": stages.top_p[ids],
            "drawn from": stages.final[ids],
            "cumulative": stages.final[order].cumsum()[: len(ids)],
        },
        index=pd.RangeIndex(1, len(ids) + 1, name="rank"),
    )


def history_table(story: Continuation) -> pd.DataFrame:
    """One row a drawn token: what the model thought of it, and how it was drawn, where this session drew it."""
    judged = analysis.read_sentence(story.trace.logits, story.trace.ids).iloc[story.start : -1]
    how = [story.how(place) for place in range(len(story.drawn))]
    shown = {
        "probability [token]": judged["probability"],
        "rank [token]": judged["rank"].to_numpy(dtype=np.int64),
        "entropy, bits [token]": judged["entropy"],
        "probability when drawn [token]": [draw.probability if draw else np.nan for draw in how],
    }
    settings = tuple(draw and draw.settings[:3] for draw in how)
    story.reading.claim("drawn tokens", shown, derived.drawn, story.start, settings, of=(story.trace,))
    return pd.DataFrame(
        {
            "token": [visible(token) for token in story.tokens[story.start :]],
            "id": story.drawn,
            "probability (raw)": judged["probability"].to_numpy(),
            "rank": judged["rank"].to_numpy(),
            "entropy, bits": judged["entropy"].to_numpy(),
            "probability when drawn": [draw.probability if draw else None for draw in how],
            "u": [draw.u if draw else None for draw in how],
            "temperature": [draw.settings.temperature if draw else None for draw in how],
            "top-k": pd.array([draw.settings.top_k if draw else None for draw in how], dtype="Int64"),
            "top-p": [draw.settings.top_p if draw else None for draw in how],
            "seed": pd.array([draw.settings.seed if draw else None for draw in how], dtype="Int64"),
        },
        index=pd.RangeIndex(1, len(story.drawn) + 1, name="number"),
    )


@dataclass(frozen=True)
class Look:
    """Which attention to show."""

    own: bool
    layer: int | None
    head: int | None

    @property
    def name(self) -> str:
        """In words."""
        if self.layer is None:
            return "mean of all heads"
        return f"mean of layer {self.layer}" if self.head is None else f"head {self.layer}.{self.head}"


def pick_look(story: Continuation) -> Look:
    """Controls for the attention of the drawn tokens."""
    model = story.reading.model
    with st.container(horizontal=True):
        over = pick_one("Attention", OVER, key="next_over")
        own = pick_one(
            "Which row", ROWS, key="next_row",
            help="While it was chosen: the row of the token before it, whose output it was drawn from. Once it stood "
            "there: its own row, with which it read the text after it had been added.",
        )  # fmt: skip
    if over == "all":
        return Look(own, None, None)
    with st.container(horizontal=True):
        layer = pick_layer(model.gpt.config)
        head = pick_head(model.gpt.config) if over == "head" else None
    return Look(own, layer, head)


def show_attention(story: Continuation) -> None:
    """What the drawn tokens attended to: one coloured over the text, and all of them as a picture."""
    look = pick_look(story)
    rows = analysis.chosen_rows(story.trace.weights, story.start, layer=look.layer, head=look.head, own=look.own)
    at = pick_drawn(story, rows)
    row, token = rows[at - story.start], story.tokens[at]
    shown, whose = {"weight [drawn token, token]": rows}, (look.layer, look.head, look.own)
    story.reading.claim("attention", shown, derived_heads.drawn_rows, story.start, *whose, of=(story.trace,))
    best = int(row.argmax())
    asked = "its own row" if look.own else f"the row of {escape(story.tokens[at - 1])} before it"
    st.caption(
        f"Token {at}, {escape(token)}, {asked}, {look.name}. Full colour is the largest weight, {row.max():.3f} on "
        f"{escape(story.tokens[best])}; the weights sum to {row.sum():.4f}."
    )
    future = np.triu(np.ones((len(story.tokens),) * 2, dtype=bool), k=1)  # (T, T)
    masked = future[story.start :] if look.own else future[story.start - 1 : -1]
    fig = heatmap(
        rows, story.tokens[story.start :], story.tokens, masked=masked, span=(0.0, float(rows.max())),
        axes=("drawn token", "token looked at"),
    )  # fmt: skip
    plot(fig, key="next_attention")


def pick_drawn(story: Continuation, rows: np.ndarray) -> int:
    """The position of one drawn token, chosen by number or by a click; the text is coloured by its row."""
    last = len(story.tokens) - 1
    place = st.container()
    at = number("Drawn token, by its position", story.start, last, last, "next_at", width=220)
    row = rows[at - story.start]
    data = {
        "tokens": [visible(token) for token in story.tokens],
        "values": (row / row.max()).round(4).tolist(),
        "labels": [f"weight {weight:.4f}" for weight in row],
        "selected": [at],
        "selectable": True,
    }

    def clicked() -> None:
        position = st.session_state["next_attention_strip"].toggle
        if position in range(story.start, last + 1):  # it comes from the browser, so it may be anything
            kept()["next_at"] = position

    with place:
        draw_strip(key="next_attention_strip", data=data, on_toggle_change=clicked)
    return at


def show_sentence(reading: Reading) -> None:
    """How the model judged the sentence as it was typed."""
    judged = analysis.read_sentence(reading.trace.logits, reading.trace.ids)
    came = judged.iloc[1:-1]
    shown = {
        "probability [position]": came["probability"],
        "rank [position]": came["rank"].to_numpy(dtype=np.int64),
        "surprise, bits [position]": came["surprise"],
        "entropy, bits [position]": judged["entropy"].iloc[1:],
    }
    reading.claim("sentence as typed", shown, derived.sentence)
    ranks = [None if pd.isna(rank) else int(rank) for rank in judged["rank"]]
    columns = (judged[name].to_numpy() for name in ("surprise", "entropy"))
    plot(figures.sentence_bars(reading.tokens, judged["probability"].to_numpy(), ranks, *columns), key="next_sentence")
    st.caption(say_sentence(reading, judged))
    table = judged.assign(token=[*map(visible, reading.tokens), "(next)"]).set_index("position")
    table = table[["token", "id", "probability", "rank", "surprise", "entropy"]]
    table = table.rename(columns={"surprise": "surprise, bits", "entropy": "entropy, bits"})
    table_with_csv(table, "sentence.csv", "next_judged")


def say_sentence(reading: Reading, judged: pd.DataFrame) -> str:
    """The typed sentence as a whole, in words."""
    came = judged["surprise"].dropna()
    if came.empty:
        return "One token: nothing stands before it, so nothing predicts it. Only the entropy of what follows is known."
    mean, total, expected = came.mean(), came.sum(), judged["entropy"].iloc[1 : len(came) + 1].mean()
    shown = {"loss, bits": mean, "surprise of all, bits": total, "mean entropy, bits": expected}
    reading.claim("sentence as a whole", shown, derived.sentence)
    return (
        f"Mean surprise **{mean:.2f} bits** a token, where the model itself expected {expected:.2f} (mean "
        f"entropy); the probability of the whole sentence, its first token given, is 2^−{total:.1f}. Numbers "
        "above the bars are ranks among all tokens, \\#1 the likeliest. Nothing predicts the first token."
    )


def sources() -> list:
    """The functions that computed what the page shows."""
    from gptviz import sampling

    return [analysis.probabilities, sampling.funnel, sampling.draw, analysis.read_sentence, analysis.chosen_rows]
